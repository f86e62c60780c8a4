"""CG5xx: are the rare classes still there?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from collapse_guard.kernels import one_line
from collapse_guard.records import Finding, Origin, Severity, Status
from collapse_guard.rules.registry import Subject, rule

if TYPE_CHECKING:
    from collections.abc import Iterator


@rule("CG501", Severity.ERROR, "rare-class coverage fell", needs=("policy", "manifest", "index", "reference"))
def classes_alive(subject: Subject) -> Iterator[Finding]:
    """Classes of the real reference (or of the parent's real rows) that the training set no longer has."""
    assert subject.policy is not None
    assert subject.manifest is not None
    before = subject.reference or subject.previous
    coverage = subject.policy.coverage
    if before is None or coverage is None or not coverage.cells:
        return
    reference = {
        name: rows
        for name, rows in before.class_rows(Origin.REAL, limits=subject.limits).items()
        if rows >= coverage.min_class_rows
    }
    if not reference and not before.class_rows(Origin.REAL, limits=subject.limits):
        text = "not evaluated: no real row of the reference carries a class"
        yield Finding("CG501", Severity.ERROR, text, status=Status.INCONCLUSIVE)
        return
    present = subject.manifest.class_rows(trained=True, limits=subject.limits)
    lost = sorted((name for name in reference if name not in present), key=lambda name: (reference[name], name))
    if len(lost) > coverage.max_classes_lost:
        shown = ", ".join(f"{one_line(name)} ({reference[name]} rows before)" for name in lost[:10])
        n_alive = len(reference) - len(lost)
        yield Finding(
            "CG501",
            Severity.ERROR,
            f"{len(lost)} of {len(reference)} classes are gone: {shown}",
            evidence={
                "lost": lost[:10],
                "n_lost": len(lost),
                "coverage": n_alive / len(reference),
                "coverage_before": 1.0,
            },
            subject="classes",
            remedy="put the rows of these classes back",
        )
