"""``collapse-guard manifest log``: the generations behind a manifest."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer reads annotations at run time
from typing import Annotated

import typer

from collapse_guard.cli.printing import Format, OutputFormat, print_view
from collapse_guard.manifest.chain import chain_of
from collapse_guard.report.manifest_text import chain_sections


def log(
    manifest: Annotated[Path, typer.Argument(help="The manifest to start from, such as gen4/manifest.cgm.json.")],
    folder: Annotated[
        list[Path] | None,
        typer.Option(
            "--in", help="Also look for parents in this folder; may be repeated. Its own and those beside it are."
        ),
    ] = None,
    output_format: OutputFormat = Format.AUTO,
) -> None:
    """Show a manifest and the ancestors whose digests it names, oldest first; headers alone are read.

    Exit code: 0 shown (a missing parent is said), 2 unusable input.

    Example: collapse-guard manifest log gen4/manifest.cgm.json --in archive/
    """
    links = chain_of(manifest, folder or ())
    view = {
        "schema": "collapse-guard/manifest-log/1",
        "complete": not any(link.missing for link in links),
        "generations": [link.as_dict() for link in links],
    }
    print_view(view, chain_sections(links), output_format)
