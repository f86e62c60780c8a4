"""Evidence on rows that no cell claims: their share must not rise.

A frozen classifier that may answer "none" puts what is off the manifold of real rows into cell -1. In one measured
loop that share went from 1 % of real rows to 12 % of the first model's and 16 % later.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple, Self

import numpy as np

from collapse_guard.errors import StatisticError
from collapse_guard.stats.arguments import check_looks, check_share
from collapse_guard.stats.counts import as_rows
from collapse_guard.stats.evalues import MASS_BETS, log_likelihood_ratios, log_mean_exp, shiryaev_roberts

if TYPE_CHECKING:
    from collapse_guard.stats.reference import ReferenceRows


class ClaimedResult(NamedTuple):
    """Evidence in nats, and the unclaimed share of the last look (nan before it)."""

    log_e: float
    unclaimed_share: float
    n_looks: int


@dataclass(frozen=True, slots=True)
class ClaimedEvidence:
    """Sequential evidence against "the unclaimed share is at most that of the reference plus ``max_rise``".

    The same bet as on the tail's mass, on the share of rows that some cell claims. State: 7 floats.

    >>> from collapse_guard.stats import ReferenceRows
    >>> e = ClaimedEvidence.start(ReferenceRows.of([90, 9], n_unclaimed_rows=1), max_rise=0.10, planned_looks=50)
    >>> e.update(2_000, n_unclaimed_rows=20).compute().log_e < 0
    True
    >>> e.update(2_000, n_unclaimed_rows=600).compute().log_e > 4.6  # log(1 / 0.01)
    True
    """

    least_share: float
    planned_looks: int
    n_looks: int = 0
    log_claimed: tuple[float, ...] = ()
    last_unclaimed_share: float = 0.0

    @classmethod
    def start(cls, reference: ReferenceRows, *, max_rise: float, planned_looks: int) -> Self:
        """Return evidence before any look.

        Args:
            reference: rows that count as healthy.
            max_rise: tolerated rise of the unclaimed share, in [0, 1), as a share of all rows.
            planned_looks: looks over which the error level is spent, 1 or more.

        Raises StatisticError if no unclaimed share would be too much.
        """
        rise = check_share(max_rise, name="max_rise", low_open=False)
        claimed = np.array([reference.n_rows - reference.n_unclaimed_rows])
        floor = float(reference.floors(claimed, error=reference.error)[0])
        least = (min(floor, sum(reference.enough)) if reference.enough else floor) - rise
        if least <= 0:
            text = f"max_rise {rise:g} allows every row to be unclaimed: the reference has"
            raise StatisticError(f"{text} {reference.n_unclaimed_rows / reference.n_rows:.1%} already; lower it")
        return cls(least, check_looks(planned_looks))

    def update(self, n_rows: int, *, n_unclaimed_rows: int) -> Self:
        """Return the evidence after one look of ``n_rows`` rows, ``n_unclaimed_rows`` of them in no cell."""
        total, unclaimed = as_rows(n_rows, name="n_rows"), as_rows(n_unclaimed_rows, name="n_unclaimed_rows")
        if not 0 < total >= unclaimed:
            raise StatisticError(f"n_rows must be 1 or more and hold the unclaimed ones, got {total} and {unclaimed}")
        ratio = log_likelihood_ratios(np.array([total - unclaimed]), total, np.array([self.least_share]), MASS_BETS)[0]
        before = np.array(self.log_claimed) if self.n_looks else None
        after = shiryaev_roberts(before, ratio, look=self.n_looks + 1, planned_looks=self.planned_looks)
        return replace(
            self,
            n_looks=self.n_looks + 1,
            log_claimed=tuple(after.tolist()),
            last_unclaimed_share=unclaimed / total,
        )

    def sizes(self) -> dict[str, int]:
        """Return the length of each tuple of evidence after a look."""
        return {"log_claimed": MASS_BETS.size}

    def compute(self) -> ClaimedResult:
        """Return the evidence so far; -inf before the first look."""
        if self.n_looks == 0:
            return ClaimedResult(-np.inf, np.nan, 0)
        return ClaimedResult(float(log_mean_exp(np.array(self.log_claimed))), self.last_unclaimed_share, self.n_looks)
