"""Looks at one fixed validation set: they are dependent, so their evidence must not be multiplied.

Each look is tested on its own by an exact binomial bound, and the error level is spent over the looks as
6 a / (pi^2 t^2), which sums to a. By the union bound P(ever a false halt) <= a under any dependence between looks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, Self

import numpy as np

from collapse_guard.errors import StatisticError
from collapse_guard.stats.arguments import as_whole, check_share
from collapse_guard.stats.binomial import beta_share, lower_shares
from collapse_guard.stats.counts import as_counts, as_rows
from collapse_guard.stats.groups import Groups, grouped
from collapse_guard.stats.reference import ReferenceRows
from collapse_guard.stats.tail import rarest_cells

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

Baseline = Literal["reference", "peak"]
_SMALLEST: Final = 1e-300


class FixedSetResult(NamedTuple):
    """What the last look says.

    Args:
        log_excess: log of (level / p-value) of the strongest test; a run halts at 0. -inf before the first look.
        tail_log_excess: the same of the pooled tail alone.
        fallen: classes whose own test is over its level, as cells.
        tail_mass_ratio: tail mass of the last look over the reference's (nan before it).
        n_looks: looks so far.
    """

    log_excess: float
    tail_log_excess: float
    fallen: tuple[int, ...]
    tail_mass_ratio: float
    n_looks: int


class _Plan(NamedTuple):
    tail: Ints
    mass: float
    groups: Groups


@lru_cache(maxsize=32)
def _plan(reference: ReferenceRows, tail_mass: float, max_class_drop: float, given: tuple[int, ...]) -> _Plan:
    counts = reference.counts()
    tail = np.array(given, dtype=np.int64) if given else rarest_cells(counts, tail_mass)
    among = np.arange(counts.size)
    groups = grouped(reference, among, max_drop=max_class_drop, error=reference.error / 2)
    return _Plan(tail, float(counts[tail].sum() / reference.n_rows), groups)


@dataclass(frozen=True, slots=True)
class FixedSetEvidence:
    """Tests of "the tail and every class keep their share" on looks at one fixed set; a value, folded look by look.

    Half of the error level goes to the pooled tail, half to the classes in equal parts. The baseline is the reference
    (the real rows, or the parent's own last look as a sample), or the run's own peak: the highest lower bound of
    any earlier look, whose errors are spent by the same rule.

    >>> e = FixedSetEvidence.start([900, 60, 40], tail_mass=.1, max_mass_drop=.1, max_class_drop=.5, alpha=.01)
    >>> e.update([900, 60, 40]).compute().log_excess < 0
    True
    >>> e.update([985, 10, 5]).compute().log_excess > 0
    True
    """

    reference: ReferenceRows
    tail_mass: float
    max_mass_drop: float
    max_class_drop: float
    alpha: float
    baseline: Baseline = "reference"
    given_tail: tuple[int, ...] = ()
    n_looks: int = 0
    peak_floors: tuple[float, ...] = ()
    log_excesses: tuple[float, ...] = ()
    last_mass_ratio: float = 0.0

    @classmethod
    def start(
        cls,
        reference: ArrayLike | ReferenceRows,
        *,
        tail_mass: float,
        max_mass_drop: float,
        max_class_drop: float,
        alpha: float,
        baseline: Baseline = "reference",
        tail: tuple[int, ...] = (),
    ) -> Self:
        """Return evidence before any look.

        Args:
            reference: rows per cell, integers of shape (n_cells,), or a ReferenceRows that says more about them.
            tail_mass: the tail is the rarest cells that hold at most this share, in (0, 1).
            max_mass_drop: tolerated relative drop of the tail's mass, in [0, 1).
            max_class_drop: tolerated relative drop of each class, in [0, 1).
            alpha: P(ever a false halt) at most, in (0, 1).
            baseline: ``reference`` or ``peak``.
            tail: cells of the tail, ascending, if they are not to be those that ``tail_mass`` gives.

        Raises StatisticError for counts or parameters out of range and for an empty tail.
        """
        if baseline not in {"reference", "peak"}:
            raise StatisticError(f"baseline must be reference or peak, got {baseline!r}")
        evidence = cls(
            ReferenceRows.of(reference),
            check_share(tail_mass, name="tail_mass"),
            check_share(max_mass_drop, name="max_mass_drop", low_open=False),
            check_share(max_class_drop, name="max_class_drop", low_open=False),
            check_share(alpha, name="alpha"),
            baseline,
            tail,
        )
        evidence.plan()
        return evidence

    def plan(self) -> _Plan:
        """Return what follows from the reference alone."""
        return _plan(self.reference, self.tail_mass, self.max_class_drop, self.given_tail)

    def update(self, counts: ArrayLike, *, n_unclaimed_rows: int = 0) -> Self:
        """Return the evidence after one look of ``counts``, integers of shape (n_cells,)."""
        plan = self.plan()
        array = as_counts(counts, name="counts", n_cells=len(self.reference.rows))
        n_rows = int(array.sum()) + as_rows(n_unclaimed_rows, name="n_unclaimed_rows")
        if n_rows == 0:
            raise StatisticError("counts are all zero: a look needs rows")
        rows = np.append(array[plan.tail].sum(), plan.groups.rows_of(array))
        levels = self._levels(rows.size)
        p_values = at_most(rows, n_rows, self._bounds(plan))
        floors = self.peak_floors
        if self.baseline == "peak":
            floors = self._raised(rows, n_rows, levels)
        return replace(
            self,
            n_looks=self.n_looks + 1,
            peak_floors=floors,
            log_excesses=tuple((np.log(levels) - np.log(np.maximum(p_values, _SMALLEST))).tolist()),
            last_mass_ratio=float(rows[0] / n_rows / plan.mass) if plan.mass else 0.0,
        )

    def _levels(self, n_tests: int) -> Floats:
        """Return the error level of each test of this look, the tail first; halved where a peak spends the other."""
        level = self.alpha * look_share(self.n_looks + 1)
        level = level / 2 if self.baseline == "peak" else level
        return np.append(level / 2, np.full(n_tests - 1, level / 2 / max(n_tests - 1, 1)))

    def _bounds(self, plan: _Plan) -> Floats:
        """Return the least healthy share of each test; 0 (nothing can fall below it) before there is a peak."""
        if self.baseline == "reference":
            of_tail = self.reference.bound_of(plan.tail, max_drop=self.max_mass_drop, error=self.reference.error / 2)
            return np.append(of_tail, plan.groups.bounds)
        drops = np.append(self.max_mass_drop, np.full(plan.groups.shares.size, self.max_class_drop))
        return np.asarray((1 - drops) * (np.array(self.peak_floors) if self.n_looks else np.zeros(drops.size)))

    def _raised(self, rows: Ints, n_rows: int, levels: Floats) -> tuple[float, ...]:
        """Return the highest lower bound of each share so far, this look included."""
        tail = lower_shares(rows[:1], n_rows, error=float(levels[0]))
        classes = lower_shares(rows[1:], n_rows, error=float(levels[-1]))
        found = np.append(tail, classes)
        return tuple(np.maximum(found, self.peak_floors).tolist() if self.n_looks else found.tolist())

    def sizes(self) -> dict[str, int]:
        """Return the length of each tuple of evidence after a look."""
        n_tests = self.plan().groups.shares.size + 1
        return {"log_excesses": n_tests, "peak_floors": n_tests if self.baseline == "peak" else 0}

    def compute(self) -> FixedSetResult:
        """Return what the last look says."""
        if self.n_looks == 0:
            return FixedSetResult(-math.inf, -math.inf, (), math.nan, 0)
        excesses = np.array(self.log_excesses)
        groups = self.plan().groups
        fallen = groups.alone[excesses[1 : 1 + groups.alone.size] >= 0]
        return FixedSetResult(
            float(excesses.max()), float(excesses[0]), tuple(fallen.tolist()), self.last_mass_ratio, self.n_looks
        )


def look_share(look: int) -> float:
    """Return 6 / (pi^2 t^2): what the t-th of endless looks may spend of a level; all of them sum to 1.

    Raises StatisticError unless ``look`` is a whole number, 1 or more.

    >>> round(look_share(1), 3), round(sum(map(look_share, range(1, 10_000))), 3)
    (0.608, 1.0)
    """
    return 6 / (math.pi * as_whole(look, name="look", least=1)) ** 2


def at_most(rows: Ints, n_rows: int, shares: Floats) -> Floats:
    """Return P(at most ``rows`` of ``n_rows``) for each share, exactly; shape of ``rows``.

    >>> round(float(at_most(np.array([1]), 10, np.array([0.5]))[0]), 5)  # 11 / 1024
    0.01074
    """
    missing = np.maximum(n_rows - rows, 1)
    return np.where(rows >= n_rows, 1.0, beta_share(missing, rows + 1, 1 - shares))
