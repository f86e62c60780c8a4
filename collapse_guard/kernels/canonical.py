"""Rows -> their canonical JSON, column by column: the same bytes as ``canonical_bytes``, without a loop over rows."""

from __future__ import annotations

import functools
import json
import unicodedata
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from collapse_guard.errors import ProvenanceError
from collapse_guard.kernels.content import canonical_bytes
from collapse_guard.kernels.ragged import is_list, ragged

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

_TEXT: Final = pa.large_string()
_QUOTE, _BACKSLASH, _FIRST_PLAIN = 0x22, 0x5C, 0x20
#: First byte of U+0300 in UTF-8.
_FIRST_UNSURE: Final = 0xCC
#: What JSON writes for the bytes that it escapes; the backslash comes first, so that it is not escaped twice.
_ESCAPES: Final = {code: json.dumps(chr(code))[1:-1].encode() for code in (_BACKSLASH, _QUOTE, *range(_FIRST_PLAIN))}
_ADDED: Final = np.array([len(_ESCAPES.get(code, b"?")) - 1 for code in range(256)])


def _scalar(text: str) -> pa.Scalar:
    return pa.scalar(text, _TEXT)


def _joined(*parts: Any) -> pa.Array:
    """Return the texts of a row, one after the other; null where one of them is."""
    return pc.binary_join_element_wise(*parts, _scalar(""))


def json_rows(names: Sequence[str], columns: Sequence[pa.Array]) -> pa.Array:
    """Return the canonical JSON of rows, null fields left out, large_string of shape (rows,).

    >>> json_rows(["b", "a"], [pa.array([1, None]), pa.array(["x", "y"])]).to_pylist()
    ['{"a":"x","b":1}', '{"a":"y"}']
    """
    columns = [plainly_coded(column) for column in columns]
    keys = [unicodedata.normalize("NFC", name) for name in names]
    if len(set(keys)) < len(keys):
        rows = zip(*(column.to_pylist() for column in columns), strict=True)
        return _by_value([_without_nulls(names, row) for row in rows])
    order = sorted(range(len(keys)), key=keys.__getitem__)
    whole = [columns[place].null_count == 0 for place in order]
    starts, ends = "{" if whole[0] else "", "}" if whole[-1] else ""
    fields = []
    for rank, place in enumerate(order):
        before = (starts if rank == 0 else "") + _key(keys[place])
        fields.append(json_values(columns[place], before, ends if rank == len(order) - 1 else ""))
    if not any(whole):  # joining nulls alone would lose the row
        empty = functools.reduce(pc.and_, [field.is_null() for field in fields])
        fields[0] = pc.if_else(empty, _scalar(""), fields[0])
    rows = pc.binary_join_element_wise(*fields, _scalar(","), null_handling="skip") if len(fields) > 1 else fields[0]
    return rows if starts and ends else _joined(_scalar("" if starts else "{"), rows, _scalar("" if ends else "}"))


def plainly_coded(column: pa.Array) -> pa.Array:
    """Return a column whose nulls are its own: codes of null values and runs are written out."""
    if pa.types.is_run_end_encoded(column.type):
        return pc.run_end_decode(column)
    if pa.types.is_dictionary(column.type) and column.dictionary.null_count:
        return column.dictionary_decode()
    return column


def _key(name: str) -> str:
    return json.dumps(name, ensure_ascii=False) + ":"


def _without_nulls(names: Sequence[str], row: Sequence[Any]) -> dict[str, Any]:
    return {name: value for name, value in dict(zip(names, row, strict=True)).items() if value is not None}


def json_values(column: pa.Array, before: str = "", after: str = "") -> pa.Array:
    r"""Return the canonical JSON of values between two texts, null where they are, large_string of shape (rows,).

    >>> json_values(pa.array(["a\n", None, "\u00e9"])).to_pylist()
    ['"a\\n"', None, '"é"']
    """
    if pa.types.is_dictionary(column.type):
        if len(column.dictionary) > len(column):
            return json_values(column.dictionary_decode(), before, after)
        return json_values(column.dictionary, before, after).take(column.indices)
    for is_kind, write in _WRITERS:
        if is_kind(column.type):
            return write(column, before, after)
    return _joined(_scalar(before), _by_value(column.to_pylist()), _scalar(after))


def _by_value(values: list[Any]) -> pa.Array:
    try:
        written = [None if value is None else canonical_bytes(value) for value in values]
    except TypeError as error:
        raise ProvenanceError(f"a column holds values that no id rule covers ({error}); store them as text") from None
    return pa.array(written, pa.large_binary()).view(_TEXT)


def _nulls(column: pa.Array, before: str, after: str) -> pa.Array:
    del before, after
    return pa.nulls(len(column), _TEXT)


def _quoted(column: pa.Array, before: str, after: str) -> pa.Array:
    escaped = _escaped(normalised(column))
    return _masked(_joined(_scalar(f'{before}"'), escaped, _scalar(f'"{after}')), column)


def _plain(column: pa.Array, before: str, after: str) -> pa.Array:
    """Write whole numbers and truth values as Arrow does, which is as JSON does."""
    return _joined(_scalar(before), column.cast(_TEXT), _scalar(after))


