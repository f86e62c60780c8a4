"""Parameters that several statistics take, checked in one place."""

from __future__ import annotations

from numbers import Real

from collapse_guard.errors import StatisticError
from collapse_guard.stats.counts import as_rows


def check_share(value: object, *, name: str, low_open: bool = True) -> float:
    """Return ``value`` if it lies in (0, 1), or [0, 1) with ``low_open=False``; raises StatisticError."""
    if not isinstance(value, Real) or not (0 < float(value) < 1 or (float(value) == 0 and not low_open)):
        bracket = "(" if low_open else "["
        raise StatisticError(f"{name} must lie in {bracket}0, 1), got {value!r}")
    return float(value)


def check_looks(planned_looks: int) -> int:
    """Return ``planned_looks``; raises StatisticError unless it is a whole number, 1 or more."""
    if as_rows(planned_looks, name="planned_looks") == 0:
        raise StatisticError("planned_looks must be 1 or more, got 0")
    return int(planned_looks)
