"""Counts of rows per cell: the state that ranks merge by adding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

import numpy as np
from numpy.typing import NDArray

from collapse_guard.errors import StatisticError
from collapse_guard.plugins import Registry

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

Counts = Sequence[int] | NDArray[np.integer]

#: Mergeable statistics, found by the conformance tests.
STATISTICS: Registry[type] = Registry("statistic")


#: More rows than any look holds, and few enough for sums in 64 bits.
MAX_ROWS: Final = 1 << 62


def as_counts(values: ArrayLike, *, name: str, n_cells: int | None = None) -> NDArray[np.int64]:
    """Return ``values`` as int64 of shape (cells,), or raise StatisticError that names ``name``.

    >>> as_counts([3, 0], name="counts")
    array([3, 0])
    >>> as_counts([3, -1], name="counts")
    Traceback (most recent call last):
    ...
    collapse_guard.errors.StatisticError: counts[1] is -1; counts of rows are 0 or more
    """
    try:
        array = np.asarray(values)
    except ValueError:
        raise StatisticError(f"{name} must be a non-empty 1-D array of row counts, got ragged lists") from None
    if array.ndim != 1 or array.size == 0:
        raise StatisticError(f"{name} must be a non-empty 1-D array of row counts, got shape {array.shape}")
    if not np.issubdtype(array.dtype, np.integer):
        raise StatisticError(f"{name} must be whole numbers (an integer dtype), got {array.dtype}; do not pass shares")
    if n_cells is not None and array.size != n_cells:
        raise StatisticError(f"{name} has {array.size} cells, the reference has {n_cells}; use the same cell map")
    if (array < 0).any():
        where = int(np.flatnonzero(array < 0)[0])
        raise StatisticError(f"{name}[{where}] is {int(array[where])}; counts of rows are 0 or more")
    if array.size and int(array.max()) > np.iinfo(np.int64).max // max(array.size, 1):
        raise StatisticError(f"{name} holds {int(array.max())} rows in one cell; the sum would overflow 64 bits")
    return array.astype(np.int64, copy=False)


def as_rows(value: int, *, name: str) -> int:
    """Return ``value`` as a number of rows, or raise StatisticError."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 0:
        raise StatisticError(f"{name} must be a whole number of rows, 0 or more, got {value!r}")
    if value > MAX_ROWS:
        raise StatisticError(f"{name} is {value}; the sum would overflow 64 bits")
    return int(value)


@STATISTICS.register("cell_counts")
@dataclass(frozen=True, slots=True)
class CellCounts:
    """Rows per cell, and rows that no cell claims; folded, never mutated.

    Args:
        rows: rows per cell, in the order of the cell map.
        n_unclaimed_rows: rows with cell -1 ("cannot say"); they count for no cell.

    >>> CellCounts.zeros(3).update(np.array([2, -1, 2])).rows
    (0, 0, 2)
    """

    rows: tuple[int, ...]
    n_unclaimed_rows: int = 0

    @classmethod
    def zeros(cls, n_cells: int) -> Self:
        """Return empty counts over ``n_cells`` cells, 1 or more."""
        if n_cells < 1:
            raise StatisticError(f"n_cells must be 1 or more, got {n_cells}")
        return cls((0,) * n_cells)

    @classmethod
    def of(cls, counts: ArrayLike, *, n_unclaimed_rows: int = 0) -> Self:
        """Return given counts, checked; raises StatisticError for anything but whole numbers >= 0."""
        rows = tuple(as_counts(counts, name="counts").tolist())
        return cls(rows, as_rows(n_unclaimed_rows, name="n_unclaimed_rows"))

    @property
    def n_rows(self) -> int:
        """All rows seen, claimed or not."""
        return sum(self.rows) + self.n_unclaimed_rows

    def update(self, cells: NDArray[np.integer]) -> Self:
        """Return the counts after ``cells``, integers in [-1, n_cells), shape (rows,)."""
        array = np.asarray(cells)
        if array.ndim != 1 or (array.size and not np.issubdtype(array.dtype, np.integer)):
            raise StatisticError(f"cells must be a 1-D integer array, got shape {array.shape} of {array.dtype}")
        outside = (array < -1) | (array >= len(self.rows))
        if outside.any():
            first = int(np.flatnonzero(outside)[0])
            raise StatisticError(f"cells[{first}] is {int(array[first])}; allowed are -1 to {len(self.rows) - 1}")
        added = np.bincount(array.astype(np.int64) + 1, minlength=len(self.rows) + 1)
        rows = tuple((np.asarray(self.rows, dtype=np.int64) + added[1:]).tolist())
        return type(self)(rows, self.n_unclaimed_rows + int(added[0]))

    def merge(self, other: Self) -> Self:
        """Return the counts of both streams; order and grouping do not matter."""
        if len(self.rows) != len(other.rows):
            raise StatisticError(f"cannot merge counts over {len(self.rows)} and {len(other.rows)} cells")
        rows = tuple(a + b for a, b in zip(self.rows, other.rows, strict=True))
        return type(self)(rows, self.n_unclaimed_rows + other.n_unclaimed_rows)

    def compute(self) -> NDArray[np.int64]:
        """Return the rows per cell as int64, shape (n_cells,)."""
        return np.asarray(self.rows, dtype=np.int64)
