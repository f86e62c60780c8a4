"""CG104: how far the mix moved since the parent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cityblock

from collapse_guard.errors import PolicyError
from collapse_guard.records import Severity, Status
from tests.rules.test_rules import ODD_NAMES, findings, generations, made, of, policy, real

if TYPE_CHECKING:
    from collapse_guard.rules import Subject
    from tests.rules.test_rules import Make

DRIFT: dict[str, Any] = {"mix": {"drift": {"warn": 0.05, "error": 0.10}}}


def test_a_policy_that_does_not_ask_for_drift_sees_none(make: Make) -> None:
    assert findings(generations(make, real(10), real(10) + made(90)), "CG104") == []


@pytest.mark.parametrize(
    ("n_made", "severity"), [(0, None), (5, None), (6, Severity.WARNING), (11, Severity.WARNING), (12, Severity.ERROR)]
)
def test_a_drift_is_a_warning_and_then_an_error(make: Make, n_made: int, severity: Severity | None) -> None:
    found = findings(generations(make, real(100), real(100) + made(n_made), **DRIFT), "CG104")
    assert [each.severity for each in found] == ([] if severity is None else [severity])
    for each in found:
        bound = "error" if severity is Severity.ERROR else "warn"
        assert (each.key, each.limit) == (("mix", "drift", bound), DRIFT["mix"]["drift"][bound])
        assert each.measured == pytest.approx(n_made / (100 + n_made))


def test_every_source_that_moved_is_told_the_furthest_first(make: Make) -> None:
    before = real(8) + made(2, source="a") + real(10, first=50, source="c")
    after = real(5) + made(5, source="b") + real(10, first=50, source="c")
    (found,) = findings(generations(make, before, after, **DRIFT), "CG104")
    assert found.message == (
        "0.2500 of the rows moved from one source to another since the parent, the limit is 0.1:"
        " b +0.2500, web -0.1500, a -0.1000"
    )
    assert found.evidence["by_source"]["b"] == {"before": 0.0, "now": 0.25, "delta": 0.25}
    assert list(found.evidence["by_source"]) == ["b", "web", "a"]


def test_only_a_few_sources_stand_in_the_message(make: Make) -> None:
    before = [row for n in range(8) for row in real(5, first=100 * n, source=f"s{n}")]
    (found,) = findings(generations(make, before, real(40), **DRIFT), "CG104")
    assert found.message.endswith("and 4 more")
    assert len(found.evidence["by_source"]) == 9


@settings(max_examples=25, deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=6))
def test_the_distance_is_half_the_city_block_distance_of_the_shares(make: Make, sizes: list[tuple[int, int]]) -> None:
    before, after = (np.array(column, dtype=float) for column in zip(*sizes, strict=True))
    if not before.sum() or not after.sum():
        return
    rows = [
        [row for name, n in enumerate(column) for row in real(int(n), first=100 * name, source=f"s{name}")]
        for column in (before, after)
    ]
    found = findings(generations(make, rows[0], rows[1], mix={"drift": {"warn": 0.0, "error": 1.0}}), "CG104")
    distance = cityblock(before / before.sum(), after / after.sum()) / 2
    assert [each.measured for each in found] == ([pytest.approx(distance)] if distance > 1e-9 else [])


def test_shares_are_of_what_trains_and_not_of_rows(make: Make) -> None:
    after = real(10) + made(10, amount=0.0)
    assert findings(generations(make, real(10), after, **DRIFT), "CG104") == []


def open_one(subject: Subject) -> str:
    (finding,) = findings(subject, "CG104")
    assert finding.status is Status.INCONCLUSIVE
    return finding.message


def test_shares_that_cannot_be_compared_leave_the_question_open(make: Make) -> None:
    rules, parent = policy(**DRIFT), make(real(10))
    tokens = make(real(10), parent=parent, unit="tokens")
    assert open_one(of(rules, tokens, parent)) == "not evaluated: the parent counts rows, the manifest counts tokens"
    child = make(real(10), parent=parent)
    assert open_one(of(rules, child)) == "not evaluated: the parent manifest was not given; pass --against PREVIOUS"
    off = policy(accumulation={"mode": "off"}, **DRIFT)
    assert open_one(of(off, child)) == "not evaluated: the parent manifest was not given; pass --against PREVIOUS"
    idle = make(real(10, amount=0.0))
    assert open_one(of(rules, make(real(10), parent=idle), idle)) == "not evaluated: nothing trains in the parent"
    assert open_one(of(rules, idle, parent)) == "not evaluated: nothing trains in the manifest"


def test_the_first_generation_drifts_from_nothing(make: Make) -> None:
    assert findings(of(policy(**DRIFT), make(real(3))), "CG104") == []


@pytest.mark.parametrize("name", ODD_NAMES)
def test_a_source_of_any_name_may_drift(make: Make, name: str) -> None:
    (found,) = findings(generations(make, real(10), real(10) + real(10, first=50, source=name), **DRIFT), "CG104")
    assert "\n" not in found.message
    assert found.evidence["by_source"][name]["delta"] == 0.5


def test_a_warning_above_the_error_is_a_contradiction() -> None:
    with pytest.raises(PolicyError, match=r"CG002 mix\.drift\.warn: it is above mix\.drift\.error 0\.1"):
        policy(mix={"drift": {"warn": 0.2}})
    assert policy(mix={"drift": {"warn": 0.1}}).mix.drift is not None
