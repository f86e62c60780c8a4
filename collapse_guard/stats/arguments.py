"""Checks of arguments that several advisory statistics share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from collapse_guard.errors import StatisticError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

_FEATURE_AXES = 2


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
