"""The watch over a chain of generations: a value; every look returns a new one.

A child generation goes on from the state that its parent left beside the parent's manifest, because a slow
collapse is only visible across generations.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from collapse_guard.decision import ScoreLine, decide, decide_fixed, sampled_error
from collapse_guard.errors import PolicyError, Problem, StatisticError
from collapse_guard.monitor.anchor import Anchor, Reference
from collapse_guard.monitor.fixed import FixedLooks
from collapse_guard.monitor.look import MAX_CELLS_ADVISED, MAX_CELLS_SHOWN, FirstModel, Look
from collapse_guard.monitor.panel import Panel
from collapse_guard.monitor.sight import check_sight, sight_lines
from collapse_guard.monitor.state import resumed_watch, watch_state
from collapse_guard.records import Action, Decision
from collapse_guard.stats import CellCounts, ScoreEvidence, mean_floor
from collapse_guard.stats.advisory import advise_counts
from collapse_guard.stats.fixed_set import look_share

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import ArrayLike

    from collapse_guard.policy import Coverage, Policy


@dataclass(frozen=True)
class Watch:
    """Evidence of a chain of generations, folded look by look.

    >>> from collapse_guard.cells import LabelCells
    >>> from collapse_guard.policy import Policy
    >>> policy = Policy.coerce({"version": 1, "coverage": {}})
    >>> reference = Reference(LabelCells("label", ("a", "b", "c")), CellCounts.of([900, 60, 40]))
    >>> watch = Watch.start(policy, reference, generation=1)
    >>> watch.look(CellCounts.of([1980, 20, 0]), epoch=3).decision.action.value
    'halt'
    """

    policy: Policy
    anchor: Anchor
    generation: int
    panels: tuple[Panel, ...]
    scores: tuple[ScoreEvidence | None, ...]
    fixed: FixedLooks | None = None
    first_model: FirstModel | None = None
    n_looks: int = 0
    looks: tuple[Look, ...] = ()
    decision: Decision | None = None
    note: str = ""

    @classmethod
    def start(cls, policy: Policy, reference: Reference | Anchor, *, generation: int) -> Self:
        """Return a watch without evidence.

        Raises PolicyError without coverage, StatisticError for a reference that cannot be one, or that is so large
        for the rows of a look that not even the extinction of its tail could be seen.
        """
        coverage = coverage_of(policy)
        anchor = reference if isinstance(reference, Anchor) else Anchor((reference,))
        if len(anchor.maps) != len(coverage.cells):
            text = f"the reference has {len(anchor.maps)} cell maps, coverage.cells declares {len(coverage.cells)}"
            raise StatisticError(f"{text}; give one reference for each")
        if coverage.looks == "fixed_set":
            return cls(policy, anchor, generation, (), (), FixedLooks.start(coverage, anchor.maps, generation))
        panels: tuple[Panel, ...] = ()
        if "real" in coverage.references:
            error = sampled_error(coverage) if coverage.real_is == "sample" else 0.0
            panels = tuple(
                Panel.start(coverage, each, each.counts, against="real", error=error) for each in anchor.maps
            )
        check_sight(coverage, panels)
        means = anchor.score_means or (None,) * len(coverage.scores)
        _check_means(coverage, means)
        scores = tuple(_score_start(coverage, number, mean) for number, mean in enumerate(means))
        return cls(policy, anchor, generation, panels, scores)

    @property
    def reference(self) -> Reference:
        """The first cell map on real rows."""
        return self.anchor.maps[0]

    @property
    def tail(self) -> tuple[int, ...]:
        """Cells of the tail of the first cell map, ascending; empty without one."""
        if self.fixed is not None:
            return self.fixed.tail
        return self.panels[0].tail.tail if self.panels else ()

    def look(
        self,
        *counts: CellCounts,
        scores: Sequence[ArrayLike] = (),
        epoch: int,
        step: int | None = None,
        advisory: dict[str, float] | None = None,
    ) -> Self:
        """Return the watch after one look of fresh, independent rows (or, in that mode, at the fixed set).

        Args:
            counts: rows per cell, one for each cell map of the policy.
            scores: scores of the rows, one array for each score of the policy.
            epoch: whole epochs so far.
            step: optimizer steps so far.
            advisory: figures of the look that nothing is decided on.
        """
        coverage = coverage_of(self.policy)
        self._check_look(counts, scores)
        if self.fixed is not None:
            fixed = self.fixed.look(counts)
            decision = decide_fixed(coverage, fixed.results(), baseline=fixed.said)
            looked = replace(self, fixed=fixed)
        else:
            arrays = [each.compute() for each in counts]
            panels = tuple(
                panel.look(arrays[number], n_unclaimed_rows=counts[number].n_unclaimed_rows)
                for number, panel in self._numbered()
            )
            evidence = tuple(
                None if part is None else part.update(values) for part, values in zip(self.scores, scores, strict=True)
            )
            looked = replace(self, panels=panels, scores=evidence, first_model=self._first_model(counts, scores))
            n_planned = len(coverage.cells) * len(coverage.references) + len(coverage.scores)
            results = [panel.result() for panel in panels]
            decision = decide(coverage, results, _score_lines(coverage, evidence), n_planned=n_planned)
        line = replace(_line(looked, counts, decision, epoch, advisory or {}), step=step)
        return replace(looked, n_looks=self.n_looks + 1, looks=(*self.looks, line), decision=decision)

    def next_generation(self) -> Self:
        """Return the watch over the next generation, which also measures against the chain's first model."""
        return self.at_generation(self.generation + 1)

    def at_generation(self, generation: int) -> Self:
        """Return the watch over a later (or the same) generation, with the evidence so far."""
        coverage = coverage_of(self.policy)
        if generation < self.generation:
            raise StatisticError(f"generation {generation} is before {self.generation}; a chain only goes on")
        if self.fixed is not None:
            return replace(self, generation=generation, fixed=self.fixed.at_generation(generation))
        first = self.first_model
        if first is None or generation <= first.generation:
            return replace(self, generation=generation)
        panels = self.panels
        if "first_model" in coverage.references and all(panel.against != "first_model" for panel in panels):
            error = sampled_error(coverage) * look_share(first.n_looks)
            added = [
                Panel.start(coverage, each, rows, against="first_model", error=error)
                for each, rows in zip(self.anchor.maps, first.counts, strict=True)
            ]
            panels = (*panels, *added)
        scores = tuple(
            part if part is not None else _score_start(coverage, number, first.score_means[number])
            for number, part in enumerate(self.scores)
        )
        return replace(self, generation=generation, panels=panels, scores=scores)

    @property
    def halted(self) -> bool:
        """Whether the last decision was to halt."""
        return self.decision is not None and self.decision.action is Action.HALT

    def without_evidence(self, generation: int | None = None) -> Self:
        """Return the watch as it was started, at its own generation or another."""
        at = self.generation if generation is None else generation
        return type(self).start(self.policy, self.anchor, generation=at)

    def state(self) -> dict[str, Any]:
        """Return plain values: what a checkpoint and a child generation need."""
        return watch_state(self)

    def resumed(self, state: Mapping[str, Any]) -> Self:
        """Return this watch with the evidence of ``state``; see :func:`~collapse_guard.monitor.state.resumed_watch`."""
        return resumed_watch(self, state)

    def sight(self) -> list[str]:
        """Return what this watch can see at all, a line per cell map and reference."""
        coverage = coverage_of(self.policy)
        return sight_lines(coverage, self.panels, n_left=coverage.planned_looks - self.n_looks)

    def _numbered(self) -> list[tuple[int, Panel]]:
        """Return each panel with the number of its cell map."""
        n_maps = max(len(self.anchor.maps), 1)
        return [(number % n_maps, panel) for number, panel in enumerate(self.panels)]

    def _check_look(self, counts: Sequence[CellCounts], scores: Sequence[ArrayLike]) -> None:
        n_scores = 0 if self.fixed is not None else len(self.scores)
        if len(counts) != len(self.anchor.maps) or len(scores) != n_scores:
            raise StatisticError(
                f"a look has counts for each of {len(self.anchor.maps)} cell maps and values for each of {n_scores}"
                f" scores, got {len(counts)} and {len(scores)}"
            )

    def _first_model(self, counts: Sequence[CellCounts], scores: Sequence[ArrayLike]) -> FirstModel | None:
        """Return the first model's rows: those of the latest look while it is trained, then always the same."""
        before = self.first_model
        if before is not None and before.generation < self.generation:
            return before
        coverage = coverage_of(self.policy)
        n_looks = 1 if before is None else before.n_looks + 1
        # Which look is the last may depend on what the looks showed: each may be it, and spends its own part.
        error = sampled_error(coverage) * look_share(n_looks)
        means = [
            mean_floor(values, error=error) if declared.against == "first_model" else None
            for declared, values in zip(coverage.scores, scores, strict=True)
        ]
        return FirstModel(self.generation, n_looks, tuple(counts), tuple(means))


