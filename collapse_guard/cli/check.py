"""``collapse-guard check``: the gate."""

from __future__ import annotations

import json
import sys
from enum import StrEnum
from pathlib import Path  # noqa: TC003 - typer reads annotations at run time
from typing import Annotated

import typer

from collapse_guard import gate
from collapse_guard.cli.limits import MaxMemory, Threads  # noqa: TC001 - typer reads annotations at run time
from collapse_guard.cli.printing import Format, OutputFormat
from collapse_guard.manifest import Limits
from collapse_guard.report import as_json, plain
from collapse_guard.report.terminal import gate_lines, print_gate


class FailOn(StrEnum):
    """Which findings make the exit code 1."""

    ERROR = "error"
    WARNING = "warning"
    NEVER = "never"


def check(
    policy: Annotated[Path, typer.Option("--policy", "-p", help="The policy, a YAML file.")],
    manifest: Annotated[
        Path | None,
        typer.Option("--manifest", "-m", help="Manifest to check; the policy's manifests.current if left out."),
    ] = None,
    against: Annotated[
        Path | None,
        typer.Option(
            "--against", help="Manifest of the parent generation; the policy's manifests.previous if left out."
        ),
    ] = None,
    output_format: OutputFormat = Format.AUTO,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Also write the JSON result to this file.")
    ] = None,
    fail_on: Annotated[FailOn, typer.Option("--fail-on", help="Least severity that fails the check.")] = FailOn.ERROR,
    max_memory: MaxMemory = None,
    threads: Threads = None,
) -> None:
    """Check a data manifest against a policy.

    Exit code: 0 kept, 1 violated, 2 unusable input, 3 inconclusive.

    Example: collapse-guard check -p collapse_guard.yaml -m gen4/manifest.cgm.json --against gen3/manifest.cgm.json
    """
    result = gate.check(policy, manifest, against=against, fail_on=fail_on.value, limits=Limits(max_memory, threads))
    view = result.as_dict()
    if output is not None:  # first: a file that cannot be written must not follow a verdict
        as_json(view, output)
    if output_format is Format.JSON:
        typer.echo(json.dumps(plain(view), indent=2, ensure_ascii=False))
    elif output_format is Format.RICH or (output_format is Format.AUTO and sys.stdout.isatty()):
        print_gate(view)
    else:
        typer.echo("\n".join(gate_lines(view)))
    raise typer.Exit(result.exit_code)
