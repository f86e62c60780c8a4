"""Verdicts + caps + wanted shares -> a mix plan, from a seed. All real rows are in, unless a budget says less."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from collapse_guard.errors import ContractError
from collapse_guard.mixing.arguments import check_caps, check_kind, check_policy, check_reference
from collapse_guard.mixing.budget import budgeted_rows, strata_of
from collapse_guard.mixing.caps import RealPart, eligible
from collapse_guard.mixing.plan import Left, MixPlan
from collapse_guard.mixing.pool import Pool
from collapse_guard.mixing.settle import Task, settled, task_of
from collapse_guard.mixing.shortages import shortages
from collapse_guard.mixing.weights import part_weights

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from collapse_guard.mixing.quotas import Shortage
    from collapse_guard.policy import Policy


#: Rounds in which real rows take what synthetic rows leave of a budget.
_MOST_ROUNDS: Final = 64
#: Shortages that an error lists.
_MOST_LISTED: Final = 5


def plan_mix(real: Pool, synthetic: Pool, policy: Policy, *, reference: Mapping[str, float] | None = None) -> MixPlan:
    """Return the plan: synthetic rows in a seeded hash order until a cap or quota of the policy is reached.

    Every cap holds on the output. Under the caps of the whole mix (``real_min_share``, ``synthetic_to_real_max``) more
    real rows keep every earlier choice, and when the pool grows under an equal cap, no row of the old pool enters
    that was not chosen before. A cap of one source, generator, generation or class can trade its rows against others.

    Args:
        real: real rows; all of them enter, unless ``mix.budget`` says how much fits.
        synthetic: rows that could enter.
        policy: its ``mix``, ``sources`` and ``provenance`` sections decide.
        reference: real amount per class of the manifest that classes are measured against; ``real`` if left out.

    Where a cap cuts across wanted shares or classes, rows of other lots stand in for those it holds back: tails are
    topped up first, then what each group has is as near to what it wants as the caps allow. ``short`` names the caps.

    Raises ContractError if ``when_short`` is ``fail`` and something is short, or if the floors exceed the budget;
    InputError for arguments of other types, and for a capped source that is not there beside one of almost its name.

    >>> import pyarrow as pa
    >>> from collapse_guard.mixing import Pool
    >>> from collapse_guard.policy import policy_from_mapping
    >>> ids = pa.array([bytes([n] * 16) for n in range(6)], pa.binary(16))
    >>> tags = {"cg_id": ids, "cg_source": ["bot"] * 6, "cg_generator": ["bot@1"] * 6, "cg_generation": [1] * 6}
    >>> pool = Pool.of_rows(pa.table(tags))
    >>> plan_mix(pool, pool, policy_from_mapping({"version": 1, "mix": {"real_min_share": 0.75}})).chosen.size
    2
    """
    _check_call(real, synthetic, policy, reference)
    order = eligible(synthetic, policy)
    held = real.label.sums(real.amount)
    if reference is None:
        reference = {name: amount for name, amount in held.items() if name is not None}
        floors = None
    else:
        floors = reference
    task = task_of(synthetic, order, policy, reference=reference, held=held)
    kept, task, short = _beside(task, real, floors)
    _check_short(short, policy)
    choice = settled(task)
    chosen = np.sort(choice.chosen)
    golden = policy.mix.weights == "golden"
    return MixPlan(
        kept,
        chosen,
        real.n_rows,
        synthetic.n_rows,
        task.real.amount,
        choice.amount,
        *part_weights(task.real.amount, choice.amount, golden=golden),
        left=_left(synthetic, order, task, chosen),
        short=short,
        n_topped_up_rows=choice.n_topped_up,
        unit=policy.unit,
        seed=policy.mix.seed,
        policy_digest=policy.digest,
        pool_digests=(real.digest, synthetic.digest),
    )


def _beside(
    task: Task, real: Pool, floors: Mapping[str, float] | None
) -> tuple[NDArray[np.int64], Task, tuple[Shortage, ...]]:
    """Return the real rows that train, the task beside them, and what is short of the wanted amounts."""
    budget = task.policy.mix.budget
    if budget is None:
        kept = np.arange(real.n_rows)
        task = task.beside(RealPart.of_rows(real, kept))
        return kept, task, shortages(task)
    strata = strata_of(real, task.policy, floors)
    available = task.available
    kept = budgeted_rows(strata, task.policy, available=available)
    here = task.beside(RealPart.of_rows(real, kept))
    short = shortages(here)
    stops = bool(short) and task.policy.mix.when_short == "stop"
    # Caps and shortages can keep rows out that the budget had room for: real rows take it, until there is no more.
    for _ in range(_MOST_ROUNDS):
        available = min(available, (settled(here) if stops else here.asked).amount)
        more = budgeted_rows(strata, task.policy, available=available)
        if more.size == kept.size:
            break
        kept, here = more, task.beside(RealPart.of_rows(real, more))
    return kept, here, short


def _check_call(real: Pool, synthetic: Pool, policy: Policy, reference: Mapping[str, float] | None) -> None:
    for name, pool in (("real", real), ("synthetic", synthetic)):
        check_kind(name, pool, Pool, "make one with Pool.of_rows, or plan over datasets (collapse_guard.plan_mix)")
    check_policy(policy)
    if reference is not None:
        check_reference(reference)
    check_caps(policy, {*real.source.names, *synthetic.source.names})


def _check_short(short: tuple[Shortage, ...], policy: Policy) -> None:
    """Raise ContractError for what is short, where the policy says so."""
    if short and policy.mix.when_short == "fail":
        listed = "; ".join(shortage.describe(policy.unit) for shortage in short[:_MOST_LISTED])
        more = f" and {len(short) - _MOST_LISTED} more" if len(short) > _MOST_LISTED else ""
        remedy = "add rows, loosen the caps on them, or let it shrink, stop or repeat"
        raise ContractError(f"{listed}{more} (mix.when_short: fail); {remedy}")


def _left(pool: Pool, order: NDArray[np.int64], task: Task, chosen: NDArray[np.int64]) -> Left:
    return Left(
        n_filtered_rows=int((~pool.keep).sum()),
        n_too_deep_rows=int(pool.keep.sum() - order.size),
        n_unwanted_rows=int(order.size - task.order.size),
        n_capped_rows=int(task.order.size - np.count_nonzero(np.bincount(chosen))),
    )
