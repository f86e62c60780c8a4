"""What a reviewer should know of a verdict beside its findings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from collapse_guard.records import CELL

if TYPE_CHECKING:
    from collections.abc import Sequence

    from collapse_guard.gate.inputs import Given
    from collapse_guard.rules import Choice, Subject


def notes_of(subject: Subject, choice: Choice, ignored: Sequence[str], given: Given) -> tuple[str, ...]:
    """Return what a verdict does not say of itself: what was not asked for, left out, or accepted out of turn."""
    notes = list(_unguarded(subject))
    if choice.headers_only:
        notes.append(f"headers only: rows were not looked at, and {len(ignored)} rules did not run")
        notes += _unproven(subject)
    elif ignored:
        notes.append(f"left out by --select, --ignore or pyproject.toml: {', '.join(ignored)}")
    if given.signature_key is not None:
        notes.append(f"the manifest had to be signed by a key of {given.signature_key}")
    if given.governing.is_strict:
        notes.append("waivers and the baseline were not applied")
    if given.governing.is_unsafe_allowed:
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
