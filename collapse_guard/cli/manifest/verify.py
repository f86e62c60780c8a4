"""``collapse-guard manifest verify``: is everything still as the manifest says?"""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer reads annotations at run time
from typing import Annotated

import typer

from collapse_guard.cli.printing import Format, OutputFormat, print_view
from collapse_guard.manifest import load_manifest
from collapse_guard.manifest.verifying import verify_manifest
from collapse_guard.report.manifest_text import verification_sections


def verify(
    manifest: Annotated[Path, typer.Argument(help="The manifest, such as gen4/manifest.cgm.json.")],
    data: Annotated[
        list[str] | None,
        typer.Option(
            "--data",
            help="Folder, file, pattern or URL that was inventoried: its files are read again; may be repeated.",
        ),
    ] = None,
    output_format: OutputFormat = Format.AUTO,
) -> None:
    """Recompute every digest of a manifest, one shard at a time, and with --data those of the data files.

    Data files may be missing, truncated, changed, renamed (the same bytes under another name), or extra.

    Exit code: 0 everything holds, 1 something differs, 2 unusable input (a part that is missing or cut).

    Example: collapse-guard manifest verify gen4/manifest.cgm.json --data corpus/
    """
    loaded = load_manifest(manifest)
    found = verify_manifest(loaded, data or None)
    view = {"schema": "collapse-guard/verification/1", "path": str(manifest), "digest": loaded.digest}
    print_view(view | found.as_dict(), verification_sections(found, str(manifest)), output_format)
    raise typer.Exit(0 if found.holds else 1)
