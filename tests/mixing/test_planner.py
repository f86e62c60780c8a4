"""The mix planner against a slow reference, and the promises of its docstring as properties."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from collapse_guard.errors import ContractError
from collapse_guard.mixing import MixPlan, plan_mix, synthetic_limit
from collapse_guard.policy import Policy
from collapse_guard.policy.contradictions import contradictions
from tests.mixing.slow import Row, exact, of_classes, pool_of, slow_plan, slow_take

SHARES = st.sampled_from([0.05, 0.1, 0.2, 0.25, 0.3, 1 / 3, 0.5, 0.7, 0.9, 1.0])
FLOORS = st.sampled_from([0.0, 0.2, 0.5, 0.6, 0.8, 0.95, 1.0])
LAWS = settings(max_examples=300, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


def rows_of(*, synthetic: bool, amounts: bool = False, max_size: int = 40) -> st.SearchStrategy[list[Row]]:
    return st.lists(
        st.builds(
            Row,
            id=st.integers(0, 2**128 - 1),
            amount=st.integers(0, 12) if amounts else st.just(1),
            source=st.sampled_from(["a", "b", "shared"] if synthetic else ["web", "shared"]),
            generator=st.sampled_from(["g@1", "h@1", None]) if synthetic else st.none(),
            label=st.sampled_from(["x", "x", "x", "y", "y", "z", None]),
            generation=st.sampled_from([1, 1, 2, 3, 255]) if synthetic else st.just(0),
            keep=st.sampled_from([True, True, True, False]) if synthetic else st.just(True),
        ),
        min_size=0 if synthetic else 1,
        max_size=max_size,
        unique_by=lambda row: row.id,
    )


@st.composite
def policies(draw: st.DrawFn, *, parts: int = 4, wants: bool = False, budget: bool = False) -> Policy:
    """Return policies without contradictions.

    Args:
        parts: how many kinds of groups may be capped: sources, generations, generators, classes.
        wants: whether shares of sources, or a balance of classes, may be asked for.
        budget: whether the size may be fixed.
    """
    mix: dict[str, Any] = {
        "real_min_share": draw(FLOORS),
        "synthetic_to_real_max": draw(st.none() | st.sampled_from([0.0, 0.1, 0.5, 1.0, 3.0])),
        "seed": draw(st.integers(0, 3)),
    }
    sources: dict[str, dict[str, Any]] = {"web": {}}
    kinds = ["source", "generation", "generator", "class"]
    capped = set(draw(st.lists(st.sampled_from(kinds), max_size=parts, unique=True))) if parts else set()
    for name in ("a", "b", "shared"):
        sources[name] = {"max_depth": draw(st.none() | st.integers(0, 3))}
        if "source" in capped:
            sources[name]["max_share"] = draw(st.none() | SHARES)
    if "generation" in capped:
        mix["per_generation_max_share"] = draw(SHARES | st.lists(SHARES, min_size=1, max_size=3))
    if "generator" in capped:
        mix["per_generator_max_share"] = draw(SHARES)
    if "class" in capped:
        mix["per_class_max_synthetic_share"] = draw(SHARES | st.just(0.0))
    if wants:
        mix["when_short"] = draw(st.sampled_from(["shrink", "stop", {"repeat": 2}, {"repeat": 5}]))
        mix["weights"] = draw(st.sampled_from(["uniform", "golden"]))
        if draw(st.booleans()):
            mix["balance"] = "anchor"
        else:
            for name in ("a", "b", "shared"):
                sources[name]["share"] = draw(st.none() | st.sampled_from([0.0, 0.05, 0.1, 0.2, 0.3]))
    if budget:
        least = draw(st.integers(0, 3))
        mix["budget"] = draw(st.none() | st.builds(dict, amount=st.integers(20, 80), min_class_rows=st.just(least)))
    policy = Policy.model_validate_json(
        json.dumps(
            {
                "version": 1,
                "mix": mix,
                "sources": sources,
                "provenance": {"max_generation_depth": draw(st.integers(0, 3))},
                "coverage": {},
            }
        )
    )
    assume(not list(contradictions(policy)))
    return policy


def policy_of(mix: dict[str, Any] | None = None, **sections: Any) -> Policy:
    return Policy.coerce({"version": 1, "mix": mix or {}, "coverage": {}} | sections)


def simple(n_rows: int, *, start: int = 0, **tags: Any) -> list[Row]:
    return [Row(id=(start + number) << 64 | (start + number), **tags) for number in range(n_rows)]


def real_rows(n_rows: int, **tags: Any) -> list[Row]:
    return simple(n_rows, start=10**9, generation=0, source="web", generator=None, **tags)


def chosen_ids(plan: MixPlan, rows: list[Row]) -> list[int]:
    return sorted(rows[row].id for row in plan.chosen.tolist())


def planned(real: list[Row], made: list[Row], policy: Policy, reference: dict[str, float] | None = None) -> MixPlan:
    return plan_mix(pool_of(real), pool_of(made), policy, reference=reference)


def is_capped(policy: Policy) -> bool:
    """Return whether a cap of some group is there."""
    mix = policy.mix
    caps = (mix.per_generator_max_share, mix.per_generation_max_share, mix.per_class_max_synthetic_share)
    return any(cap is not None for cap in (*caps, *(source.max_share for source in policy.sources.values())))


@LAWS
@given(real=rows_of(synthetic=False), made=rows_of(synthetic=True), policy=policies(parts=1))
def test_the_plan_is_the_one_of_a_slow_reference(real: list[Row], made: list[Row], policy: Policy) -> None:
    assert chosen_ids(planned(real, made, policy), made) == slow_plan(made, real, policy, of_classes(real))


@LAWS
@given(real=rows_of(synthetic=False), made=rows_of(synthetic=True), policy=policies(parts=4))
def test_under_several_caps_rows_that_still_fit_come_on_top_of_the_slow_reference(
    real: list[Row], made: list[Row], policy: Policy
) -> None:
    plan = planned(real, made, policy)
    check_caps(plan, real, made, policy)
    assert set(slow_plan(made, real, policy, of_classes(real))) <= set(chosen_ids(plan, made))


@LAWS
@given(
    real=rows_of(synthetic=False, amounts=True), made=rows_of(synthetic=True, amounts=True), policy=policies(parts=0)
)
def test_the_plan_of_rows_of_different_sizes_is_the_one_of_a_slow_reference(
    real: list[Row], made: list[Row], policy: Policy
) -> None:
    assert chosen_ids(planned(real, made, policy), made) == slow_plan(made, real, policy, of_classes(real))


@LAWS
@given(
    real=rows_of(synthetic=False, amounts=True),
    made=rows_of(synthetic=True, amounts=True),
    policy=policies(wants=True, budget=True),
    reference=st.none() | st.dictionaries(st.sampled_from(["x", "y", "z", "new"]), st.integers(0, 60), min_size=1),
)
def test_every_plan_is_what_the_slow_reference_takes_at_its_own_size(
    real: list[Row], made: list[Row], policy: Policy, reference: dict[str, int] | None
) -> None:
    try:
        plan = planned(real, made, policy, None if reference is None else {k: float(v) for k, v in reference.items()})
    except ContractError:  # of a budget below its floors, which tests/mixing/test_budget.py is about
        assert policy.mix.budget is not None
        return
    check_caps(plan, real, made, policy)
    if policy.mix.when_short != "stop" and not is_capped(policy):  # tests/mixing/test_oracle.py is about caps
        kept = [real[row] for row in plan.real.tolist()]
        total = Fraction(int(plan.real_amount + plan.synthetic_amount))
        held = of_classes(real)
        taken = slow_take(made, kept, policy, total, held=held, reference=held if reference is None else reference)
        assert chosen_ids(plan, made) == sorted(row.id for row in taken)


def check_caps(plan: MixPlan, real: list[Row], made: list[Row], policy: Policy) -> None:
    """Every bound of the policy, in whole numbers and fractions, on the output."""
    kept, output = [real[row] for row in plan.real.tolist()], [made[row] for row in plan.chosen.tolist()]
    n_real, n_made = (sum(row.amount for row in rows) for rows in (kept, output))
    total = n_real + n_made
    assert (n_real, n_made) == (plan.real_amount, plan.synthetic_amount)
    assert n_real >= exact(policy.mix.real_min_share) * total
    if policy.mix.synthetic_to_real_max is not None:
        assert n_made <= exact(policy.mix.synthetic_to_real_max) * n_real
    if policy.mix.budget is None:
        assert plan.real.tolist() == list(range(len(real)))
    else:
        assert total <= policy.mix.budget.amount
    for name, source in policy.sources.items():
        mine = [row for row in output if row.source == name]
        if source.max_share is not None and mine:
            same = sum(row.amount for row in kept if row.source == name)
            assert sum(row.amount for row in mine) + same <= exact(source.max_share) * total or not any(
                row.amount for row in mine
            )
        assert all(source.max_depth is None or row.generation <= source.max_depth for row in mine)
    for generation in {row.generation for row in output}:
        share = policy.mix.generation_cap(generation)
        if share is not None:
            assert sum(row.amount for row in output if row.generation == generation) <= exact(share) * total
    share = policy.mix.per_generator_max_share
    for generator in {row.generator for row in output} if share is not None else ():
        assert sum(row.amount for row in output if row.generator == generator) <= exact(share or 0) * total
    share = policy.mix.per_class_max_synthetic_share
    for label in {row.label for row in output} if share is not None else ():
        of_label = sum(row.amount for row in output if row.label == label)
        whole = of_label + sum(row.amount for row in kept if row.label == label)
        assert of_label <= exact(share or 0) * whole
    assert all(row.keep and row.generation <= policy.provenance.max_generation_depth for row in output)
    asks = [name for name, source in policy.sources.items() if source.share is not None]
    assert not asks or {row.source for row in output} <= set(asks)


@LAWS
@given(
    real=rows_of(synthetic=False),
    made=rows_of(synthetic=True, amounts=True),
    policy=policies(wants=True),
)
def test_chosen_rows_are_ascending_no_row_stands_too_often_and_every_row_is_accounted_for(
    real: list[Row], made: list[Row], policy: Policy
) -> None:
    plan = planned(real, made, policy)
    assert plan.chosen.dtype == plan.real.dtype == np.int64
    assert (np.diff(plan.chosen) >= 0).all()
    rows, times = np.unique(plan.chosen, return_counts=True)
    short = policy.mix.when_short
    assert times.max(initial=0) <= (1 if isinstance(short, str) else short.repeat)
    left = plan.left
    n_left = left.n_filtered_rows + left.n_too_deep_rows + left.n_unwanted_rows + left.n_capped_rows
    assert n_left + rows.size == len(made)
    assert min(left.n_filtered_rows, left.n_too_deep_rows, left.n_unwanted_rows, left.n_capped_rows) >= 0
    assert plan.n_repeated_rows == plan.chosen.size - rows.size
    assert plan.n_rows == len(real) + plan.chosen.size
    weights = plan.real_amount * plan.real_weight + plan.synthetic_amount * plan.synthetic_weight
    assert weights == pytest.approx(plan.real_amount + plan.synthetic_amount)


@LAWS
@given(
    real=rows_of(synthetic=False),
    more=rows_of(synthetic=False),
    made=rows_of(synthetic=True),
    policy=policies(parts=0),
)
def test_more_real_rows_keep_every_earlier_choice(
    real: list[Row], more: list[Row], made: list[Row], policy: Policy
) -> None:
    before, after = planned(real, made, policy), planned(real + more, made, policy)
    assert set(before.chosen.tolist()) <= set(after.chosen.tolist())


@LAWS
@given(real=rows_of(synthetic=False), made=rows_of(synthetic=True), n_old=st.integers(0, 40), policy=policies(parts=0))
def test_a_growing_pool_under_an_equal_cap_lets_no_old_row_in_that_was_not_chosen_before(
    real: list[Row], made: list[Row], n_old: int, policy: Policy
) -> None:
    old = made[:n_old]
    before, after = chosen_ids(planned(real, old, policy), old), chosen_ids(planned(real, made, policy), made)
    assert set(after) & {row.id for row in old} <= set(before)


@LAWS
@given(
    real=rows_of(synthetic=False, amounts=True),
    made=rows_of(synthetic=True, amounts=True),
    policy=policies(wants=True, budget=True),
    order=st.randoms(use_true_random=False),
)
def test_ids_decide_and_not_the_order_of_rows_in_the_pools(
    real: list[Row], made: list[Row], policy: Policy, order: Any
) -> None:
    shuffled, other = list(made), list(real)
    order.shuffle(shuffled)
    order.shuffle(other)
    try:
        plan = planned(real, made, policy)
    except ContractError:
        with pytest.raises(ContractError):
            planned(other, shuffled, policy)
        return
    again = planned(other, shuffled, policy)
    assert chosen_ids(plan, made) == chosen_ids(again, shuffled)
    assert {real[row].id for row in plan.real.tolist()} == {other[row].id for row in again.real.tolist()}


def test_equal_seeds_choose_equal_rows_and_other_seeds_choose_others() -> None:
    choices = [planned(real_rows(50), simple(200), policy_of({"seed": seed})).chosen.tolist() for seed in (0, 0, 1)]
    assert choices[0] == choices[1]
    assert choices[0] != choices[2]
    assert [len(choice) for choice in choices] == [50, 50, 50]


PROCESS = """
import sys
from tests.mixing.test_planner import everything
plan = everything()
sys.stdout.write(plan.digest + " " + " ".join(map(str, plan.order()[:20].tolist())))
"""


def everything() -> MixPlan:
    """Return a plan in which every option has a say."""
    labels = ["x", "x", "x", "y"]
    real = [replace(row, label=labels[row.id % 4]) for row in real_rows(200)]
    made = [
        replace(row, label=labels[(row.id // 3) % 4], source="ab"[row.id % 2], amount=1 + row.id % 3)
        for row in simple(300)
    ]
    mix = {
        "seed": 7,
        "real_min_share": 0.4,
        "balance": "anchor",
        "when_short": {"repeat": 3},
        "budget": {"amount": 150, "min_class_rows": 5},
        "per_class_max_synthetic_share": 0.6,
        "per_generation_max_share": [0.5],
        "weights": "golden",
    }
    return planned(real, made, policy_of(mix, sources={"a": {"max_share": 0.2}}), {"x": 60.0, "y": 55.0})


def test_another_process_with_another_hash_seed_plans_the_same() -> None:
    plan = everything()
    assert plan.chosen.size > 0
    assert plan.n_topped_up_rows > 0
    here = plan.digest + " " + " ".join(map(str, plan.order()[:20].tolist()))
    for hash_seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", PROCESS],
            env={"PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        )
        assert done.stdout == here


def test_an_empty_pool_gives_a_plan_of_real_rows_alone() -> None:
    plan = planned(real_rows(7), [], policy_of())
    assert plan.chosen.tolist() == []
    assert plan.real.tolist() == list(range(7))
    assert plan.real_share == 1.0
    assert (plan.left.n_filtered_rows, plan.left.n_too_deep_rows, plan.left.n_capped_rows) == (0, 0, 0)


def test_no_row_at_all_is_a_plan_of_nothing() -> None:
    for mix in ({}, {"budget": {"amount": 5}}, {"balance": "anchor"}):
        plan = planned([], [], policy_of(mix))
        assert (plan.n_rows, plan.real_share) == (0, 0.0)


def test_without_any_cap_every_row_of_the_pool_enters() -> None:
    assert planned(real_rows(1), simple(30), policy_of({"real_min_share": 0.0})).chosen.tolist() == list(range(30))


def test_a_floor_of_one_lets_no_synthetic_row_in() -> None:
    plan = planned(real_rows(10), simple(30), policy_of({"real_min_share": 1.0}))
    assert plan.chosen.size == 0
    assert plan.left.n_capped_rows == 30


def test_rows_of_unknown_generation_are_too_deep_for_every_policy() -> None:
    made = [Row(id=1, generation=255), Row(id=2)]
    plan = planned(real_rows(10), made, policy_of(provenance={"max_generation_depth": 254}))
    assert plan.chosen.tolist() == [1]
    assert plan.left.n_too_deep_rows == 1


def test_a_real_row_counts_for_the_cap_of_a_source_that_it_shares_with_synthetic_ones() -> None:
    real = [*real_rows(6), *(replace(row, source="forum") for row in real_rows(4))]
    real = [replace(row, id=number) for number, row in enumerate(real, start=500)]
    made = simple(20, source="forum")
    plan = planned(real, made, policy_of(sources={"forum": {"max_share": 0.5}}))
    assert plan.chosen.size == 2  # 4 real + 2 synthetic of 12


def test_a_list_of_generations_caps_each_for_itself_and_the_last_all_deeper_ones() -> None:
    made = [*simple(50), *simple(50, start=100, generation=2), *simple(50, start=200, generation=3)]
    mix = {"real_min_share": 0.0, "per_generation_max_share": [0.2, 0.1]}
    plan = planned(real_rows(60), made, policy_of(mix, provenance={"max_generation_depth": 3}))
    taken = [made[row].generation for row in plan.chosen.tolist()]
    assert [taken.count(generation) for generation in (1, 2, 3)] == [20, 10, 10]


def test_caps_that_add_up_to_almost_everything_are_settled_at_once() -> None:
    sources = {"a": {"max_share": 0.49999}, "b": {"max_share": 0.49999}}
    made = [*simple(40_000), *simple(40_000, start=10**6, source="b")]
    plan = planned(real_rows(1), made, policy_of({"real_min_share": 0.0}, sources=sources))
    assert plan.n_rows == 49_999  # twice 0.49999 of it, rounded down, and 1 real row


def test_caps_of_two_kinds_that_add_up_to_almost_everything_end_as_well() -> None:
    made = [*simple(30_000), *simple(30_000, start=10**6, source="b", generator="h@1")]
    made = [row if row.source == "b" else replace(row, generator=f"g@{row.id % 3}") for row in made]
    mix = {"real_min_share": 0.0, "per_generator_max_share": 0.49999}
    plan = planned(real_rows(1), made, policy_of(mix, sources={"a": {"max_share": 0.49999}}))
    check_caps(plan, real_rows(1), made, policy_of(mix, sources={"a": {"max_share": 0.49999}}))
    assert plan.n_rows > 30_000


@settings(max_examples=200, derandomize=True)
@given(n_real_rows=st.integers(1, 10_000), percent=st.integers(1, 100), ratio=st.none() | st.integers(0, 300))
def test_the_limit_is_the_largest_amount_that_keeps_floor_and_ratio(
    n_real_rows: int, percent: int, ratio: int | None
) -> None:
    mix = {"real_min_share": percent / 100, "synthetic_to_real_max": None if ratio is None else ratio / 100}
    limit = synthetic_limit(n_real_rows, Policy.coerce({"version": 1, "mix": mix}))
    limits = [Fraction(n_real_rows * (100 - percent), percent)]
    limits += [] if ratio is None else [Fraction(n_real_rows * ratio, 100)]
    assert limit == pytest.approx(float(min(limits)), abs=1e-9)
