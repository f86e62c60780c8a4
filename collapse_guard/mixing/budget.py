"""A training set of a fixed size: which real rows train, class by class, and which are only retained."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from collapse_guard.errors import ContractError
from collapse_guard.kernels import hash_order
from collapse_guard.mixing.caps import grouped, room
from collapse_guard.mixing.quotas import wanted_shares

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from collapse_guard.mixing.pool import Pool
    from collapse_guard.policy import Policy


@dataclass(frozen=True)
class Stratum:
    """Real rows of one class in the order in which they are taken, and how many of them must be."""

    rows: NDArray[np.int64]
    sums: NDArray[np.float64]
    n_floor: int

    @property
    def floor(self) -> float:
        """Amount of the rows that must be taken."""
        return float(self.sums[self.n_floor - 1]) if self.n_floor else 0.0

    @property
    def rest(self) -> float:
        """Amount of the others."""
        return float(self.sums[-1]) - self.floor


def strata_of(real: Pool, policy: Policy, reference: Mapping[str, float] | None) -> list[Stratum]:
    """Return the real rows class by class, in a seeded hash order.

    Every class keeps its reference amount, or ``mix.budget.min_class_rows`` rows where there is no reference, or all
    it has if that is less.

    Raises ContractError with the amount that is lacking if the floors alone are more than the budget.
    """
    budget = policy.mix.budget
    assert budget is not None
    order = hash_order(real.id_hi, real.id_lo, seed=policy.mix.seed)
    strata = []
    for number, members in grouped(real.label.of[order] + 1, len(real.label.names) + 1):
        rows = order[members]
        sums = np.cumsum(real.amount[rows])
        n_floor = min(budget.min_class_rows, rows.size)
        if reference is not None:
            least = 0.0 if number == 0 else reference.get(real.label.names[number - 1], 0.0)
            n_floor = min(int(np.searchsorted(sums, least * (1 - 1e-12))) + 1, rows.size) if least > 0 else 0
        strata.append(Stratum(rows, sums, n_floor))
    floors = math.fsum(stratum.floor for stratum in strata)
    if floors > room(budget.amount):
        lacking = f"mix.budget.amount is {budget.amount:.12g} {policy.unit}, {floors - budget.amount:.12g} less than"
        text = f"{lacking} the floors of {len(strata)} classes need ({floors:.12g})"
        raise ContractError(f"{text}; raise it, or lower mix.budget.min_class_rows or the reference")
    return strata


def budgeted_rows(strata: Sequence[Stratum], policy: Policy, *, available: float) -> NDArray[np.int64]:
    """Return the real rows that train under ``mix.budget``, ascending: all of them if they fit.

    What the real part holds above the floors follows what each class has above its own.

    Args:
        available: synthetic amount that could enter; what it does not fill is left to real rows.
    """
    budget = policy.mix.budget
    assert budget is not None
    floors, rest = (math.fsum(getattr(stratum, part) for stratum in strata) for part in ("floor", "rest"))
    most = max(budget.amount - _most_synthetic(policy, budget.amount, available) - floors, 0.0)
    rows = [np.zeros(0, dtype=np.int64), *_taken(strata, min(most, rest))]
    return np.sort(np.concatenate(rows))


def _most_synthetic(policy: Policy, total: float, available: float) -> float:
    """Return how much of an output of size ``total`` may be synthetic."""
    ratio, wanted = policy.mix.synthetic_to_real_max, wanted_shares(policy)
    limits = [available, total * (1 - policy.mix.real_min_share)]
    if ratio is not None:
        limits.append(total * ratio / (1 + ratio))
    if wanted:
        limits.append(total * sum(wanted.values()))
    return min(limits)


def _taken(strata: Sequence[Stratum], amount: float) -> Iterator[NDArray[np.int64]]:
    """Yield the rows of each stratum: its floor and its part of ``amount``; less than a row goes to the next one."""
    rest, left = math.fsum(stratum.rest for stratum in strata), 0.0
    for stratum in strata:
        most = stratum.floor + left + (amount * stratum.rest / rest if rest > 0 else 0.0)
        n_rows = max(int(np.searchsorted(stratum.sums, room(most), side="right")), stratum.n_floor)
        left = max(most - float(stratum.sums[n_rows - 1] if n_rows else 0.0), 0.0)
        yield stratum.rows[:n_rows]
