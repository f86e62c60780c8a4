"""Run an experiment under several policies: checked settings in, a frozen study out, and its view for reports."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from collapse_guard.errors import InputError
from collapse_guard.plugins import nearest
from collapse_guard.scenarios.experiments.catalogue import Experiment, experiment
from collapse_guard.scenarios.experiments.chains import FRESH, Chains, Floats, Setting
from collapse_guard.scenarios.experiments.guarding import halting_log_e

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

SCHEMA: Final = "collapse-guard/experiment/1"
MAX_GENERATIONS: Final = 1_000
MAX_RUNS: Final = 10_000
MAX_SEED: Final = 2**32 - 1


@dataclass(frozen=True)
class Study:
    """An experiment that has run: its settings, and the chains of each mechanism and policy, the null first."""

    name: str
    settings: tuple[Setting, ...]
    chains: tuple[Chains, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return plain values: medians and 10-90 % over runs, generation by generation; nan where nothing ran."""
        first = self.settings[0]
        about = experiment(self.name)
        return {
            "schema": SCHEMA,
            "experiment": self.name,
            "title": about.title,
            "generations": first.generations,
            "runs": first.runs,
            "seed": first.seed,
            "real_share": first.real_share,
            "log_e_limit": halting_log_e(),
            "log_scale": about.log_scale,
            "figures": list(self.chains[0].figures),
            "chains": [_chain_view(chains) for chains in self.chains],
        }


def _chain_view(chains: Chains) -> dict[str, Any]:
    return {
        "policy": chains.policy,
        "variant": chains.variant,
        "figures": {name: bands(values) for name, values in chains.figures.items()},
        "log_e": bands(chains.log_e),
        "halts": chains.halts.tolist(),
    }


def bands(values: Floats) -> dict[str, list[float]]:
    """Return median, 10 % and 90 % over runs of each generation, nan where no run got that far.

    >>> bands(np.array([[1.0, np.nan], [3.0, np.nan]]))["median"]
    [2.0, nan]
    """
    shown: dict[str, list[float]] = {}
    for name, level in (("median", 0.5), ("low", 0.1), ("high", 0.9)):
        shown[name] = [_quantile(column[~np.isnan(column)], level) for column in values.T]
    return shown


def _quantile(values: Floats, level: float) -> float:
    if values.size == 0:
        return math.nan
    if np.isinf(values).any():  # no evidence yet is -inf, and must not become nan between two of them
        return float(np.sort(values)[round(level * (values.size - 1))])
    return float(np.quantile(values, level))


def simulate(
    name: str,
    *,
    policies: Sequence[str] = (),
    generations: int | None = None,
    runs: int | None = None,
    seed: int = 0,
    real_share: float | None = None,
    text: Path | None = None,
    tell: Callable[[str], None] | None = None,
) -> Study:
    """Return an experiment's chains under the null and ``policies``, all of them if none is named.

    Args:
        name: an experiment of the catalogue.
        policies: what the next generation learns from.
        generations: 1 to 1,000; the experiment's own if left out.
        runs: independent chains, 1 to 10,000; the experiment's own if left out.
        seed: of everything random, 0 to 2^32 - 1.
        real_share: of ``anchor``, ``fresh-share`` and ``golden``, in (0, 1).
        text: a text file, for experiments that read one.
        tell: hears the name of each policy before it runs.

    Raises InputError that names the argument, before anything runs; MissingExtraError for a missing package.
    """
    about = experiment(name)
    chosen = _policies(name, about, policies)
    n_generations = _whole("generations", about.generations if generations is None else generations, MAX_GENERATIONS)
    n_runs = _whole("runs", about.runs if runs is None else runs, MAX_RUNS)
    if not 0 <= seed <= MAX_SEED:
        raise InputError(f"seed must lie in 0 to {MAX_SEED}, got {seed}")
    share = _share(about.real_share if real_share is None else real_share, about.n_rows)
    if text is not None and not about.reads_text:
        raise InputError(f"experiment {name!r} reads no text; --text belongs to sentences")
    settings = tuple(Setting(policy, n_generations, n_runs, seed, share, text) for policy in chosen)
    chains: list[Chains] = []
    for setting in settings:
        if tell is not None:
            tell(setting.policy)
        chains += about.run(setting)
    variants = list(dict.fromkeys(each.variant for each in chains))
    return Study(name, settings, tuple(sorted(chains, key=lambda each: variants.index(each.variant))))


def _policies(name: str, about: Experiment, asked: Sequence[str]) -> tuple[str, ...]:
    known = (FRESH, *about.policies)
    for policy in asked:
        if policy not in known:
            raise InputError(f"experiment {name!r} has no policy {policy!r}; {nearest(policy, known)}")
    return tuple(dict.fromkeys((FRESH, *(asked or about.policies))))


def _whole(name: str, value: int, most: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
        raise InputError(f"{name} must be a whole number from 1 to {most}, got {value!r}")
    return value


def _share(value: float, n_rows: int) -> float:
    if not 0 < value < 1:
        raise InputError(f"real_share must lie in (0, 1), got {value!r}; 'replace' is 0 and the null is 1")
    if not 1 <= round(value * n_rows) < n_rows:
        raise InputError(
            f"real_share {value!r} of {n_rows} rows leaves no row of one kind; name one further inside (0, 1)"
        )
    return value
