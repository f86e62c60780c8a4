"""CG103, CG105, CG110: is the whole what was declared: its ratio, its size, the tags of its sources?"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from collapse_guard.manifest.index import origin_name
from collapse_guard.records import Finding, Origin, Severity
from collapse_guard.rules.mix.amounts import is_below, shown
from collapse_guard.rules.registry import Subject, rule

if TYPE_CHECKING:
    from collections.abc import Iterator


@rule("CG103", Severity.WARNING, "synthetic to real ratio above limit", needs=("policy", "manifest", "index", "unit"))
def synthetic_ratio(subject: Subject) -> Iterator[Finding]:
    """Synthetic amount per real amount; where nothing real trains, the synthetic amount itself: none may be."""
    assert subject.policy is not None
    assert subject.manifest is not None
    limit, unit = subject.policy.mix.synthetic_to_real_max, subject.policy.unit
    real, made = (
        subject.manifest.origin_amount(origin, limits=subject.limits) for origin in (Origin.REAL, Origin.SYNTHETIC)
    )
    if limit is not None and is_below(limit * real, made):
        measured, most, counted = (made / real, limit, "ratio") if real > 0 else (made, 0.0, unit)
        yield Finding(
            "CG103",
            Severity.WARNING,
            f"{shown(made)} synthetic {unit} to {shown(real)} real ones, the limit is {limit:g} to 1",
            evidence={"synthetic": made, "real": real, "unit": unit, "limit": limit},
            subject="synthetic",
            measured=measured,
            limit=most,
            unit=counted,
            key=("mix", "synthetic_to_real_max"),
            remedy="take fewer synthetic rows",
        )


@rule("CG105", Severity.ERROR, "declared source differs from its rows", needs=("policy", "manifest", "index"))
def declared_sources(subject: Subject) -> Iterator[Finding]:
    """Origin and generator that a source declares, against the tags of its rows: one finding per value that differs."""
    assert subject.policy is not None
    assert subject.manifest is not None
    faults: Counter[tuple[str, str, str, str | None]] = Counter()
    for (name, code, generator), n_rows in subject.manifest.rows_by(
        "source", "origin", "generator", limits=subject.limits
    ).items():
        declared = subject.policy.sources.get(name)
        if declared is None:
            continue
        pairs = [("origin", declared.origin, origin_name(code)), ("generator", declared.generator, generator)]
        for what, wanted, found in pairs:
            if wanted is not None and wanted != found:
                faults[name, what, wanted, found] += n_rows
    for (name, what, wanted, found), n_rows in sorted(faults.items(), key=lambda item: tuple(map(repr, item[0]))):
        yield Finding(
            "CG105",
            Severity.ERROR,
            f"source {name!r}: {n_rows} rows have {what} {found!r}, the policy declares {wanted!r}",
            evidence={"declared": wanted, "actual": found, "n_rows": n_rows},
            subject=f"{name}: {what} {'none' if found is None else repr(found)}",
            where={"source": name} | ({"generator": found} if what == "generator" and found is not None else {}),
            measured=n_rows,
            limit=0,
            unit="rows",
            key=("sources", name, what),
            remedy="correct the tag, or the declaration",
        )


@rule("CG110", Severity.ERROR, "training set above its budget", needs=("policy", "manifest", "unit"))
def within_budget(subject: Subject) -> Iterator[Finding]:
    """What trains against ``mix.budget``; rows that are only retained have the amount 0."""
    assert subject.policy is not None
    assert subject.manifest is not None
    budget, total, unit = subject.policy.mix.budget, subject.manifest.amount, subject.policy.unit
    if budget is not None and is_below(budget.amount, total):
        yield Finding(
            "CG110",
            Severity.ERROR,
            f"{shown(total)} {unit} train, the budget is {shown(budget.amount)}",
            evidence={"amount": total, "budget": budget.amount, "unit": unit},
            subject="budget",
            measured=total,
            limit=budget.amount,
            unit=unit,
            key=("mix", "budget", "amount"),
            remedy="plan the mix again under this policy",
        )
