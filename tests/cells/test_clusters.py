"""Clusters: k-means against an outside one, the radius against its promise, and what is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import KMeans

from collapse_guard.cells import ClusterCells, cells_from_state
from collapse_guard.cells.centres import conformal_quantile, fit_centres, standard_units
from collapse_guard.cells.k_means import content_keys, distances, k_means, nearest_points
from collapse_guard.errors import CellError

if TYPE_CHECKING:
    from numpy.typing import NDArray

DECLARED: dict[str, Any] = {"column": "x", "embed": None, "n_cells": 3, "seed": 0, "outlier_share": 0.1}


def blobs(n_rows: int, n_blobs: int, *, d: int = 4, seed: int = 0) -> NDArray[np.float64]:
    """Well separated Gaussian blobs of unequal weight."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(0, 10, (n_blobs, d))
    shares = 0.7 ** np.arange(n_blobs)
    return centres[rng.choice(n_blobs, n_rows, p=shares / shares.sum())] + rng.normal(0, 1, (n_rows, d))


def embedded(rows: Any) -> pa.Table:
    return pa.table({"x": pa.array([None if row is None else list(row) for row in rows], pa.list_(pa.float64()))})


def fitted(rows: Any, **declared: Any) -> ClusterCells:
    return ClusterCells.fit(embedded(rows), **DECLARED | declared)


def to_nearest(rows: NDArray[np.float64], points: NDArray[np.float64]) -> NDArray[np.float64]:
    return distances(rows, points, nearest_points(rows, points))


def double(rows: pa.Table) -> NDArray[np.float64]:
    return np.array([[2.0 * n, 1.0] for n in rows.column("x").to_pylist()])


def flat(rows: pa.Table) -> list[float]:
    return [1.0] * rows.num_rows


def ragged_lists(rows: pa.Table) -> list[list[int]]:
    return [[1] * (row + 1) for row in range(rows.num_rows)]


class Encoder:
    """An embedding as many are: an object."""

    def __call__(self, rows: pa.Table) -> NDArray[np.float64]:
        return np.zeros((rows.num_rows, 2))


# --- k-means


@pytest.mark.science
@pytest.mark.parametrize(("n_rows", "n_points"), [(2000, 8), (20_000, 20)])
def test_centres_are_about_as_good_as_those_of_scikit_learn(n_rows: int, n_points: int) -> None:
    ratios = []
    for seed in range(5):
        rows = blobs(n_rows, 30, seed=seed)
        ours = (to_nearest(rows, k_means(rows, rows, n_points, seed=seed)) ** 2).sum()
        theirs = np.median([KMeans(n_points, n_init=1, random_state=state).fit(rows).inertia_ for state in range(3)])
        ratios.append(float(ours / theirs))
    print(f"\n{n_rows} rows, {n_points} centres: squared distance over scikit-learn's {np.round(ratios, 2)}", end="")  # noqa: T201 - shown with -s
    assert np.median(ratios) < 1.1
    assert max(ratios) < 2.0


def test_separated_blobs_are_found_and_the_largest_comes_first() -> None:
    rows = np.concatenate([np.full((n, 2), 100.0 * n) + blobs(n, 1, d=2) for n in (30, 10, 20)])
    points = k_means(rows, rows, 3, seed=1)
    assert np.bincount(nearest_points(rows, points)).tolist() == [30, 20, 10]


@settings(max_examples=60, derandomize=True, deadline=None)
@given(
    rows=st.lists(st.tuples(*[st.integers(-3, 3)] * 3), min_size=1, max_size=30),
    points=st.lists(st.tuples(*[st.integers(-3, 3)] * 3), min_size=1, max_size=8),
)
def test_the_nearest_point_is_the_first_of_the_nearest_even_in_ties(rows: list[Any], points: list[Any]) -> None:
    vectors, centres = np.array(rows, dtype=np.float64), np.array(points, dtype=np.float64)
    squared = ((vectors[:, None] - centres) ** 2).sum(axis=2)
    nearest = nearest_points(vectors, centres)
    assert nearest.tolist() == squared.argmin(axis=1).tolist()
    np.testing.assert_allclose(distances(vectors, centres, nearest), np.sqrt(squared.min(axis=1)))


