"""One cell per class label; a row with several labels stands for the rarest of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from collapse_guard.cells.columns import column_of
from collapse_guard.cells.contract import CELL_MAPS, digest_of, state_of
from collapse_guard.cells.state import Parts
from collapse_guard.errors import CellError
from collapse_guard.kernels import (
    Ragged,
    class_names,
    distinct,
    is_list,
    ragged,
    row_minimum,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from collapse_guard.cells.contract import Rows


@CELL_MAPS.register("labels")
@dataclass(frozen=True, slots=True)
class LabelCells:
    """One cell per class label; of a row with several labels, the rarest known one counts.

    With a list column a row still has one cell, that of the label which the fewest real rows hold (ties by name), so
    that counts stay multinomial. The rows in the k rarest cells are exactly those that hold one of the k rarest labels.
    What this is blind to: a common label that dies only in rows that also hold a rarer one; such a row counts for its
    rarer label before and after.

    Args:
        column: the column that holds the label, or the list of labels.
        names: labels of the real rows, sorted; anything else is in cell -1.
        rarity: for a list column, the cells from the rarest to the most common; None for a column of single labels.

    >>> rows = pa.table({"label": ["cat", "dog", "cat"]})
    >>> cells = LabelCells.fit(rows, column="label")
    >>> cells.cells(pa.table({"label": ["dog", "emu", None]})).tolist()
    [1, -1, -1]
    >>> tagged = pa.table({"tags": [["cat"], ["cat", "dog"], ["cat"]]})
    >>> LabelCells.fit(tagged, column="tags").cells(tagged).tolist()
    [0, 1, 0]
    """

    column: str
    names: tuple[str, ...]
    rarity: tuple[int, ...] | None = None

    @classmethod
    def fit(cls, rows: Rows, *, column: str) -> Self:
        """Return the map over the labels of real ``rows``; raises CellError if there are none."""
        array = column_of(rows, column)
        labels = _labels(array)
        names = tuple(sorted(pc.unique(labels.values).to_pylist()))
        if not names:
            raise CellError(
                f"column {column!r} holds no label in {rows.num_rows} rows; a reference needs labelled rows"
            )
        return cls(column, names, _rarity(labels, names) if is_list(array.type) else None)

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """Return the map that wrote ``state``; raises CellError for anything malformed."""
        parts = Parts.of(state, "column", "names", "rarity")
        names = parts.texts("names")
        rarity = None if parts.values["rarity"] is None else parts.wholes("rarity", low=0, high=len(names) - 1)
        if rarity is not None and len(rarity) != len(names):
            raise parts.fail(f"{len(names)} names, {len(rarity)} in their order")
        return cls(parts.text("column"), names, rarity)

    @property
    def n_cells(self) -> int:
        """Number of labels."""
        return len(self.names)

    @property
    def columns(self) -> tuple[str, ...]:
        """The label column."""
        return (self.column,)

    @property
    def digest(self) -> str:
        """Digest over kind, column and labels, and over their rarity where rows have several."""
        single = {"kind": "labels", "column": self.column, "names": self.names}
        return digest_of(single if self.rarity is None else self.state())

    def state(self) -> dict[str, Any]:
        """Return plain JSON values."""
        rarity = None if self.rarity is None else list(self.rarity)
        return state_of("labels", column=self.column, names=list(self.names), rarity=rarity)

    def cells(self, rows: Rows) -> NDArray[np.int64]:
        """Return the cell of each row, -1 if it has no label that a real row has.

        Raises CellError without the column, and for lists where real rows had single labels; a single label where real
        rows had lists counts as a list of one.
        """
        array = column_of(rows, self.column)
        if self.rarity is None:
            if is_list(array.type):
                text = f"column {self.column!r} holds lists, its real rows held one label each"
                raise CellError(f"{text}; fit the cells on real rows with lists")
            return _index(class_names(array), self.names)
        order = np.asarray(self.rarity, dtype=np.int64)
        labels = _labels(array)
        rank = np.append(np.argsort(order), self.n_cells)  # the last is of labels that no real row has
        rarest = row_minimum(rank[_index(labels.values, self.names)], labels.lengths, empty=self.n_cells)
        return np.append(order, -1)[rarest]


def _index(labels: pa.Array, names: tuple[str, ...]) -> NDArray[np.int64]:
    found = pc.index_in(labels, pa.array(names, pa.string()))
    return np.asarray(found.fill_null(-1).to_numpy(zero_copy_only=False), dtype=np.int64)


def _labels(array: Any) -> Ragged:
    """Return the labels of each row as text, none for a null."""
    several = ragged(array) if is_list(array.type) else Ragged(np.ones(len(array), dtype=np.int64), array)
    return Ragged(several.lengths, class_names(several.values)).filled()


def _rarity(labels: Ragged, names: tuple[str, ...]) -> tuple[int, ...]:
    """Return cells from the rarest; a row that repeats a label holds it once."""
    held = distinct(labels.rows * len(names) + _index(labels.values, names))
    n_rows = np.bincount(held % len(names), minlength=len(names))
    return tuple(np.argsort(n_rows, kind="stable").tolist())
