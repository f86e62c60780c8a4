"""CG9xx: is what was accepted still accepted, and by whom? They look at waivers and the baseline, after all others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from collapse_guard.kernels import one_line
from collapse_guard.plugins import nearest
from collapse_guard.policy.waiver import SOON_DAYS
from collapse_guard.records import Finding, Severity, Status
from collapse_guard.rules.integrity import problems
from collapse_guard.rules.registry import RULES, Subject, rule

if TYPE_CHECKING:
    from collections.abc import Iterator

    from collapse_guard.policy import Policy
    from collapse_guard.rules.baseline import Baseline, Entry
    from collapse_guard.rules.waivers import Use

FAMILY: Final = "CG9"
_SHOWN: Final = 5


@dataclass(frozen=True)
class Governance:
    """What waivers and the baseline did to the findings of a run.

    Args:
        uses: one per waiver that was looked at.
        baseline: the known findings, None if there are none or they were not asked for.
        gone: entries of the baseline that match nothing, although their rule was evaluated.
        parent_digest: of the manifest that this one was compared with.
        evaluated: codes of the rules that came to a verdict; of others nothing can be said to be unused.
        unenforced: policy keys that no check reads.
    """

    uses: tuple[Use, ...] = ()
    baseline: Baseline | None = None
    gone: tuple[Entry, ...] = ()
    parent_digest: str | None = None
    evaluated: frozenset[str] = frozenset()
    unenforced: tuple[str, ...] = ()

    @property
    def is_of_another_parent(self) -> bool:
        """Whether the baseline was written against another parent, so that no fingerprint can match."""
        return self.baseline is not None and self.baseline.parent_digest != self.parent_digest


@rule("CG901", Severity.ERROR, "waiver expired", needs=())
def waivers_hold(subject: Subject) -> Iterator[Finding]:
    """Waivers whose last day has passed, with the findings that they stopped hiding."""
    for use in _uses(subject):
        if use.is_expired:
            hid = ", ".join(f"{found.code} of {one_line(found.subject)}" for found in use.findings[:_SHOWN])
            yield Finding(
                "CG901",
                Severity.ERROR,
                f"waiver {use.waiver.id} of {use.waiver.rule} ended on {use.waiver.expires};"
                f" {f'it hid {hid}' if hid else 'it hides nothing now'}",
                evidence={"owner": use.waiver.owner, "reason": use.waiver.reason, "n_findings": len(use.findings)},
                subject=use.waiver.id,
                measured=float(-use.days_left),
                limit=0.0,
                unit="days",
                key=("waivers", use.number),
                remedy=f"mend what it hid, or ask {one_line(use.waiver.owner)} for a new end in review",
            )


@rule("CG902", Severity.ERROR, "waiver or baseline entry matches nothing", needs=())
def nothing_is_unused(subject: Subject) -> Iterator[Finding]:
    """Waivers and baseline entries without a finding; only those whose rule was evaluated in this run."""
    yield from problems(subject, "CG902")
    if subject.governance is None:
        return
    for use in _uses(subject):
        if not use.findings and use.waiver.rule in subject.governance.evaluated:
            yield Finding(
                "CG902",
                Severity.ERROR,
                f"waiver {use.waiver.id} matches no finding of {use.waiver.rule}",
                evidence={"where": dict(use.waiver.where)},
                subject=use.waiver.id,
                key=("waivers", use.number),
                remedy="take it out: what it accepted is mended, or its where names something else",
            )
    yield from _unused_entries(subject.governance)


def _unused_entries(governance: Governance) -> Iterator[Finding]:
    baseline = governance.baseline
    if baseline is None:
        return
    if governance.is_of_another_parent:
        yield Finding(
            "CG902",
            Severity.ERROR,
            "the baseline was written against another parent manifest: none of its entries can match",
            evidence={"baseline": baseline.parent_digest, "given": governance.parent_digest},
            subject="baseline",
            file=baseline.name,
            line=1,
            remedy="carry it over in review: collapse-guard baseline write",
        )
        return
    for entry in governance.gone:
        yield Finding(
            "CG902",
            Severity.ERROR,
            f"the baseline holds {entry.rule} of {one_line(entry.subject)}, which is not found any more",
            evidence={"fingerprint": entry.fingerprint, "measured": entry.measured},
            subject=f"baseline {entry.rule} {entry.subject}",
            where=dict(entry.where),
            file=baseline.name,
            line=entry.line,
            remedy="good: take it out with collapse-guard baseline prune",
        )


@rule("CG903", Severity.ERROR, "waiver lacks reason, owner, end or bound, or cannot be", needs=())
def waivers_are_whole(subject: Subject) -> Iterator[Finding]:
    """Waivers that nobody answers for, of rules that cannot be waived, or bounded in another unit than their rule's."""
    yield from problems(subject, "CG903")
    for use in _uses(subject):
        if use.wrong_bound:
            yield Finding(
                "CG903",
                Severity.ERROR,
                f"waiver {use.waiver.id}: {next(iter(use.waiver.limit))} bounds nothing that {use.waiver.rule} finds",
                subject=use.waiver.id,
                key=("waivers", use.number, "limit"),
                remedy=f"write limit: {{{use.wrong_bound}: ...}}",
            )
        if use.waiver.rule not in RULES.names():
            yield Finding(
                "CG903",
                Severity.ERROR,
                f"waiver {use.waiver.id}: no rule is called {use.waiver.rule}",
                subject=use.waiver.id,
                key=("waivers", use.number, "rule"),
                remedy=nearest(use.waiver.rule, RULES.names()),
            )


@rule("CG904", Severity.INFO, "waiver ends soon", needs=())
def waivers_last(subject: Subject) -> Iterator[Finding]:
    """Waivers that end within a fortnight."""
    for use in _uses(subject):
        if 0 <= use.days_left <= SOON_DAYS:
            when = "today" if use.days_left == 0 else f"in {use.days_left} day{'' if use.days_left == 1 else 's'}"
            yield Finding(
                "CG904",
                Severity.INFO,
                f"waiver {use.waiver.id} of {use.waiver.rule} ends {when} ({use.waiver.expires})",
                evidence={"owner": use.waiver.owner, "n_findings": len(use.findings)},
                subject=use.waiver.id,
                measured=float(use.days_left),
                limit=float(SOON_DAYS + 1),
                unit="days",
                key=("waivers", use.number, "expires"),
                remedy="mend what it accepts before that day",
            )


@rule("CG905", Severity.WARNING, "policy key that this version does not check", needs=())
def every_key_is_checked(subject: Subject) -> Iterator[Finding]:
    """Keys that the policy sets and no rule reads: what they ask for is not guarded, which is never a pass."""
    for key in () if subject.governance is None else subject.governance.unenforced:
        yield Finding(
            "CG905",
            Severity.WARNING,
            f"not evaluated: no check of this version reads {one_line(key)}",
            status=Status.INCONCLUSIVE,
            subject=key,
            key=tuple(key.split(".")),
            remedy="take the key out, or update collapse-guard",
        )


def unchecked_keys(policy: Policy) -> tuple[str, ...]:
    """Return the keys that a policy sets and no rule reads, with severities of rules that there are not."""
    known = RULES.names()
    return (*policy.unenforced(), *(f"severity.{code}" for code in sorted(policy.severity) if code not in known))


def _uses(subject: Subject) -> tuple[Use, ...]:
    return () if subject.governance is None else subject.governance.uses
