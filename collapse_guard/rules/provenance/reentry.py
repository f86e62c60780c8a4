"""CG305: do outputs of our own models come back into training?"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from collapse_guard.records import UNKNOWN_GENERATION, Finding, Severity
from collapse_guard.rules.registry import Subject, rule

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator


@rule("CG305", Severity.ERROR, "own model's outputs re-enter", needs=("policy", "manifest", "index"))
def own_outputs_stay_out(subject: Subject) -> Iterator[Finding]:
    """Rows of any origin whose generator is on the list ``provenance.forbid_reentry_of``, by source and generator.

    A name on the list stands for the whole generator or for what comes before its ``@``. This is the exact part, by
    what rows say of themselves; rows that lost their tag on the way are not seen by a manifest.
    """
    assert subject.policy is not None
    assert subject.manifest is not None
    forbidden = set(subject.policy.provenance.forbid_reentry_of)
    if not forbidden:
        return
    back: dict[tuple[str, str], Counter[int]] = {}
    for (source, generator, generation), n_rows in subject.manifest.rows_by(
        "source", "generator", "generation", limits=subject.limits
    ).items():
        if is_one_of(generator, forbidden):
            back.setdefault((source, generator), Counter())[generation] += n_rows
    for (source, generator), depths in sorted(back.items()):
        yield _returned(source, generator, depths)


def is_one_of(generator: str | None, names: Collection[str]) -> bool:
    """Return whether a generator, or its name without the revision, is one of ``names``.

    >>> is_one_of("tutor@2", {"tutor"}), is_one_of("tutor@2", {"tutor@1"}), is_one_of("tutors", {"tutor"})
    (True, False, False)
    >>> is_one_of("org@hub/tutor@2", {"org@hub/tutor"})
    True
    """
    return generator is not None and any(generator == name or generator.startswith(f"{name}@") for name in names)


def _returned(source: str, generator: str, depths: Counter[int]) -> Finding:
    named = {"unknown" if depth == UNKNOWN_GENERATION else str(depth): rows for depth, rows in sorted(depths.items())}
    n_rows = sum(depths.values())
    come = "row comes" if n_rows == 1 else "rows come"
    listed = ", ".join(f"generation {depth}: {rows}" for depth, rows in named.items())
    return Finding(
        "CG305",
        Severity.ERROR,
        f"source {source!r}: {n_rows} {come} from {generator!r}, whose outputs must not come back ({listed})",
        evidence={"n_rows": n_rows, "generator": generator, "by_generation": named, "match": "exact"},
        subject=f"{source}: {generator}",
        where={"source": source, "generator": generator},
        measured=n_rows,
        limit=0,
        unit="rows",
        key=("provenance", "forbid_reentry_of"),
        remedy="take these rows out: a model that learns from its own outputs forgets the tail",
    )
