"""The bound on a share under its floor: above the exact tails, with and without replacement, and over many checks."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, hypergeom

from collapse_guard.errors import StatisticError
from collapse_guard.stats import log_level_of_check, log_p_share_below, units_that_count


@settings(max_examples=200, derandomize=True, deadline=None)
@given(n_rows=st.integers(1, 500), share=st.floats(0, 1), floor=st.floats(0.01, 0.99))
def test_the_bound_is_over_the_exact_binomial_tail(n_rows: int, share: float, floor: float) -> None:
    n_hits = int(share * n_rows)
    assert log_p_share_below(n_hits, n_rows, floor) >= binom.logcdf(n_hits, n_rows, floor) - 1e-9


@settings(max_examples=200, derandomize=True, deadline=None)
@given(n_rows=st.integers(1, 200), more=st.integers(0, 200), share=st.floats(0, 1), real=st.floats(0.01, 0.99))
def test_the_bound_is_over_the_exact_tail_without_replacement(
    n_rows: int, more: int, share: float, real: float
) -> None:
    n_all = n_rows + more
    n_real = max(int(real * n_all), 1)
    n_hits = int(share * n_rows)
    exact = hypergeom.logcdf(n_hits, n_all, n_real, n_rows)
    assert log_p_share_below(n_hits, n_rows, n_real / n_all) >= exact - 1e-9


@pytest.mark.parametrize(
    ("n_hits", "n_rows", "floor", "expected"),
    [
        (0, 10, 0.5, -10 * math.log(2)),
        (5, 10, 0.5, 0.0),
        (0, 0, 0.5, 0.0),
        (9, 10, 1.0, -math.inf),
        (10, 10, 1.0, 0.0),
        (0, 10, 0.0, 0.0),
    ],
)
def test_closed_forms(n_hits: int, n_rows: int, floor: float, expected: float) -> None:
    assert log_p_share_below(n_hits, n_rows, floor) == pytest.approx(expected)


@pytest.mark.parametrize(("n_hits", "n_rows", "floor"), [(-1, 10, 0.5), (11, 10, 0.5), (1, 2, 1.1), (1, 2, math.nan)])
def test_what_is_no_share_is_refused(n_hits: int, n_rows: int, floor: float) -> None:
    with pytest.raises(StatisticError, match="against a floor of"):
        log_p_share_below(n_hits, n_rows, floor)


def test_the_levels_of_all_checks_add_up_to_alpha() -> None:
    spent = sum(math.exp(log_level_of_check(0.01, number)) for number in range(1, 100_000))
    assert spent == pytest.approx(0.01, rel=1e-4)
    assert spent < 0.01


def test_a_shuffled_loader_at_its_floor_hardly_ever_gets_there() -> None:
    """Two epochs of 4,000 rows, half real, in checks of 100 rows: 2,000 runs at level 5 %, the bound is 100 of them."""
    rng, alpha, n_halted = np.random.default_rng(0), 0.05, 0
    rows = np.repeat([0, 1], 2000)
    for _ in range(2000):
        stream = np.concatenate([rng.permutation(rows), rng.permutation(rows)])
        hits = np.cumsum(stream)[99::100]
        n_halted += any(
            log_p_share_below(int(seen), 100 * number, 0.5) <= log_level_of_check(alpha, number)
            for number, seen in enumerate(hits, start=1)
        )
    assert n_halted <= 100


@settings(max_examples=200, derandomize=True, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), min_size=1, max_size=30),
    st.floats(0.05, 0.95),
)
def test_units_are_worth_the_sum_of_values_in_the_unit_interval(units: list[tuple[int, int]], floor: float) -> None:
    largest = max(*(hits + others for hits, others in units), 1)
    values = [floor + (hits - floor * (hits + others)) / largest for hits, others in units]
    assert all(-1e-12 <= value <= 1 + 1e-12 for value in values)
    n_hits, n_parts = sum(hits for hits, _ in units), sum(map(sum, units))
    found = units_that_count(n_hits, n_parts, len(units), largest=largest, floor=floor)
    assert found == pytest.approx(sum(values), abs=1e-9)
