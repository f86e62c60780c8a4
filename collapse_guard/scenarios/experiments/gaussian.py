"""Experiment 1: a Gaussian refitted to its own samples, many chains side by side.

A training set enters the fit by the moments of its parts alone, each with a weight, so that every policy is
a choice of parts and weights. Rows have the shape (chains, rows). Sources: Shumailov et al. (Nature 631:755, 2024);
Kazdan et al. (arXiv 2410.16713); He et al. (arXiv 2502.18049) for the golden weights.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from collapse_guard.scenarios.experiments.chains import (
    FRESH,
    GOLDEN,
    Chains,
    Floats,
    Setting,
    Step,
    synthetic_budget,
    until_halt,
)
from collapse_guard.scenarios.experiments.guarding import Guard

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

N_ROWS: Final = 100
#: Cells of the guard: how many true standard deviations from the true mean.
CELL_EDGES: Final = (1.0, 1.645)

#: What a Gaussian puts in these cells, of ten thousand rows; the tail is the last one.
REFERENCE: Final = np.array([6827, 2173, 1000])
#: A fit to a hundred rows misses the tail's mass by a quarter, healthy or not: only a loss of half of it counts. A few
#: chains of every policy are born that narrow, or wander there, and are rightly halted.
MAX_MASS_DROP: Final = 0.50
#: In fewer looks a hundred rows could not even show that the tail is gone, and the guard refuses to start.
LEAST_LOOKS: Final = 20


class Normals(NamedTuple):
    """Fitted models, shape (chains,) each; ``variance`` is the maximum-likelihood one, over n."""

    mean: Floats
    variance: Floats


class Part(NamedTuple):
    """Rows of shape (chains, rows), and their weight in the fit."""

    rows: Floats
    weight: float


def fit(parts: list[Part]) -> Normals:
    """Return the weighted maximum-likelihood fit to all parts.

    >>> fit([Part(np.array([[1.0, 3.0]]), 1.0)]).variance
    array([1.])
    """
    weights = np.array([part.weight for part in parts]) / sum(part.weight for part in parts)
    mean = sum(weight * part.rows.mean(axis=1) for weight, part in zip(weights, parts, strict=True))
    square = sum(weight * (part.rows**2).mean(axis=1) for weight, part in zip(weights, parts, strict=True))
    return Normals(np.asarray(mean), np.asarray(square - mean**2))


def golden_weight(ratio: float) -> float:
    """Return the weight of the real part that makes the lasting error least, ``ratio`` real rows per synthetic one.

    It solves w^2 + ratio w - ratio = 0, and the lasting error is w times that of the real part alone
    (He et al., arXiv 2502.18049).

    >>> round(golden_weight(1.0), 3)
    0.618
    """
    return (math.sqrt(ratio * ratio + 4 * ratio) - ratio) / 2


def parts_of(setting: Setting, pool: list[Floats], rng: np.random.Generator) -> list[Part]:
    """Return what the next generation learns from; ``pool`` holds the real rows, then each output, oldest first."""
    real, last, n_rows = pool[0], pool[-1], pool[0].shape[1]
    n_real = round(setting.real_share * n_rows)
    match setting.policy:
        case "fresh-share" | "golden":
            weight = n_real / n_rows
            if setting.policy == GOLDEN:
                weight = golden_weight(n_real / (n_rows - n_real))
            new = rng.normal(size=(len(real), n_real))
            return [Part(new, weight), Part(last[:, : n_rows - n_real], 1 - weight)]
        case "fresh" | "replace":
            return [Part(last, 1)]
        case "accumulate":
            return [Part(rows, 1) for rows in pool]
        case "accumulate-subsample":
            return [Part(_drawn(pool, n_rows, rng), 1)]
        case "anchor":
            return [Part(real[:, :n_real], n_real), Part(last[:, : n_rows - n_real], n_rows - n_real)]
        case _:
            n_made = min(synthetic_budget(n_rows), (len(pool) - 1) * n_rows)
            return [Part(real, n_rows), Part(_drawn(pool[1:], n_made, rng), n_made)]


def _drawn(pool: list[Floats], n_rows: int, rng: np.random.Generator) -> Floats:
    """Return ``n_rows`` rows of each chain, without replacement, from the whole pool."""
    whole = np.concatenate(pool, axis=1)
    keys = rng.random(whole.shape, dtype=np.float32)
    return np.take_along_axis(whole, np.argpartition(keys, n_rows - 1, axis=1)[:, :n_rows], axis=1)


def refits(setting: Setting, rng: np.random.Generator, *, n_rows: int = N_ROWS) -> Iterator[tuple[Normals, Floats]]:
    """Yield each generation's models and their output, shape (runs, n_rows), for ``setting.runs`` chains.

    Under the null the output is replaced by new real rows.
    """
    pool = [rng.normal(size=(setting.runs, n_rows))]
    parts = [Part(pool[0], 1)]
    for _ in range(setting.generations):
        model = fit(parts)
        centre, scale = (0, 1) if setting.policy == FRESH else (model.mean[:, None], np.sqrt(model.variance)[:, None])
        made = rng.normal(centre, scale, size=pool[0].shape)
        yield model, made
        pool.append(made)
        parts = parts_of(setting, pool, rng)


def cell_counts(rows: Floats) -> NDArray[np.int64]:
    """Return how many of one chain's rows lie in each cell, shape (cells,).

    >>> cell_counts(np.array([0.5, -1.2, 3.0])).tolist()
    [1, 1, 1]
    """
    cells = np.searchsorted(CELL_EDGES, np.abs(rows))
    return np.bincount(cells, minlength=len(CELL_EDGES) + 1)


def run(setting: Setting) -> list[Chains]:
    """Return the chains of one policy: variance of the model, and squared error of its mean in units of s2/n."""
    rng = setting.rng(0)
    generations = list(refits(setting, rng))
    runs = [until_halt(setting.policy, _watched(generations, run, setting)) for run in range(setting.runs)]
    return [Chains.of(setting.policy, runs, generations=setting.generations)]


def _watched(generations: list[tuple[Normals, Floats]], run: int, setting: Setting) -> Iterator[Step]:
    """Yield the figures of one chain, watched against the true distribution."""
    guard = Guard.over_cells(
        REFERENCE,
        planned_looks=max(setting.generations, LEAST_LOOKS),
        look_rows=N_ROWS,
        references=["real"],
        max_mass_drop=MAX_MASS_DROP,
    )
    for model, made in generations:
        guard = guard.look(cell_counts(made[run]))
        figures = {"variance": float(model.variance[run]), "mean error": float(model.mean[run] ** 2) * N_ROWS}
        yield Step(figures, guard.log_e, guard.halted)
