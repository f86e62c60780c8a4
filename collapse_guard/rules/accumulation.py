"""CG2xx: does the generation hold every real row of its parent?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from collapse_guard.kernels import one_line
from collapse_guard.manifest import listed, new_rows_by_class, taken_down_rows
from collapse_guard.records import CELL, Finding, Origin, Severity, Status
from collapse_guard.rules.integrity import problems
from collapse_guard.rules.loss import changed_classes, unknown_scope
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
    text = f"not evaluated: ids follow {before!r} in the parent and {now!r} here"
    return Finding(code, Severity.ERROR, text, status=Status.INCONCLUSIVE)


@rule(
    "CG201",
    Severity.ERROR,
    "real rows lost since the previous generation",
    needs=("policy", "manifest", "index", "parent"),
)
def real_rows_lost(subject: Subject) -> Iterator[Finding]:
    """Root digest, shard digests, then an exact anti-join of real ids; lawful deletions (CG207) are no loss."""
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
    loss, proof = subject.loss, subject.proof
    if proof is not None and loss.n_rows > subject.policy.accumulation.allow_loss:
        n_before = proof.n_real_rows_before
        yield Finding(
            "CG201",
            Severity.ERROR,
            f"{loss.describe()} (of {n_before}, allowed {subject.policy.accumulation.allow_loss})",
            evidence={
                "n_lost_rows": loss.n_rows,
                "share": loss.n_rows / n_before,
                "by": [list(group) for group in loss.by_source_and_class],
                "ids": list(loss.ids),
                "n_taken_down_rows": proof.taken_down.n_rows,
                "level": proof.level.value,
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
    new = new_rows_by_class(subject.previous, subject.manifest, origin=Origin.SYNTHETIC, limits=subject.limits)
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
        text = f"not evaluated: classes are those of {one_line(before)!r} in the parent and {here}"
        incomparable = Finding("CG203", Severity.ERROR, text, status=Status.INCONCLUSIVE)
    if incomparable is not None:
        yield incomparable
        return
    found = changed_classes(subject.policy, subject.previous, subject.manifest, limits=subject.limits)
    if found.n_rows:
        shown = [f"{source}: {old} -> {new or '(no class)'} {rows}" for source, old, new, rows in found.by[:5]]
        more = f" and {len(found.by) - 5} more groups" if len(found.by) > 5 else ""  # noqa: PLR2004 - as many as are shown
        yield Finding(
            "CG203",
            Severity.ERROR,
            f"{found.n_rows} real {'row has' if found.n_rows == 1 else 'rows have'} another class under the same id:"
            f" {one_line(', '.join(shown))}{more}; ids {', '.join(found.ids)}",
            evidence={"n_rows": found.n_rows, "by": [list(group) for group in found.by], "ids": list(found.ids)},
            subject="real",
            remedy="put the labels back; where the new ones are right, set severity: {CG203: warning} in review",
        )


@rule(
    "CG204",
    Severity.ERROR,
    "previous manifest missing, not the recorded parent, or of another id rule",
    needs=("policy", "manifest"),
)
def parent_is_recorded(subject: Subject) -> Iterator[Finding]:
    """The chain of generations: each names the digest of its parent."""
    assert subject.policy is not None
    assert subject.manifest is not None
    if subject.policy.accumulation.mode == "off":
        return
    yield from _same_rule(subject)
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
    elif given is not None and len(recorded) > 1:
        text = f"{len(recorded)} parents are recorded and one was given: rows of the others are not proven to be here"
        remedy = "merge the parents first, and name the merged manifest with --parent"
    elif given is not None and pinned is not None and given != pinned:
        text, remedy = (
            f"the policy pins parent {pinned[:19]}..., given is {given[:19]}...",
            "update manifests.parent_digest in review",
        )
    else:
        return
    yield Finding("CG204", Severity.ERROR, text, evidence=evidence, subject="parent", remedy=remedy)


def _same_rule(subject: Subject) -> Iterator[Finding]:
    assert subject.manifest is not None
    if subject.previous is None or subject.previous.header.id_rule == subject.manifest.header.id_rule:
        return
    before, now = subject.previous.header.id_rule, subject.manifest.header.id_rule
    yield Finding(
        "CG204",
        Severity.ERROR,
        f"ids follow {one_line(before)!r} in the parent and {one_line(now)!r} here: no row can be compared",
        evidence={"parent": before, "current": now},
        subject="id rule",
        remedy="write the manifest again under the rule of its parent (policy: identity)",
    )


@rule("CG207", Severity.INFO, "real rows left under takedowns", needs=("policy", "manifest", "index"))
def lawful_deletions(subject: Subject) -> Iterator[Finding]:
    """Lost real rows that a takedown covers, by its reason and date; they are no loss (CG201)."""
    proof = subject.proof
    if proof is None or not proof.taken_down.n_rows:
        return
    by = ", ".join(f"{one_line(reason)} ({date}) {rows}" for reason, date, rows in proof.by_takedown[:5])
    n_rows = proof.taken_down.n_rows
    yield Finding(
        "CG207",
        Severity.INFO,
        f"{n_rows} real {'row' if n_rows == 1 else 'rows'} left under takedowns: {by}",
        evidence={
            "n_rows": n_rows,
            "by_takedown": [list(group) for group in proof.by_takedown],
            "by": [list(group) for group in proof.taken_down.by_source_and_class],
        },
        subject="taken down",
        remedy="nothing to do; keep the list of takedowns with the manifests",
    )


def _lists_that_shrank(subject: Subject) -> Iterator[Finding]:
    """Yield a finding if a manifest was written under a list of takedowns that is gone or holds fewer now."""
    n_now = 0 if subject.takedowns is None else subject.takedowns.entry.rows
    for which, manifest in (("the manifest", subject.manifest), ("its parent", subject.previous)):
        entry = None if manifest is None else manifest.header.takedowns
        if entry is not None and entry.rows > n_now:
            yield Finding(
                "CG208",
                Severity.ERROR,
                f"{which} was written under {entry.rows} takedowns, {n_now} are known now",
                evidence={"recorded": entry.rows, "known": n_now},
                subject=f"takedowns of {which}",
                remedy="name the list in accumulation.takedowns; deletions are added to it, never taken out",
            )
            return


@rule(
    "CG208",
    Severity.ERROR,
    "a row that was taken down is in the manifest, or the list cannot be read",
    needs=("policy", "manifest", "index"),
)
def taken_down_rows_stay_away(subject: Subject) -> Iterator[Finding]:
    """Rows of any origin whose id is on the list of takedowns."""
    assert subject.manifest is not None
    yield from problems(subject, "CG208")
    yield from _lists_that_shrank(subject)
    if subject.takedowns is None:
        return
    here = taken_down_rows(subject.manifest, subject.takedowns, limits=subject.limits)
    if here.n_rows:
        yield Finding(
            "CG208",
            Severity.ERROR,
            f"{here.n_rows} {'row' if here.n_rows == 1 else 'rows'} in the manifest were taken down:"
            f" {listed(here.by_source_and_class, here.ids)}",
            evidence={
                "n_rows": here.n_rows,
                "by": [list(group) for group in here.by_source_and_class],
                "ids": list(here.ids),
            },
            subject="taken down",
            remedy="take them out of the data, and write the manifest again",
        )
