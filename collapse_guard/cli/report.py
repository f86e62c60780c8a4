"""``collapse-guard report``: a result of the gate in another format."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from collapse_guard.cli.outputs import check_format, parse_outputs, show_gate
from collapse_guard.errors import InputError
from collapse_guard.report.formats import write
from collapse_guard.report.result import load_result, read_result


def report(
    result: Annotated[
        str,
        typer.Argument(metavar="RESULT.json", help="What 'check --output json=FILE' wrote; - reads it from a pipe."),
    ],
    output_format: Annotated[
        str,
        typer.Option(
            "--output-format",
            help="On the screen: auto (rich on a terminal, plain otherwise), rich, plain, json, sarif, junit, github,"
            " gitlab, azure, markdown, html.",
        ),
    ] = "auto",
    output: Annotated[
        list[str] | None,
        typer.Option("--output", "-o", help="Write FORMAT=PATH, such as html=gate.html; may be repeated."),
    ] = None,
) -> None:
    """Show a result of the gate again, or write it in other formats; nothing is checked again.

    Exit code: 0 written, whatever the verdict was; 2 unusable input.

    Examples:
      collapse-guard report gate.json --output html=gate.html --output sarif=gate.sarif

      collapse-guard check --output-format json | collapse-guard report - --output-format markdown
    """
    shown = check_format(output_format)
    files = parse_outputs(output or [])
    for name, path in files:
        if result != "-" and os.path.realpath(path) == os.path.realpath(result):
            raise InputError(f"--output {name}={path}: is the result that is read; name another file")
    view = read_result(sys.stdin.buffer, name="standard input") if result == "-" else load_result(Path(result))
    write(view, files)
    show_gate(view, shown)
