"""When an estimate breaks a limit: by the near end of its interval, so that a verdict does not turn with a few rows.

Beyond the limit with the whole interval is broken. Beyond it with the estimate alone is open: the rows are too few to
tell, which is inconclusive and never a pass. An estimate on the good side is kept.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

from collapse_guard.records import REST, Finding, Severity, Status

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from collapse_guard.stats.estimates import Estimated

#: Findings of one rule that stand alone; what is less bad is counted in one more.
WORST: Final = 5


class Standing(Enum):
    """How an estimate stands to a limit."""

    KEPT = "kept"
    OPEN = "open"
    BROKEN = "broken"


@dataclass(frozen=True)
class Bound:
    """One limit of the policy under one rule.

    Args:
        key: path of the policy key.
        limit: its value.
        unit: what it is counted in.
        is_floor: whether less is worse.
        remedy: what to do about a figure beyond it.
    """

    code: str
    severity: Severity
    key: tuple[str, ...]
    limit: float
    unit: str
    remedy: str
    is_floor: bool = False

    def standing(self, found: Estimated) -> Standing:
        """Return how an estimate stands."""
        sign = -1 if self.is_floor else 1
        value, near, limit = sign * found.value, sign * (found.high if self.is_floor else found.low), sign * self.limit
        if near > limit:
            return Standing.BROKEN
        return Standing.OPEN if value > limit else Standing.KEPT

    def open(self, text: str, subject: str, **details: Any) -> Finding:
        """Return what says that the limit could not be held against anything."""
        return Finding(
            self.code,
            self.severity,
            f"not evaluated: {text}",
            status=Status.INCONCLUSIVE,
            subject=subject,
            key=self.key,
            **details,
        )


@dataclass(frozen=True)
class Item:
    """An estimate that a limit is held against.

    Args:
        what: the figure, as a message begins.
        subject, where: as in a finding.
        n: rows that it rests on.
        level: of its interval.
        method: how it was made.
        more: what else a message must say.
    """

    what: str
    subject: str
    found: Estimated
    n: int
    level: float
    method: str
    where: dict[str, str] = field(default_factory=dict)
    evidence: dict[str, Any] = field(default_factory=dict)
    more: str = ""

    def __str__(self) -> str:
        value, low, high = self.found
        said, until = (f"{end:.4g}" if math.isfinite(end) else "unbounded" for end in (value, high))
        return f"{self.what} is {said} ({low:.4g} to {until} at {self.level:.4g}, of {self.n} rows){self.more}"


def judged(bound: Bound, items: Sequence[Item]) -> Iterator[Finding]:
    """Yield what breaks a limit, the worst five alone and the rest as one, and one more for all that is open."""
    sign = -1 if bound.is_floor else 1
    ordered = sorted(items, key=lambda item: (-sign * item.found.value, item.subject, sorted(item.where.items())))
    broken = [item for item in ordered if bound.standing(item.found) is Standing.BROKEN]
    yield from worst_first([_broken(bound, item) for item in broken])
    still_open = [item for item in ordered if bound.standing(item.found) is Standing.OPEN]
    if still_open:
        told = "; ".join(map(str, still_open[:WORST]))
        several = f" and {len(still_open) - WORST} more" if still_open[WORST:] else ""
        text = f"too few rows to tell from the limit {bound.limit:g}: {told}{several}"
        remedy = "measure more rows; a limit is broken when the whole interval is beyond it"
        yield bound.open(text, "too few rows", remedy=remedy, evidence={"n_open": len(still_open)})


def worst_first(findings: Sequence[Finding]) -> Iterator[Finding]:
    """Yield the first findings alone and the others as one."""
    yield from findings[:WORST]
    if findings[WORST:]:
        yield _rest(findings[WORST:])


def _rest(findings: Sequence[Finding]) -> Finding:
    """Return one finding for all that is less bad than what was told: the worst of them, and how many there are."""
    worst, several = findings[0], len(findings) > 1
    text = f"{len(findings)} more {'are' if several else 'is'} beyond the limit; the worst: {worst.message}"
    return replace(worst, message=text, subject=REST, where={}, evidence={"n_more": len(findings)})


def _broken(bound: Bound, item: Item) -> Finding:
    value, low, high = item.found
    return Finding(
        bound.code,
        bound.severity,
        f"{item}; the {'floor' if bound.is_floor else 'limit'} is {bound.limit:g}",
        evidence={"low": low} | item.evidence,
        subject=item.subject,
        where=item.where,
        measured=value if math.isfinite(value) else low,
        limit=bound.limit,
        unit=bound.unit,
        n=item.n,
        interval=(low, high) if math.isfinite(high) else None,
        method=f"{item.method}, level {item.level:g}",
        key=bound.key,
        remedy=bound.remedy,
    )
