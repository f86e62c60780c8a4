"""CG2xx: does the generation hold every real row of its parent?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from collapse_guard.manifest import new_rows_by_class
from collapse_guard.records import Finding, Origin, Severity, Status
from collapse_guard.rules.loss import unknown_scope
from collapse_guard.rules.registry import Subject, rule

if TYPE_CHECKING:
    from collections.abc import Iterator


def _incomparable(subject: Subject, code: str) -> Finding | None:
    """Return the finding that ids of both generations follow different rules, None if they can be compared."""
    assert subject.manifest is not None
    assert subject.previous is not None
    before, now = subject.previous.header.id_rule, subject.manifest.header.id_rule
    if before == now:
        return None
    text = f"not evaluated: ids follow {before!r} and {now!r}"
    return Finding(code, Severity.ERROR, text, status=Status.INCONCLUSIVE)


@rule(
    "CG201",
    Severity.ERROR,
    "real rows lost since the previous generation",
    needs=("policy", "manifest", "index", "parent"),
)
def real_rows_lost(subject: Subject) -> Iterator[Finding]:
    """Anti-join of real ids, exact."""
    assert subject.policy is not None
    assert subject.manifest is not None
    if subject.previous is None:
        return
    incomparable = _incomparable(subject, "CG201")
    if incomparable is not None:
        yield incomparable
        return
    wrong = unknown_scope(subject.policy, subject.previous, subject.manifest)
    if wrong is not None:
        yield Finding("CG201", Severity.ERROR, wrong, subject="scope", remedy="correct the scope, or leave it out")
    loss = subject.loss
    if loss.n_rows > subject.policy.accumulation.allow_loss:
        n_before = subject.previous.n_origin_rows(Origin.REAL)
        yield Finding(
            "CG201",
            Severity.ERROR,
            f"{loss.describe()} (of {n_before}, allowed {subject.policy.accumulation.allow_loss})",
            evidence={
                "n_lost_rows": loss.n_rows,
                "share": loss.n_rows / n_before,
                "by": [list(group) for group in loss.by_source_and_class],
                "ids": list(loss.ids),
            },
            subject="real",
            remedy="put them back; real data accumulates, it is never replaced",
        )


@rule("CG202", Severity.ERROR, "real rows replaced by synthetic ones", needs=("policy", "manifest", "index", "parent"))
def real_rows_replaced(subject: Subject) -> Iterator[Finding]:
    """As many new synthetic rows as lost real ones, within a tolerance."""
    assert subject.policy is not None
    assert subject.manifest is not None
    if subject.previous is None:
        return
    incomparable = _incomparable(subject, "CG202")
    if incomparable is not None:
        yield incomparable
        return
    loss = subject.loss
    if loss.n_rows <= subject.policy.accumulation.allow_loss:
        return
    new = new_rows_by_class(subject.previous, subject.manifest, origin=Origin.SYNTHETIC)
    n_new, tolerance = sum(new.values()), subject.policy.accumulation.replace_tolerance
    if abs(n_new - loss.n_rows) <= tolerance * loss.n_rows:
        lost_by_class: dict[str | None, int] = {}
        for _, label, rows in loss.by_source_and_class:
            lost_by_class[label] = lost_by_class.get(label, 0) + rows
        overlap = {str(label): min(rows, new.get(label, 0)) for label, rows in lost_by_class.items()}
        yield Finding(
            "CG202",
            Severity.ERROR,
            f"{loss.n_rows} real rows left and {n_new} synthetic ones came: this is a replacement"
            f" ({sum(overlap.values())} of them class by class)",
            evidence={"n_lost_rows": loss.n_rows, "n_new_synthetic_rows": n_new, "overlap_by_class": overlap},
            subject="real",
            remedy="keep the real rows and add the synthetic ones beside them",
        )


@rule("CG204", Severity.ERROR, "previous manifest missing, or not the recorded parent", needs=("policy", "manifest"))
def parent_is_recorded(subject: Subject) -> Iterator[Finding]:
    """The chain of generations: each names the digest of its parent."""
    assert subject.policy is not None
    assert subject.manifest is not None
    if subject.policy.accumulation.mode == "off":
        return
    recorded = {parent.digest for parent in subject.manifest.header.parents}
    given = None if subject.previous is None else subject.previous.digest
    pinned = subject.policy.manifests.parent_digest
    evidence = {"recorded": sorted(recorded), "given": given, "pinned": pinned}
    if given is None and recorded:
        text, remedy = (
            "the manifest records a parent, none was given",
            "pass --against PREVIOUS, or set manifests.previous",
        )
    elif given is None and pinned is not None:
        text, remedy = (
            f"the policy pins parent {pinned[:19]}..., none is recorded",
            "update manifests.parent_digest in review",
        )
    elif given is None and subject.manifest.header.generation > 0:
        text = f"generation {subject.manifest.header.generation} records no parent"
        remedy = "write the manifest from the loaded parent generation"
    elif given is not None and given not in recorded:
        text, remedy = f"{given[:19]}... is not the recorded parent", "compare with the parent that the manifest names"
    elif given is not None and pinned is not None and given != pinned:
        text, remedy = (
            f"the policy pins parent {pinned[:19]}..., given is {given[:19]}...",
            "update manifests.parent_digest in review",
        )
    else:
        return
    yield Finding("CG204", Severity.ERROR, text, evidence=evidence, subject="parent", remedy=remedy)
