"""CG3xx: is it known who made each row, and how deep is the chain of generators?"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from collapse_guard.manifest import real_and_generated_ids
from collapse_guard.records import UNKNOWN_GENERATION, Evidence, Finding, Origin, Severity
from collapse_guard.rules.registry import Subject, rule

if TYPE_CHECKING:
    from collections.abc import Iterator


@rule("CG301", Severity.ERROR, "rows without origin, or without evidence for it", needs=("policy", "manifest", "index"))
def origin_is_known(subject: Subject) -> Iterator[Finding]:
    """Unknown origin outside sources that declare it, and origins that nothing supports."""
    assert subject.policy is not None
    assert subject.manifest is not None
    allowed = {name for name, source in subject.policy.sources.items() if source.origin == "unknown"}
    faults: Counter[tuple[str, str]] = Counter()
    for (source, origin, evidence), n_rows in subject.manifest.rows_by(
        "source", "origin", "evidence", limits=subject.limits
    ).items():
        if origin not in set(Origin) or origin == Origin.UNKNOWN:
            if source not in allowed:
                faults[source, "have no origin"] += n_rows
        elif evidence == Evidence.NONE:
            faults[source, "claim an origin without evidence"] += n_rows
        elif origin == Origin.REAL and evidence == Evidence.STATISTICAL:
            faults[source, "are called real by statistics alone"] += n_rows
    for (source, what), n_rows in sorted(faults.items()):
        yield Finding(
            "CG301",
            Severity.ERROR,
            f"source {source!r}: {n_rows} rows {what}",
            evidence={"n_rows": n_rows},
            subject=source,
            remedy="tag them with origin and evidence, or declare the source as origin: unknown with a cap",
        )


@rule("CG302", Severity.ERROR, "synthetic rows without generator", needs=("manifest", "index"))
def generator_is_known(subject: Subject) -> Iterator[Finding]:
    """Synthetic rows whose generator is null or empty."""
    assert subject.manifest is not None
    for (source, origin, generator), n_rows in subject.manifest.rows_by(
        "source", "origin", "generator", limits=subject.limits
    ).items():
        if origin == Origin.SYNTHETIC and not generator:
            yield Finding(
                "CG302",
                Severity.ERROR,
                f"source {source!r}: {n_rows} synthetic rows name no generator",
                evidence={"n_rows": n_rows},
                subject=source,
                remedy="tag them with generator='model@revision'",
            )


@rule("CG303", Severity.ERROR, "generation depth above limit", needs=("policy", "manifest", "index"))
def depth_is_limited(subject: Subject) -> Iterator[Finding]:
    """Rows whose generation is above the limit of the policy or of their source; unknown counts as above."""
    assert subject.policy is not None
    assert subject.manifest is not None
    overall = subject.policy.provenance.max_generation_depth
    deep: dict[tuple[str, int], Counter[str]] = {}
    for (source, origin, generation), n_rows in subject.manifest.rows_by(
        "source", "origin", "generation", limits=subject.limits
    ).items():
        declared = subject.policy.sources.get(source)
        own = declared.max_depth if declared is not None and declared.max_depth is not None else overall
        limit = min(own, overall)
        if generation > limit and origin != Origin.UNKNOWN:
            label = "unknown" if generation == UNKNOWN_GENERATION else str(generation)
            deep.setdefault((source, limit), Counter())[label] += n_rows
    for (source, limit), histogram in sorted(deep.items()):
        shown = ", ".join(f"generation {depth}: {rows}" for depth, rows in sorted(histogram.items()))
        yield Finding(
            "CG303",
            Severity.ERROR,
            f"source {source!r}: {sum(histogram.values())} rows are deeper than {limit} ({shown})",
            evidence={"histogram": dict(histogram), "limit": limit},
            subject=source,
            remedy="generate from a model that was trained on real rows, or raise provenance.max_generation_depth",
        )


@rule("CG309", Severity.WARNING, "the same content is real and not real", needs=("manifest", "index"))
def content_is_one_of_both(subject: Subject) -> Iterator[Finding]:
    """Ids that stand for a real row and for one of another origin: one of the two claims is wrong."""
    assert subject.manifest is not None
    n_ids, ids = real_and_generated_ids(subject.manifest, limits=subject.limits)
    if n_ids:
        yield Finding(
            "CG309",
            Severity.WARNING,
            f"{n_ids} {'id stands' if n_ids == 1 else 'ids stand'} for a real row and for one that is not;"
            f" ids {', '.join(ids)}",
            evidence={"n_ids": n_ids, "ids": list(ids)},
            subject="origin",
            remedy="take the generated copies out, or the real ones if the copies came back through a crawl",
        )
