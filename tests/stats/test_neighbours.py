"""Shares of k-nearest-neighbour balls against a slow twin, an outside reference, and what the docstrings call blind.

Outside references, to 1e-6 or better: the ``prdc`` package of the authors of density and coverage;
scipy.spatial.distance.cdist (radii, in the slow twin).
"""

from __future__ import annotations

import tracemalloc
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from collapse_guard.errors import StatisticError
from collapse_guard.stats.neighbours import (
    NeighbourShares,
    ball_coverage,
    density,
    neighbour_shares,
    precision,
    recall,
    subset,
)
from collapse_guard.stats.spectrum import effective_rank_ratio, vendi_ratio

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Rows = NDArray[np.float64]

SMALL = {"k": 3, "n_most": 10_000, "seed": 0}


def clouds(n_real: int, n_made: int, seed: int = 0, n_columns: int = 5) -> tuple[Rows, Rows]:
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n_real, n_columns)), 0.8 * rng.standard_normal((n_made, n_columns)) + 0.3


def twin(real: Rows, made: Rows, k: int) -> NeighbourShares:
    real_radii = np.sort(cdist(real, real), axis=1)[:, k]
    made_radii = np.sort(cdist(made, made), axis=1)[:, k]
    between = cdist(real, made)
    inside = between < real_radii[:, None]
    return NeighbourShares(
        precision=float(inside.any(axis=0).mean()),
        recall=float((between < made_radii[None, :]).any(axis=1).mean()),
        density=float(inside.sum(axis=0).mean() / k),
        ball_coverage=float((between.min(axis=1) < real_radii).mean()),
    )


@pytest.mark.parametrize(("n_real", "n_made"), [(40, 30), (255, 257), (256, 256), (600, 300), (20, 700)])
@pytest.mark.parametrize("k", [1, 5])
def test_shares_agree_with_the_slow_twin_across_chunk_borders(n_real: int, n_made: int, k: int) -> None:
    real, made = clouds(n_real, n_made)
    found = neighbour_shares(real, made, k=k, n_most=1_000, seed=0)
    assert found == pytest.approx(twin(real, made, k), rel=1e-12)


@pytest.mark.parametrize("k", [1, 5])
def test_shares_agree_with_prdc(k: int, capsys: pytest.CaptureFixture[str]) -> None:
    prdc = pytest.importorskip("prdc", reason="prdc is not installed")
    real, made = clouds(400, 350, seed=1, n_columns=16)
    theirs = prdc.compute_prdc(real, made, k)
    capsys.readouterr()  # it prints
    found = neighbour_shares(real, made, k=k, n_most=1_000, seed=0)
    for name, figure in zip(("precision", "recall", "density", "coverage"), found, strict=True):
        assert figure == pytest.approx(theirs[name], rel=1e-6)


def test_each_figure_is_its_part_of_the_whole() -> None:
    real, made = clouds(50, 40)
    whole = neighbour_shares(real, made, **SMALL)
    assert whole == tuple(figure(real, made, **SMALL) for figure in (precision, recall, density, ball_coverage))


@pytest.mark.parametrize("shift", [0.0, 1e6, -1e9])
@pytest.mark.parametrize("scale", [1.0, 1e-200, 1e200])
def test_place_and_scale_do_not_matter(shift: float, scale: float) -> None:
    real, made = clouds(120, 110)
    expected = neighbour_shares(real, made, **SMALL)
    found = neighbour_shares((real + shift) * scale, (made + shift) * scale, **SMALL)
    assert found == pytest.approx(expected, abs=1e-12 if abs(shift) < 1e9 else 0.01)


def test_a_copy_of_the_real_rows_is_inside_and_covers_all() -> None:
    real, _ = clouds(200, 1)
    assert neighbour_shares(real, real.copy(), **SMALL)[:2] == (1.0, 1.0)
    assert neighbour_shares(real, real.copy(), **SMALL).ball_coverage == 1.0
    assert neighbour_shares(real, real + 1e3, **SMALL) == (0.0, 0.0, 0.0, 0.0)


def test_rows_that_repeat_more_than_k_times_have_empty_balls() -> None:
    rows = np.repeat([[0.1, 0.7], [3.3, 1.9]], 5, axis=0)
    assert neighbour_shares(rows, rows, k=3, n_most=100, seed=0) == (0.0, 0.0, 0.0, 0.0)
    assert neighbour_shares(rows, rows, k=5, n_most=100, seed=0) == (1.0, 1.0, 1.0, 1.0)
    # Matrix products round equal rows differently by their place; that must not make balls.
    wide = np.repeat(np.random.default_rng(0).standard_normal((2, 513)), 259, axis=0)
    assert neighbour_shares(wide, wide[:-3], k=3, n_most=1_000, seed=0) == (0.0, 0.0, 0.0, 0.0)


def test_memory_does_not_grow_with_the_square_of_the_rows() -> None:
    rows = np.random.default_rng(0).standard_normal((4_000, 2))
    tracemalloc.start()
    try:
        neighbour_shares(rows, rows + 0.1, k=3, n_most=4_000, seed=0)
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak_bytes < 4_000 * 4_000 * 8 / 2


def test_a_subset_is_chosen_by_its_seed_and_keeps_order() -> None:
    rows = np.arange(100.0).reshape(50, 2)
    first = subset(rows, n_most=10, seed=3)
    assert first.shape == (10, 2)
    assert (np.diff(first[:, 0]) > 0).all()
    assert np.array_equal(first, subset(rows, n_most=10, seed=3))
    assert not np.array_equal(first, subset(rows, n_most=10, seed=4))
    assert subset(rows, n_most=50, seed=3) is rows


