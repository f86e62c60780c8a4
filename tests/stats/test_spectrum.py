"""Spread of feature rows against closed forms, slow twins over all pairs of rows, and an outside reference.

Outside references, to 1e-6 or better: the ``vendi-score`` package of the authors (``score_dual``); scipy.linalg.svdvals
and scipy.stats.entropy (effective rank); scipy.spatial.distance.cdist (the exact Gaussian kernel).
"""

from __future__ import annotations

import math
import tracemalloc
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import eigvalsh, svdvals
from scipy.spatial.distance import cdist
from scipy.stats import entropy

from collapse_guard.errors import StatisticError
from collapse_guard.stats.spectrum import (
    effective_rank,
    effective_rank_ratio,
    vendi_ratio,
    vendi_score,
    vendi_score_gaussian,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Rows = NDArray[np.float64]

SHAPES = [(60, 5), (5, 60), (30, 30), (200, 1), (2, 3)]


def rows_of(shape: tuple[int, int], seed: int = 0) -> Rows:
    rng = np.random.default_rng(seed)
    return rng.standard_normal(shape) * np.geomspace(1, 0.1, shape[1]) + 0.2


def twin_vendi(kernel: Rows) -> float:
    values = eigvalsh(kernel / len(kernel))
    return math.exp(entropy(np.clip(values, 0, None)))


@pytest.mark.parametrize("shape", SHAPES)
def test_vendi_agrees_with_the_kernel_over_all_pairs(shape: tuple[int, int]) -> None:
    rows = rows_of(shape)
    units = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    assert vendi_score(rows) == pytest.approx(twin_vendi(units @ units.T), rel=1e-6)


@pytest.mark.parametrize("shape", SHAPES)
def test_vendi_agrees_with_its_authors(shape: tuple[int, int]) -> None:
    vendi = pytest.importorskip("vendi_score.vendi", reason="vendi-score is not installed")
    rows = rows_of(shape, seed=1)
    assert vendi_score(rows) == pytest.approx(float(vendi.score_dual(rows)), rel=1e-6)


@pytest.mark.parametrize("shape", SHAPES)
def test_effective_rank_agrees_with_scipy(shape: tuple[int, int]) -> None:
    rows = rows_of(shape, seed=2)
    expected = math.exp(entropy(svdvals(rows - rows.mean(axis=0)) ** 2))
    assert effective_rank(rows) == pytest.approx(expected, rel=1e-6)


def test_random_features_approach_the_gaussian_kernel() -> None:
    rows = np.random.default_rng(3).standard_normal((150, 3))
    exact = twin_vendi(np.exp(-cdist(rows, rows, "sqeuclidean") / (2 * 1.5**2)))
    found = vendi_score_gaussian(rows, bandwidth=1.5, n_features=4_096, seed=0)
    assert found == pytest.approx(exact, rel=0.02)
    assert found == vendi_score_gaussian(rows, bandwidth=1.5, n_features=4_096, seed=0)
    assert found != vendi_score_gaussian(rows, bandwidth=1.5, n_features=4_096, seed=1)


def test_orthogonal_rows_spread_over_as_many_directions_and_equal_rows_over_one() -> None:
    assert vendi_score(3 * np.eye(7)) == pytest.approx(7, rel=1e-12)
    assert vendi_score(np.full((9, 4), 0.1)) == pytest.approx(1, rel=1e-12)
    assert vendi_score_gaussian(np.zeros((5, 2)), bandwidth=1.0, n_features=16, seed=0) == pytest.approx(1)
    assert effective_rank(np.vstack([np.eye(6), -np.eye(6)])) == pytest.approx(6, rel=1e-12)


@pytest.mark.parametrize("value", [0.0, 0.1, -1 / 3, 1e300, 1e-300])
@pytest.mark.parametrize("n_rows", [1, 2, 7, 1_000])
def test_rows_without_spread_have_effective_rank_one(value: float, n_rows: int) -> None:
    assert effective_rank(np.full((n_rows, 5), value)) == 1.0
    assert effective_rank(np.tile([1.0, 0.1, value / 7, -1 / 3], (n_rows, 1))) == 1.0


@pytest.mark.parametrize("figure", [vendi_score, effective_rank])
def test_memory_does_not_grow_with_the_square_of_the_rows(figure: Callable[[Rows], float]) -> None:
    rows = rows_of((4_000, 3))
    tracemalloc.start()
    try:
        figure(rows)
        figure(rows[:30].repeat(100, axis=1))
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak_bytes < 4_000 * 4_000 * 8 / 50


def test_constant_columns_add_nothing() -> None:
    rows = rows_of((50, 4))
    padded = np.hstack([rows, np.full((50, 3), 0.1)])
    assert effective_rank(padded) == pytest.approx(effective_rank(rows), rel=1e-9)


@settings(max_examples=40, derandomize=True, deadline=None)
@given(seed=st.integers(0, 1_000), scale=st.sampled_from([1e-200, 0.3, 1e200]))
def test_order_scale_and_rotation_do_not_matter(seed: int, scale: float) -> None:
    rows = rows_of((20, 4), seed)
    rng = np.random.default_rng(seed)
    turn = np.linalg.qr(rng.standard_normal((4, 4)))[0]
    other = rng.permutation(rows) @ turn * scale
    assert effective_rank(other) == pytest.approx(effective_rank(rows), rel=1e-9)
    assert vendi_score(other) == pytest.approx(vendi_score(rows), rel=1e-9)
    assert 1 <= vendi_score(rows) <= 4
    assert 1 <= effective_rank(rows) <= 4


def test_features_too_far_apart_for_the_bandwidth_are_refused() -> None:
    with pytest.raises(StatisticError, match="features are too large for a bandwidth of 1e-300"):
        vendi_score_gaussian([[1e300], [-1e300]], bandwidth=1e-300, n_features=8, seed=0)


def test_ratios_compare_equally_many_rows() -> None:
    real = rows_of((300, 6))
    assert vendi_ratio(real, real, n_most=10_000, seed=0) == 1
    assert effective_rank_ratio(real, real[:], n_most=50, seed=0) == 1
    flat = real.copy()
    flat[:, 1:] = 0.2
    assert effective_rank_ratio(real, flat[:40], n_most=10_000, seed=0) < 0.5
    assert vendi_ratio(real, real[:40], n_most=10_000, seed=0) == pytest.approx(1, abs=0.1)


FIGURES: list[Callable[[Any], float]] = [
    vendi_score,
    effective_rank,
    lambda rows: vendi_score_gaussian(rows, bandwidth=1.0, n_features=8, seed=0),
]


@pytest.mark.parametrize("figure", FIGURES)
@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([[1.0, 2.0], [1.0, float("nan")]], r"features\[1\] holds a value that is not finite"),
        ([1.0, 2.0], "features must be a float array of shape"),
        (np.empty((3, 0)), r"features must be a float array .* got shape \(3, 0\)"),
        ([["a"]], "features must be a float array"),
        ([[1.0], [1.0, 2.0]], "ragged"),
    ],
)
def test_rows_that_are_none_are_refused(figure: Callable[[Any], float], rows: Any, message: str) -> None:
    with pytest.raises(StatisticError, match=message) as caught:
        figure(rows)
    assert "\n" not in str(caught.value)


def test_a_row_of_zeros_has_no_direction() -> None:
    with pytest.raises(StatisticError, match=r"features\[1\] is all zero and has no direction"):
        vendi_score([[1.0, 0.0], [0.0, 0.0]])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bandwidth": 0.0}, "bandwidth must be a finite distance above 0"),
        ({"bandwidth": float("nan")}, "bandwidth must be"),
        ({"bandwidth": math.inf}, "bandwidth must be"),
        ({"n_features": 7}, "n_features must be even"),
        ({"n_features": 0}, "n_features must be a whole number, 2 or more"),
        ({"seed": 0.5}, "seed must be a whole number"),
    ],
)
def test_parameters_of_the_gaussian_kernel_are_checked(change: dict[str, Any], message: str) -> None:
    given: dict[str, Any] = {"bandwidth": 1.0, "n_features": 8, "seed": 0, **change}
    with pytest.raises(StatisticError, match=message):
        vendi_score_gaussian([[1.0], [2.0]], **given)
