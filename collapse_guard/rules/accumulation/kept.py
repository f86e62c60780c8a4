"""CG201, CG202, CG203: is every real row of the parent still here, and is it what it was?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from collapse_guard.kernels import one_line
from collapse_guard.manifest import new_rows_by_class
from collapse_guard.records import CELL, Finding, Origin, Severity, mark_of
from collapse_guard.rules.loss import changed_classes, unknown_scope
from collapse_guard.rules.registry import Subject, rule
from collapse_guard.rules.unanswered import not_evaluated

if TYPE_CHECKING:
    from collections.abc import Iterator

    from collapse_guard.manifest import Loss

#: Groups that a message names; the evidence has all.
_MOST_NAMED = 5


def _incomparable(subject: Subject, code: str) -> Finding | None:
    """Return the finding that ids of both generations follow different rules, None if they can be compared."""
    assert subject.manifest is not None
    assert subject.previous is not None
    before, now = subject.previous.header.id_rule, subject.manifest.header.id_rule
    if before == now:
        return None
    return not_evaluated(code, Severity.ERROR, f"ids follow {before!r} in the parent and {now!r} here")


def _open(subject: Subject, code: str) -> Iterator[Finding]:
    """Yield why the loss of real rows, or a part of it, is open: ids of two rules, a scope that names nothing."""
    if subject.policy is None or subject.manifest is None or subject.previous is None:
        return
    if subject.policy.accumulation.mode == "off":
        return
    incomparable = _incomparable(subject, code)
    wrong = unknown_scope(subject.policy, subject.previous, subject.manifest)
    if incomparable is not None:
        yield incomparable
    elif wrong is not None:
        yield not_evaluated(code, Severity.ERROR, wrong, subject="scope", key=("accumulation", "scope"))


@rule(
    "CG201",
    Severity.ERROR,
    "real rows lost since the previous generation",
    needs=("policy", "manifest", "index", "parent"),
)
def real_rows_lost(subject: Subject) -> Iterator[Finding]:
    """Root digest, shard digests, then an exact anti-join of real ids; lawful deletions (CG207) are no loss.

    A scope that names a source of neither generation (CG007) proves nothing of it, and leaves the question open.
    """
    assert subject.policy is not None
    yield from _open(subject, "CG201")
    loss, proof, allowed = subject.loss, subject.proof, subject.policy.accumulation.allow_loss
    if proof is not None and loss.n_rows > allowed:
        n_before = proof.n_real_rows_before
        yield Finding(
            "CG201",
            Severity.ERROR,
            f"{loss.describe()} (of {n_before}, allowed {allowed})",
            evidence={
                "n_lost_rows": loss.n_rows,
                "share": loss.n_rows / n_before,
                "by": [list(group) for group in loss.by_source_and_class],
                "ids": list(loss.ids),
                "n_taken_down_rows": proof.taken_down.n_rows,
                "level": proof.level.value,
            },
            subject="real",
            measured=loss.n_rows,
            limit=allowed,
            unit="rows",
            mark=mark_of(loss.by_source_and_class, loss.ids),
            key=("accumulation", "allow_loss"),
            remedy="put them back: 'collapse-guard prove PREVIOUS CURRENT --lost-to FILE' lists them all",
        )


@rule("CG202", Severity.ERROR, "real rows replaced by synthetic ones", needs=("policy", "manifest", "index", "parent"))
def real_rows_replaced(subject: Subject) -> Iterator[Finding]:
    """As many new synthetic rows as lost real ones, within a tolerance; open where the loss is (CG201)."""
    assert subject.policy is not None
    yield from _open(subject, "CG202")
    loss, accumulation = subject.loss, subject.policy.accumulation
    if loss.n_rows <= accumulation.allow_loss:
        return
    assert subject.manifest is not None
    assert subject.previous is not None
    new = new_rows_by_class(subject.previous, subject.manifest, origin=Origin.SYNTHETIC, limits=subject.limits)
    n_new = sum(new.values())
    if abs(n_new - loss.n_rows) <= accumulation.replace_tolerance * loss.n_rows:
        overlap = _overlap(loss, new)
        yield Finding(
            "CG202",
            Severity.ERROR,
            f"{loss.n_rows} real rows left and {n_new} synthetic ones came: this is a replacement"
            f" ({sum(overlap.values())} of them class by class)",
            evidence={
                "n_lost_rows": loss.n_rows,
                "n_new_synthetic_rows": n_new,
                "tolerance": accumulation.replace_tolerance,
                "overlap_by_class": overlap,
            },
            subject="real",
            measured=loss.n_rows,
            limit=accumulation.allow_loss,
            unit="rows",
            key=("accumulation", "replace_tolerance"),
            remedy="keep the real rows and add the synthetic ones beside them",
        )


def _overlap(loss: Loss, new: dict[str | None, int]) -> dict[str, int]:
    """Return, per class that lost rows, how many of them synthetic rows of that class may stand for."""
    lost: dict[str | None, int] = {}
    for _, label, rows in loss.by_source_and_class:
        lost[label] = lost.get(label, 0) + rows
    return {str(label): min(rows, new.get(label, 0)) for label, rows in lost.items()}


@rule(
    "CG203",
    Severity.ERROR,
    "class changed under a retained id",
    needs=("policy", "manifest", "index", "parent"),
)
def classes_are_kept(subject: Subject) -> Iterator[Finding]:
    """Real rows that stand under their id in both generations, and under none of their classes in this one.

    An id is made of the content, so that changed content is another id, and a lost row. What an id does not cover is
    the class, where it is no part of that content. Amounts are free to change: a budget sets them.
    """
    assert subject.policy is not None
    assert subject.manifest is not None
    if subject.previous is None or subject.policy.accumulation.mode == "off":
        return
    before, now = subject.previous.header.class_column, subject.manifest.header.class_column
    if before is None or {before, now} == {CELL}:
        return  # no classes, or cells that are computed from the content
    incomparable = _incomparable(subject, "CG203")
    if incomparable is None and before != now:
        here = "there are none here" if now is None else f"of {one_line(now)!r} here"
        text = f"classes are those of {one_line(before)!r} in the parent and {here}"
        incomparable = not_evaluated("CG203", Severity.ERROR, text)
    if incomparable is not None:
        yield incomparable
        return
    found = changed_classes(subject.policy, subject.previous, subject.manifest, limits=subject.limits)
    if found.n_rows:
        shown = [f"{source}: {old} -> {new or '(no class)'} {n}" for source, old, new, n in found.by[:_MOST_NAMED]]
        more = f" and {len(found.by) - _MOST_NAMED} more groups" if len(found.by) > _MOST_NAMED else ""
        yield Finding(
            "CG203",
            Severity.ERROR,
            f"{found.n_rows} real {'row has' if found.n_rows == 1 else 'rows have'} another class under the same id:"
            f" {one_line(', '.join(shown))}{more}; ids {', '.join(found.ids)}",
            evidence={"n_rows": found.n_rows, "by": [list(group) for group in found.by], "ids": list(found.ids)},
            subject="real",
            measured=found.n_rows,
            limit=0,
            unit="rows",
            key=("accumulation", "mode"),
            remedy="put the labels back; where the new ones are right, set severity: {CG203: warning} in review",
        )
