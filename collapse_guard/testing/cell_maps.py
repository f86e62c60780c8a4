"""Laws of a cell map: one cell per row, whatever the batches, in every process, and after a trip through JSON."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np

from collapse_guard.cells import cells_from_state
from collapse_guard.errors import CellError
from collapse_guard.testing.processes import check_across_processes
from collapse_guard.testing.values import check_frozen, repickled

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

    from collapse_guard.cells import CellMap


def check_cell_map(cells: CellMap, rows: pa.Table) -> None:
    """Cells lie in [-1, n_cells), row by row, whatever the batches and the process.

    The map is frozen; pickle and JSON bring it back equal, with the same digest; its columns are in the rows.
    """
    found = cells.cells(rows)
    kind = getattr(found, "dtype", type(found).__name__)
    assert kind == np.int64, f"cells are int64, got {kind}"
    assert found.shape == (rows.num_rows,), f"one cell per row, got {found.shape} for {rows.num_rows} rows"
    assert ((found >= -1) & (found < cells.n_cells)).all(), "cells lie in [-1, n_cells)"
    assert len(cells.names) == cells.n_cells, "one name per cell"
    assert len(set(cells.names)) == cells.n_cells, "no two cells have one name"
    missing = set(cells.columns) - set(rows.schema.names)
    assert not missing, f"the columns of the map are in the rows, {sorted(missing)} are not"
    _check_batches(cells, rows, found)
    check_frozen(cells)
    assert repickled(cells).digest == cells.digest, "the digest survives pickling"
    _check_state(cells, rows, found)
    check_across_processes(_found, cells, rows)


def _check_batches(cells: CellMap, rows: pa.Table, found: NDArray[np.int64]) -> None:
    single = [int(cells.cells(rows.slice(row, 1))[0]) for row in range(rows.num_rows)]
    batches = [int(cell) for batch in rows.to_batches(max_chunksize=3) for cell in cells.cells(batch)]
    assert single == batches == found.tolist(), "a row's cell does not depend on its batch"
    assert cells.cells(rows.slice(0, 0)).shape == (0,), "no rows have no cells"


def _check_state(cells: CellMap, rows: pa.Table, found: NDArray[np.int64]) -> None:
    try:
        state = json.loads(json.dumps(cells.state(), allow_nan=False))
    except (TypeError, ValueError) as error:
        raise AssertionError(f"a state is plain JSON: {error}") from error
    assert state == cells.state(), "a state equals itself after a trip through JSON"
    try:
        rebuilt = cells_from_state(state, allow_code=True)
    except CellError as error:
        raise AssertionError(f"a map comes back from its state: {error}") from error
    assert rebuilt == cells, "a map equals itself after a trip through JSON"
    assert rebuilt.digest == cells.digest, "the digest survives JSON"
    assert rebuilt.cells(rows).tolist() == found.tolist(), "a map gives the same cells after a trip through JSON"


def _found(cells: CellMap, rows: pa.Table) -> tuple[list[int], str]:
    """Return what another process must find as well."""
    return cells.cells(rows).tolist(), cells.digest