def _score_lines(coverage: Coverage, scores: Sequence[ScoreEvidence | None]) -> list[ScoreLine]:
    return [
        ScoreLine(each.title, each.against, part.compute())
        for each, part in zip(coverage.scores, scores, strict=True)
        if part is not None
    ]


def _line(watch: Watch, counts: Sequence[CellCounts], decision: Decision, epoch: int, more: dict[str, float]) -> Look:
    """Return the line of a look in the report; ``watch`` has folded it already."""
    first = counts[0] if counts else None
    tail = watch.panels[0].result().tail if watch.panels else None
    mass = math.nan if tail is None else tail.tail_mass_ratio
    is_shown = first is not None and len(first.rows) <= MAX_CELLS_SHOWN
    found, n_rows = decision.evidence, 0 if first is None else first.n_rows
    return Look(
        generation=watch.generation,
        epoch=epoch,
        n_rows=n_rows,
        n_unclaimed_rows=0 if first is None else first.n_unclaimed_rows,
        tail_cells_alive=_alive(first, watch.tail) if tail is None else tail.n_tail_cells_seen,
        expected_tail_cells=_expected_alive(watch, n_rows)
        if tail is None
        else tail.expected_tail_coverage * tail.n_tail_cells,
        tail_mass_ratio=found.get("tail_mass_ratio", mass),
        log_e=found.get("log_e", found.get("log_excess", -math.inf)),
        parts=dict(found.get("parts", {})),
        advisory={} if first is None else _advice(first, watch.reference.counts) | more,
        action=decision.action.value,
        counts=first.rows if first is not None and is_shown else (),
    )


