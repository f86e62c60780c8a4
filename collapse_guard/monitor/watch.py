"""The watch over a chain of generations: a value; every look returns a new one, and its state is plain.

A child generation goes on from the state that its parent left beside the parent's manifest, because a slow
collapse is only visible across generations.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Self

import pyarrow as pa

from collapse_guard.cells import CellMap, fit_cells
from collapse_guard.decision import decide
from collapse_guard.errors import CellError, InputError, PolicyError, Problem
from collapse_guard.kernels import canonical_bytes, sha256_hex
from collapse_guard.records import Action, Decision, Origin
from collapse_guard.stats import CellCounts, ClassEvidence, TailEvidence
from collapse_guard.stats.evalues import CLASS_BETS, EPSILONS, MASS_BETS

if TYPE_CHECKING:
    from collapse_guard.manifest import Manifest
    from collapse_guard.policy import Coverage, Policy

STATE_SCHEMA: Final = 1


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
        cells = fit_cells(coverage.cells.kind, pa.table({column: sorted(rows)}), column=column)
        unclaimed = manifest.n_origin_rows(Origin.REAL) - sum(rows.values())
        return cls(cells, CellCounts.of([rows[name] for name in cells.names], n_unclaimed_rows=unclaimed))

    def of_chain(self, state: dict[str, Any]) -> Reference:
        """Return the reference that a chain of generations began with, if it has the cells of this one.

        Real data accumulates: with the counts of every new generation as reference, evidence would never add up.
        """
        began = state.get("reference")
        if not isinstance(began, dict) or began.get("cells_digest") != self.cells.digest:
            return self
        return Reference(self.cells, CellCounts.of(began["rows"], n_unclaimed_rows=began["n_unclaimed_rows"]))

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
    >>> from collapse_guard.policy import Policy
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
    def start(cls, policy: Policy, reference: Reference, *, generation: int) -> Self:
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
        return cls(policy, reference, generation, tail, classes)

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

    def state(self) -> dict[str, Any]:
        """Return plain values: what a checkpoint and a child generation need."""
        return {
            "schema": STATE_SCHEMA,
            "policy_digest": self.policy.digest,
            "reference_digest": self.reference.digest,
            "reference": {
                "cells_digest": self.reference.cells.digest,
                "rows": self.reference.counts.rows,
                "n_unclaimed_rows": self.reference.counts.n_unclaimed_rows,
            },
            "generation": self.generation,
            "tail": {
                "n_looks": self.tail.n_looks,
                "log_mass": self.tail.log_mass,
                "log_coverage": self.tail.log_coverage,
            },
            "classes": {"n_looks": self.classes.n_looks, "log_classes": self.classes.log_classes},
            "last": [self.tail.last_n_rows, self.tail.last_tail_rows, self.tail.last_tail_cells],
            "looks": [asdict(look) for look in self.looks],
            "decision": None if self.decision is None else self.decision.as_dict(),
        }

    def resumed(self, state: dict[str, Any]) -> Self:
        """Return this watch with the evidence of ``state``; starts anew, and says so in ``note``, if it does not fit.

        Raises InputError for a state that is not one.
        """
        try:
            resumed = self._with(state)
        except (KeyError, TypeError, ValueError, IndexError, OverflowError, AttributeError) as error:
            reason = f"{type(error).__name__} {error}"
            raise InputError(f"not a state of the guard: {reason}; delete it to start anew") from None
        for what, recorded, own in (
            ("policy", state["policy_digest"], self.policy.digest),
            ("reference", state["reference_digest"], self.reference.digest),
        ):
            if recorded != own:
                return replace(self, note=f"evidence starts anew: the {what} is not the one of the earlier state")
        _check_folds(resumed)
        return resumed

    def _with(self, state: dict[str, Any]) -> Self:
        if state["schema"] != STATE_SCHEMA:
            raise ValueError(f"schema {state['schema']!r}, this version reads {STATE_SCHEMA}")
        tail, classes, last = state["tail"], state["classes"], state["last"]
        if not {"policy_digest", "reference_digest"} <= state.keys():
            raise ValueError("no digests of policy and reference")
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
                log_classes=_floats(classes["log_classes"]),
            ),
            looks=looks,
            decision=None if state["decision"] is None else Decision.from_dict(state["decision"]),
            note=f"evidence goes on from {len(looks)} earlier looks",
        )


def _check_folds(watch: Watch) -> None:
    """Raise InputError unless the next look can be folded into this evidence."""
    tail, classes = watch.tail, watch.classes
    n_looks = tail.n_looks
    sizes = (len(tail.log_mass), len(tail.log_coverage), len(classes.log_classes))
    n_guarded = sum(rows > 0 for rows in tail.reference_counts)
    full = (MASS_BETS.size, EPSILONS.size, n_guarded * CLASS_BETS.size)
    is_whole = sizes == (full if n_looks else (0, 0, 0))
    if n_looks < 0 or classes.n_looks != n_looks or not is_whole or (n_looks and tail.last_n_rows < 1):
        raise InputError("not a state of the guard: its parts do not fit together; delete it to start anew")


def _floats(values: Any) -> tuple[float, ...]:
    floats = tuple(float(value) for value in values)
    if not all(math.isfinite(value) for value in floats):
        raise ValueError("evidence must be finite")
    return floats


def coverage_of(policy: Policy) -> Coverage:
    """Return the coverage section; raises PolicyError if there is none."""
    if policy.coverage is None:
        text = "a run is watched by the coverage section, and the policy has none"
        raise PolicyError(
            [
                Problem(
                    "CG001",
                    f"policy {policy.name!r}",
                    None,
                    "coverage",
                    text,
                    "add 'coverage: {cells: {column: label}}'",
                )
            ]
        )
    return policy.coverage
