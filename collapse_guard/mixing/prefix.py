"""Caps on a mix whose end is not known: every one of them holds on every prefix of the output."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypedDict

from collapse_guard.errors import InputError
from collapse_guard.mixing.caps import room

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from collapse_guard.policy import Policy

#: Synthetic rows that the order may lag behind its pace, so that no reader can foresee which part comes next.
_LAG_ROWS: Final = 8.0
#: Synthetic rows per real row where nothing limits them and no size is known.
_EVEN: Final = 1.0
#: Of sums of floats.
_ROUNDING: Final = 1e-9


class PrefixTally(TypedDict):
    """Rows of a mix so far; plain values, so that a checkpoint can hold it.

    ``sources``, ``generators`` and ``generations`` count rows of either part by name.
    """

    real: int
    synthetic: int
    sources: dict[str, int]
    generators: dict[str, int]
    generations: dict[str, int]


def empty_tally() -> PrefixTally:
    """Return the tally of no rows."""
    return {"real": 0, "synthetic": 0, "sources": {}, "generators": {}, "generations": {}}


@dataclass(frozen=True, slots=True)
class RowTags:
    """What caps ask of a row."""

    is_real: bool
    source: str
    generator: str | None
    generation: int


def count(tally: PrefixTally, row: RowTags) -> None:
    """Count a row of the output."""
    tally["real" if row.is_real else "synthetic"] += 1
    _add(tally["sources"], row.source)
    if row.generator is not None:
        _add(tally["generators"], row.generator)
    _add(tally["generations"], str(row.generation))


def _add(counts: dict[str, int], name: str) -> None:
    counts[name] = counts.get(name, 0) + 1


@dataclass(frozen=True)
class PrefixCaps:
    """The caps of a policy that a prefix can keep; rows are counted, and real rows are never held back.

    Args:
        ratio: largest number of synthetic rows per real row; infinite for no cap.
        source_shares: source -> largest share of its rows.
        generator_share: largest share of one generator.
        generation_shares: largest share of generation 1, 2, ...; the last one holds for all deeper ones.
        depth: largest generation.
        source_depths: source -> largest generation of its rows.
    """

    ratio: float = math.inf
    source_shares: Mapping[str, float] | None = None
    generator_share: float | None = None
    generation_shares: tuple[float, ...] = ()
    depth: int = 254
    source_depths: Mapping[str, int] | None = None

    @classmethod
    def of_policy(cls, policy: Policy) -> PrefixCaps:
        """Return the caps of a policy.

        Raises InputError if it asks for what only a plan over all rows can keep.

        >>> from collapse_guard.policy import policy_from_mapping
        >>> PrefixCaps.of_policy(policy_from_mapping({"version": 1, "mix": {"real_min_share": 0.8}})).ratio
        0.25
        """
        unkept = unkept_on_prefixes(policy)
        if unkept:
            text = f"a mix of streams cannot keep {', '.join(unkept)}"
            raise InputError(f"{text}; leave them out of its policy, or plan over datasets (collapse_guard.plan_mix)")
        mix, sources = policy.mix, policy.sources
        shares = mix.per_generation_max_share
        floor = math.inf if mix.real_min_share == 0 else round((1 - mix.real_min_share) / mix.real_min_share, 12)
        return cls(
            ratio=floor if mix.synthetic_to_real_max is None else min(floor, mix.synthetic_to_real_max),
            source_shares={name: rule.max_share for name, rule in sources.items() if rule.max_share is not None},
            generator_share=mix.per_generator_max_share,
            generation_shares=() if shares is None else shares if isinstance(shares, tuple) else (shares,),
            depth=policy.provenance.max_generation_depth,
            source_depths={name: rule.max_depth for name, rule in sources.items() if rule.max_depth is not None},
        )

    def is_too_deep(self, row: RowTags) -> bool:
        """Return whether a row may never enter, for its generation."""
        return row.generation > min(self.depth, (self.source_depths or {}).get(row.source, self.depth))

    def admit(self, row: RowTags, tally: PrefixTally) -> bool:
        """Return whether every cap still holds if a synthetic row comes next.

        >>> tally = empty_tally() | {"real": 3, "synthetic": 1}
        >>> bot = RowTags(False, "bot", "bot@1", 1)
        >>> PrefixCaps(ratio=0.5).admit(bot, tally), PrefixCaps(ratio=1.0).admit(bot, tally)
        (False, True)
        """
        if not math.isinf(self.ratio) and tally["synthetic"] + 1 > room(self.ratio * tally["real"]):
            return False
        total = tally["real"] + tally["synthetic"] + 1
        return all(held + 1 <= room(share * total) for held, share in self._shares(row, tally))

    def _shares(self, row: RowTags, tally: PrefixTally) -> Iterator[tuple[int, float]]:
        """Yield (rows so far, largest share) of each capped group of a row."""
        share = (self.source_shares or {}).get(row.source)
        if share is not None:
            yield tally["sources"].get(row.source, 0), share
        if self.generator_share is not None and row.generator is not None:
            yield tally["generators"].get(row.generator, 0), self.generator_share
        if self.generation_shares:
            place = min(max(row.generation, 1), len(self.generation_shares)) - 1
            yield tally["generations"].get(str(row.generation), 0), self.generation_shares[place]

    def pace(self, n_real_rows: int | None, n_synthetic_rows: int | None) -> float:
        """Return how many synthetic rows should come per real row, so that both parts end together.

        The caps decide how many enter; this decides where. Unknown sizes are None.

        >>> PrefixCaps(ratio=1.0).pace(1000, 100), PrefixCaps(ratio=1.0).pace(1000, None), PrefixCaps().pace(None, None)
        (0.1, 1.0, 1.0)
        """
        wanted = math.inf if n_synthetic_rows is None or not n_real_rows else n_synthetic_rows / n_real_rows
        slowest = min(self.ratio, wanted)
        return _EVEN if math.isinf(slowest) else slowest


def unkept_on_prefixes(policy: Policy) -> tuple[str, ...]:
    """Return the keys of a policy that need all rows before the first can be given, as dotted paths.

    >>> from collapse_guard.policy import policy_from_mapping
    >>> unkept_on_prefixes(policy_from_mapping({"version": 1, "unit": "bytes"}))
    ('unit: bytes',)
    """
    mix = policy.mix
    shared = sorted(name for name, rule in policy.sources.items() if rule.share is not None)
    of_class = mix.per_class_max_synthetic_share
    asked = {
        f"unit: {policy.unit}": policy.unit != "rows",
        "filters.quality": policy.filters.quality is not None,
        "mix.balance": mix.balance != "none",
        "mix.budget": mix.budget is not None,
        "mix.per_class_max_synthetic_share": of_class is not None and of_class < 1,
        "mix.weights": mix.weights != "uniform",
        "mix.when_short": mix.when_short != "shrink",
    }
    return (*(key for key, is_asked in asked.items() if is_asked), *(f"sources.{name}.share" for name in shared))


def draws(seed: int, step: int) -> tuple[float, float]:
    """Return two numbers in [0, 1) that depend on the seed and the step alone: no generator whose state could be lost.

    >>> draws(0, 7) == draws(0, 7), draws(0, 7) == draws(0, 8)
    (True, False)
    """
    digest = hashlib.blake2b(f"{seed}:{step}".encode(), digest_size=16).digest()
    return int.from_bytes(digest[:8]) / 2**64, int.from_bytes(digest[8:]) / 2**64


def is_due(tally: PrefixTally, pace: float, draw: float) -> bool:
    """Return whether a synthetic row should come next: its part lags behind its pace, by a random threshold.

    The lag stays under a few rows, so that no block of one part is left at the end.
    """
    lag = pace * tally["real"] - tally["synthetic"]
    return lag >= 1.0 + min(pace, 1.0) * _LAG_ROWS * draw - _ROUNDING


def picked(weights: Sequence[float], draw: float) -> int:
    """Return the place of one of ``weights``, with a chance in proportion to it.

    >>> picked([1.0, 3.0], 0.2), picked([1.0, 3.0], 0.3)
    (0, 1)
    """
    wanted, reached = draw * math.fsum(weights), 0.0
    for place, weight in enumerate(weights):
        reached += weight
        if wanted < reached:
            return place
    return len(weights) - 1
