"""The experiments by name: what each shows, how long it runs, and which policies it knows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from collapse_guard.errors import InputError
from collapse_guard.plugins import nearest
from collapse_guard.scenarios.experiments import (
    biased,
    categorical,
    digits,
    embeddings,
    gaussian,
    regression,
    sentences,
)
from collapse_guard.scenarios.experiments.chains import FRESH_SHARE, GOLDEN, POLICIES, Chains, Setting

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True)
class Experiment:
    """A loop that can collapse.

    Args:
        title: one line of what is refitted to what.
        run: a setting -> the chains of its policy, one entry per variant.
        n_rows: rows that a generation makes.
        generations, runs, real_share: used where the caller names none; ``real_share`` is that of ``anchor``.
        policies: what the next generation may learn from; the null always runs too.
        reads_text: whether it needs a text file.
        log_scale: whether the first figure is drawn on a logarithmic scale.
    """

    title: str
    run: Callable[[Setting], list[Chains]]
    n_rows: int
    generations: int
    runs: int
    real_share: float = 0.5
    policies: tuple[str, ...] = POLICIES
    reads_text: bool = False
    log_scale: bool = False


EXPERIMENTS: Final[dict[str, Experiment]] = {
    "gaussian": Experiment(
        "a Gaussian refitted to 100 of its own rows",
        gaussian.run,
        gaussian.N_ROWS,
        generations=100,
        runs=20,
        policies=(*POLICIES, FRESH_SHARE, GOLDEN),
        log_scale=True,
    ),
    "regression": Experiment(
        "linear regression on labels that the last model made, d = 10, N = 100",
        regression.run,
        regression.N_ROWS,
        generations=50,
        runs=200,
        policies=(*POLICIES, FRESH_SHARE, GOLDEN),
        log_scale=True,
    ),
    "categorical": Experiment(
        "a categorical model of 1,000 Zipf classes, 10,000 rows",
        categorical.run,
        categorical.N_ROWS,
        generations=50,
        runs=10,
    ),
    "biased": Experiment(
        "the categorical loop with a biased sampler or filter", biased.run, categorical.N_ROWS, generations=10, runs=10
    ),
    "embeddings": Experiment(
        "models and filters over embeddings, a long-tailed mixture in 16 dimensions",
        embeddings.run,
        embeddings.N_ROWS,
        generations=8,
        runs=5,
    ),
    "sentences": Experiment(
        "a trigram model on 6,000 real sentences",
        sentences.run,
        sentences.N_REAL,
        generations=8,
        runs=5,
        reads_text=True,
        log_scale=True,
    ),
    "digits": Experiment(
        "a variational autoencoder on 4,000 long-tailed digits", digits.run, digits.N_ROWS, generations=8, runs=1
    ),
}


def experiment(name: str) -> Experiment:
    """Return the experiment called ``name``; raises InputError that says what is near.

    >>> experiment("gausian")
    Traceback (most recent call last):
    ...
    collapse_guard.errors.InputError: unknown experiment 'gausian'; did you mean 'gaussian'?
    """
    if name not in EXPERIMENTS:
        raise InputError(f"unknown experiment {name!r}; {nearest(name, EXPERIMENTS)}")
    return EXPERIMENTS[name]
