"""Cells by a function of the user's own."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import pyarrow as pa

from collapse_guard.cells.contract import CELL_MAPS, digest_of, state_of
from collapse_guard.cells.state import Parts, shown
from collapse_guard.errors import CellError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from collapse_guard.cells.contract import Rows


@CELL_MAPS.register("callable")
@dataclass(frozen=True, slots=True)
class FunctionCells:
    """Cells by a function from rows to one integer each.

    The digest is over the function's name, not over what it does: give it a new name when it changes.

    Args:
        function: ``pa.Table -> integers of shape (rows,)`` in [0, len(names)), -1 for "cannot say"; a pure function of
            each row, at the top level of a module.
        names: one name per cell.

    >>> import operator
    >>> cells = FunctionCells.fit(pa.table({"x": [1]}), function=operator.length_hint, names=["one", "two"])
    >>> cells.n_cells, cells.state()["function"]
    (2, '_operator:length_hint')
    """

    function: Callable[..., Any]
    names: tuple[str, ...]

    code_keys: ClassVar[tuple[str, ...]] = ("function",)

    @classmethod
    def fit(cls, rows: Rows, *, function: Callable[..., Any], names: list[str] | tuple[str, ...]) -> Self:
        """Return the map; it learns nothing from ``rows``. Raises CellError unless the function can be named."""
        del rows
        code_name(function)
        return cls(function, Parts.inside({"names": names}, "callable cells", "names").texts("names"))

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """Return the map that wrote ``state``, in which ``function`` is loaded by now; raises CellError."""
        parts = Parts.of(state, "function", "names")
        code_name(parts.values["function"])
        return cls(parts.values["function"], parts.texts("names"))

    @property
    def n_cells(self) -> int:
        """Number of names."""
        return len(self.names)

    @property
    def columns(self) -> tuple[str, ...]:
        """None that are known: the function says nothing about what it reads."""
        return ()

    @property
    def digest(self) -> str:
        """Digest over the names of function and cells."""
        return digest_of(self.state())

    def state(self) -> dict[str, Any]:
        """Return plain JSON values; the function goes by its name."""
        return state_of("callable", function=code_name(self.function), names=list(self.names))

    def cells(self, rows: Rows) -> NDArray[np.int64]:
        """Return what the function says of each row; raises CellError unless it is one cell per row, in range."""
        name = code_name(self.function)
        try:
            found = np.asarray(self.function(as_table(rows)) if rows.num_rows else np.zeros(0, dtype=np.int64))
        except ValueError as error:
            raise CellError(f"{name} returned no array of one integer per row: {error}") from error
        if found.shape != (rows.num_rows,) or not np.issubdtype(found.dtype, np.integer):
            text = f"{name} returned {found.dtype} of shape {found.shape} for {rows.num_rows} rows"
            raise CellError(f"{text}; return one integer per row, -1 for rows that no cell claims")
        if found.size and not (found.min() >= -1 and found.max() < self.n_cells):
            text = f"{name} returned cells from {found.min()} to {found.max()}"
            raise CellError(f"{text}; there are {self.n_cells} names, so cells lie in [-1, {self.n_cells - 1}]")
        return found.astype(np.int64)


def as_table(rows: Rows) -> pa.Table:
    """Return rows as a table, which is what functions of users get.

    >>> as_table(pa.record_batch({"x": [1]})).num_rows
    1
    """
    return pa.Table.from_batches([rows]) if isinstance(rows, pa.RecordBatch) else rows


def code_name(function: Any) -> str:
    """Return ``module:function``, under which another process finds the same function.

    Raises CellError for a lambda, a local function and a callable object, which none can find.

    >>> import json
    >>> code_name(json.dumps)
    'json:dumps'
    """
    module, path = getattr(function, "__module__", None), getattr(function, "__qualname__", None)
    found: Any = sys.modules.get(module) if isinstance(module, str) else None
    for part in path.split(".") if isinstance(path, str) else ("?",):
        found = getattr(found, part, None)
    if found is None or found is not function or not callable(function):
        text = f"{shown(function)} cannot be found again by name"
        raise CellError(f"{text}; pass a function that stands at the top level of a module, written with def")
    return f"{module}:{path}"
