"""Wanted amounts: shares of sources, top-up of classes, what the rest follows, and what happens when rows are short."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collapse_guard.errors import ContractError
from collapse_guard.mixing import MixPlan, Shortage, plan_mix
from collapse_guard.policy import Policy
from tests.mixing.slow import Row, pool_of

LAWS = settings(max_examples=150, deadline=None, derandomize=True)


def rows(sizes: dict[str, int], *, start: int = 0, by: str = "source", **tags: Any) -> list[Row]:
    names = [name for name, size in sizes.items() for _ in range(size)]
    return [Row(id=(start + number) << 64 | (start + number), **tags | {by: name}) for number, name in enumerate(names)]


def real_rows(n_rows: int) -> list[Row]:
    return rows({"web": n_rows}, start=10**9, generation=0, generator=None)


def real_classes(sizes: dict[str, int], **tags: Any) -> list[Row]:
    return rows(sizes, start=10**9, by="label", source="web", generation=0, generator=None, **tags)


def asking(shares: dict[str, float], when_short: Any = "shrink", **mix: Any) -> Policy:
    sources = {name: {"share": share} for name, share in shares.items()}
    return Policy.coerce({"version": 1, "mix": {"when_short": when_short} | mix, "sources": sources, "coverage": {}})


def anchored(when_short: Any = "shrink", **mix: Any) -> Policy:
    return Policy.coerce({"version": 1, "mix": {"balance": "anchor", "when_short": when_short} | mix, "coverage": {}})


def plan(real: list[Row], made: list[Row], policy: Policy, reference: dict[str, float] | None = None) -> MixPlan:
    return plan_mix(pool_of(real), pool_of(made), policy, reference=reference)


def taken(found: MixPlan, made: list[Row], by: str = "source") -> dict[str, int]:
    return dict(Counter(getattr(made[row], by) for row in found.chosen.tolist()))


# ------------------------------------------------------------------ shares of sources


@LAWS
@given(
    n_real=st.integers(1, 200),
    shares=st.lists(st.integers(1, 30), min_size=1, max_size=4).filter(lambda parts: sum(parts) <= 50),
)
def test_wanted_shares_are_met_within_a_row_of_the_output(n_real: int, shares: list[int]) -> None:
    asked = {f"s{number}": part / 100 for number, part in enumerate(shares)}
    made = rows(dict.fromkeys([*asked, "other"], 200))
    found = plan(real_rows(n_real), made, asking(asked))
    n_taken = taken(found, made)
    for name, share in asked.items():
        assert 0 <= share * found.n_rows - n_taken.get(name, 0) + 1e-9 < 1 + 1e-6
    assert "other" not in n_taken
    assert found.left.n_unwanted_rows == 200
    assert found.short == ()


def test_a_source_that_is_short_gives_what_it_has_and_the_others_keep_their_share_of_the_output() -> None:
    made = rows({"a": 10, "b": 100})
    found = plan(real_rows(50), made, asking({"a": 0.25, "b": 0.25}))
    assert taken(found, made) == {"a": 10, "b": 20}  # 20 of 80
    assert found.short == (Shortage("source 'a'", 25.0, 10.0),)


def test_stop_gives_as_much_as_the_shortest_source_allows_and_keeps_the_ratio() -> None:
    made = rows({"a": 10, "b": 100})
    found = plan(real_rows(50), made, asking({"a": 0.25, "b": 0.25}, "stop"))
    assert taken(found, made) == {"a": 10, "b": 10}
    assert found.short == (Shortage("source 'a'", 25.0, 10.0),)


@LAWS
@given(
    n_real=st.integers(1, 60),
    sizes=st.lists(st.integers(0, 40), min_size=2, max_size=3),
    parts=st.lists(st.integers(1, 16), min_size=3, max_size=3),
)
def test_stop_keeps_ratios_among_sources_and_takes_all_of_one_that_is_short(
    n_real: int, sizes: list[int], parts: list[int]
) -> None:
    asked = {f"s{number}": part / 100 for number, part in enumerate(parts[: len(sizes)])}
    made = rows({f"s{number}": size for number, size in enumerate(sizes)})
    found = plan(real_rows(n_real), made, asking(asked, "stop"))
    n_taken = taken(found, made)
    scale = [(n_taken.get(name, 0) / share, (n_taken.get(name, 0) + 1) / share) for name, share in asked.items()]
    assert max(low for low, _ in scale) <= min(high for _, high in scale) + 1e-6  # one scale fits all, within a row
    assert not found.short or any(sizes[number] - n_taken.get(f"s{number}", 0) <= 0 for number in range(len(sizes)))


def test_repeated_rows_fill_what_is_short_and_each_stands_once_before_one_stands_twice() -> None:
    made = rows({"a": 10, "b": 100})
    found = plan(real_rows(50), made, asking({"a": 0.25, "b": 0.25}, {"repeat": 3}))
    times = Counter(found.chosen.tolist())
    assert taken(found, made) == {"a": 25, "b": 25}
    assert sorted(times[row] for row in range(10)) == [2] * 5 + [3] * 5
    assert all(times[row] <= 1 for row in range(10, 110))
    assert (found.n_repeated_rows, found.short) == (15, ())


@LAWS
@given(size=st.integers(1, 30), k=st.integers(2, 16), n_real=st.integers(1, 200), amounts=st.lists(st.integers(1, 5)))
def test_no_row_stands_more_than_k_times_and_never_twice_more_than_another(
    size: int, k: int, n_real: int, amounts: list[int]
) -> None:
    made = rows({"a": size})
    made = [replace(row, amount=amounts[number % len(amounts)] if amounts else 1) for number, row in enumerate(made)]
    found = plan(real_rows(n_real), made, asking({"a": 0.4}, {"repeat": k}))
    times = np.bincount(found.chosen, minlength=size)
    assert times.max() <= k
    assert times.max() - times.min() <= 1
    wanted = n_real * 0.4 / 0.6
    whole = sum(row.amount for row in made)
    assert found.synthetic_amount <= wanted + 1e-6
    assert bool(found.short) == (k * whole + max(row.amount for row in made) <= wanted * (1 + 1e-10))


def test_fail_says_which_source_has_how_much_of_how_much() -> None:
    made = rows({"a": 10, "b": 100, "c": 3})
    with pytest.raises(ContractError) as caught:
        plan(real_rows(50), made, asking({"a": 0.25, "b": 0.2, "c": 0.05}, "fail"))
    assert str(caught.value).startswith(
        "source 'a' has 10 of 25 rows; source 'c' has 3 of 5 rows (mix.when_short: fail)"
    )
    enough = rows({"a": 25, "b": 100, "c": 5})
    assert taken(plan(real_rows(50), enough, asking({"a": 0.25, "b": 0.2, "c": 0.05}, "fail")), enough) == {
        "a": 25,
        "b": 20,
        "c": 5,
    }


def test_fail_counts_in_the_unit_of_the_policy_and_lists_five() -> None:
    shares = {f"s{number}": 0.05 for number in range(7)}
    policy = asking(shares, "fail").model_copy(update={"unit": "tokens"})
    with pytest.raises(ContractError, match=r"'s4' has 0 of 5 tokens and 2 more \(mix.when_short: fail\)"):
        plan(real_rows(65), [], policy)


def test_a_share_of_zero_lets_no_row_in_of_that_source_or_another() -> None:
    made = rows({"a": 10, "b": 10})
    assert plan(real_rows(10), made, asking({"a": 0.0})).chosen.size == 0


def test_a_budget_whose_floors_take_the_room_of_wanted_shares_shrinks_them_alike() -> None:
    real = real_classes({"x": 80})
    made = rows({"a": 50, "b": 50})
    policy = asking({"a": 0.2, "b": 0.2}, budget={"amount": 100, "min_class_rows": 80})
    assert taken(plan(real, made, policy), made) == {"a": 10, "b": 10}


# ------------------------------------------------------------------ classes of the reference


def test_a_class_is_topped_up_to_its_reference_before_anything_else() -> None:
    real = real_classes({"x": 90, "y": 4})
    made = rows({"x": 500, "y": 30}, by="label")
    found = plan(real, made, anchored(real_min_share=0.9), {"x": 90.0, "y": 10.0})
    assert taken(found, made, "label")["y"] >= 6
    assert found.n_topped_up_rows == 6
    assert found.short == ()


@LAWS
@given(
    real=st.dictionaries(st.sampled_from("wxyz"), st.integers(1, 30), min_size=1),
    reference=st.dictionaries(st.sampled_from("wxyz"), st.integers(0, 40), min_size=1),
    pool=st.dictionaries(st.sampled_from("wxyz"), st.integers(0, 60)),
    repeat=st.integers(1, 4),
)
def test_every_class_reaches_its_reference_if_the_pool_and_the_limit_allow_it(
    real: dict[str, int], reference: dict[str, int], pool: dict[str, int], repeat: int
) -> None:
    made = rows(pool, by="label")
    policy = anchored("shrink" if repeat == 1 else {"repeat": repeat}, real_min_share=0.4)
    found = plan(real_classes(real), made, policy, {name: float(n) for name, n in reference.items()})
    n_taken = taken(found, made, "label")
    lacks = {name: max(n - real.get(name, 0), 0) for name, n in reference.items()}
    limit = int(sum(real.values()) * 1.5 + 1e-9)
    for name in sorted(reference, key=lambda name: (reference[name], name)):
        due = min(lacks[name], pool.get(name, 0) * repeat, limit)
        assert n_taken.get(name, 0) >= due
        limit -= due
    assert set(n_taken) <= set(reference)
    assert found.left.n_unwanted_rows == sum(n for name, n in pool.items() if name not in reference)


@LAWS
@given(sizes=st.dictionaries(st.sampled_from("tuvwxyz"), st.integers(1, 40), min_size=1), floor=st.integers(30, 95))
def test_the_rest_follows_the_class_shares_of_the_reference_within_a_row_and_fills_the_whole(
    sizes: dict[str, int], floor: int
) -> None:
    made = rows(dict.fromkeys(sizes, 300), by="label")
    found = plan(real_classes(sizes), made, anchored(real_min_share=floor / 100))
    n_taken, n_real = taken(found, made, "label"), sum(sizes.values())
    whole = n_real * (100 - floor) / floor
    for name, n_rows in sizes.items():
        assert abs(n_taken.get(name, 0) - whole * n_rows / n_real) < 1 + 1e-6
    assert whole - 1 - 1e-6 < found.synthetic_amount <= whole + 1e-6


def test_many_small_classes_do_not_leave_the_whole_untaken() -> None:
    names = {f"c{number:03d}": 1 for number in range(200)}
    made = rows(dict.fromkeys(names, 2), by="label")
    found = plan(real_classes(names), made, anchored(real_min_share=0.8))
    assert found.synthetic_amount == 50  # a quarter of a row of each class


def test_a_class_without_rows_is_told_once_and_the_others_keep_their_part() -> None:
    made = rows({"x": 500}, by="label")
    found = plan(real_classes({"x": 50, "y": 40}), made, anchored(), {"x": 50.0, "y": 50.0})
    assert found.short == (Shortage("class 'y'", 55.0, 0.0),)  # 10 that it lacks, half of the other 90
    assert taken(found, made, "label") == {"x": 45}
    with pytest.raises(ContractError, match=r"class 'y' has 0 of 55 rows \(mix.when_short: fail\)"):
        plan(real_classes({"x": 50, "y": 40}), made, anchored("fail"), {"x": 50.0, "y": 50.0})


def test_stop_keeps_class_shares_and_never_takes_from_the_top_up() -> None:
    made = rows({"x": 500, "y": 20}, by="label")
    found = plan(real_classes({"x": 50, "y": 40}), made, anchored("stop"), {"x": 50.0, "y": 50.0})
    assert taken(found, made, "label") == {"x": 10, "y": 20}  # 10 topped up, then one to one
    assert found.n_topped_up_rows == 10


def test_a_topped_up_row_is_repeated_no_sooner_than_its_fellows() -> None:
    made = rows({"x": 500, "y": 10}, by="label")
    found = plan(real_classes({"x": 50, "y": 44}), made, anchored({"repeat": 4}), {"x": 50.0, "y": 50.0})
    times = np.bincount(found.chosen, minlength=510)[500:]
    assert times.max() - times.min() <= 1
    assert times.sum() == 40
    assert found.n_topped_up_rows == 6


def test_topped_up_rows_are_counted_after_the_caps() -> None:
    made = rows({"y": 30}, by="label")
    policy = anchored(per_generator_max_share=0.05)
    found = plan(real_classes({"x": 90, "y": 5}), made, policy, {"x": 90.0, "y": 30.0})
    assert (found.chosen.size, found.n_topped_up_rows) == (5, 5)


def test_a_class_cap_holds_for_the_top_up_as_well() -> None:
    made = rows({"y": 30}, by="label")
    policy = anchored(per_class_max_synthetic_share=0.5)
    found = plan(real_classes({"x": 90, "y": 5}), made, policy, {"x": 90.0, "y": 30.0})
    assert taken(found, made, "label") == {"y": 5}
    assert Shortage("class 'y'", 25 + 5 / 4, 5.0, ("mix.per_class_max_synthetic_share 0.5",)) in found.short
