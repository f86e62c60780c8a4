"""CG1xx: how much of what went in?"""

from __future__ import annotations

import math
from collections import defaultdict
from typing import TYPE_CHECKING, Any, Final

from collapse_guard.kernels import one_line
from collapse_guard.manifest.index import origin_name
from collapse_guard.records import Finding, Origin, Severity
from collapse_guard.rules.registry import Subject, rule

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Room for the rounding of a product of floats.
_SLACK: Final = 1e-9


@rule("CG101", Severity.ERROR, "real share below floor", needs=("policy", "manifest", "index", "unit"))
def real_share(subject: Subject) -> Iterator[Finding]:
    """Share of real rows, and of each source that has a floor of its own, in the unit of the policy."""
    assert subject.policy is not None
    assert subject.manifest is not None
    total, floor, unit = subject.manifest.amount, subject.policy.mix.real_min_share, subject.policy.unit
    real = subject.manifest.origin_amount(Origin.REAL, limits=subject.limits)
    if total <= 0 or is_below(real, floor * total):
        yield _below("real rows", real, total, floor, unit=unit, subject="real")
    by_source = subject.manifest.amount_by("source", limits=subject.limits)
    for name, source in sorted(subject.policy.sources.items()):
        found = by_source.get((name,), 0.0)
        if source.min_share is not None and is_below(found, source.min_share * total):
            yield _below(f"source {name!r}", found, total, source.min_share, unit=unit, subject=name)


def is_below(amount: float, limit: float) -> bool:
    """Return whether an amount is below a limit, beyond the rounding of floats."""
    return amount < limit - _SLACK * max(1.0, limit)


def shown(amount: float) -> str:
    """Return an amount for people: whole numbers as such.

    >>> shown(12.0), shown(0.25)
    ('12', '0.25')
    """
    return f"{amount:.12g}"


def _below(what: str, amount: float, total: float, floor: float, *, unit: str, subject: str) -> Finding:
    gap = math.ceil((floor * total - amount) / (1 - floor) - _SLACK) if floor < 1 else math.ceil(total - amount)
    share = amount / total if total else 0.0
    return Finding(
        "CG101",
        Severity.ERROR,
        f"{what}: {shown(amount)} of {shown(total)} {unit} are a share of {share:.4f}, the floor is {floor:g}",
        evidence={"share": share, "floor": floor, "amount": amount, "unit": unit, "missing": gap},
        subject=subject,
        remedy=f"add {gap} such {unit}, or take others out",
    )


def _above(subject: Subject, what: str, amount: float, cap: float, name: str) -> dict[str, Any]:
    """Return what the findings on caps have in common."""
    assert subject.policy is not None
    assert subject.manifest is not None
    total, unit = subject.manifest.amount, subject.policy.unit
    share = amount / total if total else 0.0
    return {
        "message": f"{what}: {shown(amount)} of {shown(total)} {unit} are a share of {share:.4f}, the cap is {cap:g}",
        "evidence": {"share": share, "cap": cap, "amount": amount, "unit": unit},
        "subject": name,
    }


@rule("CG102", Severity.ERROR, "source above its cap", needs=("policy", "manifest", "index", "unit"))
def source_cap(subject: Subject) -> Iterator[Finding]:
    """Share of each source that has a cap."""
    assert subject.policy is not None
    assert subject.manifest is not None
    total, by_source = subject.manifest.amount, subject.manifest.amount_by("source", limits=subject.limits)
    for name, source in sorted(subject.policy.sources.items()):
        found = by_source.get((name,), 0.0)
        if source.max_share is not None and is_below(source.max_share * total, found):
            remedy = "take fewer rows of it, or raise sources.<name>.max_share in review"
            said = _above(subject, f"source {name!r}", found, source.max_share, name)
            yield Finding("CG102", Severity.ERROR, remedy=remedy, **said)


