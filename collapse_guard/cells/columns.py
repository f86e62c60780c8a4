"""Taking the column that a cell comes from, whatever way Arrow holds it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from collapse_guard.errors import CellError
from collapse_guard.kernels import Ragged, is_list, ragged
from collapse_guard.plugins import nearest

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from collapse_guard.cells.contract import Rows


def column_of(rows: Rows, column: str) -> Any:
    """Return one column as one array without dictionary or extension type, shape (rows,).

    Raises CellError, with the nearest name, if it is not there, and if it is there twice.

    >>> column_of(pa.table({"y": pa.array(["b", "a"]).dictionary_encode()}), "y").to_pylist()
    ['b', 'a']
    """
    return plain(raw_column(rows, column))


def raw_column(rows: Rows, column: str) -> Any:
    """Return one column as Arrow holds it, in chunks or not; raises CellError as :func:`column_of`.

    >>> raw_column(pa.table({"y": [1]}), "y").num_chunks
    1
    """
    if not isinstance(column, str):
        raise CellError(f"a column is named by text, got {column!r}")
    if column not in rows.schema.names:
        hint = nearest(column, rows.schema.names) if rows.schema.names else "it has no columns at all"
        raise CellError(f"rows have no column {column!r} to take the cell from; {hint}")
    if rows.schema.names.count(column) > 1:
        raise CellError(f"rows have {rows.schema.names.count(column)} columns called {column!r}; keep one of them")
    return rows.column(column)


def plain(array: Any) -> Any:
    """Return an array in one piece, without dictionary or extension type.

    >>> plain(pa.chunked_array([[1], [2]])).to_pylist()
    [1, 2]
    """
    whole = array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array
    if isinstance(whole.type, pa.BaseExtensionType):
        whole = whole.storage
    return whole.dictionary_decode() if pa.types.is_dictionary(whole.type) else whole


def is_text(kind: pa.DataType) -> bool:
    """Return whether an Arrow type holds text.

    >>> is_text(pa.large_string()), is_text(pa.binary())
    (True, False)
    """
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def is_number(kind: pa.DataType) -> bool:
    """Return whether an Arrow type holds numbers; a bool is none.

    >>> is_number(pa.float32()), is_number(pa.bool_())
    (True, False)
    """
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def token_ids(array: Any, column: str) -> Ragged:
    """Return the ids of each row, values an int64 Arrow array without nulls.

    Raises CellError unless the column holds lists of integers that int64 can hold.

    >>> token_ids(pa.array([[5, None, 7], None]), "ids").lengths.tolist()
    [2, 0]
    """
    if pa.types.is_null(array.type):
        array = array.cast(pa.list_(pa.int64()))
    if not (
        is_list(array.type) and (pa.types.is_integer(array.type.value_type) or pa.types.is_null(array.type.value_type))
    ):
        raise CellError(f"column {column!r} must hold lists of token ids (integers), got {array.type}")
    ids = ragged(array).filled()
    try:
        return Ragged(ids.lengths, ids.values.cast(pa.int64()))
    except pa.ArrowInvalid:
        raise CellError(f"column {column!r} holds token ids beyond 64 signed bits; are they ids?") from None


def vectors(array: Any, column: str) -> NDArray[np.float64]:
    """Return one vector per row, float64 of shape (rows, d); NaN where a row or a value is null, or a list is empty.

    Raises CellError unless the column holds lists of numbers, all of one length.

    >>> vectors(pa.array([[1.0, 2.0], None]), "embedding").tolist()
    [[1.0, 2.0], [nan, nan]]
    """
    if not is_list(array.type) or not is_number(array.type.value_type):
        raise CellError(f"column {column!r} must hold lists of numbers, got {array.type}; pass embed for other columns")
    lists = ragged(array)
    filled = lists.lengths > 0
    widths = np.unique(lists.lengths[filled])
    if widths.size > 1:
        raise CellError(
            f"column {column!r} holds lists of {widths[0]} to {widths[-1]} numbers; vectors have one length"
        )
    found = np.full((len(array), int(widths[0]) if widths.size else 0), np.nan)
    values = pc.fill_null(lists.values.cast(pa.float64(), safe=False), np.nan).to_numpy(zero_copy_only=False)
    found[filled] = values.reshape(int(filled.sum()), found.shape[1])
    return found
