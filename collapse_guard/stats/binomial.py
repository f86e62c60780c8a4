"""Exact binomial tails and Clopper-Pearson bounds, vectorised; numpy alone.

Sources: Clopper and Pearson, Biometrika 26 (1934) 404; the incomplete beta function by its continued fraction
(DLMF 8.17.22), and by Gauss-Legendre quadrature over the peak of the integrand where both parameters are large.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

from collapse_guard.errors import StatisticError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]

#: Above it the fraction would be long, and quadrature over the peak of the integrand is exact to rounding.
_LARGE: Final = 3000.0
_TINY: Final = 1e-300
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(128)
_log_gamma = np.vectorize(math.lgamma, otypes=[np.float64])


def beta_share(a: ArrayLike, b: ArrayLike, x: ArrayLike) -> Floats:
    """Return the regularised incomplete beta function I_x(a, b), elementwise.

    Args:
        a: first parameter, 1 or more.
        b: second parameter, 1 or more.
        x: upper limit of the integral, in [0, 1].

    >>> round(float(beta_share(2, 3, 0.5)), 4)
    0.6875
    """
    first, second, limit = np.broadcast_arrays(
        np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64), np.asarray(x, dtype=np.float64)
    )
    found = np.where(limit >= 1, 1.0, 0.0)
    inside = (limit > 0) & (limit < 1)
    large = inside & (np.maximum(first, second) > _LARGE)
    small = inside & ~large
    if small.any():
        found[small] = _by_fraction(first[small], second[small], limit[small])
    if large.any():
        found[large] = _by_quadrature(first[large], second[large], limit[large])
    return np.clip(found, 0.0, 1.0)


def _by_fraction(a: Floats, b: Floats, x: Floats) -> Floats:
    """Return I_x(a, b) by the continued fraction, on the side where it converges fast."""
    mirrored = x > (a + 1) / (a + b + 2)
    a, b, x = np.where(mirrored, b, a), np.where(mirrored, a, b), np.where(mirrored, 1 - x, x)
    share = np.exp(_log_density(a, b, x)) * _fraction(a, b, x) / a
    return np.asarray(np.where(mirrored, 1 - share, share))


def _fraction(a: Floats, b: Floats, x: Floats) -> Floats:
    """Return the continued fraction by the modified Lentz method."""
    c, d = np.ones_like(x), 1 / _off_zero(1 - (a + b) * x / (a + 1))
    value = d.copy()
    for step in range(1, 50_000):
        even = step * (b - step) * x / ((a + 2 * step - 1) * (a + 2 * step))
        odd = -(a + step) * (a + b + step) * x / ((a + 2 * step) * (a + 2 * step + 1))
        for term in (even, odd):
            d = 1 / _off_zero(1 + term * d)
            c = _off_zero(1 + term / c)
            value = value * c * d
        if (np.abs(c * d - 1) < 1e-15).all():  # noqa: PLR2004 - one unit of rounding
            break
    return value


def _off_zero(value: Floats) -> Floats:
    return np.where(np.abs(value) < _TINY, _TINY, value)


def _by_quadrature(a: Floats, b: Floats, x: Floats) -> Floats:
    """Return I_x(a, b) by quadrature from ``x`` outwards to where nothing is left."""
    mean, width = a / (a + b), np.sqrt(a * b / ((a + b) ** 2 * (a + b + 1)))
    reach = (12 + 32 / np.sqrt(np.minimum(a, b))) * width  # few rows have an exponential tail
    below = x < mean
    low, high = np.minimum(mean - reach, x - reach / 2), np.maximum(mean + reach, x + reach / 2)
    end = np.where(below, np.maximum(_TINY, low), np.minimum(1 - 2**-53, high))
    half, middle = (end - x) / 2, (end + x) / 2
    points = middle[..., None] + half[..., None] * _NODES
    logs = _log_density(a[..., None], b[..., None], points) - np.log(points) - np.log1p(-points)
    outside = np.abs(half) * (np.exp(logs) @ _WEIGHTS)
    return np.asarray(np.where(below, outside, 1 - outside))


def _log_density(a: Floats, b: Floats, x: Floats) -> Floats:
    """Return log(x^a (1-x)^b / B(a, b)) without the cancellation of large log-gammas (Loader 2000)."""
    mean = a / (a + b)
    apart = a * _log_ratio(x - mean, mean, x) + b * _log_ratio(mean - x, 1 - mean, 1 - x)
    scale = 0.5 * (np.log(a) + np.log1p(-mean) - math.log(2 * math.pi))
    return np.asarray(apart + scale + _stirling_rest(a + b) - _stirling_rest(a) - _stirling_rest(b))


def _log_ratio(apart: Floats, base: Floats, value: Floats) -> Floats:
    """Return log(value / base), where ``value`` = base + apart: exact near 1, and far below it."""
    near = np.abs(apart) < base / 2
    close = np.log1p(np.where(near, apart, 0.0) / base)
    return np.where(near, close, np.log(np.maximum(value, _TINY)) - np.log(base))


def _stirling_rest(z: Floats) -> Floats:
    """Return log Gamma(z) less Stirling's formula: a series for large z, by definition for small z."""
    small = z < 16  # noqa: PLR2004 - from here on the series is exact to rounding
    large = np.where(small, 16.0, z)
    power = 1 / large**2
    series = (1 / 12 - power * (1 / 360 - power * (1 / 1260 - power * (1 / 1680 - power * 1 / 1188)))) / large
    near = np.where(small, z, 1.0)
    exact = _log_gamma(near) - (near - 0.5) * np.log(near) + near - 0.5 * math.log(2 * math.pi)
    return np.asarray(np.where(small, exact, series))


def lower_shares(counts: NDArray[np.int64], n_rows: int, *, error: float) -> Floats:
    """Return the Clopper-Pearson lower bound of each share, shape of ``counts``.

    Args:
        counts: rows in each cell, 0 to ``n_rows``.
        n_rows: rows of the sample, 1 or more.
        error: P(true share below the bound) of each cell at most, in (0, 1).

    >>> lower_shares(np.array([0, 100]), 10_000, error=0.025).round(5).tolist()
    [0.0, 0.00814]
    """
    if not 0 < error < 1:
        raise StatisticError(f"error must lie in (0, 1), got {error!r}")
    values, where = np.unique(counts, return_inverse=True)  # a hundred thousand cells hold few different counts
    bounds = np.zeros(values.shape)
    inside = values > 0
    rows = values[inside].astype(np.float64)
    bounds[inside] = _quantile(rows, n_rows - rows + 1, error)
    return np.asarray(bounds[where].reshape(counts.shape))


def _quantile(a: Floats, b: Floats, level: float) -> Floats:
    """Return x with I_x(a, b) = ``level``, from below, by bisection in logs."""
    low, high = np.full(a.shape, -745.0), np.zeros(a.shape)  # of log x: down to the smallest float
    for _ in range(64):
        middle = (low + high) / 2
        above = beta_share(a, b, np.exp(middle)) > level
        low, high = np.where(above, low, middle), np.where(above, middle, high)
    return np.asarray(np.exp(low))
