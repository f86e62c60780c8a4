"""CG601: does the synthetic share of a corpus rise faster than the policy allows?"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from collapse_guard.errors import StatisticError
from collapse_guard.records import Severity
from collapse_guard.rules.estimated import Item, judged
from collapse_guard.rules.measured.asking import Ask, Taken, answers, error_rates
from collapse_guard.rules.registry import Subject, rule

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from collapse_guard.records import Finding
    from collapse_guard.rules.estimated import Bound

RISE: Final = Ask(
    "CG601",
    Severity.WARNING,
    "max_synthetic_rise_per_year",
    ("synthetic_share",),
    "share per year",
    "collect from before the rise, tag what a model wrote, or cap the newest source",
)
_DAYS_OF_A_YEAR: Final = 365.25
_METHOD: Final = "weighted least squares through the series, normal interval"


@rule("CG601", Severity.WARNING, "the synthetic share of the corpus rises too fast", needs=("policy", "manifest"))
def rises_slowly(subject: Subject) -> Iterator[Finding]:
    """Slope of ``synthetic_share`` over its dates ``at``, for each source and class that has a series.

    Each value counts by the width of its interval. Errors that all dates share, such as those of a detector that stays
    the same, cancel; a detector that is named has its error rates told.
    """
    bound = RISE.bound(subject)
    if bound is None:
        return
    taken, still_open = answers(subject, RISE, bound)
    yield from still_open
    series: defaultdict[tuple[str | None, str | None], list[Taken]] = defaultdict(list)
    for each in taken:
        series[each.figure.source, each.figure.class_].append(each)
    items: list[Item] = []
    for values in series.values():
        found = _rise(bound, sorted(values, key=lambda each: each.figure.at or ""))
        if isinstance(found, Item):
            items.append(found)
        else:
            yield found
    yield from judged(bound, items)


def _rise(bound: Bound, series: Sequence[Taken]) -> Item | Finding:
    """Return the slope of a series, or why there is none."""
    from collapse_guard.stats.estimates import normal_score, slope  # noqa: PLC0415 - loads only where it is asked

    first, last = series[0], series[-1]
    figures = [each.figure for each in series if each.figure.at is not None]
    times = [dt.date.fromisoformat(figure.at or "").toordinal() / _DAYS_OF_A_YEAR for figure in figures]
    errors = [(figure.interval[1] - figure.interval[0]) / 2 / normal_score(figure.level) for figure in figures]
    level = min(each.figure.level for each in series)
    try:
        found = slope(times, [figure.value for figure in figures], errors, level=level)
    except StatisticError as error:
        text = f"synthetic_share{first.of} has {len(figures)} dates ('at'): {error}"
        remedy = "measure two dates at least, each with an interval"
        return bound.open(text, first.figure.name, where=first.where, remedy=remedy)
    told = ", ".join(f"{figure.at} {figure.value:.4g}" for figure in (figures[0], figures[-1]))
    more = f"; {len(figures)} dates, {told}{_detector(series)}"
    item = last.item("", found, more=more, method=_METHOD)
    what = f"the rise of the synthetic share per year{last.of}"
    points = [[figure.at, figure.value, *figure.interval] for figure in figures]
    evidence = item.evidence | {"series": points}
    n_rows = sum(figure.n for figure in figures)
    return replace(item, what=what, subject=last.figure.name, n=n_rows, level=level, evidence=evidence)


def _detector(series: Sequence[Taken]) -> str:
    named = {each.measurement.detector for each in series if each.measurement.detector is not None}
    said = sorted(error_rates(detector) for detector in named)
    return f" ({'; '.join(said)})" if said else ""
