"""One way of mixing -> its forecast, and the smallest real share that reaches a goal."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

from collapse_guard.forecast.chains import Chains, simulate
from collapse_guard.forecast.value import Arm, Band
from collapse_guard.stats.drift import survival
from collapse_guard.stats.occupancy import alive_quantile

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from collapse_guard.forecast.loops import Loop
    from collapse_guard.forecast.population import Population
    from collapse_guard.forecast.settings import Settings

_LOW, _HIGH = 0.1, 0.9
_SHARE_STEPS: Final = 14


def run_arm(loop: Loop, population: Population, settings: Settings, reported: tuple[int, ...]) -> Arm:
    """Return one way of mixing, simulated if chains are asked for, and in closed form unless biases are declared."""
    chains = _chains(loop, population, settings, reported) if settings.n_chains else None
    simulated = None if chains is None else _simulated(chains)
    if settings.biases.any:
        assert chains is not None
        return Arm(loop, None, None, simulated, tuple(chains.alive_share.tolist()))
    shares = population.tail_shares
    effective = loop.effective_rows(settings.generations)[np.array(reported) - 1]
    bands = tuple(band_of(survival(shares, rows)) for rows in effective)
    return Arm(loop, tuple(effective.tolist()), bands, simulated, tuple(survival(shares, effective[-1]).tolist()))


def _chains(loop: Loop, population: Population, settings: Settings, reported: tuple[int, ...]) -> Chains:
    return simulate(
        loop,
        population.cells(every_class=settings.biases.need_every_class),
        n_tail=population.n_tail,
        reported=reported,
        n_chains=settings.n_chains,
        seed=settings.seed,
        biases=settings.biases,
    )


def band_of(alive: NDArray[np.float64]) -> Band:
    """Return the band of independent classes with these chances to be alive."""
    spread = math.sqrt(float((alive * (1 - alive)).sum()))
    return Band(float(alive.sum()), spread, alive_quantile(alive, _LOW), alive_quantile(alive, _HIGH))


def _simulated(chains: Chains) -> tuple[Band, ...]:
    low, high = np.quantile(chains.n_alive, [_LOW, _HIGH], axis=1, method="inverted_cdf")
    means, spreads = chains.n_alive.mean(axis=1), chains.n_alive.std(axis=1)
    columns = zip(means, spreads, low, high, strict=True)
    return tuple(Band(float(mean), float(spread), int(a), int(b)) for mean, spread, a, b in columns)


def smallest_real_share(loop: Loop, shares: NDArray[np.float64], settings: Settings) -> float | None:
    """Return the least real share that reaches the goal, to 1e-4, by bisection: survival rises with the real share."""
    goal = settings.keep * float(survival(shares, settings.n_rows).sum())

    def reaches(real_share: float) -> bool:
        effective = loop.with_real_share(real_share).effective_rows(settings.generations)[-1]
        return alive_quantile(survival(shares, effective), 1 - settings.probability) >= goal

    if not reaches(1.0):
        return None
    if reaches(0.0):
        return 0.0
    low, high = 0.0, 1.0
    for _ in range(_SHARE_STEPS):
        middle = (low + high) / 2
        low, high = (low, middle) if reaches(middle) else (middle, high)
    return high
