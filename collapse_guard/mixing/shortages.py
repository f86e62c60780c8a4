"""What was wanted and cannot enter, and why: rows that are not there, and rows that a cap holds back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from collapse_guard.mixing.caps import SLACK
from collapse_guard.mixing.quotas import Shortage

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from collapse_guard.mixing.caps import Cap
    from collapse_guard.mixing.settle import Choice, Task


def shortages(task: Task) -> tuple[Shortage, ...]:
    """Return the groups that have less than was wanted of them, then the caps that hold rows of theirs back.

    A group names the capped groups that rows of it are left of; a capped group names its rule, what it has, and what it
    would have if it gave the others what they lack. Nothing is told where nothing is wanted: there caps decide alone.
    """
    groups = task.groups
    if groups is None:
        return ()
    told = task.asked if task.of_sources else task.full
    if not told.is_short.any():
        return ()
    wanted = task.asked.wanted
    lacks = np.where(told.is_short, wanted - told.found, 0.0)
    times = np.bincount(told.chosen, minlength=task.pool.n_rows)
    is_left = (times[task.order] < groups.passes) & (task.pool.amount[task.order] > 0)
    rows = task.order[is_left & (lacks[groups.of[task.order]] > 0)]
    holds = [_Held.of_cap(task, cap, told, rows, groups.passes - times[rows]) for cap in task.caps]
    short = [
        Shortage(
            f"{groups.kind} {groups.names[number]!r}",
            float(wanted[number]),
            float(told.found[number]),
            tuple(each for held in holds for each in held.holders(number, groups.kind)),
        )
        for number in np.flatnonzero(told.is_short).tolist()
    ]
    return (*short, *(each for held in holds if held.cap.kind != groups.kind for each in held.shortages(lacks)))


@dataclass(frozen=True)
class _Held:
    """What one kind of cap holds back.

    Args:
        cap: the cap.
        found: amount of each of its groups, shape (groups,).
        back: amount of the rows that do not fit under it, by (group of it, wanted group).
    """

    cap: Cap
    found: NDArray[np.float64]
    back: Mapping[tuple[int, int], float]

    @classmethod
    def of_cap(
        cls, task: Task, cap: Cap, told: Choice, rows: NDArray[np.int64], more_times: NDArray[np.int64]
    ) -> _Held:
        """Return what is held back of ``rows``, each of which could be taken ``more_times``."""
        amount = task.pool.amount
        found = np.bincount(cap.group[told.chosen], amount[told.chosen], cap.share.size).astype(np.float64)
        most = cap.more(task.real.amount + told.amount, found)[cap.group[rows]]
        is_back = amount[rows] > most * (1 + SLACK) + SLACK
        rows, weights = rows[is_back], (amount[rows] * more_times)[is_back]
        of = np.zeros_like(rows) if task.groups is None else task.groups.of[rows]
        pairs, place = np.unique(np.stack([cap.group[rows], of]), axis=1, return_inverse=True)
        sums = np.bincount(place.ravel(), weights, pairs.shape[1]).tolist()
        return cls(cap, found, {(pair[0], pair[1]): each for pair, each in zip(pairs.T.tolist(), sums, strict=True)})

    def holders(self, number: int, kind: str) -> list[str]:
        """Return the capped groups that rows of a wanted group are left of; of a cap on these groups the rule."""
        groups = [group for group, of in self.back if of == number]
        return [self.cap.rules[group] if self.cap.kind == kind else self.cap.name_of(group) for group in groups]

    def shortages(self, lacks: NDArray[np.float64]) -> list[Shortage]:
        """Return what is held back, group by group; of each wanted group no more than it lacks."""
        sums: dict[int, float] = {}
        for (group, of), amount in self.back.items():
            sums[group] = sums.get(group, 0.0) + min(amount, float(lacks[of]))
        cap, found = self.cap, self.found.tolist()
        return [
            Shortage(cap.name_of(group), found[group] + amount, found[group], (cap.rules[group],))
            for group, amount in sums.items()
        ]
