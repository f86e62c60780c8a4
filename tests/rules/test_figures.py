"""What every failing finding carries: a figure beyond a limit, a name of its own, the policy key that asks for it."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, get_args, get_origin

import pytest
from pydantic import BaseModel

from collapse_guard.policy import Policy
from collapse_guard.records import Finding, Status
from collapse_guard.rules import RULES, evaluate
from tests.rules.test_rules import CASES, ODD_NAMES, generations, made, of, policy, real, takedowns

if TYPE_CHECKING:
    from collapse_guard.rules import Subject
    from tests.rules.test_rules import Make

#: What could not be read, or is not the recorded parent, has no figure; waivers have days.
FIGURELESS = {"CG001", "CG002", "CG003", "CG004", "CG204"}
WHERE = {"source", "class", "generator", "generation"}


def has_figure(code: str) -> bool:
    return code not in FIGURELESS and not code.startswith("CG9")


def sections(annotation: Any) -> list[Any]:
    """Return an annotation and what stands inside of it: of ``Drift | None`` also ``Drift``."""
    return [annotation, *(inner for part in get_args(annotation) for inner in sections(part))]


def exists(key: tuple[str | int, ...], annotation: Any = Policy) -> bool:
    """Return whether a path leads through the sections of the policy schema."""
    if not key:
        return True
    for each in sections(annotation):
        if isinstance(each, type) and issubclass(each, BaseModel) and key[0] in each.model_fields:
            return exists(key[1:], each.model_fields[str(key[0])].annotation)
        if get_origin(each) in {dict, Mapping}:
            return exists(key[1:], get_args(each)[1])
        if get_origin(each) in {tuple, list} and isinstance(key[0], int):
            return exists(key[1:], get_args(each)[0])
    return False


def test_a_path_is_told_from_one_that_is_not() -> None:
    for there in [
        ("mix", "drift", "warn"),
        ("sources", "any name", "min_share"),
        ("accumulation", "scope"),
        ("coverage", "cells", 0),
        ("waivers", 3, "limit"),
    ]:
        assert exists(there), there
    for nowhere in [("mixx",), ("mix", "drift", "warm"), ("sources", "any", "floor"), ("name", "first")]:
        assert not exists(nowhere), nowhere


def everything(make: Make, name: str = "made") -> Subject:
    """Return a subject that trips as many rules as one manifest and its parent can, in several sources at once."""
    before = [*real(9), *real(6, first=50, source="books", label="owl"), *made(2, first=700, source=name)]
    after = [
        *real(5),
        {"id": 5, "label": "dog"},
        *real(2, first=60, origin=0),
        *real(2, first=70, evidence=0, source=name),
        *real(1, first=80, evidence=8),
        *real(1, first=90, generation=2, generator="m@1"),
        *real(2, first=95, amount=0.0),
        *made(3, generator=None),
        *made(3, first=1100, generator="", source=name),
        *made(4, first=1200, generation=0),
        *made(4, first=1300, generation=7, source=name, generator=name),
        *made(2, first=0),
        {"id": 5, "label": "dog"},
    ]
    return generations(
        make,
        before,
        after,
        taken=takedowns(50, 1200),
        mix={
            "real_min_share": 0.9,
            "synthetic_to_real_max": 0.1,
            "per_generator_max_share": 0.05,
            "per_generation_max_share": 0.05,
            "per_class_max_synthetic_share": 0.1,
            "budget": {"amount": 2},
            "drift": {},
        },
        sources={
            "web": {"min_share": 0.7, "max_share": 0.8},
            "made": {"origin": "real", "max_share": 0.1},
            "gone": {"origin": "real", "accumulate": "strict"},
            name: {"generator": "other@1", "origin": "derived", "max_share": 0.01, "max_depth": 1},
        }
        | ({} if name == "made" else {"books": {}}),
        accumulation={"require_weight_above": 0.5, "grow_within": 1},
        provenance={"forbid_reentry_of": ["m"], "max_unknown_share": 0.01},
        coverage={},
    )


@pytest.mark.parametrize("code", sorted(code for code in CASES if has_figure(code)))
def test_what_a_rule_measures_lies_beyond_its_limit(make: Make, code: str) -> None:
    for finding in RULES.get(code)(CASES[code].trips(make)):
        check_figure(finding)


def check_figure(finding: Finding) -> None:
    assert finding.status is Status.FAIL
    assert finding.measured is not None, finding
    assert finding.limit is not None, finding
    assert finding.unit, finding
    assert finding.measured != finding.limit, finding
    # a bound at what was measured holds, and one nearer to the limit does not
    assert not finding.is_worse_than(finding.measured)
    assert finding.is_worse_than((finding.measured + finding.limit) / 2)


@pytest.mark.parametrize("code", sorted(code for code in CASES if not code.startswith("CG9")))
def test_a_finding_names_a_key_of_the_policy_and_a_place_that_waivers_know(make: Make, code: str) -> None:
    for finding in RULES.get(code)(CASES[code].trips(make)):
        check_names(finding)


def check_names(finding: Finding) -> None:
    assert exists(finding.key), finding.key
    assert finding.key or finding.code in FIGURELESS
    assert set(finding.where) <= WHERE
    assert all(isinstance(value, str) for value in finding.where.values())
    json.dumps(finding.as_dict(), allow_nan=False)


@pytest.mark.parametrize("name", ["made", *ODD_NAMES, "real", "web: no origin"])
def test_no_two_findings_of_a_rule_in_one_run_are_about_the_same(make: Make, name: str) -> None:
    found = evaluate(everything(make, name)).findings
    failing = [finding for finding in found if finding.status is Status.FAIL]
    names = [(finding.code, finding.subject, tuple(sorted(finding.where.items()))) for finding in failing]
    assert len(set(names)) == len(names), sorted(names)
    prints = {finding.fingerprint("sha256:0") for finding in failing}
    assert len(prints) == len(failing)
    for finding in failing:
        check_names(finding)
        assert "\n" not in finding.message
        if has_figure(finding.code):
            check_figure(finding)


def test_the_subject_of_everything_trips_nearly_every_rule(make: Make) -> None:
    found = {finding.code for finding in evaluate(everything(make)).findings if finding.status is Status.FAIL}
    assert found >= {
        *("CG005", "CG007", "CG101", "CG102", "CG103", "CG104", "CG105", "CG106", "CG108", "CG109", "CG110"),
        *("CG201", "CG203", "CG205", "CG206", "CG207", "CG208"),
        *("CG301", "CG302", "CG303", "CG304", "CG305", "CG306", "CG309"),
    }


@pytest.mark.parametrize(
    ("code", "key", "where"),
    [
        ("CG101", ("mix", "real_min_share"), {}),
        ("CG102", ("sources", "made", "max_share"), {"source": "made"}),
        ("CG106", ("mix", "per_generator_max_share"), {"generator": "m@1"}),
        ("CG108", ("mix", "per_generation_max_share"), {"generation": "2"}),
        ("CG201", ("accumulation", "allow_loss"), {}),
        ("CG202", ("accumulation", "replace_tolerance"), {}),
        ("CG303", ("provenance", "max_generation_depth"), {"source": "made"}),
        ("CG305", ("provenance", "forbid_reentry_of"), {"source": "made", "generator": "m@1"}),
    ],
)
def test_a_finding_says_which_key_asks_for_it_and_where(
    make: Make, code: str, key: tuple[str, ...], where: dict[str, str]
) -> None:
    (finding,) = RULES.get(code)(CASES[code].trips(make))
    assert (finding.key, finding.where) == (key, where)


def test_a_source_with_a_floor_or_a_depth_of_its_own_is_asked_for_by_its_own_key(make: Make) -> None:
    rules = policy(sources={"web": {"min_share": 0.9}, "made": {"max_depth": 0}}, mix={"real_min_share": 0.1})
    subject = of(rules, make(real(5) + made(5)))
    (floor,), (depth,) = RULES.get("CG101")(subject), RULES.get("CG303")(subject)
    assert (floor.key, floor.where) == (("sources", "web", "min_share"), {"source": "web"})
    assert (depth.key, depth.measured, depth.limit) == (("sources", "made", "max_depth"), 1, 0)


def test_what_a_finding_measures_is_the_figure_of_its_message(make: Make) -> None:
    wanted: dict[str, tuple[float, float, str]] = {
        "CG005": (1, 0, "ids"),
        "CG007": (0, 1, "rows"),
        "CG101": (4 / 9, 0.5, "share"),
        "CG102": (0.3, 0.2, "share"),
        "CG103": (0.75, 0.5, "ratio"),
        "CG104": (1 / 11, 0.09, "share"),
        "CG105": (2, 0, "rows"),
        "CG106": (0.3, 0.2, "share"),
        "CG107": (4 / 9, 0.5, "share"),
        "CG108": (0.3, 0.2, "share"),
        "CG109": (2 / 3, 0.5, "share"),
        "CG110": (6, 5, "rows"),
        "CG201": (1, 0, "rows"),
        "CG202": (2, 0, "rows"),
        "CG203": (1, 0, "rows"),
        "CG205": (1, 0, "generations"),
        "CG206": (2, 0, "rows"),
        "CG207": (1, 0, "rows"),
        "CG208": (1, 0, "rows"),
        "CG301": (3, 0, "rows"),
        "CG302": (3, 0, "rows"),
        "CG303": (3, 2, "generations"),
        "CG304": (2, 0, "rows"),
        "CG305": (2, 0, "rows"),
        "CG306": (0.3, 0.2, "share"),
        "CG309": (1, 0, "ids"),
    }
    for code, (measured, limit, unit) in wanted.items():
        (found,) = RULES.get(code)(CASES[code].trips(make))
        assert found.measured == pytest.approx(measured), code
        assert (found.limit, found.unit) == (limit, unit), code


def test_a_bound_of_a_waiver_is_kept_from_both_sides(make: Make) -> None:
    floors = [
        RULES.get("CG101")(of(policy(mix={"real_min_share": 0.9}), make(real(n) + made(10 - n))))[0] for n in (5, 6)
    ]
    ratios = [
        RULES.get("CG103")(of(policy(mix={"synthetic_to_real_max": 0.1}), make(real(10) + made(n))))[0] for n in (6, 5)
    ]
    for worse, better in itertools.chain([floors], [ratios]):
        assert better.measured is not None
        assert worse.measured is not None
        assert worse.is_worse_than(better.measured)
        assert not better.is_worse_than(worse.measured)


def test_a_ratio_to_nothing_is_told_as_the_amount_that_may_not_be(make: Make) -> None:
    (finding,) = RULES.get("CG103")(of(policy(mix={"synthetic_to_real_max": 2.0}), make(made(3))))
    assert (finding.measured, finding.limit, finding.unit) == (3, 0, "rows")
