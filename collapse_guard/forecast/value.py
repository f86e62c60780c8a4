"""What a forecast says: a frozen value, its plain form, and the sentences that people read."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collapse_guard.forecast.loops import Loop
    from collapse_guard.forecast.settings import Settings

FORECAST_SCHEMA: Final = "collapse-guard/forecast/1"
_FINE: Final = 20

LEAVES_OUT: Final = (
    "Only resampling drift and declared biases: a neural generator also smooths, and can lose classes at once.",
    "No new classes: a class that no row holds comes back from real rows or not at all.",
    "Real data does not grow: every generation has the same real rows.",
    "Under the policy, the generated rows of a mix come from the last generation alone.",
    "Generated rows are independent and carry the right class; a mix is learnt exactly, each class at its share.",
)


@dataclass(frozen=True, slots=True)
class Band:
    """Tail classes alive in one generation: mean, standard deviation, and the 10 % and 90 % quantiles."""

    mean: float
    spread: float
    low: int
    high: int

    def as_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return {"mean": self.mean, "spread": self.spread, "low": self.low, "high": self.high}


@dataclass(frozen=True, slots=True)
class Arm:
    """One way of mixing, forecast.

    Args:
        loop: how its mixes are made.
        effective_real_rows: per reported generation, the fresh real rows that it is worth; None under biases.
        closed_form: per reported generation; None under biases.
        simulation: per reported generation; None without chains.
        class_alive: chance of each tail class to be alive in the last generation, rarest class first.
    """

    loop: Loop
    effective_real_rows: tuple[float, ...] | None
    closed_form: tuple[Band, ...] | None
    simulation: tuple[Band, ...] | None
    class_alive: tuple[float, ...]

    @property
    def bands(self) -> tuple[Band, ...]:
        """The closed form where there is one, the simulation otherwise."""
        bands = self.closed_form if self.closed_form is not None else self.simulation
        assert bands is not None
        return bands

    def largest_difference(self, n_chains: int) -> float | None:
        """Return the largest distance of the two means in standard errors of the simulation; None without both.

        A standard error counts as at least one class in one chain: rarer events than that have no useful error.
        """
        if self.closed_form is None or self.simulation is None:
            return None
        pairs = zip(self.closed_form, self.simulation, strict=True)
        return max(abs(a.mean - b.mean) / max(a.spread / math.sqrt(n_chains), 1 / n_chains) for a, b in pairs)

    def as_dict(self, generations: tuple[int, ...]) -> dict[str, Any]:
        """Return plain values, one mapping per reported generation."""
        loop = self.loop
        return {
            "name": loop.name,
            "real_share": loop.real_share,
            "n_synthetic_rows": loop.n_synthetic_rows,
            "keeps_everything": loop.keeps_everything,
            "effective_real_rows": _rows(generations, self.effective_real_rows),
            "closed_form": _rows(generations, self.closed_form),
            "simulation": _rows(generations, self.simulation),
        }


@dataclass(frozen=True, slots=True)
class Forecast:
    """How many tail classes outlive a chain of generations, before any training.

    Args:
        settings: what was asked.
        policy_digest, manifest_digest: what it was asked about; the latter is None for bare counts.
        tail_mass: the policy's.
        n_classes: classes with real rows.
        n_real_rows: all real rows.
        tail_names, tail_rows: the tail, rarest first.
        fresh_real: tail classes that ``n_rows`` fresh real rows show: the yardstick.
        reported: generations that the arms speak of.
        arms: policy first.
        smallest_real_share: least real share of the mix that reaches the goal, None if none does or under biases.
        notes: what this policy and these rows add to ``LEAVES_OUT``.
    """

    settings: Settings
    policy_digest: str
    manifest_digest: str | None
    tail_mass: float
    n_classes: int
    n_real_rows: int
    tail_names: tuple[str, ...]
    tail_rows: tuple[int, ...]
    fresh_real: Band
    reported: tuple[int, ...]
    arms: tuple[Arm, ...]
    smallest_real_share: float | None
    notes: tuple[str, ...]

    @property
    def largest_difference(self) -> float | None:
        """Largest distance of closed form and simulation over arms and generations, in standard errors."""
        found = [arm.largest_difference(self.settings.n_chains) for arm in self.arms]
        known = [value for value in found if value is not None]
        return max(known) if known else None

    @property
    def summary(self) -> str:
        """The answer in one sentence or two."""
        settings, n_tail = self.settings, len(self.tail_rows)
        policy, fresh, replacing = self.arms[0].bands[-1], self.fresh_real, self.arms[1].bands[-1]
        means = [_number(band.mean, n_tail) for band in (policy, fresh, replacing)]
        chain = f"{_counted(settings.generations, 'generation')} of {_counted(settings.n_rows, 'row')}"
        mix = f"{_percent(self.arms[0].loop.real_share)} real"
        runs = f"{policy.low} to {policy.high}" if policy.low < policy.high else f"{policy.low}"
        return (
            f"After {chain} under this policy ({mix}), {means[0]} of {_counted(n_tail, 'rare class')} are alive"
            f" (8 of 10 runs: {runs}). Fresh real data would show {means[1]};"
            f" replacing the real rows would leave {means[2]}."
        )

    @property
    def share_sentence(self) -> str:
        """What the smallest real share means."""
        settings, share = self.settings, self.smallest_real_share
        goal = f"{_percent(settings.keep)} of what fresh real data would show, with {_percent(settings.probability)}"
        if settings.biases.any:
            return "The smallest real share is not computed under declared biases: a real share does not undo them."
        if share is None:
            return f"No real share keeps {goal} probability: {settings.n_rows:,} real rows alone do not show so much."
        if share == 0:
            return f"Even without any real rows the chain keeps {goal} probability."
        has = self.arms[0].loop.real_share
        verdict = "enough" if has >= share else "too little"
        least, held = math.ceil(1000 * share) / 10, math.floor(1000 * has + 1e-9) / 10  # rounding shall not hide a gap
        return f"To keep {goal} probability, {least:g} % of the mix must be real; {held:g} % is {verdict}."

    def as_dict(self) -> dict[str, Any]:
        """Return plain values under the schema ``collapse-guard/forecast/1``."""
        settings = self.settings
        biases = settings.biases
        return {
            "schema": FORECAST_SCHEMA,
            "summary": self.summary,
            "policy_digest": self.policy_digest,
            "manifest_digest": self.manifest_digest,
            "generations": settings.generations,
            "n_rows": settings.n_rows,
            "n_real_rows": self.n_real_rows,
            "n_classes": self.n_classes,
            "n_chains": settings.n_chains,
            "seed": settings.seed,
            "biases": {
                "temperature": biases.temperature,
                "top_p": biases.top_p,
                "tail_removal": biases.tail_removal,
                "any": biases.any,
            },
            "tail": {"tail_mass": self.tail_mass, "n_classes": len(self.tail_rows), "n_real_rows": sum(self.tail_rows)},
            "fresh_real": self.fresh_real.as_dict(),
            "arms": [arm.as_dict(self.reported) for arm in self.arms],
            "smallest_real_share": {
                "keep": settings.keep,
                "probability": settings.probability,
                "real_share": self.smallest_real_share,
                "sentence": self.share_sentence,
            },
            "largest_difference_in_standard_errors": self.largest_difference,
            "classes": self._classes(),
            "leaves_out": list(LEAVES_OUT),
            "notes": list(self.notes),
        }

    def _classes(self) -> list[dict[str, Any]]:
        """Return name, real rows and chance to be alive at the end of each tail class, rarest first."""
        columns = zip(*(arm.class_alive for arm in self.arms), strict=True)
        names = [arm.loop.name for arm in self.arms]
        return [
            {"name": name, "n_real_rows": rows, "alive": dict(zip(names, alive, strict=True))}
            for name, rows, alive in zip(self.tail_names, self.tail_rows, columns, strict=True)
        ]


def _rows(generations: tuple[int, ...], values: tuple[Any, ...] | None) -> list[dict[str, Any]] | None:
    if values is None:
        return None
    plain = [value.as_dict() if isinstance(value, Band) else {"rows": value} for value in values]
    return [{"generation": generation} | row for generation, row in zip(generations, plain, strict=True)]


def _percent(share: float) -> str:
    """Return a share for people: 31 %, 0.4 %, and never 100 % for less than all."""
    for digits in range(6):
        text = f"{100 * share:.{digits}f}"
        if (float(text) > 0 or share == 0) and (float(text) < 100 or share == 1):  # noqa: PLR2004 - percent
            return f"{text} %"
    return f"{100 * share:g} %"


def _number(mean: float, n_tail: int) -> str:
    return f"{mean:.0f}" if n_tail >= _FINE else f"{mean:.1f}"


def _counted(number: int, noun: str) -> str:
    plural = "es" if noun.endswith("s") else "s"
    return f"{number:,} {noun}{plural if number != 1 else ''}"
