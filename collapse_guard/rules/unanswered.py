"""What a rule says where a question stays open: inconclusive, which is never a pass."""

from __future__ import annotations

from typing import TYPE_CHECKING

from collapse_guard.records import Finding, Severity, Status

if TYPE_CHECKING:
    from collapse_guard.rules.registry import Subject


def not_evaluated(
    code: str, severity: Severity, why: str, *, subject: str = "", key: tuple[str | int, ...] = ()
) -> Finding:
    """Return the finding that a rule, or a part of it, could not be evaluated.

    >>> not_evaluated("CG201", Severity.ERROR, "the ids follow two rules").message
    'not evaluated: the ids follow two rules'
    """
    return Finding(code, severity, f"not evaluated: {why}", status=Status.INCONCLUSIVE, subject=subject, key=key)


def without_parent(subject: Subject) -> str | None:
    """Return, as a clause, that the manifest records a parent and none was given; None if one was, or none is named."""
    assert subject.manifest is not None
    if subject.previous is None and subject.manifest.header.parents:
        return "the parent manifest was not given; pass --against PREVIOUS"
    return None


def other_units(subject: Subject) -> str | None:
    """Return, as a clause, that both generations count in different units; None if they do not."""
    assert subject.manifest is not None
    assert subject.previous is not None
    before, now = subject.previous.header.unit, subject.manifest.header.unit
    return None if before == now else f"the parent counts {before}, the manifest counts {now}"
