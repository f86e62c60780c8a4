"""``collapse-guard baseline``: the findings that were there when the gate was switched on; the list only shrinks."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path  # noqa: TC003 - typer reads annotations at run time
from typing import Any, Final

import typer

from collapse_guard import gate
from collapse_guard.cli.asked import (
    AgainstOption,
    Asked,
    BaselineOption,
    ManifestOption,
    NoConfig,
    PolicyOption,
    asked,
)
from collapse_guard.cli.printing import Format, OutputFormat
from collapse_guard.errors import InputError
from collapse_guard.kernels import one_line
from collapse_guard.records import Status
from collapse_guard.report.terminal import gate_lines
from collapse_guard.rules.baseline import Baseline, Difference, Entry, difference, entries_of, load_baseline

FILE_NAME: Final = "collapse_guard_baseline.jsonl"

app = typer.Typer(
    help="Known findings: accepted as they are, never worse; the list only ever shrinks.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@dataclass(frozen=True)
class _Now:
    """What is found today, beside what the file holds, and whether the policy or an option names that file."""

    path: Path
    found: Baseline
    before: Baseline | None
    difference: Difference
    is_named: bool


@app.command()
def write(
    policy: PolicyOption = None,
    manifest: ManifestOption = None,
    against: AgainstOption = None,
    baseline: BaselineOption = None,
    no_config: NoConfig = False,
) -> None:
    """Write what fails today, so that from now on only what is new or worse fails.

    Where there is a baseline already, nothing new and nothing worse is taken in: exit 1, and the file stays as it is.

    Example: collapse-guard baseline write -p collapse_guard.yaml
    """
    wanted = asked(policy, manifest, against, baseline, no_config=no_config)
    now = _now(wanted)
    if not now.difference.holds:
        _say(now.difference)
        typer.echo(
            f"{one_line(str(now.path))}: not written: a baseline takes in nothing new; mend it, or waive it", err=True
        )
        raise typer.Exit(1)
    entries = now.found.entries if now.before is None else now.difference.shrunk
    Baseline(now.found.parent_digest, entries).write(now.path)
    typer.echo(f"{one_line(str(now.path))}: {_counted(len(entries))}")
    if not now.is_named:
        typer.echo(f"next: write 'baseline: {now.path.name}' into {one_line(str(wanted.policy))}")


@app.command()
def diff(
    policy: PolicyOption = None,
    manifest: ManifestOption = None,
    against: AgainstOption = None,
    baseline: BaselineOption = None,
    output_format: OutputFormat = Format.AUTO,
    no_config: NoConfig = False,
) -> None:
    """Show what is new, worse, better or gone since the baseline was written.

    Exit code: 0 nothing new or worse, 1 something is, 2 unusable input, 3 a rule could not be evaluated.

    Example: collapse-guard baseline diff -p collapse_guard.yaml
    """
    now = _now(asked(policy, manifest, against, baseline, no_config=no_config))
    _known(now)
    if output_format is Format.JSON:
        typer.echo(json.dumps(_plain(now.difference), indent=2, ensure_ascii=False))
    else:
        _say(now.difference)
    raise typer.Exit(0 if now.difference.holds else 1)


@app.command()
def prune(
    policy: PolicyOption = None,
    manifest: ManifestOption = None,
    against: AgainstOption = None,
    baseline: BaselineOption = None,
    no_config: NoConfig = False,
) -> None:
    """Take out what is gone, and lower what is better; nothing is added, nothing is raised.

    Example: collapse-guard baseline prune -p collapse_guard.yaml
    """
    now = _now(asked(policy, manifest, against, baseline, no_config=no_config))
    before = _known(now)
    Baseline(now.found.parent_digest, now.difference.shrunk).write(now.path)
    n_gone, n_lowered = len(now.difference.gone), len(now.difference.better)
    typer.echo(
        f"{one_line(str(now.path))}: {_counted(len(before.entries))} -> {len(now.difference.shrunk)}"
        f" ({n_gone} gone, {n_lowered} lowered)"
    )


def _now(wanted: Asked) -> _Now:
    """Return what fails today; exits with 2 where the gate cannot look."""
    result = gate.check(
        wanted.policy, wanted.manifest, against=wanted.against, governing=gate.Governing(has_baseline=False)
    )
    is_open = any(found.status is Status.INCONCLUSIVE for found in result.findings)
    if result.exit_code == gate.UNUSABLE or is_open:  # of what was not evaluated nobody knows what it would find
        typer.echo("\n".join(gate_lines(result.as_dict())), err=True)
        raise typer.Exit(gate.UNUSABLE if result.exit_code == gate.UNUSABLE else gate.INCONCLUSIVE)
    declared = None if result.subject.policy is None else result.subject.policy.baseline
    path = wanted.baseline or wanted.policy.parent / (declared or FILE_NAME)
    before = load_baseline(path) if os.path.lexists(path) else None
    parent = result.parent_digest
    found = Baseline(parent, entries_of(result.findings, parent))
    changed = difference(before or found, result.findings, parent)
    return _Now(path, found, before, changed, is_named=wanted.baseline is not None or declared is not None)


def _known(now: _Now) -> Baseline:
    if now.before is None:
        raise InputError(f"{now.path}: no such baseline; 'collapse-guard baseline write' makes one")
    return now.before


def _say(found: Difference) -> None:
    pairs = (("new", found.new), ("gone", found.gone))
    lines = [f"{word}: {_named(entry)} {_figure(entry)}" for word, entries in pairs for entry in entries]
    for word, changed in (("worse", found.worse), ("better", found.better)):
        lines += [f"{word}: {_named(now)} {_figure(before)} -> {_figure(now)}" for before, now in changed]
    lines.append(
        f"{len(found.new)} new, {len(found.worse)} worse, {len(found.better)} better, {len(found.gone)} gone,"
        f" {len(found.same)} as before"
    )
    typer.echo("\n".join(lines))


def _named(entry: Entry) -> str:
    return f"{entry.rule} of {one_line(entry.subject)}"


def _figure(entry: Entry) -> str:
    return f"{entry.measured:g} {one_line(entry.unit)}".rstrip()


def _counted(n_entries: int) -> str:
    return f"{n_entries} {'entry' if n_entries == 1 else 'entries'}"


def _plain(found: Difference) -> dict[str, Any]:
    """Return a difference as plain values under the schema ``collapse-guard/baseline-difference/1``."""
    pairs = {"worse": found.worse, "better": found.better}
    return {
        "schema": "collapse-guard/baseline-difference/1",
        "new": [entry.as_dict() for entry in found.new],
        "gone": [entry.as_dict() for entry in found.gone],
        "same": [entry.as_dict() for entry in found.same],
    } | {
        word: [now.as_dict() | {"recorded": before.measured} for before, now in changed]
        for word, changed in pairs.items()
    }
