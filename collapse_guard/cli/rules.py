"""``collapse-guard rules``: the catalogue of the rules of the gate."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from collapse_guard.cli.printing import Format, print_view
from collapse_guard.report.rule_text import catalogue_markdown, rule_sections
from collapse_guard.rules.catalogue import catalogue


class CatalogueFormat(StrEnum):
    """How the catalogue is printed."""

    AUTO = "auto"
    RICH = "rich"
    PLAIN = "plain"
    JSON = "json"
    MARKDOWN = "markdown"


def rules(
    output_format: Annotated[
        CatalogueFormat,
        typer.Option("--output-format", help="auto: rich on a terminal, plain otherwise; markdown is docs/rules.md."),
    ] = CatalogueFormat.AUTO,
) -> None:
    """List the rules of the gate by family: severity, what each needs, whether it can be waived, its policy keys.

    Examples:
      collapse-guard rules

      collapse-guard rules --output-format json
    """
    view = catalogue()
    if output_format is CatalogueFormat.MARKDOWN:
        typer.echo(catalogue_markdown(view), nl=False)
    else:
        print_view(view, rule_sections(view), Format(output_format.value))
