"""CG0xx: can the policy and the manifest be used at all, and do they hold together?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from collapse_guard.kernels import one_line
from collapse_guard.manifest import duplicate_ids
from collapse_guard.records import Finding, Severity
from collapse_guard.rules.loss import meant, required_sources
from collapse_guard.rules.registry import Subject, rule
from collapse_guard.rules.unanswered import not_evaluated, without_parent

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


@rule("CG004", Severity.ERROR, "digest mismatch between header and content", needs=("manifest", "content"))
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
            where={"source": found.source},
            measured=found.n_ids,
            limit=0,
            unit="ids",
            key=("identity",),
            remedy="remove exact duplicates before the manifest is written; where rows differ, decide which is right",
        )


@rule("CG007", Severity.ERROR, "declared input matched no row", needs=("policy", "manifest"))
def inputs_hold_rows(subject: Subject) -> Iterator[Finding]:
    """A manifest of which nothing trains, a source in it without rows, a source that must stay and is nowhere.

    The last are those of ``accumulation.scope``, or with ``accumulate: strict``, that neither this generation nor its
    parent has. A source that is absent and has a floor is the concern of CG101; one that is merely capped is noted.
    """
    assert subject.manifest is not None
    yield from _nothing_trains(subject)
    for source in subject.manifest.header.sources:
        if source.rows == 0 and subject.manifest.n_rows > 0:
            text = f"source {source.name!r} is in the manifest and has no row"
            yield _empty(text, source.name, ("sources", source.name), "check what it was read from, or leave it out")
    yield from _nowhere(subject)


def _nothing_trains(subject: Subject) -> Iterator[Finding]:
    assert subject.manifest is not None
    n_rows = subject.manifest.n_rows
    if n_rows == 0 or subject.manifest.amount <= 0:
        text = "the manifest has no row" if n_rows == 0 else f"none of the {n_rows} rows trains: all have the amount 0"
        yield _empty(text, None, ("manifests", "current"), "name the data that trains, and write the manifest again")


def _nowhere(subject: Subject) -> Iterator[Finding]:
    """Yield the sources that must stay and that no generation at hand has."""
    assert subject.policy is not None
    assert subject.manifest is not None
    generations = (subject.manifest, *([] if subject.previous is None else [subject.previous]))
    known = {source.name for manifest in generations for source in manifest.header.sources}
    wanted = {name: key for name, key in required_sources(subject.policy).items() if name not in known}
    unseen = without_parent(subject)
    if wanted and unseen is not None:
        text = f"{', '.join(map(repr, wanted))} may stand in the parent alone, and {unseen}"
        yield not_evaluated("CG007", Severity.ERROR, text, key=next(iter(wanted.values())))
        return
    for name, key in wanted.items():
        where = "neither manifest has such a source" if subject.previous is not None else "there is no such source"
        yield _empty(f"source {name!r} must stay, and {where}", name, key, meant(name, known))


def _empty(message: str, source: str | None, key: tuple[str, ...], remedy: str) -> Finding:
    return Finding(
        "CG007",
        Severity.ERROR,
        message,
        evidence={"n_rows": 0},
        subject="manifest" if source is None else source,
        where={} if source is None else {"source": source},
        measured=0,
        limit=1,
        unit="rows",
        key=key,
        remedy=remedy,
    )


def _short(digest: str) -> str:
    return f"{digest[:19]}..." if digest.startswith("sha256:") else one_line(digest)
