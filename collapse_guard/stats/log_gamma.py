"""Ratios of gamma functions in logs, without the cancellation of a difference of two log-gammas."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

#: Steps that are added one by one; from there on Stirling's series holds to 1e-15.
_N_DIRECT: Final = 12

#: Below this growth the closed form cancels; the power series, cut after so many powers, is then exact to 1e-16.
_SMALL_GROWTH: Final = 0.05
_N_POWERS: Final = 13

#: Stirling's series of log-gamma: B(2j) / (2j (2j - 1)).
_STIRLING: Final = (1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188)


def log_rising_excess(base: ArrayLike, steps: ArrayLike) -> NDArray[np.float64]:
    """Return log(Gamma(base + steps) / (Gamma(base) base**steps)), elementwise.

    That is the sum of log(1 + i / base) over i < steps: 0 or more, exactly 0 for 0 or 1 steps. What a difference of two
    log-gammas loses at 1e9 steps (six digits and more) stays. ``base`` is above 0, ``steps`` is 0 or more,
    whole; shapes broadcast. Relative error below 1e-13. Source: Stirling's series, NIST DLMF 5.11.1.

    >>> round(float(log_rising_excess(2.0, 3)), 12)  # log(2 * 3 * 4 / 2**3)
    1.098612288668
    """
    start, n_steps = np.broadcast_arrays(np.asarray(base, np.float64), np.asarray(steps, np.float64))
    excess = np.zeros(start.shape)
    for step in range(1, _N_DIRECT):
        live = n_steps > step
        excess[live] += np.log1p(step / start[live])
    far = n_steps > _N_DIRECT
    base, rest = start[far], n_steps[far] - _N_DIRECT
    excess[far] += _far_excess(base + _N_DIRECT, rest) + rest * np.log1p(_N_DIRECT / base)
    return excess


def _far_excess(base: NDArray[np.float64], steps: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the same for a base where Stirling's series holds."""
    growth = steps / base
    series = _stirling(base + steps) - _stirling(base)
    return np.asarray(base * _curve(growth) - 0.5 * np.log1p(growth) + series)


def _curve(growth: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (1 + r) log(1 + r) - r, by its power series where the difference would cancel."""
    small = np.minimum(growth, _SMALL_GROWTH)
    total = np.zeros_like(small)
    for power in range(_N_POWERS, 1, -1):
        total = (-1) ** power / (power * (power - 1)) + small * total
    return np.where(growth < _SMALL_GROWTH, total * small**2, (1 + growth) * np.log1p(growth) - growth)


def _stirling(values: NDArray[np.float64]) -> NDArray[np.float64]:
    inverse = 1 / values
    total = np.zeros_like(values)
    for coefficient in reversed(_STIRLING):
        total = total * inverse**2 + coefficient
    return total * inverse
