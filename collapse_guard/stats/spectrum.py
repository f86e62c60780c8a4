"""How many directions do feature rows spread over? Figures of the eigenvalues of a covariance.

All take finite floats of shape (rows, columns) and raise StatisticError that names the row which is not. Eigenvalues
come from the smaller of the two sides, at most columns x columns: no matrix over all pairs of rows is made.
"""

from __future__ import annotations

import math
from numbers import Real
from typing import TYPE_CHECKING, Final

import numpy as np

from collapse_guard.errors import StatisticError
from collapse_guard.stats.arguments import as_features, as_whole
from collapse_guard.stats.neighbours import subset

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike, NDArray

#: A spread below this share of the values themselves is rounding: such rows are all equal.
_ROUNDING: Final = 8 * float(np.finfo(np.float64).eps)


def vendi_score(features: ArrayLike) -> float:
    """Return the Vendi score of the cosine kernel: the effective number of directions, in [1, columns].

    That is exp(entropy) of the eigenvalues of K / rows, K the cosines between rows. Raises StatisticError for a row of
    zeros, which has no direction. Source: Friedman and Dieng, The Vendi Score (TMLR 2023).

    Blind: to widening (noise raises it), to lengths, and to rare modes; it grows with the rows.

    >>> round(vendi_score([[1.0, 0.0], [0.0, 2.0]]), 12)
    2.0
    """
    return _effective_number(_squared_spectrum(_directions(as_features(features, name="features"))))


def vendi_score_gaussian(features: ArrayLike, *, bandwidth: float, n_features: int, seed: int) -> float:
    """Return the Vendi score of a Gaussian kernel exp(-|x - y|^2 / (2 bandwidth^2)), through random features.

    The kernel is approximated by ``n_features`` random Fourier features (an even number), drawn by ``seed``: the same
    seed gives the same features, so that looks compare. In [1, n_features]. Raises StatisticError for a bandwidth
    that is not above 0. Source: Rahimi and Recht, Random Features (NIPS 2007).

    Blind: to widening (noise raises it), and to all that is finer or much coarser than the bandwidth.

    >>> round(vendi_score_gaussian([[0.0], [100.0]], bandwidth=1.0, n_features=512, seed=0), 1)
    2.0
    """
    rows = as_features(features, name="features")
    count = as_whole(n_features, name="n_features", least=2)
    if count % 2:
        raise StatisticError(f"n_features must be even (a cosine and a sine each), got {count}")
    rng = np.random.default_rng(as_whole(seed, name="seed", least=0))
    width = _as_bandwidth(bandwidth)
    with np.errstate(over="ignore", invalid="ignore"):
        phases = rows / width @ rng.standard_normal((rows.shape[1], count // 2))
    if not np.isfinite(phases).all():
        raise StatisticError(f"features are too large for a bandwidth of {width:g}; give one of their own scale")
    return _effective_number(_squared_spectrum(np.hstack([np.cos(phases), np.sin(phases)])))


def effective_rank(features: ArrayLike) -> float:
    """Return exp(entropy) of the PCA spectrum: the effective number of axes of spread, in [1, columns].

    Rows that are all equal have no spread and score 1. Source: Roy and Vetterli, The Effective Rank
    (EUSIPCO 2007), on the shares of variance.

    Blind: to the amount of spread, to widening, and to rare modes that stay inside the main axes.

    >>> round(effective_rank([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]]), 12)
    2.0
    """
    rows = as_features(features, name="features")
    rows = rows / (float(np.abs(rows).max()) or 1.0)
    centred = rows - rows.mean(axis=0)
    centred[:, np.ptp(rows, axis=0) <= _ROUNDING * np.abs(rows).max(axis=0)] = 0.0
    return _effective_number(_squared_spectrum(centred)) if centred.any() else 1.0


def vendi_ratio(real: ArrayLike, made: ArrayLike, *, n_most: int, seed: int) -> float:
    """Return the Vendi score of ``made`` per that of ``real``, on equally many rows of each; about 1 when healthy.

    Rows are the smaller set's number, ``n_most`` at most, chosen by ``seed``. Errors of :func:`vendi_score`.
    Source: Friedman and Dieng, The Vendi Score (TMLR 2023).

    Blind: to widening (noise raises it), to lengths, and to rare modes.

    >>> vendi_ratio([[1.0, 0.0], [0.0, 1.0]], [[1.0, 0.0], [2.0, 0.0]], n_most=10, seed=0)
    0.5
    """
    return _ratio(vendi_score, real, made, n_most=n_most, seed=seed)


def effective_rank_ratio(real: ArrayLike, made: ArrayLike, *, n_most: int, seed: int) -> float:
    """Return the effective rank of ``made`` per that of ``real``, on equally many rows of each; about 1 when healthy.

    Rows are the smaller set's number, ``n_most`` at most, chosen by ``seed``. Source: Roy and Vetterli, The
    Effective Rank (EUSIPCO 2007), on the shares of variance.

    Blind: to the amount of spread, to widening, and to rare modes inside the main axes.

    >>> cross = [[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]]
    >>> round(effective_rank_ratio(cross, [[1.0, 0.0], [-1.0, 0.0]] * 2, n_most=10, seed=0), 12)
    0.5
    """
    return _ratio(effective_rank, real, made, n_most=n_most, seed=seed)


def _ratio(
    score: Callable[[NDArray[np.float64]], float], real: ArrayLike, made: ArrayLike, *, n_most: int, seed: int
) -> float:
    first = as_features(real, name="real")
    second = as_features(made, name="made", n_columns=first.shape[1])
    n_rows = min(len(first), len(second), as_whole(n_most, name="n_most", least=1))
    return score(subset(second, n_most=n_rows, seed=seed)) / score(subset(first, n_most=n_rows, seed=seed))


def _directions(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    longest = np.abs(rows).max(axis=1)
    if not longest.all():
        raise StatisticError(f"features[{int(longest.argmin())}] is all zero and has no direction; drop the row")
    scaled = rows / longest[:, None]
    return np.asarray(scaled / np.sqrt((scaled**2).sum(axis=1))[:, None])


def _squared_spectrum(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the squared singular values of ``rows``, from the smaller of its two Gram matrices."""
    narrow = rows if rows.shape[0] >= rows.shape[1] else rows.T
    return np.asarray(np.linalg.eigvalsh(narrow.T @ narrow))


def _effective_number(weights: NDArray[np.float64]) -> float:
    """Return exp(entropy) of ``weights``, scaled to sum to 1; rounding below 0 counts as 0."""
    shares = weights[weights > 0] / weights[weights > 0].sum()
    shares = shares[shares > 0]
    return max(math.exp(-float((shares * np.log(shares)).sum())), 1.0)


def _as_bandwidth(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, Real) or not 0 < float(value) < math.inf:
        raise StatisticError(f"bandwidth must be a finite distance above 0, got {value!r}")
    return float(value)
