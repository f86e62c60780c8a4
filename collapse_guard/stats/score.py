"""Score evidence: the mean of a bounded per-row score must not fall.

Betting on a bounded mean (Waudby-Smith and Ramdas, arXiv 2010.09686) with Shiryaev-Roberts restarts. It lets text and
embeddings halt a run too: any score in [0, 1] that falls when a model collapses, such as the share of a document's
words that no other document of the look has.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, NamedTuple, Self

import numpy as np

from collapse_guard.errors import StatisticError
from collapse_guard.stats.arguments import check_looks, check_share
from collapse_guard.stats.evalues import log_mean_exp, shiryaev_roberts

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

#: Bets as shares of the largest one that can never lose everything.
SCORE_BETS: Final = np.array([0.02, 0.05, 0.1, 0.2, 0.4, 0.8])


class ScoreResult(NamedTuple):
    """Evidence in nats, and the mean of the last look over the reference's (nan before the first look)."""

    log_e: float
    mean_ratio: float
    n_looks: int


def as_scores(values: ArrayLike, *, name: str) -> NDArray[np.float64]:
    """Return ``values`` as float64 of shape (rows,), or raise StatisticError that names the first bad row.

    >>> as_scores([0.5, 1.5], name="scores")
    Traceback (most recent call last):
    ...
    collapse_guard.errors.StatisticError: scores[1] is 1.5; scores lie in [0, 1], rescale them
    """
    wanted = f"{name} must be a non-empty 1-D array of numbers in [0, 1]"
    try:
        given = np.asarray(values)
    except ValueError:
        raise StatisticError(f"{wanted}, got ragged lists") from None
    if given.ndim != 1 or given.size == 0 or given.dtype.kind not in "fiub":  # text that looks like numbers is text
        raise StatisticError(f"{wanted}, got shape {given.shape} of {given.dtype}")
    array = given.astype(np.float64, copy=False)
    wrong = np.flatnonzero(~((array >= 0) & (array <= 1)))
    if wrong.size:
        raise StatisticError(f"{name}[{wrong[0]}] is {float(array[wrong[0]])}; scores lie in [0, 1], rescale them")
    return array


def mean_floor(scores: ArrayLike, *, error: float) -> float:
    """Return a lower bound of the mean that ``scores`` were drawn from: wrong with probability ``error`` at most.

    The largest mean that a bet on "it is higher" refutes at the end of the sample; shape (rows,), in [0, 1].

    >>> 0.45 < mean_floor(np.tile([0.0, 1.0], 5_000), error=0.001) < 0.5
    True
    """
    array = as_scores(scores, name="reference_scores")
    limit = -math.log(check_share(error, name="error"))
    mean = float(array.mean())
    if mean == 0:
        return 0.0
    values, rows = np.unique(array / mean, return_counts=True)
    bets = 0.8 * 0.5 ** np.arange(2 + int(math.log2(array.size)))  # rare scores of many rows need bets near 1 / rows
    low, high = 0.0, 1.0  # of the bound over the mean
    for _ in range(20):
        middle = (low + high) / 2
        gains = values / middle - 1  # a score of 0 costs a bet all it stakes
        wealth = log_mean_exp(np.array([np.log1p(bet * gains) @ rows for bet in bets]))
        low, high = (middle, high) if wealth >= limit else (low, middle)
    return low * mean


def _log_wealth(scores: NDArray[np.float64], bound: float) -> NDArray[np.float64]:
    """Return the log wealth of each bet that the mean is below ``bound``, shape (bets,)."""
    bets = SCORE_BETS / (1 - bound)  # a score of 1 costs a bet all it stakes
    values, rows = np.unique(scores, return_counts=True)  # many scores are shares of few words
    return np.asarray(np.log1p(bets[:, None] * (bound - values)[None, :]) @ rows)


@dataclass(frozen=True, slots=True)
class ScoreEvidence:
    """Sequential evidence against "the mean score is at least ``1 - max_drop`` of the reference's".

    A look is the scores of fresh, independent rows; then P(ever reaching 1/a) <= a under the null. For scores that
    look at the other rows of their look (hapax, novelty) the rate is approximate: the rows of a look depend on each
    other, and one document that repeats the words of many others lowers them all. Keep looks of one size.
    State: 6 floats.

    >>> e = ScoreEvidence.start(0.50, max_drop=0.10, planned_looks=50)
    >>> e.update(np.full(1_000, 0.5)).compute().log_e < 0
    True
    >>> e.update(np.full(1_000, 0.3)).compute().log_e > 4.6  # log(1 / 0.01)
    True
    """

    reference_mean: float
    max_drop: float
    planned_looks: int
    n_looks: int = 0
    log_wealth: tuple[float, ...] = ()
    last_mean: float = 0.0

    @classmethod
    def start(cls, reference_mean: float, *, max_drop: float, planned_looks: int) -> Self:
        """Return evidence before any look.

        Args:
            reference_mean: mean score that counts as healthy, in (0, 1); of a sample, :func:`mean_floor`.
            max_drop: tolerated relative drop of the mean, in [0, 1).
            planned_looks: looks over which the error level is spent, 1 or more.
        """
        return cls(
            check_share(reference_mean, name="reference_mean"),
            check_share(max_drop, name="max_drop", low_open=False),
            check_looks(planned_looks),
        )

    def update(self, scores: ArrayLike) -> Self:
        """Return the evidence after one look of ``scores``, floats in [0, 1], shape (rows,)."""
        array = as_scores(scores, name="scores")
        bound = (1 - self.max_drop) * self.reference_mean
        before = np.array(self.log_wealth) if self.n_looks else None
        look = self.n_looks + 1
        after = shiryaev_roberts(before, _log_wealth(array, bound), look=look, planned_looks=self.planned_looks)
        return replace(self, n_looks=look, log_wealth=tuple(after.tolist()), last_mean=float(array.mean()))

    def sizes(self) -> dict[str, int]:
        """Return the length of each tuple of evidence after a look."""
        return {"log_wealth": SCORE_BETS.size}

    def compute(self) -> ScoreResult:
        """Return the evidence so far; -inf before the first look."""
        if self.n_looks == 0:
            return ScoreResult(-np.inf, np.nan, 0)
        ratio = self.last_mean / self.reference_mean
        return ScoreResult(float(log_mean_exp(np.array(self.log_wealth))), ratio, self.n_looks)
