"""What a sampler returns -> counts over cells."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from collapse_guard.errors import CellError
from collapse_guard.stats import CellCounts

if TYPE_CHECKING:
    from collapse_guard.cells import CellMap


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
        raise CellError(
            f"{text}; the reference has cells 0 to {cells.n_cells - 1}, and -1 for rows that no class claims"
        )
    return CellCounts.zeros(cells.n_cells).update(found)


def _plain_column(column: Any) -> Any:
    return column.cpu().numpy() if hasattr(column, "cpu") else column
