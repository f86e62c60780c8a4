"""Rows of each wanted group by what caps ask of them: groups on one side, lots on the other, caps over the lots."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from collapse_guard.mixing.caps import SLACK, grouped
from collapse_guard.mixing.quotas import Groups
from collapse_guard.mixing.spread import Net, spread

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from collapse_guard.mixing.caps import Cap
    from collapse_guard.mixing.pool import Pool

#: Combinations of capped groups above which rows are taken in their hash order, and filled up at the end.
_MOST_LOTS: Final = 64


@dataclass(frozen=True)
class Lots:
    """Rows of equal group and equal caps stand in one cell.

    Args:
        groups: wanted groups.
        cells: rows of each cell, in the order in which they are taken.
        group, lot: of each cell, shape (cells,).
        member: which lots each cap that could bind holds, shape (caps, lots).
        binding: (cap, group of it) of each row of ``member``.
        own: the cap on the wanted groups themselves, None for none.
        whole: whether every row has the amount 1.
    """

    groups: Groups
    cells: Groups
    group: NDArray[np.int64]
    lot: NDArray[np.int64]
    member: NDArray[np.bool_]
    binding: tuple[tuple[Cap, int], ...]
    own: Cap | None
    whole: bool

    def net(self, total: float, limit: float, *, passes: int) -> Net:
        """Return what there is, rows repeated ``passes`` times, under the caps of a whole of size ``total``.

        ``limit`` holds all lots, as one cap more.
        """
        supply = np.zeros((len(self.groups.names), self.member.shape[1]))
        supply[self.group, self.lot] = self.cells.supply / self.cells.passes * passes
        limits = [limit, *(float(cap.most(total)[group]) for cap, group in self.binding)]
        most = np.array(limits, dtype=np.float64) * (1 + SLACK) + SLACK
        member = np.vstack([np.ones((1, self.member.shape[1]), dtype=np.bool_), self.member])
        return Net(supply, member, np.floor(most) if self.whole else most, self.whole)

    def counts(
        self, total: float, limit: float, ahead: NDArray[np.float64], both: NDArray[np.float64]
    ) -> NDArray[np.int64]:
        """Return how many entries of each cell are taken, int64 of shape (cells,).

        Args:
            total: size of the whole output.
            limit: how much may be taken in all.
            ahead: amounts that come first, shape (groups,).
            both: amounts that are wanted in all, shape (groups,).
        """
        most = self._most_of_groups(total)
        ahead, both = np.minimum(ahead, most), np.minimum(both, most)
        net = self.net(total, limit, passes=self.cells.passes)
        taken = spread(net, ahead, both - ahead)
        if self.cells.passes > 1:
            taken = _first_passes(net, self.net(total, limit, passes=1).supply, taken)
        amounts = taken[self.group, self.lot].tolist()
        return np.array([self.cells.n_within(cell, most) for cell, most in enumerate(amounts)], dtype=np.int64)

    def _most_of_groups(self, total: float) -> NDArray[np.float64]:
        """Return what the cap on each wanted group itself allows, shape (groups,)."""
        if self.own is None:
            return np.full(len(self.groups.names), np.inf)
        limits = self.own.most(total) * (1 + SLACK) + SLACK
        of = [int(self.own.group[self.groups.order[own[0]]]) if own.size else -1 for own in self.groups.places]
        most = np.array([limits[group] if group >= 0 else 0.0 for group in of], dtype=np.float64)
        return np.floor(most) if self.whole else most


def _first_passes(net: Net, once: NDArray[np.float64], taken: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return as much of each group, with fewer rows repeated where other rows of the group stand only once."""
    taken = taken.copy()
    for start in range(once.shape[1]):
        for end in range(once.shape[1]):
            frees = net.member[:, end] & ~net.member[:, start]
            room = float(net.slack(taken)[frees].min(initial=np.inf))
            part = np.clip(np.minimum(taken[:, start] - once[:, start], once[:, end] - taken[:, end]), 0.0, None)
            part = net.whole_rows(np.clip(room - (np.cumsum(part) - part), 0.0, part))
            taken[:, start] -= part
            taken[:, end] += part
    return taken


def lots_of(pool: Pool, groups: Groups, caps: Sequence[Cap], *, real: float) -> Lots | None:
    """Return the lots of the rows of ``groups``; None if caps combine in more ways than can be searched.

    Args:
        pool: synthetic rows.
        groups: wanted groups and their rows.
        caps: all caps.
        real: real amount: no output is smaller, and no limit is below that of an output of this size.
    """
    order, amount = groups.order, pool.amount[groups.order]
    lot, binding = np.zeros(order.size, dtype=np.int64), []
    own = next((cap for cap in caps if cap.kind == groups.kind), None)
    for cap in caps:
        if cap is own:
            continue
        group = cap.group[order]
        there = np.bincount(group, weights=amount, minlength=cap.share.size) * groups.passes
        binds = np.flatnonzero(there > cap.most(real) * (1 + SLACK) + SLACK)
        number = np.zeros(cap.share.size, dtype=np.int64)
        number[binds] = np.arange(1, binds.size + 1)
        binding += [(cap, int(each)) for each in binds.tolist()]
        lot = np.unique(lot * (binds.size + 1) + number[group], return_inverse=True)[1].ravel()
    n_lots = int(lot.max(initial=-1)) + 1
    if not binding or n_lots > _MOST_LOTS:
        return None
    first = {number: int(order[members[0]]) for number, members in grouped(lot, n_lots)}
    member = np.array([[cap.group[first[each]] == group for each in range(n_lots)] for cap, group in binding])
    numbers, cell = np.unique(groups.of[order] * n_lots + lot, return_inverse=True)
    cells = _cells(groups, cell.ravel(), numbers.size, pool)
    whole = bool((amount == 1).all())
    return Lots(groups, cells, numbers // n_lots, numbers % n_lots, member, tuple(binding), own, whole)


def _cells(groups: Groups, cell: NDArray[np.int64], n_cells: int, pool: Pool) -> Groups:
    of = np.full(pool.n_rows, -1, dtype=np.int64)
    of[groups.order] = cell
    found = dict(grouped(cell, n_cells))
    places = tuple(found[number] for number in range(n_cells))
    sums = tuple(np.cumsum(pool.amount[groups.order[own]]) for own in places)
    return Groups("cell", tuple(map(str, range(n_cells))), of, groups.order, places, sums, groups.passes)
