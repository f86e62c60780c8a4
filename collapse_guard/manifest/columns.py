"""Columns of an index as NumPy arrays and back, by their buffers.

``to_numpy`` and ``pa.array`` import pandas wherever it is installed, which takes longer than a check of a million rows.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa


def values_of(column: pa.ChunkedArray | pa.Array) -> np.ndarray[Any, Any]:
    """Return the numbers of a column, shape (rows,), without a copy where it is one chunk; what stands for null is any.

    >>> values_of(pa.chunked_array([[1, 2], [3]], pa.uint8())).tolist()
    [1, 2, 3]
    """
    chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    parts = [_numbers(chunk) for chunk in chunks]
    if len(parts) == 1:
        return parts[0]
    return np.concatenate([np.empty(0, dtype=column.type.to_pandas_dtype()), *parts])


def _numbers(chunk: pa.Array) -> np.ndarray[Any, Any]:
    kind = np.dtype(chunk.type.to_pandas_dtype())
    buffer = chunk.buffers()[1]
    if buffer is None or not len(chunk):
        return np.empty(0, dtype=kind)
    return np.frombuffer(buffer, dtype=kind, count=len(chunk), offset=chunk.offset * kind.itemsize)


def array_of(values: np.ndarray[Any, Any], kind: pa.DataType) -> pa.Array:
    """Return numbers of the storage of ``kind`` as an Arrow array without nulls, without a copy.

    >>> array_of(np.array([1, 2], dtype=np.uint64), pa.uint64()).to_pylist()
    [1, 2]
    """
    assert values.dtype == np.dtype(kind.to_pandas_dtype())
    return pa.Array.from_buffers(kind, values.size, [None, pa.py_buffer(np.ascontiguousarray(values))])


def is_valid(array: pa.Array) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Return whether each value is no null, shape (rows,).

    >>> is_valid(pa.array(["a", None, "b"])[1:]).tolist()
    [False, True]
    """
    bitmap = array.buffers()[0]
    if bitmap is None or not array.null_count:
        return np.ones(len(array), dtype=bool)
    bits = np.unpackbits(np.frombuffer(bitmap, dtype=np.uint8), bitorder="little", count=array.offset + len(array))
    return bits[array.offset :].astype(bool)


def lengths_of(texts: pa.Array) -> np.ndarray[Any, np.dtype[np.int32]]:
    """Return the bytes of each text, -1 for null, shape (rows,).

    >>> lengths_of(pa.array(["ab", None, ""])).tolist()
    [2, -1, 0]
    """
    offsets = texts.buffers()[1]
    if offsets is None or not len(texts):
        return np.empty(0, dtype=np.int32)
    bounds = np.frombuffer(offsets, dtype=np.int32, count=len(texts) + 1, offset=4 * texts.offset)
    return np.where(is_valid(texts), np.diff(bounds), np.int32(-1)) if texts.null_count else np.diff(bounds)
