"""The state of a watch as plain values: what a checkpoint and a child generation need.

Size: the evidence of a panel takes 5 floats per class guarded alone (at most ``coverage.max_alone``) and 18 more, under
64 KiB whatever the number of cells. Beside it stand row counts over all cells, of the real rows and of the first model,
so that a chain is measured against what it began with.
"""

from __future__ import annotations

from dataclasses import asdict, fields, replace
from typing import TYPE_CHECKING, Any, Final, TypeVar

from collapse_guard.errors import InputError
from collapse_guard.monitor.anchor import counts_of, counts_state
from collapse_guard.monitor.look import FirstModel, Look
from collapse_guard.records import Decision
from collapse_guard.stats.folding import folded_state, with_folded

if TYPE_CHECKING:
    from collections.abc import Mapping

    from collapse_guard.monitor.watch import Watch

    W = TypeVar("W", bound=Watch)

SCHEMA: Final = 2


def watch_state(watch: Watch) -> dict[str, Any]:
    """Return the state of a watch."""
    first = watch.first_model
    return {
        "schema": SCHEMA,
        "policy_digest": watch.policy.coverage_digest,
        "reference_digest": watch.anchor.digest,
        "anchor": watch.anchor.state(),
        "generation": watch.generation,
        "n_looks": watch.n_looks,
        "panels": [{"against": panel.against} | panel.state() for panel in watch.panels],
        "scores": [None if part is None else folded_state(part) for part in watch.scores],
        "fixed": None if watch.fixed is None else watch.fixed.state(),
        "first_model": None
        if first is None
        else {
            "generation": first.generation,
            "n_looks": first.n_looks,
            "counts": [counts_state(counts) for counts in first.counts],
            "score_means": list(first.score_means),
        },
        "looks": [asdict(look) for look in watch.looks],
        "decision": None if watch.decision is None else watch.decision.as_dict(),
    }


def resumed_watch(watch: W, state: Mapping[str, Any]) -> W:
    """Return ``watch`` with the evidence of ``state``, at its own generation.

    It starts anew, and says so in ``note``, if policy or reference are other ones. Raises InputError for what is no
    state of a watch.
    """
    remedy = "delete it to start anew"
    try:
        _check_head(state)
        for what, recorded, own in (
            ("policy", state["policy_digest"], watch.policy.coverage_digest),
            ("reference", state["reference_digest"], watch.anchor.digest),
        ):
            if recorded != own:
                return replace(watch, note=f"evidence starts anew: the {what} is not the one of the earlier state")
        resumed = _resumed(watch, state)
    except (KeyError, TypeError, ValueError, IndexError, OverflowError, AttributeError) as error:
        raise InputError(f"not a state of the guard: {type(error).__name__} {error}; {remedy}") from None
    note = f"evidence goes on from {len(resumed.looks)} earlier looks"
    return replace(resumed.at_generation(watch.generation), note=note)


def _check_head(state: Mapping[str, Any]) -> None:
    if state["schema"] != SCHEMA:
        raise ValueError(f"schema {state['schema']!r}, this version reads {SCHEMA}")
    known = {"policy_digest", "reference_digest", "generation", "n_looks", "panels", "scores", "looks", "decision"}
    missing = sorted(known - state.keys())
    if missing:
        raise KeyError(f"no {', '.join(missing)}")


def _resumed(watch: W, state: Mapping[str, Any]) -> W:
    """Return the watch as it was when the state was written, at its generation."""
    generation = int(state["generation"])
    looks = tuple(_look(entry) for entry in state["looks"])
    n_looks = int(state["n_looks"])
    if n_looks < len(looks) or n_looks < 0:
        raise ValueError(f"{n_looks} looks were counted and {len(looks)} are listed")
    first = state["first_model"]
    if first is not None:
        counts = tuple(counts_of(entry) for entry in first["counts"])
        first = FirstModel(int(first["generation"]), int(first["n_looks"]), counts, tuple(first["score_means"]))
    before = replace(
        watch.without_evidence(generation if first is None else min(generation, first.generation)),
        first_model=first,
        n_looks=n_looks,
        looks=looks,
        decision=None if state["decision"] is None else Decision.from_dict(state["decision"]),
    )
    before = replace(before, fixed=None if before.fixed is None else before.fixed.resumed(state["fixed"]))
    before = before.at_generation(generation)
    panels = tuple(
        panel.resumed({key: part for key, part in entry.items() if key != "against"})
        for panel, entry in zip(before.panels, state["panels"], strict=True)
    )
    scores = tuple(
        None if part is None else with_folded(part, entry)
        for part, entry in zip(before.scores, state["scores"], strict=True)
    )
    _check_counted(n_looks, {panel.against: panel.tail.n_looks for panel in panels})
    return replace(before, panels=panels, scores=scores)


def _look(entry: Mapping[str, Any]) -> Look:
    names = {field.name for field in fields(Look)}
    if set(entry) | {"step"} != names:  # older states have no step
        raise ValueError(f"a look has {', '.join(sorted(names))}, got {', '.join(sorted(entry))}")
    return Look(**{**entry, "counts": tuple(entry["counts"])})


def _check_counted(n_looks: int, found: dict[str, int]) -> None:
    if found.get("real", n_looks) != n_looks or any(count > n_looks for count in found.values()):
        raise ValueError(f"its parts hold {found} looks, {n_looks} were counted")
