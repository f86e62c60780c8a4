"""Balanced mixes under caps against integer programs; and what no mix may leave out."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from collapse_guard.errors import ContractError
from collapse_guard.policy import Policy
from tests.mixing.oracle import Oracle, could_enter
from tests.mixing.slow import Row, of_classes
from tests.mixing.test_planner import check_caps, is_capped, planned, policies, rows_of

LAWS = settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
SHARES = st.sampled_from([0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4])
#: Generators of one source each, and of one generation each: caps of all kinds are nested.
NESTED: list[tuple[str, str | None, int]] = [
    ("a", "a1", 1),
    ("a", "a2", 1),
    ("b", "b1", 1),
    ("b", "b2", 2),
    ("c", "c1", 2),
]
CROSSED: list[tuple[str, str | None, int]] = [
    ("a", "m", 1),
    ("a", "n", 2),
    ("b", "m", 2),
    ("b", "n", 1),
    ("c", "m", 1),
    ("c", None, 1),
]


@st.composite
def balanced(
    draw: st.DrawFn, lots: list[tuple[str, str | None, int]], kinds: list[str]
) -> tuple[list[Row], list[Row], Policy, dict[str, int]]:
    """Return real rows, synthetic rows, a policy and a reference: few rows, tight caps."""
    classes = draw(st.dictionaries(st.sampled_from("xyz"), st.integers(1, 25), min_size=2))
    reference = {name: max(1, size + draw(st.integers(-3, 8))) for name, size in classes.items()}
    real = [Row(10**9 + n, 1, "web", None, name, 0) for n, name in enumerate(Counter(classes).elements())]
    cells = draw(
        st.dictionaries(st.tuples(st.sampled_from(lots), st.sampled_from("xyz")), st.integers(0, 15), min_size=2)
    )
    made = [
        Row(n << 64 | n, 1, source, generator, label, generation)
        for n, ((source, generator, generation), label) in enumerate(Counter(cells).elements())
    ]
    mix: dict[str, Any] = {"balance": "anchor", "real_min_share": draw(st.sampled_from([0.3, 0.5, 0.8]))}
    sources: dict[str, dict[str, float]] = {"web": {}}
    if "generator" in kinds:
        mix["per_generator_max_share"] = draw(SHARES)
    if "generation" in kinds:
        mix["per_generation_max_share"] = [draw(SHARES), draw(SHARES)]
    if "source" in kinds:
        sources |= {name: {"max_share": draw(SHARES)} for name in "abc"}
    if draw(st.booleans()):
        mix["per_class_max_synthetic_share"] = draw(st.sampled_from([0.2, 0.5]))
    if draw(st.booleans()):
        mix["when_short"] = {"repeat": 2}
    sections = {"sources": sources, "coverage": {}, "provenance": {"max_generation_depth": 3}}
    return real, made, Policy.coerce({"version": 1, "mix": mix} | sections), reference


def classes_of(plan: Any, made: list[Row]) -> Counter[str | None]:
    return Counter(made[row].label for row in plan.chosen.tolist())


def check_against_the_oracle(case: tuple[list[Row], list[Row], Policy, dict[str, int]]) -> None:
    real, made, policy, reference = case
    plan = planned(real, made, policy, {name: float(size) for name, size in reference.items()})
    check_caps(plan, real, made, policy)
    oracle = Oracle(made, real, policy, reference)
    assert plan.chosen.size == oracle.largest()
    best = oracle.best(Fraction(plan.n_rows))
    assert classes_of(plan, made) == Counter(best)
    assert plan.n_topped_up_rows == sum(min(n, oracle.n_wanted(name)[0]) for name, n in best.items())


@LAWS
@given(case=balanced(NESTED, ["generator"]))
def test_under_a_cap_on_generators_every_class_has_what_an_integer_program_gives_it(case: Any) -> None:
    check_against_the_oracle(case)


@LAWS
@given(case=balanced(NESTED, ["generator", "source"]))
def test_under_nested_caps_every_class_has_what_an_integer_program_gives_it(case: Any) -> None:
    check_against_the_oracle(case)


@LAWS
@given(case=balanced(CROSSED, ["generator", "source", "generation"]))
def test_under_caps_that_cross_no_class_has_less_than_its_real_rows_and_no_row_could_enter(case: Any) -> None:
    real, made, policy, reference = case
    plan = planned(real, made, policy, {name: float(size) for name, size in reference.items()})
    check_caps(plan, real, made, policy)
    chosen, held = [made[row] for row in plan.chosen.tolist()], of_classes(real)
    assert could_enter(chosen, real, made, policy, held=held, reference=reference) == []
    assert plan.chosen.size <= Oracle(made, real, policy, reference).largest()


@settings(LAWS, max_examples=300)
@given(
    real=rows_of(synthetic=False, amounts=True),
    made=rows_of(synthetic=True, amounts=True),
    policy=policies(wants=True, budget=True),
    reference=st.none() | st.dictionaries(st.sampled_from(["x", "y", "z", "new"]), st.integers(0, 60), min_size=1),
)
def test_no_row_that_could_enter_stays_out(
    real: list[Row], made: list[Row], policy: Policy, reference: dict[str, int] | None
) -> None:
    try:
        plan = planned(real, made, policy, None if reference is None else {k: float(v) for k, v in reference.items()})
    except ContractError:  # of a budget below its floors
        assert policy.mix.budget is not None
        return
    kept, held = [real[row] for row in plan.real.tolist()], of_classes(real)
    check_caps(plan, real, made, policy)
    if policy.mix.when_short != "stop" and is_capped(policy):
        chosen, sizes = [made[row] for row in plan.chosen.tolist()], held if reference is None else reference
        assert could_enter(chosen, kept, made, policy, held=held, reference=sizes) == []


# ------------------------------------------------------------------ closed forms


def rows(start: int, *parts: tuple[int, str, str]) -> list[Row]:
    """Return synthetic rows: (how many, generator, class)."""
    tags = [(generator, label) for size, generator, label in parts for _ in range(size)]
    return [Row(start + n, 1, "bot", generator, label) for n, (generator, label) in enumerate(tags)]


def real_rows(**sizes: int) -> list[Row]:
    return [Row(10**9 + n, 1, "web", None, label, 0) for n, label in enumerate(Counter(sizes).elements())]


def anchored(**mix: Any) -> Policy:
    return Policy.coerce({"version": 1, "mix": {"balance": "anchor", **mix}, "coverage": {}})


MADE = rows(0, (90, "g@1", "x"), (90, "g@1", "y"), (30, "h@1", "x"))


def test_class_shares_hold_though_one_class_has_a_capped_generator_alone() -> None:
    plan = planned(real_rows(x=60, y=20), MADE, anchored(per_generator_max_share=0.2))
    taken = Counter((MADE[row].generator, MADE[row].label) for row in plan.chosen.tolist())
    # each generator has 26 of 132; three of x to one of y, as in the reference
    assert taken == {("g@1", "y"): 13, ("g@1", "x"): 13, ("h@1", "x"): 26}


def test_the_tail_is_topped_up_by_a_capped_generator_before_any_other_row_of_it_enters() -> None:
    real, made = real_rows(x=80, y=5), rows(0, (100, "g@1", "x"), (100, "g@1", "y"))
    plan = planned(real, made, anchored(per_generator_max_share=0.1), {"x": 80.0, "y": 14.0})
    assert [made[row].label for row in plan.chosen.tolist()] == ["y"] * 9  # 9 of 94
    assert plan.n_topped_up_rows == 9


def test_short_names_the_class_that_lacks_rows_and_the_cap_that_holds_them_back() -> None:
    plan = planned(real_rows(x=60, y=20), MADE, anchored(per_generator_max_share=0.2))
    said = [shortage.describe("rows") for shortage in plan.short]
    assert said == [
        "class 'y' has 13 of 20 rows, held back by generator 'g@1'",
        "class 'x' has 39 of 60 rows, held back by generator 'g@1', generator 'h@1'",
        "generator 'g@1' has 26 of 54 rows, held back by mix.per_generator_max_share 0.2",  # 7 of y, 21 of x
        "generator 'h@1' has 26 of 30 rows, held back by mix.per_generator_max_share 0.2",  # it has 4 more
    ]


@pytest.mark.parametrize(
    ("mix", "sources", "name", "rule"),
    [
        ({"per_generator_max_share": 0.1}, {}, "generator 'g@1'", "mix.per_generator_max_share 0.1"),
        ({"per_generation_max_share": [0.1, 0.5]}, {}, "generation 1", "mix.per_generation_max_share 0.1"),
        ({}, {"bot": {"max_share": 0.1}}, "source 'bot'", "sources.bot.max_share 0.1"),
    ],
)
def test_every_kind_of_cap_is_told_with_its_group_and_its_rows(
    mix: dict[str, Any], sources: dict[str, Any], name: str, rule: str
) -> None:
    made, real = rows(0, (90, "g@1", "x")), real_rows(x=90)
    sections = {"mix": {"balance": "anchor", **mix}, "sources": sources, "coverage": {}}
    plan = planned(real, made, Policy.coerce({"version": 1, **sections}))
    assert [shortage.describe("rows") for shortage in plan.short] == [
        f"class 'x' has 10 of 90 rows, held back by {name}",
        f"{name} has 10 of 90 rows, held back by {rule}",
    ]
    fails = Policy.coerce({"version": 1, **sections, "mix": {**sections["mix"], "when_short": "fail"}})
    with pytest.raises(ContractError, match=rf"{name} has 10 of 90 rows, held back by {rule} \(mix.when_short: fail"):
        planned(real, made, fails)


def test_a_class_of_which_there_are_no_more_rows_is_held_back_by_nothing() -> None:
    made = rows(0, (5, "g@1", "x"), (90, "h@1", "y"))
    plan = planned(real_rows(x=45, y=45), made, anchored(per_generator_max_share=0.2))
    lines = [shortage.describe("rows") for shortage in plan.short]
    assert lines[0] == "class 'x' has 5 of 45 rows"
    assert lines[1].endswith("held back by generator 'h@1'")


def test_under_stop_all_classes_give_as_much_less_as_the_one_that_a_cap_holds_back() -> None:
    made = rows(0, (90, "g@1", "x"), (90, "h@1", "y"), (90, "i@1", "y"))
    plan = planned(real_rows(x=45, y=45), made, anchored(per_generator_max_share=0.1, when_short="stop"))
    taken = Counter(made[row].label for row in plan.chosen.tolist())
    assert taken["x"] == taken["y"] == 11  # 11 of 112, and 12 would be 12 of 114
