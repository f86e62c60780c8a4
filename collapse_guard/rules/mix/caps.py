"""CG102, CG106, CG108, CG109: does one source, generator, generation or class hold too much?"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from collapse_guard.kernels import one_line
from collapse_guard.records import Finding, Origin, Severity
from collapse_guard.rules.mix.amounts import is_below, share_of, shown
from collapse_guard.rules.registry import Subject, rule

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Classes that are named; all are counted.
_MOST_NAMED = 10


def _above(
    rule_code: tuple[str, Severity], subject: Subject, name: tuple[str, str], figures: tuple[float, float], remedy: str
) -> Finding:
    """Return the finding that a part is above its cap.

    Args:
        rule_code: code and severity.
        subject: what the rule was given.
        name: what kind of part it is, and which one.
        figures: its amount, and its cap as a share.
        remedy: what to do.
    """
    assert subject.policy is not None
    assert subject.manifest is not None
    (code, severity), (kind, which), (amount, cap) = rule_code, name, figures
    total, unit = subject.manifest.amount, subject.policy.unit
    share = share_of(amount, total)
    said = which if kind == "generation" else repr(which)
    return Finding(
        code,
        severity,
        f"{kind} {said}: {shown(amount)} of {shown(total)} {unit} are a share of {share:.4f}, the cap is {cap:g}",
        evidence={"share": share, "cap": cap, "amount": amount, "unit": unit},
        subject=f"generation {which}" if kind == "generation" else which,
        where={kind: which},
        measured=share,
        limit=cap,
        unit="share",
        key={
            "source": ("sources", which, "max_share"),
            "generator": ("mix", "per_generator_max_share"),
            "generation": ("mix", "per_generation_max_share"),
        }[kind],
        remedy=remedy,
    )


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
            figures = (found, source.max_share)
            yield _above(("CG102", Severity.ERROR), subject, ("source", name), figures, remedy)


@rule("CG106", Severity.WARNING, "one generator supplies too much", needs=("policy", "manifest", "index", "unit"))
def generator_cap(subject: Subject) -> Iterator[Finding]:
    """Share of each generator."""
    assert subject.policy is not None
    assert subject.manifest is not None
    cap, total = subject.policy.mix.per_generator_max_share, subject.manifest.amount
    for (generator,), made in subject.manifest.amount_by("generator", limits=subject.limits).items():
        if cap is not None and generator is not None and is_below(cap * total, made):
            remedy = "mix in other generators, or real rows"
            yield _above(("CG106", Severity.WARNING), subject, ("generator", generator), (made, cap), remedy)


@rule("CG108", Severity.ERROR, "one generation supplies too much", needs=("policy", "manifest", "index", "unit"))
def generation_cap(subject: Subject) -> Iterator[Finding]:
    """Share of the rows of each generation that a model made."""
    assert subject.policy is not None
    assert subject.manifest is not None
    total = subject.manifest.amount
    for (generation,), made in subject.manifest.amount_by("generation", limits=subject.limits).items():
        cap = subject.policy.mix.generation_cap(generation) if generation > 0 else None
        if cap is not None and is_below(cap * total, made):
            remedy = "take fewer rows of it, or raise mix.per_generation_max_share in review"
            yield _above(("CG108", Severity.ERROR), subject, ("generation", str(generation)), (made, cap), remedy)


@rule("CG109", Severity.ERROR, "a class is too synthetic", needs=("policy", "manifest", "index", "unit"))
def class_cap(subject: Subject) -> Iterator[Finding]:
    """Share of synthetic rows within each class: one finding, with the classes furthest above the cap.

    What it measures is the share of the class that is furthest above.
    """
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
    above = {label: made[label] / whole[label] for label in whole if is_below(cap * whole[label], made[label])}
    worst = sorted(above, key=lambda label: (-above[label], str(label)))[:_MOST_NAMED]
    if above:
        listed = ", ".join(f"{one_line(label or '(no class)')} {above[label]:.4f}" for label in worst)
        yield Finding(
            "CG109",
            Severity.ERROR,
            f"{len(above)} of {len(whole)} classes are more synthetic than {cap:g}: {listed}",
            evidence={"cap": cap, "n_classes": len(above), "classes": [str(label) for label in worst]},
            subject="classes",
            measured=max(above.values()),
            extent=len(above),
            limit=cap,
            unit="share",
            key=("mix", "per_class_max_synthetic_share"),
            remedy="add real rows of these classes, or take synthetic ones out",
        )
