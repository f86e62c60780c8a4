"""CG501, CG503: are the rare classes still there, and did the common ones grow at their cost?"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from collapse_guard.kernels import one_line
from collapse_guard.records import Finding, Origin, Severity, mark_of
from collapse_guard.rules.registry import Subject, rule
from collapse_guard.rules.unanswered import not_evaluated, without_parent

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from collapse_guard.policy import Coverage

#: Room for the rounding of sums of shares.
_SLACK = 1e-9


@rule("CG501", Severity.ERROR, "rare-class coverage fell", needs=("policy", "manifest", "index", "reference"))
def classes_alive(subject: Subject) -> Iterator[Finding]:
    """Classes of the real reference (or of the parent's real rows) that the training set no longer has."""
    assert subject.policy is not None
    assert subject.manifest is not None
    before = subject.reference or subject.previous
    coverage = subject.policy.coverage
    if before is None or coverage is None or not coverage.cells:
        return
    real = before.class_rows(Origin.REAL, limits=subject.limits)
    if not real:
        yield not_evaluated("CG501", Severity.ERROR, "no real row of the reference carries a class", key=("coverage",))
        return
    reference = {name: rows for name, rows in real.items() if rows >= coverage.min_class_rows}
    present = subject.manifest.class_rows(trained=True, limits=subject.limits)
    lost = sorted((name for name in reference if name not in present), key=lambda name: (reference[name], name))
    if len(lost) > coverage.max_classes_lost:
        shown = ", ".join(f"{one_line(name)} ({reference[name]} before)" for name in lost[:10])
        n_alive = len(reference) - len(lost)
        yield Finding(
            "CG501",
            Severity.ERROR,
            f"{len(lost)} of {len(reference)} classes are gone: {shown}",
            evidence={
                "lost": lost[:10],
                "n_lost": len(lost),
                "coverage": n_alive / len(reference),
                "coverage_before": 1.0,
            },
            subject="classes",
            measured=len(lost),
            limit=coverage.max_classes_lost,
            unit="classes",
            mark=mark_of(lost),
            key=("coverage", "max_classes_lost"),
            remedy="put the rows of these classes back",
        )


@rule("CG503", Severity.WARNING, "mass moved to the head", needs=("policy", "manifest", "index"))
def mass_in_the_tail(subject: Subject) -> Iterator[Finding]:
    """Entropy of the class shares, and share of the largest classes, against the real rows of the reference or parent.

    Both count rows of the training set, so that they are exact. The head is the largest classes of each, whichever they
    are: a rare class that swells is a head too.
    """
    assert subject.policy is not None
    assert subject.manifest is not None
    coverage = subject.policy.coverage
    if coverage is None or not coverage.cells:
        return
    keys = [key for key in ("max_entropy_drop_nats", "max_head_share_rise") if getattr(coverage, key) is not None]
    reference = subject.reference or subject.previous
    if not keys or (reference is None and without_parent(subject) is None):
        return
    lacking = without_parent(subject) if reference is None else None
    before = {} if reference is None else reference.class_rows(Origin.REAL, limits=subject.limits)
    now = subject.manifest.class_rows(trained=True, limits=subject.limits)
    if lacking is None and not (before and now):
        lacking = f"no {'row of the training set' if before else 'real row of the reference'} carries a class"
    if lacking is None:
        yield from _moved(coverage, before, now)
    else:
        for key in keys:
            yield not_evaluated("CG503", Severity.WARNING, lacking, subject=key, key=("coverage", key))


def _moved(coverage: Coverage, before: Mapping[str, int], now: Mapping[str, int]) -> Iterator[Finding]:
    """Yield what is beyond its limit, of two sets of rows per class."""
    if coverage.max_entropy_drop_nats is not None:
        figures = entropy_nats(before), entropy_nats(now)
        yield from _fell(figures, coverage.max_entropy_drop_nats)
    if coverage.max_head_share_rise is not None:
        n_head = coverage.head_classes
        if n_head >= len(before):
            why = f"the reference has {len(before)} classes, and coverage.head_classes is {n_head}: the head is all"
            yield not_evaluated("CG503", Severity.WARNING, why, subject="head", key=("coverage", "head_classes"))
            return
        yield from _rose((head_share(before, n_head), head_share(now, n_head)), coverage.max_head_share_rise, n_head)


def entropy_nats(rows: Mapping[str, int]) -> float:
    """Return the entropy of the shares of classes with rows, in nats.

    >>> round(entropy_nats({"cat": 2, "owl": 2}), 4)
    0.6931
    """
    total = sum(rows.values())
    return math.fsum(-n / total * math.log(n / total) for n in rows.values() if n)


def head_share(rows: Mapping[str, int], n_classes: int) -> float:
    """Return the share of rows in the largest classes.

    >>> head_share({"cat": 7, "owl": 2, "newt": 1}, 2)
    0.9
    """
    return sum(sorted(rows.values(), reverse=True)[:n_classes]) / sum(rows.values())


def _fell(figures: tuple[float, float], limit: float) -> Iterator[Finding]:
    before, now = figures
    if before - now > limit + _SLACK:
        yield Finding(
            "CG503",
            Severity.WARNING,
            f"the entropy of the class shares was {before:.4f} nats and is {now:.4f}, a drop of {before - now:.4f};"
            f" the limit is {limit:g}",
            evidence={"before_nats": before, "now_nats": now},
            subject="entropy",
            measured=before - now,
            limit=limit,
            unit="nats",
            key=("coverage", "max_entropy_drop_nats"),
            remedy="add rows of the rarer classes, or plan with mix.balance: anchor",
        )


def _rose(figures: tuple[float, float], limit: float, n_head: int) -> Iterator[Finding]:
    before, now = figures
    if now - before > limit + _SLACK:
        named = "the largest class" if n_head == 1 else f"the {n_head} largest classes"
        yield Finding(
            "CG503",
            Severity.WARNING,
            f"{named} held a share of {before:.4f} and {'holds' if n_head == 1 else 'hold'} {now:.4f}, a rise of"
            f" {now - before:.4f}; the limit is {limit:g}",
            evidence={"before_share": before, "now_share": now, "head_classes": n_head},
            subject="head",
            measured=now - before,
            limit=limit,
            unit="share",
            key=("coverage", "max_head_share_rise"),
            remedy="add rows of the rarer classes, or plan with mix.balance: anchor",
        )
