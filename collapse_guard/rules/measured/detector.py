"""CG307: do rows that are labelled real look synthetic to a detector, once its own errors are taken out?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from collapse_guard.errors import StatisticError
from collapse_guard.records import Finding, Severity
from collapse_guard.rules.estimated import Item, judged
from collapse_guard.rules.measured.asking import Ask, Taken, answers, error_rates
from collapse_guard.rules.registry import Subject, rule

if TYPE_CHECKING:
    from collections.abc import Iterator

    from collapse_guard.rules.estimated import Bound

FLAGGED: Final = Ask(
    "CG307",
    Severity.WARNING,
    "max_flagged_real_share",
    ("flagged_real_share",),
    "share",
    "look at the flagged rows, and tag those that a model wrote as synthetic",
)
_METHOD: Final = "Rogan-Gladen, interval of Lang and Reiczigel 2014"


@rule("CG307", Severity.WARNING, "detector and label disagree", needs=("policy", "manifest"))
def labels_agree(subject: Subject) -> Iterator[Finding]:
    """Share of synthetic rows among those labelled real, behind ``flagged_real_share``.

    The share that a detector flags is no share of synthetic rows: a detector that errs on 2 % of real text flags 2 % of
    a clean corpus. The errors of the detector are taken out, and their own uncertainty widens the interval; a
    measurement that does not state them is open.
    """
    bound = FLAGGED.bound(subject)
    if bound is None:
        return
    taken, still_open = answers(subject, FLAGGED, bound)
    yield from still_open
    items: list[Item] = []
    for each in taken:
        found = _corrected(bound, each)
        if isinstance(found, Item):
            items.append(found)
        else:
            yield found
    yield from judged(bound, items)


def _corrected(bound: Bound, taken: Taken) -> Item | Finding:
    from collapse_guard.stats.estimates import corrected_share  # noqa: PLC0415 - loads only where it is asked

    figure, detector = taken.figure, taken.measurement.detector
    what = "the share of synthetic rows among those labelled real"
    if detector is None:
        text = f"{figure.name}{taken.of} names no detector, so that its errors cannot be taken out"
        remedy = "give the measurement a detector with its false positive and false negative rates"
        return bound.open(text, taken.subject, where=taken.where, remedy=remedy)
    try:
        found = corrected_share(
            figure.value,
            figure.n,
            false_positives=detector.false_positive_rate,
            n_real_rows=detector.n_real_rows,
            false_negatives=detector.false_negative_rate,
            n_synthetic_rows=detector.n_synthetic_rows,
            level=figure.level,
        )
    except StatisticError as error:
        return bound.open(
            str(error), taken.subject, where=taken.where, remedy="use a better detector, or try more rows"
        )
    more = f"; {figure.value:.4g} were flagged ({error_rates(detector)})"
    return taken.item(what, found, more=more, method=_METHOD)
