"""What a forecast is asked, checked."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Real
from typing import TYPE_CHECKING, Final

import numpy as np

from collapse_guard.errors import StatisticError
from collapse_guard.stats.counts import as_rows

if TYPE_CHECKING:
    from collapse_guard.forecast.chains import Biases

MAX_GENERATIONS: Final = 10_000
_MOST_REPORTED: Final = 100


@dataclass(frozen=True, slots=True)
class Settings:
    """What was asked.

    Args:
        generations: models in a chain.
        n_rows: generated rows per generation, after filters, and rows of a look.
        n_chains: simulated chains, 0 for none.
        seed: of the simulation.
        keep: share of the tail classes that fresh real rows show, which shall be alive at the end.
        probability: how sure of that one wants to be.
        biases: of the generated rows.

    Raises StatisticError for a value out of range.
    """

    generations: int
    n_rows: int
    n_chains: int
    seed: int
    keep: float
    probability: float
    biases: Biases

    def __post_init__(self) -> None:
        """Raise StatisticError for a value out of range."""
        as_rows(self.n_chains, name="n_chains")
        as_rows(self.seed, name="seed")
        if not _is_number(self.keep) or not 0 < self.keep <= 1:
            raise StatisticError(f"keep must lie in (0, 1], got {self.keep!r}")
        if not _is_number(self.probability) or not 0 < self.probability < 1:
            raise StatisticError(f"probability must lie in (0, 1), got {self.probability!r}")
        if self.biases.any and self.n_chains == 0:
            raise StatisticError("n_chains must be 1 or more under biases: there is no closed form for them, got 0")


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def one_or_more(value: int, *, name: str) -> int:
    """Return ``value``, a whole number of 1 or more; raises StatisticError that names it."""
    if as_rows(value, name=name) == 0:
        raise StatisticError(f"{name} must be 1 or more, got 0")
    return int(value)


def as_generations(value: int) -> int:
    """Return ``value``, 1 to 10 000; raises StatisticError."""
    if one_or_more(value, name="generations") > MAX_GENERATIONS:
        raise StatisticError(f"generations must be 1 to {MAX_GENERATIONS}, got {value}")
    return int(value)


def reported_generations(generations: int) -> tuple[int, ...]:
    """Return every generation, or about a hundred of them at even ratios; the first and the last always.

    >>> reported_generations(3), len(reported_generations(10_000))
    ((1, 2, 3), 84)
    """
    if generations <= _MOST_REPORTED:
        return tuple(range(1, generations + 1))
    return tuple(np.unique(np.geomspace(1, generations, _MOST_REPORTED).round().astype(int)).tolist())
