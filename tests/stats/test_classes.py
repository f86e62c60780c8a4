"""Class evidence: single classes that die while the pooled tail grows."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collapse_guard import testing
from collapse_guard.errors import StatisticError
from collapse_guard.stats import ClassEvidence, ReferenceRows, TailEvidence

REFERENCE = (900, 60, 0, 40)
LOOK = st.lists(st.integers(0, 2_000), min_size=4, max_size=4).filter(any)

# Rows per class and off-manifold rows of the digits sandbox (science.md 7.1).
DIGITS = ((1435, 930, 573, 384, 257, 145, 85, 74, 40, 30), 47)
DIGITS_REPLACED = ((1081, 82, 225, 378, 19, 188, 273, 64, 1005, 42), 643)


def start(reference: Any = REFERENCE, n_unclaimed_rows: Any = 0, **changes: Any) -> ClassEvidence:
    rows = ReferenceRows.of(reference, n_unclaimed_rows=n_unclaimed_rows)
    return ClassEvidence.start(rows, **({"max_class_drop": 0.50, "planned_looks": 50} | changes))


def test_before_the_first_look_there_is_no_evidence() -> None:
    assert start().compute() == (-math.inf, (0, 1, 3), (-math.inf,) * 3, 0, -math.inf)


def test_a_class_that_the_reference_never_saw_cannot_die() -> None:
    result = start().update([900, 60, 500, 40]).compute()
    assert result.log_e_of(2) == -math.inf
    guarded = [result.log_e_of(cell) for cell in (0, 1, 3)]
    assert np.isfinite(guarded).all()
    assert result.log_e == pytest.approx(math.log(np.exp(guarded).mean()))


def test_the_dead_class_carries_the_evidence() -> None:
    result = start().update([950, 0, 0, 50]).compute()
    assert max(range(4), key=result.log_e_of) == 1
    assert result.log_e_of(1) > math.log(100)
    assert max(result.log_e_of(0), result.log_e_of(3)) < 0


def test_class_evidence_sees_the_digits_collapse_that_pooled_tail_mass_misses() -> None:
    (reference, unclaimed), (counts, off_manifold) = DIGITS, DIGITS_REPLACED
    classes = start(reference, n_unclaimed_rows=unclaimed).update(counts, n_unclaimed_rows=off_manifold)
    tail = TailEvidence.start(
        ReferenceRows.of(reference, n_unclaimed_rows=unclaimed),
        tail_mass=0.10,
        max_mass_drop=0.10,
        max_coverage_drop=0.50,
        planned_looks=50,
    ).update(counts, n_unclaimed_rows=off_manifold)
    assert tail.compute().tail_mass_ratio > 3
    assert tail.compute().log_e_mass < 0
    result = classes.compute()
    assert result.log_e > math.log(100)
    ranked = sorted(range(10), key=lambda cell: -result.log_e_of(cell))
    assert set(ranked[:2]) == {1, 4}, "the notes name classes 1 and 4 first"


def test_a_healthy_look_of_the_digits_gives_no_evidence() -> None:
    reference, unclaimed = DIGITS
    evidence = start(reference, n_unclaimed_rows=unclaimed)
    for _ in range(8):
        evidence = evidence.update(reference, n_unclaimed_rows=unclaimed)
    assert evidence.compute().log_e < 0


@settings(max_examples=40, derandomize=True, deadline=None)
@given(looks=st.lists(st.tuples(LOOK, st.integers(0, 500)), max_size=5))
def test_evidence_is_a_frozen_value_that_survives_pickling_and_json(looks: list[tuple[list[int], int]]) -> None:
    evidence = start(planned_looks=3)
    for counts, unclaimed in looks:
        evidence = evidence.update(counts, n_unclaimed_rows=unclaimed)
    testing.check_frozen(evidence)
    testing.check_json_state(evidence)


@settings(max_examples=40, derandomize=True, deadline=None)
@given(first=LOOK, second=LOOK)
def test_a_look_mutates_neither_the_evidence_nor_the_counts(first: list[int], second: list[int]) -> None:
    before, twin = start().update(first), start().update(first)
    counts = np.array(second)
    after = before.update(counts)
    assert before == twin
    assert counts.tolist() == second
    assert after == twin.update(second)


@settings(max_examples=30, derandomize=True, deadline=None)
@given(planned=st.integers(1, 3), looks=st.lists(LOOK, min_size=4, max_size=6))
def test_looks_beyond_the_plan_add_no_new_restart(planned: int, looks: list[list[int]]) -> None:
    evidence = start(planned_looks=planned)
    for number, counts in enumerate(looks, 1):
        before, evidence = evidence, evidence.update(counts)
        alone = np.array(start(planned_looks=1).update(counts).log_classes)
        if number > planned:
            np.testing.assert_allclose(evidence.log_classes, np.array(before.log_classes) + alone, rtol=1e-12)
        else:
            assert (np.array(evidence.log_classes) >= alone - math.log(planned) - 1e-9).all(), "a planned look restarts"


def test_unclaimed_rows_count_as_rows_of_the_look() -> None:
    evidence = start()
    without = evidence.update([900, 60, 0, 40]).compute()
    diluted = evidence.update([900, 60, 0, 40], n_unclaimed_rows=3_000).compute()
    unguarded = evidence.update([900, 60, 3_000, 40]).compute()
    assert diluted == unguarded
    assert diluted.log_e > without.log_e


def test_unclaimed_rows_of_the_reference_count_as_its_rows() -> None:
    strict = start().update([450, 30, 0, 20], n_unclaimed_rows=500).compute()
    aware = start(n_unclaimed_rows=1_000).update([450, 30, 0, 20], n_unclaimed_rows=500).compute()
    assert aware.log_e < strict.log_e


@pytest.mark.parametrize("look", [[0, 0, 10**9, 10**9], [10**9, 0, 0, 0], [10**9] * 4])
def test_huge_counts_neither_overflow_nor_give_nan(look: list[int]) -> None:
    evidence = start(planned_looks=2)
    for _ in range(4):
        evidence = evidence.update(look, n_unclaimed_rows=10**9)
        assert np.isfinite(evidence.log_classes).all()
        assert math.isfinite(evidence.compute().log_e)


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ([3, -1, 2, 0], r"counts\[1\] is -1; counts of rows are 0 or more"),
        ([3.0, 1.0, 2.0, 0.0], "counts must be whole numbers.*do not pass shares"),
        ([3.0, math.nan, 2.0, 0.0], "counts must be whole numbers"),
        ([3, 1], "counts has 2 cells, the reference has 4; use the same cell map"),
        ([0, 0, 0, 0], "counts are all zero: a look needs rows"),
    ],
)
def test_a_look_that_is_not_counts_is_refused_with_a_remedy(counts: Any, message: str) -> None:
    with pytest.raises(StatisticError, match=message):
        start().update(counts)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"reference": [0, 0]}, "reference_counts are all zero; a reference needs real rows"),
        ({"reference": [7, 0]}, "one class only; .*declare finer cells"),
        ({"max_class_drop": 1}, r"max_class_drop must lie in \[0, 1\), got 1"),
        ({"max_class_drop": math.nan}, r"max_class_drop must lie in \[0, 1\), got nan"),
        ({"planned_looks": 0}, "planned_looks must be 1 or more, got 0"),
        ({"n_unclaimed_rows": -1}, "reference_unclaimed_rows must be a whole number of rows"),
    ],
)
def test_a_start_that_makes_no_sense_is_refused_with_a_remedy(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(StatisticError, match=message):
        start(**changes)
