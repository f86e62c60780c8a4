"""Exact binomial tails and Clopper-Pearson bounds, against scipy.stats and closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import betainc
from scipy.stats import beta, binom

from collapse_guard.errors import StatisticError
from collapse_guard.stats.binomial import beta_share, lower_shares
from collapse_guard.stats.fixed_set import at_most


@settings(max_examples=300, derandomize=True, deadline=None)
@given(
    a=st.one_of(st.integers(1, 40), st.integers(1, 10**9)),
    b=st.one_of(st.integers(1, 40), st.integers(1, 10**9)),
    z=st.floats(-7, 7),
)
def test_the_incomplete_beta_function_agrees_with_scipy_around_its_mean(a: int, b: int, z: float) -> None:
    mean = a / (a + b)
    width = math.sqrt(a * b / ((a + b) ** 2 * (a + b + 1)))
    x = min(max(mean + z * width, 1e-12), 1 - 1e-12)
    found, expected = float(beta_share(a, b, x)), float(betainc(a, b, x))
    assert found == pytest.approx(expected, rel=1e-6, abs=1e-12)


def test_the_incomplete_beta_function_at_its_ends_and_in_closed_form() -> None:
    assert beta_share(3, 4, [0.0, 1.0]).tolist() == [0.0, 1.0]
    x = np.linspace(0.01, 0.99, 50)
    np.testing.assert_allclose(beta_share(1, 7, x), 1 - (1 - x) ** 7, rtol=1e-12)
    np.testing.assert_allclose(beta_share(5, 1, x), x**5, rtol=1e-12)
    np.testing.assert_allclose(beta_share(4, 9, x) + beta_share(9, 4, 1 - x), 1, rtol=1e-12)


@pytest.mark.parametrize("n_rows", [1, 2, 50, 2_000, 10**6, 10**9])
@pytest.mark.parametrize("error", [0.3, 0.025, 1e-6])
def test_clopper_pearson_bounds_agree_with_scipy(n_rows: int, error: float) -> None:
    rng = np.random.default_rng(n_rows)
    few = rng.integers(0, min(n_rows, 3_000) + 1, 12)
    counts = np.unique(np.concatenate([few, rng.integers(0, n_rows + 1, 12), [0, 1, n_rows - 1, n_rows]]))
    low = np.where(counts > 0, beta.ppf(error, np.maximum(counts, 1), n_rows - counts + 1), 0)
    np.testing.assert_allclose(lower_shares(counts, n_rows, error=error), low, rtol=1e-9)


def test_the_bounds_are_the_stated_parts_of_what_was_seen() -> None:
    n_rows = 10**6
    counts = np.array([10, 25, 100, 400, 1_000])
    ratios = lower_shares(counts, n_rows, error=0.025) / (counts / n_rows)
    np.testing.assert_allclose(ratios, [0.48, 0.65, 0.81, 0.91, 0.94], atol=0.006)


def test_the_lower_bound_covers_as_often_as_it_says() -> None:
    """By enumeration: P(bound above the true share) is at most the error, for every true share."""
    n_rows, error = 40, 0.05
    counts = np.arange(n_rows + 1)
    bounds = lower_shares(counts, n_rows, error=error)
    for share in np.linspace(0.01, 0.99, 99):
        wrong = binom.pmf(counts, n_rows, share)[bounds > share].sum()
        assert wrong <= error + 1e-9


@pytest.mark.parametrize(("n_rows", "share"), [(10, 0.3), (2_000, 0.005), (10**6, 0.37), (10**9, 1e-7)])
def test_the_probability_of_at_most_so_many_rows_is_exact(n_rows: int, share: float) -> None:
    mean = n_rows * share
    rows = np.unique(np.clip(np.round(mean + np.arange(-6, 7) * math.sqrt(mean + 1)), 0, n_rows).astype(np.int64))
    found = at_most(rows, n_rows, np.full(rows.size, share))
    np.testing.assert_allclose(found, binom.cdf(rows, n_rows, share), rtol=1e-6, atol=1e-15)


def test_the_ends_of_a_binomial_tail() -> None:
    assert at_most(np.array([10, 0, 3]), 10, np.array([0.5, 0.0, 0.0])).tolist() == [1.0, 1.0, 1.0]


@pytest.mark.parametrize("error", [0.0, 1.0, -0.1, math.nan])
def test_an_error_that_is_no_probability_is_refused(error: float) -> None:
    with pytest.raises(StatisticError, match=r"error must lie in \(0, 1\), got"):
        lower_shares(np.array([1]), 10, error=error)
