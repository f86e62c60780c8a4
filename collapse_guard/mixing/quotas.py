"""Wanted amounts of groups of synthetic rows: shares of sources, class shares of the reference, top-up of the tail."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from collapse_guard.mixing.caps import SLACK, grouped, room

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from collapse_guard.mixing.pool import Pool
    from collapse_guard.policy import Policy


@dataclass(frozen=True, slots=True)
class Shortage:
    """A group that gave less than wanted, or less than would have entered without a cap.

    Args:
        name: the source, class, generation or generator.
        wanted: amount that was wanted of it; of a capped group, what it would have if it gave the wanted ones all they
            lack.
        found: amount of it that can enter.
        held_by: what keeps rows out that are there: of a wanted group the capped groups that rows of it are left of, of
            a capped group the rule of the policy; empty if there are no more rows.

    >>> Shortage("source 'bot'", 40.0, 25.0).describe("rows")
    "source 'bot' has 25 of 40 rows"
    >>> Shortage("generator 'm@1'", 40.0, 25.0, ("mix.per_generator_max_share 0.2",)).describe("rows")
    "generator 'm@1' has 25 of 40 rows, held back by mix.per_generator_max_share 0.2"
    """

    name: str
    wanted: float
    found: float
    held_by: tuple[str, ...] = ()

    def describe(self, unit: str) -> str:
        """Return it as a clause."""
        said = f"{self.name} has {self.found:.12g} of {self.wanted:.12g} {unit}"
        by = ", ".join(self.held_by)
        return f"{said}, held back by {by}" if by else said

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain values; what holds nothing back is not in it."""
        held = {"held_by": list(self.held_by)} if self.held_by else {}
        return {"name": self.name, "wanted": self.wanted, "found": self.found} | held

    @classmethod
    def of_dict(cls, values: Mapping[str, Any]) -> Shortage:
        """Return what :meth:`as_dict` gave; raises TypeError for anything else."""
        return cls(**{**values, "held_by": tuple(values.get("held_by", ()))})