def test_more_rows_than_n_most_are_thinned() -> None:
    real, made = clouds(300, 280)
    found = neighbour_shares(real, made, k=3, n_most=100, seed=7)
    parts = subset(real, n_most=100, seed=7), subset(made, n_most=100, seed=7)
    assert found == pytest.approx(twin(*parts, 3), rel=1e-12)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"real": [[1.0, float("nan")]] * 9}, r"real\[0\] holds a value that is not finite"),
        ({"made": [[1.0, 2.0]] * 8 + [[1.0, float("inf")]]}, r"made\[8\] holds a value that is not finite"),
        ({"made": [[1.0]] * 9}, "made has 1 columns, the other set has 2"),
        ({"made": [1.0, 2.0]}, r"made must be a float array of shape \(rows, columns\), got shape \(2,\)"),
        ({"made": [[1.0], [1.0, 2.0]]}, "made must be a float array .* ragged"),
        ({"real": np.empty((0, 2))}, r"real must be a float array .* got shape \(0, 2\)"),
        ({"real": [["a", "b"]]}, "real must be a float array"),
        ({"k": 9}, "k is 9, real has 9 rows in use; k must be smaller"),
        ({"k": 5, "n_most": 5}, "k is 5, real has 5 rows in use"),
        ({"k": 0}, "k must be a whole number, 1 or more, got 0"),
        ({"k": 2.0}, "k must be a whole number"),
        ({"n_most": 0}, "n_most must be a whole number, 1 or more"),
        ({"seed": -1, "n_most": 4, "k": 1}, "seed must be a whole number, 0 or more"),
        ({"seed": True}, "seed must be a whole number"),
    ],
)
def test_arguments_that_are_none_are_refused_by_name(change: dict[str, Any], message: str) -> None:
    rows = np.arange(18.0).reshape(9, 2)
    given: dict[str, Any] = {"real": rows, "made": rows, "k": 2, "n_most": 100, "seed": 0, **change}
    with pytest.raises(StatisticError, match=message) as caught:
        neighbour_shares(given.pop("real"), given.pop("made"), **given)
    assert "\n" not in str(caught.value)


N_ROWS, N_MODES, N_COLUMNS = 800, 30, 16


def mixture(rng: np.random.Generator, centres: Rows, n_rows: int) -> Rows:
    shares = 1 / np.arange(1, N_MODES + 1)
    modes = rng.choice(N_MODES, size=n_rows, p=shares / shares.sum())
    return np.asarray(centres[modes] + 0.5 * rng.standard_normal((n_rows, N_COLUMNS)))


def resampled(rng: np.random.Generator, rows: Rows) -> Rows:
    return rows[rng.integers(len(rows), size=len(rows))]


def noisy(rng: np.random.Generator, rows: Rows) -> Rows:
    return np.asarray(resampled(rng, rows) + 0.3 * rng.standard_normal(rows.shape))


def averaged(rng: np.random.Generator, rows: Rows) -> Rows:
    nearest = np.argsort(cdist(rows, rows), axis=1)[:, :4]
    return np.asarray(
        rows[nearest].mean(axis=1)[rng.integers(len(rows), size=len(rows))] + 0.02 * rng.standard_normal()
    )


def densest(rng: np.random.Generator, rows: Rows) -> Rows:
    radii = np.sort(cdist(rows, rows), axis=1)[:, 5]
    kept = rows[radii <= np.quantile(radii, 0.8)]
    drawn = kept[rng.integers(len(kept), size=len(rows))]
    return np.asarray(drawn + 0.1 * rng.standard_normal(rows.shape))


def embedding_figures(real: Rows, made: Rows) -> NDArray[np.float64]:
    shares = neighbour_shares(real, made, k=5, n_most=N_ROWS, seed=0)
    spread = vendi_ratio(real, made, n_most=N_ROWS, seed=0), effective_rank_ratio(real, made, n_most=N_ROWS, seed=0)
    return np.array([*shares, *spread])


@pytest.mark.science
def test_embedding_figures_are_blind_where_their_docstrings_say() -> None:
    rng = np.random.default_rng(5)
    centres = 2 * rng.standard_normal((N_MODES, N_COLUMNS))
    real = mixture(rng, centres, N_ROWS)
    null = np.array([embedding_figures(real, mixture(rng, centres, N_ROWS)) for _ in range(12)])
    centre, spread = null.mean(axis=0), null.std(axis=0, ddof=1)
    names = ("precision", "recall", "density", "ball_coverage", "vendi_ratio", "effective_rank_ratio")
    z: dict[str, dict[str, float]] = {}
    print("\n" + " " * 12 + "".join(f"{name:>22}" for name in names))  # noqa: T201 - the table of science 2.1, with -s
    for loop in (noisy, averaged, densest):
        rows = mixture(rng, centres, N_ROWS)
        for _ in range(3):
            rows = loop(rng, rows)
        scores = (embedding_figures(real, rows) - centre) / spread
        z[loop.__name__] = dict(zip(names, scores.tolist(), strict=True))
        print(f"{loop.__name__:12}" + "".join(f"{score:22.1f}" for score in scores))  # noqa: T201 - as above
    assert z["averaged"]["precision"] > 2, "precision rises under mode seeking"
    assert z["averaged"]["recall"] < -8, "and recall falls"
    assert z["densest"]["ball_coverage"] < -5
    assert z["densest"]["recall"] < -5
    assert z["noisy"]["ball_coverage"] < -20
    assert abs(z["noisy"]["vendi_ratio"]) < 4, "Vendi hardly sees widening"
    assert z["noisy"]["effective_rank_ratio"] > -4, "nor does effective rank"
    assert z["noisy"]["recall"] > 2, "wide balls raise recall"
    assert z["averaged"]["ball_coverage"] > z["averaged"]["recall"] / 5, "coverage hardly sees mode seeking"
