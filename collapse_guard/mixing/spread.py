"""Wanted amounts under caps that cut across them: the tail first, then as near to the wanted shares as rows allow."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

#: Most halvings of a level, and those of amounts that are no whole rows: a billionth of what is wanted.
_HALVINGS: Final = 40
_HALVINGS_OF_AMOUNTS: Final = 30
#: Rounds in which what a group wants is spread over its lots in proportion to what they have.
_EVEN_ROUNDS: Final = 3
#: States that one search for an exchange looks at; kinds of caps that are nested need no more than there are caps.
_MOST_STATES: Final = 2048
#: Exchanges of one raise: a guard against rounding, far above what is needed.
_MOST_EXCHANGES: Final = 10_000


@dataclass(frozen=True)
class Net:
    """What there is and what holds it: ``wanted groups`` draw on ``lots``, and caps hold groups of lots.

    Args:
        supply: amount of each group in each lot, shape (groups, lots).
        member: which lots each cap holds, shape (caps, lots).
        most: largest amount under each cap, shape (caps,).
        whole: whether amounts are whole rows, and only whole ones may be taken.
    """

    supply: NDArray[np.float64]
    member: NDArray[np.bool_]
    most: NDArray[np.float64]
    whole: bool

    @property
    def least(self) -> float:
        """Amounts below it are nothing."""
        return 0.5 if self.whole else 1e-9 * max(1.0, float(self.supply.sum()))

    def slack(self, taken: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return what fits under each cap, shape (caps,)."""
        return np.asarray(np.maximum(self.most - self.member @ taken.sum(axis=0), 0.0))

    def room(self, taken: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return what fits into each lot, shape (lots,); infinite where no cap holds it."""
        held = np.where(self.member, self.slack(taken)[:, None], np.inf)
        return np.asarray(held.min(axis=0, initial=np.inf))

    def whole_rows(self, amounts: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return amounts without parts of rows."""
        return np.asarray(np.floor(amounts + 1e-9)) if self.whole else amounts


class Exchange(NamedTuple):
    """How a group can have more of ``lot``: others move from lot to lot, so that every cap still holds."""

    lot: int
    moves: tuple[tuple[int, int], ...]


def spread(net: Net, ahead: NDArray[np.float64], after: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return what each group takes of each lot, shape (groups, lots).

    Groups stand in the order in which they are served. First comes ``ahead``, group by group, each as much as it can
    have beside those before it. Then all groups take equal parts of ``after``: the level rises until a group can have
    no more beside the others; it stays there, and the level of the rest rises on. So no group could be nearer to what
    it wants unless one that is no nearer had less. Exact where caps are nested or of one kind (lexicographically
    optimal flows, Megiddo 1974). Where caps cross, that can need several exchanges at once, and single ones are tried:
    every cap holds, and a few rows can stay out that an integer program would place.

    Args:
        net: what there is.
        ahead, after: wanted amounts, shape (groups,).

    >>> supply, caps = np.array([[20.0, 0.0], [20.0, 20.0]]), np.eye(2, dtype=bool)
    >>> net = Net(supply, caps, np.array([10.0, 6.0]), whole=True)
    >>> spread(net, np.zeros(2), np.array([20.0, 20.0])).tolist()  # the second one leaves the first lot to the first
    [[8.0, 0.0], [2.0, 6.0]]
    """
    taken = _in_turn(net, np.zeros_like(net.supply), ahead)
    base = taken.sum(axis=1)
    rises = (after > 0) & (ahead - base <= net.least)
    low = 0.0

    def wanted(level: float) -> NDArray[np.float64]:
        return np.where(rises, net.whole_rows(base + level * after), taken.sum(axis=1))

    while rises.any():
        whole = raised(net, taken, wanted(1.0))
        if _is_enough(net, whole, wanted(1.0)):
            return whole
        high = 1.0
        for _ in range(_halvings(net, after)):
            middle = (low + high) / 2
            tried = raised(net, taken, wanted(middle))
            if _is_enough(net, tried, wanted(middle)):
                low, taken = middle, tried
            else:
                high = middle
        asked = wanted(high)
        taken = _in_turn(net, taken, asked)
        rises = rises & (asked - taken.sum(axis=1) <= net.least) & ~_stuck(net, taken)
        low = high
    return taken


def _halvings(net: Net, after: NDArray[np.float64]) -> int:
    """Return how many halvings tell the levels of any two rows apart: those of a of b rows differ by 1 / (a b)."""
    rows = float(after.max(initial=1.0)) + 1
    return min(_HALVINGS, 2 * math.ceil(math.log2(rows)) + 1) if net.whole else _HALVINGS_OF_AMOUNTS


def _is_enough(net: Net, taken: NDArray[np.float64], wanted: NDArray[np.float64]) -> bool:
    return bool((wanted - taken.sum(axis=1) <= net.least).all())


def _in_turn(net: Net, taken: NDArray[np.float64], wanted: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return what is taken if groups are served one after the other."""
    together = raised(net, taken, wanted)
    if _is_enough(net, together, wanted):
        return together
    for group in np.flatnonzero(wanted - taken.sum(axis=1) > net.least).tolist():
        own = taken.sum(axis=1)
        own[group] = wanted[group]
        taken = raised(net, taken, own)
    return taken


def _stuck(net: Net, taken: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which groups can have no more beside the others, shape (groups,)."""
    is_open = np.array([exchange(net, taken, [lot]) is not None for lot in range(net.supply.shape[1])], dtype=np.bool_)
    return np.asarray(~((net.supply - taken > net.least) & is_open).any(axis=1))


def raised(net: Net, taken: NDArray[np.float64], wanted: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return as much of ``wanted`` as caps and lots allow, shape (groups, lots); no group has less than before."""
    taken = _placed(net, taken, wanted)
    for _ in range(_MOST_EXCHANGES):
        lack = _lack(net, taken, wanted)
        starts = ((net.supply - taken > net.least) & (lack > 0)[:, None]).any(axis=0)
        found = exchange(net, taken, np.flatnonzero(starts).tolist())
        after = None if found is None else _exchanged(net, taken, lack, found)
        if after is None:
            break
        taken = after
    return taken


def _lack(net: Net, taken: NDArray[np.float64], wanted: NDArray[np.float64]) -> NDArray[np.float64]:
    lack = wanted - taken.sum(axis=1)
    return np.where(lack > net.least, lack, 0.0)


def _placed(net: Net, taken: NDArray[np.float64], wanted: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return what is taken without any exchange: in proportion to what lots have, then lot by lot."""
    for _ in range(_EVEN_ROUNDS):
        lack, room = _lack(net, taken, wanted), net.room(taken)
        left = (net.supply - taken) * (room > net.least)
        there = left.sum(axis=1)
        asks = np.divide(np.minimum(lack, there), there, out=np.zeros_like(there), where=there > 0)
        part = left * asks[:, None]
        sums = net.member @ part.sum(axis=0)
        slack = net.slack(taken)
        fits = np.divide(slack, sums, out=np.ones_like(sums), where=sums > slack)
        scale = np.where(net.member, fits[:, None], 1.0).min(axis=0, initial=1.0)
        taken = taken + net.whole_rows(part * scale)
    taken = taken.copy()
    for lot in np.argsort(-net.room(taken), kind="stable").tolist():
        lack = np.minimum(_lack(net, taken, wanted), net.supply[:, lot] - taken[:, lot])
        taken[:, lot] += _first(lack, float(net.room(taken)[lot]))
    return taken


def _first(amounts: NDArray[np.float64], most: float) -> NDArray[np.float64]:
    """Return the first of ``amounts``, as much as ``most`` in all, shape (groups,)."""
    before = np.cumsum(amounts) - amounts
    return np.clip(most - before, 0.0, amounts)


def exchange(net: Net, taken: NDArray[np.float64], starts: Iterable[int]) -> Exchange | None:
    """Return the shortest way to have more of one of the lots ``starts``; None if there is none."""
    is_full = net.slack(taken) <= net.least
    marks = [_mark(net.member[:, lot] & is_full) for lot in range(net.supply.shape[1])]
    queue: deque[tuple[int, int, Exchange]] = deque()
    seen: set[tuple[int, int]] = set()
    for lot in starts:
        if marks[lot] == 0:
            return Exchange(lot, ())
        queue.append((marks[lot], 0, Exchange(lot, ())))
    moves = _moves(net, taken, marks) if queue else {}
    while queue and len(seen) < _MOST_STATES:
        over, under, way = queue.popleft()
        for (minus, plus), pair in moves.items():
            if not minus & over or plus & over:
                continue
            state = (over & ~minus) | (plus & ~under), (under & ~plus) | (minus & ~over)
            longer = Exchange(way.lot, (*way.moves, pair))
            if state[0] == 0:
                return longer
            if state not in seen:
                seen.add(state)
                queue.append((*state, longer))
    return None


def _mark(of_caps: NDArray[np.bool_]) -> int:
    return sum(1 << int(cap) for cap in np.flatnonzero(of_caps))


def _moves(net: Net, taken: NDArray[np.float64], marks: list[int]) -> dict[tuple[int, int], tuple[int, int]]:
    """Return one move from lot to lot for each pair (full caps that it frees, full caps that it fills)."""
    has, lacks = (taken > net.least).astype(np.int64), (net.supply - taken > net.least).astype(np.int64)
    found: dict[tuple[int, int], tuple[int, int]] = {}
    for start, end in np.argwhere(has.T @ lacks).tolist():
        minus, plus = marks[start] & ~marks[end], marks[end] & ~marks[start]
        if minus:
            found.setdefault((minus, plus), (start, end))
    return found


def _exchanged(
    net: Net, taken: NDArray[np.float64], lack: NDArray[np.float64], found: Exchange
) -> NDArray[np.float64] | None:
    """Return what is taken after as much of an exchange as all of it allows; None if that is nothing."""
    taken, left = taken.copy(), net.supply - taken
    change = net.member[:, found.lot].astype(np.int64)
    amount = float(np.minimum(lack, left[:, found.lot]).sum())
    for start, end in found.moves:
        change = change + net.member[:, end] - net.member[:, start].astype(np.int64)
        amount = min(amount, float(np.minimum(taken[:, start], left[:, end]).sum()))
    grows = change > 0
    amount = min(amount, float((net.slack(taken)[grows] / change[grows]).min(initial=np.inf)))
    amount = float(net.whole_rows(np.array(amount)))
    # From its end: every move finds room, and if rows are too few for one, all before it are as small.
    for start, end in reversed(found.moves):
        part = _first(np.minimum(taken[:, start], net.supply[:, end] - taken[:, end]), amount)
        taken[:, start] -= part
        taken[:, end] += part
        amount = float(part.sum())
    taken[:, found.lot] += _first(np.minimum(lack, net.supply[:, found.lot] - taken[:, found.lot]), amount)
    return taken if amount > net.least else None
