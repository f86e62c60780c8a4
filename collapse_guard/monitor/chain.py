"""How a run joins its chain of generations: where its evidence starts, and what forbids it to start at all."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from collapse_guard.monitor.record import evidence_path, halt_in, read_state
from collapse_guard.monitor.watch import Watch, coverage_of

if TYPE_CHECKING:
    from collapse_guard.manifest import Manifest
    from collapse_guard.monitor.anchor import Anchor
    from collapse_guard.policy import Policy
    from collapse_guard.records import Decision


def begin_watch(
    policy: Policy, reference: Anchor, manifest: Manifest | None, parent: Manifest | None, *, adopt: bool
) -> Watch:
    """Return the watch of a run: it goes on from the state beside the parent's manifest, or starts anew and says so.

    Args:
        reference: what samples are measured against, unless the chain began with another.
        manifest: training data of this run.
        parent: manifest of the generation before; None for the first one.
        adopt: measure against the real rows that the chain began with, if they have the same cells.
    """
    generation = 1 if manifest is None else manifest.header.generation + 1
    if parent is None:
        has_parent = manifest is not None and bool(manifest.header.parents)
        note = "evidence starts anew: the data has a parent generation, and no parent= was given" if has_parent else ""
        return replace(Watch.start(policy, reference, generation=generation), note=note)
    left = None if parent.path is None else evidence_path(parent.path)
    if left is None or not left.exists():
        note = "evidence starts anew: the parent left none beside its manifest"
        return replace(Watch.start(policy, reference, generation=generation), note=note)
    state = read_state(left)
    began = reference.of_chain(state) if adopt else reference
    return Watch.start(policy, began, generation=generation).resumed(state)


def renewed(watch: Watch, note: str) -> Watch:
    """Return a watch like this one, without its evidence."""
    return replace(watch.without_evidence(), note=note)


def halt_on(manifest: Manifest | None) -> Decision | None:
    """Return the halt of an earlier run on this very manifest, which running again must not erase; None without."""
    if manifest is None or manifest.path is None:
        return None
    left = evidence_path(manifest.path)
    return halt_in(read_state(left)) if left.exists() else None


def is_due(policy: Policy, n_epochs: int) -> bool:
    """Return whether the policy asks for a look after ``n_epochs`` whole epochs."""
    coverage = coverage_of(policy)
    since = n_epochs - max(coverage.warmup.epochs, 1)
    return since >= 0 and since % coverage.every.epochs == 0


def too_many_looks(watch: Watch, n_epochs: int) -> str | None:
    """Return a warning if a run of ``n_epochs`` takes more looks than the chain has left; None if it does not."""
    coverage = coverage_of(watch.policy)
    expected = max(n_epochs - max(coverage.warmup.epochs, 1), 0) // coverage.every.epochs + 1
    if watch.n_looks + expected <= coverage.planned_looks:
        return None
    return (
        f"{coverage.planned_looks} looks are planned (coverage.planned_looks), {watch.n_looks} were taken,"
        f" about {expected} will be; a drop that begins after the planned ones is seen late"
    )
