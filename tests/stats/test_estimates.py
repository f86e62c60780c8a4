"""Intervals against scipy, statsmodels' figures, closed forms, and the level that they must keep."""

from __future__ import annotations

import math
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize
from scipy import stats as reference

from collapse_guard.errors import StatisticError
from collapse_guard.stats.estimates import corrected_share, normal_score, rows_for_half_width, share_ratio, slope

COUNTS = st.integers(1, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


class TestShareRatio:
    @pytest.mark.parametrize(
        ("counts", "low", "high"),
        [  # statsmodels 0.14.6: confint_proportions_2indep(..., compare="ratio", method="score", correction=False)
            ((36, 40, 16, 80), 2.9395691922, 7.1522234349),
            ((8, 15, 4, 15), 0.8150135394, 5.3363168463),
            ((11, 12, 480, 1000), 1.3408555642, 2.1264825147),
        ],
    )
    def test_ends_are_those_of_another_implementation(
        self, counts: tuple[int, int, int, int], low: float, high: float
    ) -> None:
        assert share_ratio(*counts, level=0.95)[1:] == pytest.approx((low, high), rel=1e-8)

    @given(COUNTS, COUNTS)
    def test_it_holds_one_where_pearsons_test_does_not_reject(
        self, first: tuple[int, int], second: tuple[int, int]
    ) -> None:
        (hits, rows), (base_hits, base_rows) = first, second
        table = [[hits, rows - hits], [base_hits, base_rows - base_hits]]
        if 0 in (hits + base_hits, rows + base_rows - hits - base_hits):
            return
        p_value = reference.chi2_contingency(table, correction=False).pvalue
        found = share_ratio(hits, rows, base_hits, base_rows, level=0.95)
        if abs(p_value - 0.05) > 1e-9:
            assert (found.low <= 1 <= found.high) == (p_value > 0.05)

    @given(COUNTS, COUNTS)
    def test_the_ratio_the_other_way_round_is_the_reciprocal(
        self, first: tuple[int, int], second: tuple[int, int]
    ) -> None:
        found, turned = share_ratio(*first, *second, level=0.9), share_ratio(*second, *first, level=0.9)
        if first[0] or second[0]:
            assert found.low <= found.value <= found.high
        for end, other in ((found.low, turned.high), (found.high, turned.low)):
            assert end == pytest.approx(1 / other if other else math.inf, rel=1e-6)

    def test_with_many_rows_it_is_the_interval_on_the_log_scale(self) -> None:
        found = share_ratio(40_000, 1_000_000, 20_000, 1_000_000, level=0.95)
        katz = reference.contingency.relative_risk(40_000, 1_000_000, 20_000, 1_000_000).confidence_interval(0.95)
        assert found[1:] == pytest.approx((katz.low, katz.high), rel=1e-4)

    @pytest.mark.parametrize(("rows", "base_rows"), [(8, 40), (20, 200)])
    @pytest.mark.parametrize(("share", "base"), [(0.5, 0.5), (0.75, 0.5), (0.1, 0.3), (0.95, 0.6)])
    def test_the_lower_end_is_above_the_truth_no_oftener_than_it_may(
        self, rows: int, base_rows: int, share: float, base: float
    ) -> None:
        chances = np.outer(
            reference.binom.pmf(np.arange(rows + 1), rows, share),
            reference.binom.pmf(np.arange(base_rows + 1), base_rows, base),
        )
        wrong = 0.0
        for hits, base_hits in product(range(rows + 1), range(base_rows + 1)):
            if chances[hits, base_hits] > 1e-9:
                low = share_ratio(hits, rows, base_hits, base_rows, level=0.95).low
                wrong += chances[hits, base_hits] * (low > share / base)
        assert wrong < 0.045  # 0.025 at the limit; a score interval of few rows may pass it a little

    def test_no_hits_at_all_say_nothing(self) -> None:
        found = share_ratio(0, 9, 0, 9, level=0.95)
        assert math.isnan(found.value)
        assert found[1:] == (0, math.inf)

    def test_huge_counts_keep_their_order(self) -> None:
        n = 1 << 62
        found = share_ratio(n // 2, n, n // 4, n, level=0.95)
        assert 1.99 < found.low <= found.value <= found.high < 2.01

    @pytest.mark.parametrize("counts", [(2, 1, 0, 1), (0, 0, 0, 1), (-1, 1, 0, 1), (0, 1, 0, 0)])
    def test_counts_that_are_none_are_refused(self, counts: tuple[int, int, int, int]) -> None:
        with pytest.raises(StatisticError, match="need 0 <= hits <= rows"):
            share_ratio(*counts, level=0.95)


def rates(wrong: float, missed: float, n: int) -> dict[str, Any]:
    return {"false_positives": wrong, "false_negatives": missed, "n_real_rows": n, "n_synthetic_rows": n}


class TestCorrectedShare:
    @pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 1.0])
    def test_a_perfect_detector_gives_agresti_coull(self, share: float) -> None:
        n, z = 500, normal_score(0.95)
        found = corrected_share(share, n, level=0.95, **rates(0.0, 0.0, 10**12))
        wilson = reference.binomtest(round(share * n), n).proportion_ci(method="wilson")
        middle = (share * n + z * z / 2) / (n + z * z)
        half = z * math.sqrt(middle * (1 - middle) / (n + z * z))
        assert found.value == share
        assert found[1:] == pytest.approx((max(middle - half, 0), min(middle + half, 1)), abs=1e-9)
        assert found.low <= wilson.low + 1e-9
        assert found.high >= wilson.high - 1e-9

    @pytest.mark.parametrize("truth", [0.0, 0.03, 0.3, 0.9])
    @pytest.mark.parametrize(("wrong", "missed"), [(0.02, 0.1), (0.2, 0.15)])
    def test_it_covers_the_truth_as_often_as_it_says(self, truth: float, wrong: float, missed: float) -> None:
        rng = np.random.default_rng(7)
        n, tried, times = 1000, 200, 1500
        flagged = rng.binomial(n, truth * (1 - missed) + (1 - truth) * wrong, times) / n
        seen = rng.binomial(tried, wrong, times) / tried, rng.binomial(tried, missed, times) / tried
        held = 0
        for share, false_positives, false_negatives in zip(flagged, *seen, strict=True):
            found = corrected_share(
                float(share), n, level=0.95, **rates(float(false_positives), float(false_negatives), tried)
            )
            held += found.low <= truth <= found.high
        assert held / times > 0.935

    def test_a_clean_corpus_is_flagged_by_its_detectors_errors_alone(self) -> None:
        found = corrected_share(0.02, 5000, level=0.95, **rates(0.02, 0.1, 5000))
        assert (found.value, found.low) == (0.0, 0.0)

    @pytest.mark.parametrize(
        ("wrong", "missed", "n_real_rows", "said"),
        [
            (0.5, 0.5, 100, "is no better than chance"),
            (0.9, 0.3, 100, "is no better than chance"),
            (0.0, 0.9, 1, "1 real and 100 synthetic rows are too few to know a detector"),
        ],
    )
    def test_a_detector_no_better_than_chance_is_refused(
        self, wrong: float, missed: float, n_real_rows: int, said: str
    ) -> None:
        asked = rates(wrong, missed, 100) | {"n_real_rows": n_real_rows}
        with pytest.raises(StatisticError, match=said):
            corrected_share(0.1, 100, level=0.95, **asked)

    @given(*[st.floats(0, 1)] * 3, st.integers(1, 10_000), st.integers(1, 10_000), st.floats(0.01, 0.999))
    @settings(max_examples=300)
    def test_it_is_a_share_and_holds_its_estimate(
        self, flagged: float, wrong: float, missed: float, n: int, tried: int, level: float
    ) -> None:
        try:
            found = corrected_share(flagged, n, level=level, **rates(wrong, missed, tried))
        except StatisticError:
            return
        assert 0 <= found.low <= found.value <= found.high <= 1


