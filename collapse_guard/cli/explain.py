"""``collapse-guard explain``: the page of a rule."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer

from collapse_guard.cli.printing import Format, OutputFormat
from collapse_guard.report.rule_text import explained_markdown
from collapse_guard.rules.catalogue import explained


def explain(
    codes: Annotated[list[str], typer.Argument(metavar="CODE...", help="Codes of rules, such as CG201.")],
    output_format: OutputFormat = Format.AUTO,
) -> None:
    """Explain a rule: why it is there, how it measures, its policy keys with their defaults, an example, what to do.

    In a pipe it is Markdown.

    Examples:
      collapse-guard explain CG201

      collapse-guard explain cg101 cg107 --output-format json
    """
    view = explained(codes)
    pages = [explained_markdown(rule) for rule in view["rules"]]
    if output_format is Format.JSON:
        typer.echo(json.dumps(view, indent=2, ensure_ascii=False))
    elif output_format is Format.RICH or (output_format is Format.AUTO and sys.stdout.isatty()):
        _drawn("\n".join(pages))
    else:
        typer.echo("\n".join(pages), nl=False)


def _drawn(markdown: str) -> None:
    from rich.console import Console  # noqa: PLC0415 - only on a terminal
    from rich.markdown import Markdown  # noqa: PLC0415 - as above

    Console().print(Markdown(markdown))
