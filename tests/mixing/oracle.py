"""What a mix under caps can be at best, by integer programs over the rows that there are: slow, and not ours."""

from __future__ import annotations

from collections import Counter, defaultdict
from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp

from tests.mixing.slow import Row, in_order, of_classes, slow_bounds, slow_limit, slow_passes, slow_quotas, wants

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from collapse_guard.policy import Policy


class Cell(NamedTuple):
    """Rows that no cap tells apart; all of them have the amount 1."""

    source: str
    generator: str | None
    label: str | None
    generation: int


def cell_of(row: Row) -> Cell:
    """Return the cell of a row."""
    return Cell(row.source, row.generator, row.label, row.generation)


class Oracle:
    """Rows of the amount 1 beside ``real`` under a policy that balances classes."""

    def __init__(self, made: Sequence[Row], real: Sequence[Row], policy: Policy, reference: Mapping[str, int]) -> None:
        """Count what there is, and what is wanted of it."""
        self.real, self.policy = real, policy
        good = in_order(made, policy)
        self.quotas = slow_quotas(good, real, policy, Fraction(0), held=of_classes(real), reference=reference)
        self.supply = {
            cell: count * slow_passes(policy)
            for cell, count in sorted(Counter(map(cell_of, good)).items(), key=repr)
            if cell.label in self.quotas
        }

    def n_wanted(self, label: str) -> tuple[int, int]:
        """Return how many rows top a class up, and how many are wanted in all, under the cap on the class itself."""
        quota, most = self.quotas[label], None
        for kind, _, cap in slow_bounds(self.real, self.policy, Fraction(1)):
            if kind == "class":
                most = cap(Row(0, label=label))
        sizes = len(quota.ahead), len(quota.both)
        return (sizes[0], sizes[1]) if most is None else (min(sizes[0], int(most)), min(sizes[1], int(most)))

    def _limits(self, total: Fraction) -> Iterator[tuple[list[bool], Fraction]]:
        """Yield which cells each cap holds, and its limit at a size of the whole."""
        for kind, key, cap in slow_bounds(self.real, self.policy, total):
            groups = defaultdict(list)
            for cell in self.supply:
                groups[key(Row(0, 1, *cell[:3], cell.generation))].append(cell)
            for cells in groups.values() if kind != "class" else ():
                most = cap(Row(0, 1, *cells[0][:3], cells[0].generation))
                if most is not None:
                    yield [cell in cells for cell in self.supply], most

    def is_possible(self, counts: Mapping[str, int], total: Fraction) -> bool:
        """Return whether classes can have these rows in an output of this size."""
        rows = [[cell.label == label for cell in self.supply] for label in counts]
        limits, most = list(self._limits(total)), slow_limit(self.real, self.policy)
        if most is not None and sum(counts.values()) > most:
            return False
        if not self.supply:
            return not any(counts.values())
        constraints = [LinearConstraint(np.array(rows, dtype=float), list(counts.values()), list(counts.values()))]
        constraints += [LinearConstraint(np.array([held], dtype=float), -np.inf, int(most)) for held, most in limits]
        return bool(self._solve(np.zeros(len(self.supply)), constraints).success)

    def largest(self) -> int:
        """Return the most rows that keep every cap at the size of their own output."""
        if not self.supply:
            return 0
        amount, labels = len(self.real), [cell.label for cell in self.supply]
        none, ten = (list(self._limits(Fraction(amount + more))) for more in (0, 10))
        constraints = []
        for (held, low), (_, high) in zip(none, ten, strict=True):
            share = (high - low) / 10  # limits are linear in the size
            row = np.array(held, dtype=float) - float(share)
            constraints.append(LinearConstraint(row[None, :], -np.inf, float(low) + 1e-9))
        for label in self.quotas:
            row = np.array([name == label for name in labels], dtype=float)
            constraints.append(LinearConstraint(row[None, :], -np.inf, self.n_wanted(label)[1]))
        limit = slow_limit(self.real, self.policy)
        if limit is not None:
            constraints.append(LinearConstraint(np.ones((1, len(labels))), -np.inf, int(limit)))
        n_rows: float = -self._solve(-np.ones(len(labels)), constraints).fun
        return round(n_rows)

    def _solve(self, cost: np.ndarray, constraints: list[LinearConstraint]) -> milp:
        bounds = Bounds(0, np.array(list(self.supply.values()), dtype=float))
        return milp(cost, constraints=constraints, bounds=bounds, integrality=np.ones(cost.size))

    def best(self, total: Fraction) -> dict[str, int]:
        """Return how many rows each class has at best in an output of this size.

        Rows are asked for one by one: those that top classes up, class by class; then each class asks for the next part
        of what it wants, the one with the smallest part in front. A class that was refused asks no more.
        """
        names = list(self.quotas)
        slots = [(Fraction(-1), place, name) for place, name in enumerate(names) for _ in range(self.n_wanted(name)[0])]
        for place, name in enumerate(names):
            ahead, both = self.n_wanted(name)
            slots += [(Fraction(part, both - ahead), place, name) for part in range(1, both - ahead + 1)]
        counts, refused = dict.fromkeys(names, 0), set()
        for _, _, name in sorted(slots):
            more = counts | {name: counts[name] + 1}
            if name in refused or not self.is_possible(more, total):
                refused.add(name)
            else:
                counts = more
        return counts


def could_enter(
    chosen: Sequence[Row],
    kept: Sequence[Row],
    made: Sequence[Row],
    policy: Policy,
    *,
    held: Mapping[str, int],
    reference: Mapping[str, int],
) -> list[Row]:
    """Return the rows of which one more would have kept every cap and every wanted amount."""
    output, good = [*chosen], in_order(made, policy)
    total = Fraction(sum(row.amount for row in (*kept, *output)))
    quotas = slow_quotas(good, kept, policy, total, held=held, reference=reference) if wants(policy) else None
    of_source = any(source.share is not None for source in policy.sources.values())
    limit, times = slow_limit(kept, policy), Counter(row.id for row in output)
    found = []
    for row in good:
        name = row.source if of_source else row.label
        if row.amount == 0 or times[row.id] >= (slow_passes(policy) if quotas is not None else 1):
            continue
        if limit is not None and sum(other.amount for other in output) + row.amount > limit:
            continue
        if quotas is not None:
            same = sum(other.amount for other in output if (other.source if of_source else other.label) == name)
            if name not in quotas or same + row.amount > quotas[name].wanted:
                continue
        if all(
            (most := cap(row)) is None
            or sum(other.amount for other in output if key(other) == key(row)) + row.amount <= most
            for _, key, cap in slow_bounds(kept, policy, total + row.amount)
        ):
            found.append(row)
    return found
