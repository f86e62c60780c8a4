"""CG207, CG208: rows that left under a takedown, and rows that came back in spite of one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from collapse_guard.kernels import one_line
from collapse_guard.manifest import listed, taken_down_rows
from collapse_guard.records import Finding, Severity
from collapse_guard.rules.integrity import problems
from collapse_guard.rules.registry import Subject, rule

if TYPE_CHECKING:
    from collections.abc import Iterator

#: The policy key that names the list.
_KEY = ("accumulation", "takedowns")


@rule("CG207", Severity.INFO, "real rows left under takedowns", needs=("policy", "manifest", "index"))
def lawful_deletions(subject: Subject) -> Iterator[Finding]:
    """Lost real rows that a takedown covers, by its reason and date; they are no loss (CG201)."""
    proof = subject.proof
    if proof is None or not proof.taken_down.n_rows:
        return
    by = ", ".join(f"{one_line(reason)} ({date}) {rows}" for reason, date, rows in proof.by_takedown[:5])
    n_rows = proof.taken_down.n_rows
    yield Finding(
        "CG207",
        Severity.INFO,
        f"{n_rows} real {'row' if n_rows == 1 else 'rows'} left under takedowns: {by}",
        evidence={
            "n_rows": n_rows,
            "by_takedown": [list(group) for group in proof.by_takedown],
            "by": [list(group) for group in proof.taken_down.by_source_and_class],
        },
        subject="taken down",
        measured=n_rows,
        limit=0,
        unit="rows",
        key=_KEY,
        remedy="nothing to do; keep the list of takedowns with the manifests",
    )


def _lists_that_shrank(subject: Subject) -> Iterator[Finding]:
    """Yield a finding if a manifest was written under a list of takedowns that is gone or holds fewer now."""
    n_now = 0 if subject.takedowns is None else subject.takedowns.entry.rows
    for which, manifest in (("the manifest", subject.manifest), ("its parent", subject.previous)):
        entry = None if manifest is None else manifest.header.takedowns
        if entry is not None and entry.rows > n_now:
            yield Finding(
                "CG208",
                Severity.ERROR,
                f"{which} was written under {entry.rows} takedowns, {n_now} are known now",
                evidence={"recorded": entry.rows, "known": n_now},
                subject=f"takedowns of {which}",
                measured=n_now,
                limit=entry.rows,
                unit="takedowns",
                key=_KEY,
                remedy="name the list in accumulation.takedowns; deletions are added to it, never taken out",
            )
            return


@rule(
    "CG208",
    Severity.ERROR,
    "a row that was taken down is in the manifest, or the list cannot be read",
    needs=("policy", "manifest", "index"),
)
def taken_down_rows_stay_away(subject: Subject) -> Iterator[Finding]:
    """Rows of any origin whose id is on the list of takedowns."""
    assert subject.manifest is not None
    yield from problems(subject, "CG208")
    yield from _lists_that_shrank(subject)
    if subject.takedowns is None:
        return
    here = taken_down_rows(subject.manifest, subject.takedowns, limits=subject.limits)
    if here.n_rows:
        yield Finding(
            "CG208",
            Severity.ERROR,
            f"{here.n_rows} {'row in the manifest was' if here.n_rows == 1 else 'rows in the manifest were'} taken"
            f" down: {listed(here.by_source_and_class, here.ids)}",
            evidence={
                "n_rows": here.n_rows,
                "by": [list(group) for group in here.by_source_and_class],
                "ids": list(here.ids),
            },
            subject="taken down",
            measured=here.n_rows,
            limit=0,
            unit="rows",
            key=_KEY,
            remedy="take them out of the data, and write the manifest again",
        )