@dataclass(frozen=True)
class Groups:
    """Groups of rows of which amounts are wanted, in the order in which they are served.

    Args:
        kind: source or class.
        names: the groups.
        of: group of each row of the pool, -1 for none, shape (rows,).
        order: rows of all groups in the order in which they are taken.
        places: where the rows of each group stand in ``order``, ascending.
        sums: running amounts of the rows of each group.
        passes: how often a row may be taken.
    """

    kind: str
    names: tuple[str, ...]
    of: NDArray[np.int64]
    order: NDArray[np.int64]
    places: tuple[NDArray[np.int64], ...]
    sums: tuple[NDArray[np.float64], ...]
    passes: int

    @classmethod
    def among(cls, order: NDArray[np.int64], pool: Pool, *, kind: str, names: Sequence[str], passes: int) -> Groups:
        """Return the groups of the rows in ``order``: sources or classes."""
        codes = pool.source if kind == "source" else pool.label
        number = {name: place for place, name in enumerate(names)}
        of = np.array([-1, *(number.get(name, -1) for name in codes.names)])[codes.of + 1]
        order = order[of[order] >= 0]
        found = dict(grouped(of[order], len(names)))
        places = tuple(found.get(group, order[:0]) for group in range(len(names)))
        sums = tuple(np.cumsum(pool.amount[order[own]]) for own in places)
        return cls(kind, tuple(names), of, order, places, sums, passes)

    @property
    def supply(self) -> NDArray[np.float64]:
        """Amount of each group, repeats and all, shape (groups,)."""
        return np.array([float(sums[-1]) * self.passes if sums.size else 0.0 for sums in self.sums])

    def n_within(self, group: int, most: float) -> int:
        """Return how many entries of a group fit into an amount: all its rows once, then all twice, and so on."""
        sums, size = self.sums[group], self.places[group].size
        whole = float(sums[-1]) if size else 0.0
        n_whole = min(int(room(most) // whole), self.passes) if whole > 0 else 0
        if n_whole == self.passes:
            return size * self.passes
        return n_whole * size + int(np.searchsorted(sums, room(most) - n_whole * whole, side="right"))

    def amount_of(self, group: int, n_entries: int) -> float:
        """Return the amount of the first entries of a group."""
        if not n_entries:
            return 0.0
        sums = self.sums[group]
        n_whole, rest = divmod(n_entries, sums.size)
        return n_whole * float(sums[-1]) + (float(sums[rest - 1]) if rest else 0.0)

    def amount(self, counts: NDArray[np.int64]) -> float:
        """Return the amount of the first ``counts`` entries of all groups."""
        return math.fsum(self.amount_of(group, count) for group, count in enumerate(counts.tolist()))

    def filled(self, wanted: NDArray[np.float64], *, carry: bool = False) -> NDArray[np.int64]:
        """Return how many entries of each group fill what is wanted of it, int64 of shape (groups,).

        Args:
            wanted: amounts, shape (groups,).
            carry: whether what is less than a row, of a group that has more rows, goes to the next group; else many
                small groups would leave much of the whole untaken.
        """
        left, counts = 0.0, []
        for group, amount in enumerate(wanted.tolist()):
            count = self.n_within(group, amount + left)
            if carry and count < self.places[group].size * self.passes:
                left = max(amount + left - self.amount_of(group, count), 0.0)
            counts.append(count)
        return np.array(counts, dtype=np.int64)

    def entries(self, start: NDArray[np.int64], end: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the entries ``start`` to ``end`` of each group: every row once before one stands twice, in order."""
        found = []
        for number in range(self.passes):
            is_taken = np.zeros(self.order.size, dtype=np.bool_)
            for own, first, last in zip(self.places, start.tolist(), end.tolist(), strict=True):
                before = number * own.size
                is_taken[own[max(first - before, 0) : max(last - before, 0)]] = True
            found.append(self.order[is_taken])
        return np.concatenate(found)

    def found(self, chosen: NDArray[np.int64], amount: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the amount per group of entries, shape (groups,)."""
        sums = np.bincount(self.of[chosen], weights=amount[chosen], minlength=len(self.names))
        return sums.astype(np.float64)  # without entries bincount counts whole numbers

    def is_short(
        self, found: NDArray[np.float64], wanted: NDArray[np.float64], amount: NDArray[np.float64]
    ) -> NDArray[np.bool_]:
        """Return which groups have less than wanted by a row of theirs or more, shape (groups,)."""
        largest = float(amount.max(initial=0.0))
        rows = [float(amount[self.order[own]].max()) if own.size else largest for own in self.places]
        return found + np.maximum(rows, SLACK) <= wanted * (1 + SLACK)


def base_of(shares: NDArray[np.float64], supply: NDArray[np.float64], limit: float) -> float:
    """Return the size of which ``shares`` are ``limit`` in all, where no group gives more than its supply.

    Infinite if everything there is fits.

    >>> base_of(np.array([0.2, 0.2]), np.array([5.0, 100.0]), 25.0)
    100.0
    """
    asks = shares > 0
    shares, supply = shares[asks], supply[asks]
    full, slope = 0.0, float(shares.sum())
    for group in np.argsort(supply / shares, kind="stable").tolist():
        base = (limit - full) / slope
        if base * shares[group] <= supply[group] or slope <= 0:
            return max(base, 0.0)
        full, slope = full + float(supply[group]), slope - float(shares[group])
    return math.inf


def wanted_shares(policy: Policy) -> dict[str, float]:
    """Return the shares that sources ask for, by name; empty if none does."""
    return {name: source.share for name, source in sorted(policy.sources.items()) if source.share is not None}


def class_shares(reference: Mapping[str, float]) -> dict[str, float]:
    """Return the share of each class of the reference, the rarest first."""
    whole = sum(reference.values())
    names = sorted(reference, key=lambda name: (reference[name], name))
    return {name: reference[name] / whole if whole > 0 else 0.0 for name in names}


def lacking(
    names: Sequence[str], reference: Mapping[str, float], real: Mapping[str | None, float]
) -> NDArray[np.float64]:
    """Return what the real rows of each class lack of its reference, in the order of ``names``."""
    return np.array([max(reference[name] - real.get(name, 0.0), 0.0) for name in names], dtype=np.float64)
