"""What a reference lets a test claim: which cells stand alone, and the least share that is sure of each.

Real rows that are kept are the target itself: their shares are exact. A reference that is a sample (a first model's
rows, a scrape that stands for a population) is trusted only down to its Clopper-Pearson bound, and cells with few rows
are pooled: the bound of 10 rows is at 0.48 of what was seen, that of 100 at 0.81 (level 0.025).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from collapse_guard.errors import StatisticError
from collapse_guard.stats.binomial import lower_shares
from collapse_guard.stats.counts import as_counts, as_rows

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]


#: Above it a table of all kinds would be larger than what it saves.
_MOST_KINDS: Final = 1 << 18


@dataclass(frozen=True, slots=True)
class ReferenceRows:
    """Rows of a reference per cell, and how far they may be trusted.

    Args:
        rows: rows per cell, two cells or more with rows.
        n_unclaimed_rows: rows that no cell claims.
        error: P(some share is truly below its bound) at most; 0 takes the rows as the target itself.
        min_alone_rows: cells with fewer rows are guarded together.
        max_alone: most cells that are guarded alone, those with most rows first; None for all.
        visible: of each cell's rows, the share that truly belong to it (see :mod:`~collapse_guard.stats.dilution`);
            empty for all of them.

    >>> ReferenceRows.of([900, 60, 40]).n_rows
    1000
    """

    rows: tuple[int, ...]
    n_unclaimed_rows: int = 0
    error: float = 0.0
    min_alone_rows: int = 1
    max_alone: int | None = None
    visible: tuple[float, ...] = ()

    @classmethod
    def of(
        cls,
        rows: ArrayLike | ReferenceRows,
        *,
        n_unclaimed_rows: int = 0,
        error: float = 0.0,
        min_alone_rows: int = 1,
        max_alone: int | None = None,
        visible: ArrayLike = (),
    ) -> ReferenceRows:
        """Return a checked reference; raises StatisticError that names the argument."""
        if isinstance(rows, ReferenceRows):
            return rows
        counts = as_counts(rows, name="reference_counts")
        n_alive = int((counts > 0).sum())
        if n_alive == 0:
            raise StatisticError("reference_counts are all zero; a reference needs real rows")
        if n_alive == 1:
            raise StatisticError("reference_counts hold one class only; a tail needs two or more, declare finer cells")
        if not 0 <= error < 1:
            raise StatisticError(f"error must lie in [0, 1), got {error!r}")
        if max_alone is not None and as_rows(max_alone, name="max_alone") == 0:
            raise StatisticError("max_alone must be 1 or more, got 0")
        return cls(
            tuple(counts.tolist()),
            as_rows(n_unclaimed_rows, name="reference_unclaimed_rows"),
            float(error),
            as_rows(min_alone_rows, name="min_alone_rows"),
            max_alone,
            _checked_visible(visible, counts.size),
        )

    def __hash__(self) -> int:
        # Plans are looked up by reference at every look: hashing a hundred thousand counts would cost more than the tests.
        return hash((len(self.rows), self.rows[:32], self.n_unclaimed_rows, self.error, self.min_alone_rows))

    @property
    def n_rows(self) -> int:
        """All rows, claimed or not."""
        return sum(self.rows) + self.n_unclaimed_rows

    def counts(self) -> Ints:
        """Return the rows per cell, shape (cells,)."""
        return np.asarray(self.rows, dtype=np.int64)

    def floors(self, rows: Ints, *, error: float) -> Floats:
        """Return the share that is sure of each count of rows, shape of ``rows``; the share itself if exact."""
        if self.error == 0:
            return np.asarray(rows / self.n_rows, dtype=np.float64)
        return lower_shares(rows, self.n_rows, error=error)

    def visible_of(self, cells: Ints) -> float:
        """Return the share of true members among the rows of ``cells`` together."""
        if not self.visible:
            return 1.0
        rows = self.counts()[cells]
        return float((rows * np.asarray(self.visible)[cells]).sum() / max(rows.sum(), 1))


@dataclass(frozen=True, slots=True, eq=False)
class Groups:
    """Cells that a test guards: each alone, and those that are too rare together.

    Args:
        alone: cells guarded alone, ascending.
        pooled: cells guarded together; empty if there are none.
        bounds: least healthy share of each group, the pooled one last, shape (groups,).
        shares: share of each group in the reference, shape (groups,).
        visible: what an observed drop is of a true one, shape (groups,); 1 without a classifier's mistakes.
        kinds: the different bounds, ascending, shape (kinds,).
        kind_of: which of them each group has, shape (groups,).
    """

    alone: Ints
    pooled: Ints
    bounds: Floats
    shares: Floats
    visible: Floats
    kinds: Floats
    kind_of: Ints

    def rows_of(self, counts: Ints) -> Ints:
        """Return the rows of each group of a look, shape (groups,)."""
        alone = counts[self.alone]
        return np.append(alone, counts[self.pooled].sum()) if self.pooled.size else alone

    def alike(self, counts: Ints) -> tuple[Ints, Floats, Ints]:
        """Return rows, bound and number of groups that are alike in both, each of shape (kinds,).

        A tail of a hundred thousand cells holds a few thousand kinds: most have the same few rows, then and now.
        """
        rows = self.rows_of(counts)
        if rows.size == 0 or self.kinds.size * (int(rows.max()) + 1) > _MOST_KINDS:
            return rows, self.bounds, np.ones(rows.size, dtype=np.int64)
        width = int(rows.max()) + 1
        n_alike = np.bincount(self.kind_of * width + rows, minlength=self.kinds.size * width)
        found = np.flatnonzero(n_alike)
        return found % width, self.kinds[found // width], n_alike[found]


def grouped(reference: ReferenceRows, among: Ints, *, max_drop: float, error: float) -> Groups:
    """Return the groups of the cells ``among``, with the least share that a drop of ``max_drop`` leaves to each.

    Args:
        among: cells to guard; cells without rows in the reference cannot be lost and are left out.
        max_drop: tolerated relative drop of true members, in [0, 1).
        error: P(any bound is above the truth) at most; shared out evenly over the groups.
    """
    counts = reference.counts()
    among = among[counts[among] > 0]
    rows = counts[among]
    order = np.argsort(-rows, kind="stable")
    n_alone = int((rows >= reference.min_alone_rows).sum())
    n_alone = n_alone if reference.max_alone is None else min(n_alone, reference.max_alone)
    alone, pooled = np.sort(among[order[:n_alone]]), np.sort(among[order[n_alone:]])
    held = np.append(counts[alone], counts[pooled].sum()) if pooled.size else counts[alone]
    floors = reference.floors(held, error=error / max(held.size, 1))
    visible = np.ones(held.size)
    if reference.visible:
        visible[: alone.size] = np.asarray(reference.visible)[alone]
        visible[alone.size :] = reference.visible_of(pooled)
    bounds = (1 - max_drop * visible) * floors
    kinds, kind_of = np.unique(bounds, return_inverse=True)
    return Groups(alone, pooled, bounds, held / reference.n_rows, visible, kinds, kind_of)


def _checked_visible(visible: ArrayLike, n_cells: int) -> tuple[float, ...]:
    shares = np.asarray(visible, dtype=np.float64)
    if shares.size == 0:
        return ()
    if shares.shape != (n_cells,) or not ((shares >= 0) & (shares <= 1)).all():
        raise StatisticError(f"visible must hold one share in [0, 1] for each of {n_cells} cells, got {visible!r:.80}")
    return tuple(shares.tolist())
