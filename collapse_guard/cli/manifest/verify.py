"""``collapse-guard manifest verify``: is everything still as the manifest says?"""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer reads annotations at run time
from typing import TYPE_CHECKING, Annotated

import typer

from collapse_guard.cli.printing import Format, OutputFormat, print_view
from collapse_guard.kernels import one_line
from collapse_guard.manifest import load_manifest
from collapse_guard.manifest.verifying import verify_manifest
from collapse_guard.report.manifest_text import verification_sections

if TYPE_CHECKING:
    from collections.abc import Iterator

    from collapse_guard.manifest.verifying import Verification


def verify(
    manifest: Annotated[Path, typer.Argument(help="The manifest, such as gen4/manifest.cgm.json.")],
    data: Annotated[
        list[str] | None,
        typer.Option(
            "--data",
            help="Folder, file, pattern or URL that was inventoried: its files are read again; may be repeated, for an"
            " inventory of several and for a manifest that was merged from inventories of several.",
        ),
    ] = None,
    output_format: OutputFormat = Format.AUTO,
) -> None:
    """Recompute every digest of a manifest, one shard at a time, and with --data those of the data files.

    Data files may be missing, truncated, changed, renamed (the same bytes under another name), or extra. Files without
    a row, and parts that no manifest names, are told and are no fault.

    Exit code: 0 everything holds, 1 something differs, 2 unusable input (a part that is missing or cut).

    Example: collapse-guard manifest verify gen4/manifest.cgm.json --data corpus/
    """
    loaded = load_manifest(manifest)
    found = verify_manifest(loaded, data or None)
    view = {"schema": "collapse-guard/verification/1", "path": str(manifest), "digest": loaded.digest}
    sections = [*verification_sections(found, str(manifest)), *_notes(found, manifest)]
    print_view(view | found.as_dict(), sections, output_format)
    raise typer.Exit(0 if found.holds else 1)


def _notes(found: Verification, manifest: Path) -> Iterator[str]:
    """Yield a line for what is no fault and may surprise."""
    n_empty, n_parts = len(found.empty_files), len(found.unnamed_parts)
    if n_empty:
        is_one = n_empty == 1
        yield f"{n_empty:,} data {'file has' if is_one else 'files have'} no row: {one_line(found.empty_files[0])}" + (
            "" if is_one else ", ..."
        )
    if n_parts:
        parts = "1 part is" if n_parts == 1 else f"{n_parts:,} parts are"
        yield f"{parts} named by no manifest there: collapse-guard manifest prune {manifest} lists and removes them"