class TestSlope:
    def test_it_is_that_of_another_implementation(self) -> None:
        times, values = [0.0, 0.5, 1.2, 2.0, 2.9], [0.01, 0.05, 0.04, 0.12, 0.14]
        errors = [0.01, 0.03, 0.02, 0.01, 0.04]
        found = slope(times, values, errors, level=0.9)
        best, covariance = optimize.curve_fit(
            lambda time, a, b: a + b * time, times, values, sigma=errors, absolute_sigma=True
        )
        half = normal_score(0.9) * math.sqrt(covariance[1, 1])
        assert found == pytest.approx((best[1], best[1] - half, best[1] + half), rel=1e-5)

    @pytest.mark.parametrize(
        ("times", "errors"),
        [([1.0, 1.0], [0.1, 0.1]), ([1.0], [0.1]), ([], []), ([1.0, 2.0], [0.1, 0.0]), ([1.0, 2.0], [5e-324, 1.0])],
    )
    def test_a_line_needs_two_times_and_errors(self, times: list[float], errors: list[float]) -> None:
        with pytest.raises(StatisticError):
            slope(times, [0.1] * len(times), errors, level=0.95)

    def test_tiny_errors_do_not_vanish(self) -> None:
        assert slope([0.0, 1.0], [0.0, 1e-200], [1e-200, 1e-200], level=0.95).value == pytest.approx(1e-200)


