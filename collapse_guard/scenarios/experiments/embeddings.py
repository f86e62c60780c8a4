"""Experiment 5: loops over embeddings, a long-tailed mixture of thirty components in sixteen dimensions.

A model resamples its training rows through a kernel, or averages neighbours (mode seeking), or its output passes
a filter. Cells are k-means clusters of the real rows. ``guarded`` filters within each cell, whatever the variant
does. Source of the selection effect: Qiao et al. (ICML 2026); of kernel loops: Kazdan et al. (arXiv 2410.16713).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from collapse_guard.cells.centres import Centres, fit_centres
from collapse_guard.scenarios.experiments.chains import (
    FRESH,
    GUARDED,
    Chains,
    Floats,
    Setting,
    Step,
    Table,
    training_rows,
    until_halt,
)
from collapse_guard.scenarios.experiments.guarding import Guard
from collapse_guard.stats.diversity import hill_number

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    Ints = NDArray[np.int64]
    Model = Callable[[Floats, int, np.random.Generator], Floats]
    Filter = Callable[[Floats, Ints, int, np.random.Generator], Ints]

N_COMPONENTS, N_DIMENSIONS, N_ROWS, N_CELLS = 30, 16, 1_500, 100
#: Spread of the components' centres, in spreads of one component.
CENTRE_SPREAD: Final = 2.0
BANDWIDTH: Final = 0.3
N_AVERAGED, N_NEIGHBOURS = 3, 5
KEPT_SHARE: Final = 0.80


@dataclass(frozen=True)
class Mixture:
    """The world: components whose shares fall as 1 / rank."""

    centres: Floats

    @classmethod
    def of(cls, rng: np.random.Generator) -> Mixture:
        """Return a world."""
        return cls(CENTRE_SPREAD * rng.normal(size=(N_COMPONENTS, N_DIMENSIONS)))

    def rows(self, n_rows: int, rng: np.random.Generator) -> Floats:
        """Return new real rows, shape (n_rows, d)."""
        weights = 1 / np.arange(1, N_COMPONENTS + 1)
        which = rng.choice(N_COMPONENTS, size=n_rows, p=weights / weights.sum())
        return np.asarray(self.centres[which] + rng.normal(size=(n_rows, N_DIMENSIONS)))


def kernel_rows(rows: Floats, n_rows: int, rng: np.random.Generator, *, bandwidth: float = BANDWIDTH) -> Floats:
    """Return draws of a Gaussian kernel density estimate over ``rows``, shape (n_rows, d).

    >>> kernel_rows(np.zeros((2, 3)), 4, np.random.default_rng(0), bandwidth=0.0).shape
    (4, 3)
    """
    chosen = rng.integers(len(rows), size=n_rows)
    return np.asarray(rows[chosen] + bandwidth * rng.normal(size=(n_rows, rows.shape[1])))


def averaged_rows(rows: Floats, n_rows: int, rng: np.random.Generator) -> Floats:
    """Return means of a row and its nearest neighbours, shape (n_rows, d): a model that seeks modes."""
    chosen = rows[rng.integers(len(rows), size=n_rows)]
    nearest = np.argpartition(_squared_distances(chosen, rows), N_AVERAGED - 1, axis=1)[:, :N_AVERAGED]
    return np.asarray(rows[nearest].mean(axis=1))


def _squared_distances(rows: Floats, others: Floats) -> Floats:
    a, b = rows.astype(np.float32), others.astype(np.float32)
    return np.asarray((a * a).sum(1)[:, None] + (b * b).sum(1) - 2 * a @ b.T, dtype=np.float32)


def _sparsity(rows: Floats) -> Floats:
    """Return each row's squared distance to its ``N_NEIGHBOURS``-th neighbour, shape (rows,): low is dense."""
    return np.asarray(np.partition(_squared_distances(rows, rows), N_NEIGHBOURS, axis=1)[:, N_NEIGHBOURS])


def densest(rows: Floats, cells: Ints, n_kept: int, rng: np.random.Generator) -> Ints:
    """Return the ``n_kept`` rows in the densest places: a quality filter that does not know of cells."""
    del cells, rng
    return np.argsort(_sparsity(rows), kind="stable")[:n_kept]


