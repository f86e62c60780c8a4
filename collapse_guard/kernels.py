"""Pure array functions used by several stages: content ids, seeded hash order, labels as text."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import unicodedata
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from collapse_guard.errors import CellError, ProvenanceError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

#: Name of the rule by which ids are made; written into every manifest, compared, never guessed.
ID_RULE: Final = "sha256-128/record-json-nfc/1"


def _plain(value: Any) -> Any:
    """Return ``value`` with text in NFC and bytes, dates and decimals as tagged text."""
    match value:
        case str():
            plain: Any = unicodedata.normalize("NFC", value)
        case dict():
            plain = {unicodedata.normalize("NFC", str(key)): _plain(item) for key, item in value.items()}
        case list() | tuple():
            plain = [_plain(item) for item in value]
        case bytes():
            plain = {"$bytes": value.hex()}
        case dt.datetime() | dt.date() | dt.time():
            plain = {"$time": value.isoformat()}
        case dt.timedelta():
            plain = {"$seconds": value.total_seconds()}
        case Decimal():
            plain = {"$decimal": str(value)}
        case _:
            plain = value
    return plain


def canonical_bytes(record: Any) -> bytes:
    r"""Return the canonical form of one record: NFC text, sorted keys, no spaces, UTF-8.

    >>> canonical_bytes({"b": 1, "a": "e\u0301"}) == canonical_bytes({"a": "\u00e9", "b": 1})
    True
    """
    text = json.dumps(_plain(record), sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return text.encode("utf-8", "surrogatepass")


def content_ids(rows: pa.Table | pa.RecordBatch) -> pa.FixedSizeBinaryArray:
    """Return the first 128 bits of SHA-256 over each row's canonical form, shape (rows,).

    Column order and null fields do not matter (joining sets with different columns fills with null); column
    names, types of values (1 is not 1.0) and content do.

    >>> len(content_ids(pa.table({"text": ["a", "b"]})))
    2
    """
    if rows.num_columns == 0:
        raise ProvenanceError("rows have no content column to make an id from; add one before tagging")
    try:
        digests = [hashlib.sha256(canonical_bytes(_without_nulls(row))).digest()[:16] for row in rows.to_pylist()]
    except TypeError as error:
        raise ProvenanceError(f"a column holds values that no id rule covers ({error}); store them as text") from None
    return pa.array(digests, type=pa.binary(16))


def _without_nulls(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if value is not None}


def id_words(ids: pa.Array | pa.ChunkedArray) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    r"""Return (high, low) words of 16-byte ids, uint64 of shape (rows,) each; raises on nulls.

    >>> hi, lo = id_words(pa.array([bytes(15) + b"\x07"], type=pa.binary(16)))
    >>> int(hi[0]), int(lo[0])
    (0, 7)
    """
    whole = ids.combine_chunks() if isinstance(ids, pa.ChunkedArray) else ids
    if whole.null_count:
        raise ProvenanceError(f"{whole.null_count} of {len(whole)} rows have no cg_id; tag them first")
    values = whole.cast(pa.binary())
    raw = b"".join(values.to_pylist())
    if not pc.all(pc.equal(pc.binary_length(values), 16), min_count=0).as_py():
        raise ProvenanceError("cg_id must hold 16 bytes per row; tag the rows again with overwrite=True")
    words = np.frombuffer(raw, dtype=">u8").reshape(-1, 2).astype(np.uint64)
    return words[:, 0].copy(), words[:, 1].copy()


def id_hex(hi: int, lo: int) -> str:
    """Return the id as 32 hexadecimal digits.

    >>> id_hex(0, 7)[-2:]
    '07'
    """
    return f"{hi:016x}{lo:016x}"


def one_line(name: str) -> str:
    r"""Return a name from the data as it can stand in a message: control characters escaped.

    >>> one_line("two\nlines")
    'two\\nlines'
    """
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in name)


def _mix(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return words after the SplitMix64 finaliser (Steele, Lea, Flood 2014): a bijection of 64 bits."""
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))


def hash_order(hi: NDArray[np.uint64], lo: NDArray[np.uint64], *, seed: int) -> NDArray[np.int64]:
    """Return the row numbers in a seeded order that depends on ids alone, shape (rows,).

    A row's rank against another row never changes when rows are added, so that a longer
    prefix always holds a shorter one.

    >>> ids = np.arange(4, dtype=np.uint64)
    >>> sorted(hash_order(ids, ids, seed=1).tolist())
    [0, 1, 2, 3]
    """
    with np.errstate(over="ignore"):
        salt = _mix(np.array([seed & 0xFFFFFFFFFFFFFFFF], dtype=np.uint64) + np.uint64(0x9E3779B97F4A7C15))
        keys = _mix(_mix(hi ^ salt) + lo)
    return np.lexsort((lo, hi, keys)).astype(np.int64)


def sha256_hex(parts: Iterable[bytes]) -> str:
    """Return ``sha256:...`` over the concatenation of ``parts``.

    >>> sha256_hex([b"a", b"b"]) == sha256_hex([b"ab"])
    True
    """
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return f"sha256:{digest.hexdigest()}"


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
    return pc.utf8_normalize(whole.cast(pa.string()), "NFC")
