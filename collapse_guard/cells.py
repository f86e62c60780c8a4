"""Which cell is a row in? Everything downstream sees counts over cells and no modality."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeAlias, runtime_checkable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from collapse_guard.errors import CellError
from collapse_guard.kernels import canonical_bytes, class_names, sha256_hex
from collapse_guard.plugins import Registry, nearest

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Rows: TypeAlias = pa.Table | pa.RecordBatch


@runtime_checkable
class CellMap(Protocol):
    """Rows -> cells; fitted on real rows once, then frozen."""

    @property
    def n_cells(self) -> int:
        """Number of cells."""

    @property
    def names(self) -> tuple[str, ...]:
        """One name per cell, for reports."""

    @property
    def digest(self) -> str:
        """Digest of everything that decides which cell a row is in."""

    def cells(self, rows: Rows) -> NDArray[np.int64]:
        """Return the cell of each row in [0, n_cells), or -1 for "cannot say"; shape (rows,)."""


class Fittable(Protocol):
    """A kind of cell map, before it has seen real rows."""

    def fit(self, rows: Rows, *, column: str) -> CellMap:
        """Return the map over real ``rows``."""


#: Cell maps by the ``kind`` of ``coverage.cells``; each class has ``fit(rows, column=...)``.
CELL_MAPS: Registry[Any] = Registry("cell_map")


def fit_cells(kind: str, rows: Rows, *, column: str) -> CellMap:
    """Return the cell map of a declared ``kind``, fitted on real rows; raises InputError for an unknown kind."""
    fittable: Fittable = CELL_MAPS.get(kind)
    return fittable.fit(rows, column=column)


@CELL_MAPS.register("labels")
@dataclass(frozen=True, slots=True)
class LabelCells:
    """One cell per class label.

    Args:
        column: the column that holds the label.
        names: labels of the real rows, sorted; anything else is in cell -1.

    >>> rows = pa.table({"label": ["cat", "dog", "cat"]})
    >>> cells = LabelCells.fit(rows, column="label")
    >>> cells.cells(pa.table({"label": ["dog", "emu", None]})).tolist()
    [1, -1, -1]
    """

    column: str
    names: tuple[str, ...]

    @classmethod
    def fit(cls, rows: Rows, *, column: str) -> Self:
        """Return the map over the labels of real ``rows``; raises CellError if there are none."""
        labels = sorted(pc.unique(class_names(_column(rows, column)).drop_null()).to_pylist())
        if not labels:
            raise CellError(
                f"column {column!r} holds no label in {rows.num_rows} rows; a reference needs labelled rows"
            )
        return cls(column, tuple(labels))

    @property
    def n_cells(self) -> int:
        """Number of labels."""
        return len(self.names)

    @property
    def digest(self) -> str:
        """Digest over kind, column and labels."""
        return sha256_hex([canonical_bytes({"kind": "labels", "column": self.column, "names": self.names})])

    def cells(self, rows: Rows) -> NDArray[np.int64]:
        """Return the cell of each row, -1 for a label that no real row has; raises CellError without the column."""
        found = pc.index_in(class_names(_column(rows, self.column)), pa.array(self.names, pa.string()))
        return np.asarray(found.fill_null(-1).to_numpy(zero_copy_only=False), dtype=np.int64)


def _column(rows: Rows, column: str) -> pa.Array | pa.ChunkedArray:
    if column not in rows.schema.names:
        hint = nearest(column, rows.schema.names) if rows.schema.names else "it has no columns at all"
        raise CellError(f"rows have no column {column!r} to take the cell from; {hint}")
    if rows.schema.names.count(column) > 1:
        raise CellError(f"rows have {rows.schema.names.count(column)} columns called {column!r}; keep one of them")
    return rows.column(column)
