"""How results are printed: for people on a terminal, as plain lines, or as JSON."""

from __future__ import annotations

import json
import sys
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from collapse_guard.report import plain
from collapse_guard.report.tables import print_sections, section_lines

if TYPE_CHECKING:
    from collections.abc import Sequence

    from collapse_guard.report.tables import Table


class Format(StrEnum):
    """How the result is printed."""

    AUTO = "auto"
    RICH = "rich"
    PLAIN = "plain"
    JSON = "json"


OutputFormat = Annotated[Format, typer.Option("--output-format", help="auto: rich on a terminal, plain otherwise.")]


def print_view(view: dict[str, Any], sections: Sequence[str | Table], output_format: Format) -> None:
    """Print a result: its lines and tables, or the view as JSON."""
    if output_format is Format.JSON:
        typer.echo(json.dumps(plain(view), indent=2, ensure_ascii=False))
    elif output_format is Format.RICH or (output_format is Format.AUTO and sys.stdout.isatty()):
        print_sections(sections)
    else:
        typer.echo("\n".join(section_lines(sections)))
