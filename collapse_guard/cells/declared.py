"""What a cell map is declared with, checked: whole numbers and shares in range."""

from __future__ import annotations

from numbers import Real
from typing import Final

from collapse_guard.cells.state import shown
from collapse_guard.errors import CellError

MAX_SEED: Final = 2**63 - 1


def check_whole(value: object, name: str, *, low: int, high: int) -> int:
    """Return ``value``; raises CellError unless it is a whole number in [low, high].

    >>> check_whole(3, "size", low=1, high=4)
    3
    """
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise CellError(f"{name} must be a whole number from {low} to {high}, got {shown(value)}")
    return value


def check_seed(value: object) -> int:
    """Return a seed; raises CellError unless it is a whole number that fits into 63 bits.

    >>> check_seed(0)
    0
    """
    return check_whole(value, "seed", low=0, high=MAX_SEED)


def check_outlier_share(value: object) -> float:
    """Return ``value``; raises CellError unless it is a share in [0, 1).

    >>> check_outlier_share(0.05)
    0.05
    """
    if isinstance(value, bool) or not isinstance(value, Real) or not 0 <= float(value) < 1:
        raise CellError(f"outlier_share must lie in [0, 1), got {shown(value)}")
    return float(value)
