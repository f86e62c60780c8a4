"""Looks + policy -> continue, warn or halt; pure, so that every rank decides alike."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from collapse_guard.kernels import one_line
from collapse_guard.records import Action, Decision, RunReason
from collapse_guard.stats import e_bh

if TYPE_CHECKING:
    from collections.abc import Sequence

    from collapse_guard.policy import Coverage
    from collapse_guard.stats import ClaimedResult, ClassResult, FixedSetResult, ScoreResult, TailResult


@dataclass(frozen=True, slots=True)
class PanelResult:
    """What the looks say about one cell map against one reference.

    Args:
        cells: name of the cell map.
        reference: ``real`` or ``first_model``.
        names: one name per cell.
        claimed: evidence on unclaimed rows; None if that test is off.
    """

    cells: str
    reference: str
    names: tuple[str, ...]
    tail: TailResult
    classes: ClassResult
    claimed: ClaimedResult | None = None


@dataclass(frozen=True, slots=True)
class ScoreLine:
    """What the looks say about one score against one reference."""

    score: str
    reference: str
    result: ScoreResult


@dataclass(frozen=True, slots=True)
class Part:
    """One e-value of the average.

    Args:
        reason: what it tests.
        subject: cell map or score.
        weight: its share of the average; the weights of all that is planned add up to 1.
        message: what it says, for people.
    """

    reason: RunReason
    subject: str
    reference: str
    log_e: float
    weight: float
    message: str

    @property
    def log_share(self) -> float:
        """Log of what this part adds to the average."""
        return self.log_e + math.log(self.weight)

    @property
    def title(self) -> str:
        """Name for reports."""
        return f"{self.reason.value} of {self.subject} against {self.reference}"


def panel_weights(*, claimed: bool, n_planned: int) -> dict[RunReason, float]:
    """Return the weight of each test of one panel: half pooled (mass, coverage, claimed), half the class average.

    Args:
        claimed: whether unclaimed rows are tested.
        n_planned: panels and scores that share the average.

    >>> panel_weights(claimed=False, n_planned=2)[RunReason.CLASS_LOSS]
    0.25
    """
    pooled = [RunReason.TAIL_MASS, RunReason.TAIL_COVERAGE, *([RunReason.OFF_MANIFOLD] if claimed else [])]
    return {reason: 0.5 / len(pooled) / n_planned for reason in pooled} | {RunReason.CLASS_LOSS: 0.5 / n_planned}


def log_e_limit(coverage: Coverage) -> float:
    """Return the log e at which a run halts: what is spent on sampled references is no longer there for the looks.

    >>> from collapse_guard.policy import Policy
    >>> round(log_e_limit(Policy.coerce({"version": 1, "coverage": {"references": ["real"]}}).coverage), 3)
    4.605
    """
    return -math.log(coverage.false_halt_rate * (1 - reference_error(coverage)))


def reference_error(coverage: Coverage) -> float:
    """Return the part of the false-halt rate that is spent on references being samples; 0 if none is."""
    of_scores = any(score.against == "first_model" for score in coverage.scores)
    is_sampled = "first_model" in coverage.references or coverage.real_is == "sample" or of_scores
    return coverage.reference_error if is_sampled else 0.0


def sampled_error(coverage: Coverage) -> float:
    """Return what one sampled reference may spend of the false-halt rate: an equal part each."""
    n_maps = len(coverage.cells)
    n_sampled = n_maps * ("first_model" in coverage.references) + n_maps * (coverage.real_is == "sample")
    n_sampled += len(coverage.scores)
    return reference_error(coverage) * coverage.false_halt_rate / max(n_sampled, 1)


def combined_log_e(parts: Sequence[Part]) -> float:
    """Return the log of the weighted average of e-values, which is an e-value; parts that are missing count as 0."""
    shares = [part.log_share for part in parts]
    top = max(shares, default=-math.inf)
    return top if top == -math.inf else top + math.log(sum(math.exp(share - top) for share in shares))


def decide(
    coverage: Coverage, panels: Sequence[PanelResult], scores: Sequence[ScoreLine], *, n_planned: int
) -> Decision:
    """Return what a run does after a look.

    Args:
        coverage: thresholds of the policy.
        panels: each cell map against each reference that there is so far.
        scores: each score against its reference, if that is there.
        n_planned: panels and scores that will ever share the average.

    Halts (or warns, as the policy says) when the average of all e-values reaches the limit.
    """
    parts = [part for panel in panels for part in _panel_parts(panel, n_planned)]
    parts += [_score_part(line, n_planned) for line in scores]
    log_e, limit = combined_log_e(parts), log_e_limit(coverage)
    evidence: dict[str, Any] = {
        "log_e": log_e,
        "log_e_limit": limit,
        "false_halt_rate": coverage.false_halt_rate,
        "parts": {part.title: part.log_e for part in parts},
        "dying_classes": dying_classes(panels, coverage.false_halt_rate),
        "weakest_classes": weakest_classes(panels),
    }
    if log_e < limit or not parts:
        return Decision(Action.CONTINUE, RunReason.HEALTHY, f"log e {log_e:.1f} is under {limit:.1f}", evidence)
    strongest = max(parts, key=lambda part: part.log_share)
    evidence["reference"], evidence["subject"] = strongest.reference, strongest.subject
    level = f"log e {log_e:.1f} reached {limit:.1f}"
    return Decision(_action(coverage), strongest.reason, _message(strongest, evidence, level, coverage), evidence)


def decide_fixed(
    coverage: Coverage, results: Sequence[tuple[str, tuple[str, ...], FixedSetResult]], *, baseline: str
) -> Decision:
    """Return what a run does after a look at a fixed set.

    Args:
        coverage: thresholds of the policy.
        results: name, cell names and result of each cell map.
        baseline: what the looks are measured against, in words.

    Halts (or warns) when an exact test is over its part of the error level.
    """
    subject, names, worst = max(results, key=lambda entry: entry[2].log_excess)
    fallen = [names[cell] for cell in worst.fallen]
    evidence: dict[str, Any] = {
        "log_excess": worst.log_excess,
        "false_halt_rate": coverage.false_halt_rate,
        "tail_mass_ratio": worst.tail_mass_ratio,
        "dying_classes": fallen,
        "weakest_classes": fallen[:5],
        "subject": subject,
        "reference": baseline,
    }
    if worst.log_excess < 0:
        return Decision(Action.CONTINUE, RunReason.HEALTHY, "every test is within its level", evidence)
    is_tail = worst.tail_log_excess >= worst.log_excess
    reason = RunReason.TAIL_MASS if is_tail else RunReason.CLASS_LOSS
    what = f"the tail's mass fell to {worst.tail_mass_ratio:.2f} of {baseline}" if is_tail else "single classes fell"
    part = Part(reason, subject, baseline, worst.log_excess, 1.0, what)
    level = f"the exact test of look {worst.n_looks} is over its level"
    return Decision(_action(coverage), reason, _message(part, evidence, level, coverage), evidence)


def dying_classes(panels: Sequence[PanelResult], alpha: float) -> list[str]:
    """Return the classes that e-BH names at level ``alpha``, over all panels at once, strongest first, each once."""
    tested = [
        (log_e, panel.names[cell])
        for panel in panels
        for cell, log_e in zip(panel.classes.cells, panel.classes.log_e_alone, strict=True)
    ]
    if not tested:
        return []
    return list(dict.fromkeys(tested[number][1] for number in e_bh([log_e for log_e, _ in tested], alpha=alpha)))


def weakest_classes(panels: Sequence[PanelResult], most: int = 5) -> list[str]:
    """Return the classes with evidence of their own (e >= 1), strongest first, at most ``most``."""
    found: dict[str, float] = {}
    for panel in panels:
        for cell, log_e in zip(panel.classes.cells, panel.classes.log_e_alone, strict=True):
            if log_e >= 0:
                name = panel.names[cell]
                found[name] = max(log_e, found.get(name, 0.0))
    return sorted(found, key=lambda name: -found[name])[:most]


def _panel_parts(panel: PanelResult, n_planned: int) -> list[Part]:
    tail, against = panel.tail, panel.reference.replace("_", " ")
    seen = f"{tail.tail_coverage:.0%} of them seen, {tail.expected_tail_coverage:.0%} expected"
    said = {
        RunReason.TAIL_MASS: (tail.log_e_mass, f"the tail's mass fell to {tail.tail_mass_ratio:.2f} of {against}"),
        RunReason.TAIL_COVERAGE: (
            tail.log_e_coverage,
            f"tail cells are thinning out against {against} ({seen})",
        ),
        RunReason.CLASS_LOSS: (panel.classes.log_e, f"single classes are dying against {against}"),
    }
    if panel.claimed is not None:
        share = panel.claimed.unclaimed_share
        text = f"{share:.0%} of rows are in no cell, too many against {against}"
        said[RunReason.OFF_MANIFOLD] = (panel.claimed.log_e, text)
    weights = panel_weights(claimed=panel.claimed is not None, n_planned=n_planned)
    return [
        Part(reason, panel.cells, panel.reference, log_e, weights[reason], text)
        for reason, (log_e, text) in said.items()
    ]


def _score_part(line: ScoreLine, n_planned: int) -> Part:
    against = line.reference.replace("_", " ")
    text = f"the mean of {one_line(line.score)} fell to {line.result.mean_ratio:.2f} of {against}"
    return Part(RunReason.SCORE_DROP, line.score, line.reference, line.result.log_e, 1 / n_planned, text)


def _action(coverage: Coverage) -> Action:
    return Action.HALT if coverage.on_violation == "halt" else Action.WARN


def _message(part: Part, evidence: dict[str, Any], level: str, coverage: Coverage) -> str:
    weakest = [one_line(name) for name in evidence["weakest_classes"]]
    named = f", weakest classes {', '.join(weakest)}" if weakest else ""
    rate = f"at most {100 * coverage.false_halt_rate:g}% of healthy runs ever get there"
    return f"{part.message}{named}: {level} ({rate})"
