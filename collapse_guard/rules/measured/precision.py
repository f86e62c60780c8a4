"""CG602: were enough rows measured for the precision that the policy states?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from collapse_guard.records import Finding, Severity
from collapse_guard.rules.estimated import worst_first
from collapse_guard.rules.measured.asking import Ask, answers
from collapse_guard.rules.registry import Subject, rule

if TYPE_CHECKING:
    from collections.abc import Iterator

    from collapse_guard.manifest.measurement import Figure
    from collapse_guard.rules.estimated import Bound
    from collapse_guard.rules.measured.asking import Taken


@dataclass(frozen=True)
class AnyShare(Ask):
    """A limit that is about every share that was measured."""

    def takes(self, figure: Figure) -> bool:
        """Return whether a figure is a share."""
        return figure.name.endswith("_share")


SHARES: Final = AnyShare(
    "CG602",
    Severity.INFO,
    "max_half_width",
    ("a share",),
    "rows",
    "measure as many rows, or state a wider precision",
)


@rule("CG602", Severity.INFO, "sample too small for the stated precision", needs=("policy", "manifest"))
def enough_rows(subject: Subject) -> Iterator[Finding]:
    """Rows of every measured share against those that its interval needs to be as narrow as the policy states.

    Needed are the rows at which Wilson's interval is narrow enough, or more if the method's own interval is wider than
    that: its width falls with the root of the rows.
    """
    bound = SHARES.bound(subject)
    if bound is None:
        return
    taken, still_open = answers(subject, SHARES, bound)
    yield from still_open
    short = [(each, needed_rows(each.figure, bound.limit)) for each in taken]
    short = [(each, needed) for each, needed in short if each.figure.n < needed]
    short.sort(key=lambda pair: (pair[0].figure.n / pair[1], tuple(map(str, pair[0].figure.key))))
    yield from worst_first([_too_few(bound, each, needed) for each, needed in short])


def needed_rows(figure: Figure, half_width: float) -> int:
    """Return the rows that a share needs for an interval of ``2 half_width``."""
    from collapse_guard.stats.estimates import rows_for_half_width  # noqa: PLC0415 - loads only where it is asked

    low, high = figure.interval
    wider = (high - low) / 2 / half_width
    by_method = math.ceil(figure.n * wider * wider * (1 - 1e-12))
    return max(rows_for_half_width(figure.value, half_width, level=figure.level), by_method)


def _too_few(bound: Bound, taken: Taken, needed: int) -> Finding:
    figure = taken.figure
    half = (figure.interval[1] - figure.interval[0]) / 2
    return Finding(
        bound.code,
        bound.severity,
        f"{taken.subject}{taken.of} rests on {figure.n} rows (half width {half:.4g});"
        f" a half width of {bound.limit:g} needs {needed}",
        evidence={"half_width": half, "asked_half_width": bound.limit, "needed_rows": needed},
        subject=taken.subject,
        where=taken.where,
        measured=figure.n,
        limit=needed,
        unit=bound.unit,
        n=figure.n,
        interval=figure.interval,
        method=f"rows of Wilson's interval at level {figure.level:g}, more if the method's own is wider",
        key=bound.key,
        remedy=bound.remedy,
    )
