"""The class or cell of a row under a policy, and its quality score."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from collapse_guard.cells import CellMap, fit_cells
from collapse_guard.errors import FilterError
from collapse_guard.filters import row_scores
from collapse_guard.records import (
    CELL,
)

if TYPE_CHECKING:
    from collapse_guard.filters import Score
    from collapse_guard.policy import Policy


def cell_map(real: pa.Table, policy: Policy) -> CellMap | None:
    """Return the policy's first cell map, fitted on real rows; None if it declares none."""
    if policy.coverage is None or not policy.coverage.cells:
        return None
    first = policy.coverage.cells[0]  # whether its code may run was asked when the policy was loaded
    return fit_cells(first.kind, real, allow_code=True, **first.declared())


def with_classes(rows: pa.Table, policy: Policy, cells: CellMap | None) -> tuple[pa.Table, str | None]:
    """Return rows and the column that holds their class: the label, or the name of the cell for other kinds."""
    label = None if policy.coverage is None else policy.coverage.class_column
    if cells is None or (label is not None and not is_nested(rows, label)):
        return rows, label
    if rows.num_rows == 0:  # without content columns, too
        return rows.append_column(CELL, pa.array([], pa.string())), CELL
    found = cells.cells(rows)
    names = pa.array([*cells.names, None], pa.string()).take(pa.array(np.where(found < 0, cells.n_cells, found)))
    return rows.append_column(CELL, names), CELL


def is_nested(rows: pa.Table, column: str) -> bool:
    """Return whether a column holds lists: several labels per row."""
    return column in rows.schema.names and pa.types.is_nested(rows.schema.field(column).type)


def quality_scores(rows: pa.Table, score: Score | None, policy: Policy) -> pa.Array:
    """Return ``cg_score`` of synthetic rows: null without a quality filter in the policy, checked otherwise."""
    quality = policy.filters.quality
    if quality is None:
        if score is not None:
            raise FilterError("a score was given, and the policy has no filters.quality; add it with a keep_share")
        return pa.nulls(rows.num_rows, pa.float64())
    return pa.array(row_scores(quality.score if score is None else score, rows), pa.float64())
