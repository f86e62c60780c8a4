"""At review: does the manifest keep the policy? Rules -> findings -> exit code."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar

from collapse_guard.errors import InputError, ManifestError, PolicyError, Problem
from collapse_guard.manifest import Manifest, Proof, Takedowns, load_manifest, load_takedowns
from collapse_guard.policy import load_policy
from collapse_guard.records import Finding, Severity, Status
from collapse_guard.rules import RULES, Evaluation, Subject, evaluate

if TYPE_CHECKING:
    from collections.abc import Callable
    from os import PathLike

    from collapse_guard.manifest import Limits
    from collapse_guard.policy import Policy

RESULT_SCHEMA: Final = "collapse-guard/result/1"
OK, VIOLATION, UNUSABLE, INCONCLUSIVE = 0, 1, 2, 3
T = TypeVar("T")
FailOn = Literal["error", "warning", "never"]


@dataclass(frozen=True)
class GateResult:
    """What the gate found.

    Args:
        findings: failures, and rules that could not be evaluated.
        codes: every rule that was looked at.
        unenforced: policy keys that no check reads yet.
        notes: what was not asked for, and is therefore not guarded.
        exit_code: 0 kept, 1 violated, 2 unusable input, 3 inconclusive.
        proof: the accumulation proof, with the step that decided; None if none was made.
    """

    findings: tuple[Finding, ...]
    codes: tuple[str, ...]
    unenforced: tuple[str, ...]
    notes: tuple[str, ...]
    exit_code: int
    policy_digest: str | None
    manifest_digest: str | None
    parent_digest: str | None
    proof: Proof | None = None

    @property
    def verdict(self) -> str:
        """One word for the exit code."""
        return {OK: "kept", VIOLATION: "violated", UNUSABLE: "unusable", INCONCLUSIVE: "inconclusive"}[self.exit_code]

    def as_dict(self) -> dict[str, Any]:
        """Return plain values under the schema ``collapse-guard/result/1``."""
        return {
            "schema": RESULT_SCHEMA,
            "verdict": self.verdict,
            "exit_code": self.exit_code,
            "policy_digest": self.policy_digest,
            "manifest_digest": self.manifest_digest,
            "parent_digest": self.parent_digest,
            "rules": [{"code": code, "title": RULES.get(code).title} for code in self.codes],
            "unenforced_policy_keys": list(self.unenforced),
            "notes": list(self.notes),
            "accumulation": None if self.proof is None else self.proof.as_dict(),
            "findings": [finding.as_dict() for finding in self.findings],
        }


def check(
    policy: str | PathLike[str],
    manifest: str | PathLike[str] | None = None,
    *,
    against: str | PathLike[str] | None = None,
    fail_on: FailOn = "error",
    limits: Limits | None = None,
) -> GateResult:
    """Check a manifest against a policy and, if given, its parent manifest.

    Paths that are left out come from the policy's ``manifests`` section, relative to the policy file. Unusable
    input does not raise: it is a finding (CG001-CG004, CG208) and exit code 2. No index is read into memory whole:
    digests are recomputed shard by shard, and rows are compared within ``limits``.

    Raises InputError for limits that DuckDB does not take.
    """
    problems: list[Problem] = []
    rules = _loaded(
        lambda: load_policy(policy, allow_code=True), problems, code="CG001", path=policy
    )  # none is run here
    named = None if rules is None else rules.manifests
    folder = Path(policy).parent
    current = _manifest(manifest, named.current if named else None, folder, problems)
    previous = _manifest(against, named.previous if named else None, folder, problems, required=False)
    anchor = rules.coverage.reference if rules and rules.coverage else None
    reference = _manifest(None, anchor, folder, problems, required=False)
    for loaded in (current, previous, reference):
        if loaded is not None:
            _loaded(loaded.check_readable, problems, code="CG004", path=loaded.name)
    taken = _takedowns(rules, folder, problems)
    subject, result = _evaluated(Subject(rules, current, previous, reference, tuple(problems), taken, limits))
    unknown = [f"severity.{code}" for code in sorted(rules.severity) if code not in result.codes] if rules else []
    unenforced = () if rules is None else (*rules.unenforced(), *unknown)
    return GateResult(
        result.findings,
        result.codes,
        unenforced,
        _notes(subject),
        _exit_code(subject, result.findings, unenforced, fail_on),
        None if rules is None else rules.digest,
        None if current is None else current.digest,
        None if previous is None else previous.digest,
        subject.proof,
    )


def _evaluated(subject: Subject) -> tuple[Subject, Evaluation]:
    """Run the rules; a part that turns out to be damaged where rows are read makes every index unreadable."""
    try:
        return subject, evaluate(subject)
    except ManifestError as error:
        broken = replace(subject, problems=(*subject.problems, _problem(error, "CG004", "")))
        return broken, evaluate(broken)


def _takedowns(rules: Policy | None, folder: Path, problems: list[Problem]) -> Takedowns | None:
    named = None if rules is None else rules.accumulation.takedowns
    if named is None:
        return None
    return _loaded(lambda: load_takedowns(folder / named), problems, code="CG208", path=folder / named)


def _manifest(
    given: str | PathLike[str] | None,
    declared: str | None,
    folder: Path,
    problems: list[Problem],
    *,
    required: bool = True,
) -> Manifest | None:
    if given is None and declared is None:
        if required:
            problems.append(
                Problem("CG003", "", None, "manifest", "none given", "pass --manifest, or set manifests.current")
            )
        return None
    path = Path(given) if given is not None else folder / str(declared)
    return _loaded(lambda: load_manifest(path), problems, code="CG003", path=path)


def _loaded(load: Callable[[], T], problems: list[Problem], *, code: str, path: str | PathLike[str]) -> T | None:
    """Return what ``load`` returns, or note why it could not."""
    try:
        return load()
    except PolicyError as error:
        problems += error.problems
    except ManifestError as error:
        problems.append(_problem(error, code, str(path)))
    except InputError as error:
        problems.append(Problem(code, str(path), None, "", str(error)))
    return None


def _problem(error: ManifestError, code: str, path: str) -> Problem:
    place = f"{error.path}: " if error.line is None else f"{error.path}:{error.line}: "
    return Problem(code, error.path or path, error.line, "", str(error).removeprefix(place))


def _notes(subject: Subject) -> tuple[str, ...]:
    policy = subject.policy
    if policy is None:
        return ()
    notes = []
    if policy.coverage is None:
        notes.append("the policy has no coverage section: classes that disappear are not looked for (CG501)")
    elif not policy.coverage.cells:
        notes.append("coverage.cells is empty: classes that disappear are not looked for (CG501)")
    here = {source.name for source in subject.manifest.header.sources} if subject.manifest is not None else set()
    absent = sorted(
        name for name, source in policy.sources.items() if source.max_share is not None and name not in here
    )
    if absent and here:
        notes.append(f"the policy caps {', '.join(map(repr, absent))}, and the manifest has no such source")
    if policy.accumulation.mode == "off":
        notes.append("accumulation is off: lost real rows are not looked for (CG201-CG204)")
    return tuple(notes)


def _exit_code(subject: Subject, findings: tuple[Finding, ...], unenforced: tuple[str, ...], fail_on: FailOn) -> int:
    """Return the exit code; 2 goes before 1, 1 before 3."""
    if subject.problems:
        return UNUSABLE
    loud = {"error": {Severity.ERROR}, "warning": {Severity.ERROR, Severity.WARNING}, "never": set()}[fail_on]
    if any(found.status is Status.FAIL and found.severity in loud for found in findings):
        return VIOLATION
    unknown = unenforced or any(found.status is Status.INCONCLUSIVE for found in findings)
    lenient = subject.policy is not None and subject.policy.on_missing_evidence == "warn"
    return INCONCLUSIVE if unknown and not lenient else OK
