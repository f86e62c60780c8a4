"""The largest choice of synthetic rows that keeps every cap and wanted share at its own size."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Final

import numpy as np

from collapse_guard.mixing.caps import Cap, RealPart, caps_of, largest_total, room, synthetic_limit, under, within_caps
from collapse_guard.mixing.leftover import completed
from collapse_guard.mixing.lots import Lots, lots_of
from collapse_guard.mixing.quotas import Groups, base_of, class_shares, lacking, wanted_shares

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from collapse_guard.mixing.pool import Pool
    from collapse_guard.policy import Policy

#: Rounds of taking what the last total allows, before the total is searched by halves: caps that add up to almost
#: everything would need as many rounds as there are rows.
_PLAIN_ROUNDS: Final = 64
_HALVINGS: Final = 48
#: Sizes are so near that entries for one serve for the other: what they lose is filled up by rows that still fit.
_NEAR: Final = 1e-3


@dataclass(frozen=True)
class Task:
    """What is to be taken of which rows, beside which real ones.

    Args:
        pool: synthetic rows.
        order: those that may enter, in the order in which they are taken.
        groups: groups of which amounts are wanted; None if rows are taken as they come.
        shares: wanted share of each group, shape (groups,): of the output for sources, of the rest for classes.
        lacks: what each class lacks of its reference, shape (groups,); 0 for sources.
        real: real rows that train.
        limit: how much synthetic the whole mix may hold; may be infinite.
        caps: limits on groups of rows.
    """

    pool: Pool
    policy: Policy
    order: NDArray[np.int64]
    groups: Groups | None
    shares: NDArray[np.float64]
    lacks: NDArray[np.float64]
    real: RealPart = field(default_factory=partial(RealPart, 0.0))
    limit: float = math.inf
    caps: tuple[Cap, ...] = ()

    @property
    def of_sources(self) -> bool:
        """Whether sources ask for shares of the output."""
        return self.groups is not None and self.groups.kind == "source"

    @cached_property
    def available(self) -> float:
        """Amount that could enter, repeats and all."""
        once = math.fsum(self.pool.amount[self.order])
        return once if self.groups is None else once * self.groups.passes

    @property
    def most(self) -> float:
        """Largest synthetic amount that is wanted beside the real rows."""
        if self.of_sources:
            share = float(self.shares.sum())
            return min(self.limit, self.real.amount * share / (1 - share))
        return min(self.limit, self.available)

    @property
    def start(self) -> float:
        """A size that no output is above."""
        passes = 1 if self.groups is None else self.groups.passes
        amount = self.pool.amount * passes
        return largest_total(self.caps, self.order, amount, real=self.real.amount, most=self.most)

    def beside(self, real: RealPart) -> Task:
        """Return the task beside ``real``, under the limit and the caps that follow from it."""
        limit, budget = synthetic_limit(real.amount, self.policy), self.policy.mix.budget
        if budget is not None:
            limit = min(limit, max(budget.amount - real.amount, 0.0))
        return replace(self, real=real, limit=limit, caps=caps_of(self.pool, self.policy, real))

    def wanted(self, total: float) -> NDArray[np.float64]:
        """Return what is wanted of each group if the whole output has size ``total``, shape (groups,)."""
        if self.groups is None:
            return self.shares
        if self.of_sources:
            return self.shares * min(total, base_of(self.shares, self.groups.supply, self.limit))
        done = self.groups.amount(self.groups.filled(self.first_lacks))
        return self.first_lacks + self.shares * max(self.most - done, 0.0)

    @cached_property
    def first_lacks(self) -> NDArray[np.float64]:
        """What classes lack, the rarest first, as far as the limit goes, shape (groups,)."""
        left, lacks = self.most, []
        for lack, there in zip(self.lacks.tolist(), self._supply, strict=True):
            lacks.append(min(lack, left))
            left -= min(lacks[-1], there)
        return np.array(lacks, dtype=np.float64)

    @cached_property
    def asked(self) -> Choice:
        """What is taken of an output of the wanted size, before anything gives less because it is short."""
        whole = self.real.amount + self.most
        return take(self, whole, self.wanted(whole))

    @cached_property
    def full(self) -> Choice:
        """What is taken where every group gives what it can."""
        choice = _at_its_size(self.real.amount, self.start, lambda total: take(self, total, self.wanted(total)))
        return completed(self, choice)

    @cached_property
    def lots(self) -> Lots | None:
        """Rows by group and caps; None if no cap cuts across the groups, or too many do."""
        return None if self.groups is None else lots_of(self.pool, self.groups, self.caps, real=self.real.amount)

    @property
    def _supply(self) -> list[float]:
        return [] if self.groups is None else self.groups.supply.tolist()


@dataclass(frozen=True)
class Choice:
    """Entries that were taken.

    Args:
        chosen: row numbers of the pool in the order in which they were taken; a repeated row stands more than once.
        amount: of all of them.
        n_topped_up: entries that stand in for real rows which their class lacks.
        wanted, found: amounts per group, shape (groups,).
        is_short: which groups have less than wanted, by a row of theirs or more, shape (groups,).
        again: what is taken of the same entries if the output has another size; None if others could fit better.
    """

    chosen: NDArray[np.int64]
    amount: float
    n_topped_up: int
    wanted: NDArray[np.float64]
    found: NDArray[np.float64]
    is_short: NDArray[np.bool_]
    again: Callable[[float], Choice] | None = None


def task_of(
    pool: Pool,
    order: NDArray[np.int64],
    policy: Policy,
    *,
    reference: Mapping[str, float],
    held: Mapping[str | None, float],
) -> Task:
    """Return a task without its real part; rows of groups of which nothing is wanted are not in its order.

    Args:
        reference: amount per class that ``mix.balance`` measures against.
        held: real amount per class, whether it trains or is only retained.
    """
    short = policy.mix.when_short
    passes = 1 if isinstance(short, str) else short.repeat
    by_source = wanted_shares(policy)
    shares, groups = by_source or class_shares(reference), None
    if by_source or policy.mix.balance == "anchor":
        kind = "source" if by_source else "class"
        groups = Groups.among(order, pool, kind=kind, names=tuple(shares), passes=passes)
        order = groups.order
    else:
        shares = {}
    lacks = np.zeros(len(shares)) if by_source else lacking(tuple(shares), reference, held)
    return Task(pool, policy, order, groups, np.array(list(shares.values())), lacks)


def take(task: Task, total: float, wanted: NDArray[np.float64]) -> Choice:
    """Return what is taken if the whole output has size ``total``, and ``wanted`` is wanted of the groups."""
    entries, n_ahead = (task.order, 0) if task.groups is None else _entries(task, task.groups, wanted)
    if task.lots is None or within_caps(entries, task.pool.amount, task.caps, total).size == entries.size:
        return _cut(task, wanted, entries, n_ahead, total)
    entries, n_ahead = _spread_entries(task, task.lots, total, wanted)
    choice = _cut(task, wanted, entries, n_ahead, total)
    return choice if task.lots.whole else replace(choice, again=partial(_cut, task, wanted, entries, n_ahead))


def _cut(task: Task, wanted: NDArray[np.float64], entries: NDArray[np.int64], n_ahead: int, total: float) -> Choice:
    """Return the entries that stay under the caps of a whole of size ``total``, and under the limit."""
    groups, amount = task.groups, task.pool.amount
    places = within_caps(entries, amount, task.caps, total)
    if math.isfinite(task.limit):
        sums = np.cumsum(amount[entries[places]])
        places = places[: int(np.searchsorted(sums, room(task.limit), side="right"))]
    chosen = entries[places]
    found = wanted if groups is None else groups.found(chosen, amount)
    short = np.zeros(0, dtype=np.bool_) if groups is None else groups.is_short(found, wanted, amount)
    return Choice(chosen, math.fsum(amount[chosen]), int((places < n_ahead).sum()), wanted, found, short)


def _counts(task: Task, groups: Groups, wanted: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return how many entries of each group top it up, and how many there are in all, each of shape (groups,)."""
    if task.of_sources:
        return np.zeros(wanted.size, dtype=np.int64), groups.filled(wanted)
    ahead = groups.filled(np.minimum(task.first_lacks, wanted))
    return ahead, np.maximum(groups.filled(wanted, carry=True), ahead)