def _advice(counts: CellCounts, real: CellCounts) -> dict[str, float]:
    """Return advisory figures of counts; none where there is nothing to count, or too much to be quick."""
    if not any(counts.rows) or len(counts.rows) > MAX_CELLS_ADVISED:
        return {}
    return advise_counts(counts.compute(), real.compute())


def _expected_alive(watch: Watch, n_rows: int) -> float:
    """Return how many tail cells ``n_rows`` real rows would show; 0 without cells."""
    if not watch.tail:
        return 0.0
    shares = watch.reference.counts.compute()[list(watch.tail)] / watch.reference.counts.n_rows
    return float(-np.expm1(n_rows * np.log1p(-shares)).sum())


def _alive(counts: CellCounts | None, tail: tuple[int, ...]) -> int:
    return 0 if counts is None else int((counts.compute()[list(tail)] > 0).sum())


def _check_means(coverage: Coverage, means: Sequence[float | None]) -> None:
    if len(means) != len(coverage.scores):
        raise StatisticError(f"the reference has {len(means)} score means, the policy {len(coverage.scores)} scores")
    for score, mean in zip(coverage.scores, means, strict=True):
        if score.against == "real" and mean is None:
            text = f"score {score.title!r} is measured against real rows, and the reference has no mean of it"
            raise StatisticError(f"{text}; make the reference with Anchor.fit")


def _score_start(coverage: Coverage, number: int, mean: float | None) -> ScoreEvidence | None:
    """Return evidence on a score whose healthy mean is known; None while it is not.

    A mean of 0 cannot fall, and one of 1 is a bound that any row may miss.
    """
    if mean is None:
        return None
    inside = float(np.clip(mean, 1e-9, 1 - 1e-9))
    drop = coverage.scores[number].max_drop
    return ScoreEvidence.start(inside, max_drop=drop, planned_looks=coverage.planned_looks)


def coverage_of(policy: Policy) -> Coverage:
    """Return the coverage section; raises PolicyError if there is none."""
    if policy.coverage is None:
        text = "a run is watched by the coverage section, and the policy has none"
        remedy = "add 'coverage: {cells: {column: label}}'"
        raise PolicyError([Problem("CG001", f"policy {policy.name!r}", None, "coverage", text, remedy)])
    return policy.coverage
