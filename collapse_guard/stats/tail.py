"""Evidence that the tail is shrinking: pooled tail mass and tail coverage, restarted at every look."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple, Self

import numpy as np

from collapse_guard.errors import StatisticError
from collapse_guard.stats.arguments import check_looks, check_share
from collapse_guard.stats.counts import as_counts, as_rows
from collapse_guard.stats.evalues import (
    CLASS_BETS,
    EPSILONS,
    MASS_BETS,
    coverage_log_ratios,
    log_likelihood_ratios,
    log_mean_exp,
    shiryaev_roberts,
    tail_cells,
)
from collapse_guard.stats.groups import Groups, grouped
from collapse_guard.stats.reference import ReferenceRows

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


class TailResult(NamedTuple):
    """What the looks say so far; ratios and coverages are of the last look.

    ``log_e`` is in nats: halt when it reaches log(1 / false_halt_rate).
    """

    log_e: float
    log_e_mass: float
    log_e_coverage: float
    tail_mass_ratio: float
    tail_coverage: float
    expected_tail_coverage: float
    n_looks: int
    n_tail_cells: int
    n_tail_cells_seen: int


class TailPlan(NamedTuple):
    """What follows from the reference alone: the tail, its mass and the least mass that is healthy, its groups."""

    tail: NDArray[np.int64]
    shares: NDArray[np.float64]
    mass: float
    mass_bound: NDArray[np.float64]
    groups: Groups


@lru_cache(maxsize=32)
def _plan(
    reference: ReferenceRows, tail_mass: float, max_mass_drop: float, max_coverage_drop: float, given: tuple[int, ...]
) -> TailPlan:
    counts = reference.counts()
    tail = np.array(given, dtype=np.int64) if given else rarest_cells(counts, tail_mass)
    bound = np.array([reference.bound_of(tail, max_drop=max_mass_drop, error=reference.error / 2)])
    groups = grouped(reference, tail, max_drop=max_coverage_drop, error=reference.error / 2)
    shares = counts[tail] / reference.n_rows
    return TailPlan(tail, shares, float(shares.sum()), bound, groups)


def rarest_cells(counts: NDArray[np.int64], tail_mass: float) -> NDArray[np.int64]:
    """Return the cells of the tail, ascending; raises StatisticError, with the remedy, if there are none."""
    tail = tail_cells(counts, tail_mass)
    if tail.size == 0:
        share = int(counts[counts > 0].min()) / int(counts.sum())
        raise StatisticError(
            f"the tail is empty: the rarest cell holds {share:.2%} of the reference, tail_mass is {tail_mass:.2%};"
            f" set tail_mass to at least {math.ceil(share * 10_000) / 10_000:.4f}"
        )
    return tail


@dataclass(frozen=True, slots=True)
class TailEvidence:
    """Sequential evidence against "the tail keeps its mass and its cells"; a value, folded look by look.

    Null: the tail's mass is at least ``1 - max_mass_drop`` of the reference's, and each tail cell's share at
    least ``1 - max_coverage_drop`` of its own. Two tests, each a Shiryaev-Roberts statistic with
    spending ``1/planned_looks``: a one-sided Bernoulli bet on pooled mass (sees bias), and a product over tail cells
    (sees drift). Their average is an e-process: P(ever reaching 1/a on a healthy run) <= a, plus ``reference.error``
    if the reference is a sample. A look must be
    fresh, independent rows (documents, images; not tokens). A reference that is a sample is trusted down to its
    bounds only (:class:`~collapse_guard.stats.ReferenceRows`), and cells with few rows are pooled.

    Looks are ordered, so evidence is not merged between ranks; merge
    :class:`~collapse_guard.stats.CellCounts` and update with the sum.

    >>> e = TailEvidence.start([950, 30, 20], tail_mass=.10, max_mass_drop=.10, max_coverage_drop=.50, planned_looks=50)
    >>> e.update([950, 30, 20]).compute().log_e < 0
    True
    >>> e.update([1000, 0, 0]).compute().log_e > 4.6  # log(1 / 0.01)
    True
    """

    reference: ReferenceRows
    tail_mass: float
    max_mass_drop: float
    max_coverage_drop: float
    planned_looks: int
    given_tail: tuple[int, ...] = ()
    n_looks: int = 0
    log_mass: tuple[float, ...] = ()
    log_coverage: tuple[float, ...] = ()
    last_n_rows: int = 0
    last_tail_rows: int = 0
    last_tail_cells: int = 0

    @classmethod
    def start(
        cls,
        reference: ArrayLike | ReferenceRows,
        *,
        tail_mass: float,
        max_mass_drop: float,
        max_coverage_drop: float,
        planned_looks: int,
        tail: tuple[int, ...] = (),
    ) -> Self:
        """Return evidence before any look.

        Args:
            reference: rows per cell, integers of shape (n_cells,), or a ReferenceRows that says more about them.
            tail_mass: the tail is the rarest cells that hold at most this share, in (0, 1).
            max_mass_drop: tolerated relative drop of the tail's mass, in [0, 1).
            max_coverage_drop: tolerated relative drop of each tail cell's share, in [0, 1).
            planned_looks: looks over which the error level is spent, 1 or more.
            tail: cells of the tail, ascending, if they are not to be those that ``tail_mass`` gives.

        Raises StatisticError for counts or parameters out of range and for an empty tail.
        """
        evidence = cls(
            ReferenceRows.of(reference),
            check_share(tail_mass, name="tail_mass"),
            check_share(max_mass_drop, name="max_mass_drop", low_open=False),
            check_share(max_coverage_drop, name="max_coverage_drop", low_open=False),
            check_looks(planned_looks),
            tail,
        )
        evidence.plan()
        return evidence

    def plan(self) -> TailPlan:
        """Return what follows from the reference alone."""
        return _plan(self.reference, self.tail_mass, self.max_mass_drop, self.max_coverage_drop, self.given_tail)

    @property
    def tail(self) -> tuple[int, ...]:
        """Cells of the tail, ascending."""
        return tuple(self.plan().tail.tolist())

    def update(self, counts: ArrayLike, *, n_unclaimed_rows: int = 0) -> Self:
        """Return the evidence after one look.

        Args:
            counts: rows per cell of this look, integers of shape (n_cells,).
            n_unclaimed_rows: rows of this look that no cell claims; they count for no cell, but as rows.
        """
        plan = self.plan()
        array = as_counts(counts, name="counts", n_cells=len(self.reference.rows))
        n_rows = int(array.sum()) + as_rows(n_unclaimed_rows, name="n_unclaimed_rows")
        if n_rows == 0:
            raise StatisticError("counts are all zero: a look needs rows")
        in_tail = array[plan.tail]
        tail_rows = np.array([in_tail.sum()])
        mass = log_likelihood_ratios(tail_rows, n_rows, plan.mass_bound, MASS_BETS)[0]
        rows, bounds, n_alike = plan.groups.alike(array)
        per_class = log_mean_exp(log_likelihood_ratios(rows, n_rows, bounds, CLASS_BETS), axis=1)
        return replace(
            self,
            n_looks=self.n_looks + 1,
            log_mass=self._restarted(self.log_mass, mass),
            log_coverage=self._restarted(self.log_coverage, coverage_log_ratios(per_class, n_alike)),
            last_n_rows=n_rows,
            last_tail_rows=int(tail_rows[0]),
            last_tail_cells=int((in_tail > 0).sum()),
        )

    def _restarted(self, state: tuple[float, ...], log_ratio: NDArray[np.float64]) -> tuple[float, ...]:
        before = np.array(state) if self.n_looks else None
        after = shiryaev_roberts(before, log_ratio, look=self.n_looks + 1, planned_looks=self.planned_looks)
        return tuple(after.tolist())

    def sizes(self) -> dict[str, int]:
        """Return the length of each tuple of evidence after a look."""
        return {"log_mass": MASS_BETS.size, "log_coverage": EPSILONS.size}

    def compute(self) -> TailResult:
        """Return the evidence so far; before the first look ``log_e`` is -inf and the ratios are nan."""
        plan = self.plan()
        if self.n_looks == 0:
            return TailResult(-np.inf, -np.inf, -np.inf, np.nan, np.nan, np.nan, 0, plan.tail.size, 0)
        log_mass = float(log_mean_exp(np.array(self.log_mass)))
        log_coverage = float(log_mean_exp(np.array(self.log_coverage)))
        return TailResult(
            log_e=float(np.logaddexp(log_mass, log_coverage) - np.log(2)),
            log_e_mass=log_mass,
            log_e_coverage=log_coverage,
            tail_mass_ratio=self.last_tail_rows / self.last_n_rows / plan.mass if plan.mass else np.nan,
            tail_coverage=self.last_tail_cells / plan.tail.size,
            expected_tail_coverage=float(-np.expm1(self.last_n_rows * np.log1p(-plan.shares)).mean()),
            n_looks=self.n_looks,
            n_tail_cells=plan.tail.size,
            n_tail_cells_seen=self.last_tail_cells,
        )
