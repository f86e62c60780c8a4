"""CG006, CG504, CG505: figures that are held against a limit as they were measured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from collapse_guard.records import Severity
from collapse_guard.rules.estimated import judged
from collapse_guard.rules.measured.asking import Ask, answers
from collapse_guard.rules.registry import Subject, rule

if TYPE_CHECKING:
    from collections.abc import Iterator

    from collapse_guard.records import Finding

IDS: Final = Ask(
    "CG006",
    Severity.WARNING,
    "max_underived_id_share",
    ("underived_id_share",),
    "share",
    "make the ids from the content, by the rule that the manifest names",
)
NEAR_DUPLICATES: Final = Ask(
    "CG504",
    Severity.WARNING,
    "max_near_duplicate_share",
    ("near_duplicate_share",),
    "share",
    "keep one row of each group of near duplicates, or raise the variety of the generator",
)
VARIANCE: Final = Ask(
    "CG505",
    Severity.WARNING,
    "min_variance_ratio",
    ("within_class_variance_ratio",),
    "ratio",
    "add real rows of these classes, or sample the generator more widely",
    is_floor=True,
)


def _as_measured(subject: Subject, ask: Ask, what: str) -> Iterator[Finding]:
    bound = ask.bound(subject)
    if bound is None:
        return
    taken, still_open = answers(subject, ask, bound)
    yield from still_open
    yield from judged(bound, [each.item(what) for each in taken])


@rule("CG006", Severity.WARNING, "ids are not derived from content", needs=("policy", "manifest"))
def ids_from_content(subject: Subject) -> Iterator[Finding]:
    """Share of rows whose id is not what their content gives: ``underived_id_share``."""
    yield from _as_measured(subject, IDS, "the share of ids that the content does not give")


@rule("CG504", Severity.WARNING, "near duplicates among synthetic rows", needs=("policy", "manifest"))
def near_duplicates(subject: Subject) -> Iterator[Finding]:
    """Share of synthetic rows that have a near duplicate, over all or by source: ``near_duplicate_share``."""
    yield from _as_measured(subject, NEAR_DUPLICATES, "the share of synthetic rows with a near duplicate")


@rule("CG505", Severity.WARNING, "variance within a class fell below the real one", needs=("policy", "manifest"))
def variance_kept(subject: Subject) -> Iterator[Finding]:
    """Variance within a class over that of the real reference: ``within_class_variance_ratio``; the worst five."""
    yield from _as_measured(subject, VARIANCE, "the ratio of the variance to that of real rows")
