"""Experiment 3: a categorical model over a thousand classes, refitted to the counts of its own samples.

Classes follow Zipf's law; the anchor is one real sample, and the reference of the guard. Sources: Suresh et al.
(arXiv 2412.17646) for the refit, Kazdan et al. (arXiv 2410.16713) for the subsample.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from collapse_guard.scenarios.experiments.chains import (
    FRESH,
    Chains,
    Floats,
    Setting,
    Step,
    synthetic_budget,
    until_halt,
)
from collapse_guard.scenarios.experiments.guarding import Guard

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Bias = Callable[[Floats], Floats]

Ints = NDArray[np.int64]

N_CLASSES, N_ROWS = 1_000, 10_000
TAIL_MASS: Final = 0.10


def zipf_shares(n_classes: int = N_CLASSES) -> Floats:
    """Return shares that fall as 1 / rank, shape (n_classes,).

    >>> zipf_shares(2).round(3)
    array([0.667, 0.333])
    """
    return normalised(1 / np.arange(1, n_classes + 1))


def normalised(weights: NDArray[np.generic]) -> Floats:
    """Return ``weights`` as shares."""
    floats = weights.astype(np.float64)
    return np.asarray(floats / floats.sum())


def model_of(setting: Setting, counts: list[Ints], rng: np.random.Generator) -> Floats:
    """Return the next model's shares; ``counts`` holds the anchor's rows per class, then each sample's, oldest first.

    ``anchor`` draws both parts anew, so that the real part adds noise of its own.
    """
    anchor, last = counts[0], counts[-1]
    n_rows = int(anchor.sum())
    if len(counts) == 1 or setting.policy == FRESH:
        return normalised(anchor)
    match setting.policy:
        case "replace":
            return normalised(last)
        case "accumulate":
            return normalised(np.sum(counts, axis=0))
        case "accumulate-subsample":
            return normalised(some(np.sum(counts, axis=0), n_rows, rng))
        case "anchor":
            n_real = round(setting.real_share * n_rows)
            return normalised(some(anchor, n_real, rng) + some(last, n_rows - n_real, rng))
        case _:
            made = np.sum(counts[1:], axis=0)
            return normalised(anchor + some(made, min(synthetic_budget(n_rows), int(made.sum())), rng))


def some(counts: Ints, n_rows: int, rng: np.random.Generator) -> Ints:
    """Return the counts of ``n_rows`` rows drawn from ``counts`` without replacement."""
    return rng.multivariate_hypergeometric(counts, n_rows, method="marginals")


def unbiased(model: Floats) -> Floats:
    """Return the model as it is."""
    return model


def samples(setting: Setting, anchor: Ints, bias: Bias, rng: np.random.Generator) -> Iterator[tuple[Floats, Ints]]:
    """Yield each generation's shares and the counts of its sample, as large as the anchor."""
    counts = [anchor]
    for _ in range(setting.generations):
        model = model_of(setting, counts, rng)
        made = rng.multinomial(int(anchor.sum()), bias(model))
        yield model, made
        counts.append(made)


def run(setting: Setting) -> list[Chains]:
    """Return the chains of one policy: classes alive in the model, coverage and mass of the tail in its samples."""
    return [chains(setting, unbiased_loop, "")]


def unbiased_loop(policy: str, anchor: Ints) -> Bias:
    """Return the loop without a bias, whatever the policy."""
    del policy, anchor
    return unbiased


def chains(setting: Setting, loop: Callable[[str, Ints], Bias], variant: str) -> Chains:
    """Return all runs under the bias that ``loop`` makes of the policy and the anchor."""
    runs = [until_halt(setting.policy, _watched(setting, loop, setting.rng(run))) for run in range(setting.runs)]
    return Chains.of(setting.policy, runs, generations=setting.generations, variant=variant)


def _watched(setting: Setting, loop: Callable[[str, Ints], Bias], rng: np.random.Generator) -> Iterator[Step]:
    anchor = rng.multinomial(N_ROWS, zipf_shares())
    guard = Guard.over_cells(anchor, planned_looks=setting.generations, look_rows=N_ROWS)
    for model, made in samples(setting, anchor, loop(setting.policy, anchor), rng):
        guard = guard.look(made)
        figures = {
            "classes alive": float((model > 0).sum()),
            "tail coverage": guard.tail_coverage_ratio,
            "tail mass": guard.tail_mass_ratio,
        }
        yield Step(figures, guard.log_e, guard.halted)
