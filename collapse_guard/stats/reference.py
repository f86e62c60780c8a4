"""Rows that count as healthy, and how far they may be trusted.

Real rows that are kept are the target itself: their shares are exact. A reference that is a sample (a first model's
rows, a scrape that stands for a population) is trusted only down to its Clopper-Pearson bound, and cells with few rows
are guarded together: the bound of 10 rows is at 0.48 of what was seen, that of 100 at 0.81 (level 0.025).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from collapse_guard.errors import StatisticError
from collapse_guard.stats.binomial import lower_shares
from collapse_guard.stats.counts import as_counts, as_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class ReferenceRows:
    """Rows of a reference per cell, and how far they may be trusted.

    Args:
        rows: rows per cell; two cells or more with rows if they are exact.
        n_unclaimed_rows: rows that no cell claims.
        error: P(some share is truly below its bound) at most; 0 takes the rows as the target itself.
        min_alone_rows: cells with fewer rows are guarded together.
        max_alone: most cells that are guarded alone, those with most rows first; None for all.
        false_shares: share of all rows that a classifier puts into each cell by mistake
            (:class:`~collapse_guard.stats.Dilution`); they stay when the cell dies. Empty for none.
        enough: share of each cell that is healthy in any case, however much more the reference held; () for none.
        guarded: cells that can be lost, chosen without a look at these rows if they are a sample. If left out, all
            cells of a sample, those with rows of an exact reference: what a sample did not hold is no less alive.

    >>> ReferenceRows.of([900, 60, 40]).n_rows
    1000
    """

    rows: tuple[int, ...]
    n_unclaimed_rows: int = 0
    error: float = 0.0
    min_alone_rows: int = 1
    max_alone: int | None = None
    false_shares: tuple[float, ...] = ()
    enough: tuple[float, ...] = ()
    guarded: tuple[int, ...] = ()

    @classmethod
    def of(
        cls,
        rows: ArrayLike | ReferenceRows,
        *,
        n_unclaimed_rows: int = 0,
        error: float = 0.0,
        min_alone_rows: int = 1,
        max_alone: int | None = None,
        false_shares: ArrayLike = (),
        enough: ArrayLike = (),
        guarded: Sequence[int] = (),
    ) -> ReferenceRows:
        """Return a checked reference; raises StatisticError that names the argument."""
        if isinstance(rows, ReferenceRows):
            return rows
        counts = as_counts(rows, name="reference_counts")
        unclaimed = as_rows(n_unclaimed_rows, name="reference_unclaimed_rows")
        if not 0 <= error < 1:
            raise StatisticError(f"error must lie in [0, 1), got {error!r}")
        _check_alive(counts, unclaimed, is_exact=error == 0)
        if max_alone is not None and as_rows(max_alone, name="max_alone") == 0:
            raise StatisticError("max_alone must be 1 or more, got 0")
        return cls(
            tuple(counts.tolist()),
            unclaimed,
            float(error),
            as_rows(min_alone_rows, name="min_alone_rows"),
            max_alone,
            _as_shares(false_shares, "false_shares", counts.size),
            _as_shares(enough, "enough", counts.size),
            tuple(guarded),
        )

    def __hash__(self) -> int:
        # Plans are looked up at every look: hashing a hundred thousand counts would cost more than the tests.
        return hash((len(self.rows), self.rows[:32], self.n_unclaimed_rows, self.error, self.min_alone_rows))

    @property
    def n_rows(self) -> int:
        """All rows, claimed or not."""
        return sum(self.rows) + self.n_unclaimed_rows

    def counts(self) -> Ints:
        """Return the rows per cell, shape (cells,)."""
        return np.asarray(self.rows, dtype=np.int64)

    def candidates(self, among: Ints) -> Ints:
        """Return those of the cells ``among`` that can be lost, ascending."""
        if self.guarded:
            return np.intersect1d(among, np.asarray(self.guarded, dtype=np.int64))
        return among[self.counts()[among] > 0] if self.error == 0 else among

    def floors(self, rows: Ints, *, error: float) -> Floats:
        """Return the share that is sure of each count of rows, shape of ``rows``; the share itself if exact."""
        if self.error == 0:
            return np.asarray(rows / self.n_rows, dtype=np.float64)
        return lower_shares(rows, self.n_rows, error=error)

    def false_share_of(self, cells: Ints) -> float:
        """Return the share of rows that are in ``cells`` by mistake."""
        return float(np.asarray(self.false_shares)[cells].sum()) if self.false_shares else 0.0

    def bound_of(self, cells: Ints, *, max_drop: float, error: float) -> float:
        """Return the least healthy share of ``cells`` together."""
        floor = float(self.floors(np.array([self.counts()[cells].sum()]), error=error)[0])
        if self.enough:
            floor = min(floor, float(np.asarray(self.enough)[cells].sum()))
        return (1 - max_drop) * floor + max_drop * self.false_share_of(cells)

    def bounds_of_each(self, cells: Ints, *, max_drop: float, error: float) -> Floats:
        """Return the least healthy share of each of ``cells``, shape of ``cells``."""
        floors = self.floors(self.counts()[cells], error=error)
        if self.enough:
            floors = np.minimum(floors, np.asarray(self.enough)[cells])
        return np.asarray((1 - max_drop) * floors + max_drop * self.false_shares_of_each(cells))

    def false_shares_of_each(self, cells: Ints) -> Floats:
        """Return the share of rows that are in each of ``cells`` by mistake, shape of ``cells``."""
        return np.asarray(self.false_shares)[cells] if self.false_shares else np.zeros(cells.size)


def _check_alive(counts: Ints, n_unclaimed_rows: int, *, is_exact: bool) -> None:
    n_alive = int((counts > 0).sum())
    if is_exact and n_alive == 0:
        raise StatisticError("reference_counts are all zero; a reference needs real rows")
    if is_exact and n_alive == 1:
        raise StatisticError("reference_counts hold one class only; a tail needs two or more, declare finer cells")
    if n_alive == 0 and n_unclaimed_rows == 0:
        raise StatisticError("reference_counts are all zero; a sampled reference needs rows too")


def _as_shares(values: ArrayLike, name: str, n_cells: int) -> tuple[float, ...]:
    shares = np.asarray(values, dtype=np.float64)
    if shares.size == 0:
        return ()
    if shares.shape != (n_cells,) or not ((shares >= 0) & (shares <= 1)).all():
        raise StatisticError(f"{name} must hold one share in [0, 1] for each of {n_cells} cells, got {values!r:.80}")
    return tuple(shares.tolist())
