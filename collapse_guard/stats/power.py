"""What a configuration can see at all: the smallest drop that reaches the halting level, and the rows that would.

Exact for the bets in use: at a constant share a Shiryaev-Roberts statistic is a geometric sum, here taken at the
expected counts. Of runs with the named drop half or more are halted by then: in simulations 50 % after one look, 60 %
after five, up to 85 % after fifty, because a run may be over the level at any of its looks.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from collapse_guard.errors import StatisticError
from collapse_guard.stats.counts import as_rows
from collapse_guard.stats.evalues import CLASS_BETS, MASS_BETS, log_likelihood_ratios, log_mean_exp

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from collapse_guard.stats.classes import ClassEvidence
    from collapse_guard.stats.tail import TailEvidence

    Floats = NDArray[np.float64]

_MOST_ROWS: Final = 1 << 40


class DetectableDrops(NamedTuple):
    """Smallest relative drops that reach the level after ``n_looks`` looks; nan where not even extinction does.

    Args:
        n_rows: rows per look.
        n_looks: looks after the drop.
        tail: of the tail's mass.
        classes: of each class that is guarded alone, then of the pooled rest if there is one, shape (groups,).
    """

    n_rows: int
    n_looks: int
    tail: float
    classes: tuple[float, ...]


class Level(NamedTuple):
    """What one test must reach: the halting level less its weight in the average, as logs.

    Args:
        log_e: log e at which a run halts.
        log_weight_mass: log of the weight of the mass test in the average of all tests.
        log_weight_classes: log of the weight of the average over classes.
    """

    log_e: float
    log_weight_mass: float
    log_weight_classes: float


def minimum_detectable_drop(
    tail: TailEvidence, classes: ClassEvidence, level: Level, *, n_rows: int, n_looks: int
) -> DetectableDrops:
    """Return the smallest drops that ``n_looks`` looks of ``n_rows`` rows can show.

    Args:
        tail: evidence on the tail, for its reference, margins and planned looks.
        classes: evidence on single classes.
        level: what each test must reach.
        n_rows: rows per look, 1 or more.
        n_looks: looks after the drop, 1 or more.

    >>> from collapse_guard.stats import ClassEvidence, TailEvidence
    >>> drops = {"max_mass_drop": 0.1, "max_coverage_drop": 0.5}
    >>> tail = TailEvidence.start([900, 95, 5], tail_mass=0.1, planned_looks=50, **drops)
    >>> classes = ClassEvidence.start([900, 95, 5], max_class_drop=0.5, planned_looks=50)
    >>> level = Level(math.log(100), math.log(1 / 4), math.log(1 / 2))
    >>> found = minimum_detectable_drop(tail, classes, level, n_rows=2000, n_looks=1)
    >>> round(found.tail, 2), [round(drop, 2) for drop in found.classes]
    (0.39, [0.58, 0.73, nan])
    """
    if as_rows(n_rows, name="n_rows") == 0 or as_rows(n_looks, name="n_looks") == 0:
        raise StatisticError(f"n_rows and n_looks must be 1 or more, got {n_rows} and {n_looks}")
    plan, groups = tail.plan(), classes.groups()
    mass = np.array([plan.mass])
    false = np.array([tail.reference.false_share_of(plan.tail)])
    looks = (n_rows, n_looks, tail.planned_looks)
    of_tail = _least_drops(mass, false, plan.mass_bound, MASS_BETS, looks, level.log_e - level.log_weight_mass)
    target = level.log_e - level.log_weight_classes + math.log(groups.shares.size)
    of_classes = _least_drops(groups.shares, groups.false_shares, groups.bounds, CLASS_BETS, looks, target)
    return DetectableDrops(n_rows, n_looks, float(of_tail[0]), tuple(of_classes.tolist()))


def rows_to_see_extinction(tail: TailEvidence, classes: ClassEvidence, level: Level, *, n_looks: int) -> int | None:
    """Return the least rows per look that show the extinction of the tail in ``n_looks`` looks; None above 2^40."""

    def is_seen(n_rows: int) -> bool:
        return not math.isnan(minimum_detectable_drop(tail, classes, level, n_rows=n_rows, n_looks=n_looks).tail)

    high = 1
    while not is_seen(high):
        high *= 2
        if high > _MOST_ROWS:
            return None
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if is_seen(middle) else (middle, high)
    return high


def _least_drops(
    shares: Floats, false: Floats, bounds: Floats, bets: Floats, looks: tuple[int, int, int], target: float
) -> Floats:
    """Return the smallest drop of each share whose log e reaches ``target``, by bisection; nan if none does.

    What a classifier puts there by mistake, ``false``, stays when true rows are lost.
    """
    true = np.maximum(shares - false, 0)
    low, high = np.zeros(shares.size), np.ones(shares.size)
    seen = _log_e(shares - true, bounds, bets, looks) >= target
    for _ in range(50):
        middle = (low + high) / 2
        enough = _log_e(shares - middle * true, bounds, bets, looks) >= target
        low, high = np.where(enough, low, middle), np.where(enough, middle, high)
    return np.where(seen, high, np.nan)


def _log_e(shares: Floats, bounds: Floats, bets: Floats, looks: tuple[int, int, int]) -> Floats:
    """Return log e after looks whose counts are as expected at ``shares``, shape (groups,)."""
    n_rows, n_looks, planned_looks = looks
    per_look = log_likelihood_ratios(n_rows * shares, n_rows, bounds, bets)
    n_starts = min(n_looks, planned_looks)
    youngest = n_looks - n_starts + 1  # looks since the last restart
    statistics = youngest * per_look + _log_geometric_sum(per_look, n_starts) - math.log(planned_looks)
    return np.asarray(log_mean_exp(statistics, axis=1))


def _log_geometric_sum(log_ratio: Floats, n_terms: int) -> Floats:
    """Return log(1 + q + ... + q^(n_terms - 1)) for q = exp(log_ratio), whatever the number of terms."""
    size = np.maximum(np.abs(log_ratio), 1e-12)  # at q = 1 the sum is n_terms, up to rounding
    falling = np.log(np.expm1(-n_terms * size) / np.expm1(-size))
    return np.asarray(np.where(log_ratio > 0, falling + (n_terms - 1) * log_ratio, falling))
