"""The order of the steps: read, run the rules, settle what is accepted, place what was found."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from collapse_guard.errors import ManifestError
from collapse_guard.gate.inputs import Given, problem_of, read_inputs
from collapse_guard.gate.result import GateResult, exit_code_of, shown_path
from collapse_guard.records import CELL
from collapse_guard.rules import RULES, Choice, Evaluation, Subject, Terms, evaluate

if TYPE_CHECKING:
    from os import PathLike

    from collapse_guard.gate.inputs import FailOn, Inputs
    from collapse_guard.manifest import Limits
    from collapse_guard.records import Finding


#: Rules that rest on the accumulation proof; where none of them runs it is not made.
_PROVEN: Final = frozenset({"CG201", "CG202", "CG207"})


@dataclass(frozen=True)
class Governing:
    """What may be accepted.

    Args:
        baseline: list of known findings; the policy's ``baseline`` if left out.
        has_baseline: whether the baseline is applied; waivers are in any case.
        is_strict: apply neither waivers nor the baseline (``--no-waivers``).
        is_unsafe_allowed: take waivers of rules that cannot be waived; every report says so.
        today: day on which waivers are looked at; today in UTC if left out.
    """

    baseline: str | PathLike[str] | None = None
    has_baseline: bool = True
    is_strict: bool = False
    is_unsafe_allowed: bool = False
    today: dt.date | None = None


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
    given = Given(
        policy,
        manifest,
        against,
        baseline=terms.baseline,
        has_baseline=terms.has_baseline,
        signature_key=signature_key,
        is_unsafe_allowed=terms.is_unsafe_allowed,
    )
    inputs = read_inputs(given, limits, headers_only=chosen.headers_only)
    unenforced = _unenforced(inputs)
    day = None if terms.is_strict else terms.today or dt.datetime.now(dt.UTC).date()
    subject, result = _evaluated(
        inputs.subject, chosen, Terms(day, inputs.baseline, unenforced, is_unsafe_allowed=terms.is_unsafe_allowed)
    )
    findings = tuple(_placed(found, inputs) for found in result.findings)
    return GateResult(
        findings,
        result.codes,
        unenforced,
        _notes(subject, chosen, result, terms, signature_key),
        exit_code_of(subject, findings, fail_on),
        str(policy),
        subject,
        proof=subject.proof if _PROVEN & set(result.codes) else None,
        fail_on=fail_on,
        ignored=result.ignored,
        uses=result.uses,
        is_unsafe=terms.is_unsafe_allowed,
    )


def _evaluated(subject: Subject, choice: Choice, terms: Terms) -> tuple[Subject, Evaluation]:
    """Run the rules; a part that turns out to be damaged where rows are read makes every index unreadable."""
    try:
        return subject, evaluate(subject, choice, terms)
    except ManifestError as error:
        broken = replace(subject, problems=(*subject.problems, problem_of(error, "CG004", "")))
        return broken, evaluate(broken, choice, terms)


def _unenforced(inputs: Inputs) -> tuple[str, ...]:
    if inputs.policy is None:
        return ()
    unknown = [f"severity.{code}" for code in sorted(inputs.policy.severity) if code not in RULES.names()]
    return (*inputs.policy.unenforced(), *unknown)


def _placed(found: Finding, inputs: Inputs) -> Finding:
    """Return the finding with a place: where it was found, or the line of the policy that asks for it."""
    if found.file is not None:
        return replace(found, file=shown_path(found.file)) if found.file else found
    if inputs.resolved is None:
        return found
    file, line = inputs.resolved.place(found.key)
    return replace(found, file=shown_path(file), line=line)


def _notes(
    subject: Subject,
    choice: Choice,
    result: Evaluation,
    terms: Governing,
    signature_key: str | PathLike[str] | None,
) -> tuple[str, ...]:
    notes = list(_unguarded(subject))
    if choice.headers_only:
        notes.append(f"headers only: rows were not looked at, and {len(result.ignored)} rules did not run")
        notes += _unproven(subject)
    elif result.ignored:
        notes.append(f"left out by --select, --ignore or pyproject.toml: {', '.join(result.ignored)}")
    if signature_key is not None:
        notes.append(f"the manifest had to be signed by a key of {signature_key}")
    if terms.is_strict:
        notes.append("waivers and the baseline were not applied")
    if terms.is_unsafe_allowed:
        notes.append("unsafe waivers were allowed: rules that guard the evidence itself may have been waived")
    return tuple(notes)


def _unproven(subject: Subject) -> list[str]:
    """Return that real rows changed, if the headers say so; whether any was lost only rows can tell."""
    now, before = subject.manifest, subject.previous
    if now is None or before is None or now.header.real_root_digest == before.header.real_root_digest:
        return []
    return ["the real rows are not those of the parent: only a full check can tell whether any was lost"]


def _unguarded(subject: Subject) -> tuple[str, ...]:
    policy = subject.policy
    if policy is None:
        return ()
    notes = []
    if subject.manifest is not None and subject.previous is None and policy.accumulation.mode != "off":
        text = "no parent was compared: real rows that were lost cannot be seen (CG201-CG203)"
        notes.append(f"{text}; name it with --against or manifests.previous")
    column = None if policy.coverage is None else policy.coverage.class_column
    counted = None if subject.manifest is None else subject.manifest.header.class_column
    if column is not None and counted not in {None, CELL, column}:
        notes.append(
            f"coverage.cells names the column {column!r}, the classes of the manifest are those of {counted!r}"
        )
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
