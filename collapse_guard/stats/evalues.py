"""Arithmetic of e-values, all in natural logarithms.

Sources: betting e-values for a bounded mean (Waudby-Smith and Ramdas, arXiv 2010.09686);
Shiryaev-Roberts e-detectors (Shin, Ramdas and Rinaldo, doi 10.51387/23-NEJSDS51).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

MASS_BETS: Final = np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.3, 0.1])
CLASS_BETS: Final = np.array([0.01, 0.1, 0.25, 0.5, 0.75])
EPSILONS: Final = np.array([0.01, 0.03, 0.1, 0.3])


def log_mean_exp(values: NDArray[np.float64], axis: int | None = None) -> NDArray[np.float64]:
    """Return log(mean(exp(values))) along ``axis`` without overflow.

    >>> float(log_mean_exp(np.array([1000.0, 1000.0])))
    1000.0
    """
    top = np.max(values, axis=axis, keepdims=True)
    safe = np.where(np.isfinite(top), top, 0.0)
    with np.errstate(divide="ignore"):
        mean = np.log(np.mean(np.exp(values - safe), axis=axis, keepdims=True)) + safe
    return np.asarray(np.squeeze(mean, axis=axis))


def log_likelihood_ratios(
    counts: NDArray[np.int64] | NDArray[np.float64], n_rows: int, bound: NDArray[np.float64], bets: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return log L of science's one-sided Bernoulli test, shape (cells, bets).

    Args:
        counts: rows in each cell, shape (cells,).
        n_rows: rows of the look, claimed or not.
        bound: least healthy share of each cell, in (0, 1), shape (cells,).
        bets: alternatives as ratios of the bound, in (0, 1), shape (bets,).

    Under any true share p >= bound the expectation of L is at most 1.
    """
    bound = np.minimum(bound, 1 - 2**-53)  # a share that rounds to 1 would bet infinity
    in_cell = counts[:, None] * np.log(bets)[None, :]
    elsewhere = (n_rows - counts)[:, None] * (np.log1p(-bound[:, None] * bets) - np.log1p(-bound)[:, None])
    return np.asarray(in_cell + elsewhere)


def coverage_log_ratios(per_class: NDArray[np.float64], n_alike: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return log prod_k (1 + eps (m_k - 1)) for each eps.

    Args:
        per_class: log m_k of each kind of cell, shape (kinds,).
        n_alike: cells of each kind, shape (kinds,).

    Valid for multinomial counts without independence: counts of one look are negatively associated,
    and every factor is non-negative and non-increasing in its own count (Joag-Dev and Proschan 1983).
    """
    keep = np.log1p(-EPSILONS)[:, None]
    bet = np.log(EPSILONS)[:, None] + per_class[None, :]
    return np.asarray(np.logaddexp(keep, bet) @ n_alike.astype(np.float64))


def shiryaev_roberts(
    state: NDArray[np.float64] | None, log_ratio: NDArray[np.float64], *, look: int, planned_looks: int
) -> NDArray[np.float64]:
    """Return the log statistic after one look: log L + log(exp(state) + g).

    Restarts are spent evenly, g = 1/planned_looks for each planned look and 0 afterwards. They sum to
    at most 1, so that P(ever reaching 1/a on a healthy run) <= a at any stopping time.
    """
    log_restart = -np.log(planned_looks) if look <= planned_looks else -np.inf
    before = np.full_like(log_ratio, -np.inf) if state is None else state
    return np.asarray(log_ratio + np.logaddexp(before, log_restart))


def tail_cells(reference_counts: NDArray[np.int64], tail_mass: float) -> NDArray[np.int64]:
    """Return the rarest cells that together hold at most ``tail_mass`` of the claimed rows, ascending.

    Ties go by cell index. Cells that the reference never saw are not in the tail: they cannot be lost.

    >>> tail_cells(np.array([90, 6, 4, 0]), 0.10)
    array([1, 2])
    """
    order = np.argsort(reference_counts, kind="stable")
    order = order[reference_counts[order] > 0]
    cumulated = np.cumsum(reference_counts[order])
    limit = tail_mass * float(reference_counts.sum())
    return np.sort(order[cumulated <= limit * (1 + 1e-12)])
