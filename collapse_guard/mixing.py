"""Verdicts + caps -> which synthetic rows enter the training set, from a seed. Real rows always do."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from collapse_guard.errors import PolicyError, Problem
from collapse_guard.kernels import hash_order

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from collapse_guard.policy import Policy


@dataclass(frozen=True)
class SyntheticPool:
    """Synthetic rows that could enter; every array has shape (rows,).

    Args:
        keep: verdict of the filter.
        source: source name of each row.
        generator: generator of each row.
        generation: generation of each row.
        id_hi, id_lo: content ids.
    """

    keep: NDArray[np.bool_]
    source: NDArray[np.str_]
    generator: NDArray[np.str_]
    generation: NDArray[np.int64]
    id_hi: NDArray[np.uint64]
    id_lo: NDArray[np.uint64]


@dataclass(frozen=True)
class MixPlan:
    """Which rows enter: all real ones, and these of the synthetic pool.

    Args:
        n_real_rows: all of them.
        chosen: row numbers of the pool, ascending, int64.
        n_filtered_rows: pool rows that the filter did not keep.
        n_too_deep_rows: pool rows above the generation limit.
        n_capped_rows: pool rows that were good enough and over a cap.
    """

    n_real_rows: int
    chosen: NDArray[np.int64]
    n_filtered_rows: int
    n_too_deep_rows: int
    n_capped_rows: int

    @property
    def real_share(self) -> float:
        """Share of real rows in the output."""
        return self.n_real_rows / (self.n_real_rows + self.chosen.size)


def plan_mix(n_real_rows: int, pool: SyntheticPool, policy: Policy) -> MixPlan:
    """Return the plan: synthetic rows in a seeded hash order until a cap of the policy is reached.

    Every cap holds on the output. Under the caps of the whole mix (``real_min_share``, ``synthetic_to_real_max``) more
    real rows keep every earlier choice, and when the pool grows under an equal cap, no row of the old pool enters
    that was not chosen before. A cap of one source or generator can trade its rows against those of others.

    Raises PolicyError if the policy counts another unit than rows.
    """
    if policy.unit != "rows":
        text = f"rows are mixed by count, the policy counts {policy.unit}"
        raise PolicyError([Problem("CG001", "policy", None, "unit", text, "set unit: rows")])
    shallow = pool.generation <= policy.provenance.max_generation_depth
    order = hash_order(pool.id_hi, pool.id_lo, seed=policy.mix.seed)
    order = order[(pool.keep & shallow)[order]]
    order = _shallow_enough(order, pool, policy)
    most = synthetic_limit(n_real_rows, policy)
    total = n_real_rows + min(most, order.size)
    while True:
        chosen = _within_caps(order, pool, policy, total)[:most]
        if n_real_rows + chosen.size == total:
            break
        total = n_real_rows + chosen.size
    return MixPlan(
        n_real_rows,
        np.sort(chosen),
        n_filtered_rows=int((~pool.keep).sum()),
        n_too_deep_rows=int(pool.keep.sum()) - order.size,
        n_capped_rows=order.size - chosen.size,
    )


def synthetic_limit(n_real_rows: int, policy: Policy) -> int:
    """Return how many synthetic rows the whole mix may hold beside ``n_real_rows``.

    >>> from collapse_guard.policy import policy_from_mapping
    >>> synthetic_limit(100, policy_from_mapping({"version": 1, "mix": {"real_min_share": 0.8}}))
    25
    """
    floor, ratio = policy.mix.real_min_share, policy.mix.synthetic_to_real_max
    limits = [
        n_real_rows * (1 - floor) / floor if floor > 0 else math.inf,
        math.inf if ratio is None else ratio * n_real_rows,
    ]
    most = min(limits)
    return int(most + 1e-9) if math.isfinite(most) else np.iinfo(np.int64).max >> 1


def _shallow_enough(order: NDArray[np.int64], pool: SyntheticPool, policy: Policy) -> NDArray[np.int64]:
    for name, source in policy.sources.items():
        if source.max_depth is not None:
            deep = (pool.source[order] == name) & (pool.generation[order] > source.max_depth)
            order = order[~deep]
    return order


def _within_caps(order: NDArray[np.int64], pool: SyntheticPool, policy: Policy, total: int) -> NDArray[np.int64]:
    """Return the rows of ``order`` that stay under the caps of their source and generator."""
    for name, source in policy.sources.items():
        if source.max_share is not None:
            order = _first(order, pool.source[order] == name, int(source.max_share * total + 1e-9))
    share = policy.mix.per_generator_max_share
    if share is not None:
        for generator in np.unique(pool.generator[order]):
            order = _first(order, pool.generator[order] == generator, int(share * total + 1e-9))
    return order


def _first(order: NDArray[np.int64], member: NDArray[np.bool_], most: int) -> NDArray[np.int64]:
    """Return ``order`` with only the first ``most`` of its members."""
    return order[~member | (np.cumsum(member) <= most)]