@rule("CG103", Severity.WARNING, "synthetic to real ratio above limit", needs=("policy", "manifest", "index", "unit"))
def synthetic_ratio(subject: Subject) -> Iterator[Finding]:
    """Synthetic amount per real amount."""
    assert subject.policy is not None
    assert subject.manifest is not None
    limit, unit = subject.policy.mix.synthetic_to_real_max, subject.policy.unit
    real, made = (
        subject.manifest.origin_amount(origin, limits=subject.limits) for origin in (Origin.REAL, Origin.SYNTHETIC)
    )
    if limit is not None and is_below(limit * real, made):
        yield Finding(
            "CG103",
            Severity.WARNING,
            f"{shown(made)} synthetic {unit} to {shown(real)} real ones, the limit is {limit:g} to 1",
            evidence={"synthetic": made, "real": real, "unit": unit, "limit": limit},
            subject="synthetic",
            remedy="take fewer synthetic rows",
        )


@rule("CG105", Severity.ERROR, "declared source differs from its rows", needs=("policy", "manifest", "index"))
def declared_sources(subject: Subject) -> Iterator[Finding]:
    """Origin and generator that a source declares, against the tags of its rows."""
    assert subject.policy is not None
    assert subject.manifest is not None
    for (name, code, generator), n_rows in subject.manifest.rows_by(
        "source", "origin", "generator", limits=subject.limits
    ).items():
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
    cap, total = subject.policy.mix.per_generator_max_share, subject.manifest.amount
    for (generator,), made in subject.manifest.amount_by("generator", limits=subject.limits).items():
        if cap is not None and generator is not None and is_below(cap * total, made):
            said = _above(subject, f"generator {generator!r}", made, cap, str(generator))
            yield Finding("CG106", Severity.WARNING, remedy="mix in other generators, or real rows", **said)


@rule("CG108", Severity.ERROR, "one generation supplies too much", needs=("policy", "manifest", "index", "unit"))
def generation_cap(subject: Subject) -> Iterator[Finding]:
    """Share of the rows of each generation that a model made."""
    assert subject.policy is not None
    assert subject.manifest is not None
    total = subject.manifest.amount
    for (generation,), made in subject.manifest.amount_by("generation", limits=subject.limits).items():
        cap = subject.policy.mix.generation_cap(generation) if generation > 0 else None
        if cap is not None and is_below(cap * total, made):
            said = _above(subject, f"generation {generation}", made, cap, f"generation {generation}")
            remedy = "take fewer rows of it, or raise mix.per_generation_max_share in review"
            yield Finding("CG108", Severity.ERROR, remedy=remedy, **said)


@rule("CG109", Severity.ERROR, "a class is too synthetic", needs=("policy", "manifest", "index", "unit"))
def class_cap(subject: Subject) -> Iterator[Finding]:
    """Share of synthetic rows within each class: one finding, with the classes furthest above the cap."""
    assert subject.policy is not None
    assert subject.manifest is not None
    cap = subject.policy.mix.per_class_max_synthetic_share
    if cap is None:
        return
    made: defaultdict[str | None, float] = defaultdict(float)
    whole: defaultdict[str | None, float] = defaultdict(float)
    for (label, origin), amount in subject.manifest.amount_by("class", "origin", limits=subject.limits).items():
        whole[label] += amount
        made[label] += amount if origin == Origin.SYNTHETIC else 0
    above = [label for label in whole if is_below(cap * whole[label], made[label])]
    above.sort(key=lambda label: (-made[label] / whole[label], str(label)))
    if above:
        listed = ", ".join(
            f"{one_line(label or '(no class)')} {made[label] / whole[label]:.4f}" for label in above[:10]
        )
        yield Finding(
            "CG109",
            Severity.ERROR,
            f"{len(above)} of {len(whole)} classes are more synthetic than {cap:g}: {listed}",
            evidence={"cap": cap, "n_classes": len(above), "classes": [str(label) for label in above[:10]]},
            subject="classes",
            remedy="add real rows of these classes, or take synthetic ones out",
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
            remedy="plan the mix again under this policy",
        )
