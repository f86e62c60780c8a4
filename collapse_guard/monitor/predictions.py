"""Predictions on one validation set: how often each class was predicted, against what the set itself holds."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

import numpy as np
import pyarrow as pa

from collapse_guard.cells import LabelCells
from collapse_guard.errors import ContractError, InputError
from collapse_guard.kernels import class_names
from collapse_guard.monitor.anchor import Anchor, Reference
from collapse_guard.monitor.watch import coverage_of
from collapse_guard.policy.cells import Labels
from collapse_guard.records import Action
from collapse_guard.stats import CellCounts
from collapse_guard.stats.tail import rarest_cells

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import ArrayLike

    from collapse_guard.monitor.watch import Watch
    from collapse_guard.policy import Policy


@dataclass(frozen=True)
class PredictionCounts:
    """Rows per predicted class, per true class, and per class that was predicted rightly; added up over ranks.

    Args:
        predicted: rows per predicted class; None stands for "no class".
        true: rows per true class; empty if labels are not known.
        hits: rows per true class whose prediction is right.

    >>> counts = PredictionCounts().update([0, 0, 1], [0, 1, 1])
    >>> counts.predicted, counts.hits
    ({'0': 2, '1': 1}, {'0': 1, '1': 1})
    """

    predicted: Mapping[str | None, int] = field(default_factory=dict)
    true: Mapping[str | None, int] = field(default_factory=dict)
    hits: Mapping[str | None, int] = field(default_factory=dict)

    def update(self, predicted: ArrayLike, true: ArrayLike | None = None) -> Self:
        """Return the counts after more rows: classes of shape (rows,), as integers or text."""
        found = _names(predicted)
        if true is None:
            return self.merge(type(self)(Counter(found)))
        labels = _names(true)
        right = [label for label, name in zip(labels, found, strict=True) if label == name]
        return self.merge(type(self)(Counter(found), Counter(labels), Counter(right)))

    def merge(self, other: Self) -> Self:
        """Return the counts of both."""
        parts = zip((self.predicted, self.true, self.hits), (other.predicted, other.true, other.hits), strict=True)
        return type(self)(*(dict(Counter(one) + Counter(two)) for one, two in parts))

    @property
    def n_rows(self) -> int:
        """Rows that were predicted."""
        return sum(self.predicted.values())

    def recall_of(self, names: tuple[str, ...]) -> float | None:
        """Return the share of rows of these classes that were predicted rightly; None if there are none."""
        n_rows = sum(self.true.get(name, 0) for name in names)
        return None if n_rows == 0 else sum(self.hits.get(name, 0) for name in names) / n_rows


def prediction_policy(policy: Policy, *, share: float) -> Policy:
    """Return the policy of looks at predictions: exact tests on a fixed set, over the first cells that are labels.

    The baseline is the run's own peak unless the policy names one: an honest classifier that is unsure about rare rows
    says them less often than they are there, so against ``real`` even the best one may be halted.

    Args:
        share: part of the false-halt rate that is theirs.

    Raises InputError if no declared cells are labels.
    """
    coverage = coverage_of(policy)
    labels = [each for each in coverage.cells if isinstance(each, Labels)]
    if not labels:
        text = "predictions are classes, and coverage.cells declares none of kind labels"
        raise InputError(f"{text}; add {{kind: labels, column: ...}}")
    changed = {"cells": (labels[0],), "scores": (), "looks": "fixed_set"}
    if "baseline" not in coverage.model_fields_set:
        changed["baseline"] = "peak"
    rate = {"false_halt_rate": coverage.false_halt_rate * share}
    return policy.model_copy(update={"coverage": coverage.model_copy(update=changed | rate)})


def prediction_anchor(policy: Policy, counts: PredictionCounts, real: Anchor | None) -> Anchor:
    """Return what predictions are measured against: the true labels of the same rows; the real rows without labels.

    Args:
        counts: the first whole validation pass.
        real: real rows, whose classes are the cells; the labels that the set holds, if left out.

    Raises ContractError for labels that no real row has, and for a set that holds no row of the tail.
    """
    if not counts.true:
        if real is None:
            raise InputError("predictions need labels_from= or a reference=; pass one of them")
        return real
    cells = real.maps[0].cells if real is not None else _cells_of(policy, counts)
    rows = as_cell_counts(counts.true, cells.names)
    if rows.n_unclaimed_rows:
        strange = sorted(str(name) for name in counts.true if name not in set(cells.names))
        text = f"the validation set holds {rows.n_unclaimed_rows} rows with labels that no real row has"
        raise ContractError(f"{text} ({', '.join(strange[:5])}); look at labels_from=, or use the real rows' names")
    tail = () if real is None else _tail_of(policy, rows, real)
    return Anchor((Reference(cells, rows, name=coverage_of(policy).cells[0].title, tail=tail),))


def label_anchor(policy: Policy, real: Anchor | None) -> Anchor | None:
    """Return the part of an anchor that its first cells of labels make; None without one."""
    if real is None:
        return None
    cells = coverage_of(policy).cells
    return Anchor((real.maps[next(number for number, each in enumerate(cells) if isinstance(each, Labels))],))


def blind_text(watch: Watch) -> str:
    """Return what is to be said if not even the loss of the whole tail could be shown; empty if it could be."""
    counts = watch.reference.counts.compute()
    dead = counts.copy()
    dead[list(watch.tail)] = 0
    dead[int(counts.argmax())] += counts.sum() - dead.sum()
    probe = watch.look(CellCounts.of(counts), epoch=0).look(CellCounts.of(dead), epoch=0)
    if probe.halted or (probe.decision is not None and probe.decision.action is Action.WARN):
        return ""
    n_tail = int(counts[list(watch.tail)].sum())
    return (
        f"{n_tail} of {counts.sum()} validation rows are of the tail: too few to show even that all of it is lost;"
        " use a larger validation set"
    )


def as_cell_counts(found: Mapping[str | None, int], names: tuple[str, ...]) -> CellCounts:
    """Return rows per class as counts over cells; other classes are unclaimed."""
    rows = [found.get(name, 0) for name in names]
    return CellCounts.of(rows, n_unclaimed_rows=sum(found.values()) - sum(rows))


def _tail_of(policy: Policy, rows: CellCounts, real: Anchor) -> tuple[int, ...]:
    """Return the cells of the real tail that the validation set holds; raises ContractError if it holds none."""
    tail = rarest_cells(real.maps[0].counts.compute(), coverage_of(policy).tail_mass)
    held = tuple(int(cell) for cell in tail if rows.rows[cell])
    if not held:
        names = ", ".join(real.maps[0].cells.names[cell] for cell in np.asarray(tail)[:5])
        text = f"the validation set has no row of the tail ({names})"
        raise ContractError(f"{text}, so predictions on it cannot show the tail; split it by class, or watch samples")
    return held


def _cells_of(policy: Policy, counts: PredictionCounts) -> LabelCells:
    declared = coverage_of(policy).cells[0]
    assert isinstance(declared, Labels)
    return LabelCells(declared.column, tuple(sorted(name for name in counts.true if name is not None)))


def _names(values: ArrayLike) -> list[str | None]:
    names: list[str | None] = class_names(pa.array(np.asarray(values))).to_pylist()
    return names
