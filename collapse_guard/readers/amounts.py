"""How much of each row trains, in the unit that a manifest counts in: rows, tokens, bytes or a weight."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from collapse_guard.errors import ProvenanceError
from collapse_guard.kernels import is_list, not_amounts, ragged
from collapse_guard.plugins import nearest

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

#: The column of token ids that `transformers` and `trl` read.
TOKENS_COLUMN: Final = "input_ids"
WEIGHT_COLUMN: Final = "weight"
_SIZED: Final = (
    pa.types.is_string,
    pa.types.is_large_string,
    pa.types.is_binary,
    pa.types.is_large_binary,
    pa.types.is_fixed_size_binary,
)
_VIEWS: Final = (pa.types.is_string_view, pa.types.is_binary_view)


def amounts(rows: pa.Table | pa.RecordBatch, unit: str, column: str | None = None) -> Floats:
    """Return the amount of each row, float64 of shape (rows,).

    Args:
        rows: content, whatever its columns.
        unit: ``rows`` (1 each); ``tokens`` (length of a list column, or a column of counts); ``bytes`` (UTF-8 and
            binary bytes, at any depth, or a column of counts); ``weight`` (a column of numbers).
        column: where to read it; if left out ``input_ids`` for tokens, ``weight`` for weights, and all columns
            without ``cg_`` for bytes.

    Raises ProvenanceError for another unit, a missing column or one of another type, and for amounts that are null,
    negative or not finite.

    >>> amounts(pa.table({"input_ids": [[5, 6], []]}), "tokens").tolist()
    [2.0, 0.0]
    >>> amounts(pa.table({"text": ["é", "a"]}), "bytes").tolist()
    [2.0, 1.0]
    """
    if unit not in _READERS:
        raise ProvenanceError(f"unknown unit {unit!r}; {nearest(unit, _READERS)}")
    found = _READERS[unit](rows, column)
    bad = not_amounts(found)
    if bad.size:
        text = f"{bad.size} of {found.size} rows have no amount from 0 to 2^53 {unit}"
        raise ProvenanceError(f"{text} (first: row {bad[0]} of this batch); mend them, or count in another unit")
    return found


def _rows(rows: pa.Table | pa.RecordBatch, column: str | None) -> Floats:
    if column is not None:
        raise ProvenanceError(f"unit 'rows' reads no column, got {column!r}; leave it out, or name unit 'weight'")
    return np.ones(rows.num_rows)


def _tokens(rows: pa.Table | pa.RecordBatch, column: str | None) -> Floats:
    values = _column(rows, column or TOKENS_COLUMN, "tokens")
    if is_list(values.type):
        return _numbers(pc.list_value_length(values))
    return _numbers(_as_numbers(values, column or TOKENS_COLUMN, "tokens", "a list of token ids or a count"))


def _weights(rows: pa.Table | pa.RecordBatch, column: str | None) -> Floats:
    name = column or WEIGHT_COLUMN
    return _numbers(_as_numbers(_column(rows, name, "weight"), name, "weight", "numbers"))


def _bytes(rows: pa.Table | pa.RecordBatch, column: str | None) -> Floats:
    if column is not None and _is_number(_column(rows, column, "bytes").type):
        return _numbers(_column(rows, column, "bytes"))
    names = [name for name in rows.schema.names if not name.startswith("cg_")] if column is None else [column]
    sizes = [size for name in names if (size := _sizes(_column(rows, name, "bytes"))) is not None]
    if not sizes:
        what = "rows have no text and no bytes" if column is None else f"column {column!r} holds no text and no bytes"
        raise ProvenanceError(f"{what} to count in 'bytes'; count in 'rows', or name another unit_column")
    return np.asarray(np.sum(sizes, axis=0))


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def _column(rows: pa.Table | pa.RecordBatch, name: str, unit: str) -> pa.Array:
    if name not in rows.schema.names:
        text = f"unit {unit!r} reads column {name!r}, which the rows lack"
        raise ProvenanceError(f"{text}; name it with unit_column ({nearest(name, rows.schema.names)})")
    values = rows.column(name)
    whole = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
    return whole.dictionary_decode() if pa.types.is_dictionary(whole.type) else whole


def _as_numbers(values: pa.Array, name: str, unit: str, wanted: str) -> pa.Array:
    kind = values.type
    if not _is_number(kind):
        raise ProvenanceError(f"column {name!r} is {kind}; unit {unit!r} reads {wanted}; name another unit_column")
    return values


def _numbers(values: pa.Array) -> Floats:
    return np.asarray(values.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False), dtype=np.float64)


def _sizes(values: pa.Array) -> Floats | None:
    """Return the bytes of text and binary in each row, at any depth; None for types that hold neither."""
    kind = values.type
    if any(is_kind(kind) for is_kind in _VIEWS):
        values = values.cast(pa.large_binary())
        kind = values.type
    if any(is_kind(kind) for is_kind in _SIZED):
        return _numbers(pc.fill_null(pc.binary_length(values), 0))
    if is_list(kind):
        lengths, items = ragged(values)
        sizes = None if not len(items) and pa.types.is_null(items.type) else _sizes(items)
        return None if sizes is None else _summed(sizes, lengths)
    if pa.types.is_struct(kind):
        fields = {field.name: child for field, child in zip(kind, values.flatten(), strict=True)}
        if fields.keys() == {"bytes", "path"}:  # media of `datasets`: the name of the file is no content
            del fields["path"]
        held = [size for child in fields.values() if (size := _sizes(child)) is not None]
        return np.sum(held, axis=0) if held else None
    return None


def _summed(sizes: Floats, lengths: NDArray[np.int64]) -> Floats:
    bounds = np.concatenate([[0], np.cumsum(lengths)])
    totals = np.concatenate([[0.0], np.cumsum(sizes)])
    return np.asarray(totals[bounds[1:]] - totals[bounds[:-1]])


_READERS: Final[dict[str, Callable[[Any, str | None], Floats]]] = {
    "rows": _rows,
    "tokens": _tokens,
    "bytes": _bytes,
    "weight": _weights,
}
