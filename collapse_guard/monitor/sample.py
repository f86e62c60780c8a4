"""What a sampler returns -> counts over cells."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from collapse_guard.errors import CellError
from collapse_guard.kernels import class_names
from collapse_guard.stats import CellCounts

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from collapse_guard.cells import CellMap


log = logging.getLogger(__name__)


def count_sample(sample: Any, cells: CellMap, *, n_rows: int | None = None) -> CellCounts:
    """Return the counts of generated rows.

    Args:
        sample: cells as a 1-D integer array in [-1, n_cells), or rows as a mapping of columns or an Arrow table.
            Labels that no real row has are unclaimed.

    Raises CellError, which names the sampler, for anything else.
    """
    if sample is None:
        raise CellError("the sampler returned nothing; return cells (1-D integers) or rows (a mapping of columns)")
    if isinstance(sample, (pa.Table, pa.RecordBatch)):
        found = _labelled(sample, cells)
    elif isinstance(sample, dict):
        found = _labelled(_as_table(sample), cells)
    else:
        found = _as_array(sample)
    if found.ndim != 1 or found.size == 0 or not np.issubdtype(found.dtype, np.integer):
        text = f"the sampler returned {found.dtype} of shape {found.shape}"
        raise CellError(f"{text}; return a non-empty 1-D array of integer cells, -1 for rows that no class claims")
    outside = np.flatnonzero((found < -1) | (found >= cells.n_cells))
    if outside.size:
        text = f"the sampler returned cell {int(found[outside[0]])} for {outside.size} of {found.size} rows"
        raise CellError(
            f"{text}; the reference has cells 0 to {cells.n_cells - 1}, and -1 for rows that no class claims"
        )
    if n_rows is not None and found.size != n_rows:
        raise CellError(f"the sampler returned {found.size} rows, {n_rows} were asked for; return exactly as many")
    return CellCounts.zeros(cells.n_cells).update(found)


def _labelled(rows: pa.Table | pa.RecordBatch, cells: CellMap) -> NDArray[np.int64]:
    """Return the cells of rows, and log the labels that no real row has."""
    found = cells.cells(rows)
    column = getattr(cells, "column", None)
    if column is not None and (found < 0).any():
        labels = class_names(rows.column(column)).filter(pa.array(found < 0)).drop_null().unique().to_pylist()
        if labels:
            shown = ", ".join(map(repr, labels[:5]))
            log.warning("%d of %d sampled rows carry labels that no real row has (%s): they count for no class",
                        int((found < 0).sum()), found.size, shown)  # fmt: skip
    return found


def _as_table(sample: dict[str, Any]) -> pa.Table:
    columns = {name: column.cpu().numpy() if hasattr(column, "cpu") else column for name, column in sample.items()}
    try:
        return pa.table(columns)
    except (pa.ArrowInvalid, pa.ArrowTypeError, TypeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise CellError(f"the sampler returned columns that are no table ({reason}); give equal 1-D columns") from None


def _as_array(sample: Any) -> NDArray[Any]:
    try:
        return np.asarray(sample.cpu() if hasattr(sample, "cpu") else sample)
    except (TypeError, ValueError):
        raise CellError(
            "the sampler returned ragged lists, or numbers that numpy does not know;"
            " return a non-empty 1-D array of integer cells"
        ) from None