def _floats(column: pa.Array, before: str, after: str) -> pa.Array:
    """Write floats as the standard library does: the shortest digits that read back, NaN and Infinity by name."""
    if len(column) == 0:
        return pa.array([], _TEXT)
    doubles = column.cast(pa.float64()).fill_null(0.0)
    texts = json.dumps(doubles.to_pylist(), separators=(",", ":"))[1:-1].split(",")
    return _masked(_joined(_scalar(before), pa.array(texts, _TEXT), _scalar(after)), column)


def _hexadecimal(column: pa.Array, before: str, after: str) -> pa.Array:
    offsets, data = flat(column.cast(pa.large_binary()).fill_null(b""))
    digits = _texts(offsets * 2, bytes(data).hex().encode())
    return _masked(_joined(_scalar(before + '{"$bytes":"'), digits, _scalar('"}' + after)), column)


def _lists(column: pa.Array, before: str, after: str) -> pa.Array:
    lengths, values = ragged(column)
    items = json_values(values).fill_null("null")
    offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]))
    rows = pc.binary_join(pa.LargeListArray.from_arrays(offsets, items), _scalar(","))
    return _masked(_joined(_scalar(before + "["), rows, _scalar("]" + after)), column)


def _structs(column: pa.Array, before: str, after: str) -> pa.Array:
    names = [unicodedata.normalize("NFC", field.name) for field in column.type]
    if len(set(names)) < len(names) or not names:
        return _joined(_scalar(before), _by_value(column.to_pylist()), _scalar(after))
    children = column.flatten()
    fields = []
    for place in sorted(range(len(names)), key=names.__getitem__):
        key = _key(names[place])
        fields.append(json_values(children[place], key).fill_null(f"{key}null"))
    rows = pc.binary_join_element_wise(*fields, _scalar(","))
    return _masked(_joined(_scalar(before + "{"), rows, _scalar("}" + after)), column)


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _is_bytes(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind))


#: Types whose JSON is written for all rows at once; every other type is written value by value.
_WRITERS: Final[tuple[tuple[Callable[[pa.DataType], bool], Callable[[pa.Array, str, str], pa.Array]], ...]] = (
    (pa.types.is_null, _nulls),
    (_is_text, _quoted),
    (pa.types.is_boolean, _plain),
    (pa.types.is_integer, _plain),
    (pa.types.is_floating, _floats),
    (_is_bytes, _hexadecimal),
    (is_list, _lists),
    (pa.types.is_struct, _structs),
)


def _masked(texts: pa.Array, column: pa.Array) -> pa.Array:
    """Return texts, null where the column is."""
    return pc.if_else(column.is_valid(), texts, pa.scalar(None, _TEXT)) if column.null_count else texts


def flat(values: pa.Array) -> tuple[NDArray[np.int64], memoryview]:
    """Return where values of 64-bit offsets begin and end, int64 of shape (rows + 1,), and all their bytes."""
    if len(values) == 0:
        return np.zeros(1, np.int64), memoryview(b"")
    _, starts, data = values.buffers()
    offsets = np.frombuffer(starts, np.int64)[values.offset : values.offset + len(values) + 1]
    view = memoryview(b"") if data is None else memoryview(data)[offsets[0] : offsets[-1]]
    return offsets - offsets[0], view


def _texts(offsets: NDArray[np.int64], data: bytes) -> pa.Array:
    return pa.Array.from_buffers(_TEXT, len(offsets) - 1, [None, pa.py_buffer(offsets.tobytes()), pa.py_buffer(data)])


def normalised(column: pa.Array) -> pa.Array:
    r"""Return texts in NFC, null as empty, large_string of shape (rows,).

    Normalised by the standard library, as ids always were: Arrow's tables may be of another version of Unicode, and
    before Arrow 22 its NFC does not compose.

    >>> normalised(pa.array(["e\u0301", None])).to_pylist()
    ['é', '']
    """
    values = column.cast(_TEXT).fill_null("")
    codes = np.frombuffer(flat(values)[1], np.uint8)
    unsure = codes >= _FIRST_UNSURE
    high = codes.view(np.int8) < 0
    if not high.any():
        return values
    # Normal forms look no further back than the last ASCII character, so others between ASCII can be left out. A part
    # of a text in NFC is in NFC, so one look at all rows decides for most blocks.
    high[:-1] |= high[1:]
    text = _decoded(codes[high])
    if not unsure.any() or unicodedata.is_normalized("NFC", text):
        return values
    return pa.array([unicodedata.normalize("NFC", row) for row in values.to_pylist()], _TEXT)


def _decoded(codes: NDArray[np.uint8]) -> str:
    try:
        return str(codes.data, "utf-8")
    except UnicodeDecodeError as error:
        raise ProvenanceError(f"a text column holds bytes that are not UTF-8 ({error.reason}); read it again") from None


def _escaped(values: pa.Array) -> pa.Array:
    """Return texts without nulls as they stand between the quotes of JSON."""
    offsets, view = flat(values)
    codes = np.frombuffer(view, np.uint8)
    where = np.flatnonzero((codes < _FIRST_PLAIN) | (codes == _QUOTE) | (codes == _BACKSLASH))
    if not where.size:
        return values
    found = codes[where]
    data = bytes(view)
    there = np.bincount(found, minlength=256)
    for code, written in _ESCAPES.items():
        if there[code]:
            data = data.replace(bytes([code]), written)
    added = np.concatenate([[0], np.cumsum(_ADDED[found])])
    return _texts(offsets + added[np.searchsorted(where, offsets)], data)
