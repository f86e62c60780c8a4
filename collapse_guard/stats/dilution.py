"""Cells that a classifier gives: what its mistakes hide.

A class of share p is observed at TPR p + FPR (1 - p). Mistakes of other classes stay when the class dies, so that
a drop of its true rows shows diluted: at p = 0.5 %, TPR 0.9 and FPR 0.3 % extinction looks like a drop of 60 %.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from collapse_guard.errors import StatisticError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True, slots=True)
class Dilution:
    """Hit rate and false-alarm rate of a frozen classifier, cell by cell.

    Args:
        shares: true share of each cell, shape (cells,).
        hit_rates: P(labelled k | truly k), TPR.
        false_rates: P(labelled k | not k), FPR.

    >>> rare = Dilution((0.005,), (0.9,), (0.003,))
    >>> round(rare.visible()[0], 2)
    0.6
    """

    shares: tuple[float, ...]
    hit_rates: tuple[float, ...]
    false_rates: tuple[float, ...]

    @classmethod
    def of_labels(cls, true: ArrayLike, found: ArrayLike, *, n_cells: int) -> Self:
        """Return the rates on labelled real rows.

        Args:
            true: true cell of each row, in [-1, n_cells), shape (rows,).
            found: cell that the classifier gives, shape (rows,); -1 is "none".

        Raises StatisticError for other shapes or cells out of range.
        """
        pair = [_as_cells(true, "true", n_cells), _as_cells(found, "found", n_cells)]
        if pair[0].shape != pair[1].shape:
            raise StatisticError(f"true holds {pair[0].size} rows, found {pair[1].size}; label the same rows")
        table = np.zeros((n_cells + 1, n_cells + 1))
        np.add.at(table, (pair[0] + 1, pair[1] + 1), 1)
        n_true, n_found, hits = table.sum(1)[1:], table.sum(0)[1:], np.diag(table)[1:]
        others = np.maximum(table.sum() - n_true, 1)
        return cls(
            tuple((n_true / table.sum()).tolist()),
            tuple((hits / np.maximum(n_true, 1)).tolist()),
            tuple(((n_found - hits) / others).tolist()),
        )

    def observed(self) -> NDArray[np.float64]:
        """Return the share at which each cell is labelled, shape (cells,)."""
        shares, hits, false = map(np.asarray, (self.shares, self.hit_rates, self.false_rates))
        return np.asarray(hits * shares + false * (1 - shares))

    def visible(self) -> tuple[float, ...]:
        """Return what remains visible of a drop: observed drop over true drop of each cell, in [0, 1]."""
        observed, false = self.observed(), np.asarray(self.false_rates)
        visible = (observed - false) / np.where(observed > 0, observed, 1)
        return tuple(np.clip(visible, 0.0, 1.0).tolist())

    def too_noisy(self) -> tuple[int, ...]:
        """Return the cells whose false-alarm rate exceeds half of their share: they are hardly watched at all."""
        noisy = (np.asarray(self.false_rates) > np.asarray(self.shares) / 2) & (np.asarray(self.shares) > 0)
        return tuple(np.flatnonzero(noisy).tolist())


def _as_cells(values: ArrayLike, name: str, n_cells: int) -> NDArray[np.int64]:
    cells = np.asarray(values)
    if cells.ndim != 1 or cells.size == 0 or not np.issubdtype(cells.dtype, np.integer):
        raise StatisticError(f"{name} must be a non-empty 1-D integer array, got shape {cells.shape} of {cells.dtype}")
    if cells.min() < -1 or cells.max() >= n_cells:
        raise StatisticError(f"{name} holds cells {cells.min()} to {cells.max()}; allowed are -1 to {n_cells - 1}")
    return cells.astype(np.int64)
