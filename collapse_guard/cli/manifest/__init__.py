"""``collapse-guard manifest``: make, compose, show, compare and verify manifests; one file per command."""

from __future__ import annotations

import typer

from collapse_guard.cli.manifest import diff, log, merge, show, verify, write

app = typer.Typer(
    help="Manifests: what went into a training set, and how it is known.", no_args_is_help=True, add_completion=False
)
app.command("write")(write.write)
app.command("merge")(merge.merge)
app.command("show")(show.show)
app.command("diff")(diff.diff)
app.command("verify")(verify.verify)
app.command("log")(log.log)
