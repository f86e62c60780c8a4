"""``collapse-guard manifest prune``: parts that no manifest names."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer reads annotations at run time
from typing import Annotated

import typer

from collapse_guard.cli.printing import Format, OutputFormat, print_view
from collapse_guard.manifest import load_manifest
from collapse_guard.manifest.parts import remove_unnamed_parts, unnamed_parts


def prune(
    manifest: Annotated[Path, typer.Argument(help="The manifest, such as gen4/manifest.cgm.json.")],
    remove: Annotated[bool, typer.Option("--remove", help="Remove the parts; without it they are listed.")] = False,
    output_format: OutputFormat = Format.AUTO,
) -> None:
    """List the parts in the index folder that no manifest beside this one names, and remove them with --remove.

    Writes that were killed leave such parts, and so do manifests that were written again: an older header that was
    kept elsewhere, such as in the history of a repository, may still name them.

    Exit code: 0 listed or removed, 2 unusable input (another process is writing the manifest).

    Example: collapse-guard manifest prune gen4/manifest.cgm.json --remove
    """
    loaded = load_manifest(manifest)
    found = (remove_unnamed_parts if remove else unnamed_parts)(manifest, loaded.folder)
    view = {
        "schema": "collapse-guard/prune/1",
        "path": str(manifest),
        "removed": remove,
        "parts": [path.name for path in found],
    }
    done = "removed" if remove else "named by no manifest; --remove removes them"
    lines = [f"{len(found):,} part{'' if len(found) == 1 else 's'} {done}", *(path.name for path in found)]
    print_view(view, lines if found else [f"{manifest}: every part is named by a manifest"], output_format)
