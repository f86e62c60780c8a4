"""``collapse-guard manifest show``: what went into a training set."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path  # noqa: TC003 - typer reads annotations at run time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from collapse_guard.cli.limits import MaxMemory, Threads  # noqa: TC001 - typer reads annotations at run time
from collapse_guard.cli.printing import Format, OutputFormat, print_view
from collapse_guard.manifest import Limits, load_manifest
from collapse_guard.report.manifest_text import manifest_sections, manifest_view

if TYPE_CHECKING:
    from collapse_guard.manifest import Manifest


class Column(StrEnum):
    """Columns of the index that rows can be counted by."""

    SOURCE = "source"
    ORIGIN = "origin"
    EVIDENCE = "evidence"
    GENERATION = "generation"
    CLASS = "class"
    GENERATOR = "generator"


def show(
    manifest: Annotated[Path, typer.Argument(help="The manifest, such as gen4/manifest.cgm.json.")],
    by: Annotated[
        list[Column] | None, typer.Option("--by", help="Also count rows by this index column; may be repeated.")
    ] = None,
    max_memory: MaxMemory = None,
    threads: Threads = None,
    output_format: OutputFormat = Format.AUTO,
) -> None:
    """Show a manifest: rows, shares, sources, parents, digests. Reads the header alone unless --by is given.

    Exit code: 0 shown, 2 unusable input.

    Example: collapse-guard manifest show gen4/manifest.cgm.json --by class --by evidence
    """
    loaded = load_manifest(manifest)
    limits = Limits(max_memory, threads)
    groups = {column.value: _counted(loaded, column.value, limits) for column in by or []}
    view = manifest_view(loaded, groups)
    print_view(view, manifest_sections(view), output_format)


def _counted(manifest: Manifest, column: str, limits: Limits) -> dict[Any, tuple[int, float]]:
    """Return rows and amount per value of an index column."""
    amounts = manifest.amount_by(column, limits=limits)
    return {value: (rows, amounts[(value,)]) for (value,), rows in manifest.rows_by(column, limits=limits).items()}
