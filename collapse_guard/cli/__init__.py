"""The command line: one file per command, exit codes 0 kept, 1 violated, 2 unusable, 3 inconclusive."""

from __future__ import annotations

import io
import sys

import typer

from collapse_guard.cli import (
    check,
    check_checkpoint,
    demo,
    export,
    forecast,
    manifest,
    prove_accumulation,
    schema,
    simulate,
    takedown,
)
from collapse_guard.errors import ContractError, InputError, MissingExtraError

app = typer.Typer(
    name="collapse-guard",
    help="Guardrail against model collapse: keep real data, filter the rest, halt when the tail dies.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("check")(check.check)
app.command("check-checkpoint")(check_checkpoint.check_checkpoint)
app.command("demo")(demo.demo)
app.command("export")(export.export)
app.command("forecast")(forecast.forecast_command)
app.command("prove-accumulation")(prove_accumulation.prove_accumulation_command)
app.add_typer(manifest.app, name="manifest")
app.command("schema")(schema.schema)
app.command("simulate")(simulate.simulate_command)
app.command("takedown")(takedown.takedown)


@app.callback(invoke_without_command=True)
def version(show: bool = typer.Option(False, "--version", help="Print the version and exit.")) -> None:  # noqa: FBT001 - typer's way
    """Guardrail against model collapse: keep real data, filter the rest, halt when the tail dies."""
    if show:
        from importlib.metadata import version as installed  # noqa: PLC0415 - only for this flag

        typer.echo(f"collapse-guard {installed('collapse-guard')}")
        raise typer.Exit


def main() -> None:
    """Run the command line; what a user can mend is one line per fault, never a traceback."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a class name must not break a narrow terminal
    try:
        app()
    except (InputError, MissingExtraError) as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(2)
    except ContractError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(1)
    except OSError as error:
        typer.echo(f"error: {error.filename or ''}: {error.strerror or error}", err=True)
        sys.exit(2)
