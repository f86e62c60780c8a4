"""Checks of arguments that several statistics share; each raises StatisticError that names the argument."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from collapse_guard.errors import StatisticError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

_FEATURE_AXES: Final = 2
_MOST_LOOKS: Final = 1 << 62


def as_whole(value: object, *, name: str, least: int) -> int:
    """Return ``value`` as an int; raises StatisticError unless it is a whole number, ``least`` or more.

    >>> as_whole(0, name="k", least=1)
    Traceback (most recent call last):
    ...
    collapse_guard.errors.StatisticError: k must be a whole number, 1 or more, got 0
    """
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
        raise StatisticError(f"{name} must be a whole number, {least} or more, got {value!r}")
    return int(value)


def check_share(value: object, *, name: str, low_open: bool = True) -> float:
    """Return ``value`` as a float; raises StatisticError unless it lies in (0, 1), or [0, 1) with ``low_open=False``.

    >>> check_share(1, name="max_drop", low_open=False)
    Traceback (most recent call last):
    ...
    collapse_guard.errors.StatisticError: max_drop must lie in [0, 1), got 1
    """
    refusal = f"{name} must lie in {'(' if low_open else '['}0, 1), got {value!r}"
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise StatisticError(refusal)
    if not (0 < value < 1 or (value == 0 and not low_open)):
        raise StatisticError(refusal)
    return float(value)


def check_looks(planned_looks: object) -> int:
    """Return ``planned_looks`` as an int; raises StatisticError unless it is a whole number, 1 or more.

    >>> check_looks(0)
    Traceback (most recent call last):
    ...
    collapse_guard.errors.StatisticError: planned_looks must be 1 or more, got 0
    """
    looks = as_whole(planned_looks, name="planned_looks", least=0)
    if not 0 < looks <= _MOST_LOOKS:
        raise StatisticError(f"planned_looks must be {'2^62 or less' if looks else '1 or more'}, got {looks}")
    return looks


def as_features(values: ArrayLike, *, name: str, n_columns: int | None = None) -> NDArray[np.float64]:
    """Return ``values`` as float64 of shape (rows, columns).

    Raises StatisticError that names the argument, and the first row that holds NaN or infinity.

    >>> as_features([[1.0, 2.0], [3.0, float("nan")]], name="made")
    Traceback (most recent call last):
    ...
    collapse_guard.errors.StatisticError: made[1] holds a value that is not finite; drop or mend the row
    """
    try:
        array = np.asarray(values)
    except ValueError:
        raise StatisticError(f"{name} must be a float array of shape (rows, columns), got ragged lists") from None
    if array.ndim != _FEATURE_AXES or 0 in array.shape or array.dtype.kind not in "fiu":
        raise StatisticError(
            f"{name} must be a float array of shape (rows, columns), got shape {array.shape} of {array.dtype}"
        )
    if n_columns is not None and array.shape[1] != n_columns:
        raise StatisticError(f"{name} has {array.shape[1]} columns, the other set has {n_columns}; use one encoder")
    whole = array.astype(np.float64, copy=False)
    bad = ~np.isfinite(whole).all(axis=1)
    if bad.any():
        raise StatisticError(f"{name}[{int(bad.argmax())}] holds a value that is not finite; drop or mend the row")
    return whole
