"""Caps on what is taken: each holds on the output, for entries in their order and a size of the whole."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

from collapse_guard.kernels import hash_order
from collapse_guard.mixing.arguments import check_number, check_policy
from collapse_guard.records import UNKNOWN_GENERATION

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from collapse_guard.mixing.pool import Codes, Pool
    from collapse_guard.policy import Policy

#: Room for the rounding of floats: a cap of 0.3 lets 3 of 10 rows in. A tenth of what the rules allow (CG1xx).
SLACK: Final = 1e-10

#: Codes below it are sorted as 16-bit numbers, which is an order of magnitude faster.
_SHORT: Final = 1 << 15

#: Halvings of an interval of sizes: below the rounding of floats.
_HALVINGS: Final = 60


@dataclass(frozen=True)
class RealPart:
    """What the caps ask of the real rows that train.

    Args:
        amount: of all of them.
        by_class, by_source, by_generator: of those with a name; None for those without.
    """

    amount: float
    by_class: Mapping[str | None, float] = field(default_factory=dict)
    by_source: Mapping[str | None, float] = field(default_factory=dict)
    by_generator: Mapping[str | None, float] = field(default_factory=dict)

    @classmethod
    def of_rows(cls, pool: Pool, rows: NDArray[np.int64]) -> RealPart:
        """Return the part of a pool's ``rows``."""
        amount = np.zeros(pool.n_rows)
        amount[rows] = pool.amount[rows]
        return cls(math.fsum(amount), pool.label.sums(amount), pool.source.sums(amount), pool.generator.sums(amount))


def room(amount: float) -> float:
    """Return a limit with room for the rounding of floats."""
    return amount * (1 + SLACK) + SLACK


def synthetic_limit(real_amount: float, policy: Policy) -> float:
    """Return how much synthetic the whole mix may hold beside ``real_amount``; infinite without a cap.

    Raises InputError for an amount that is no number of 0 or more, and for a policy that is not checked.

    >>> from collapse_guard.policy import policy_from_mapping
    >>> synthetic_limit(100, policy_from_mapping({"version": 1, "mix": {"real_min_share": 0.8}}))
    25.0
    """
    check_number("real_amount", real_amount)
    check_policy(policy)
    floor, ratio = policy.mix.real_min_share, policy.mix.synthetic_to_real_max
    limits = [
        real_amount * (1 - floor) / floor if floor > 0 else math.inf,
        math.inf if ratio is None else ratio * real_amount,
    ]
    most = min(limits)
    return round(most, 9) if math.isfinite(most) else most


def eligible(pool: Pool, policy: Policy) -> NDArray[np.int64]:
    """Return the rows that the filter kept and no generation limit forbids, in seeded hash order."""
    good = pool.keep & (pool.generation <= policy.provenance.max_generation_depth)
    for name, source in policy.sources.items():
        if source.max_depth is not None:
            good = good & ~(pool.source.is_one(name) & (pool.generation > source.max_depth))
    rows = np.flatnonzero(good)
    return rows[hash_order(pool.id_hi[rows], pool.id_lo[rows], seed=policy.mix.seed)]


