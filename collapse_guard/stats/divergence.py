"""How far from the reference? Figures of two vectors of counts over the same cells.

All take integer counts of shape (cells,), of one length, each with one row at least; StatisticError names the
argument that is not. All fire on healthy loops too, for every refit differs from its reference: advisory only.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

from collapse_guard.errors import StatisticError
from collapse_guard.stats.counts import as_counts
from collapse_guard.stats.diversity import rarefied_types
from collapse_guard.stats.evalues import log_mean_exp
from collapse_guard.stats.log_gamma import log_rising_excess

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

#: Generations of drift that the Bayes factor mixes over: after t of them shares scatter like a Dirichlet of n / t.
_GENERATIONS: Final = np.array([1.0, 2.0, 5.0, 10.0, 20.0])


def compared(counts: ArrayLike, reference_counts: ArrayLike) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return both as int64; raises StatisticError unless they are row counts of one length, not all zero.

    >>> compared([3, 0], [1, 1])[0]
    array([3, 0])
    """
    reference = as_counts(reference_counts, name="reference_counts")
    made = as_counts(counts, name="counts", n_cells=reference.size)
    for name, array in (("reference_counts", reference), ("counts", made)):
        if not array.any():
            raise StatisticError(f"{name} are all zero; a comparison needs rows on both sides")
    return made, reference


def jensen_shannon_nats(counts: ArrayLike, reference_counts: ArrayLike) -> float:
    """Return the Jensen-Shannon divergence of the two shares, in nats, in [0, log 2].

    Source: Lin, IEEE Transactions on Information Theory 37 (1991).

    Blind: to direction (gain counts like loss); never 0 for a sample: about (cells - 1) / 8 * (1/n + 1/m) when healthy.

    >>> jensen_shannon_nats([1, 0], [0, 1]) == math.log(2)
    True
    """
    made, reference = compared(counts, reference_counts)
    p, q = made / made.sum(), reference / reference.sum()
    middle = (p + q) / 2
    nats = float(_relative_nats(p, middle).sum() + _relative_nats(q, middle).sum()) / 2
    return min(max(nats, 0.0), math.log(2))


def _relative_nats(p: NDArray[np.float64], middle: NDArray[np.float64]) -> NDArray[np.float64]:
    held = p > 0
    return np.asarray(p[held] * np.log(p[held] / middle[held]))


def total_variation(counts: ArrayLike, reference_counts: ArrayLike) -> float:
    """Return half the sum of absolute differences of the two shares, in [0, 1].

    Source: Levin and Peres, Markov Chains and Mixing Times, chapter 4.

    Blind: to tails (the head's noise outweighs them) and to direction.

    >>> total_variation([3, 1], [1, 1])
    0.25
    """
    made, reference = compared(counts, reference_counts)
    return min(float(np.abs(made / made.sum() - reference / reference.sum()).sum()) / 2, 1.0)


def pearson_chi2(counts: ArrayLike, reference_counts: ArrayLike) -> float:
    """Return Pearson's sum of (observed - expected)^2 / expected, 0 or more; about cells - 1 when healthy.

    Expected are the reference's shares of the rows in its cells. Rows of cells that it never saw, where 0 are
    expected, are left to :func:`novel_row_share`; StatisticError when there are no others. Source:
    Pearson, Philosophical Magazine 50 (1900).

    Blind: to novel cells and to direction; the rarest cells rule it, and it grows with the rows of a fixed gap.

    >>> pearson_chi2([6, 4], [1, 1])
    0.4
    """
    made, reference = _known(*compared(counts, reference_counts))
    expected = reference / reference.sum() * float(made.sum())
    return float(((made - expected) ** 2 / expected).sum())


def drift_log_bayes_factor(counts: ArrayLike, reference_counts: ArrayLike) -> float:
    """Return the log Bayes factor of "shares drifted" over "shares are the reference's", in nats.

    Drift is a Dirichlet around the reference's shares of concentration n / t, mixed over t = 1, 2, 5, 10, 20
    generations. Rows of cells that the reference never saw are left out, as in :func:`pearson_chi2`.
    Source: Lindon and Malek, arXiv 2011.03567.

    Blind: to degree; its null is a point, so that it condemns healthy accumulation, and a small reference, too.

    >>> drift_log_bayes_factor([50, 50], [50, 50]) < 0 < drift_log_bayes_factor([90, 10], [50, 50])
    True
    """
    made, reference = _known(*compared(counts, reference_counts))
    n_rows = float(made.sum())
    concentrations = n_rows / _GENERATIONS[:, None]
    in_cells = log_rising_excess(concentrations * (reference / reference.sum()), made[None, :])
    log_factors = in_cells.sum(axis=1) - log_rising_excess(concentrations[:, 0], n_rows)
    return float(log_mean_exp(log_factors))


def novel_row_share(counts: ArrayLike, reference_counts: ArrayLike) -> float:
    """Return the share of the look's rows in cells that the reference never saw, in [0, 1].

    A healthy look has about the reference's own missing mass. Source: Good, Biometrika 40 (1953), two samples.

    Blind: to all that happens among the reference's cells; lost tails do not move it.

    >>> novel_row_share([6, 3, 1], [5, 5, 0])
    0.1
    """
    made, reference = compared(counts, reference_counts)
    return int(made[reference == 0].sum()) / int(made.sum())


def _known(made: NDArray[np.int64], reference: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return both over the cells of the reference; raises StatisticError where no row of the look is in them.

    Pooling the others with a rare cell would let them rule the sum: two healthy samples of a million rows over 100,000
    cells then have a chi-square of 1e8.
    """
    known = reference > 0
    if not made[known].any():
        raise StatisticError("counts hold rows in cells alone that the reference never saw; use the same cell map")
    return made[known], reference[known]


def rarefied_types_ratio(counts: ArrayLike, reference_counts: ArrayLike) -> float:
    """Return kinds of the look per kind of the reference, both rarefied to the smaller number of rows; above 0.

    Source: Hurlbert, Ecology 52 (1971).

    Blind: to shares of common kinds, and to a kind that another one replaced.

    >>> rarefied_types_ratio([4, 0], [5, 5]) < 0.6
    True
    """
    made, reference = compared(counts, reference_counts)
    n_rows = min(int(made.sum()), int(reference.sum()))
    return rarefied_types(made, n_rows=n_rows) / rarefied_types(reference, n_rows=n_rows)
