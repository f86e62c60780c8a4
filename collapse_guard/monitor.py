"""During training: is the tail still there? Count, test with a stated error rate, decide. No framework here.

A :class:`Watch` is a value: every look returns a new one, its state is plain, and a child generation goes on from
the state its parent left beside the parent's manifest.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np
import pyarrow as pa

from collapse_guard._atomic import write_bytes
from collapse_guard.cells import CELL_MAPS, CellMap
from collapse_guard.decision import decide
from collapse_guard.errors import AccumulationError, CellError, ContractError, InputError, PolicyError, Problem
from collapse_guard.kernels import canonical_bytes, sha256_hex
from collapse_guard.policy import Policy
from collapse_guard.records import Action, Decision, Origin, Status
from collapse_guard.rules import Subject, evaluate
from collapse_guard.stats import CellCounts, ClassEvidence, TailEvidence

if TYPE_CHECKING:
    from collapse_guard.manifest import Manifest
    from collapse_guard.policy import Coverage
    from collapse_guard.rules import Evaluation

STATE_SCHEMA: Final = 1
REPORT_SCHEMA: Final = "collapse-guard/run/1"


@dataclass(frozen=True)
class Reference:
    """Real rows per cell, and the map that made them: what a run is measured against."""

    cells: CellMap
    counts: CellCounts

    @classmethod
    def of_manifest(cls, manifest: Manifest, coverage: Coverage) -> Self:
        """Return the reference of a manifest's real rows; raises CellError if they carry no class."""
        rows = manifest.class_rows(Origin.REAL)
        if not rows:
            text = f"{manifest.name}: its real rows carry no class"
            raise CellError(f"{text}; write the manifest under a policy with coverage.cells.column")
        column = coverage.cells.column
        cells: CellMap = CELL_MAPS.get(coverage.cells.kind).fit(pa.table({column: sorted(rows)}), column=column)  # type: ignore[attr-defined]
        unclaimed = manifest.n_origin_rows(Origin.REAL) - sum(rows.values())
        return cls(cells, CellCounts.of([rows[name] for name in cells.names], n_unclaimed_rows=unclaimed))

    @property
    def digest(self) -> str:
        """Digest over cell map and counts."""
        record = {"cells": self.cells.digest, "rows": self.counts.rows, "unclaimed": self.counts.n_unclaimed_rows}
        return sha256_hex([canonical_bytes(record)])


@dataclass(frozen=True, slots=True)
class Look:
    """Figures of one look; the table that people read."""

    generation: int
    epoch: int
    n_rows: int
    n_unclaimed_rows: int
    tail_cells_alive: int
    expected_tail_cells: float
    tail_mass_ratio: float
    log_e: float
    log_e_mass: float
    log_e_coverage: float
    log_e_class: float
    action: str
    counts: tuple[int, ...]