@dataclass(frozen=True)
class Cap:
    """Limits on groups of one kind, each linear in the size of the whole output.

    Args:
        kind: source, generation, generator or class.
        group: group of every row of the pool, shape (rows,).
        share, fixed: of a whole of size T, at most ``share * T + fixed`` of a group may be taken, shape (groups,).
        names: what messages call the groups; generations are called by their number.
        rules: what caps each group, as a person has written it; empty for no cap.
    """

    kind: str
    group: NDArray[np.int64]
    share: NDArray[np.float64]
    fixed: NDArray[np.float64]
    names: tuple[str | None, ...]
    rules: tuple[str, ...]

    def name_of(self, group: int) -> str:
        """Return what messages call a group."""
        if self.kind == "generation":
            return "generation unknown" if group == UNKNOWN_GENERATION else f"generation {group}"
        name = self.names[group]
        return f"rows without a {self.kind}" if name is None else f"{self.kind} {name!r}"

    def more(self, total: float, held: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return how much of each group alone could be added to a whole of size ``total``, shape (groups,).

        What is added makes the whole larger, and with it the limit; infinite if the limit grows as fast.
        """
        left = (self.share * total + self.fixed) * (1 + SLACK) + SLACK - held
        grows = np.maximum(1 - self.share, 0.0)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(left < 0, 0.0, np.where(grows > 0, left / grows, np.inf))

    def most(self, total: float) -> NDArray[np.float64]:
        """Return the limits for a whole of size ``total``, shape (groups,)."""
        return np.maximum(self.share * total + self.fixed, 0.0)

    @classmethod
    def of_names(cls, kind: str, codes: Codes, limit_of: Callable[[str | None], tuple[float, float]], rule: str) -> Cap:
        """Return the cap on names: ``limit_of`` a name, None for none, is its share and what is fixed.

        Args:
            kind: of the groups.
            codes: names of the rows.
            limit_of: a function.
            rule: what caps them; ``{name}`` and ``{share}`` in it are those of a group.
        """
        names = (None, *codes.names)
        limits = np.array([limit_of(name) for name in names])
        shares = [f"{share:g}" for share in limits[:, 0]]
        rules = tuple(rule.format(name=name, share=share) for name, share in zip(names, shares, strict=True))
        return cls(kind, codes.of + 1, limits[:, 0], limits[:, 1], names, rules)


def caps_of(pool: Pool, policy: Policy, real: RealPart) -> tuple[Cap, ...]:
    """Return the caps of sources, generations, generators and classes, in the order in which they are applied.

    Real rows count for the caps of their sources and generators as well. Rows without a generator count as rows of
    one; without a class, as rows of one class.
    """
    mix, caps, free = policy.mix, [], (0.0, math.inf)
    shares = {name: source.max_share for name, source in policy.sources.items() if source.max_share is not None}
    if shares:
        held = real.by_source
        caps.append(
            Cap.of_names(
                "source",
                pool.source,
                lambda name: (shares[name], -held.get(name, 0.0)) if name is not None and name in shares else free,
                "sources.{name}.max_share {share}",
            )
        )
    if mix.per_generation_max_share is not None:
        depths = [mix.generation_cap(generation) for generation in range(1, UNKNOWN_GENERATION + 1)]
        limits = np.array([free, *(free if share is None else (share, 0.0) for share in depths)])
        rules = tuple(f"mix.per_generation_max_share {share:g}" for share in limits[:, 0])
        caps.append(Cap("generation", pool.generation, limits[:, 0], limits[:, 1], (), rules))
    each = mix.per_generator_max_share
    if each is not None:
        of_generator = real.by_generator
        caps.append(
            Cap.of_names(
                "generator",
                pool.generator,
                lambda name: (each, -of_generator.get(name, 0.0) if name else 0.0),
                "mix.per_generator_max_share {share}",
            )
        )
    part = mix.per_class_max_synthetic_share
    if part is not None and part < 1:
        of_class = real.by_class
        rule = f"mix.per_class_max_synthetic_share {part:g}"
        caps.append(
            Cap.of_names("class", pool.label, lambda name: (0.0, of_class.get(name, 0.0) * part / (1 - part)), rule)
        )
    return tuple(caps)


def largest_total(
    caps: Sequence[Cap], order: NDArray[np.int64], amount: NDArray[np.float64], *, real: float, most: float
) -> float:
    """Return a size that no output under the caps is above; each kind of cap on its own, rows as fine as sand.

    Args:
        order: rows that may enter.
        amount: how much each row of the pool may give, shape (rows,).
        real: real amount.
        most: largest synthetic amount that is wanted.
    """
    total = real + most
    for cap in caps:
        there = np.bincount(cap.group[order], weights=amount[order], minlength=cap.share.size)
        low, high = real, total
        for _ in range(_HALVINGS):  # what is taken is concave in the size: too much at one size is too much above it
            middle = (low + high) / 2
            if real + float(np.minimum(cap.most(middle), there).sum()) < middle * (1 - 1e-12):
                high = middle
            else:
                low = middle
        total = high
    return total


def within_caps(
    entries: NDArray[np.int64], amount: NDArray[np.float64], caps: Sequence[Cap], total: float
) -> NDArray[np.int64]:
    """Return the places in ``entries`` that stay under the caps of a whole of size ``total``.

    Args:
        entries: row numbers in the order in which they are taken; a row may stand in it more than once.
        amount: how much each row of the pool is, shape (rows,).
    """
    places = np.arange(entries.size)
    for cap in caps:
        # Each cap takes the entries that earlier ones left.
        rows = entries[places]
        places = places[under(cap.group[rows], amount[rows], cap.most(total))]
    return places


def under(groups: NDArray[np.int64], amount: NDArray[np.float64], most: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which entries stay: of each group the first ones, as many as its limit holds.

    Args:
        groups: group of each entry, 0 or more, shape (entries,).
        amount: how much each is, shape (entries,).
        most: limit of each group, shape (groups,).

    >>> under(np.array([0, 1, 0, 0]), np.ones(4), np.array([2.0, 5.0])).tolist()
    [True, True, True, False]
    """
    stays = np.ones(groups.size, dtype=np.bool_)
    sums = np.bincount(groups, weights=amount, minlength=most.size)
    over = sums > most * (1 + SLACK) + SLACK
    if not over.any():
        return stays
    places = np.flatnonzero(over[groups])
    for group, members in grouped(groups[places], most.size):
        own = places[members]
        stays[own[int(np.searchsorted(np.cumsum(amount[own]), room(most[group]), side="right")) :]] = False
    return stays


def grouped(groups: NDArray[np.int64], n_groups: int) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """Yield each group that is there with its places, ascending."""
    codes = groups.astype(np.int16) if n_groups < _SHORT else groups
    order = np.argsort(codes, kind="stable")
    sizes = np.bincount(groups, minlength=n_groups)
    ends = np.cumsum(sizes)
    for group in np.flatnonzero(sizes).tolist():
        yield group, order[ends[group] - sizes[group] : ends[group]]
