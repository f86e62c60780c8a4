"""Diversity of counts against closed forms, exact integers and outside references.

Outside references, to 1e-6 or better: scipy.stats.entropy; scikit-bio (``hill``, ``chao1``, ``goods_coverage``,
``sobs``, ``singles``); scipy.special.gammaln; mpmath with 50 digits (log-gamma at 1e9); exact integers (rarefaction).
"""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import gammaln
from scipy.stats import entropy

from collapse_guard.errors import StatisticError
from collapse_guard.stats.diversity import chao1, hill_number, missing_mass, rarefied_types, sample_coverage
from collapse_guard.stats.log_gamma import log_rising_excess

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

COUNTS = st.lists(st.integers(0, 40), min_size=1, max_size=12).filter(any)
ORDERS = (0, 0.5, 0.95, 1 - 1e-9, 1, 1 + 1e-9, 1.05, 2, 3.5, 50, math.inf)
laws = settings(max_examples=60, derandomize=True, deadline=None)


def zipf_sample(seed: int) -> NDArray[np.int64]:
    shares = 1 / np.arange(1, 301)
    return np.random.default_rng(seed).multinomial(2_000, shares / shares.sum())


def exact_rarefied(counts: list[int], n_rows: int) -> float:
    total = sum(counts)
    seen = [1 - Fraction(math.comb(total - count, n_rows), math.comb(total, n_rows)) for count in counts]
    return float(sum(seen))


@pytest.mark.parametrize("order", ORDERS)
def test_equal_shares_have_as_many_effective_kinds_as_kinds(order: float) -> None:
    assert hill_number([7] * 12 + [0] * 5, order=order) == pytest.approx(12, rel=1e-12)


def test_hill_numbers_agree_with_scipy_entropy() -> None:
    counts = zipf_sample(1)
    assert hill_number(counts, order=1) == pytest.approx(math.exp(entropy(counts)), rel=1e-12)
    assert hill_number(counts, order=2) == pytest.approx(
        counts.sum() ** 2 / (counts.astype(float) ** 2).sum(), rel=1e-12
    )
    assert hill_number(counts, order=0) == (counts > 0).sum()


def test_richness_agrees_with_scikit_bio() -> None:
    alpha = pytest.importorskip("skbio.diversity.alpha", reason="scikit-bio is not installed")
    for seed in range(5):
        counts = zipf_sample(seed)
        assert chao1(counts) == pytest.approx(alpha.chao1(counts, bias_corrected=True), rel=1e-6)
        assert sample_coverage(counts) == pytest.approx(alpha.goods_coverage(counts), rel=1e-6)
        assert missing_mass(counts) == pytest.approx(alpha.singles(counts) / counts.sum(), rel=1e-6)
        assert hill_number(counts, order=0) == alpha.sobs(counts)
        for order in (0.5, 1, 2, 3.5, math.inf):
            assert hill_number(counts, order=order) == pytest.approx(alpha.hill(counts, order=order), rel=1e-6)


@laws
@given(counts=COUNTS)
def test_hill_numbers_fall_with_their_order_and_stay_among_the_kinds(counts: list[int]) -> None:
    values = [hill_number(counts, order=order) for order in ORDERS]
    assert all(later <= earlier * (1 + 1e-9) for earlier, later in pairwise(values))
    assert all(1 <= value <= sum(count > 0 for count in counts) for value in values)


@laws
@given(counts=COUNTS)
def test_hill_numbers_are_continuous_at_order_one(counts: list[int]) -> None:
    at_one = hill_number(counts, order=1)
    for order in (1 - 1e-13, 1 + 1e-13, 1 - 1e-7, 1 + 1e-7):
        assert hill_number(counts, order=order) == pytest.approx(at_one, rel=1e-5)


@laws
@given(counts=COUNTS, factor=st.integers(2, 9))
def test_hill_numbers_depend_on_shares_alone(counts: list[int], factor: int) -> None:
    for order in ORDERS:
        scaled = hill_number([count * factor for count in counts], order=order)
        assert scaled == pytest.approx(hill_number(counts, order=order), rel=1e-9)


@laws
@given(counts=COUNTS, data=st.data())
def test_rarefied_types_agree_with_exact_integers(counts: list[int], data: st.DataObject) -> None:
    n_rows = data.draw(st.integers(1, sum(counts)))
    assert rarefied_types(counts, n_rows=n_rows) == pytest.approx(exact_rarefied(counts, n_rows), rel=1e-12)


def test_rarefying_to_one_row_gives_one_kind_and_to_all_rows_gives_all() -> None:
    counts = zipf_sample(2)
    assert rarefied_types(counts, n_rows=1) == pytest.approx(1, rel=1e-12)
    assert rarefied_types(counts, n_rows=int(counts.sum())) == (counts > 0).sum()


