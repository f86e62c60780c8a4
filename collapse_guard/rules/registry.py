"""The rule contract: what a rule is given, how it is registered, how all of them are run."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from collapse_guard.manifest import Loss
from collapse_guard.plugins import Registry
from collapse_guard.records import Finding, Severity, Status
from collapse_guard.rules.loss import proven

if TYPE_CHECKING:
    from collapse_guard.errors import Problem
    from collapse_guard.manifest import Limits, Manifest, Proof, Takedowns
    from collapse_guard.manifest.measurement import Measurement
    from collapse_guard.policy import Policy
    from collapse_guard.rules.governance import Governance

#: ``content`` says that the parts are read again; a part that cannot be is a fault of its own, and no lack.
Need = Literal["policy", "manifest", "content", "index", "unit", "parent", "reference"]


@dataclass(frozen=True)
class Subject:
    """Everything a rule may look at.

    Args:
        policy: None if it could not be loaded.
        manifest: None if it could not be loaded.
        previous: manifest of the parent generation, None if there is none to compare with.
        reference: manifest of the real reference, None for the parent.
        problems: faults found while reading, by rule code.
        takedowns: lawful deletions that the policy names.
        limits: memory, threads and spill folder for questions that look at every row.
        governance: what waivers and the baseline accept; None until the other rules have run.
        measurements: what outside measurements say of manifests, of this one or of another.
    """

    policy: Policy | None = None
    manifest: Manifest | None = None
    previous: Manifest | None = None
    reference: Manifest | None = None
    problems: tuple[Problem, ...] = ()
    takedowns: Takedowns | None = None
    limits: Limits | None = None
    governance: Governance | None = None
    measurements: tuple[Measurement, ...] = ()

    @cached_property
    def proof(self) -> Proof | None:
        """The accumulation proof under the policy's scope, made once for all rules; None if there is none to make."""
        if self.policy is None or self.manifest is None or self.previous is None or not self.is_comparable:
            return None
        return proven(self.policy, self.previous, self.manifest, takedowns=self.takedowns, limits=self.limits)

    @property
    def loss(self) -> Loss:
        """Real rows lost since the previous generation that no takedown covers."""
        return Loss() if self.proof is None else self.proof.loss

    @property
    def is_comparable(self) -> bool:
        """Whether the ids of both generations follow one rule, and their rows can be looked at."""
        if self.manifest is None or self.previous is None or not self.index_is_readable:
            return False
        return self.manifest.header.id_rule == self.previous.header.id_rule

    @property
    def index_is_readable(self) -> bool:
        """Whether the rows of every manifest can be looked at."""
        return self.manifest is not None and not any(problem.code == "CG004" for problem in self.problems)


Check = Callable[[Subject], Iterable[Finding]]


@dataclass(frozen=True)
class Rule:
    """A registered rule; calling it yields findings.

    Args:
        needs: without these the rule is inconclusive, which is never a pass.
    """

    code: str
    severity: Severity
    title: str
    needs: tuple[Need, ...]
    check: Check

    def __call__(self, subject: Subject) -> list[Finding]:
        """Return the findings, at the severity that the policy asks for."""
        lacking = _lacking(self, subject)
        if lacking is not None:
            return [self.finding(f"not evaluated: {lacking}", status=Status.INCONCLUSIVE)]
        findings = list(self.check(subject))
        override = subject.policy.severity.get(self.code) if subject.policy is not None else None
        return [replace(found, severity=Severity(override)) if override else found for found in findings]

    @property
    def reads_rows(self) -> bool:
        """Whether it looks at more than the policy and the headers."""
        return bool(set(self.needs) & {"content", "index", "parent", "reference"})

    def finding(self, message: str, *, status: Status = Status.FAIL, **details: Any) -> Finding:
        """Return a finding under this rule's code and severity."""
        return Finding(self.code, self.severity, message, status=status, **details)


#: Rules by code; codes are never reused or renumbered.
RULES: Registry[Rule] = Registry("rule")


def rule(code: str, severity: Severity, title: str, *, needs: tuple[Need, ...]) -> Callable[[Check], Rule]:
    """Return a decorator that registers a pure function ``(subject) -> findings`` under ``code``."""

    def register(check: Check) -> Rule:
        return RULES.register(code)(Rule(code, severity, title, needs, check))

    return register


def _lacking(rule_: Rule, subject: Subject) -> str | None:
    """Return what the rule needs and the subject lacks, as a clause."""
    policy, manifest = subject.policy, subject.manifest
    if policy is None and set(rule_.needs) - {"manifest", "content", "index"}:
        return "the policy could not be read"
    if manifest is None and set(rule_.needs) - {"policy"}:
        return "the manifest could not be read"
    if set(rule_.needs) - {"policy", "manifest", "content"} and not subject.index_is_readable:
        return "an index could not be read (CG004)"
    if "unit" in rule_.needs and policy and manifest and policy.unit != manifest.header.unit:
        return f"the policy counts {policy.unit}, the manifest counts {manifest.header.unit}"
    is_parted = manifest is not None and bool(manifest.header.parents) and subject.previous is None
    accumulates = policy is not None and policy.accumulation.mode != "off"
    compares = policy is not None and policy.coverage is not None and subject.reference is None
    if is_parted and (("parent" in rule_.needs and accumulates) or ("reference" in rule_.needs and compares)):
        return "the parent manifest was not given; pass --against PREVIOUS"
    return None
