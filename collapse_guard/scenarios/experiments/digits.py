"""Experiment 7: a variational autoencoder on long-tailed digits, its samples labelled by a frozen classifier.

Real rows: scikit-learn's 8 x 8 digits, resampled with jitter, ten classes with geometric shares. The pooled tail
grows while the model collapses (blurred rows look like a rare class), so that only evidence per class sees it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import numpy as np

from collapse_guard._optional import need
from collapse_guard.scenarios.experiments.chains import (
    FRESH,
    Chains,
    Setting,
    Step,
    Table,
    training_rows,
    until_halt,
)
from collapse_guard.scenarios.experiments.digit_vae import FrozenLabeller, fit_vae, nearest_distances
from collapse_guard.scenarios.experiments.guarding import Guard

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from collapse_guard.scenarios.experiments.digit_vae import Images, Ints

N_CLASSES, N_ROWS = 10, 4_000
#: Rows of a look. Samples cost next to nothing, and a class with thirty real rows needs many to be seen at half of it.
N_LOOK: Final = 16_000
#: Every generation starts from the same weights and takes its rows in the same order: only its data differ.
FIT_SEED: Final = 1_000
RAREST_TO_COMMONEST: Final = 0.02
JITTER: Final = 0.05
KEPT_SHARE: Final = 0.80
#: What the samples are measured against: the default policy takes both, and halts on their average.
REFERENCES: Final = {"both": ("real", "first_model"), "real": ("real",), "first model": ("first_model",)}


@dataclass(frozen=True)
class Digits:
    """Real images to resample, by class, and the labeller that never changes."""

    images: Images
    labels: Ints
    labeller: FrozenLabeller

    @classmethod
    def load(cls) -> Digits:
        """Return the digits that scikit-learn ships, half of them held out for the labeller."""
        found = need("sklearn.datasets", extra="demo").load_digits()
        images, labels = (found.data / 16).astype(np.float32), found.target.astype(np.int64)
        held_out = np.random.default_rng(0).permutation(len(labels)) % 2 == 0
        labeller = FrozenLabeller.fit(images[held_out], labels[held_out])
        return cls(images[~held_out], labels[~held_out], labeller)

    def rows(self, n_rows: int, rng: np.random.Generator) -> Images:
        """Return new real rows, shape (n_rows, 64): classes with geometric shares, images resampled with jitter."""
        weights = RAREST_TO_COMMONEST ** (np.arange(N_CLASSES) / (N_CLASSES - 1))
        wanted = rng.choice(N_CLASSES, size=n_rows, p=weights / weights.sum())
        order = np.argsort(self.labels, kind="stable")
        starts = np.searchsorted(self.labels[order], np.arange(N_CLASSES + 1))
        chosen = order[starts[wanted] + (rng.random(n_rows) * np.diff(starts)[wanted]).astype(np.int64)]
        noise = JITTER * rng.normal(size=(n_rows, self.images.shape[1]))
        return np.clip(self.images[chosen] + noise, 0, 1).astype(np.float32)

    def filtered(self, rows: Table) -> Table:
        """Return the rows that some class claims, of each class the 80 % that lie nearest to a real image."""
        (images,) = rows.columns
        labels = self.labeller(images)
        distances = nearest_distances(images, self.labeller.held_out)
        kept = [_nearest(np.flatnonzero(labels == label), distances) for label in range(N_CLASSES)]
        return rows.take(np.sort(np.concatenate(kept)))


def _nearest(members: Ints, distances: NDArray[np.float32]) -> Ints:
    order = np.argsort(distances[members], kind="stable")
    return members[order[: int(np.ceil(KEPT_SHARE * members.size))]]


@lru_cache(maxsize=1)
def digits() -> Digits:
    """Return the world; loaded once per process."""
    return Digits.load()


@dataclass(frozen=True)
class Labelled:
    """Rows per class, and rows that no class claims."""

    counts: Ints
    n_unclaimed_rows: int

    @classmethod
    def of(cls, labels: Ints) -> Labelled:
        """Return the counts of labels, -1 for none."""
        return cls(np.bincount(labels[labels >= 0], minlength=N_CLASSES), int((labels < 0).sum()))


def run(setting: Setting) -> list[Chains]:
    """Return the chains of one policy: the weakest class, rows that no class claims, tail mass, both references."""
    runs = [until_halt(setting.policy, _watched(setting, run)) for run in range(setting.runs)]
    return [Chains.of(setting.policy, runs, generations=setting.generations)]


def _watched(setting: Setting, run: int) -> Iterator[Step]:
    world, rng = digits(), setting.rng(run)
    real = world.rows(N_ROWS, rng)
    truth = Labelled.of(world.labeller(real))
    guards = {name: _guard(truth, setting, references) for name, references in REFERENCES.items()}
    for look in _generations(setting, world, real, rng):
        seen = Labelled.of(world.labeller(look))
        guards = {
            name: guard.look(seen.counts, n_unclaimed_rows=seen.n_unclaimed_rows) for name, guard in guards.items()
        }
        figures = {
            "weakest class": float((seen.counts / N_LOOK / (truth.counts / N_ROWS)).min()),
            "unclaimed share": seen.n_unclaimed_rows / N_LOOK,
            "tail mass": guards["real"].tail_mass_ratio,
            "log e, real": guards["real"].log_e,
            "log e, first model": guards["first model"].log_e,
        }
        yield Step(figures, guards["both"].log_e, guards["both"].halted)


def _guard(truth: Labelled, setting: Setting, references: tuple[str, ...]) -> Guard:
    return Guard.over_cells(
        truth.counts,
        planned_looks=setting.generations,
        look_rows=N_LOOK,
        n_unclaimed_rows=truth.n_unclaimed_rows,
        references=references,
    )


def _generations(setting: Setting, world: Digits, real: Images, rng: np.random.Generator) -> Iterator[Images]:
    """Yield each generation's look; the next generation may learn from its first ``N_ROWS`` rows."""
    made: list[Table] = []
    for _ in range(setting.generations):
        rows = training_rows(setting, Table((real,)), made, rng, filtered=world.filtered).columns[0]
        if setting.policy == FRESH and made:
            rows = world.rows(N_ROWS, rng)
        look = fit_vae(rows, seed=FIT_SEED)(N_LOOK, int(rng.integers(2**31)))
        yield look
        made.append(Table((look[:N_ROWS],)))
