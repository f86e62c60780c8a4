"""CG1xx: how much of what went in?"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from collapse_guard.manifest.index import origin_name
from collapse_guard.records import Finding, Origin, Severity
from collapse_guard.rules.registry import Subject, rule

if TYPE_CHECKING:
    from collections.abc import Iterator


@rule("CG101", Severity.ERROR, "real share below floor", needs=("policy", "manifest", "index", "unit"))
def real_share(subject: Subject) -> Iterator[Finding]:
    """Share of real rows, and of each source that has a floor of its own."""
    assert subject.policy is not None
    assert subject.manifest is not None
    n_rows, floor = subject.manifest.index.num_rows, subject.policy.mix.real_min_share
    n_real = subject.manifest.n_origin_rows(Origin.REAL)
    if n_real < floor * n_rows - 1e-9:
        yield _below("real rows", n_real, n_rows, floor, subject="real")
    by_source = subject.manifest.rows_by("source")
    for name, source in sorted(subject.policy.sources.items()):
        n_source = by_source.get((name,), 0)
        if source.min_share is not None and n_source < source.min_share * n_rows - 1e-9:
            yield _below(f"source {name!r}", n_source, n_rows, source.min_share, subject=name)


def _below(what: str, n_part: int, n_rows: int, floor: float, *, subject: str) -> Finding:
    gap = math.ceil((floor * n_rows - n_part) / (1 - floor) - 1e-9) if floor < 1 else n_rows - n_part
    return Finding(
        "CG101",
        Severity.ERROR,
        f"{what}: {n_part} of {n_rows} rows are a share of {n_part / n_rows:.4f}, the floor is {floor:g}",
        evidence={"share": n_part / n_rows, "floor": floor, "n_rows": n_part, "missing_rows": gap},
        subject=subject,
        remedy=f"add {gap} such rows, or take others out",
    )


@rule("CG102", Severity.ERROR, "source above its cap", needs=("policy", "manifest", "index", "unit"))
def source_cap(subject: Subject) -> Iterator[Finding]:
    """Share of each source that has a cap."""
    assert subject.policy is not None
    assert subject.manifest is not None
    n_rows, by_source = subject.manifest.index.num_rows, subject.manifest.rows_by("source")
    for name, source in sorted(subject.policy.sources.items()):
        n_source = by_source.get((name,), 0)
        if source.max_share is not None and n_source > source.max_share * n_rows + 1e-9:
            yield Finding(
                "CG102",
                Severity.ERROR,
                f"source {name!r}: {n_source} of {n_rows} rows are a share of {n_source / n_rows:.4f},"
                f" the cap is {source.max_share:g}",
                evidence={"share": n_source / n_rows, "cap": source.max_share, "n_rows": n_source},
                subject=name,
                remedy="take fewer rows of it, or raise sources.<name>.max_share in review",
            )


@rule("CG103", Severity.WARNING, "synthetic to real ratio above limit", needs=("policy", "manifest", "index", "unit"))
def synthetic_ratio(subject: Subject) -> Iterator[Finding]:
    """Synthetic rows per real row."""
    assert subject.policy is not None
    assert subject.manifest is not None
    limit = subject.policy.mix.synthetic_to_real_max
    n_real, n_made = (subject.manifest.n_origin_rows(origin) for origin in (Origin.REAL, Origin.SYNTHETIC))
    if limit is not None and n_made > limit * n_real + 1e-9:
        yield Finding(
            "CG103",
            Severity.WARNING,
            f"{n_made} synthetic rows to {n_real} real ones, the limit is {limit:g} to 1",
            evidence={"n_synthetic_rows": n_made, "n_real_rows": n_real, "limit": limit},
            subject="synthetic",
            remedy="take fewer synthetic rows",
        )


@rule("CG105", Severity.ERROR, "declared source differs from its rows", needs=("policy", "manifest", "index"))
def declared_sources(subject: Subject) -> Iterator[Finding]:
    """Origin and generator that a source declares, against the tags of its rows."""
    assert subject.policy is not None
    assert subject.manifest is not None
    for (name, code, generator), n_rows in subject.manifest.rows_by("source", "origin", "generator").items():
        declared = subject.policy.sources.get(name)
        if declared is None:
            continue
        pairs = [("origin", declared.origin, origin_name(code)), ("generator", declared.generator, generator)]
        for what, wanted, found in pairs:
            if wanted is not None and wanted != found:
                yield Finding(
                    "CG105",
                    Severity.ERROR,
                    f"source {name!r}: {n_rows} rows have {what} {found!r}, the policy declares {wanted!r}",
                    evidence={"declared": wanted, "actual": found, "n_rows": n_rows},
                    subject=name,
                    remedy="correct the tag, or the declaration",
                )


@rule("CG106", Severity.WARNING, "one generator supplies too much", needs=("policy", "manifest", "index", "unit"))
def generator_cap(subject: Subject) -> Iterator[Finding]:
    """Share of each generator."""
    assert subject.policy is not None
    assert subject.manifest is not None
    cap, n_rows = subject.policy.mix.per_generator_max_share, subject.manifest.index.num_rows
    for (generator,), n_made in subject.manifest.rows_by("generator").items():
        if cap is not None and generator is not None and n_made > cap * n_rows + 1e-9:
            yield Finding(
                "CG106",
                Severity.WARNING,
                f"generator {generator!r}: {n_made} of {n_rows} rows are a share of {n_made / n_rows:.4f},"
                f" the cap is {cap:g}",
                evidence={"share": n_made / n_rows, "cap": cap, "n_rows": n_made},
                subject=str(generator),
                remedy="mix in other generators, or real rows",
            )