def test_ties_do_not_depend_on_the_batch() -> None:
    rng = np.random.default_rng(0)
    points = rng.normal(size=(20, 50))
    ties = (points[rng.integers(0, 20, 300)] + points[rng.integers(0, 20, 300)]) / 2  # half way, up to rounding
    whole = nearest_points(ties, points).tolist()
    assert whole == [int(nearest_points(row[None], points)[0]) for row in ties]


def test_repeated_rows_do_not_crowd_out_the_rare_ones() -> None:
    rows = np.concatenate([np.zeros((20_000, 2)), [[9.0, 9.0]] * 3, [[-9.0, 9.0]] * 3])
    cells = fitted(rows, outlier_share=0.0)
    assert cells.n_cells == 3
    assert len({*cells.cells(embedded([[0, 0], [9, 9], [-9, 9]])).tolist()}) == 3


def test_keys_tell_rows_apart_and_zero_from_nothing() -> None:
    rows = np.random.default_rng(1).integers(0, 3, (500, 4)).astype(np.float64)
    assert len(set(content_keys(rows, seed=0).tolist())) == len(np.unique(rows, axis=0))
    assert (content_keys(rows, seed=0) != content_keys(rows, seed=1)).all()
    assert fitted([[0.0], [-0.0], [1.0], [2.0], [3.0]], n_cells=2) == fitted([[-0.0], [0.0], [1], [2], [3]], n_cells=2)


# --- the radius


@pytest.mark.science
def test_held_out_distances_keep_the_outlier_share_of_fresh_real_rows_and_fitted_ones_do_not() -> None:
    rng = np.random.default_rng(7)
    fresh, naive = [], []
    for seed in range(20):
        real, later = rng.normal(size=(1000, 16)), rng.normal(size=(4000, 16))
        centres = fit_centres(real, n_cells=64, seed=seed, outlier_share=0.05, what="x")
        points, scale, mean = map(np.asarray, (centres.points, centres.scale, centres.mean))
        own = to_nearest((real[content_order(real, seed)] - mean) / scale, points)
        fresh.append(float((centres.cells(later) < 0).mean()))
        naive.append(float((to_nearest((later - mean) / scale, points) > conformal_quantile(own, 0.05)).mean()))
    print(f"\n5 % declared: {np.mean(fresh):.3f} of fresh rows outside, {np.mean(naive):.3f} if in-sample", end="")  # noqa: T201 - shown with -s
    assert 0.03 < np.mean(fresh) < 0.065
    assert np.mean(naive) > 0.10


