"""CG104: did the mix move since the previous generation?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from collapse_guard.kernels import one_line
from collapse_guard.records import Finding, Severity
from collapse_guard.rules.mix.amounts import SLACK
from collapse_guard.rules.registry import Subject, rule
from collapse_guard.rules.unanswered import not_evaluated, other_units, without_parent

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from collapse_guard.manifest import Manifest
    from collapse_guard.policy.mix import Drift

#: Sources that a message names; the evidence has all that moved.
_MOST_NAMED = 5


@rule("CG104", Severity.WARNING, "mix drifted from the previous generation", needs=("policy", "manifest", "index"))
def mix_drift(subject: Subject) -> Iterator[Finding]:
    """Total variation between the shares of the sources in both generations, in the unit that both count.

    Half of the sum of all differences: the share of the training set that would have to change its source. A manifest
    holds every row and not a sample of them, so that the distance is exact and has no interval. Above
    ``mix.drift.error`` the finding is an error.
    """
    assert subject.policy is not None
    assert subject.manifest is not None
    drift = subject.policy.mix.drift
    if drift is None:
        return
    open_question = _unanswered(subject)
    if open_question is not None:
        yield not_evaluated("CG104", Severity.WARNING, open_question, key=("mix", "drift"))
        return
    if subject.previous is None:
        return
    before, now = _shares(subject.previous, subject), _shares(subject.manifest, subject)
    moved = {name: now.get(name, 0.0) - before.get(name, 0.0) for name in sorted({*before, *now})}
    distance = sum(map(abs, moved.values())) / 2
    if distance > drift.warn + SLACK:
        yield _drifted(drift, distance, moved, before, now, unit=subject.manifest.header.unit)


def _unanswered(subject: Subject) -> str | None:
    """Return why shares cannot be compared, None if they can, or if there is nothing to compare with."""
    if subject.previous is None:
        return without_parent(subject)
    assert subject.manifest is not None
    if subject.manifest.amount <= 0 or subject.previous.amount <= 0:
        return f"nothing trains in {'the parent' if subject.previous.amount <= 0 else 'the manifest'}"
    return other_units(subject)


def _shares(manifest: Manifest, subject: Subject) -> dict[str, float]:
    amounts = manifest.amount_by("source", limits=subject.limits)
    total = sum(amounts.values())
    return {name: amount / total for (name,), amount in amounts.items()} if total > 0 else {}


def _drifted(
    drift: Drift,
    distance: float,
    moved: Mapping[str, float],
    before: Mapping[str, float],
    now: Mapping[str, float],
    *,
    unit: str,
) -> Finding:
    is_error = distance > drift.error + SLACK
    limit, key = (drift.error, "error") if is_error else (drift.warn, "warn")
    furthest = sorted((name for name in moved if moved[name]), key=lambda name: (-abs(moved[name]), name))
    listed = ", ".join(f"{one_line(name)} {moved[name]:+.4f}" for name in furthest[:_MOST_NAMED])
    more = f" and {len(furthest) - _MOST_NAMED} more" if len(furthest) > _MOST_NAMED else ""
    return Finding(
        "CG104",
        Severity.ERROR if is_error else Severity.WARNING,
        f"{distance:.4f} of the {unit} moved from one source to another since the parent, the limit is {limit:g}:"
        f" {listed}{more}",
        evidence={
            "total_variation": distance,
            "warn": drift.warn,
            "error": drift.error,
            "unit": unit,
            "by_source": {
                name: {"before": before.get(name, 0.0), "now": now.get(name, 0.0), "delta": moved[name]}
                for name in furthest
            },
        },
        subject="mix",
        measured=distance,
        limit=limit,
        unit="share",
        key=("mix", "drift", key),
        remedy="put the mix back, or widen mix.drift in review if the change is meant",
    )
