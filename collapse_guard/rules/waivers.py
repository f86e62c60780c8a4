"""Waivers of the policy, applied to what the rules found."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from collapse_guard.policy.waiver import UNWAIVABLE
from collapse_guard.records import Status

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterable, Sequence

    from collapse_guard.policy.waiver import Waiver
    from collapse_guard.records import Finding


@dataclass(frozen=True)
class Use:
    """What became of a waiver.

    Args:
        waiver: as the policy has it.
        number: its place in the policy's list.
        days_left: until its last day; below 0 once it has expired.
        findings: what it is about, whether it still accepts them or not.
        wrong_bound: what the bound should name, if it bounds nothing: another unit, or the other side; empty if not.
    """

    waiver: Waiver
    number: int
    days_left: int
    findings: tuple[Finding, ...] = ()
    wrong_bound: str = ""

    @property
    def is_expired(self) -> bool:
        """Whether its last day has passed."""
        return self.days_left < 0


def uses_of(
    waivers: Sequence[Waiver], findings: Iterable[Finding], today: dt.date, *, is_unsafe_allowed: bool = False
) -> tuple[Use, ...]:
    """Return what each waiver is about among the failing findings; those of rules that cannot be waived if allowed."""
    failing = [found for found in findings if found.status is Status.FAIL]
    return tuple(
        _use(number, waiver, failing, today)
        for number, waiver in enumerate(waivers)
        if is_unsafe_allowed or waiver.rule not in UNWAIVABLE
    )


def _use(number: int, waiver: Waiver, failing: list[Finding], today: dt.date) -> Use:
    about = tuple(found for found in failing if _is_about(waiver, found))
    return Use(waiver, number, (waiver.expires - today).days, about, _wrong_bound(waiver, about))


def _wrong_bound(waiver: Waiver, about: Iterable[Finding]) -> str:
    """Return what the bound should be called, if what it says bounds nothing of these findings."""
    for found in about:
        if found.measured is None:
            continue
        side = "min" if found.is_floor else "max"
        if (waiver.unit and waiver.unit != found.unit) or waiver.is_ceiling == found.is_floor:
            return f"{side}_{found.unit}" if found.unit.isascii() and found.unit.isalpha() else side
    return ""


def _is_about(waiver: Waiver, found: Finding) -> bool:
    named = {"subject": found.subject} | found.where
    return waiver.rule == found.code and all(named.get(key) == value for key, value in waiver.where.items())


def waived(found: Finding, uses: Iterable[Use]) -> Finding:
    """Return the finding, accepted if a waiver that holds today covers it, and told how far one would have gone."""
    about = [use for use in uses if not use.is_expired and not use.wrong_bound and found in use.findings]
    for use in about:
        if found.measured is not None and use.waiver.accepts(found.measured):
            by = f"waiver {use.waiver.id} until {use.waiver.expires}"
            return replace(found, status=Status.WAIVED, accepted_by=by)
    if about and found.measured is not None:
        ((bound, figure),) = about[0].waiver.limit.items()
        text = f"{found.message}; waiver {about[0].waiver.id} accepts {bound.replace('_', ' ')} {figure:g}"
        return replace(found, message=text)
    return found
