"""References: exact or sampled, which cells stand alone, and what a classifier's mistakes hide."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy.stats import beta

from collapse_guard import testing
from collapse_guard.errors import StatisticError
from collapse_guard.stats import ClassEvidence, Dilution, ReferenceRows, TailEvidence
from collapse_guard.stats.groups import grouped

ROWS = (5_000, 2_000, 300, 120, 99, 40, 0)
ALL = np.arange(len(ROWS))
DROPS: dict[str, Any] = {"tail_mass": 0.1, "max_mass_drop": 0.1, "max_coverage_drop": 0.5, "planned_looks": 50}


def test_an_exact_reference_guards_every_class_that_has_rows_alone() -> None:
    groups = grouped(ReferenceRows.of(ROWS), ALL, max_drop=0.5, error=0.0)
    assert (groups.alone.tolist(), groups.pooled.tolist()) == ([0, 1, 2, 3, 4, 5], [])
    np.testing.assert_allclose(groups.bounds, 0.5 * np.array(ROWS[:6]) / sum(ROWS))


def test_a_sampled_reference_pools_classes_under_a_hundred_rows_and_keeps_its_bounds() -> None:
    reference = ReferenceRows.of(ROWS, n_unclaimed_rows=441, error=0.01, min_alone_rows=100)
    groups = grouped(reference, ALL, max_drop=0.5, error=reference.error)
    assert (groups.alone.tolist(), groups.pooled.tolist()) == ([0, 1, 2, 3], [4, 5, 6])
    held = np.array([5_000, 2_000, 300, 120, 139])
    error = np.array([0.01 / 2 / 7] * 4 + [0.01 / 2])  # over all seven cells that could have stood alone, and the rest
    np.testing.assert_allclose(groups.bounds, 0.5 * beta.ppf(error, held, 8_000 - held + 1), rtol=1e-9)
    np.testing.assert_allclose(groups.shares, held / 8_000)
    assert groups.rows_of(np.array([1, 2, 3, 4, 5, 6, 7])).tolist() == [1, 2, 3, 4, 18]


def test_no_more_than_so_many_classes_are_guarded_alone_the_largest_first() -> None:
    groups = grouped(ReferenceRows.of(ROWS, max_alone=2), ALL, max_drop=0.5, error=0.0)
    assert (groups.alone.tolist(), groups.pooled.tolist()) == ([0, 1], [2, 3, 4, 5])


def test_pooled_classes_have_evidence_together_and_none_of_their_own() -> None:
    evidence = ClassEvidence.start(ReferenceRows.of(ROWS, max_alone=2), max_class_drop=0.5, planned_looks=50)
    result = evidence.update([5_200, 2_100, 10, 5, 3, 1, 0]).compute()
    assert result.log_e_pooled > math.log(100)
    assert [result.log_e_of(cell) for cell in range(7)][2:] == [-math.inf] * 5
    alone = [result.log_e_of(0), result.log_e_of(1), result.log_e_pooled]
    assert result.log_e == pytest.approx(math.log(np.exp(alone).mean()))


@pytest.mark.parametrize("error", [0.0, 0.001, 0.01])
def test_a_sampled_reference_never_weighs_more_than_the_same_rows_taken_as_exact(error: float) -> None:
    exact, sampled = ReferenceRows.of(ROWS), ReferenceRows.of(ROWS, error=error)
    look = [5_400, 2_000, 60, 30, 20, 4, 0]
    for kind, settings in ((TailEvidence, DROPS), (ClassEvidence, {"max_class_drop": 0.5, "planned_looks": 50})):
        start: Any = kind.start
        assert start(sampled, **settings).update(look).compute().log_e <= (
            start(exact, **settings).update(look).compute().log_e + 1e-12
        )


@pytest.mark.slow
def test_a_sample_as_reference_halts_healthy_runs_no_more_often_than_stated() -> None:
    """Two samples of one population, one as the reference: margins of 0, so that only the bounds protect."""
    rng = np.random.default_rng(7)
    shares = np.array([0.55, 0.3, 0.06, 0.05, 0.04])
    n_runs, n_over, error, alpha = 60, 0, 0.05, 0.05
    for _ in range(n_runs):
        reference = ReferenceRows.of(rng.multinomial(1_500, shares), error=error, min_alone_rows=100)
        evidence = ClassEvidence.start(reference, max_class_drop=0.0, planned_looks=20)
        top = -math.inf
        for _ in range(20):
            evidence = evidence.update(rng.multinomial(1_500, shares))
            top = max(top, evidence.compute().log_e)
        n_over += top >= -math.log(alpha)
    assert n_over / n_runs <= error + alpha
    lucky = [70, 45, 15, 12, 8]  # 150 rows, rich in rare ones
    naive = ClassEvidence.start(lucky, max_class_drop=0.0, planned_looks=20)
    for _ in range(20):
        naive = naive.update(rng.multinomial(15_000, shares))
    assert naive.compute().log_e > math.log(1_000), "without bounds a small sample condemns its own population"


def test_an_explicit_tail_may_hold_cells_that_the_reference_never_saw() -> None:
    evidence = TailEvidence.start([900, 100, 0, 0], tail=(2, 3), **DROPS)
    result = evidence.update([900, 100, 5, 0]).compute()
    assert math.isnan(result.tail_mass_ratio)
    assert result.log_e <= 0
    assert TailEvidence.start([900, 100, 0, 0], tail=(1,), **DROPS).tail == (1,)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"error": 1.0}, r"error must lie in \[0, 1\), got 1.0"),
        ({"error": -0.1}, r"error must lie in \[0, 1\)"),
        ({"error": math.nan}, r"error must lie in \[0, 1\)"),
        ({"max_alone": 0}, "max_alone must be 1 or more, got 0"),
        ({"max_alone": 2.5}, "max_alone must be a whole number"),
        ({"min_alone_rows": -1}, "min_alone_rows must be a whole number"),
        ({"n_unclaimed_rows": -1}, "reference_unclaimed_rows must be a whole number"),
        ({"false_shares": [0.5]}, r"false_shares must hold one share in \[0, 1\] for each of 7 cells"),
        ({"false_shares": [2.0] * 7}, "false_shares must hold one share"),
        ({"enough": [math.nan] * 7}, "enough must hold one share"),
    ],
)
def test_a_reference_that_makes_no_sense_is_refused_by_the_argument(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(StatisticError, match=message):
        ReferenceRows.of(ROWS, **changes)


def test_a_reference_is_a_frozen_value_of_plain_state() -> None:
    reference = ReferenceRows.of(
        ROWS, error=0.01, min_alone_rows=100, max_alone=3, false_shares=[0.01] * 7, enough=[0.1] * 7
    )
    testing.check_frozen(reference)
    testing.check_json_state(reference)
    assert ReferenceRows.of(reference) is reference


# --- a classifier's mistakes (science.md 3.7)


def test_extinction_of_a_rare_class_shows_as_sixty_percent_and_a_fifth_as_twelve() -> None:
    rare = Dilution((0.005,), (0.9,), (0.003,))
    assert rare.observed()[0] == pytest.approx(0.9 * 0.005 + 0.003 * 0.995)
    assert rare.visible()[0] == pytest.approx(0.6, abs=0.01)
    assert 0.2 * rare.visible()[0] == pytest.approx(0.12, abs=0.002)
    assert rare.too_noisy() == (0,)
    assert Dilution((0.005,), (0.9,), (0.002,)).too_noisy() == ()


def test_rates_are_counted_on_labelled_rows() -> None:
    true = np.array([0] * 90 + [1] * 10)
    found = np.array([0] * 85 + [1] * 3 + [-1] * 2 + [1] * 8 + [0] * 2)
    rates = Dilution.of_labels(true, found, n_cells=2)
    assert rates.shares == (0.9, 0.1)
    np.testing.assert_allclose(rates.hit_rates, [85 / 90, 0.8])
    np.testing.assert_allclose(rates.false_rates, [0.2, 3 / 90])
    np.testing.assert_allclose(rates.observed(), [87 / 100, 11 / 100])
    assert rates.visible()[1] == pytest.approx((0.11 - 3 / 90) / 0.11)


def test_a_perfect_classifier_dilutes_nothing_and_a_blind_one_hides_all() -> None:
    true = np.array([0, 0, 1, 1])
    assert Dilution.of_labels(true, true, n_cells=2).visible() == (1.0, 1.0)
    blind = Dilution.of_labels(true, np.array([0, 1, 0, 1]), n_cells=2)
    assert blind.visible() == (0.0, 0.0)


def test_the_margin_follows_what_mistakes_hide_so_that_extinction_is_still_seen() -> None:
    """A class that dies behind false alarms: with them known, the tolerated half is judged as a half."""
    false = (0.0, 0.003)
    plain = ClassEvidence.start(ReferenceRows.of([9_925, 75]), max_class_drop=0.5, planned_looks=1)
    aware = ClassEvidence.start(ReferenceRows.of([9_925, 75], false_shares=false), max_class_drop=0.5, planned_looks=1)
    gone = [99_700, 300]  # extinct, and still labelled by mistake: 40 % of what it was
    halved = [99_475, 525]  # half of its true rows: 70 % of what it was, within the margin
    assert aware.update(gone).compute().log_e_of(1) > plain.update(gone).compute().log_e_of(1)
    assert aware.update(gone).compute().log_e_of(1) > math.log(100)
    assert aware.update(halved).compute().log_e_of(1) < 0
    tail = TailEvidence.start(ReferenceRows.of([9_925, 75], false_shares=false), **DROPS)
    assert tail.plan().mass_bound[0] == pytest.approx(0.9 * 0.0075 + 0.1 * 0.003)


def test_mistakes_are_judged_alike_against_another_reference_than_they_were_measured_on() -> None:
    """A first model with ten times the class: half of its true rows gone is still within the margin."""
    hit, false = 0.9, 0.003
    before, after = (hit * share + false * (1 - share) for share in (0.05, 0.03))
    reference = ReferenceRows.of([round(1e6 * (1 - before)), round(1e6 * before)], false_shares=(0.0, false))
    evidence = ClassEvidence.start(reference, max_class_drop=0.5, planned_looks=5)
    for _ in range(5):
        evidence = evidence.update([round(1e5 * (1 - after)), round(1e5 * after)])
    assert evidence.compute().log_e_of(1) < 0


def test_what_is_enough_is_enough_however_much_more_the_reference_held() -> None:
    generous = ReferenceRows.of([1_500, 300, 200], error=0.001, enough=[0.9, 0.06, 0.04])
    evidence = ClassEvidence.start(generous, max_class_drop=0.5, planned_looks=50)
    assert evidence.update([1_800, 120, 80]).compute().log_e < 0
    assert evidence.update([1_980, 15, 5]).compute().log_e > 0
    tail = TailEvidence.start(generous, tail=(1, 2), **DROPS)
    assert tail.update([1_800, 120, 80]).compute().log_e < 0


def test_cells_that_a_sample_did_not_hold_are_as_alive_as_the_others() -> None:
    """Fresh rows hit other rare cells than the sample did: dropping those that it missed would overstate the rest."""
    rng = np.random.default_rng(3)
    shares = 1 / np.arange(1, 3_001)
    shares /= shares.sum()
    counts = rng.multinomial(2_000, shares)
    sampled = ReferenceRows.of(counts, error=0.001, min_alone_rows=100)
    groups = grouped(sampled, np.arange(3_000), max_drop=0.0, error=0.001)
    assert groups.alone.size + groups.pooled.size == 3_000
    truth = np.append(shares[groups.alone], shares[groups.pooled].sum())
    assert (groups.bounds <= truth).all()
    seen = grouped(
        ReferenceRows.of(counts, error=0.001, min_alone_rows=100, guarded=tuple(np.flatnonzero(counts))),
        np.arange(3_000),
        max_drop=0.0,
        error=0.001,
    )
    assert seen.bounds[-1] > shares[seen.pooled].sum(), "the rows that chose the cells cannot also measure them"


@pytest.mark.parametrize(
    ("true", "found", "message"),
    [
        ([0, 1], [0], "true holds 2 rows, found 1; label the same rows"),
        ([], [], "true must be a non-empty 1-D integer array"),
        ([0, 1], [0.0, 1.0], "found must be a non-empty 1-D integer array"),
        ([0, 2], [0, 1], "true holds cells 0 to 2; allowed are -1 to 1"),
        ([0, 1], [-2, 1], "found holds cells -2 to 1"),
    ],
)
def test_labels_that_cannot_be_compared_are_refused(true: Any, found: Any, message: str) -> None:
    with pytest.raises(StatisticError, match=message):
        Dilution.of_labels(true, found, n_cells=2)
