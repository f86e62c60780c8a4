"""A planner that can be read in a minute: loops over rows, whole numbers and fractions of any size."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from collapse_guard.mixing import Codes, Pool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from collapse_guard.policy import Policy


@dataclass(frozen=True)
class Row:
    """A row that could enter; ``amount`` is a whole number."""

    id: int
    amount: int = 1
    source: str = "a"
    generator: str | None = "g@1"
    label: str | None = "x"
    generation: int = 1
    keep: bool = True


def pool_of(rows: Sequence[Row]) -> Pool:
    """Return rows as the planner sees them."""

    def codes(names: Iterable[str | None]) -> Codes:
        return Codes.of_column(pa.array(list(names), pa.string()))

    return Pool(
        np.array([row.id >> 64 for row in rows], dtype=np.uint64),
        np.array([row.id % 2**64 for row in rows], dtype=np.uint64),
        np.array([row.amount for row in rows], dtype=np.float64),
        codes(row.source for row in rows),
        codes(row.generator for row in rows),
        codes(row.label for row in rows),
        np.array([row.generation for row in rows], dtype=np.int64),
        np.array([row.keep for row in rows], dtype=np.bool_),
    )


def exact(share: float) -> Fraction:
    """Return the fraction that a person meant by a float."""
    return Fraction(share).limit_denominator(10**6)


def split_mix(word: int) -> int:
    """Return the SplitMix64 finaliser with whole numbers of any size."""
    word = ((word ^ (word >> 30)) * 0xBF58476D1CE4E5B9) % 2**64
    word = ((word ^ (word >> 27)) * 0x94D049BB133111EB) % 2**64
    return word ^ (word >> 31)


def slow_rank(identity: int, seed: int) -> tuple[int, int]:
    salt = split_mix((seed + 0x9E3779B97F4A7C15) % 2**64)
    high, low = identity >> 64, identity % 2**64
    return split_mix((split_mix(high ^ salt) + low) % 2**64), identity


def in_order(rows: Sequence[Row], policy: Policy) -> list[Row]:
    """Return the rows that may enter, in hash order."""
    depths = {name: source.max_depth for name, source in policy.sources.items()}
    good = [row for row in rows if row.keep and row.generation <= policy.provenance.max_generation_depth]
    for name, depth in depths.items():
        if depth is not None:
            good = [row for row in good if row.source != name or row.generation <= depth]
    return sorted(good, key=lambda row: slow_rank(row.id, policy.mix.seed))


def of_classes(rows: Iterable[Row]) -> dict[str, int]:
    """Return the amount per class."""
    sums: dict[str, int] = {}
    for row in rows:
        if row.label is not None:
            sums[row.label] = sums.get(row.label, 0) + row.amount
    return sums


def under(rows: list[Row], key: Callable[[Row], object], cap: Callable[[Row], Fraction | None]) -> list[Row]:
    """Return the first rows of each group, as many as its cap holds; a row over it ends its group."""
    sums: dict[object, int] = {}
    kept = []
    for row in rows:
        most = cap(row)
        sums[key(row)] = sums.get(key(row), 0) + row.amount
        if most is None or sums[key(row)] <= most:
            kept.append(row)
    return kept


def slow_bounds(
    real: Sequence[Row], policy: Policy, total: Fraction
) -> list[tuple[str, Callable[[Row], object], Callable[[Row], Fraction | None]]]:
    """Return the kinds of caps: what they are called, the group of a row, the limit of its group; None for no cap."""
    mix = policy.mix

    def of_source(row: Row) -> Fraction | None:
        share = policy.sources[row.source].max_share if row.source in policy.sources else None
        same = sum(other.amount for other in real if other.source == row.source)
        return None if share is None else max(exact(share) * total - same, Fraction(0))

    def of_generation(row: Row) -> Fraction | None:
        share = mix.generation_cap(row.generation)
        return None if share is None else exact(share) * total

    def of_generator(row: Row) -> Fraction | None:
        return None if mix.per_generator_max_share is None else exact(mix.per_generator_max_share) * total

    def of_class(row: Row) -> Fraction | None:
        share = mix.per_class_max_synthetic_share
        if share is None or share == 1:
            return None
        return sum(other.amount for other in real if other.label == row.label) * exact(share) / (1 - exact(share))

    return [
        ("source", lambda row: row.source, of_source),
        ("generation", lambda row: row.generation, of_generation),
        ("generator", lambda row: row.generator, of_generator),
        ("class", lambda row: row.label, of_class),
    ]


def slow_caps(rows: list[Row], real: Sequence[Row], policy: Policy, total: Fraction) -> list[Row]:
    """Return the rows that stay under the caps of an output of size ``total``."""
    for _, key, cap in slow_bounds(real, policy, total):
        rows = under(rows, key, cap)
    return rows


def slow_limit(real: Sequence[Row], policy: Policy) -> Fraction | None:
    """Return how much synthetic fits beside the real rows; None for any amount."""
    amount, mix = sum(row.amount for row in real), policy.mix
    limits = []
    if mix.real_min_share > 0:
        floor = exact(mix.real_min_share)
        limits.append(amount * (1 - floor) / floor)
    if mix.synthetic_to_real_max is not None:
        limits.append(exact(mix.synthetic_to_real_max) * amount)
    if mix.budget is not None:
        limits.append(max(Fraction(mix.budget.amount) - amount, Fraction(0)))
    return min(limits) if limits else None


def slow_group(rows: list[Row], most: Fraction, passes: int) -> list[tuple[int, Row]]:
    """Return (pass, row) of the entries of a group that fit: all its rows once, then all twice, and so on."""
    taken: list[tuple[int, Row]] = []
    amount = 0
    for number in range(passes if any(row.amount for row in rows) else 1):  # rows of nothing are not repeated
        for row in rows:
            amount += row.amount
            if amount > most:
                return taken
            taken.append((number, row))
    return taken


def slow_base(shares: dict[str, Fraction], supply: dict[str, int], limit: Fraction) -> Fraction:
    """Return the size of which shares are ``limit`` in all, where no source gives more than it has."""
    active = {name for name, share in shares.items() if share}
    while active:
        full = sum(supply[name] for name, share in shares.items() if share and name not in active)
        base = max(limit - full, Fraction(0)) / sum(shares[name] for name in active)
        over = {name for name in active if shares[name] * base > supply[name]}
        if not over:
            return base
        active -= over
    return Fraction(10**12)


@dataclass(frozen=True)
class Quota:
    """What is wanted of a class or source: amounts, and the entries (pass, row) that come first and in all."""

    wanted: Fraction
    ahead: list[tuple[int, Row]]
    both: list[tuple[int, Row]]


def slow_passes(policy: Policy) -> int:
    """Return how often a row may stand."""
    return 1 if isinstance(policy.mix.when_short, str) else policy.mix.when_short.repeat


def slow_quotas(
    good: list[Row],
    real: Sequence[Row],
    policy: Policy,
    total: Fraction,
    *,
    held: Mapping[str, int],
    reference: Mapping[str, int],
) -> dict[str, Quota]:
    """Return what an output of this size wants of each source or class, those that are served first in front."""
    passes, limit = slow_passes(policy), slow_limit(real, policy)
    shares = {name: exact(source.share) for name, source in policy.sources.items() if source.share is not None}
    if shares:
        supply = {name: passes * sum(row.amount for row in good if row.source == name) for name in shares}
        base = total if limit is None else min(total, slow_base(shares, supply, limit))
        quotas = {}
        for name, share in sorted(shares.items()):
            rows = [row for row in good if row.source == name]
            quotas[name] = Quota(share * base, [], slow_group(rows, share * base, passes))
        return quotas
    whole = sum(reference.values())
    by_class = {
        name: [row for row in good if row.label == name]
        for name in sorted(reference, key=lambda name: (reference[name], name))
    }
    most = Fraction(sum(row.amount for rows in by_class.values() for row in rows) * passes)
    most = most if limit is None else min(most, limit)
    lacks, left = dict[str, Fraction](), most
    for name, rows in by_class.items():
        lacks[name] = min(Fraction(max(reference[name] - held.get(name, 0), 0)), left)
        left -= min(lacks[name], Fraction(passes * sum(row.amount for row in rows)))
    ahead = {name: slow_group(rows, lacks[name], passes) for name, rows in by_class.items()}
    rest = most - sum(row.amount for group in ahead.values() for _, row in group)
    quotas, over = {}, Fraction(0)
    for name, rows in by_class.items():
        wanted = lacks[name] + rest * (Fraction(reference[name], whole) if whole else 0)
        both = slow_group(rows, wanted + over, passes)
        if len(both) < len(rows) * passes:
            over = wanted + over - sum(row.amount for _, row in both)
        quotas[name] = Quota(wanted, ahead[name], max(ahead[name], both, key=len))
    return quotas


def slow_candidates(
    good: list[Row],
    real: Sequence[Row],
    policy: Policy,
    total: Fraction,
    *,
    held: Mapping[str, int],
    reference: Mapping[str, int],
) -> list[Row]:
    """Return entries in the order in which they are taken: what the wanted shares of this size ask for."""
    if not wants(policy):
        return good
    rank = {row.id: place for place, row in enumerate(good)}

    def sorted_entries(entries: Iterable[tuple[int, Row]]) -> list[Row]:
        return [row for _, row in sorted(entries, key=lambda entry: (entry[0], rank[entry[1].id]))]

    quotas = slow_quotas(good, real, policy, total, held=held, reference=reference).values()
    first = sorted_entries(entry for quota in quotas for entry in quota.ahead)
    return first + sorted_entries(entry for quota in quotas for entry in quota.both[len(quota.ahead) :])


def wants(policy: Policy) -> bool:
    """Return whether amounts of sources or classes are wanted."""
    return policy.mix.balance == "anchor" or any(source.share is not None for source in policy.sources.values())


def slow_take(
    made: Sequence[Row],
    real: Sequence[Row],
    policy: Policy,
    total: Fraction,
    *,
    held: Mapping[str, int],
    reference: Mapping[str, int],
) -> list[Row]:
    """Return what is taken if the whole output has size ``total``, first rows first under each cap."""
    good = in_order(made, policy)
    rows = slow_candidates(good, real, policy, total, held=held, reference=reference)
    return under(slow_caps(rows, real, policy, total), lambda _: 0, lambda _: slow_limit(real, policy))


def slow_plan(made: Sequence[Row], real: Sequence[Row], policy: Policy, reference: Mapping[str, int]) -> list[int]:
    """Return the ids of the largest choice that keeps every cap at its own size, sorted, each as often as it stands."""
    held = of_classes(real)
    amount = sum(row.amount for row in real)
    passes = slow_passes(policy)
    total = Fraction(amount + passes * sum(row.amount for row in made))
    while True:
        taken = slow_take(made, real, policy, total, held=held, reference=reference)
        now = Fraction(amount + sum(row.amount for row in taken))
        if now >= total:
            return sorted(row.id for row in taken)
        total = now
