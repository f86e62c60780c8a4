"""Rows that hold several values each: all values in one flat array, and how many belong to each row."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Ragged(NamedTuple):
    """Values of all rows, one after the other.

    Args:
        lengths: values per row, int64 of shape (rows,); 0 for a null row.
        values: an Arrow array of shape (sum of lengths,).
    """

    lengths: NDArray[np.int64]
    values: Any

    @property
    def starts(self) -> NDArray[np.int64]:
        """Where each row begins in ``values``, int64 of shape (rows,)."""
        return np.cumsum(self.lengths) - self.lengths

    @property
    def rows(self) -> NDArray[np.int64]:
        """Row of each value, int64 of the shape of ``values``."""
        return np.repeat(np.arange(self.lengths.size), self.lengths)

    def filled(self) -> Ragged:
        """Return the rows without their null values.

        >>> ragged(pa.array([[1, None], [None], [2]])).filled().lengths.tolist()
        [1, 0, 1]
        """
        if not self.values.null_count:
            return self
        there = self.values.is_valid().to_numpy(zero_copy_only=False)
        return Ragged(np.bincount(self.rows[there], minlength=self.lengths.size), self.values.drop_null())


def is_list(kind: pa.DataType) -> bool:
    """Return whether an Arrow type holds lists: of variable, large or fixed size."""
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def ragged(lists: pa.Array) -> Ragged:
    """Return the values of a list array, whatever its slice, chunks of nulls and kind of list.

    >>> ragged(pa.array([[1, 2], None, [], [3]]))[0].tolist()
    [2, 0, 0, 1]
    """
    lengths = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False)
    return Ragged(lengths.astype(np.int64), lists.flatten())


def row_minimum(values: NDArray[np.int64], lengths: NDArray[np.int64], *, empty: int) -> NDArray[np.int64]:
    """Return the smallest value of each row, int64 of shape (rows,); ``empty`` for a row without values.

    >>> row_minimum(np.array([5, 3, 9]), np.array([2, 0, 1]), empty=-1).tolist()
    [3, -1, 9]
    """
    smallest = np.full(lengths.size, empty, dtype=np.int64)
    starts = (np.cumsum(lengths) - lengths)[lengths > 0]
    if starts.size:
        smallest[lengths > 0] = np.minimum.reduceat(values, starts)
    return smallest


def distinct(values: NDArray[Any]) -> NDArray[Any]:
    """Return the distinct values, ascending: by sorting, which for millions beats the hash table of ``np.unique``.

    >>> distinct(np.array([3, 1, 3])).tolist()
    [1, 3]
    """
    ascending = np.sort(values)
    is_new = np.ones(ascending.size, dtype=bool)
    is_new[1:] = ascending[1:] != ascending[:-1]
    return np.asarray(ascending[is_new])
