"""Resampling drift in closed form: which classes outlive n generations of training on generated rows.

A generation draws ``n_rows`` rows from its model, and the next model is the mix of real and generated shares. The rows
of a rare class then form a branching process (with immigration from the real rows), and the chance to see a class
with share p is always ``1 - (1 - p) ** e``: as if ``e`` fresh real rows had been drawn. All that differs between
ways of mixing is how fast these **effective real rows** fall from ``n_rows``. They are sums of small positive
numbers, so that nothing overflows or cancels.

Sources: Wright-Fisher sampling and its branching limit (Haldane 1927; Suresh et al., arXiv 2412.17646); fixed and
fresh real shares (Fu et al., arXiv 2402.11778); the recursions with immigration follow from E[s^X] of that process.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


def effective_rows_of_mix(*, n_rows: int, n_synthetic_rows: float, real_share: float, generations: int) -> Floats:
    """Return the effective real rows of generations 1 to ``generations`` when only the last generated set is kept.

    The first model learns real rows alone; every later one ``real_share * real + (1 - real_share) * generated``, where
    ``generated`` are ``n_synthetic_rows`` rows of the model before. A look is ``n_rows`` rows of a model.

    Args:
        n_rows: rows of a look, 1 or more.
        n_synthetic_rows: generated rows that enter the next mix, above 0 unless ``real_share`` is 1.
        real_share: share of the real rows in the mix, in [0, 1]; 0 is "replace".
        generations: 1 or more.

    The same law holds for a fixed set of real rows, and for real rows drawn afresh if ``n_rows`` counts the whole mix.

    With ``n_synthetic_rows = n_rows`` and ``real_share = 0``, ``e_t = n (1 - q_{t-1})``, where ``q_t`` is the
    chance that a critical Poisson branching process is dead after t steps: close to 2 n / (t + 1).

    >>> effective_rows_of_mix(n_rows=100, n_synthetic_rows=100, real_share=0.0, generations=3).round(1).tolist()
    [100.0, 63.2, 46.9]
    >>> effective_rows_of_mix(n_rows=100, n_synthetic_rows=100, real_share=0.5, generations=3).round(1).tolist()
    [100.0, 89.3, 87.5]
    """
    passed_on = 1 - real_share
    found = np.full(generations, float(n_rows))
    if n_synthetic_rows <= 0 or passed_on <= 0:
        return found
    dying = -np.expm1(-passed_on * n_rows / n_synthetic_rows)  # 1 - s: how much a generated row adds to the look
    immigrated = 0.0
    for step in range(1, generations):
        found[step] = real_share * n_rows + n_synthetic_rows * (real_share * immigrated + dying)
        immigrated += dying
        dying = -np.expm1(-passed_on * dying)
    return found


def effective_rows_of_accumulation(*, n_rows: int, n_real_rows: int, generations: int) -> Floats:
    """Return the effective real rows of generations 1 to ``generations`` when every row ever made is kept.

    Model t learns all ``n_real_rows`` and ``t - 1`` generated sets of ``n_rows``. A row that is added to the mix adds
    ``theta`` to the exponent of the chance that its class is missed; going back in time,
    ``theta <- theta + c (1 - exp(-theta))`` with ``c`` the rows of a set over the rows of the mix it was drawn from.

    >>> effective_rows_of_accumulation(n_rows=100, n_real_rows=100, generations=3).round(1).tolist()
    [100.0, 89.3, 85.3]
    """
    steps = np.arange(generations, dtype=np.float64)
    weights = n_rows / (n_real_rows + steps * n_rows)
    theta = weights.copy()
    for step in range(generations - 2, -1, -1):
        later = theta[step + 1 :]
        later -= weights[step] * np.expm1(-later)
    return np.asarray(n_real_rows * theta)


def survival(shares: Floats, effective_rows: float) -> Floats:
    """Return the chance that each class is among ``effective_rows`` real draws, shape (classes,).

    Exact in the first generation. Later it is the branching limit: for classes of at most a tenth of the rows and over
    100 generations of n rows, it is within 4 / n of the exact Markov chain under "replace", and within 0.7 / n,
    0.2 / n and 0.025 / n at real shares of 0.02, 0.1 and 0.5.

    Args:
        shares: share of each class among the real rows, in [0, 1].
        effective_rows: 0 or more.

    >>> survival(np.array([0.0, 1e-3, 1.0]), 1_000).round(4).tolist()
    [0.0, 0.6323, 1.0]
    """
    with np.errstate(divide="ignore"):
        return np.asarray(-np.expm1(effective_rows * np.log1p(-shares)))


def simpson_diversity(shares: Floats, *, n_rows: int, generations: int) -> float:
    """Return the expected chance that two rows differ in class after ``generations`` of "replace".

    ``(1 - 1/n)^t (1 - sum p^2)``, exact; ``generations`` resamplings of ``n_rows`` rows, 0 or more.

    >>> round(simpson_diversity(np.array([0.5, 0.5]), n_rows=10, generations=10), 4)
    0.1743
    """
    if generations == 0:
        return float(1 - np.square(shares).sum())
    with np.errstate(divide="ignore"):
        kept = np.exp(generations * np.log1p(-1 / np.float64(n_rows)))
    return float(kept * (1 - np.square(shares).sum()))


def anchor_variance(shares: Floats, *, n_synthetic_rows: float, real_share: float) -> Floats:
    """Return the variance at which the learnt shares settle around a fixed set of real rows, shape (classes,).

    ``p (1 - p) / m * (1 - f)^2 / (f (2 - f) + (1 - f)^2 / m)`` for ``m`` generated rows in the mix; the last term
    (a class that drifts has less left to vary) is nothing for large m. Counted in rows of the *whole mix*,
    n = m / (1 - f), this is ``p (1 - p) / n * (1 - f) / (f (2 - f))``: 0.67, 4.7 and 50 times the noise of one sample
    of n rows for f = 0.5, 0.1 and 0.01.

    Args:
        shares: share of each class among the real rows.
        n_synthetic_rows: generated rows in the mix, m, 1 or more.
        real_share: f, in (0, 1].

    >>> anchor_variance(np.array([0.5]), n_synthetic_rows=50_000, real_share=0.5) * 100_000 / 0.25
    array([0.66666222])
    """
    left = (1 - real_share) ** 2
    gained = shares * (1 - shares) * left / n_synthetic_rows
    return np.asarray(gained / (real_share * (2 - real_share) + left / n_synthetic_rows))


def fresh_share_plateau(real_share: float) -> float:
    """Return the error at which a chain settles when each mix has a share f of *new* real rows: ``1 / (f (2 - f))``.

    In units of the error of one fit to a mix of the same size; ``real_share`` is f, in (0, 1].

    >>> [round(fresh_share_plateau(share), 2) for share in (0.5, 0.1)]
    [1.33, 5.26]
    """
    return 1 / (real_share * (2 - real_share))
