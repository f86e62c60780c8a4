"""Which cells a test guards alone, which together, and the least share that is healthy for each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from collapse_guard.stats.reference import ReferenceRows

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

#: Above it a table of all kinds would be larger than what it saves.
_MOST_KINDS: Final = 1 << 18


@dataclass(frozen=True, slots=True, eq=False)
class Groups:
    """Cells that a test guards: each alone, and those that are too rare together.

    Args:
        alone: cells guarded alone, ascending.
        pooled: cells guarded together; empty if there are none.
        bounds: least healthy share of each group, the pooled one last, shape (groups,).
        shares: share of each group in the reference, shape (groups,).
        false_shares: share of all rows that are in each group by mistake, shape (groups,).
        kinds: the different bounds, ascending, shape (kinds,).
        kind_of: which of them each group has, shape (groups,).
    """

    alone: Ints
    pooled: Ints
    bounds: Floats
    shares: Floats
    false_shares: Floats
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
        among: cells to guard, ascending; those that cannot be lost are left out.
        max_drop: tolerated relative drop of true members, in [0, 1).
        error: P(any bound is above the truth) at most. Half goes to the cells alone, in equal parts over all that
            could have been chosen, because the sample itself chooses; half to the rest together, for which a choice of
            few rows only makes the bound safer.
    """
    counts = reference.counts()
    candidates = reference.candidates(among)
    rows = counts[candidates]
    order = np.argsort(-rows, kind="stable")
    n_alone = int((rows >= reference.min_alone_rows).sum())
    n_alone = n_alone if reference.max_alone is None else min(n_alone, reference.max_alone)
    alone, pooled = np.sort(candidates[order[:n_alone]]), np.sort(candidates[order[n_alone:]])
    bounds = reference.bounds_of_each(alone, max_drop=max_drop, error=error / 2 / max(candidates.size, 1))
    held, false = counts[alone], reference.false_shares_of_each(alone)
    if pooled.size:
        bounds = np.append(bounds, reference.bound_of(pooled, max_drop=max_drop, error=error / 2))
        held, false = np.append(held, counts[pooled].sum()), np.append(false, reference.false_share_of(pooled))
    kinds, kind_of = np.unique(bounds, return_inverse=True)
    return Groups(alone, pooled, bounds, held / reference.n_rows, false, kinds, kind_of)
