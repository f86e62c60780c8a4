"""CG502: did a figure of diversity fall since the parent, or against the real reference?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from collapse_guard.records import Severity
from collapse_guard.rules.estimated import judged
from collapse_guard.rules.measured.asking import Ask, Taken, answers
from collapse_guard.rules.registry import Subject, rule

if TYPE_CHECKING:
    from collections.abc import Iterator

    from collapse_guard.records import Finding
    from collapse_guard.rules.estimated import Bound, Item

#: Advisory statistics that fall when variety is lost, under the names that they have in the registry.
FALLING: Final = (
    "hill_0",
    "hill_1",
    "hill_2",
    "chao1",
    "rarefied_types_ratio",
    "distinct_1",
    "distinct_2",
    "distinct_3",
    "distinct_4",
    "bigram_singleton_share",
    "recall",
    "ball_coverage",
    "vendi_ratio",
    "effective_rank_ratio",
)
DIVERSITY: Final = Ask(
    "CG502",
    Severity.WARNING,
    "max_diversity_drop",
    FALLING,
    "share",
    "sample the generator more widely, mix in other generators, or add real rows",
)


@rule("CG502", Severity.WARNING, "diversity fell", needs=("policy", "manifest"))
def diversity_kept(subject: Subject) -> Iterator[Finding]:
    """What share of itself a figure of diversity lost, from its value ``before`` to now.

    The interval of the drop takes the far ends of both intervals, so that it covers at the level of both together at
    least. Most such figures grow with the rows: two of different sizes are not compared.
    """
    bound = DIVERSITY.bound(subject)
    if bound is None:
        return
    taken, still_open = answers(subject, DIVERSITY, bound)
    yield from still_open
    compared = [each for each in taken if _incomparable(each) is None]
    for each in taken:
        reason = _incomparable(each)
        if reason is not None:
            yield _open(bound, each, reason)
    yield from judged(bound, [_drop(each) for each in compared])


def _incomparable(taken: Taken) -> str | None:
    """Return why a figure has no drop, None if it has one."""
    before, now = taken.figure.before, taken.figure
    if before is None:
        return "has no value before"
    if before.n != now.n:
        return f"is of {before.n} rows before and of {now.n} now; measure both at one size"
    if before.interval[0] <= 0 or now.interval[0] < 0:
        return "has an interval that reaches 0 or below"
    return None


def _open(bound: Bound, taken: Taken, reason: str) -> Finding:
    remedy = "give 'before' the value, rows and interval of the parent or the reference"
    return bound.open(f"{taken.figure.name}{taken.of} {reason}", taken.subject, where=taken.where, remedy=remedy)


def _drop(taken: Taken) -> Item:
    from collapse_guard.stats.estimates import Estimated  # noqa: PLC0415 - loads only where it is asked

    now, before = taken.figure, taken.figure.before
    assert before is not None
    found = Estimated(
        1 - now.value / before.value,
        1 - now.interval[1] / before.interval[0],
        1 - now.interval[0] / before.interval[1],
    )
    more = f"; {now.name} was {before.value:.4g} and is {now.value:.4g}"
    return taken.item(f"the drop of {now.name}", found, more=more)
