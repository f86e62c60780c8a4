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
    policy: Policy,
    reference: Anchor,
    manifest: Manifest | None,
    parent: Manifest | None,
    *,
    adopt: bool,
    name: str = "default",
    of: str = "samples",
) -> Watch:
    """Return the watch of a run: it goes on from the state beside the parent's manifest, or starts anew and says so.

    Args:
        reference: what samples are measured against, unless the chain began with another.
        manifest: training data of this run.
        parent: manifest of the generation before; None for the first one.
        adopt: measure against the real rows that the chain began with, if they have the same cells.
        name: name of the guard.
        of: ``samples`` or ``predictions``.
    """
    generation = 1 if manifest is None else manifest.header.generation + 1
    if parent is None:
        has_parent = manifest is not None and bool(manifest.header.parents)
        note = "evidence starts anew: the data has a parent generation, and no parent= was given" if has_parent else ""
        return replace(Watch.start(policy, reference, generation=generation), note=note)
    left = None if parent.path is None else evidence_path(parent.path, name=name, of=of)
    if left is None or not left.exists():
        note = "evidence starts anew: the parent left none beside its manifest"
        return replace(Watch.start(policy, reference, generation=generation), note=note)
    state = read_state(left)
    began = reference.of_chain(state) if adopt else reference
    return Watch.start(policy, began, generation=generation).resumed(state)


def renewed(watch: Watch, note: str) -> Watch:
    """Return a watch like this one, without its evidence."""
    return replace(watch.without_evidence(), note=note)


def halt_on(manifest: Manifest | None, *, name: str = "default", of: str = "samples") -> Decision | None:
    """Return the halt of an earlier run on this very manifest, which running again must not erase; None without."""
    if manifest is None or manifest.path is None:
        return None
    left = evidence_path(manifest.path, name=name, of=of)
    return halt_in(read_state(left)) if left.exists() else None


def last_look(watch: Watch) -> tuple[int, int] | None:
    """Return epochs and steps at the last look of a watch's own generation; None if there was none."""
    own = [look for look in watch.looks if look.generation == watch.generation]
    return (own[-1].epoch, own[-1].step or 0) if own else None


def is_due(policy: Policy, *, n_epochs: int, n_steps: int, last: tuple[int, int] | None = None) -> bool:
    """Return whether the policy asks for a look.

    Args:
        n_epochs: whole epochs so far.
        n_steps: optimizer steps so far.
        last: epochs and steps at the look before; None if there was none in this run.
    """
    coverage = coverage_of(policy)
    every, warmup = coverage.every, coverage.warmup
    if n_epochs < warmup.epochs or n_steps < warmup.steps:
        return False
    if every.steps is not None:
        return n_steps - (0 if last is None else last[1]) >= every.steps
    assert every.epochs is not None
    if last is None or last[0] > n_epochs:  # training began anew
        return n_epochs >= max(warmup.epochs, 1)
    return n_epochs - last[0] >= every.epochs


def too_many_looks(watch: Watch, *, n_epochs: int | None, n_steps: int | None) -> str | None:
    """Return a warning if a run of so many epochs or steps takes more looks than the chain has left, else None."""
    coverage = coverage_of(watch.policy)
    every, warmup = coverage.every, coverage.warmup
    if every.steps is not None:
        if n_steps is None:
            return None
        expected = max(n_steps - warmup.steps, 0) // every.steps + 1
    else:
        if n_epochs is None:
            return None
        assert every.epochs is not None
        expected = max(n_epochs - max(warmup.epochs, 1), 0) // every.epochs + 1
    if watch.n_looks + expected <= coverage.planned_looks:
        return None
    return (
        f"{coverage.planned_looks} looks are planned (coverage.planned_looks), {watch.n_looks} were taken,"
        f" about {expected} will be; a drop that begins after the planned ones is seen late"
    )
