"""The mix planner against a slow reference, and the promises of its docstring as properties."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collapse_guard.errors import PolicyError
from collapse_guard.mixing import MixPlan, SyntheticPool, plan_mix, synthetic_limit
from collapse_guard.policy import Policy

Row = tuple[int, bool, str, str, int]  # id, keep, source, generator, generation

SHARES = st.sampled_from([0.05, 0.1, 0.2, 0.25, 0.3, 1 / 3, 0.5, 0.7, 0.9, 1.0])
ROWS = st.lists(
    st.tuples(
        st.integers(0, 2**128 - 1),
        st.sampled_from([True, True, True, False]),
        st.sampled_from(["a", "b"]),
        st.sampled_from(["g@1", "h@1", ""]),
        st.sampled_from([1, 2, 3, 255]),
    ),
    max_size=40,
    unique_by=lambda row: row[0],
)


@st.composite
def policies(draw: st.DrawFn, *, shares_of_parts: bool = True) -> Policy:
    """Return policies with caps on the whole mix and, if asked for, on its sources and generators."""
    mix: dict[str, Any] = {
        "real_min_share": draw(st.sampled_from([0.0, 0.2, 0.5, 0.6, 0.8, 0.95, 1.0])),
        "synthetic_to_real_max": draw(st.none() | st.sampled_from([0.0, 0.1, 0.5, 1.0, 3.0])),
        "seed": draw(st.integers(0, 3)),
    }
    sources: dict[str, dict[str, Any]] = {"web": {}}
    for name in ("a", "b"):
        sources[name] = {"max_depth": draw(st.none() | st.integers(0, 3))}
        if shares_of_parts:
            sources[name]["max_share"] = draw(st.none() | SHARES)
    if shares_of_parts:
        mix["per_generator_max_share"] = draw(st.none() | SHARES)
    depth = draw(st.integers(0, 3))
    return Policy.coerce(
        {"version": 1, "mix": mix, "sources": sources, "provenance": {"max_generation_depth": depth}},
    )


def pool_of(rows: list[Row]) -> SyntheticPool:
    return SyntheticPool(
        np.array([row[1] for row in rows], dtype=np.bool_),
        np.array([row[2] for row in rows], dtype=np.str_),
        np.array([row[3] for row in rows], dtype=np.str_),
        np.array([row[4] for row in rows], dtype=np.int64),
        np.array([row[0] >> 64 for row in rows], dtype=np.uint64),
        np.array([row[0] & (2**64 - 1) for row in rows], dtype=np.uint64),
    )


def simple_pool(ids: range, *, source: str = "a") -> SyntheticPool:
    return pool_of([(number << 64 | number, True, source, "g@1", 1) for number in ids])


def chosen_ids(plan: MixPlan, rows: list[Row]) -> set[int]:
    return {rows[row][0] for row in plan.chosen.tolist()}


def split_mix(word: int) -> int:
    """Return the SplitMix64 finaliser with whole numbers of any size."""
    word = ((word ^ (word >> 30)) * 0xBF58476D1CE4E5B9) % 2**64
    word = ((word ^ (word >> 27)) * 0x94D049BB133111EB) % 2**64
    return word ^ (word >> 31)


def slow_rank(identity: int, seed: int) -> tuple[int, int]:
    salt = split_mix((seed + 0x9E3779B97F4A7C15) % 2**64)
    high, low = identity >> 64, identity % 2**64
    return split_mix((split_mix(high ^ salt) + low) % 2**64), identity


def slow_choice(n_real_rows: int, rows: list[Row], policy: Policy) -> set[int]:
    """Return the ids of the largest mix that keeps every cap at its own size, taking rows in hash order."""
    depths = {name: source.max_depth for name, source in policy.sources.items()}
    good = [
        row
        for row in sorted(rows, key=lambda row: slow_rank(row[0], policy.mix.seed))
        if row[1] and row[4] <= policy.provenance.max_generation_depth
    ]
    good = [row for row in good if depths[row[2]] is None or row[4] <= (depths[row[2]] or 0)]
    for n_total in range(n_real_rows + len(good), n_real_rows - 1, -1):
        taken = slow_take(good, n_real_rows, n_total, policy)
        if n_real_rows + len(taken) == n_total:
            return {row[0] for row in taken}
    raise AssertionError("no real row would have been enough")


def slow_take(good: list[Row], n_real_rows: int, n_total: int, policy: Policy) -> list[Row]:
    """Return the rows that fit if the whole mix had ``n_total`` rows."""
    n_source: dict[str, int] = {}
    n_generator: dict[str, int] = {}
    taken: list[Row] = []
    for row in good:
        n_source[row[2]] = n_source.get(row[2], 0) + 1
        cap = policy.sources[row[2]].max_share
        if cap is not None and n_source[row[2]] > cap * n_total + 1e-9:
            continue
        n_generator[row[3]] = n_generator.get(row[3], 0) + 1
        share = policy.mix.per_generator_max_share
        if share is not None and n_generator[row[3]] > share * n_total + 1e-9:
            continue
        taken.append(row)
    floor, ratio = policy.mix.real_min_share, policy.mix.synthetic_to_real_max
    n_most = len(taken)
    while n_most and n_real_rows < floor * (n_real_rows + n_most) - 1e-9:
        n_most -= 1
    while ratio is not None and n_most > ratio * n_real_rows + 1e-9:
        n_most -= 1
    return taken[:n_most]


@given(n_real_rows=st.integers(1, 60), rows=ROWS, policy=policies())
def test_the_plan_is_the_one_of_a_slow_reference(n_real_rows: int, rows: list[Row], policy: Policy) -> None:
    plan = plan_mix(n_real_rows, pool_of(rows), policy)
    assert chosen_ids(plan, rows) == slow_choice(n_real_rows, rows, policy)


@given(n_real_rows=st.integers(1, 60), rows=ROWS, policy=policies())
def test_every_cap_of_the_policy_holds_on_the_output(n_real_rows: int, rows: list[Row], policy: Policy) -> None:
    plan = plan_mix(n_real_rows, pool_of(rows), policy)
    output = [rows[row] for row in plan.chosen.tolist()]
    n_total = n_real_rows + len(output)
    assert plan.n_real_rows == n_real_rows
    assert n_real_rows >= policy.mix.real_min_share * n_total - 1e-9
    if policy.mix.synthetic_to_real_max is not None:
        assert len(output) <= policy.mix.synthetic_to_real_max * n_real_rows + 1e-9
    for name, source in policy.sources.items():
        of_source = [row for row in output if row[2] == name]
        if source.max_share is not None:
            assert len(of_source) <= source.max_share * n_total + 1e-9
        if source.max_depth is not None:
            assert all(row[4] <= source.max_depth for row in of_source)
    share = policy.mix.per_generator_max_share
    if share is not None:
        for generator in {row[3] for row in output}:
            assert sum(row[3] == generator for row in output) <= share * n_total + 1e-9
    assert all(row[1] for row in output)
    assert all(row[4] <= policy.provenance.max_generation_depth for row in output)


@given(n_real_rows=st.integers(1, 60), rows=ROWS, policy=policies())
def test_chosen_rows_are_ascending_and_unique_and_every_row_is_accounted_for(
    n_real_rows: int, rows: list[Row], policy: Policy
) -> None:
    plan = plan_mix(n_real_rows, pool_of(rows), policy)
    assert plan.chosen.dtype == np.int64
    assert (np.diff(plan.chosen) > 0).all()
    left_out = plan.n_filtered_rows + plan.n_too_deep_rows + plan.n_capped_rows
    assert left_out + plan.chosen.size == len(rows)
    assert plan.real_share == n_real_rows / (n_real_rows + plan.chosen.size)


@given(n_real_rows=st.integers(1, 40), n_more=st.integers(1, 40), rows=ROWS, policy=policies(shares_of_parts=False))
def test_more_real_rows_keep_every_earlier_choice(
    n_real_rows: int, n_more: int, rows: list[Row], policy: Policy
) -> None:
    before = plan_mix(n_real_rows, pool_of(rows), policy)
    after = plan_mix(n_real_rows + n_more, pool_of(rows), policy)
    assert set(before.chosen.tolist()) <= set(after.chosen.tolist())


@given(n_real_rows=st.integers(1, 40), rows=ROWS, n_old=st.integers(0, 40), policy=policies(shares_of_parts=False))
def test_a_growing_pool_under_an_equal_cap_lets_no_old_row_in_that_was_not_chosen_before(
    n_real_rows: int, rows: list[Row], n_old: int, policy: Policy
) -> None:
    old = rows[:n_old]
    before = chosen_ids(plan_mix(n_real_rows, pool_of(old), policy), old)
    after = chosen_ids(plan_mix(n_real_rows, pool_of(rows), policy), rows)
    assert after & {row[0] for row in old} <= before


@given(rows=ROWS, policy=policies(), order=st.randoms(use_true_random=False))
def test_ids_decide_and_not_the_order_of_rows_in_the_pool(rows: list[Row], policy: Policy, order: Any) -> None:
    shuffled = list(rows)
    order.shuffle(shuffled)
    plan, again = plan_mix(20, pool_of(rows), policy), plan_mix(20, pool_of(shuffled), policy)
    assert chosen_ids(plan, rows) == chosen_ids(again, shuffled)


def test_equal_seeds_choose_equal_rows_and_other_seeds_choose_others() -> None:
    pool = simple_pool(range(200))
    choices = [
        plan_mix(50, pool, Policy.coerce({"version": 1, "mix": {"seed": seed}})).chosen.tolist() for seed in (0, 0, 1)
    ]
    assert choices[0] == choices[1]
    assert choices[0] != choices[2]
    assert [len(choice) for choice in choices] == [50, 50, 50]


def test_another_process_with_another_hash_seed_chooses_the_same_rows() -> None:
    script = """
