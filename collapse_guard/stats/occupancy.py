"""How many of many independent classes are alive: quantiles of a sum of unequal yes-or-no draws."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Above this standard deviation the corrected normal quantile is off by at most one class.
_LARGE_SPREAD: Final = 10.0


def alive_quantile(survival: NDArray[np.float64], level: float) -> int:
    """Return the smallest k with P(at most k classes alive) >= ``level``.

    Exact up to rounding while the standard deviation is below 10 (characteristic function of the Poisson-binomial
    law, Hong 2013), and the normal quantile with its skewness correction (Cornish and Fisher 1938) above.

    Args:
        survival: chance of each class to be alive, in [0, 1], shape (classes,).
        level: in (0, 1).

    Classes of one sample are negatively associated, so that the true spread is at most a little smaller.

    >>> alive_quantile(np.array([0.5, 0.5, 1.0]), 0.5)
    2
    >>> alive_quantile(np.full(100_000, 0.3), 0.1)
    29814
    """
    variances = survival * (1 - survival)
    mean, spread = float(survival.sum()), math.sqrt(float(variances.sum()))
    if spread < _LARGE_SPREAD:
        found = _exact(survival, level, mean=mean, spread=spread)
    else:
        skewness = float((variances * (1 - 2 * survival)).sum()) / spread**3
        z = NormalDist().inv_cdf(level)
        found = math.ceil(mean + spread * (z + skewness * (z * z - 1) / 6) - 0.5)
    return min(max(found, 0), survival.size)


def _exact(survival: NDArray[np.float64], level: float, *, mean: float, spread: float) -> int:
    """Return the quantile from the law modulo ``width``, of which no more than 1e-11 lies outside one period."""
    half = math.ceil(16 + 8 * spread)
    width = 2 * half + 1  # odd: no angle is pi, where a class at one half would ask for the logarithm of 0
    angles = 2 * np.pi * np.arange(half + 1) / width
    logs = [np.log1p(survival * np.expm1(1j * angle)).sum() for angle in angles]
    wrapped = np.fft.irfft(np.conj(np.exp(logs)), width)
    numbers = math.floor(mean) - half + np.arange(width)
    below = np.cumsum(np.maximum(wrapped[numbers % width], 0))
    return int(numbers[min(int(np.searchsorted(below, level)), width - 1)])
