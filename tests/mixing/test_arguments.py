"""Calls that mean nothing are one line that says what is wrong; names that are a slip away from a capped one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest

from collapse_guard.errors import InputError
from collapse_guard.mixing import (
    Codes,
    MixPlan,
    Pool,
    broken,
    broken_shares,
    golden_real_share,
    measured_shares,
    plan_mix,
    synthetic_limit,
    window_shares,
)
from collapse_guard.mixing.arguments import is_slip
from collapse_guard.policy import Policy
from tests.mixing.slow import Row, pool_of

if TYPE_CHECKING:
    from collections.abc import Callable

POLICY = Policy.coerce({"version": 1})
ROWS = pool_of([Row(id=1), Row(id=2)])
ONES = np.ones(2)
GROUPS = np.array([0, 1])


def plan(real: Any = ROWS, made: Any = ROWS, policy: Any = POLICY, **other: Any) -> MixPlan:
    return plan_mix(real, made, policy, **other)


def pool(**changes: Any) -> Pool:
    return Pool(**{name: getattr(ROWS, name) for name in Pool.__dataclass_fields__} | changes)


def shares(groups: Any = GROUPS, amount: Any = ONES, window_rows: Any = 1) -> Any:
    return window_shares(groups, ["a", "b"], amount, window_rows=window_rows)


def measure(rows: Any, column: Any = None, window_rows: Any = 1) -> Any:
    return measured_shares(rows, class_column=column, window_rows=window_rows)


WRONG: dict[str, tuple[Callable[[], Any], str]] = {
    "a table for a pool": (
        lambda: plan(pa.table({})),
        "real must be of type Pool, got Table; make one with Pool.of_rows",
    ),
    "no pool": (lambda: plan(made=None), "synthetic must be of type Pool, got NoneType"),
    "a mapping for a policy": (lambda: plan(policy={"version": 1}), "policy must be of type Policy, got dict; check a"),
    "a list for a reference": (lambda: plan(reference=["x"]), "reference must be a mapping of class names"),
    "a class by number": (
        lambda: plan(reference={1: 2.0}),
        "for each class by its name, got 1: 2.0; name classes as text",
    ),
    "a negative class": (lambda: plan(reference={"x": -1.0}), "an amount of 0 or more for each class"),
    "a class of nan": (lambda: plan(reference={"x": float("nan")}), "an amount of 0 or more for each class"),
    "a class of text": (lambda: plan(reference={"x": "9"}), "an amount of 0 or more for each class"),
    "a class of True": (lambda: plan(reference={"x": True}), "an amount of 0 or more for each class"),
    "a short pool": (lambda: pool(amount=np.ones(3)), "amount has 3 rows, the others have 2; give one value per row"),
    "a pool of lists": (
        lambda: pool(keep=[True, True]),
        "keep must be a numpy array of numbers with one axis, got list",
    ),
    "a pool of squares": (lambda: pool(amount=np.ones((2, 2))), "with one axis, got shape (2, 2), float64"),
    "names for codes": (
        lambda: pool(source=["a", "a"]),
        "source must be of type Codes, got list; make it with Codes.of",
    ),
    "rows that are a list": (lambda: Pool.of_rows([]), "rows must be of type Table, got list"),
    "a list for a column": (lambda: Codes.of_column(["a"]), "a column must be an Arrow array, got list"),
    "groups of text": (lambda: shares(np.array(["a", "b"])), "groups must be a numpy array of numbers"),
    "an amount too many": (lambda: shares(amount=np.ones(3)), "amount has 3 rows, the others have 2"),
    "windows of text": (lambda: shares(window_rows="9"), "window_rows must be a whole number of 1 or more, got '9'"),
    "windows of a half": (lambda: shares(window_rows=0.5), "window_rows must be a whole number of 1 or more, got 0.5"),
    "shares of a dict": (lambda: broken_shares({}, [], alpha=0.1), "shares must be of type WindowShares, got dict"),  # type: ignore[arg-type]
    "a chance of 2": (lambda: broken_shares(shares(), [], alpha=2), "alpha must be above 0 and at most 1, got 2"),
    "a chance of text": (lambda: broken_shares(shares(), [], alpha="1"), "alpha must be a number of 0"),  # type: ignore[arg-type]
    "a bound of two": (lambda: broken_shares(shares(), [("a", "top", 1.0)], alpha=0.1), "a bound is (group, 'floor'"),
    "breaches of a list": (lambda: broken([], POLICY), "shares must be of type Mapping, got list"),  # type: ignore[arg-type]
    "breaches of a dict": (lambda: broken({}, {}), "policy must be of type Policy, got dict"),  # type: ignore[arg-type]
    "measures of a list": (lambda: measure([]), "rows must be of type Table, got list"),
    "measures of no tags": (
        lambda: measure(pa.table({"a": [1]})),
        "rows lack the columns cg_origin, cg_source, cg_gen",
    ),
    "a ratio of text": (lambda: golden_real_share("1"), "ratio must be a number of 0 or more, got '1'"),  # type: ignore[arg-type]
    "a ratio of nan": (lambda: golden_real_share(float("nan")), "ratio must be a number of 0 or more, got nan"),
    "a limit of text": (lambda: synthetic_limit("1", POLICY), "real_amount must be a number of 0"),  # type: ignore[arg-type]
    "a limit of a dict": (lambda: synthetic_limit(1.0, {}), "policy must be of type Policy, got dict"),  # type: ignore[arg-type]
    "an order of text": (lambda: plan().order("7"), "seed must be a whole number of 0 or more, got '7'"),  # type: ignore[arg-type]
    "an order below 0": (lambda: plan().order(-1), "seed must be a whole number of 0 or more, got -1"),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_call_that_means_nothing_is_one_line(what: str) -> None:
    call, message = WRONG[what]
    with pytest.raises(InputError) as caught:
        call()
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def capped(name: str, **rule: Any) -> Policy:
    return Policy.coerce({"version": 1, "sources": {name: rule or {"max_share": 0.5}}})


def test_a_cap_on_a_name_that_is_a_slip_away_from_a_source_is_refused() -> None:
    made = pool_of([Row(id=1, source="tutor")])
    for name in ("tuter", "tuotr", "tutr", "tuttor", "Tutor"):
        with pytest.raises(InputError) as caught:
            plan(made=made, policy=capped(name))
        assert str(caught.value) == (
            f"sources.{name} caps a source that no row is of; did you mean 'tutor'? If both are meant, name 'tutor'"
            " under sources as well"
        )
    with pytest.raises(InputError, match=r"sources\.tuter caps a source"):
        plan(made=made, policy=capped("tuter", max_depth=1))


def test_a_capped_source_that_is_not_there_yet_is_no_fault() -> None:
    made = pool_of([Row(id=1, source="tutor")])
    both = Policy.coerce({"version": 1, "sources": {"tuter": {"max_share": 0.5}, "tutor": {}}})
    for policy in (capped("books"), capped("tutor"), capped("tuter", origin="synthetic"), both):
        assert plan(made=made, policy=policy).n_rows == 3
    assert plan(made=pool_of([Row(id=1, source="run_2026")]), policy=capped("run_2025")).n_rows == 3


@pytest.mark.parametrize(
    ("one", "other", "slips"),
    [
        ("web", "web", False),
        ("synth_math", "synth-math", True),
        ("synth_math", "sinth_math", True),
        ("synth_math", "synth_chat", False),
        ("synth_math", "synth_mat", False),  # the last letter alone: part_a, part_b
        ("bot", "bto", False),
        ("", "x", False),
        ("aaaa", "aaaaa", False),
        ("gen-1", "gen-12", False),
    ],
)
def test_what_is_a_slip(one: str, other: str, slips: bool) -> None:
    assert is_slip(one, other) is slips
    assert is_slip(other, one) is slips
