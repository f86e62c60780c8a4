"""One cell per combination of bins and categories that real rows of a table have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np

from collapse_guard.cells.axes import Axis, axis_from_state, fit_axis
from collapse_guard.cells.columns import raw_column
from collapse_guard.cells.contract import CELL_MAPS, digest_of, state_of
from collapse_guard.cells.declared import check_whole
from collapse_guard.cells.state import Parts, shown
from collapse_guard.errors import CellError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from collapse_guard.cells.contract import Rows

MAX_COLUMNS: Final = 3
MAX_PARTS: Final = 10_000


@CELL_MAPS.register("bins")
@dataclass(frozen=True, slots=True)
class BinCells:
    """The joint cells of one to three columns: numbers in quantile bins, all else in categories.

    A cell is a combination of parts that real rows have; a combination that none has is in cell -1. Single columns and
    pairs are separate maps, so that each row is in one cell of each.

    Args:
        axes: how each column is cut.
        combinations: the number of each cell's combination, ascending; the last column varies fastest.

    >>> import pyarrow as pa
    >>> rows = pa.table({"age": [20, 30, 40, 50], "sex": ["f", "m", "f", "f"]})
    >>> cells = BinCells.fit(rows, columns=["age", "sex"], n_bins=2, max_categories=10)
    >>> cells.names
    ('age < 40 x sex=f', 'age < 40 x sex=m', 'age >= 40 x sex=f')
    >>> cells.cells(pa.table({"age": [99, 99], "sex": ["f", "m"]})).tolist()
    [2, -1]
    """

    axes: tuple[Axis, ...]
    combinations: tuple[int, ...]

    @classmethod
    def fit(cls, rows: Rows, *, columns: list[str] | tuple[str, ...], n_bins: int, max_categories: int) -> Self:
        """Return the map over the combinations of real ``rows``.

        Raises CellError without rows, for a column without values, and for parameters out of range.
        """
        check_whole(n_bins, "n_bins", low=2, high=MAX_PARTS)
        check_whole(max_categories, "max_categories", low=1, high=MAX_PARTS)
        names = _checked_columns(columns)
        axes = tuple(
            fit_axis(raw_column(rows, name), name, n_bins=n_bins, max_categories=max_categories) for name in names
        )
        return cls(axes, tuple(np.unique(_combined(axes, rows)).tolist()))

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """Return the map that wrote ``state``; raises CellError for anything malformed."""
        parts = Parts.of(state, "axes", "combinations")
        axes = tuple(map(axis_from_state, parts.items("axes")))
        _checked_columns([axis.column for axis in axes])
        n_combinations = int(np.prod([axis.n_parts for axis in axes], dtype=object))
        combinations = parts.wholes("combinations", low=0, high=n_combinations - 1)
        if list(combinations) != sorted(combinations):
            raise parts.fail("its combinations do not ascend")
        return cls(axes, combinations)

    @property
    def n_cells(self) -> int:
        """Number of combinations that real rows have."""
        return len(self.combinations)

    @property
    def names(self) -> tuple[str, ...]:
        """One name per combination."""
        named = [axis.names() for axis in self.axes]
        shape = [axis.n_parts for axis in self.axes]
        places = np.transpose(np.unravel_index(np.asarray(self.combinations), shape))
        return tuple(" x ".join(names[part] for names, part in zip(named, place, strict=True)) for place in places)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that are cut."""
        return tuple(axis.column for axis in self.axes)

    @property
    def digest(self) -> str:
        """Digest over the state."""
        return digest_of(self.state())

    def state(self) -> dict[str, Any]:
        """Return plain JSON values."""
        axes = [axis.state() for axis in self.axes]
        return state_of("bins", axes=axes, combinations=list(self.combinations))

    def cells(self, rows: Rows) -> NDArray[np.int64]:
        """Return the cell of each row, -1 for a value or a combination that no real row has.

        Raises CellError without a column, and for other values where real rows had numbers.
        """
        known = np.asarray(self.combinations, dtype=np.int64)
        combined = _combined(self.axes, rows)
        where = np.minimum(np.searchsorted(known, combined), known.size - 1)
        return np.where(known[where] == combined, where, -1).astype(np.int64)


def _combined(axes: tuple[Axis, ...], rows: Rows) -> NDArray[np.int64]:
    """Return the number of each row's combination, -1 where a part cannot be said."""
    combined = np.zeros(rows.num_rows, dtype=np.int64)
    unknown = np.zeros(rows.num_rows, dtype=bool)
    for axis in axes:
        parts = axis.parts(raw_column(rows, axis.column))
        unknown |= parts < 0
        combined = combined * axis.n_parts + parts
    return np.where(unknown, -1, combined)


def _checked_columns(columns: Any) -> list[str]:
    is_list = isinstance(columns, (list, tuple)) and all(isinstance(name, str) for name in columns)
    if not is_list or not 1 <= len(columns) <= MAX_COLUMNS or len(set(columns)) < len(columns):
        raise CellError(f"columns must be 1 to {MAX_COLUMNS} different names of columns, got {shown(columns)}")
    return list(columns)
