"""What a run leaves behind: its report, and the evidence that the next generation goes on from."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from collapse_guard._atomic import write_bytes
from collapse_guard.errors import InputError
from collapse_guard.records import Action, Decision, Origin

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from collapse_guard.manifest import Manifest
    from collapse_guard.monitor.batches import BatchWatch
    from collapse_guard.monitor.watch import Watch
    from collapse_guard.policy import Policy

REPORT_SCHEMA: Final = "collapse-guard/run/2"


def evidence_path(manifest_path: Path, *, name: str = "default", of: str = "samples") -> Path:
    """Return where the state of a run lies: beside the manifest it trained on.

    Args:
        name: name of the guard; each keeps evidence of its own.
        of: ``samples`` or ``predictions``.
    """
    stem = manifest_path.name.removesuffix(".json").removesuffix(".cgm")
    parts = [stem, *([] if name == "default" else [name]), *([] if of == "samples" else [of]), "evidence.json"]
    return manifest_path.parent / ".".join(parts)


def write_state(path: Path, watch: Watch) -> Path:
    """Write the state of a watch for the next generation."""
    return write_bytes(path, (json.dumps(watch.state(), indent=1, sort_keys=True) + "\n").encode())


def read_state(path: Path) -> dict[str, Any]:
    """Return a state that :func:`write_state` wrote; raises InputError for anything else."""
    try:
        state = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not a state of the guard ({error}); delete it to start anew") from None
    if not isinstance(state, dict):
        raise InputError(f"{path}: not a state of the guard; delete it to start anew")
    return state


def halt_in(state: dict[str, Any]) -> Decision | None:
    """Return the decision of a state that was halted, under whatever policy; None if it was not."""
    recorded = state.get("decision")
    if recorded is None:
        return None
    try:
        decision = Decision.from_dict(recorded)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"not a state of the guard: its decision ({error}); delete it to start anew") from None
    return decision if decision.action is Action.HALT else None


def unexpected_origins(batches: BatchWatch) -> list[str]:
    """Return origins that training batches carried and that the manifest does not hold at all."""
    if batches.held is None:
        return []
    return [origin.name.lower() for origin in Origin if batches.counts.origins[origin] and origin not in batches.held]


def run_view(  # noqa: PLR0913 - keyword-only, the parts of a report
    *,
    policy: Policy,
    manifest: Manifest | None,
    watch: Watch | None,
    predictions: Watch | None,
    batches: BatchWatch,
    decision: Decision | None,
    n_ranks: int,
    contract: str,
    sight: Sequence[str] = (),
) -> dict[str, Any]:
    """Return the report of a run as plain values, under the schema ``collapse-guard/run/2``.

    Args:
        watch: looks at generated samples; None if there are none.
        predictions: looks at predictions on validation; None if there are none.
        batches: what the training batches of all ranks carried.
        decision: the halt, or the latest decision.
        contract: ``checked`` or ``off``.
        sight: what looks at samples can see at all, in lines.
    """
    return {
        "schema": REPORT_SCHEMA,
        "policy": {"name": policy.name, "digest": policy.digest},
        "manifest": None if manifest is None else {"name": manifest.name, "digest": manifest.digest},
        "contract": contract,
        "batches": batches.view(n_ranks=n_ranks),
        "unexpected_origins": unexpected_origins(batches),
        "sight": list(sight),
        **_watch_view(watch),
        "predictions": None if predictions is None else _watch_view(predictions),
        "decision": None if decision is None else decision.as_dict(),
        "halted": decision is not None and decision.action is Action.HALT,
    }


def metrics_of(
    watch: Watch | None, predictions: Watch | None, batches: BatchWatch, *, halted: bool, prefix: str
) -> dict[str, float]:
    """Return the figures of the latest looks and checks, for a logger; empty before any."""
    found: dict[str, float] = {}
    if watch is not None and watch.looks:
        look = watch.looks[-1]
        found |= {
            "log_e": look.log_e,
            "tail_mass_ratio": look.tail_mass_ratio,
            "tail_cells_alive": float(look.tail_cells_alive),
        }
    if predictions is not None and predictions.looks:
        look = predictions.looks[-1]
        found |= {"predictions_log_excess": look.log_e, "predictions_tail_mass_ratio": look.tail_mass_ratio}
        found |= {name: look.advisory[name] for name in ("tail_recall", "recall") if name in look.advisory}
    if batches.n_checks:
        found["real_share"] = batches.counts.origins[Origin.REAL] / max(batches.counts.n_rows, 1)
    if found:
        found["halted"] = float(halted)
    return {prefix + name: value for name, value in found.items()}


def _watch_view(watch: Watch | None) -> dict[str, Any]:
    coverage = None if watch is None else watch.policy.coverage
    return {
        "note": "" if watch is None else watch.note,
        "reference": None if watch is None else _reference_view(watch),
        "n_looks": 0 if watch is None else watch.n_looks,
        "planned_looks": None if coverage is None else coverage.planned_looks,
        "looks": [] if watch is None else [asdict(look) for look in watch.looks],
    }


def _reference_view(watch: Watch) -> dict[str, Any] | None:
    """Return the first cell map on real rows; None if only scores are watched."""
    if not watch.anchor.maps:
        return None
    names, counts = watch.reference.cells.names, watch.reference.counts
    return {
        "digest": watch.anchor.digest,
        "cells": dict(zip(names, counts.rows, strict=True)),
        "n_unclaimed_rows": counts.n_unclaimed_rows,
        "tail": [names[cell] for cell in watch.tail],
        "others": [each.name for each in watch.anchor.maps[1:]],
    }
