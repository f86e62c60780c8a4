"""CG204: is the parent that was given the one that the manifest names?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from collapse_guard.kernels import one_line
from collapse_guard.records import Finding, Severity
from collapse_guard.rules.registry import Subject, rule

if TYPE_CHECKING:
    from collections.abc import Iterator


@rule(
    "CG204",
    Severity.ERROR,
    "previous manifest missing, not the recorded parent, or of another id rule",
    needs=("policy", "manifest"),
)
def parent_is_recorded(subject: Subject) -> Iterator[Finding]:
    """The chain of generations: each names the digest of its parent."""
    assert subject.policy is not None
    assert subject.manifest is not None
    if subject.policy.accumulation.mode == "off":
        return
    yield from _same_rule(subject)
    recorded = {parent.digest for parent in subject.manifest.header.parents}
    given = None if subject.previous is None else subject.previous.digest
    pinned = subject.policy.manifests.parent_digest
    evidence = {"recorded": sorted(recorded), "given": given, "pinned": pinned}
    if given is None and recorded:
        text, remedy = (
            "the manifest records a parent, none was given",
            "pass --against PREVIOUS, or set manifests.previous",
        )
    elif given is None and pinned is not None:
        text, remedy = (
            f"the policy pins parent {pinned[:19]}..., none is recorded",
            "update manifests.parent_digest in review",
        )
    elif given is None and subject.manifest.header.generation > 0:
        text = f"generation {subject.manifest.header.generation} records no parent"
        remedy = "write the manifest from the loaded parent generation"
    elif given is not None and not recorded:
        text = f"{given[:19]}... is not the parent: the manifest records none"
        remedy = "write the manifest again with --parent"
    elif given is not None and given not in recorded:
        text, remedy = f"{given[:19]}... is not the recorded parent", "compare with the parent that the manifest names"
    elif given is not None and len(recorded) > 1:
        text = f"{len(recorded)} parents are recorded and one was given: rows of the others are not proven to be here"
        remedy = "merge the parents first, and name the merged manifest with --parent"
    elif given is not None and pinned is not None and given != pinned:
        text, remedy = (
            f"the policy pins parent {pinned[:19]}..., given is {given[:19]}...",
            "update manifests.parent_digest in review",
        )
    else:
        return
    key = ("manifests", "previous" if pinned is None else "parent_digest")
    yield Finding("CG204", Severity.ERROR, text, evidence=evidence, subject="parent", key=key, remedy=remedy)


def _same_rule(subject: Subject) -> Iterator[Finding]:
    assert subject.manifest is not None
    if subject.previous is None or subject.previous.header.id_rule == subject.manifest.header.id_rule:
        return
    before, now = subject.previous.header.id_rule, subject.manifest.header.id_rule
    yield Finding(
        "CG204",
        Severity.ERROR,
        f"ids follow {one_line(before)!r} in the parent and {one_line(now)!r} here: no row can be compared",
        evidence={"parent": before, "current": now},
        subject="id rule",
        key=("identity", "rule"),
        remedy="write the manifest again under the rule of its parent (policy: identity)",
    )
