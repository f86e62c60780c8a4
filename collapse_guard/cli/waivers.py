"""``collapse-guard waivers``: what a policy accepts, who answers for it, and until when."""

from __future__ import annotations

import datetime as dt
import re
from typing import Annotated, Any

import typer

from collapse_guard.cli.asked import NoConfig, PolicyOption, asked
from collapse_guard.cli.printing import Format, OutputFormat, print_view
from collapse_guard.errors import InputError
from collapse_guard.kernels import one_line
from collapse_guard.policy import load_policy
from collapse_guard.report.tables import Table

app = typer.Typer(
    help="Waivers of a policy: what is accepted, who answers for it, and until when.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback()
def waivers() -> None:
    """Waivers of a policy: what is accepted, who answers for it, and until when."""


@app.command("list")
def list_waivers(
    policy: PolicyOption = None,
    expiring: Annotated[
        str | None, typer.Option("--expiring", metavar="DAYS", help="Only what ends within so many days, such as 14d.")
    ] = None,
    output_format: OutputFormat = Format.AUTO,
    no_config: NoConfig = False,
) -> None:
    """List the waivers, soonest end first.

    Exit code: 0; with --expiring 1 if one has expired or ends within these days, so that a calendar job can tell.

    Example: collapse-guard waivers list --expiring 14d
    """
    today = dt.datetime.now(dt.UTC).date()
    days = None if expiring is None else _days(expiring)
    path = asked(policy, no_config=no_config).policy
    found = [
        each.model_dump(mode="json") | {"days_left": (each.expires - today).days}
        for each in load_policy(path, allow_code=True).waivers
    ]
    listed = sorted(
        (each for each in found if days is None or each["days_left"] <= days), key=lambda each: each["days_left"]
    )
    view = {"schema": "collapse-guard/waivers/1", "policy": str(path), "today": today.isoformat(), "waivers": listed}
    lines = [f"{len(listed)} of {len(found)} waivers"] if days is not None else [f"{len(found)} waivers"]
    print_view(view, [*lines, *([_table(listed)] if listed else [])], output_format)
    raise typer.Exit(1 if days is not None and listed else 0)


def _days(text: str) -> int:
    found = re.fullmatch(r"([0-9]{1,4})d?", text.strip())
    if found is None:
        raise InputError(f"--expiring takes a number of days such as 14d, got {text!r}")
    return int(found.group(1))


def _table(listed: list[dict[str, Any]]) -> Table:
    columns = ("waiver", "rule", "where", "limit", "owner", "ends", "days left", "reason")
    return Table("waivers", columns, tuple(tuple(_cells(each)) for each in listed))


def _cells(each: dict[str, Any]) -> list[str]:
    where = ", ".join(f"{key} {value}" for key, value in each["where"].items())
    limit = ", ".join(f"{key} {value:g}" for key, value in each["limit"].items())
    left = str(each["days_left"]) if each["days_left"] >= 0 else f"expired {-each['days_left']} days ago"
    cells = [each["id"], each["rule"], where or "all", limit, each["owner"], each["expires"], left, each["reason"]]
    return [one_line(cell) for cell in cells]
