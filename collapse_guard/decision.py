"""Statistics + policy -> continue, warn or halt; pure, so that every rank decides alike."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from collapse_guard.kernels import one_line
from collapse_guard.records import Action, Decision, RunReason

if TYPE_CHECKING:
    from collapse_guard.policy import Coverage
    from collapse_guard.stats import ClassResult, TailResult


def combined_log_e(tail: TailResult, classes: ClassResult) -> float:
    """Return the log of the average of both e-values; an average of e-values is an e-value.

    >>> from collapse_guard.stats import ClassEvidence, TailEvidence
    >>> tail = TailEvidence.start([9, 1], tail_mass=.1, max_mass_drop=.1, max_coverage_drop=.5, planned_looks=1)
    >>> classes = ClassEvidence.start([9, 1], max_class_drop=.5, planned_looks=1)
    >>> combined_log_e(tail.compute(), classes.compute())
    -inf
    """
    high, low = max(tail.log_e, classes.log_e), min(tail.log_e, classes.log_e)
    if high == -math.inf:
        return high
    return high + math.log1p(math.exp(low - high)) - math.log(2)


def decide(coverage: Coverage, tail: TailResult, classes: ClassResult, names: tuple[str, ...]) -> Decision:
    """Return what a run does after a look.

    Args:
        coverage: thresholds of the policy.
        tail: evidence on tail mass and tail coverage.
        classes: evidence on single classes.
        names: one name per cell.

    Halts (or warns, as the policy says) when the average e-value reaches 1 / false_halt_rate.
    """
    log_e = combined_log_e(tail, classes)
    limit = -math.log(coverage.false_halt_rate)
    evidence = {
        "log_e": log_e,
        "log_e_limit": limit,
        "log_e_mass": tail.log_e_mass,
        "log_e_coverage": tail.log_e_coverage,
        "log_e_class": classes.log_e,
        "false_halt_rate": coverage.false_halt_rate,
        "tail_mass_ratio": tail.tail_mass_ratio,
        "tail_coverage": tail.tail_coverage,
        "expected_tail_coverage": tail.expected_tail_coverage,
        "n_looks": tail.n_looks,
        "weakest_classes": weakest_classes(classes, names),
    }
    if log_e < limit:
        return Decision(Action.CONTINUE, RunReason.HEALTHY, f"log e {log_e:.1f} is under {limit:.1f}", evidence)
    reason = _reason(tail, classes)
    action = Action.HALT if coverage.on_violation == "halt" else Action.WARN
    return Decision(action, reason, _message(reason, evidence, coverage), evidence)


def weakest_classes(classes: ClassResult, names: tuple[str, ...], most: int = 5) -> list[str]:
    """Return the names of classes with evidence of their own (e >= 1), strongest first, at most ``most``."""
    ranked = sorted(zip(classes.log_e_per_class, names, strict=True), key=lambda pair: -pair[0])
    return [name for log_e, name in ranked[:most] if log_e >= 0]


def _reason(tail: TailResult, classes: ClassResult) -> RunReason:
    parts = {
        RunReason.TAIL_MASS: tail.log_e_mass - math.log(2),
        RunReason.TAIL_COVERAGE: tail.log_e_coverage - math.log(2),
        RunReason.CLASS_LOSS: classes.log_e,
    }
    return max(parts, key=lambda reason: parts[reason])


def _message(reason: RunReason, evidence: dict[str, object], coverage: Coverage) -> str:
    weakest = evidence["weakest_classes"]
    named = (
        f", weakest classes {one_line(', '.join(map(str, weakest)))}" if isinstance(weakest, list) and weakest else ""
    )
    what = {
        RunReason.TAIL_MASS: f"the tail's mass fell to {evidence['tail_mass_ratio']:.2f} of the reference",
        RunReason.TAIL_COVERAGE: f"tail cells are thinning out ({evidence['tail_coverage']:.0%} of them seen,"
        f" {evidence['expected_tail_coverage']:.0%} expected)",
        RunReason.CLASS_LOSS: "single classes are dying",
    }[reason]
    return (
        f"{what}{named}: log e {evidence['log_e']:.1f} reached {evidence['log_e_limit']:.1f}"
        f" (at most {100 * coverage.false_halt_rate:g}% of healthy runs ever get there)"
    )
