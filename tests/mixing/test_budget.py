"""A training set of a fixed size: floors of the classes, what fills it, and plans that are refused."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collapse_guard.errors import ContractError
from collapse_guard.mixing import plan_mix
from collapse_guard.policy import Policy
from tests.mixing.slow import Row, pool_of

LAWS = settings(max_examples=200, deadline=None, derandomize=True)
CLASSES = st.dictionaries(st.sampled_from("wxyz"), st.integers(1, 40), min_size=1)


def real_classes(sizes: dict[str, int], amounts: tuple[int, ...] = (1,)) -> list[Row]:
    labels = [name for name, size in sizes.items() for _ in range(size)]
    return [
        Row(10**9 + number, amounts[number % len(amounts)], "web", None, label, 0)
        for number, label in enumerate(labels)
    ]


def made_rows(n_rows: int, **tags: Any) -> list[Row]:
    return [Row(id=number, **tags) for number in range(n_rows)]


def policy_of(amount: float, *, least: int = 0, **mix: Any) -> Policy:
    budget = {"amount": amount, "min_class_rows": least}
    return Policy.coerce({"version": 1, "mix": {"budget": budget} | mix, "coverage": {}})


def amounts_of(rows: list[Row], chosen: list[int]) -> Counter[str | None]:
    sums: Counter[str | None] = Counter()
    for row in chosen:
        sums[rows[row].label] += rows[row].amount
    return sums


@LAWS
@given(
    sizes=CLASSES,
    reference=st.none() | st.dictionaries(st.sampled_from("wxyz"), st.integers(0, 60)),
    amount=st.integers(1, 200),
    least=st.integers(0, 20),
    n_made=st.integers(0, 100),
    amounts=st.sampled_from([(1,), (1, 2, 3), (5, 1)]),
)
def test_floors_hold_within_the_budget_or_the_plan_is_refused_with_what_is_lacking(
    sizes: dict[str, int],
    reference: dict[str, int] | None,
    amount: int,
    least: int,
    n_made: int,
    amounts: tuple[int, ...],
) -> None:
    real, made = real_classes(sizes, amounts), made_rows(n_made)
    floors = None if reference is None else {name: float(n) for name, n in reference.items()}
    try:
        plan = plan_mix(pool_of(real), pool_of(made), policy_of(amount, least=least), reference=floors)
    except ContractError as error:
        needed = float(str(error).split("need (")[1].split(")")[0])
        lacking = float(str(error).split(" rows, ")[1].split(" less")[0])
        assert needed > amount
        assert lacking == pytest.approx(needed - amount)
        plan = plan_mix(pool_of(real), pool_of(made), policy_of(needed, least=least), reference=floors)
        assert plan.real_amount == needed  # exactly as much more is enough, and less would not be
        return
    assert plan.real_amount + plan.synthetic_amount <= amount + 1e-6
    kept, whole = amounts_of(real, plan.real.tolist()), amounts_of(real, list(range(len(real))))
    counts = Counter(real[row].label for row in plan.real.tolist())
    for name, size in sizes.items():
        if reference is None:
            assert counts[name] >= min(least, size)
        else:
            assert kept[name] >= min(reference.get(name, 0), whole[name])
    assert plan.n_retained_rows == len(real) - plan.real.size


@LAWS
@given(sizes=CLASSES, amount=st.integers(1, 300), n_made=st.integers(0, 100), floor=st.sampled_from([0.2, 0.5, 0.9]))
def test_the_whole_budget_is_used_while_a_row_could_fill_it(
    sizes: dict[str, int], amount: int, n_made: int, floor: float
) -> None:
    real, made = real_classes(sizes), made_rows(n_made)
    plan = plan_mix(pool_of(real), pool_of(made), policy_of(amount, real_min_share=floor))
    assert plan.n_rows == amount or plan.n_retained_rows == 0
    assert plan.real_share >= floor


def test_room_that_caps_leave_is_filled_with_real_rows() -> None:
    plan = plan_mix(
        pool_of(real_classes({"x": 1000})), pool_of(made_rows(1000)), policy_of(100, per_generator_max_share=0.1)
    )
    assert (plan.real.size, plan.chosen.size) == (90, 10)


def test_room_that_a_source_leaves_is_filled_with_real_rows() -> None:
    sources = {"a": {"share": 0.2}, "b": {"share": 0.2}}
    made = [*made_rows(5), *(Row(id=100 + number, source="b") for number in range(100))]
    for when_short, n_made in (("shrink", 25), ("stop", 10), ({"repeat": 2}, 30), ({"repeat": 4}, 40)):
        mix = {"budget": {"amount": 100, "min_class_rows": 0}, "when_short": when_short}
        policy = Policy.coerce({"version": 1, "mix": mix, "sources": sources, "coverage": {}})
        plan = plan_mix(pool_of(real_classes({"x": 1000})), pool_of(made), policy)
        assert (plan.real.size, plan.chosen.size) == (100 - n_made, n_made), when_short


def test_class_caps_count_the_real_rows_that_train_and_not_the_retained_ones() -> None:
    real = real_classes({"x": 500, "y": 500})
    made = made_rows(200, label="y")
    plan = plan_mix(pool_of(real), pool_of(made), policy_of(100, per_class_max_synthetic_share=0.25))
    kept = amounts_of(real, plan.real.tolist())
    assert 0 < plan.chosen.size <= kept["y"] / 3
    assert plan.n_rows == 100


def test_what_a_class_has_above_its_floor_decides_about_the_rest() -> None:
    real = real_classes({"x": 900, "y": 100, "z": 3})
    plan = plan_mix(pool_of(real), pool_of([]), policy_of(203, least=50))
    # floors 50, 50 and 3; the other 100 go 850 : 50
    assert amounts_of(real, plan.real.tolist()) == {"x": 144, "y": 56, "z": 3}


def test_many_small_classes_do_not_leave_the_budget_unused() -> None:
    real = real_classes({f"c{number:03d}": 3 for number in range(200)})
    assert plan_mix(pool_of(real), pool_of([]), policy_of(500)).real.size == 500


def test_rows_without_a_class_are_a_class_without_a_reference() -> None:
    real = [Row(number, 1, "web", None, None if number < 50 else "x", 0) for number in range(100)]
    assert plan_mix(pool_of(real), pool_of([]), policy_of(50), reference={"x": 50.0}).real.tolist() == list(
        range(50, 100)
    )


def test_a_budget_that_everything_fits_keeps_everything() -> None:
    plan = plan_mix(pool_of(real_classes({"x": 20})), pool_of(made_rows(50)), policy_of(40, least=15))
    assert (plan.real.size, plan.chosen.size, plan.n_retained_rows) == (20, 20, 0)


def test_a_refused_plan_says_what_is_lacking() -> None:
    with pytest.raises(ContractError) as caught:
        plan_mix(pool_of(real_classes({"x": 20, "y": 5, "z": 30})), pool_of([]), policy_of(30, least=15))
    assert str(caught.value) == (
        "mix.budget.amount is 30 rows, 5 less than the floors of 3 classes need (35); raise it, or lower"
        " mix.budget.min_class_rows or the reference"
    )


@LAWS
@given(sizes=CLASSES, amount=st.integers(5, 100), more=st.integers(0, 100))
def test_a_larger_budget_keeps_at_least_as_much_of_everything(sizes: dict[str, int], amount: int, more: int) -> None:
    real = real_classes(sizes)
    small, large = (plan_mix(pool_of(real), pool_of([]), policy_of(each)) for each in (amount, amount + more))
    assert small.real.size <= large.real.size