class TestRowsForHalfWidth:
    @pytest.mark.parametrize("share", [0.0, 0.01, 0.25, 0.5, 1.0])
    @pytest.mark.parametrize("half_width", [0.2, 0.05, 0.003])
    def test_it_is_the_least_number_of_rows(self, share: float, half_width: float) -> None:
        def half(n: int) -> float:
            z = normal_score(0.95)
            return z / (n + z * z) * math.sqrt(n * share * (1 - share) + z * z / 4)

        n = rows_for_half_width(share, half_width, level=0.95)
        assert half(n) <= half_width * (1 + 1e-9)
        assert n == 1 or half(n - 1) > half_width

    def test_the_width_is_that_of_another_implementation(self) -> None:
        n = rows_for_half_width(0.25, 0.02, level=0.95)
        ends = reference.binomtest(round(n / 4), n).proportion_ci(0.95, method="wilson")
        assert (ends.high - ends.low) / 2 == pytest.approx(0.02, rel=1e-3)

    def test_it_is_the_normal_formula_in_the_middle(self) -> None:
        # statsmodels 0.14.6: samplesize_confint_proportion(0.5, 0.01, 0.05) is 9603.65
        assert rows_for_half_width(0.5, 0.01, level=0.95) == pytest.approx(9603.65, abs=5)

    @pytest.mark.parametrize(("share", "half_width"), [(-0.1, 0.1), (1.1, 0.1), (0.5, 0.0), (0.5, math.nan)])
    def test_figures_that_are_none_are_refused(self, share: float, half_width: float) -> None:
        with pytest.raises(StatisticError, match="must lie in"):
            rows_for_half_width(share, half_width, level=0.95)


@pytest.mark.parametrize("level", [0.0, 1.0, -1.0, math.nan])
def test_a_level_lies_between_none_and_all(level: float) -> None:
    with pytest.raises(StatisticError, match="level must lie in"):
        normal_score(level)


def test_a_slope_keeps_its_digits_where_one_date_is_far_surer_than_the_others() -> None:
    found = slope([2026.0, 2026.25, 2026.5], [0.2, 0.3, 0.1], [1.0, 1e-6, 1.0], level=0.95)
    assert found.value == pytest.approx(-0.2, abs=1e-9)
