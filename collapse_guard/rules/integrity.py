"""CG0xx: can the policy and the manifest be used at all, and do they hold together?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from collapse_guard.kernels import id_hex, one_line
from collapse_guard.records import Finding, Severity
from collapse_guard.rules.registry import Subject, rule

if TYPE_CHECKING:
    from collections.abc import Iterator


def _problems(subject: Subject, code: str) -> Iterator[Finding]:
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
    yield from _problems(subject, "CG001")


@rule("CG002", Severity.ERROR, "policy contradicts itself", needs=())
def policy_is_consistent(subject: Subject) -> Iterator[Finding]:
    """Floors above caps, shares that do not add up."""
    yield from _problems(subject, "CG002")


@rule("CG003", Severity.ERROR, "manifest header is invalid, or its schema version is unknown", needs=())
def header_is_valid(subject: Subject) -> Iterator[Finding]:
    """The fault that the header reader found."""
    yield from _problems(subject, "CG003")


@rule("CG004", Severity.ERROR, "digest mismatch between header and content", needs=("manifest",))
def digests_match(subject: Subject) -> Iterator[Finding]:
    """Recompute every digest of the manifest."""
    yield from _problems(subject, "CG004")
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
    """Rows of one source that carry the same id."""
    assert subject.manifest is not None
    grouped = subject.manifest.index.group_by(["source", "id_hi", "id_lo"]).aggregate([([], "count_all")])
    twice = grouped.filter(pc.greater(grouped.column("count_all"), 1)).sort_by(
        [("id_hi", "ascending"), ("id_lo", "ascending")]
    )
    for source in sorted(pc.unique(twice.column("source")).to_pylist()):
        part: pa.Table = twice.filter(pc.equal(twice.column("source"), source))
        n_extra = int(pc.sum(part.column("count_all")).as_py()) - part.num_rows
        ids = [id_hex(row["id_hi"], row["id_lo"]) for row in part.slice(0, 10).to_pylist()]
        yield Finding(
            "CG005",
            Severity.ERROR,
            f"source {source!r}: {part.num_rows} ids stand more than once ({n_extra} rows too many);"
            f" ids {', '.join(ids)}",
            evidence={"n_ids": part.num_rows, "n_extra_rows": n_extra, "ids": ids},
            subject=str(source),
            remedy="remove exact duplicates before the manifest is written",
        )


def _short(digest: str) -> str:
    return f"{digest[:19]}..." if digest.startswith("sha256:") else one_line(digest)
