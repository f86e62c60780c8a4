"""Experiment 4: the categorical loop with a sampler or a filter that disfavours the tail.

Temperature and top-p act on the model, under every policy. The quality filter takes one in five tail rows out of the
output; ``guarded`` filters within each class instead, so that every class keeps the same share. Sources:
Marchi et al. (arXiv 2404.02325) for temperature; Gambetta et al. (arXiv 2410.12341) for selection.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from collapse_guard.scenarios.experiments.categorical import (
    TAIL_MASS,
    Ints,
    chains,
    normalised,
    unbiased,
)
from collapse_guard.scenarios.experiments.chains import FRESH, GUARDED, Chains, Floats, Setting
from collapse_guard.stats.evalues import tail_cells

if TYPE_CHECKING:
    from collections.abc import Callable

    from collapse_guard.scenarios.experiments.categorical import Bias

TEMPERATURE: Final = 0.95
TOP_P: Final = 0.98
TAIL_LOSS: Final = 0.20


def cooled(model: Floats) -> Floats:
    """Return the shares at a temperature under 1.

    >>> cooled(np.array([0.9, 0.1])).round(3)
    array([0.91, 0.09])
    """
    return normalised(model ** (1 / TEMPERATURE))


def nucleus(model: Floats) -> Floats:
    """Return the shares of the likeliest classes that together reach ``TOP_P``; the rest is cut.

    >>> nucleus(np.array([0.5, 0.485, 0.015])).round(3)
    array([0.508, 0.492, 0.   ])
    """
    order = np.argsort(-model, kind="stable")
    kept = order[: np.searchsorted(np.cumsum(model[order]), TOP_P) + 1]
    cut = np.zeros_like(model)
    cut[kept] = model[kept]
    return normalised(cut)


def _always(bias: Bias) -> Callable[[str, Ints], Bias]:
    """Return the loop that is biased under every policy but the null."""
    return lambda policy, _: unbiased if policy == FRESH else bias


def filtered_loop(policy: str, anchor: Ints) -> Bias:
    """Return the loop whose filter drops ``TAIL_LOSS`` of the anchor's tail; ``guarded`` filters classes alike."""
    if policy in {FRESH, GUARDED}:
        return unbiased
    kept = np.ones(anchor.size)
    kept[tail_cells(anchor, TAIL_MASS)] = 1 - TAIL_LOSS
    return lambda model: normalised(model * kept)


VARIANTS: Final = {
    "temperature .95": _always(cooled),
    "top-p .98": _always(nucleus),
    "filter -20 % of tail": filtered_loop,
}


def run(setting: Setting) -> list[Chains]:
    """Return the chains of one policy under each bias, with the figures of the categorical experiment."""
    return [chains(setting, loop, variant) for variant, loop in VARIANTS.items()]
