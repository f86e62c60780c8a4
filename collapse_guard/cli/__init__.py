"""The command line: one file per command, exit codes 0 kept, 1 violated, 2 unusable, 3 inconclusive."""

from __future__ import annotations

import io
import os
import sys
from typing import Final

import typer

from collapse_guard.cli.lazy import LazyCommands
from collapse_guard.errors import ContractError, InputError, MissingExtraError

#: Command -> its module and what is run.
COMMANDS: Final = {
    "init": ("init", "init"),
    "check": ("check", "check"),
    "lint": ("lint", "lint"),
    "rules": ("rules", "rules"),
    "explain": ("explain", "explain"),
    "baseline": ("baseline", "app"),
    "waivers": ("waivers", "app"),
    "report": ("report", "report"),
    "check-checkpoint": ("check_checkpoint", "check_checkpoint"),
    "demo": ("demo", "demo"),
    "export": ("export", "export"),
    "forecast": ("forecast", "forecast_command"),
    "manifest": ("manifest", "app"),
    "prove": ("prove", "prove"),
    "schema": ("schema", "schema"),
    "simulate": ("simulate", "simulate_command"),
    "takedown": ("takedown", "takedown"),
}

#: Earlier names that go on working.
ALIASES: Final = {"prove-accumulation": "prove"}


class _Commands(LazyCommands):
    package = __name__
    modules = COMMANDS
    aliases = ALIASES


app = typer.Typer(
    name="collapse-guard",
    cls=_Commands,
    help="Guardrail against model collapse: keep real data, filter the rest, halt when the tail dies.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(invoke_without_command=True)
def version(show: bool = typer.Option(False, "--version", help="Print the version and exit.")) -> None:  # noqa: FBT001 - typer's way
    """Guardrail against model collapse: keep real data, filter the rest, halt when the tail dies."""
    if show:
        from importlib.metadata import version as installed  # noqa: PLC0415 - only for this flag

        typer.echo(f"collapse-guard {installed('collapse-guard')}")
        raise typer.Exit


def main() -> None:
    """Run the command line; what a user can mend is one line per fault, never a traceback."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by who called
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115, PTH123 - as long as the process
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a class name must not break a narrow terminal
    os.environ.setdefault(
        "OPENBLAS_NUM_THREADS", "1"
    )  # no command needs more, and NumPy starts them when it is imported
    try:
        app()
    except (InputError, MissingExtraError) as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(2)
    except ContractError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(1)
    except BrokenPipeError:
        sys.exit(2)
    except OSError as error:
        typer.echo(f"error: {error.filename or ''}: {error.strerror or error}", err=True)
        sys.exit(2)
