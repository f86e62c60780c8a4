"""Rows that still fit under every cap after a choice: what rounding, and caps that cut each other, have left out."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from collapse_guard.mixing.caps import SLACK, grouped, room, under

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from collapse_guard.mixing.settle import Choice, Task

#: Sweeps over what is left: each adds a row or is the last; a guard, far above what caps have needed.
_MOST_SWEEPS: Final = 1_000


def completed(task: Task, choice: Choice) -> Choice:
    """Return the choice with all rows that still fit: afterwards none could enter unless a cap or quota broke.

    Rows of a group that has the least of what it wants go first, in their hash order. Nothing is added where no group
    is capped: then the first rows of the order enter, and more real rows keep every earlier choice.
    """
    if not task.caps:
        return choice
    tally = _Tally.of_choice(task, choice)
    for _ in range(_MOST_SWEEPS):
        runs = tally.runs()
        if not runs:
            break
        for run in runs:
            tally.add(tally.fitting(run))
    return tally.choice()


@dataclass
class _Tally:
    """What a choice holds so far."""

    task: Task
    start: Choice
    chosen: NDArray[np.int64]
    rows: NDArray[np.int64]
    times: NDArray[np.int64]
    amount: float
    found: NDArray[np.float64]
    held: list[NDArray[np.float64]]

    @classmethod
    def of_choice(cls, task: Task, choice: Choice) -> _Tally:
        amount = task.pool.amount
        times = np.bincount(choice.chosen, minlength=task.pool.n_rows)
        weights = amount[choice.chosen]
        held = [np.bincount(cap.group[choice.chosen], weights, cap.share.size).astype(np.float64) for cap in task.caps]
        rows = task.order[amount[task.order] > 0]
        return cls(task, choice, choice.chosen, rows, times, choice.amount, choice.found, held)

    @property
    def wanted(self) -> NDArray[np.float64]:
        """What is wanted of each group, shape (groups,): of sources a share of what the output is by now."""
        if self.task.of_sources and self.task.policy.mix.when_short != "stop":
            return self.task.wanted(self.task.real.amount + self.amount)
        return self.start.wanted

    def runs(self) -> list[NDArray[np.int64]]:
        """Return the rows of which each alone fits, by equal group, caps and times that they stand; empty if none does.

        Rows of the group that has the least of what it wants come first, then those that stand least often.
        """
        passes = 1 if self.task.groups is None else self.task.groups.passes
        self.rows = self.rows[self.times[self.rows] < passes]
        amount = self.task.pool.amount[self.rows]
        limits = np.full(self.rows.size, self.task.limit - self.amount)
        for key, most in self.limits():
            limits = np.minimum(limits, most[key[self.rows]])
        rows = self.rows[amount <= limits * (1 + SLACK) + SLACK]
        if rows.size == 0:
            return []
        keys = np.stack([self.times[rows], *(key[rows] for key, _ in self.limits())])
        _, first, cell = np.unique(keys, axis=1, return_index=True, return_inverse=True)
        order = np.lexsort((first, self.times[rows[first]], self._levels(rows[first])))
        found = dict(grouped(cell.ravel(), first.size))
        return [rows[found[number]] for number in order.tolist()]

    def limits(self) -> list[tuple[NDArray[np.int64], NDArray[np.float64]]]:
        """Return the group of every row of the pool and how much more each group can have, by kind of group."""
        total = self.task.real.amount + self.amount
        caps = zip(self.task.caps, self.held, strict=True)
        found = [(cap.group, cap.more(total, held)) for cap, held in caps]
        return found if self.task.groups is None else [(self.task.groups.of, self.wanted - self.found), *found]

    def _levels(self, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return which part of what it wants the group of each row has, shape (rows,)."""
        if self.task.groups is None:
            return np.zeros(rows.size)
        full = np.ones_like(self.found)  # what is not wanted is served last
        return np.asarray(
            np.divide(self.found, self.wanted, out=full, where=self.wanted > 0)[self.task.groups.of[rows]]
        )

    def fitting(self, run: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the first rows of a run, those that are too large left out, as many as fit by now."""
        limits = [self.task.limit - self.amount, *(float(most[key[run[0]]]) for key, most in self.limits())]
        most = room(max(min(limits), 0.0))
        run = run[self.task.pool.amount[run] <= most]
        return run[: int(np.searchsorted(np.cumsum(self.task.pool.amount[run]), most, side="right"))]

    def add(self, run: NDArray[np.int64]) -> None:
        """Count a run."""
        amount, task = self.task.pool.amount[run], self.task
        self.chosen = np.concatenate([self.chosen, run])
        self.times[run] += 1
        self.amount += math.fsum(amount)
        self.held = [
            held + np.bincount(cap.group[run], amount, cap.share.size)
            for cap, held in zip(task.caps, self.held, strict=True)
        ]
        if task.groups is not None:
            self.found = self.found + np.bincount(task.groups.of[run], amount, self.found.size)

    def choice(self) -> Choice:
        """Return it as a choice."""
        task, start, amount = self.task, self.start, self.task.pool.amount
        if self.chosen.size == start.chosen.size:
            return start
        n_topped_up, short = start.n_topped_up, start.is_short
        if task.groups is not None:
            if not task.of_sources:
                of = task.groups.of[self.chosen]
                n_topped_up = int(under(of, amount[self.chosen], task.first_lacks).sum())
            short = task.groups.is_short(self.found, self.wanted, amount)
        return replace(
            start,
            chosen=self.chosen,
            amount=self.amount,
            n_topped_up=n_topped_up,
            wanted=self.wanted,
            found=self.found,
            is_short=short,
        )
