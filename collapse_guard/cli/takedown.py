"""``collapse-guard takedown``: record a lawful deletion."""

from __future__ import annotations

import datetime as dt
from pathlib import Path  # noqa: TC003 - typer reads annotations at run time
from typing import Annotated

import typer

from collapse_guard.manifest import add_takedowns, load_takedowns


def takedown(
    ids: Annotated[list[str], typer.Argument(metavar="ID...", help="Ids of the rows, 32 hexadecimal digits each.")],
    to: Annotated[Path, typer.Option("--to", help="The list, a JSON lines file; made if it is not there.")],
    reason: Annotated[str, typer.Option("--reason", help="Why the rows had to go, such as the number of the request.")],
    date: Annotated[
        str | None, typer.Option("--date", help="Day of the deletion, such as 2026-03-31; today if left out.")
    ] = None,
) -> None:
    """Add rows to a list of lawful deletions; salted digests are written, never the ids.

    Name the list in the policy (accumulation.takedowns): its rows may leave, and may not come back.

    Example: collapse-guard takedown 00712c385afebb90d1c2a7f3e8b45d16 --to takedowns.jsonl --reason "erasure 118"
    """
    n_before = len(load_takedowns(to).records) if to.exists() else 0
    day = date if date is not None else dt.datetime.now(dt.UTC).date()
    taken = add_takedowns(to, ids, reason=reason, date=day)
    n_new = len(taken.records) - n_before
    known = len(set(map(str.lower, ids))) - n_new
    listed = f"; {known} {'was' if known == 1 else 'were'} listed already" if known else ""
    typer.echo(f"{n_new} {'row' if n_new == 1 else 'rows'} taken down{listed}; {to} lists {len(taken.records)}")