@dataclass(frozen=True)
class Watch:
    """Evidence of a chain of generations, folded look by look.

    >>> from collapse_guard.cells import LabelCells
    >>> policy = Policy.coerce({"version": 1, "coverage": {}})
    >>> reference = Reference(LabelCells("label", ("a", "b", "c")), CellCounts.of([900, 60, 40]))
    >>> watch = Watch.start(policy, reference, generation=1)
    >>> watch.look(CellCounts.of([990, 10, 0]), epoch=3).decision.action.value
    'halt'
    """

    policy: Policy
    reference: Reference
    generation: int
    tail: TailEvidence
    classes: ClassEvidence
    looks: tuple[Look, ...] = ()
    decision: Decision | None = None
    note: str = ""

    @classmethod
    def start(cls, policy: Policy, reference: Reference, *, generation: int, note: str = "") -> Self:
        """Return a watch without evidence; raises PolicyError without coverage, StatisticError for a bad reference."""
        coverage = coverage_of(policy)
        counts, unclaimed = reference.counts.compute(), reference.counts.n_unclaimed_rows
        tail = TailEvidence.start(
            counts,
            tail_mass=coverage.tail_mass,
            max_mass_drop=coverage.max_mass_drop,
            max_coverage_drop=coverage.max_coverage_drop,
            planned_looks=coverage.planned_looks,
            reference_unclaimed_rows=unclaimed,
        )
        classes = ClassEvidence.start(
            counts,
            max_class_drop=coverage.max_class_drop,
            planned_looks=coverage.planned_looks,
            reference_unclaimed_rows=unclaimed,
        )
        return cls(policy, reference, generation, tail, classes, note=note)

    def look(self, counts: CellCounts, *, epoch: int) -> Self:
        """Return the watch after one look of fresh, independent rows."""
        unclaimed = counts.n_unclaimed_rows
        tail = self.tail.update(counts.compute(), n_unclaimed_rows=unclaimed)
        classes = self.classes.update(counts.compute(), n_unclaimed_rows=unclaimed)
        found, per_class = tail.compute(), classes.compute()
        decision = decide(coverage_of(self.policy), found, per_class, self.reference.cells.names)
        look = Look(
            generation=self.generation,
            epoch=epoch,
            n_rows=counts.n_rows,
            n_unclaimed_rows=unclaimed,
            tail_cells_alive=found.n_tail_cells_seen,
            expected_tail_cells=found.expected_tail_coverage * found.n_tail_cells,
            tail_mass_ratio=found.tail_mass_ratio,
            log_e=decision.evidence["log_e"],
            log_e_mass=found.log_e_mass,
            log_e_coverage=found.log_e_coverage,
            log_e_class=per_class.log_e,
            action=decision.action.value,
            counts=counts.rows,
        )
        return replace(self, tail=tail, classes=classes, looks=(*self.looks, look), decision=decision)

    @property
    def halted(self) -> bool:
        """Whether the last decision was to halt."""
        return self.decision is not None and self.decision.action is Action.HALT

    @property
    def is_guarding(self) -> bool:
        """Whether planned looks are left; afterwards evidence still grows, but no new start is tested for."""
        return self.tail.n_looks < coverage_of(self.policy).planned_looks

    def state(self) -> dict[str, Any]:
        """Return plain values: what a checkpoint and a child generation need."""
        return {
            "schema": STATE_SCHEMA,
            "policy_digest": self.policy.digest,
            "reference_digest": self.reference.digest,
            "generation": self.generation,
            "tail": {"n_looks": self.tail.n_looks, "log_mass": self.tail.log_mass, "log_coverage": self.tail.log_coverage},
            "classes": {"n_looks": self.classes.n_looks, "log_classes": self.classes.log_classes},
            "last": [self.tail.last_n_rows, self.tail.last_tail_rows, self.tail.last_tail_cells],
            "looks": [asdict(look) for look in self.looks],
            "decision": None if self.decision is None else self.decision.as_dict(),
        }

    def resumed(self, state: dict[str, Any]) -> Self:
        """Return this watch with the evidence of ``state``; starts anew, and says so in ``note``, if it does not fit.

        Raises InputError for a state that is not one.
        """
        for key, own in (("policy_digest", self.policy.digest), ("reference_digest", self.reference.digest)):
            if state.get(key) != own:
                what = key.removesuffix("_digest")
                return replace(self, note=f"evidence starts anew: the {what} is not the one of the earlier state")
        try:
            return self._with(state)
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise InputError(f"not a state of the guard: {type(error).__name__} {error}; delete it to start anew") from None

    def _with(self, state: dict[str, Any]) -> Self:
        if state["schema"] != STATE_SCHEMA:
            raise ValueError(f"schema {state['schema']!r}, this version reads {STATE_SCHEMA}")
        tail, classes, last = state["tail"], state["classes"], state["last"]
        looks = tuple(Look(**{**look, "counts": tuple(look["counts"])}) for look in state["looks"])
        return replace(
            self,
            tail=replace(
                self.tail,
                n_looks=int(tail["n_looks"]),
                log_mass=_floats(tail["log_mass"]),
                log_coverage=_floats(tail["log_coverage"]),
                last_n_rows=int(last[0]),
                last_tail_rows=int(last[1]),
                last_tail_cells=int(last[2]),
            ),
            classes=replace(
                self.classes,
                n_looks=int(classes["n_looks"]),
                log_classes=tuple(_floats(row) for row in classes["log_classes"]),
            ),
            looks=looks,
            decision=None if state["decision"] is None else Decision.from_dict(state["decision"]),
            note=f"evidence goes on from {len(looks)} earlier looks",
        )


def _floats(values: Any) -> tuple[float, ...]:
    floats = tuple(float(value) for value in values)
    if not all(math.isfinite(value) for value in floats):
        raise ValueError("evidence must be finite")
    return floats


