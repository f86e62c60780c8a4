"""``collapse-guard lint``: policies alone, fast enough for a commit hook."""

from __future__ import annotations

import datetime as dt
from enum import StrEnum
from pathlib import Path  # noqa: TC003 - typer reads annotations at run time
from typing import TYPE_CHECKING, Annotated

import typer

from collapse_guard.cli.asked import NoConfig, asked
from collapse_guard.errors import PolicyError, Problem
from collapse_guard.kernels import one_line
from collapse_guard.plugins import nearest
from collapse_guard.policy import resolve_policy
from collapse_guard.policy.resolved import refused_waivers
from collapse_guard.policy.waiver import SOON_DAYS
from collapse_guard.rules import RULES
from collapse_guard.rules.governance import unchecked_keys

if TYPE_CHECKING:
    from collections.abc import Iterator

    from collapse_guard.policy import Resolved


class Shown(StrEnum):
    """How faults are printed."""

    PLAIN = "plain"
    GITHUB = "github"


def lint(
    policies: Annotated[
        list[Path] | None, typer.Argument(metavar="POLICY...", help="Policy files; the project's if left out.")
    ] = None,
    output_format: Annotated[Shown, typer.Option("--output-format", help="A line each, or annotations.")] = Shown.PLAIN,
    no_config: NoConfig = False,
) -> None:
    """Check policies without any data: what does not parse, what contradicts itself, waivers that cannot hold.

    Exit code: 0 usable, 1 a waiver has expired, 2 a policy that cannot be used. Waivers that soon end, and keys that no
    check reads, are printed and do not fail.

    Example: collapse-guard lint collapse_guard.yaml
    """
    paths = policies or [asked(None, no_config=no_config).policy]
    today = dt.datetime.now(dt.UTC).date()
    n_bad, has_expired = 0, False
    for path in paths:
        faults, expired, notes = _looked_at(path, today)
        n_bad, has_expired = n_bad + bool(faults), has_expired or bool(expired)
        for level, found in (("error", [*faults, *expired]), ("warning", notes)):
            for problem in found:
                typer.echo(_annotation(problem, level) if output_format is Shown.GITHUB else _line(problem, level))
    bad = f"{n_bad} of {len(paths)} cannot be used" if n_bad else "usable"
    typer.echo(f"{len(paths)} {'policy' if len(paths) == 1 else 'policies'}: {bad}")
    raise typer.Exit(2 if n_bad else int(has_expired))


def _looked_at(path: Path, today: dt.date) -> tuple[list[Problem], list[Problem], list[Problem]]:
    """Return what makes a policy unusable, what fails a check, and what does not yet."""
    try:
        resolved = resolve_policy(path, allow_code=True)  # a function that cells name is not run
    except PolicyError as error:
        return list(error.problems), [], []
    ending = list(_ending(resolved, today))
    expired = [problem for problem in ending if problem.code == "CG901"]
    soon = [problem for problem in ending if problem.code != "CG901"]
    return [*_unknown(resolved), *refused_waivers(resolved)], expired, [*soon, *_unread(resolved)]


def _unknown(resolved: Resolved) -> Iterator[Problem]:
    known = RULES.names()
    for number, waiver in enumerate(resolved.policy.waivers):
        if waiver.rule not in known:
            text, remedy = f"no rule is called {waiver.rule}", nearest(waiver.rule, known)
            yield _problem("CG903", resolved, ("waivers", number, "rule"), text, remedy)


def _ending(resolved: Resolved, today: dt.date) -> Iterator[Problem]:
    for number, waiver in enumerate(resolved.policy.waivers):
        days = (waiver.expires - today).days
        key = ("waivers", number, "expires")
        if days < 0:
            yield _problem("CG901", resolved, key, f"expired on {waiver.expires}", "take it out, or renew it in review")
        elif days <= SOON_DAYS:
            yield _problem("CG904", resolved, key, f"ends on {waiver.expires}", "mend what it hides before")


def _unread(resolved: Resolved) -> Iterator[Problem]:
    text = "no check reads it: a check is inconclusive (exit 3)"
    for key in unchecked_keys(resolved.policy):
        yield _problem("CG905", resolved, tuple(key.split(".")), text, "leave it out")


def _problem(code: str, resolved: Resolved, key: tuple[str | int, ...], message: str, remedy: str) -> Problem:
    from collapse_guard.policy.yaml_tree import dotted  # noqa: PLC0415 - only where something is wrong

    file, line = resolved.place(key)
    return Problem(code, file, line, dotted(key), message, remedy)


def _line(problem: Problem, level: str) -> str:
    text = one_line(str(problem))
    return text if level == "error" else f"{text} [{level}]"


def _annotation(problem: Problem, level: str) -> str:
    from collapse_guard.report.formats.github import escape, escape_property  # noqa: PLC0415 - only for this format

    key = f"{problem.key}: " if problem.key else ""
    remedy = f"; {problem.remedy}" if problem.remedy else ""
    properties = {"file": problem.file, "line": str(problem.line or 1), "title": problem.code}
    said = ",".join(f"{name}={escape_property(value)}" for name, value in properties.items())
    return f"::{level} {said}::{escape(f'{key}{problem.message}{remedy}')}"
