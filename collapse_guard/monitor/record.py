"""What a run leaves behind: its report, and the evidence that the next generation goes on from."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from collapse_guard._atomic import write_bytes
from collapse_guard.errors import InputError
from collapse_guard.manifest.index import origin_name
from collapse_guard.records import Action, Decision

if TYPE_CHECKING:
    from pathlib import Path

    from collapse_guard.manifest import Manifest
    from collapse_guard.monitor.watch import Watch
    from collapse_guard.policy import Policy

REPORT_SCHEMA: Final = "collapse-guard/run/1"


def evidence_path(manifest_path: Path) -> Path:
    """Return where the state of a run lies: beside the manifest it trained on."""
    return manifest_path.parent / f"{manifest_path.name.removesuffix('.json').removesuffix('.cgm')}.evidence.json"


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


def unexpected_origins(origins: dict[str, int] | None, manifest: Manifest | None) -> list[str]:
    """Return origins that training batches carried and that the manifest does not hold at all."""
    if origins is None or manifest is None:
        return []
    held = {origin_name(code) for (code,) in manifest.rows_by("origin")}
    return [name for name, rows in origins.items() if rows and name not in held]


def run_view(
    *,
    policy: Policy,
    manifest: Manifest | None,
    watch: Watch | None,
    origins: dict[str, int] | None,
    cell_rows: list[int] | None,
    n_ranks: int,
    contract: str,
) -> dict[str, Any]:
    """Return the report of a run as plain values, under the schema ``collapse-guard/run/1``.

    Args:
        origins: rows of training batches per origin, None if batches carried no provenance.
        cell_rows: rows of training batches per cell, those of no cell last; None if they were not counted.
        n_ranks: processes of the run; batches are counted on rank 0, looks on all.
        contract: ``checked`` or ``off``.
    """
    decision = None if watch is None or watch.decision is None else watch.decision.as_dict()
    return {
        "schema": REPORT_SCHEMA,
        "policy": {"name": policy.name, "digest": policy.digest},
        "manifest": None if manifest is None else {"name": manifest.name, "digest": manifest.digest},
        "contract": contract,
        "batches": {"origins": origins, "cells": cell_rows, "n_ranks": n_ranks, "counted_on_ranks": [0]},
        "unexpected_origins": unexpected_origins(origins, manifest),
        "note": "" if watch is None else watch.note,
        "reference": None if watch is None else _reference_view(watch),
        "n_looks": 0 if watch is None else watch.n_looks,
        "planned_looks": None if policy.coverage is None else policy.coverage.planned_looks,
        "looks": [] if watch is None else [asdict(look) for look in watch.looks],
        "decision": decision,
        "halted": watch is not None and watch.halted,
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