def densest_of_each_cell(rows: Floats, cells: Ints, n_kept: int, rng: np.random.Generator) -> Ints:
    """Return the densest rows of each cell, the same share of every cell (rounded at random): a tail-aware filter."""
    order = np.lexsort((_sparsity(rows), cells))
    starts = np.searchsorted(cells[order], cells[order])
    rank = np.arange(order.size) - starts
    quota = np.bincount(cells)[cells[order]] * (n_kept / len(rows)) + rng.random(int(cells.max()) + 1)[cells[order]]
    return order[rank < np.floor(quota)]


def at_random(rows: Floats, cells: Ints, n_kept: int, rng: np.random.Generator) -> Ints:
    """Return ``n_kept`` rows at random: what every filter must beat."""
    del cells
    return rng.permutation(len(rows))[:n_kept]


def everything(rows: Floats, cells: Ints, n_kept: int, rng: np.random.Generator) -> Ints:
    """Return every row."""
    del cells, n_kept, rng
    return np.arange(len(rows))


VARIANTS: Final[dict[str, tuple[Model, Filter]]] = {
    "kernel noise": (kernel_rows, everything),
    "local averaging": (averaged_rows, everything),
    "densest 80 %": (kernel_rows, densest),
    "densest 80 % of each cell": (kernel_rows, densest_of_each_cell),
    "random 80 %": (kernel_rows, at_random),
}


@dataclass(frozen=True)
class Loop:
    """One run: the world, its cells, the model and the filter."""

    world: Mixture
    cells: Centres
    model: Model
    kept: Filter

    def made(self, rows: Floats, rng: np.random.Generator) -> Floats:
        """Return ``N_ROWS`` rows or so of a model over ``rows``, after the filter."""
        n_drawn = N_ROWS if self.kept is everything else round(N_ROWS / KEPT_SHARE)
        drawn = self.model(rows, n_drawn, rng)
        return drawn[self.kept(drawn, self.cells.cells(drawn), N_ROWS, rng)]

    def counts(self, rows: Floats) -> Ints:
        """Return the rows per cell, shape (cells,)."""
        return np.bincount(self.cells.cells(rows), minlength=self.cells.n_cells)


def run(setting: Setting) -> list[Chains]:
    """Return the chains of one policy under each mechanism: tail coverage, effective cells, spread."""
    return [_chains(setting, variant) for variant in VARIANTS]


def _chains(setting: Setting, variant: str) -> Chains:
    runs = [until_halt(setting.policy, _watched(setting, variant, setting.rng(run))) for run in range(setting.runs)]
    return Chains.of(setting.policy, runs, generations=setting.generations, variant=variant)


def _watched(setting: Setting, variant: str, rng: np.random.Generator) -> Iterator[Step]:
    world = Mixture.of(rng)
    real = world.rows(N_ROWS, rng)
    cells = fit_centres(real, n_cells=N_CELLS, seed=setting.seed, outlier_share=0.0, what="real rows")
    model, kept = VARIANTS[variant]
    loop = Loop(world, cells, model, densest_of_each_cell if setting.policy == GUARDED else kept)
    reference = loop.counts(real)
    guard = Guard.over_cells(reference, planned_looks=setting.generations, look_rows=N_ROWS)
    for made in _generations(setting, loop, real, rng):
        guard = guard.look(loop.counts(made))
        figures = {
            "tail coverage": guard.tail_coverage_ratio,
            "effective cells": hill_number(loop.counts(made), order=1) / hill_number(reference, order=1),
            "spread": float(made.var(axis=0).sum() / real.var(axis=0).sum()),
        }
        yield Step(figures, guard.log_e, guard.halted)


def _generations(setting: Setting, loop: Loop, real: Floats, rng: np.random.Generator) -> Iterator[Floats]:
    made: list[Table] = []
    for _ in range(setting.generations):
        if setting.policy == FRESH:
            yield loop.world.rows(N_ROWS, rng)
            continue
        (rows,) = training_rows(setting, Table((real,)), made, rng).columns
        made.append(Table((loop.made(rows, rng),)))
        yield made[-1].columns[0]
