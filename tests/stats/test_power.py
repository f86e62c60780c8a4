"""What a configuration can see: against the evidence itself, against simulation, and against the closed form."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collapse_guard.errors import StatisticError
from collapse_guard.stats import (
    ClassEvidence,
    DetectableDrops,
    Level,
    ReferenceRows,
    TailEvidence,
    minimum_detectable_drop,
    rows_to_see_extinction,
)
from collapse_guard.stats.power import _log_geometric_sum

HALT = Level(math.log(100), math.log(1 / 4), math.log(1 / 2))


def both_on(
    reference: Any, *, planned_looks: int = 50, mass_drop: float = 0.1, class_drop: float = 0.5
) -> tuple[TailEvidence, ClassEvidence]:
    """Return both kinds of evidence on one reference."""
    tail = TailEvidence.start(
        reference, tail_mass=0.1, max_mass_drop=mass_drop, max_coverage_drop=0.5, planned_looks=planned_looks
    )
    return tail, ClassEvidence.start(reference, max_class_drop=class_drop, planned_looks=planned_looks)


def of_mass(level: Level = HALT) -> float:
    """Log e that the mass test must reach."""
    return level.log_e - level.log_weight_mass


def of_class(n_groups: int, level: Level = HALT) -> float:
    """Log e that the test of one class must reach."""
    return level.log_e - level.log_weight_classes + math.log(n_groups)


# --- exact: the evidence itself, fed with the expected counts


@pytest.mark.parametrize("n_rows", [3_000, 10**6])
@pytest.mark.parametrize(("n_looks", "planned_looks"), [(1, 1), (1, 50), (7, 50), (7, 3), (60, 50)])
def test_the_named_drop_reaches_the_level_and_one_row_more_does_not(
    n_rows: int, n_looks: int, planned_looks: int
) -> None:
    tail, classes = both_on([900, 100], planned_looks=planned_looks)
    found = minimum_detectable_drop(tail, classes, HALT, n_rows=n_rows, n_looks=n_looks)
    for kind, start, drop in (("tail", tail, found.tail), ("class", classes, found.classes[1])):
        left = math.floor(n_rows * 0.1 * (1 - drop))
        reached = [is_halted(kind, start, [[n_rows - rows, rows]] * n_looks) for rows in (left, left + 1)]
        assert reached == [True, False], kind


@pytest.mark.parametrize("reference", [[900, 60, 40], [9_990, 10], [995, 4, 1], [96, 4]])
@pytest.mark.parametrize("n_looks", [1, 3, 50])
def test_the_rows_that_show_extinction_do_and_one_less_does_not(reference: list[int], n_looks: int) -> None:
    tail, classes = both_on(reference)
    needed = rows_to_see_extinction(tail, classes, HALT, n_looks=n_looks)
    assert needed is not None
    reached = []
    for n_rows in (needed - 1, needed):
        evidence = tail
        for _ in range(n_looks):
            evidence = evidence.update([n_rows, *[0] * (len(reference) - 1)]) if n_rows else evidence
        reached.append(evidence.compute().log_e_mass >= of_mass())
    assert reached == [False, True]


@settings(max_examples=60, derandomize=True, deadline=None)
@given(log_ratio=st.one_of(st.floats(-900, 900), st.floats(-1e-6, 1e-6)), n_terms=st.integers(1, 200))
def test_a_geometric_sum_is_the_sum_of_its_terms(log_ratio: float, n_terms: int) -> None:
    terms = np.arange(n_terms) * log_ratio
    found = float(_log_geometric_sum(np.array([log_ratio]), n_terms)[0])
    assert found == pytest.approx(float(np.logaddexp.reduce(terms)), rel=1e-9, abs=1e-9)


# --- simulation: runs with the named drop


def halted_runs(kind: str, drop: float, *, n_rows: int, n_looks: int) -> float:
    """Return the share of runs whose test reaches its level in the looks, after a drop of the only rare class."""
    start, n_runs = both_on([900, 100])[0 if kind == "tail" else 1], 100
    rng = np.random.default_rng([n_rows, n_looks, round(1_000 * drop)])
    rows = rng.binomial(n_rows, 0.1 * (1 - drop), (n_runs, n_looks))
    return float(np.mean([is_halted(kind, start, np.stack([n_rows - run, run], axis=1).tolist()) for run in rows]))


def is_halted(kind: str, evidence: Any, looks: list[list[int]]) -> bool:
    for look in looks:
        evidence = evidence.update(look)
        result = evidence.compute()
        found, level = (result.log_e_mass, of_mass()) if kind == "tail" else (result.log_e_alone[1], of_class(2))
        if found >= level:
            return True
    return False


@pytest.mark.science
@pytest.mark.parametrize("kind", ["tail", "class"])
@pytest.mark.parametrize(("n_rows", "n_looks"), [(2_000, 1), (2_000, 5), (500, 15)])
def test_about_half_of_the_runs_with_the_named_drop_are_halted(kind: str, n_rows: int, n_looks: int) -> None:
    """And few of those with 0.7 of it, nearly all of those with 1.3 of it (or with all that can be lost)."""
    found = minimum_detectable_drop(*both_on([900, 100]), HALT, n_rows=n_rows, n_looks=n_looks)
    drop = found.tail if kind == "tail" else found.classes[1]
    rates = [halted_runs(kind, min(factor * drop, 1.0), n_rows=n_rows, n_looks=n_looks) for factor in (0.7, 1.0, 1.3)]
    text = f"{kind}, {n_looks} looks of {n_rows}: drop {drop:.3f}; halted at 0.7, 1, 1.3 of it {rates}"
    print(f"\n{text}", end="")  # noqa: T201 - shown with -s
    assert rates[0] < 0.1
    assert 0.3 < rates[1] < 0.7
    assert rates[2] > 0.95


# --- the closed form: expected rows of the tail in the window, C(r) = log(1/a) / ((1-r) log(1-r) + r)


@pytest.mark.science
@pytest.mark.parametrize("alpha", [1 / 20, 1 / 100, 1 / 1_000])
@pytest.mark.parametrize("drop", [0.1, 0.2, 0.3, 0.5, 0.8, 1.0])
def test_the_mixture_of_bets_needs_at_most_seven_tenths_more_rows_than_the_best_bet(alpha: float, drop: float) -> None:
    share = 0.005
    kept = (1 - drop) * math.log1p(-drop) if drop < 1 else 0.0
    best = -math.log(alpha) / (kept + drop)
    tail, classes = both_on([995_000, 5_000], planned_looks=1, mass_drop=0.0)

    def seen(n_items: float) -> float:
        rows = round(n_items / share)
        return minimum_detectable_drop(tail, classes, Level(-math.log(alpha), 0.0, 0.0), n_rows=rows, n_looks=1).tail

    assert not seen(best) <= drop, "nothing does with fewer rows than the best bet"
    assert seen(1.7 * best) <= drop + 1e-9


def test_the_figures_of_the_half_percent_class() -> None:
    """Expected tail rows for 1/a = 20: 139 for a drop of 20 %, 3 for extinction; here with the mixture of bets."""
    tail, classes = both_on([995_000, 5_000], planned_looks=1, mass_drop=0.0)
    level = Level(math.log(20), 0.0, 0.0)
    assert rows_to_see_extinction(tail, classes, level, n_looks=1) == pytest.approx(4.9 / 0.005, rel=0.01)
    found = minimum_detectable_drop(tail, classes, level, n_rows=41_796, n_looks=1)
    assert found.tail == pytest.approx(0.2, abs=0.001)


# --- order: more rows and more looks never see less


@settings(max_examples=40, derandomize=True, deadline=None)
@given(n_rows=st.integers(1, 10**6), n_looks=st.integers(1, 60), more=st.integers(2, 10))
def test_more_rows_per_look_never_see_less(n_rows: int, n_looks: int, more: int) -> None:
    few, many = (
        minimum_detectable_drop(*both_on([900, 60, 40]), HALT, n_rows=rows, n_looks=n_looks)
        for rows in (n_rows, more * n_rows)
    )
    for less, better in zip([few.tail, *few.classes], [many.tail, *many.classes], strict=True):
        assert math.isnan(less) or better <= less + 1e-9
        assert math.isnan(less) or 0 < less <= 1


def test_extinction_that_cannot_be_seen_is_nan() -> None:
    found = minimum_detectable_drop(*both_on([900, 95, 5]), HALT, n_rows=20, n_looks=1)
    assert math.isnan(found.tail)
    assert all(map(math.isnan, found.classes[1:]))
    assert found.classes[0] < 1, "the head is seen"


def test_what_a_classifier_puts_there_by_mistake_hides_an_extinction() -> None:
    """Observed 0.75 %, a third of it by mistake: extinction leaves a third, and more rows are needed to see it."""
    needed = []
    for false in (0.0, 0.0025, 0.0075):
        reference = ReferenceRows.of([9_925, 75], false_shares=[0.0, false])
        needed.append(rows_to_see_extinction(*both_on(reference), HALT, n_looks=10))
    assert needed[0] is not None
    assert needed[1] is not None
    assert needed[1] > 2 * needed[0]
    assert needed[2] is None, "all of it is there by mistake: no number of rows shows a loss"


def test_pooled_classes_have_one_figure_together_and_it_stands_last() -> None:
    reference = ReferenceRows.of([5_000, 2_000, 300, 40, 30, 20], max_alone=3)
    tail, classes = both_on(reference)
    found = minimum_detectable_drop(tail, classes, HALT, n_rows=20_000, n_looks=5)
    assert len(found.classes) == 4
    assert found.classes[3] > found.classes[2] > found.classes[1]


def test_a_billion_rows_see_hardly_more_than_the_margin() -> None:
    found = minimum_detectable_drop(*both_on([900, 60, 40]), HALT, n_rows=10**9, n_looks=50)
    assert 0.1 < found.tail < 0.151, "the bet nearest to the bound, 0.9 of it, wins from a drop of 15 % on"
    assert all(0.5 < drop < 0.57 for drop in found.classes)


def test_looks_beyond_all_bounds_take_no_memory() -> None:
    found = minimum_detectable_drop(*both_on([900, 60, 40], planned_looks=10**12), HALT, n_rows=2_000, n_looks=10**12)
    assert 0.1 < found.tail < 0.151


def test_two_classes_are_enough() -> None:
    found = minimum_detectable_drop(*both_on([95, 5]), HALT, n_rows=2_000, n_looks=1)
    assert isinstance(found, DetectableDrops)
    assert (found.n_rows, found.n_looks, len(found.classes)) == (2_000, 1, 2)
    assert found.classes[0] < found.classes[1] < 1
    assert found.tail < 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_rows": 0}, "n_rows and n_looks must be 1 or more, got 0 and 5"),
        ({"n_looks": 0}, "n_rows and n_looks must be 1 or more, got 2000 and 0"),
        ({"n_rows": -1}, "n_rows must be a whole number of rows, 0 or more, got -1"),
        ({"n_rows": 2.5}, "n_rows must be a whole number of rows, 0 or more, got 2.5"),
        ({"n_looks": math.nan}, "n_looks must be a whole number"),
        ({"n_looks": True}, "n_looks must be a whole number"),
    ],
)
def test_a_question_that_makes_no_sense_is_refused_by_the_argument(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(StatisticError, match=message):
        minimum_detectable_drop(*both_on([900, 60, 40]), HALT, **({"n_rows": 2_000, "n_looks": 5} | changes))
