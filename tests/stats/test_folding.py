"""What looks leave in an evidence: plain values that come back, and nothing else is taken for them."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, fields
from typing import Any

import pytest

from collapse_guard.errors import StatisticError
from collapse_guard.stats import (
    ClaimedEvidence,
    ClassEvidence,
    FixedSetEvidence,
    ReferenceRows,
    ScoreEvidence,
    TailEvidence,
)
from collapse_guard.stats.folding import folded_state, with_folded

ROWS = [900, 60, 40]
TAIL = TailEvidence.start(ROWS, tail_mass=0.1, max_mass_drop=0.1, max_coverage_drop=0.5, planned_looks=5)
SCORE = ScoreEvidence.start(0.5, max_drop=0.1, planned_looks=5)
FIXED: dict[str, Any] = {"tail_mass": 0.1, "max_mass_drop": 0.1, "max_class_drop": 0.5, "alpha": 0.01}

#: Fields that reference and policy give, and those that looks leave.
PARTS: list[tuple[Any, list[str]]] = [
    (TAIL, ["n_looks", "log_mass", "log_coverage", "last_n_rows", "last_tail_rows", "last_tail_cells"]),
    (SCORE, ["n_looks", "log_wealth", "last_mean"]),
    (ClassEvidence.start(ROWS, max_class_drop=0.5, planned_looks=5), ["n_looks", "log_classes"]),
    (
        ClaimedEvidence.start(ReferenceRows.of(ROWS), max_rise=0.1, planned_looks=5),
        ["n_looks", "log_claimed", "last_unclaimed_share"],
    ),
    (FixedSetEvidence.start(ROWS, **FIXED), ["n_looks", "peak_floors", "log_excesses", "last_mass_ratio"]),
    (
        FixedSetEvidence.start(ROWS, **FIXED, baseline="peak"),
        ["n_looks", "peak_floors", "log_excesses", "last_mass_ratio"],
    ),
]


def looked_at(evidence: Any) -> Any:
    """Return evidence after one look that fits its kind."""
    if isinstance(evidence, ScoreEvidence):
        return evidence.update([0.25, 0.75])
    if isinstance(evidence, ClaimedEvidence):
        return evidence.update(100, n_unclaimed_rows=3)
    return evidence.update([80, 15, 5])


@pytest.mark.parametrize(("start", "names"), PARTS)
def test_the_state_holds_what_looks_leave_and_neither_reference_nor_policy(start: Any, names: list[str]) -> None:
    state = folded_state(looked_at(start))
    assert list(state) == names
    assert not {"reference", "planned_looks", "alpha", "max_drop"} & set(state)
    assert all(type(value) in {int, float, list} for value in state.values())
    assert set(start.sizes()) == {name for name, value in state.items() if isinstance(value, list)}
    assert {name: len(state[name]) for name in start.sizes()} == start.sizes()


@pytest.mark.parametrize(("start", "names"), PARTS)
@pytest.mark.parametrize("n_looks", [0, 1, 3])
def test_a_state_brings_the_evidence_back(start: Any, names: list[str], n_looks: int) -> None:
    evidence = start
    for _ in range(n_looks):
        evidence = looked_at(evidence)
    resumed = with_folded(start, json.loads(json.dumps(folded_state(evidence), allow_nan=False)))
    assert resumed == evidence
    assert looked_at(resumed) == looked_at(evidence)
    assert [type(getattr(resumed, field.name)) for field in fields(resumed)] == [
        type(getattr(evidence, field.name)) for field in fields(evidence)
    ]


def test_evidence_that_holds_something_is_overwritten_and_not_added_to() -> None:
    earlier = looked_at(SCORE)
    assert with_folded(looked_at(earlier), folded_state(earlier)) == earlier


def test_whole_numbers_may_have_become_floats_on_the_way() -> None:
    state = folded_state(looked_at(TAIL)) | {"last_n_rows": 100.0}
    assert with_folded(TAIL, state) == looked_at(TAIL)


AFTER = folded_state(looked_at(TAIL))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_looks": -1}, "n_looks must be a whole number, 0 or more, got -1"),
        ({"n_looks": 1.0}, "n_looks must be a whole number, 0 or more, got 1.0"),
        ({"n_looks": True}, "n_looks must be a whole number, 0 or more, got True"),
        ({"n_looks": "1"}, "n_looks must be a whole number, 0 or more, got '1'"),
        ({"n_looks": None}, "n_looks must be a whole number, 0 or more, got None"),
        ({"n_looks": 10**400}, "n_looks must hold finite numbers, got 1000"),
        ({"n_looks": 0}, "log_mass has 7 entries after 0 looks, expected 0"),
        ({"log_mass": []}, "log_mass has 0 entries after 1 looks, expected 7"),
        ({"log_mass": [0.0] * 8}, "log_mass has 8 entries after 1 looks, expected 7"),
        ({"log_mass": [0.0] * 6 + [math.nan]}, "log_mass must hold finite numbers, got nan"),
        ({"log_mass": [0.0] * 6 + [-math.inf]}, "log_mass must hold finite numbers, got -inf"),
        ({"log_mass": [0.0] * 6 + [10**400]}, "log_mass must hold finite numbers, got 1000"),
        ({"log_mass": [0.0] * 6 + ["0"]}, "log_mass must hold finite numbers, got '0'"),
        ({"log_mass": [0.0] * 6 + [False]}, "log_mass must hold finite numbers, got False"),
        ({"log_mass": [0.0] * 6 + [[0.0]]}, r"log_mass must hold finite numbers, got \[0.0\]"),
        ({"log_mass": 0.0}, "log_mass must be a list of numbers, got 0.0"),
        ({"log_mass": "0000000"}, "log_mass must be a list of numbers, got '0000000'"),
        ({"last_n_rows": 1.5}, "last_n_rows must be a whole number, 0 or more, got 1.5"),
        ({"last_n_rows": -1}, "last_n_rows must be a whole number, 0 or more, got -1"),
        ({"last_n_rows": [1]}, r"last_n_rows must hold finite numbers, got \[1\]"),
        ({"more": 1}, "TailEvidence is made of n_looks, .*, last_tail_cells, got .*, more, n_looks"),
    ],
)
def test_a_state_with_another_value_is_refused_by_the_name_of_the_field(change: dict[str, Any], message: str) -> None:
    with pytest.raises(StatisticError, match=message) as caught:
        with_folded(TAIL, AFTER | change)
    assert len(str(caught.value)) < 250
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("state", [{}, {"n_looks": 0}, [], None, "n_looks", 3, folded_state(SCORE)])
def test_what_is_no_state_of_this_evidence_is_refused_with_what_it_is_made_of(state: Any) -> None:
    with pytest.raises(StatisticError, match="TailEvidence is made of n_looks, log_mass, log_coverage, last_n_rows"):
        with_folded(TAIL, state)


@dataclass(frozen=True)
class Mine:
    """Evidence of a plug-in: what stands before ``n_looks`` is given."""

    given: str
    n_looks: int = 0
    seen: tuple[float, ...] = ()

    def sizes(self) -> dict[str, int]:
        return {"seen": 2}


def test_evidence_of_a_plug_in_needs_a_count_of_looks_and_the_sizes_of_its_tuples() -> None:
    assert folded_state(Mine("a", 1, (1.0, 2.0))) == {"n_looks": 1, "seen": [1.0, 2.0]}
    assert with_folded(Mine("b"), {"n_looks": 1, "seen": [1, 2]}) == Mine("b", 1, (1.0, 2.0))
