"""One record -> canonical bytes -> digest and content id."""

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


def sha256_hex(parts: Iterable[bytes]) -> str:
    """Return ``sha256:...`` over the concatenation of ``parts``.

    >>> sha256_hex([b"a", b"b"]) == sha256_hex([b"ab"])
    True
    """
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return f"sha256:{digest.hexdigest()}"
