"""Tail evidence: which cells are the tail, what a look changes, and what is refused."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collapse_guard import testing
from collapse_guard.errors import InputError, StatisticError
from collapse_guard.stats import ReferenceRows, TailEvidence
from collapse_guard.stats.evalues import tail_cells

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

REFERENCE = (900, 50, 30, 15, 5)
LOOK = st.lists(st.integers(0, 2_000), min_size=5, max_size=5).filter(any)


def start(reference: ArrayLike = REFERENCE, n_unclaimed_rows: Any = 0, **changes: Any) -> TailEvidence:
    settings_ = {"tail_mass": 0.10, "max_mass_drop": 0.10, "max_coverage_drop": 0.50, "planned_looks": 50}
    return TailEvidence.start(ReferenceRows.of(reference, n_unclaimed_rows=n_unclaimed_rows), **(settings_ | changes))


@settings(max_examples=150, derandomize=True, deadline=None)
@given(
    reference=st.lists(st.integers(0, 12), min_size=1, max_size=7).filter(any),
    percent=st.integers(1, 99),
)
def test_the_tail_is_the_largest_set_of_rarest_cells_within_the_mass(reference: list[int], percent: int) -> None:
    alive = [cell for cell, rows in enumerate(reference) if rows]
    within = [
        subset
        for size in range(len(alive) + 1)
        for subset in itertools.combinations(alive, size)
        if 100 * sum(reference[cell] for cell in subset) <= percent * sum(reference)
    ]
    best = min(within, key=lambda subset: (-len(subset), sum(reference[cell] for cell in subset), subset))
    assert tuple(tail_cells(np.array(reference), percent / 100).tolist()) == best


def test_cells_that_exactly_fill_the_tail_mass_belong_to_the_tail() -> None:
    for tenths in range(1, 10):
        reference = np.array([10 * (10 - tenths), *([10] * tenths)]) * 7
        expected = list(range(1, tenths + 1)) if tenths < 9 else list(range(9))
        assert tail_cells(reference, tenths / 10).tolist() == expected


def test_the_tail_is_a_share_of_claimed_rows_and_cells_without_rows_are_not_in_it() -> None:
    evidence = start([0, 90, 6, 4, 0], n_unclaimed_rows=1_000)
    assert evidence.tail == (2, 3)


def test_before_the_first_look_there_is_no_evidence() -> None:
    result = start().compute()
    assert (result.log_e, result.log_e_mass, result.log_e_coverage) == (-math.inf,) * 3
    assert math.isnan(result.tail_mass_ratio)
    assert (result.n_looks, result.n_tail_cells, result.n_tail_cells_seen) == (0, 4, 0)


def test_figures_are_those_of_the_last_look() -> None:
    result = start().update([0, 0, 0, 0, 7]).update([880, 60, 40, 0, 0], n_unclaimed_rows=20).compute()
    assert result.n_looks == 2
    assert result.n_tail_cells_seen == 2
    assert result.tail_coverage == 0.5
    assert result.tail_mass_ratio == pytest.approx(100 / 1_000 / 0.1)
    shares = np.array([0.05, 0.03, 0.015, 0.005])
    assert result.expected_tail_coverage == pytest.approx((1 - (1 - shares) ** 1_000).mean())


def test_the_two_tests_see_the_two_kinds_of_collapse() -> None:
    bias = start().update([18_600, 700, 420, 210, 70]).compute()
    assert bias.log_e_mass > math.log(100) > bias.log_e_coverage
    drift = start().update([1_800, 200, 0, 0, 0]).compute()
    assert drift.log_e_coverage > math.log(100) > 0 > drift.log_e_mass
    assert drift.tail_mass_ratio == pytest.approx(1.0)


@settings(max_examples=40, derandomize=True, deadline=None)
@given(looks=st.lists(st.tuples(LOOK, st.integers(0, 500)), max_size=5))
def test_evidence_is_a_frozen_value_that_survives_pickling_and_json(looks: list[tuple[list[int], int]]) -> None:
    evidence = start(planned_looks=3)
    for counts, unclaimed in looks:
        evidence = evidence.update(counts, n_unclaimed_rows=unclaimed)
    testing.check_frozen(evidence)
    testing.check_json_state(evidence)
    assert hash(evidence) == hash(TailEvidence(*(getattr(evidence, name) for name in TailEvidence.__slots__)))


@settings(max_examples=40, derandomize=True, deadline=None)
@given(first=LOOK, second=LOOK)
def test_a_look_mutates_neither_the_evidence_nor_the_counts(first: list[int], second: list[int]) -> None:
    before, twin = start().update(first), start().update(first)
    counts = np.array(second)
    after = before.update(counts)
    assert before == twin
    assert counts.tolist() == second
    assert after == twin.update(second)
    assert after.compute() == after.compute()


@settings(max_examples=40, derandomize=True, deadline=None)
@given(planned=st.integers(1, 4), looks=st.lists(LOOK, min_size=5, max_size=7))
def test_looks_beyond_the_plan_add_no_new_restart(planned: int, looks: list[list[int]]) -> None:
    evidence = start(planned_looks=planned)
    for number, counts in enumerate(looks, 1):
        before, evidence = evidence, evidence.update(counts)
        alone = start(planned_looks=1).update(counts)  # one look with all of the spending: log L itself
        if number > planned:
            np.testing.assert_allclose(evidence.log_mass, np.add(before.log_mass, alone.log_mass), rtol=1e-12)
            added = np.add(before.log_coverage, alone.log_coverage)
            np.testing.assert_allclose(evidence.log_coverage, added, rtol=1e-12)
        else:
            floor = np.array(alone.log_mass) - math.log(planned)
            assert (np.array(evidence.log_mass) >= floor - 1e-9).all(), "a planned look starts anew"


def test_unclaimed_rows_count_as_rows_of_the_look() -> None:
    evidence = start()
    diluted = evidence.update([450, 25, 15, 7, 3], n_unclaimed_rows=500)
    elsewhere = evidence.update([950, 25, 15, 7, 3])
    assert diluted.compute() == elsewhere.compute()
    assert diluted.compute().log_e > evidence.update([450, 25, 15, 7, 3]).compute().log_e


def test_unclaimed_rows_of_the_reference_count_as_its_rows() -> None:
    evidence = start(n_unclaimed_rows=1_000)
    assert evidence.update([900, 50, 30, 15, 5], n_unclaimed_rows=1_000).compute().tail_mass_ratio == pytest.approx(1)
    assert evidence.update([900, 50, 30, 15, 5]).compute().tail_mass_ratio == pytest.approx(2)


def test_a_look_of_unclaimed_rows_alone_is_a_look_without_a_tail() -> None:
    result = start().update([0] * 5, n_unclaimed_rows=2_000).compute()
    assert result.log_e > math.log(100)
    assert result.n_tail_cells_seen == 0


@pytest.mark.parametrize("look", [[0, 0, 0, 0, 10**9], [10**9, 0, 0, 0, 0], [10**9] * 5, [9 * 10**8, 5, 3, 1, 1]])
@pytest.mark.parametrize("reference", [REFERENCE, (900 * 10**9, 50 * 10**9, 30 * 10**9, 15 * 10**9, 1)])
def test_huge_counts_neither_overflow_nor_give_nan(look: list[int], reference: tuple[int, ...]) -> None:
    evidence = start(reference, planned_looks=2)
    for _ in range(4):
        evidence = evidence.update(look, n_unclaimed_rows=10**9)
        assert np.isfinite(evidence.log_mass).all()
        assert np.isfinite(evidence.log_coverage).all()
        assert np.isfinite(evidence.compute()).all()


BAD_COUNTS = [
    ([3, -1, 2, 0, 0], r"counts\[1\] is -1; counts of rows are 0 or more"),
    ([3.0, 1.0, 2.0, 0.0, 0.0], r"counts must be whole numbers.*float64; do not pass shares"),
    ([3.0, math.nan, 2.0, 0.0, 0.0], r"counts must be whole numbers"),
    ([True, False, True, True, True], r"counts must be whole numbers.*bool"),
    (["3", "1", "2", "0", "0"], r"counts must be whole numbers"),
    ([3, 1], r"counts has 2 cells, the reference has 5; use the same cell map"),
    ([3, 1, 2, 0, 0, 0], r"counts has 6 cells, the reference has 5"),
    ([], r"counts must be a non-empty 1-D array"),
    ([[3, 1, 2, 0, 0]], r"counts must be a non-empty 1-D array.*\(1, 5\)"),
    (7, r"counts must be a non-empty 1-D array"),
    (None, r"counts must be a non-empty 1-D array"),
    ([0, 0, 0, 0, 0], r"counts are all zero: a look needs rows"),
    ([2**62, 2**62, 0, 0, 0], r"counts holds .* rows in one cell; the sum would overflow"),
    ([[3], [1, 2]], r"counts must be"),
]


@pytest.mark.parametrize(("counts", "message"), BAD_COUNTS)
def test_a_look_that_is_not_counts_is_refused_with_a_remedy(counts: Any, message: str) -> None:
    with pytest.raises(StatisticError, match=message):
        start().update(counts)


@pytest.mark.parametrize("rows", [-1, 1.0, math.nan, True, "3", None])
def test_unclaimed_rows_must_be_a_number_of_rows(rows: Any) -> None:
    message = "n_unclaimed_rows must be a whole number of rows, 0 or more"
    with pytest.raises(StatisticError, match=message):
        start().update([9, 1, 1, 1, 1], n_unclaimed_rows=rows)
    with pytest.raises(StatisticError, match=f"reference_{message[2:]}"):
        start(n_unclaimed_rows=rows)


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ([0, 0, 0], "reference_counts are all zero; a reference needs real rows"),
        ([0, 12, 0], "reference_counts hold one class only; .*declare finer cells"),
        ([9, -2], r"reference_counts\[1\] is -2"),
        ([0.9, 0.1], "reference_counts must be whole numbers.*do not pass shares"),
        ([0.9, math.nan], "reference_counts must be whole numbers"),
        ([], "reference_counts must be a non-empty 1-D array"),
        ([50, 50], r"the tail is empty: .*50\.00%.*set tail_mass to at least 0\.5"),
        ([900, 60, 55], r"the tail is empty.*tail_mass is 5\.00%; set tail_mass to at least 0\.05"),
    ],
)
def test_a_reference_without_a_tail_is_refused_with_a_remedy(reference: list[float], message: str) -> None:
    with pytest.raises(StatisticError, match=message):
        start(reference, tail_mass=0.05)


def test_the_remedy_for_an_empty_tail_works_when_followed_to_the_letter() -> None:
    for reference in ([50, 50], [900, 60, 55], [10_000, 334, 333], [70_000, 12_345, 54_321], [3, 3, 3]):
        with pytest.raises(StatisticError, match="the tail is empty") as caught:
            start(reference, tail_mass=0.001)
        advised = float(str(caught.value).rsplit(" ", 1)[-1])
        assert start(reference, tail_mass=advised).tail


@pytest.mark.parametrize(
    ("name", "value", "interval"),
    [
        ("tail_mass", 0, r"\(0, 1\)"),
        ("tail_mass", 1, r"\(0, 1\)"),
        ("tail_mass", 0.0, r"\(0, 1\)"),
        ("tail_mass", 1.0, r"\(0, 1\)"),
        ("tail_mass", -0.1, r"\(0, 1\)"),
        ("tail_mass", math.nan, r"\(0, 1\)"),
        ("tail_mass", "0.1", r"\(0, 1\)"),
        ("max_mass_drop", 1, r"\[0, 1\)"),
        ("max_mass_drop", -0.1, r"\[0, 1\)"),
        ("max_mass_drop", math.nan, r"\[0, 1\)"),
        ("max_coverage_drop", 1.0, r"\[0, 1\)"),
        ("max_coverage_drop", None, r"\[0, 1\)"),
    ],
)
def test_a_share_out_of_range_is_named_with_its_interval(name: str, value: Any, interval: str) -> None:
    with pytest.raises(StatisticError, match=rf"{name} must lie in {interval}, got"):
        start(**{name: value})


def test_no_tolerated_drop_is_allowed() -> None:
    assert start(max_mass_drop=0, max_coverage_drop=0).update([900, 50, 30, 15, 5]).compute().log_e < 0


@pytest.mark.parametrize(("value", "message"), [(0, "planned_looks must be 1 or more"), (-3, "planned_looks must be")])
def test_there_must_be_a_planned_look(value: int, message: str) -> None:
    with pytest.raises(StatisticError, match=message):
        start(planned_looks=value)


@pytest.mark.parametrize("value", [2.5, True, math.nan, "50", None])
def test_planned_looks_are_a_whole_number(value: Any) -> None:
    with pytest.raises(StatisticError, match="planned_looks must be"):
        start(planned_looks=value)


def test_bad_counts_can_be_caught_as_input_error_and_as_value_error() -> None:
    for family in (InputError, ValueError):
        with pytest.raises(family, match="counts are all zero"):
            start().update([0] * 5)