import json, sys
import numpy as np
from collapse_guard.mixing import SyntheticPool, plan_mix
from collapse_guard.policy import Policy
n = 100
words = np.arange(n, dtype=np.uint64)
names = np.array(["a", "b"] * 50)
pool = SyntheticPool(np.ones(n, dtype=bool), names, names, np.ones(n, dtype=np.int64), words, words)
policy = {"version": 1, "mix": {"seed": 7, "per_generator_max_share": 0.3}}
json.dump(plan_mix(20, pool, Policy.coerce(policy)).chosen.tolist(), sys.stdout)
"""
    choices = []
    for hash_seed in ("1", "2"):
        environment = {"PYTHONHASHSEED": hash_seed}
        done = subprocess.run(
            [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True, timeout=120
        )
        choices.append(json.loads(done.stdout))
    words = np.arange(100, dtype=np.uint64)
    names = np.array(["a", "b"] * 50)
    pool = SyntheticPool(np.ones(100, dtype=bool), names, names, np.ones(100, dtype=np.int64), words, words)
    here = plan_mix(20, pool, Policy.coerce({"version": 1, "mix": {"seed": 7, "per_generator_max_share": 0.3}}))
    assert choices == [here.chosen.tolist()] * 2
    assert len(choices[0]) > 0


def test_an_empty_pool_gives_a_plan_of_real_rows_alone() -> None:
    plan = plan_mix(7, pool_of([]), Policy.coerce({"version": 1}))
    assert plan.chosen.tolist() == []
    assert plan.real_share == 1.0
    assert (plan.n_filtered_rows, plan.n_too_deep_rows, plan.n_capped_rows) == (0, 0, 0)


def test_without_any_cap_every_row_of_the_pool_enters() -> None:
    policy = Policy.coerce({"version": 1, "mix": {"real_min_share": 0.0}})
    assert plan_mix(1, simple_pool(range(30)), policy).chosen.tolist() == list(range(30))


def test_a_floor_of_one_lets_no_synthetic_row_in() -> None:
    policy = Policy.coerce({"version": 1, "mix": {"real_min_share": 1.0}})
    plan = plan_mix(10, simple_pool(range(30)), policy)
    assert plan.chosen.size == 0
    assert plan.n_capped_rows == 30


def test_rows_of_unknown_generation_are_too_deep_for_every_policy() -> None:
    pool = pool_of([(1, True, "a", "g@1", 255), (2, True, "a", "g@1", 1)])
    policy = Policy.coerce({"version": 1, "provenance": {"max_generation_depth": 254}})
    plan = plan_mix(10, pool, policy)
    assert plan.chosen.tolist() == [1]
    assert plan.n_too_deep_rows == 1


@pytest.mark.parametrize("unit", ["tokens", "bytes", "weight"])
def test_a_policy_that_counts_another_unit_is_refused(unit: str) -> None:
    with pytest.raises(PolicyError, match=f"counts {unit}; set unit: rows"):
        plan_mix(10, simple_pool(range(3)), Policy.coerce({"version": 1, "unit": unit}))


@settings(max_examples=200)
@given(n_real_rows=st.integers(1, 10_000), percent=st.integers(1, 100), ratio=st.none() | st.integers(0, 300))
def test_the_limit_is_the_largest_number_that_keeps_floor_and_ratio(
    n_real_rows: int, percent: int, ratio: int | None
) -> None:
    mix = {"real_min_share": percent / 100, "synthetic_to_real_max": None if ratio is None else ratio / 100}
    limit = synthetic_limit(n_real_rows, Policy.coerce({"version": 1, "mix": mix}))

    def fits(n_made: int) -> bool:  # in whole numbers: no rounding
        by_floor = 100 * n_real_rows >= percent * (n_real_rows + n_made)
        return by_floor and (ratio is None or 100 * n_made <= ratio * n_real_rows)

    assert fits(limit)
    assert not fits(limit + 1)