def test_rarefied_types_hold_at_a_billion_rows() -> None:
    mp = pytest.importorskip("mpmath", reason="mpmath is not installed").mp
    counts, n_rows = [10**9 - 10**6 - 1_011, 10**6, 1_000, 10, 1], 10**6
    mp.dps = 50
    total = sum(counts)
    ways = [mp.binomial(total - count, n_rows) / mp.binomial(total, n_rows) for count in counts[1:]]
    assert rarefied_types(counts, n_rows=n_rows) == pytest.approx(float(1 + sum(1 - way for way in ways)), rel=1e-10)


def test_good_turing_and_chao1_have_their_closed_forms() -> None:
    counts = [9, 1, 1, 1, 2, 2, 0]
    assert missing_mass(counts) == 3 / 16
    assert sample_coverage(counts) == 13 / 16
    assert chao1(counts) == 6 + 3 * 2 / (2 * 3)
    assert chao1([4, 3]) == 2
    assert missing_mass([1]) == 1


def test_good_turing_is_unbiased_for_the_missing_mass() -> None:
    shares = np.array([0.5, 0.2, 0.1, 0.1, 0.06, 0.04])
    samples = np.random.default_rng(0).multinomial(12, shares, size=4_000)
    missed = np.where(samples == 0, shares, 0.0).sum(axis=1).mean()
    estimate = np.mean([missing_mass(sample) for sample in samples])
    expected = (shares * (1 - shares) ** 11).sum()  # Good: the estimate's mean is the missing mass at n - 1
    assert estimate == pytest.approx(expected, abs=0.01)
    assert missed < estimate


@pytest.mark.parametrize("base", [1e-12, 1e-3, 0.5, 1.0, 11.0, 1e3, 1e8, 1e10, 1e14])
@pytest.mark.parametrize("steps", [2, 5, 12, 13, 100, 10**6, 4_900_000, 10**9])
def test_log_rising_excess_agrees_with_fifty_digits(base: float, steps: int) -> None:
    mp = pytest.importorskip("mpmath", reason="mpmath is not installed").mp
    mp.dps = 50
    start = mp.mpf(base)
    exact = mp.loggamma(start + steps) - mp.loggamma(start) - steps * mp.log(start)
    assert float(log_rising_excess(base, steps)) == pytest.approx(float(exact), rel=1e-13)


def test_log_rising_excess_agrees_with_scipy_where_scipy_does_not_cancel() -> None:
    base, steps = np.meshgrid([0.05, 0.7, 3.0, 40.0], np.arange(0, 60))
    expected = gammaln(base + steps) - gammaln(base) - steps * np.log(base)
    np.testing.assert_allclose(log_rising_excess(base, steps), expected, rtol=1e-10, atol=1e-12)
    assert (log_rising_excess(base[:2], steps[:2]) == 0).all()


FIGURES: list[Callable[[Any], float]] = [
    lambda counts: hill_number(counts, order=1),
    lambda counts: rarefied_types(counts, n_rows=1),
    missing_mass,
    sample_coverage,
    chao1,
]


@pytest.mark.parametrize("figure", FIGURES)
@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ([3, -1], r"counts\[1\] is -1"),
        ([0.5, 0.5], "counts must be whole numbers"),
        ([float("nan"), 1], "counts must be whole numbers"),
        ([], "counts must be a non-empty 1-D array"),
        ([0, 0], "counts are all zero; a look needs rows"),
        ([[1, 2]], "counts must be a non-empty 1-D array"),
    ],
)
def test_counts_that_are_none_are_refused_by_name(figure: Callable[[Any], float], counts: Any, message: str) -> None:
    with pytest.raises(StatisticError, match=message) as caught:
        figure(counts)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("order", [-1, float("nan"), "1", None, True])
def test_an_order_that_is_none_is_refused(order: Any) -> None:
    with pytest.raises(StatisticError, match="order must be a number, 0 or more"):
        hill_number([1, 2], order=order)


@pytest.mark.parametrize(
    ("n_rows", "message"),
    [(0, "n_rows must be a whole number, 1 or more"), (2.0, "n_rows must be"), (4, "n_rows is 4, counts hold 3 rows")],
)
def test_a_sample_is_never_rarefied_to_nothing_or_to_more(n_rows: Any, message: str) -> None:
    with pytest.raises(StatisticError, match=message):
        rarefied_types([2, 1], n_rows=n_rows)


def test_one_kind_and_a_billion_rows_are_no_trouble() -> None:
    assert [hill_number([10**9], order=order) for order in ORDERS] == [1.0] * len(ORDERS)
    assert chao1([10**9, 10**9]) == 2
    assert hill_number([10**9, 10**9], order=1e300) == pytest.approx(2)
    assert rarefied_types([10**9, 10**9], n_rows=2) == pytest.approx(1.5, rel=1e-8)
