"""What a training set really holds: shares over its whole and over windows of it, against the policy."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from collapse_guard.errors import InputError
from collapse_guard.mixing.arguments import check_kind, check_number, check_vector, check_whole
from collapse_guard.mixing.caps import room
from collapse_guard.stats.share import log_p_share_below

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from collapse_guard.policy import Policy


@dataclass(frozen=True)
class WindowShares:
    """Shares of groups of rows over the whole output and over windows of it.

    Args:
        names: the groups.
        whole: share of each in the whole output, shape (groups,).
        windows: share of each in each window, shape (windows, groups); the last window may be shorter.
        window_rows: rows of a window.
        n_rows: rows of the output.
        evenness: mean amount of the rows of each window over the largest amount of any row, shape (windows,); 1 for
            rows of one size.
    """

    names: tuple[str, ...]
    whole: NDArray[np.float64]
    windows: NDArray[np.float64]
    window_rows: int
    n_rows: int
    evenness: NDArray[np.float64]

    def as_dict(self) -> dict[str, Any]:
        """Return least, whole and largest share of each group, as plain values."""
        low, high = self.windows.min(axis=0), self.windows.max(axis=0)
        return {
            name: {"share": float(self.whole[n]), "least": float(low[n]), "largest": float(high[n])}
            for n, name in enumerate(self.names)
        }


def window_shares(
    groups: NDArray[np.int64], names: Sequence[str], amount: NDArray[np.float64], *, window_rows: int
) -> WindowShares:
    """Return the shares of ``names`` in an output.

    Args:
        groups: number of each row's group, -1 to len(names) - 1, in the order in which rows are read, -1 for none,
            shape (rows,).
        names: what the numbers mean.
        amount: how much each row is, shape (rows,).
        window_rows: rows of a window, 1 or more.

    Raises InputError for no rows, for numbers that no name stands for, and for arguments of other types.

    >>> shares = window_shares(np.array([0, 1, 0, 0]), ["real", "synthetic"], np.ones(4), window_rows=2)
    >>> shares.whole.tolist(), shares.windows.tolist()
    ([0.75, 0.25], [[0.5, 0.5], [1.0, 0.0]])
    """
    check_vector("groups", groups)
    check_vector("amount", amount, groups.size)
    check_whole("window_rows", window_rows, least=1)
    if groups.size == 0:
        raise InputError("shares need rows, got none")
    n_windows, n_groups = -(-groups.size // window_rows), len(names)
    if groups.min() < -1 or groups.max() >= n_groups:
        raise InputError(
            f"groups are {groups.min()} to {groups.max()}, the {n_groups} names stand for 0 and up; code them"
        )
    window = np.arange(groups.size) // window_rows
    cells = window * (n_groups + 1) + groups + 1
    sums = np.bincount(cells, weights=amount, minlength=n_windows * (n_groups + 1)).reshape(n_windows, n_groups + 1)
    totals = np.maximum(sums.sum(axis=1, keepdims=True), np.finfo(float).tiny)
    whole = sums.sum(axis=0) / max(float(sums.sum()), np.finfo(float).tiny)
    mean = sums.sum(axis=1) / np.bincount(window, minlength=n_windows)
    evenness = mean / max(float(amount.max()), np.finfo(float).tiny)
    return WindowShares(tuple(names), whole[1:], (sums / totals)[:, 1:], window_rows, int(groups.size), evenness)


@dataclass(frozen=True, slots=True)
class Breach:
    """A share that breaks the policy: in the whole output exactly, or in a window beyond chance.

    >>> Breach("real", "floor", 0.5, 0.4, None).describe()
    'real: share 0.4000 of the output, the floor is 0.5'
    """

    name: str
    bound: str
    limit: float
    share: float
    window: int | None

    def describe(self) -> str:
        """Return one line."""
        place = "the output" if self.window is None else f"window {self.window}"
        return f"{self.name}: share {self.share:.4f} of {place}, the {self.bound} is {self.limit:g}"


def broken_shares(shares: WindowShares, bounds: Sequence[tuple[str, str, float]], *, alpha: float) -> list[Breach]:
    """Return what breaks the bounds.

    Args:
        shares: of one kind of group.
        bounds: (group, ``floor`` or ``cap``, limit); a group that is not there has the share 0.
        alpha: P(any window of a shuffled output that keeps its bounds is reported); Hoeffding's bound without
            replacement, spread over windows and bounds. Of rows of different sizes, each is worth what it has above
            the limit over the largest amount of a row: a valid bound that finds less.

    Raises InputError for arguments of other types and for an ``alpha`` that is no chance.
    """
    check_kind("shares", shares, WindowShares, "make them with window_shares")
    check_number("alpha", alpha)
    if not 0 < alpha <= 1:
        raise InputError(f"alpha must be above 0 and at most 1, got {alpha!r}")
    for each in bounds:
        match each:
            case (_, "floor" | "cap", _):
                continue
            case _:
                raise InputError(f"a bound is (group, 'floor' or 'cap', limit), got {each!r}")
    found = []
    places = {name: place for place, name in enumerate(shares.names)}
    n_tests = max(1, len(bounds) * len(shares.windows))
    for name, bound, limit in bounds:
        at = places.get(name)
        whole = 0.0 if at is None else float(shares.whole[at])
        if _is_beyond(whole, bound, limit):
            found.append(Breach(name, bound, limit, whole, None))
            continue
        for number, share in enumerate([] if at is None else shares.windows[:, at].tolist()):
            n_rows = min(shares.window_rows, shares.n_rows - number * shares.window_rows)
            worth = limit + (share - limit) * float(shares.evenness[number])
            if _log_p(worth, bound, limit, n_rows) <= math.log(alpha / n_tests):
                found.append(Breach(name, bound, limit, share, number))
    return found


def _is_beyond(share: float, bound: str, limit: float) -> bool:
    return room(share) < limit if bound == "floor" else share > room(limit)


def _log_p(share: float, bound: str, limit: float, n_rows: int) -> float:
    if bound == "cap":
        share, limit = 1 - share, 1 - limit
    return log_p_share_below(min(max(share, 0.0), 1.0) * n_rows, n_rows, limit)


def bounds_of(kind: str, names: Sequence[str], policy: Policy) -> list[tuple[str, str, float]]:
    """Return the bounds of a policy on groups of a kind, as :func:`broken_shares` takes them.

    Args:
        kind: origin, source, generator, generation or class.
        names: groups that are there; caps of generators and generations are of those.
    """
    mix, caps = policy.mix, policy.mix.per_generator_max_share
    match kind:
        case "origin":
            return list(_origin_bounds(policy, names))
        case "source":
            return list(_source_bounds(policy))
        case "generator" if caps is not None:
            return [(name, "cap", caps) for name in names]
        case "generation":
            depth_caps = {name: mix.generation_cap(int(name)) for name in names if name != "0"}
            return [(name, "cap", cap) for name, cap in depth_caps.items() if cap is not None]
        case _:
            return []


def _origin_bounds(policy: Policy, names: Sequence[str]) -> Iterator[tuple[str, str, float]]:
    """Yield the floor of real rows, and what the ratio of synthetic to real means where there are no other origins."""
    floor, ratio = policy.mix.real_min_share, policy.mix.synthetic_to_real_max
    if floor > 0:
        yield "real", "floor", floor
    if ratio is not None and not set(names) - {"real", "synthetic"}:
        yield "synthetic", "cap", ratio / (1 + ratio)


def _source_bounds(policy: Policy) -> Iterator[tuple[str, str, float]]:
    for name, source in sorted(policy.sources.items()):
        if source.min_share is not None:
            yield name, "floor", source.min_share
        if source.max_share is not None:
            yield name, "cap", source.max_share
