"""``collapse-guard manifest merge``: several manifests become one."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer reads annotations at run time
from typing import Annotated

import typer

from collapse_guard.cli.printing import Format, OutputFormat, print_view
from collapse_guard.manifest import load_manifest, write_manifest
from collapse_guard.manifest.merging import merge_manifests
from collapse_guard.manifest.writer import only_writer
from collapse_guard.report.manifest_text import manifest_sections, manifest_view


def merge(
    manifests: Annotated[list[Path], typer.Argument(metavar="M...", help="Manifests to merge.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The manifest to write.")],
    name: Annotated[
        str | None, typer.Option("--name", help="Name of the manifest; that of the file if left out.")
    ] = None,
    generation: Annotated[
        int | None, typer.Option("--generation", min=0, help="The highest of the manifests if left out.")
    ] = None,
    parent: Annotated[
        Path | None,
        typer.Option("--parent", help="Manifest of the generation before: the result is the next one and names it."),
    ] = None,
    output_format: OutputFormat = Format.AUTO,
) -> None:
    """Merge manifests of the same id rule, unit and class column; equal shards are counted once.

    Index parts are linked, or copied where the file system has no links.

    Exit code: 0 written, 2 unusable input.

    Example: collapse-guard manifest merge gen3/manifest.cgm.json own/b.cgm.json --parent gen3/manifest.cgm.json -o
    gen4/manifest.cgm.json
    """
    stem = output.name.removesuffix(".json").removesuffix(".cgm")
    loaded = [load_manifest(path) for path in manifests]
    before = None if parent is None else load_manifest(parent)
    made = merge_manifests(loaded, name=name or stem, generation=generation, parent=before)
    with only_writer(output):
        merged = write_manifest(made, output)
    n_shards = sum(len(each.shards) for each in loaded)
    view = manifest_view(merged, {}) | {"n_shared_shards": n_shards - len(merged.shards)}
    shared = [f"{view['n_shared_shards']:,} shards stood in several manifests and are counted once"]
    print_view(view, [*manifest_sections(view), *(shared if view["n_shared_shards"] else [])], output_format)