def _entries(task: Task, groups: Groups, wanted: NDArray[np.float64]) -> tuple[NDArray[np.int64], int]:
    """Return entries in the order in which they are taken, and how many of them top a class up."""
    ahead, both = _counts(task, groups, wanted)
    parts = groups.entries(np.zeros_like(ahead), ahead), groups.entries(ahead, both)
    return np.concatenate(parts), int(parts[0].size)


def _spread_entries(task: Task, lots: Lots, total: float, wanted: NDArray[np.float64]) -> tuple[NDArray[np.int64], int]:
    """Return entries as :func:`_entries` does, of the lots that leave every group the most under all caps."""
    groups = lots.groups
    ahead, both = (
        np.array([groups.amount_of(group, count) for group, count in enumerate(counts.tolist())])
        for counts in _counts(task, groups, wanted)
    )
    counts = lots.counts(total, task.limit, ahead, both)
    entries = lots.cells.entries(np.zeros_like(counts), counts)
    tops = under(groups.of[entries], task.pool.amount[entries], ahead)
    return np.concatenate([entries[tops], entries[~tops]]), int(tops.sum())


def settled(task: Task) -> Choice:
    """Return the choice."""
    if task.policy.mix.when_short == "stop" and task.asked.is_short.any():
        whole = task.real.amount + task.most
        choice = _at_its_size(task.real.amount, whole, partial(take, task, wanted=task.asked.wanted))
        return completed(task, _stopped(task, choice))
    return task.full


def _stopped(task: Task, choice: Choice) -> Choice:
    """Return the choice whose wanted amounts are scaled down, all alike, until no group is short of its own."""
    ahead = task.first_lacks
    for _ in range(_PLAIN_ROUNDS):
        rest = choice.wanted - ahead
        stops = choice.is_short & (rest > 0)
        if not stops.any():
            break
        scale = float((np.maximum(choice.found - ahead, 0.0)[stops] / rest[stops]).min())
        wanted = ahead + rest * scale
        start = task.real.amount + min(task.most, float(wanted.sum()))
        choice = _at_its_size(task.real.amount, start, partial(take, task, wanted=wanted))
    return choice


def _at_its_size(real: float, start: float, take_at: Callable[[float], Choice]) -> Choice:
    """Return the largest choice that keeps every cap at the size of its own output, which is at most ``start``."""
    total = start
    for _ in range(_PLAIN_ROUNDS):
        choice = take_at(total)
        now = real + choice.amount
        if now >= total * (1 - 1e-12):
            return choice
        if choice.again is not None and now >= total * (1 - _NEAR):
            take_at = choice.again
        total = now
    low, high, choice = real, total, take_at(real)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        tried = take_at(middle)
        if real + tried.amount >= middle:
            low, choice = middle, tried
        else:
            high = middle
    return choice