def coverage_of(policy: Policy) -> Coverage:
    """Return the coverage section; raises PolicyError if there is none."""
    if policy.coverage is None:
        text = "a run is watched by the coverage section, and the policy has none"
        raise PolicyError([Problem("CG001", policy.name, None, "coverage", text, "add 'coverage: {cells: {column: label}}'")])
    return policy.coverage


def count_sample(sample: Any, cells: CellMap) -> CellCounts:
    """Return the counts of generated rows.

    Args:
        sample: cells as a 1-D integer array in [-1, n_cells), or rows as a mapping of columns or an Arrow table.
            Labels that no real row has are unclaimed.

    Raises CellError, which names the sampler, for anything else.
    """
    if sample is None:
        raise CellError("the sampler returned nothing; return cells (1-D integers) or rows (a mapping of columns)")
    if isinstance(sample, (pa.Table, pa.RecordBatch)):
        found = cells.cells(sample)
    elif isinstance(sample, dict):
        found = cells.cells(pa.table({name: _plain_column(column) for name, column in sample.items()}))
    else:
        found = np.asarray(sample.cpu() if hasattr(sample, "cpu") else sample)
    if found.ndim != 1 or found.size == 0 or not np.issubdtype(found.dtype, np.integer):
        text = f"the sampler returned {found.dtype} of shape {found.shape}"
        raise CellError(f"{text}; return a non-empty 1-D array of integer cells, -1 for rows that no class claims")
    outside = np.flatnonzero((found < -1) | (found >= cells.n_cells))
    if outside.size:
        text = f"the sampler returned cell {int(found[outside[0]])} for {outside.size} of {found.size} rows"
        raise CellError(f"{text}; the reference has cells 0 to {cells.n_cells - 1}, and -1 for rows that no class claims")
    return CellCounts.zeros(cells.n_cells).update(found)


def _plain_column(column: Any) -> Any:
    return column.cpu().numpy() if hasattr(column, "cpu") else column


def check_contract(policy: Policy, manifest: Manifest, previous: Manifest | None) -> Evaluation:
    """Raise unless the training data keeps the policy.

    Raises AccumulationError if real rows were lost or replaced, ContractError for any other error finding and for
    rules that could not be evaluated while the policy says ``on_missing_evidence: fail``.
    """
    found = evaluate(Subject(policy, manifest, previous))
    strict = policy.on_missing_evidence == "fail"
    against = [*found.failed, *(found.inconclusive if strict else ())]
    if not against:
        return found
    lines = "; ".join(f"{finding.code} {finding.message}" for finding in against)
    text = f"{manifest.name} breaks the policy: {lines}"
    if any(finding.code in {"CG201", "CG202"} and finding.status is Status.FAIL for finding in against):
        raise AccumulationError(text)
    raise ContractError(text)


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


def run_view(
    *,
    policy: Policy,
    manifest: Manifest | None,
    watch: Watch | None,
    origins: dict[str, int] | None,
    cell_rows: list[int] | None,
    contract: str,
) -> dict[str, Any]:
    """Return the report of a run as plain values, under the schema ``collapse-guard/run/1``.

    Args:
        origins: rows of training batches per origin, None if batches carried no provenance.
        cell_rows: rows of training batches per cell, those of no cell last; None if they were not counted.
        contract: ``checked`` or ``off``.
    """
    decision = None if watch is None or watch.decision is None else watch.decision.as_dict()
    return {
        "schema": REPORT_SCHEMA,
        "policy": {"name": policy.name, "digest": policy.digest},
        "manifest": None if manifest is None else {"name": manifest.name, "digest": manifest.digest},
        "contract": contract,
        "batches": {"origins": origins, "cells": cell_rows},
        "note": "" if watch is None else watch.note,
        "reference": None if watch is None else _reference_view(watch),
        "looks": [] if watch is None else [asdict(look) for look in watch.looks],
        "decision": decision,
        "halted": watch is not None and watch.halted,
    }


def _reference_view(watch: Watch) -> dict[str, Any]:
    counts = watch.reference.counts
    return {
        "digest": watch.reference.digest,
        "cells": dict(zip(watch.reference.cells.names, counts.rows, strict=True)),
        "n_unclaimed_rows": counts.n_unclaimed_rows,
        "tail": [watch.reference.cells.names[cell] for cell in watch.tail.tail],
    }
