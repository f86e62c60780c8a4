"""Experiment 2: linear regression on labels that the last model made, on the same inputs.

A training set enters least squares by its sufficient statistics alone, so that every policy is a weighted sum of
them. Sources: Gerstgrasser et al. (arXiv 2404.01413) for replace; Kazdan et al. (arXiv 2410.16713) for the subsample.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from collapse_guard.scenarios.experiments.chains import (
    GOLDEN,
    Chains,
    Floats,
    Setting,
    Step,
    synthetic_budget,
)
from collapse_guard.scenarios.experiments.gaussian import golden_weight

if TYPE_CHECKING:
    from collections.abc import Iterator

N_ROWS, N_INPUTS = 100, 10
#: Squared error of a single fit, in units of the noise: d / (N - d - 1) for Gaussian inputs.
SINGLE_FIT: Final = N_INPUTS / (N_ROWS - N_INPUTS - 1)


class Rows(NamedTuple):
    """Inputs of shape (chains, rows, d) and labels of shape (chains, rows)."""

    inputs: Floats
    labels: Floats


class Sums(NamedTuple):
    """X'X and X'y: all that least squares needs, shapes (chains, d, d) and (chains, d)."""

    squares: Floats
    products: Floats


def sums(rows: Rows, weight: float = 1.0) -> Sums:
    """Return the weighted sufficient statistics of ``rows``."""
    turned = rows.inputs.transpose(0, 2, 1)
    return Sums(weight * turned @ rows.inputs, weight * (turned @ rows.labels[..., None])[..., 0])


def solve(parts: list[Sums]) -> Floats:
    """Return the least-squares coefficients over all parts, shape (chains, d)."""
    squares = sum(part.squares for part in parts)
    products = sum(part.products for part in parts)
    return np.asarray(np.linalg.solve(squares, np.asarray(products)[..., None])[..., 0])


def labelled(inputs: Floats, coefficients: Floats, rng: np.random.Generator) -> Rows:
    """Return ``inputs`` with the labels of a model, and noise of variance 1."""
    clean = (inputs @ coefficients[..., None])[..., 0]
    return Rows(inputs, clean + rng.normal(size=clean.shape))


def real_rows(n_chains: int, n_rows: int, rng: np.random.Generator) -> Rows:
    """Return new real rows; the true coefficients are 0, so that a model's error is its squared length."""
    inputs = rng.normal(size=(n_chains, n_rows, N_INPUTS))
    return labelled(inputs, np.zeros((n_chains, N_INPUTS)), rng)


def parts_of(setting: Setting, pool: list[Rows], rng: np.random.Generator) -> list[Sums]:
    """Return what the next generation learns from; ``pool`` holds the real rows, then each output, oldest first."""
    real, last = pool[0], pool[-1]
    n_real = round(setting.real_share * N_ROWS)
    n_made = N_ROWS - n_real
    match setting.policy:
        case "fresh":
            parts = [sums(real_rows(setting.runs, N_ROWS, rng))]
        case "fresh-share" | "golden":
            weight = golden_weight(n_real / n_made) if setting.policy == GOLDEN else n_real / N_ROWS
            new = real_rows(setting.runs, n_real, rng)
            parts = [sums(new, weight / n_real), sums(_first(last, n_made), (1 - weight) / n_made)]
        case "replace":
            parts = [sums(last)]
        case "accumulate":
            parts = [sums(rows) for rows in pool]
        case "accumulate-subsample":
            parts = [sums(_drawn(pool, N_ROWS, rng))]
        case "anchor":
            parts = [sums(_first(real, n_real)), sums(Rows(last.inputs[:, n_real:], last.labels[:, n_real:]))]
        case _:
            n_kept = min(synthetic_budget(N_ROWS), (len(pool) - 1) * N_ROWS)
            parts = [sums(real), sums(_drawn(pool[1:], n_kept, rng))]
    return parts


def _first(rows: Rows, n_rows: int) -> Rows:
    return Rows(rows.inputs[:, :n_rows], rows.labels[:, :n_rows])


def _drawn(pool: list[Rows], n_rows: int, rng: np.random.Generator) -> Rows:
    """Return ``n_rows`` rows of each chain, without replacement, from the pool; all parts share their inputs."""
    inputs, labels = pool[0].inputs, np.concatenate([rows.labels for rows in pool], axis=1)
    keys = rng.random(labels.shape, dtype=np.float32)
    chosen = np.argpartition(keys, n_rows - 1, axis=1)[:, :n_rows]
    again = (chosen % inputs.shape[1])[..., None]
    return Rows(np.take_along_axis(inputs, again, axis=1), np.take_along_axis(labels, chosen, axis=1))


def refits(setting: Setting, rng: np.random.Generator) -> Iterator[Floats]:
    """Yield the squared error of each generation's models in units of a single fit's, shape (runs,)."""
    pool = [real_rows(setting.runs, N_ROWS, rng)]
    parts = [sums(pool[0])]
    for _ in range(setting.generations):
        model = solve(parts)
        yield np.asarray((model**2).sum(axis=1)) / SINGLE_FIT
        pool.append(labelled(pool[0].inputs, model, rng))
        parts = parts_of(setting, pool, rng)


def run(setting: Setting) -> list[Chains]:
    """Return the chains of one policy: squared error in units of a single fit's. Labels have no cells: no watch."""
    errors = np.array(list(refits(setting, setting.rng(0))))
    runs = [[Step({"error": float(error)}) for error in chain] for chain in errors.T]
    return [Chains.of(setting.policy, runs, generations=setting.generations)]
