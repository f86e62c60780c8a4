"""CG0xx: can the policy and the manifest be used at all, and do they hold together?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from collapse_guard.kernels import one_line
from collapse_guard.manifest import duplicate_ids
from collapse_guard.records import Finding, Severity
from collapse_guard.rules.registry import Subject, rule

if TYPE_CHECKING:
    from collections.abc import Iterator


def problems(subject: Subject, code: str) -> Iterator[Finding]:
    """Yield the faults found while reading that belong to a rule."""
    for problem in subject.problems:
        if problem.code == code:
            text = f"{problem.key}: {problem.message}" if problem.key else problem.message
            yield Finding(
                code,
                Severity.ERROR,
                text,
                subject=problem.key,
                remedy=problem.remedy,
                file=problem.file,
                line=problem.line,
            )


@rule("CG001", Severity.ERROR, "policy does not parse, or has an unknown key", needs=())
def policy_parses(subject: Subject) -> Iterator[Finding]:
    """Every fault that the policy loader found."""
    yield from problems(subject, "CG001")


@rule("CG002", Severity.ERROR, "policy contradicts itself", needs=())
def policy_is_consistent(subject: Subject) -> Iterator[Finding]:
    """Floors above caps, shares that do not add up."""
    yield from problems(subject, "CG002")


@rule("CG003", Severity.ERROR, "manifest header is invalid, or its schema version is unknown", needs=())
def header_is_valid(subject: Subject) -> Iterator[Finding]:
    """The fault that the header reader found."""
    yield from problems(subject, "CG003")


@rule("CG004", Severity.ERROR, "digest mismatch between header and content", needs=("manifest",))
def digests_match(subject: Subject) -> Iterator[Finding]:
    """Recompute every digest of the manifest."""
    yield from problems(subject, "CG004")
    if not subject.index_is_readable:
        return
    checked = (("", subject.manifest), ("parent: ", subject.previous), ("reference: ", subject.reference))
    for which, manifest in checked:
        for mismatch in manifest.verify() if manifest is not None else ():
            part = f"{which}{mismatch.part}"
            yield Finding(
                "CG004",
                Severity.ERROR,
                f"{part}: the header says {_short(mismatch.expected)}, the content gives {_short(mismatch.found)}",
                evidence={"expected": mismatch.expected, "recomputed": mismatch.found, "part": part},
                subject=part,
                remedy="header or index was changed after it was written: restore it, or write the manifest again",
            )


@rule("CG005", Severity.ERROR, "duplicate ids within a source", needs=("manifest", "index"))
def ids_are_unique(subject: Subject) -> Iterator[Finding]:
    """Rows of one source that carry the same id, and how many of them disagree in class or origin."""
    assert subject.manifest is not None
    for found in duplicate_ids(subject.manifest, limits=subject.limits):
        differing = f"; {found.n_differing} of them with other classes or origins" if found.n_differing else ""
        yield Finding(
            "CG005",
            Severity.ERROR,
            f"source {found.source!r}: {found.n_ids} {'id stands' if found.n_ids == 1 else 'ids stand'} more than once"
            f" ({found.n_extra_rows} {'row' if found.n_extra_rows == 1 else 'rows'} too many)"
            f"{differing}; ids {', '.join(found.ids)}",
            evidence={
                "n_ids": found.n_ids,
                "n_extra_rows": found.n_extra_rows,
                "n_differing_ids": found.n_differing,
                "ids": list(found.ids),
            },
            subject=found.source,
            remedy="remove exact duplicates before the manifest is written; where rows differ, decide which is right",
        )


def _short(digest: str) -> str:
    return f"{digest[:19]}..." if digest.startswith("sha256:") else one_line(digest)