def content_order(rows: NDArray[np.float64], seed: int) -> NDArray[np.int64]:
    """The rows that the centres were fitted to."""
    return np.argsort(content_keys(rows, seed=seed), kind="stable")[len(rows) // 5 :]


@settings(max_examples=60, derandomize=True, deadline=None)
@given(n=st.integers(1, 60), share=st.floats(0.01, 0.9))
def test_the_quantile_leaves_at_most_its_share_outside(n: int, share: float) -> None:
    radius = conformal_quantile(np.arange(1.0, n + 1), share)
    assert radius in range(1, n + 1)
    if (
        n + 1
    ) * share >= 1:  # of n + 1 rows in random order, a fresh one lies beyond rank k with chance 1 - k / (n + 1)
        assert 1 - radius / (n + 1) <= share + 1e-9
    else:
        assert radius == n


def test_a_share_of_zero_sets_no_limit() -> None:
    cells = fitted(blobs(100, 3, d=2), outlier_share=0.0)
    assert cells.centres.radius is None
    assert cells.cells(embedded([[1e9, 1e9]])).tolist() != [-1]


def test_rows_off_the_manifold_are_in_no_cell() -> None:
    real = blobs(1000, 3, d=2)
    cells = fitted(real, outlier_share=0.01)
    assert (cells.cells(embedded(real)) < 0).mean() < 0.05
    assert (cells.cells(embedded(blobs(200, 3, d=2, seed=9) + 500)) < 0).all()


# --- scale


def test_a_constant_column_divides_by_no_zero_and_columns_weigh_alike() -> None:
    rng = np.random.default_rng(2)
    group = rng.integers(0, 2, 400)
    rows = np.column_stack([group + rng.normal(0, 0.05, 400), np.full(400, 3.7), rng.normal(0, 1e6, 400)])
    mean, scale = standard_units(rows)
    assert scale[1] == 1.0
    cells = fitted(rows[:, :2], n_cells=2, outlier_share=0.0).cells(embedded(rows[:, :2]))
    assert max((cells == group).mean(), (cells != group).mean()) > 0.99
    standard = (rows - mean) / scale
    np.testing.assert_allclose(standard[:, [0, 2]].std(axis=0), 1.0)


@pytest.mark.parametrize("factor", [1e-30, 1.0, 1e30])
def test_units_do_not_matter(factor: float) -> None:
    rows = blobs(300, 4)
    one, other = fitted(rows), fitted(rows * factor)
    keys = [content_keys(each, seed=0) for each in (rows, rows * factor)]
    assert one.n_cells == other.n_cells == 3
    if factor == 1.0:
        assert one == other
    assert np.isfinite(other.centres.radius or np.nan)
    assert len(set(keys[0].tolist())) == len(set(keys[1].tolist())) == 300


# --- what is refused, and what is in no cell


def test_null_nan_infinite_and_empty_rows_are_in_no_cell() -> None:
    cells = fitted(blobs(100, 3, d=2), outlier_share=0.0)
    rows = [None, [np.nan, 1.0], [np.inf, 1.0], [1.0, None], [], [1e200, 0.0], [0.0, 0.0]]
    assert (cells.cells(embedded(rows)) >= 0).tolist() == [False] * 6 + [True]
    assert cells.cells(embedded([None, []])).tolist() == [-1, -1]


@pytest.mark.parametrize(
    "kind", [pa.list_(pa.float32()), pa.list_(pa.float64(), 2), pa.large_list(pa.int64())], ids=str
)
def test_every_kind_of_list_holds_vectors(kind: Any) -> None:
    rows = [[n % 7, n % 5] for n in range(60)]
    assert ClusterCells.fit(pa.table({"x": pa.array(rows, kind)}), **DECLARED) == fitted(rows)
    sliced = pa.table({"x": pa.array([*rows[:3], None, *rows[3:]], kind)}).slice(2, 5)
    assert (fitted(rows, outlier_share=0.0).cells(sliced) >= 0).tolist() == [True, False, True, True, True]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], r"column 'x': 0 of 0 real rows cannot be used"),
        ([None, None], r"column 'x': 2 of 2 real rows cannot be used \(null, empty, not finite or unreadable\)"),
        ([[np.nan]] * 6 + [[1.0]] * 4, "column 'x': 6 of 10 real rows cannot be used"),
        ([[1.0]] * 50, "1 distinct real rows are left to fit 3 cells to, one in five is held out; there is nothing"),
        ([[0.0], [1.0], [2.0]], r"column 'x': 2 distinct real rows .*; declare n_cells: 2 or fewer"),
        ([[1.0], [1.0, 2.0]], "column 'x' holds lists of 1 to 2 numbers; vectors have one length"),
    ],
)
def test_real_rows_that_make_no_clusters_are_refused(rows: Any, message: str) -> None:
    with pytest.raises(CellError, match=message):
        fitted(rows)


