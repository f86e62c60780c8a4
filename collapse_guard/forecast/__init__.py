"""Before any training: how many tail classes outlive a chain of generations under a policy?

Policy + class counts -> loops -> closed form and simulation -> one frozen value. The public name
``collapse_guard.forecast`` is this module, and the module can be called: a function of the same name would be
shadowed by ``import collapse_guard.forecast``.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

from collapse_guard.errors import InputError
from collapse_guard.forecast.arms import band_of, run_arm, smallest_real_share
from collapse_guard.forecast.chains import Biases
from collapse_guard.forecast.loops import loops_of
from collapse_guard.forecast.notes import notes_on
from collapse_guard.forecast.population import Population
from collapse_guard.forecast.settings import Settings, as_generations, one_or_more, reported_generations
from collapse_guard.forecast.value import Arm, Band, Forecast
from collapse_guard.policy import Policy
from collapse_guard.stats.drift import survival

if TYPE_CHECKING:
    from collections.abc import Mapping
    from os import PathLike

    from collapse_guard.forecast.population import ClassCounts

__all__ = ["Arm", "Band", "Biases", "Forecast", "Settings", "forecast"]


def forecast(  # noqa: PLR0913 - one question; every argument is part of it
    policy: Policy | Mapping[str, Any] | str | PathLike[str],
    counts: ClassCounts,
    *,
    generations: int,
    n_chains: int,
    seed: int,
    keep: float,
    probability: float,
    n_rows: int | None = None,
    biases: Biases | None = None,
) -> Forecast:
    """Forecast how many tail classes are alive in each generation, under the policy, replace and accumulate.

    Args:
        policy: a policy with a coverage section: its ``tail_mass`` says what the tail is, its caps what a mix holds.
        counts: a manifest, its path, rows by class name, or integers of shape (classes,): the real rows.
        generations: models in a chain, 1 to 10 000; the first learns real rows alone.
        n_chains: simulated chains; 0 for the closed form alone.
        seed: of the simulation, 0 or more.
        keep: share, in (0, 1], of the tail classes that fresh real rows show, which shall be alive at the end.
        probability: of reaching that, in (0, 1); both ask for the smallest real share.
        n_rows: generated rows per generation, after filters; None for as many as the policy lets into a mix.
        biases: what bends generated rows; the closed form is then left out.

    Raises InputError (or a subclass) that names the argument.

    >>> real = {"common": 900, "rare": 60, "rarest": 4}
    >>> rules = {"version": 1, "extends": "preset:starter@1"}
    >>> found = forecast(rules, real, generations=20, n_chains=100, seed=0, keep=0.9, probability=0.9)
    >>> round(found.arms[0].closed_form[-1].mean, 2), round(found.arms[1].closed_form[-1].mean, 2)
    (1.97, 1.3)
    """
    rules = Policy.coerce(policy)
    if rules.coverage is None:
        raise InputError("policy has no coverage section, so that there is no tail; add one with a tail_mass")
    population = Population.of(counts, tail_mass=rules.coverage.tail_mass)
    length, rows = as_generations(generations), None if n_rows is None else one_or_more(n_rows, name="n_rows")
    loops = loops_of(rules, n_real_rows=population.n_rows, n_rows=rows, generations=length)
    settings = Settings(length, loops[0].n_rows, n_chains, seed, keep, probability, biases or Biases())
    shares, reported = population.tail_shares, reported_generations(length)
    return Forecast(
        settings,
        rules.digest,
        population.digest,
        rules.coverage.tail_mass,
        len(population.names),
        population.n_rows,
        population.names[: population.n_tail],
        tuple(population.rows[: population.n_tail].tolist()),
        band_of(survival(shares, settings.n_rows)),
        reported,
        tuple(run_arm(loop, population, settings, reported) for loop in loops),
        None if settings.biases.any else smallest_real_share(loops[0], shares, settings),
        tuple(notes_on(rules, loops[0], population, length)),
    )


class _CallableModule(ModuleType):
    def __call__(self, *args: Any, **kwargs: Any) -> Forecast:
        """Call :func:`forecast`."""
        return forecast(*args, **kwargs)


sys.modules[__name__].__class__ = _CallableModule
