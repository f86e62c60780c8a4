"""Quantiles of the number of classes alive: against convolution, scipy and the Poisson limit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, poisson

from collapse_guard.stats.occupancy import alive_quantile

if TYPE_CHECKING:
    from numpy.typing import NDArray

LEVELS = (0.001, 0.1, 0.5, 0.9, 0.999)


def convolved(chances: NDArray[np.float64]) -> NDArray[np.float64]:
    law = np.ones(1)
    for chance in chances:
        law = np.convolve(law, [1 - chance, chance])
    return np.cumsum(law)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=40), st.sampled_from(LEVELS))
@settings(derandomize=True, deadline=None)
def test_quantiles_of_few_classes_are_exact(chances: list[float], level: float) -> None:
    found, below = alive_quantile(np.array(chances), level), convolved(np.array(chances))
    assert below[found] >= level - 1e-9
    assert found == 0 or below[found - 1] < level + 1e-9


@pytest.mark.parametrize("n_classes", [500, 3_000])
@pytest.mark.parametrize("shape", [0.1, 1.0, 3.0])
@pytest.mark.parametrize("level", LEVELS)
def test_quantiles_of_many_classes_are_off_by_one_at_most(n_classes: int, shape: float, level: float) -> None:
    chances = np.random.default_rng(n_classes).beta(shape, 2 * shape, n_classes)
    assert abs(alive_quantile(chances, level) - np.searchsorted(convolved(chances), level)) <= 1


@pytest.mark.parametrize("level", LEVELS)
def test_a_hundred_thousand_classes_agree_with_outside_references(level: float) -> None:
    assert alive_quantile(np.full(100_000, 2e-5), level) == poisson(2).ppf(level)
    assert abs(alive_quantile(np.full(100_000, 0.3), level) - binom(100_000, 0.3).ppf(level)) <= 1


@pytest.mark.parametrize("level", [0.0001, 0.9999])
@pytest.mark.parametrize("chance", [0.01, 0.99])
def test_skewed_laws_are_hit_far_out(chance: float, level: float) -> None:
    assert abs(alive_quantile(np.full(20_000, chance), level) - binom(20_000, chance).ppf(level)) <= 1


@pytest.mark.parametrize(("chances", "alive"), [([0.0], 0), ([1.0], 1), ([1.0] * 300, 300), ([0.0] * 300, 0)])
def test_what_is_certain_has_no_spread(chances: list[float], alive: int) -> None:
    assert {alive_quantile(np.array(chances), level) for level in LEVELS} == {alive}


def test_a_class_at_one_half_is_no_trap() -> None:
    assert [alive_quantile(np.full(8, 0.5), level) for level in (0.1, 0.5, 0.9)] == [2, 4, 6]