@pytest.mark.parametrize("values", [pa.array([1.0]), pa.array(["a"]), pa.array([["a"]]), pa.array([[[1.0]]])], ids=str)
def test_columns_without_vectors_are_refused(values: Any) -> None:
    with pytest.raises(CellError, match=r"column 'x' must hold lists of numbers, got .*; pass embed for other columns"):
        ClusterCells.fit(pa.table({"x": values}), **DECLARED)


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        ({"n_cells": 1}, "n_cells must be a whole number from 2 to 256, got 1"),
        ({"n_cells": 257}, "n_cells must be a whole number from 2 to 256, got 257"),
        ({"seed": -1}, "seed must be a whole number from 0"),
        ({"outlier_share": 1.0}, r"outlier_share must lie in \[0, 1\), got 1\.0"),
        ({"outlier_share": float("nan")}, r"outlier_share must lie in \[0, 1\), got nan"),
        ({"outlier_share": "5%"}, r"outlier_share must lie in \[0, 1\), got '5%'"),
    ],
)
def test_parameters_out_of_range_are_named(declared: dict[str, Any], message: str) -> None:
    with pytest.raises(CellError, match=message):
        fitted(blobs(50, 3), **declared)


def test_vectors_of_another_length_are_refused() -> None:
    with pytest.raises(CellError, match="column 'x' gives vectors of 3 numbers, real rows gave 4"):
        fitted(blobs(50, 3)).cells(embedded([[1.0, 2.0, 3.0]]))


# --- embeddings by a function


def test_a_function_embeds_the_rows() -> None:
    rows = pa.table({"x": list(range(20)) + list(range(100, 120))})
    cells = ClusterCells.fit(rows, **DECLARED | {"embed": double, "n_cells": 2})
    assert len({*cells.cells(rows)[:20].tolist()}) == 1
    assert cells.state()["embed"] == f"{__name__}:double"
    assert cells.cells(rows.slice(0, 0)).tolist() == []
    assert cells.cells(rows.to_batches()[0]).tolist() == cells.cells(rows).tolist()
    assert cells_from_state(cells.state(), allow_code=True) == cells
    with pytest.raises(CellError, match=r"name code to run \(embed: '.*:double'\), and what a file names is not run"):
        cells_from_state(cells.state())


@pytest.mark.parametrize(
    ("embed", "message"),
    [
        (flat, r":flat returned shape \(20,\) for 20 rows; return \(rows, d\)"),
        (ragged_lists, ":ragged_lists returned no array of numbers of shape"),
        (lambda rows: rows, "cannot be found again by name; pass a function that stands at the top level"),
        (Encoder(), "cannot be found again by name"),
        ("module:function", "cannot be found again by name"),
    ],
)
def test_embeddings_of_another_shape_or_without_a_name_are_refused(embed: Any, message: str) -> None:
    with pytest.raises(CellError, match=message):
        ClusterCells.fit(pa.table({"x": list(range(20))}), **DECLARED | {"embed": embed})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scale": [1.0, 0.0]}, "a scale is not positive"),
        ({"mean": [1.0]}, r"points in \[1, 2\] columns"),
        ({"points": [[0.0, 1.0], [0.0]]}, r"2 points in \[1, 2\] columns"),
        ({"points": []}, "a list, not empty in 'points'"),
        ({"points": [3]}, "a list of finite numbers in 'point', got 3"),
        ({"points": [[0.0, 1.0]] * 257}, "257 points in"),
        ({"radius": -1.0}, "a number, not negative, or null in 'radius'"),
        ({"radius": float("inf")}, "a number, not negative, or null in 'radius'"),
        ({"radius": "far"}, "a number, not negative, or null in 'radius'"),
        ({"extra": 1}, "centres must have mean, scale, points, radius; got"),
    ],
)
def test_a_malformed_state_is_refused(change: dict[str, Any], message: str) -> None:
    state = fitted(blobs(50, 3, d=2)).state()
    with pytest.raises(CellError, match=message):
        cells_from_state(state | {"centres": state["centres"] | change})
