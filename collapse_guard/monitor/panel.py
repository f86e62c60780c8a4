"""All tests of one cell map against one reference, folded together."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

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
    import numpy as np
    from numpy.typing import NDArray

    from collapse_guard.monitor.anchor import Reference
    from collapse_guard.policy import Coverage


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
        rows = ReferenceRows.of(
            counts.rows,
            n_unclaimed_rows=counts.n_unclaimed_rows,
            error=error / 3,  # tail, classes and unclaimed rows each spend their part
            min_alone_rows=coverage.min_alone_sampled_rows if error else 1,
            visible=real.visible,
        )
        least = coverage.min_alone_sampled_rows if error else coverage.min_alone_rows
        of_classes = replace(rows, min_alone_rows=least, max_alone=coverage.max_alone)
        tail = rarest_cells(real.counts.compute(), coverage.tail_mass)
        looks, rise = coverage.planned_looks, coverage.max_unclaimed_rise
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
                tail=tuple(tail.tolist()),
            ),
            ClassEvidence.start(of_classes, max_class_drop=coverage.max_class_drop, planned_looks=looks),
            None if rise is None else ClaimedEvidence.start(rows, max_rise=rise, planned_looks=looks),
        )

    def look(self, rows: NDArray[np.int64], *, n_unclaimed_rows: int) -> Self:
        """Return the panel after one look: fresh, independent rows per cell, shape (cells,)."""
        unclaimed, claimed = n_unclaimed_rows, self.claimed
        return replace(
            self,
            tail=self.tail.update(rows, n_unclaimed_rows=unclaimed),
            classes=self.classes.update(rows, n_unclaimed_rows=unclaimed),
            claimed=None if claimed is None else claimed.update(int(rows.sum()) + unclaimed, n_unclaimed_rows=unclaimed),
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
