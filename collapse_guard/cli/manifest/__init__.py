"""``collapse-guard manifest``: make, compose, show, compare, verify and sign manifests; one file per command."""

from __future__ import annotations

from typing import Final

import typer

from collapse_guard.cli.lazy import LazyCommands

#: Command -> its module and what is run.
COMMANDS: Final = {
    **{name: (name, name) for name in ("write", "merge", "show", "diff", "verify", "log", "prune", "sign")},
    "verify-signature": ("verify_signature", "verify_signature"),
}


class _Commands(LazyCommands):
    package = __name__
    modules = COMMANDS


app = typer.Typer(
    cls=_Commands,
    help="Manifests: what went into a training set, and how it is known.",
    no_args_is_help=True,
    add_completion=False,
)


@app.callback()
def manifest() -> None:
    """Manifests: what went into a training set, and how it is known."""
