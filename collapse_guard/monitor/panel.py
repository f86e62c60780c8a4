"""All tests of one cell map against one reference, folded together."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np

from collapse_guard.decision import PanelResult
from collapse_guard.stats import (
    CellCounts,
    ClaimedEvidence,
    ClassEvidence,
    ReferenceRows,
    TailEvidence,
)
from collapse_guard.stats.folding import folded_state, with_folded
from collapse_guard.stats.tail import rarest_cells

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from collapse_guard.monitor.anchor import Reference
    from collapse_guard.policy import Coverage

#: A first model that claims less leaves nothing to test: more unclaimed rows could hardly come.
MOST_UNCLAIMED: Final = 0.9


@dataclass(frozen=True)
class Panel:
    """Evidence on the tail, on classes and on unclaimed rows of one cell map against one reference.

    Args:
        cells: name of the cell map.
        against: ``real`` or ``first_model``.
        names: one name per cell.
    """

    cells: str
    against: str
    names: tuple[str, ...]
    tail: TailEvidence
    classes: ClassEvidence
    claimed: ClaimedEvidence | None

    @classmethod
    def start(cls, coverage: Coverage, real: Reference, counts: CellCounts, *, against: str, error: float) -> Self:
        """Return a panel without evidence.

        Args:
            real: the cell map on real rows; it says which cells are the tail.
            counts: rows that count as healthy: the real ones, or the first model's.
            error: P(any share of ``counts`` is overstated) at most; 0 takes them as the target itself.

        Raises StatisticError for counts that cannot be a reference.
        """
        rows, tail = healthy_rows(coverage, real, counts, against=against, error=error / 3)  # three tests spend it
        least = coverage.min_alone_sampled_rows if error else coverage.min_alone_rows
        of_classes = replace(rows, min_alone_rows=least, max_alone=coverage.max_alone)
        looks = coverage.planned_looks
        return cls(
            real.name,
            against,
            real.cells.names,
            TailEvidence.start(
                rows,
                tail_mass=coverage.tail_mass,
                max_mass_drop=coverage.max_mass_drop,
                max_coverage_drop=coverage.max_coverage_drop,
                planned_looks=looks,
                tail=tail,
            ),
            ClassEvidence.start(of_classes, max_class_drop=coverage.max_class_drop, planned_looks=looks),
            _claimed(coverage, rows, against),
        )

    def look(self, rows: NDArray[np.int64], *, n_unclaimed_rows: int) -> Self:
        """Return the panel after one look: fresh, independent rows per cell, shape (cells,)."""
        unclaimed, claimed = n_unclaimed_rows, self.claimed
        return replace(
            self,
            tail=self.tail.update(rows, n_unclaimed_rows=unclaimed),
            classes=self.classes.update(rows, n_unclaimed_rows=unclaimed),
            claimed=None
            if claimed is None
            else claimed.update(int(rows.sum()) + unclaimed, n_unclaimed_rows=unclaimed),
        )

    def result(self) -> PanelResult:
        """Return what the looks say so far."""
        claimed = None if self.claimed is None else self.claimed.compute()
        return PanelResult(self.cells, self.against, self.names, self.tail.compute(), self.classes.compute(), claimed)

    def state(self) -> dict[str, Any]:
        """Return plain values: the evidence, without what follows from reference and policy."""
        claimed = None if self.claimed is None else folded_state(self.claimed)
        return {"tail": folded_state(self.tail), "classes": folded_state(self.classes), "claimed": claimed}

    def resumed(self, state: dict[str, Any]) -> Self:
        """Return the panel with the evidence of ``state``; raises StatisticError or KeyError if it does not fit."""
        claimed = None if self.claimed is None else with_folded(self.claimed, state["claimed"])
        tail, classes = with_folded(self.tail, state["tail"]), with_folded(self.classes, state["classes"])
        return replace(self, tail=tail, classes=classes, claimed=claimed)


def healthy_rows(
    coverage: Coverage, real: Reference, counts: CellCounts, *, against: str, error: float
) -> tuple[ReferenceRows, tuple[int, ...]]:
    """Return the rows that count as healthy, and the cells of the tail.

    Real rows that are a sample are split by coin flips: one half says which cells there are and which of them are
    the tail, the other says how large they are. The same rows cannot do both: a cell that they happened to hold looks
    larger than it is. Of a first model, no more is asked than real rows have: it may overstate the tail, and be mended.
    """
    chosen, held = (real.counts, counts)
    guarded: tuple[int, ...] = ()
    if against == "real" and error:
        chosen, held = halves(counts)
        guarded = tuple(np.flatnonzero(chosen.compute()).tolist())
        unseen = np.where(chosen.compute() > 0, 0, held.compute())
        held = CellCounts.of(held.compute() - unseen, n_unclaimed_rows=held.n_unclaimed_rows + int(unseen.sum()))
    enough = real.counts.compute() / real.counts.n_rows if against != "real" else ()
    rows = ReferenceRows.of(
        held.rows,
        n_unclaimed_rows=held.n_unclaimed_rows,
        error=error,
        min_alone_rows=coverage.min_alone_sampled_rows if error else 1,
        false_shares=real.false_shares,
        enough=enough,
        guarded=guarded,
    )
    return rows, real.tail or tuple(rarest_cells(chosen.compute(), coverage.tail_mass).tolist())


def halves(counts: CellCounts) -> tuple[CellCounts, CellCounts]:
    """Return two halves of the rows, by a coin flip of its own for every row, the same every time.

    >>> first, second = halves(CellCounts.of([60, 40]))
    >>> first.merge(second).rows
    (60, 40)
    """
    rng = np.random.default_rng(0)
    rows = rng.binomial(counts.compute(), 0.5)
    unclaimed = int(rng.binomial(counts.n_unclaimed_rows, 0.5))
    first = CellCounts.of(rows, n_unclaimed_rows=unclaimed)
    return first, CellCounts.of(counts.compute() - rows, n_unclaimed_rows=counts.n_unclaimed_rows - unclaimed)


def _claimed(coverage: Coverage, rows: ReferenceRows, against: str) -> ClaimedEvidence | None:
    """Return the test of unclaimed rows; None if it is off, or if a first model claims so little that none is left."""
    rise = coverage.max_unclaimed_rise
    if rise is None or (against != "real" and rows.n_unclaimed_rows / rows.n_rows + rise >= MOST_UNCLAIMED):
        return None
    return ClaimedEvidence.start(rows, max_rise=rise, planned_looks=coverage.planned_looks)
