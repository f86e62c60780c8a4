"""Canonical bytes of a record; bytes -> digests and content ids."""

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

from collapse_guard.errors import ProvenanceError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

#: As many values as stay in the cache while they are hashed.
_SLICE_ROWS: Final = 4096


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


def hashed_ids(contents: pa.Array) -> pa.FixedSizeBinaryArray:
    """Return the first 128 bits of SHA-256 over each value, shape (rows,).

    >>> hashed_ids(pa.array([b""], pa.large_binary())).to_pylist()[0].hex()
    'e3b0c44298fc1c149afbf4c8996fb924'
    """
    values = contents.view(pa.large_binary())
    digests = bytearray()
    for start in range(0, len(values), _SLICE_ROWS):
        part = values.slice(start, _SLICE_ROWS).to_numpy(zero_copy_only=False).tolist()
        digests += b"".join([hashlib.sha256(content).digest() for content in part])
    return ids_of(bytes(digests))


def ids_of(digests: bytes) -> pa.FixedSizeBinaryArray:
    """Return the first half of each of the SHA-256 digests that stand one after the other in ``digests``."""
    halves = np.frombuffer(digests, np.uint8).reshape(-1, 2, 16)[:, 0].tobytes()
    return pa.Array.from_buffers(pa.binary(16), len(halves) // 16, [None, pa.py_buffer(halves)])


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


def sha256_hex(parts: Iterable[bytes]) -> str:
    """Return ``sha256:...`` over the concatenation of ``parts``.

    >>> sha256_hex([b"a", b"b"]) == sha256_hex([b"ab"])
    True
    """
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return f"sha256:{digest.hexdigest()}"


#: A view and a short text.
_VIEW_BYTES: Final = 64


def held_bytes(column: pa.Array) -> int:
    """Return how many bytes the values of a column hold; a guess for views, which Arrow before 24 does not count.

    >>> held_bytes(pa.array([1, 2], pa.int64()))
    16
    """
    try:
        return int(column.nbytes)
    except pa.ArrowTypeError:
        return _VIEW_BYTES * len(column)
