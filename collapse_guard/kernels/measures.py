"""Amounts: how much of the policy's unit a row is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: A row holds no more: whole numbers are exact up to here, and sums of 2^32 rows far from the end of the numbers.
LARGEST_AMOUNT: Final = 2.0**53


def not_amounts(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the rows whose value is no amount: no number, below 0 or above 2^53; ascending.

    >>> not_amounts(np.array([0.0, -1.0, 2.5, np.nan, np.inf])).tolist()
    [1, 3, 4]
    """
    return np.flatnonzero(~((values >= 0) & (values <= LARGEST_AMOUNT)))
