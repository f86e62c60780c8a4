"""The order of the steps: read, run the rules, settle what is accepted, place what was found."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from collapse_guard.errors import ManifestError
from collapse_guard.gate.inputs import Given, Governing, problem_of, read_inputs
from collapse_guard.gate.notes import notes_of
from collapse_guard.gate.result import GateResult, exit_code_of, shown_path
from collapse_guard.rules import RULES, Choice, Evaluation, Subject, Terms, evaluate
from collapse_guard.rules.governance import unchecked_keys

if TYPE_CHECKING:
    from os import PathLike

    from collapse_guard.gate.inputs import FailOn, Inputs
    from collapse_guard.manifest import Limits
    from collapse_guard.records import Finding


#: Rules that rest on the accumulation proof; where none of them runs it is not made.
_PROVEN: Final = frozenset({"CG201", "CG202", "CG207"})


def check(
    policy: str | PathLike[str],
    manifest: str | PathLike[str] | None = None,
    *,
    against: str | PathLike[str] | None = None,
    fail_on: FailOn = "error",
    choice: Choice | None = None,
    governing: Governing | None = None,
    signature_key: str | PathLike[str] | None = None,
    limits: Limits | None = None,
) -> GateResult:
    """Check a manifest against a policy and, if given, its parent manifest.

    Paths that are left out come from the policy, relative to the policy file. Unusable input does not raise: it is a
    finding (CG001-CG004, CG208, CG902, CG903) and exit code 2. No index is read into memory whole: digests are
    recomputed shard by shard, and rows are compared within ``limits``.

    Args:
        policy: the policy file.
        manifest: the manifest to check.
        against: the manifest of its parent generation.
        fail_on: least severity that makes the exit code 1.
        choice: which rules run; all if left out.
        governing: what may be accepted: waivers and the baseline.
        signature_key: public key (PEM) that must have signed the manifest; needs the extra ``sign``.
        limits: memory, threads and spill folder.

    Raises InputError for limits that DuckDB does not take, and for a choice of rules that there are not.
    """
    chosen, terms = choice or Choice(), governing or Governing()
    chosen.check(RULES.names())
    given = Given(policy, manifest, against, signature_key, terms)
    inputs = read_inputs(given, limits, headers_only=chosen.headers_only)
    unenforced = () if inputs.policy is None else unchecked_keys(inputs.policy)
    day = None if terms.is_strict else terms.today or dt.datetime.now(dt.UTC).date()
    subject, result = _evaluated(
        inputs.subject, chosen, Terms(day, inputs.baseline, unenforced, is_unsafe_allowed=terms.is_unsafe_allowed)
    )
    findings = tuple(_placed(found, inputs) for found in result.findings)
    return GateResult(
        findings,
        result.codes,
        unenforced,
        notes_of(subject, chosen, result.ignored, given),
        exit_code_of(subject, findings, fail_on),
        str(policy),
        subject,
        proof=subject.proof if _PROVEN & set(result.codes) else None,
        fail_on=fail_on,
        ignored=result.ignored,
        uses=result.uses,
        is_unsafe=terms.is_unsafe_allowed,
        inputs=inputs.files(),
    )


def _evaluated(subject: Subject, choice: Choice, terms: Terms) -> tuple[Subject, Evaluation]:
    """Run the rules; a part that turns out to be damaged where rows are read makes every index unreadable."""
    try:
        return subject, evaluate(subject, choice, terms)
    except ManifestError as error:
        broken = replace(subject, problems=(*subject.problems, problem_of(error, "CG004", "")))
        return broken, evaluate(broken, choice, terms)


def _placed(found: Finding, inputs: Inputs) -> Finding:
    """Return the finding with a place: where it was found, or the line of the policy that asks for it."""
    if found.file is not None:
        return replace(found, file=shown_path(found.file)) if found.file else found
    if inputs.resolved is None:
        return found
    file, line = inputs.resolved.place(found.key)
    return replace(found, file=shown_path(file), line=line)
