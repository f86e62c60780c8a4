"""What the gate says: findings with their places, and one exit code."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from collapse_guard.policy.discovery import repository_root
from collapse_guard.records import Finding, Severity, Status
from collapse_guard.rules import RULES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from collapse_guard.gate.inputs import FailOn
    from collapse_guard.manifest import Proof
    from collapse_guard.rules import Subject
    from collapse_guard.rules.waivers import Use

RESULT_SCHEMA: Final = "collapse-guard/result/1"
OK, VIOLATION, UNUSABLE, INCONCLUSIVE = 0, 1, 2, 3
_WORDS: Final = {OK: "kept", VIOLATION: "violated", UNUSABLE: "unusable", INCONCLUSIVE: "inconclusive"}
#: Word for a rule, by the loudest of its findings.
_STATUSES: Final = (
    (Status.FAIL, "failed"),
    (Status.INCONCLUSIVE, "inconclusive"),
    (Status.WAIVED, "waived"),
    (Status.BASELINED, "baselined"),
)


@dataclass(frozen=True)
class GateResult:
    """What the gate found.

    Args:
        findings: failures, what of them is accepted, and rules that could not be evaluated.
        codes: every rule that was looked at.
        unenforced: policy keys that no check reads yet.
        notes: what was not asked for, and is therefore not guarded.
        exit_code: 0 kept, 1 violated, 2 unusable input, 3 inconclusive.
        policy_file: the policy.
        subject: what was looked at; reports draw their figures from it.
        proof: the accumulation proof, with the step that decided; None if none was made.
        fail_on: severities that count.
        ignored: rules that were left out.
        uses: what became of each waiver.
        is_unsafe: whether waivers of rules that cannot be waived were allowed.
        inputs: files and index folders that were read.
    """

    findings: tuple[Finding, ...]
    codes: tuple[str, ...]
    unenforced: tuple[str, ...]
    notes: tuple[str, ...]
    exit_code: int
    policy_file: str
    subject: Subject = field(repr=False, compare=False)
    proof: Proof | None = None
    fail_on: FailOn = "error"
    ignored: tuple[str, ...] = ()
    uses: tuple[Use, ...] = ()
    is_unsafe: bool = False
    inputs: tuple[Path, ...] = ()

    @property
    def verdict(self) -> str:
        """One word for the exit code."""
        return _WORDS[self.exit_code]

    @property
    def policy_digest(self) -> str | None:
        """Digest of what the policy demands."""
        return None if self.subject.policy is None else self.subject.policy.digest

    @property
    def manifest_digest(self) -> str | None:
        """Digest of the manifest that was checked."""
        return None if self.subject.manifest is None else self.subject.manifest.digest

    @property
    def parent_digest(self) -> str | None:
        """Digest of the parent that it was compared with."""
        return None if self.subject.previous is None else self.subject.previous.digest

    def as_dict(self, *, figures: bool = False) -> dict[str, Any]:
        """Return plain values under the schema ``collapse-guard/result/1``.

        Args:
            figures: add what the HTML page draws: the mix, the classes, the depth of generations.
        """
        return {
            "schema": RESULT_SCHEMA,
            "tool": _tool(),
            "verdict": self.verdict,
            "exit_code": self.exit_code,
            "fail_on": self.fail_on,
            "folder": _below_root(),
            "policy": self._policy(),
            "policy_digest": self.policy_digest,
            "manifest_file": _manifest_file(self.subject),
            "manifest_digest": self.manifest_digest,
            "parent_digest": self.parent_digest,
            "rules": [*self._rules()],
            "ignored_rules": list(self.ignored),
            "unenforced_policy_keys": list(self.unenforced),
            "notes": list(self.notes),
            "accumulation": None if self.proof is None else self.proof.as_dict(),
            "findings": [self._finding(found) for found in self.findings],
            "waivers": [_waiver(use) for use in self.uses],
            "unsafe_waivers": self.is_unsafe,
            "figures": self._figures() if figures else None,
        }

    def _policy(self) -> dict[str, Any]:
        name = None if self.subject.policy is None else self.subject.policy.name
        return {"name": name, "file": shown_path(self.policy_file), "digest": self.policy_digest}

    def _rules(self) -> Iterable[dict[str, str]]:
        for code in sorted({*self.codes, *self.ignored}):
            rule = RULES.get(code)
            found = {finding.status for finding in self.findings if finding.code == code}
            status = next((word for status, word in _STATUSES if status in found), "passed")
            yield {
                "code": code,
                "title": rule.title,
                "severity": rule.severity.value,
                "status": "ignored" if code in self.ignored else status,
            }

    def _finding(self, found: Finding) -> dict[str, Any]:
        from collapse_guard.rules.page import docs_url  # noqa: PLC0415 - only where a result is shown

        return found.as_dict() | {"fingerprint": found.fingerprint(self.parent_digest), "docs": docs_url(found.code)}

    def _figures(self) -> dict[str, Any]:
        from collapse_guard.report.gate_figures import figures  # noqa: PLC0415 - only for the page

        return figures(self.subject)


def exit_code_of(subject: Subject, findings: Iterable[Finding], fail_on: FailOn) -> int:
    """Return the exit code; 2 goes before 1, 1 before 3."""
    if subject.problems:
        return UNUSABLE
    found = list(findings)
    loud = {"error": {Severity.ERROR}, "warning": {Severity.ERROR, Severity.WARNING}, "never": set()}[fail_on]
    if any(each.status is Status.FAIL and each.severity in loud for each in found):
        return VIOLATION
    lenient = subject.policy is not None and subject.policy.on_missing_evidence == "warn"
    unknown = any(each.status is Status.INCONCLUSIVE for each in found)
    return INCONCLUSIVE if unknown and not lenient else OK


def shown_path(path: str) -> str:
    """Return a path from the working directory where both lie in one repository; others as they are."""
    here, whole = Path.cwd(), Path(path).absolute()
    if not path:
        return path
    if whole.is_relative_to(here):
        return whole.relative_to(here).as_posix()
    root = repository_root(here)
    return os.path.relpath(whole).replace(os.sep, "/") if root is not None and whole.is_relative_to(root) else path


def _below_root() -> str:
    """Return where the working directory lies in its repository, empty at the root or outside of any."""
    here = Path.cwd()
    root = repository_root(here)
    return "" if root is None or root == here else here.relative_to(root).as_posix()


def _manifest_file(subject: Subject) -> str | None:
    manifest = subject.manifest
    return None if manifest is None or manifest.path is None else shown_path(str(manifest.path))


def _waiver(use: Use) -> dict[str, Any]:
    plain = use.waiver.model_dump(mode="json")
    return plain | {"days_left": use.days_left, "n_findings": len(use.findings)}


def _tool() -> dict[str, str]:
    from importlib.metadata import version  # noqa: PLC0415 - only where a result is shown

    return {"name": "collapse-guard", "version": version("collapse-guard")}
