"""CG303, CG304: how many generators stand between a row and the real data, and can that be true?

That a manifest is its own ancestor by digest cannot be written: a digest covers those of its parents. What can be
written is a generation that is no later than its parent's, and rows whose generation is not that of their origin.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from collapse_guard.records import UNKNOWN_GENERATION, Finding, Origin, Severity
from collapse_guard.rules.provenance.faults import faulty_rows
from collapse_guard.rules.registry import Subject, rule

if TYPE_CHECKING:
    from collections.abc import Iterator

    from collapse_guard.policy import Policy

    Key = tuple[str, ...]

_SHALLOWER = "generate from a model that was trained on real rows, or raise provenance.max_generation_depth"
_TAGGED = "say their generation: 1 + that of the data which their model was trained on (--generation, or cg_generation)"
#: What cannot be true of the ancestry of a row, and what is said of it.
_FAULTS = {
    "synthetic, generation 0": "are synthetic and say generation 0: a model made them, whose data had a generation",
    "real, later generation": "are real and say a generation above 0",
    "real, with a generator": "are real and name a generator",
}


@rule("CG303", Severity.ERROR, "generation depth above limit", needs=("policy", "manifest", "index"))
def depth_is_limited(subject: Subject) -> Iterator[Finding]:
    """Rows whose generation is above the limit of the policy or of their source; unknown counts as above.

    It measures the deepest generation; an unknown one is 255.
    """
    assert subject.policy is not None
    assert subject.manifest is not None
    deep: dict[str, Counter[int]] = {}
    for (source, origin, generation), n_rows in subject.manifest.rows_by(
        "source", "origin", "generation", limits=subject.limits
    ).items():
        if generation > _depth(subject.policy, source)[0] and origin != Origin.UNKNOWN:
            deep.setdefault(source, Counter())[generation] += n_rows
    for source, histogram in sorted(deep.items()):
        limit, key = _depth(subject.policy, source)
        shown = ", ".join(f"generation {_named(depth)}: {rows}" for depth, rows in sorted(histogram.items()))
        yield Finding(
            "CG303",
            Severity.ERROR,
            f"source {source!r}: {sum(histogram.values())} rows are deeper than {limit} ({shown})",
            evidence={"histogram": {_named(depth): rows for depth, rows in sorted(histogram.items())}, "limit": limit},
            subject=source,
            where={"source": source},
            measured=max(histogram),
            extent=sum(histogram.values()),
            limit=limit,
            unit="generations",
            key=key,
            remedy=_SHALLOWER if UNKNOWN_GENERATION not in histogram else _TAGGED,
        )


def _depth(policy: Policy, source: str) -> tuple[int, Key]:
    """Return the deepest generation that a source may hold, and the key that says so: the lower of the two."""
    overall, declared = policy.provenance.max_generation_depth, policy.sources.get(source)
    if declared is not None and declared.max_depth is not None and declared.max_depth < overall:
        return declared.max_depth, ("sources", source, "max_depth")
    return overall, ("provenance", "max_generation_depth")


def _named(generation: int) -> str:
    return "unknown" if generation == UNKNOWN_GENERATION else str(generation)


@rule("CG304", Severity.ERROR, "ancestry that cannot be", needs=("policy", "manifest", "index"))
def ancestry_holds(subject: Subject) -> Iterator[Finding]:
    """A generation that is not later than that of its parent, and rows whose ancestry their origin contradicts."""
    yield from _not_later(subject)
    yield from _rows_without_parent(subject)


def _not_later(subject: Subject) -> Iterator[Finding]:
    """Yield a finding if the recorded parent is of this generation or of a later one; a parent has 0 at least."""
    assert subject.manifest is not None
    header, given = subject.manifest.header, subject.previous
    if not header.parents:
        return
    is_recorded = given is not None and given.digest in {parent.digest for parent in header.parents}
    before = given.header.generation if given is not None and is_recorded else 0
    if before >= header.generation:
        least = "" if is_recorded else " at least"
        yield Finding(
            "CG304",
            Severity.ERROR,
            f"the manifest is of generation {header.generation}, and its parent of generation {before}{least}:"
            " a child is later than its parents",
            evidence={
                "generation": header.generation,
                "parent_generation": before,
                "parents": [parent.digest for parent in header.parents],
            },
            subject="generation",
            where={"generation": str(header.generation)},
            measured=before,
            limit=header.generation - 1,
            unit="generations",
            key=("manifests", "previous"),
            remedy="write the manifest again with --parent, which sets its generation",
        )


def _rows_without_parent(subject: Subject) -> Iterator[Finding]:
    assert subject.manifest is not None
    faults: Counter[tuple[str, str]] = Counter()
    for (source, origin, generation, generator), n_rows in subject.manifest.rows_by(
        "source", "origin", "generation", "generator", limits=subject.limits
    ).items():
        for fault in _faults(origin, generation, generator):
            faults[source, fault] += n_rows
    remedy = "tag them again: real rows have generation 0 and no generator, synthetic ones 1 or more"
    yield from faulty_rows("CG304", faults, _FAULTS, lambda _: ("provenance",), remedy)


def _faults(origin: int, generation: int, generator: str | None) -> Iterator[str]:
    """Yield what cannot be true of a row; an unknown generation is the concern of CG303."""
    if origin == Origin.SYNTHETIC and generation == 0:
        yield "synthetic, generation 0"
    if origin == Origin.REAL and 0 < generation < UNKNOWN_GENERATION:
        yield "real, later generation"
    if origin == Origin.REAL and generator:
        yield "real, with a generator"
