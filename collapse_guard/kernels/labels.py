"""Labels and names from the data, as text."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from collapse_guard.errors import CellError
from collapse_guard.kernels.canonical import normalised


def class_names(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    """Return labels as text in NFC, null where there is none (null or NaN), shape (rows,).

    >>> class_names(pa.array([3, None])).to_pylist()
    ['3', None]
    """
    whole = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if pa.types.is_dictionary(whole.type):
        whole = whole.dictionary_decode()
    is_bytes = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_fixed_size_binary)
    if pa.types.is_nested(whole.type) or any(is_kind(whole.type) for is_kind in is_bytes):
        raise CellError(f"a label must be text, a number or a bool, got {whole.type}; name another column")
    if pa.types.is_floating(whole.type):
        whole = pc.if_else(pc.is_nan(whole), pa.scalar(None, whole.type), whole)
    if pa.types.is_boolean(whole.type):
        whole = pc.if_else(whole, "true", "false")
    text = whole.cast(pa.string())
    plain = normalised(text).cast(pa.string())
    return pc.if_else(text.is_valid(), plain, None) if text.null_count else plain


def one_line(name: str) -> str:
    r"""Return a name from the data as it can stand in a message: control characters escaped.

    >>> one_line("two\nlines")
    'two\\nlines'
    """
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in name)
