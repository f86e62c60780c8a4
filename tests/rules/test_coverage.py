"""CG503: entropy and head share of the classes against the real reference."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as reference

from collapse_guard.policy import policy_from_mapping
from collapse_guard.records import Finding, Origin, Severity, Status
from collapse_guard.rules import RULES, Subject
from collapse_guard.rules.coverage import entropy_nats, head_share

if TYPE_CHECKING:
    from collections.abc import Callable

    from collapse_guard.manifest import Manifest

    Make = Callable[..., Manifest]

BEFORE = {"cat": 6, "owl": 3, "newt": 1}
SWOLLEN = {"cat": 26, "owl": 3, "newt": 1}
COUNTS = st.dictionaries(st.text(max_size=2), st.integers(1, 1000), min_size=1)


def entries(rows: dict[str, int], **tags: Any) -> list[dict[str, Any]]:
    return [{"id": f"{label}{n}", "label": label} | tags for label, n_rows in rows.items() for n in range(n_rows)]


def found(
    coverage: dict[str, Any] | None,
    manifest: Manifest,
    previous: Manifest | None = None,
    reference: Manifest | None = None,
) -> list[Finding]:
    sections = {} if coverage is None else {"coverage": coverage}
    policy = policy_from_mapping({"version": 1, **sections})
    return RULES.get("CG503")(Subject(policy, manifest, previous, reference))


@pytest.mark.parametrize(
    ("now", "coverage", "subjects"),
    [
        (BEFORE, {"max_entropy_drop_nats": 0, "max_head_share_rise": 0}, []),
        ({"cat": 60, "owl": 30, "newt": 10}, {"max_entropy_drop_nats": 0, "max_head_share_rise": 0}, []),
        (
            {"cat": 26, "owl": 3, "newt": 1},
            {"max_entropy_drop_nats": 0.4, "max_head_share_rise": 0.2},
            ["entropy", "head"],
        ),
        (SWOLLEN, {"max_entropy_drop_nats": 0.5, "max_head_share_rise": 0.2}, ["head"]),
        (SWOLLEN, {"max_entropy_drop_nats": 0.4, "max_head_share_rise": 0.3}, ["entropy"]),
        (SWOLLEN, {}, []),
        ({"cat": 1, "owl": 1, "newt": 18}, {"max_head_share_rise": 0.2}, ["head"]),  # a rare class that swells
        ({"cat": 10}, {"max_head_share_rise": 0.3}, ["head"]),
        ({"cat": 5, "owl": 4, "newt": 1}, {"max_head_share_rise": 0, "head_classes": 2}, []),
        ({"cat": 6, "owl": 4}, {"max_head_share_rise": 0.05, "head_classes": 2}, ["head"]),
    ],
)
def test_mass_that_moved_to_the_head_is_told(
    make: Make, now: dict[str, int], coverage: dict[str, Any], subjects: list[str]
) -> None:
    parent = make(entries(BEFORE))
    findings = found(coverage, make(entries(now), parent=parent), parent)
    assert [finding.subject for finding in findings] == subjects
    for finding in findings:
        assert (finding.status, finding.severity) == (Status.FAIL, Severity.WARNING)
        assert finding.measured is not None
        assert finding.limit is not None
        assert finding.measured > finding.limit


def test_figures_before_and_now_are_exact(make: Make) -> None:
    parent = make(entries(BEFORE))
    asked = {"max_entropy_drop_nats": 0.1, "max_head_share_rise": 0.1, "head_classes": 1}
    entropy, head = found(asked, make(entries({"cat": 9, "owl": 1}), parent=parent), parent)
    before, now = reference.entropy([6, 3, 1]), reference.entropy([9, 1])
    assert entropy.measured == pytest.approx(before - now)
    assert entropy.evidence == pytest.approx({"before_nats": before, "now_nats": now})
    assert (entropy.unit, entropy.key) == ("nats", ("coverage", "max_entropy_drop_nats"))
    assert head.measured == pytest.approx(0.3)
    assert (
        head.message == "the largest class held a share of 0.6000 and holds 0.9000, a rise of 0.3000; the limit is 0.1"
    )


def test_a_limit_that_is_met_to_the_last_digit_is_kept(make: Make) -> None:
    parent = make(entries(BEFORE))
    assert found({"max_head_share_rise": 0.3}, make(entries({"cat": 9, "owl": 1}), parent=parent), parent) == []


def test_only_rows_that_train_and_real_rows_before_count(make: Make) -> None:
    parent = make(entries(BEFORE) + entries({"owl": 90}, origin=int(Origin.SYNTHETIC), source="made"))
    retained = [*entries(BEFORE), *entries({"cat2": 90}, label="cat", amount=0.0)]
    asked = {"max_entropy_drop_nats": 0, "max_head_share_rise": 0}
    assert found(asked, make(retained, parent=parent), parent) == []


def test_the_reference_goes_before_the_parent(make: Make) -> None:
    parent, anchor = make(entries({"cat": 9, "owl": 1})), make(entries(BEFORE))
    child = make(entries({"cat": 9, "owl": 1}), parent=parent)
    asked = {"max_head_share_rise": 0.1}
    assert found(asked, child, parent) == []
    (finding,) = found(asked, child, parent, anchor)
    assert finding.measured == pytest.approx(0.3)
    assert [each.status for each in found(asked, child, None, anchor)] == [Status.FAIL]


def test_what_was_asked_and_cannot_be_answered_is_open(make: Make) -> None:
    asked = {"max_entropy_drop_nats": 0.1, "max_head_share_rise": 0.1}
    parent = make(entries(BEFORE))
    child = make(entries(BEFORE), parent=parent)
    bare = make(entries(BEFORE), class_column=None)
    for manifest, previous, said in (
        (child, None, "the parent manifest was not given; pass --against PREVIOUS"),
        (child, bare, "no real row of the reference carries a class"),
        (bare, parent, "no row of the training set carries a class"),
    ):
        findings = found(asked, manifest, previous)
        assert [(each.status, each.subject) for each in findings] == [
            (Status.INCONCLUSIVE, "max_entropy_drop_nats"),
            (Status.INCONCLUSIVE, "max_head_share_rise"),
        ]
        assert all(said in each.message for each in findings)
    (finding,) = found({"max_head_share_rise": 0.1, "head_classes": 3}, child, parent)
    assert finding.status is Status.INCONCLUSIVE
    assert finding.key == ("coverage", "head_classes")
    assert "the reference has 3 classes, and coverage.head_classes is 3" in finding.message


def test_nothing_is_asked_without_limits_or_of_a_first_generation(make: Make) -> None:
    first = make(entries(BEFORE))
    assert found({"max_entropy_drop_nats": 0}, first) == []
    child = make(entries({"cat": 9}), parent=first)
    assert found(None, child, first) == []
    assert found({}, child) == []
    assert found({"cells": [], "max_entropy_drop_nats": 0}, child, first) == []


@given(COUNTS)
def test_entropy_is_that_of_another_implementation(rows: dict[str, int]) -> None:
    assert entropy_nats(rows) == pytest.approx(reference.entropy(list(rows.values())), abs=1e-12)


@given(COUNTS, st.integers(1, 20))
def test_the_head_is_the_largest_classes(rows: dict[str, int], n_classes: int) -> None:
    counts = np.sort(list(rows.values()))[::-1]
    assert head_share(rows, n_classes) == pytest.approx(counts[:n_classes].sum() / counts.sum())


def test_lost_classes_carry_their_number_and_limit(make: Make) -> None:
    parent = make(entries(BEFORE))
    policy = policy_from_mapping({"version": 1, "coverage": {"max_classes_lost": 1}})
    subject = Subject(policy, make(entries({"cat": 6}), parent=parent), parent)
    (finding,) = RULES.get("CG501")(subject)
    assert (finding.measured, finding.limit, finding.unit) == (2, 1, "classes")
    assert finding.key == ("coverage", "max_classes_lost")
