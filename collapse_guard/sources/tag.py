"""The provenance that a whole set of rows shares, checked."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TypeVar

from collapse_guard.errors import ProvenanceError
from collapse_guard.records import UNKNOWN_DATE, UNKNOWN_GENERATION, Evidence, Origin

E = TypeVar("E", Origin, Evidence)


@dataclass(frozen=True, slots=True)
class Tag:
    """The provenance that a whole set of rows shares.

    >>> Tag.of(origin="real", source="web").generation
    0
    """

    origin: Origin
    source: str
    generator: str | None
    generation: int
    evidence: Evidence
    date: int

    @classmethod
    def of(
        cls,
        *,
        origin: Origin | str,
        source: str,
        generator: str | None = None,
        generation: int | None = None,
        evidence: Evidence | str = Evidence.DECLARED,
        date: dt.date | None = None,
    ) -> Tag:
        """Return a checked tag; raises ProvenanceError for a combination that cannot be."""
        who, how = _member(Origin, origin, "origin"), _member(Evidence, evidence, "evidence")
        depth = generation if generation is not None else (0 if who is Origin.REAL else UNKNOWN_GENERATION)
        if not isinstance(source, str) or not source:
            raise ProvenanceError(f"source must be a name, got {source!r}")
        if generator is not None and (not isinstance(generator, str) or not generator):
            raise ProvenanceError(f"generator must be text such as 'model@revision', got {generator!r}")
        if not isinstance(depth, int) or isinstance(depth, bool) or not 0 <= depth <= UNKNOWN_GENERATION:
            raise ProvenanceError(f"generation must be 0 to 254, or 255 for unknown, got {generation!r}")
        if who is not Origin.UNKNOWN and how is Evidence.NONE:
            raise ProvenanceError(f"origin {who.name.lower()} needs evidence; pass evidence='declared' or better")
        if who is Origin.REAL and how is Evidence.STATISTICAL:
            raise ProvenanceError("statistics alone cannot make a row real; pass origin='unknown'")
        if who is Origin.REAL and (depth != 0 or generator is not None):
            raise ProvenanceError(f"real rows have generation 0 and no generator, got {generation!r} and {generator!r}")
        if who is Origin.SYNTHETIC and depth == 0:
            raise ProvenanceError("synthetic rows have generation 1 or more: 1 + that of the data their model saw")
        if date is not None and not isinstance(date, dt.date):
            raise ProvenanceError(f"date must be a datetime.date, got {date!r}")
        days = UNKNOWN_DATE if date is None else date.toordinal() - dt.date(1970, 1, 1).toordinal()
        if not 0 <= days <= UNKNOWN_DATE:
            raise ProvenanceError(f"date must lie in 1970-01-01 to 2149-06-05, got {date}")
        return cls(who, source, generator, depth, how, days)


def _member(kind: type[E], value: E | str, name: str) -> E:
    if isinstance(value, str):
        if value.upper() not in kind.__members__:
            raise ProvenanceError(f"{name} must be one of {_names(kind)}, got {value!r}")
        return kind[value.upper()]
    try:
        return kind(value)
    except ValueError:
        raise ProvenanceError(f"{name} must be one of {_names(kind)}, got {value!r}") from None


def _names(kind: type[Origin | Evidence]) -> str:
    return ", ".join(member.name.lower() for member in kind)
