"""The index of a manifest: one row per training row, cut into shards, and their digests."""

from __future__ import annotations

import hashlib
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from collapse_guard.errors import ProvenanceError
from collapse_guard.kernels import canonical_bytes, class_names, id_words, not_amounts, sha256_hex
from collapse_guard.manifest.columns import lengths_of, values_of
from collapse_guard.records import (
    AMOUNT,
    EVIDENCE,
    GENERATION,
    GENERATOR,
    ID,
    ORIGIN,
    SOURCE,
    UNKNOWN_GENERATION,
    Origin,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

INDEX_SCHEMA: Final = pa.schema(
    [
        pa.field("id_hi", pa.uint64(), nullable=False),
        pa.field("id_lo", pa.uint64(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("origin", pa.uint8(), nullable=False),
        pa.field("evidence", pa.uint8(), nullable=False),
        pa.field("generation", pa.uint8(), nullable=False),
        pa.field("class", pa.string()),
        pa.field("generator", pa.string()),
        pa.field("amount", pa.float64(), nullable=False),
    ]
)
#: Rows of a shard at most: a part is read, sorted and digested whole.
SHARD_ROWS: Final = 1 << 20
#: Source of rows that name none.
NO_SOURCE: Final = "(no source)"

#: Rows per (source, origin, generation, class, generator).
Histogram = Counter[tuple[Any, ...]]


def index_of(rows: pa.Table, *, class_column: str | None) -> pa.Table:
    """Return the index rows of tagged ``rows``, as they come: null tags become unknown, so that they fail closed.

    Raises ProvenanceError for a missing tag column or a row without id.
    """
    missing = [name for name in (SOURCE, ID, ORIGIN, EVIDENCE, GENERATION, GENERATOR) if name not in rows.schema.names]
    if missing:
        raise ProvenanceError(f"rows lack the provenance columns {', '.join(missing)}; tag them first")
    hi, lo = id_words(rows.column(ID))
    n_rows = rows.num_rows
    labels = pa.nulls(n_rows, pa.string())
    if class_column is not None and class_column in rows.schema.names:
        labels = class_names(rows.column(class_column))
    columns = {
        "id_hi": pa.array(hi),
        "id_lo": pa.array(lo),
        "source": rows.column(SOURCE).cast(pa.string()).fill_null(NO_SOURCE),
        "origin": rows.column(ORIGIN).cast(pa.uint8()).fill_null(0),
        "evidence": rows.column(EVIDENCE).cast(pa.uint8()).fill_null(0),
        "generation": rows.column(GENERATION).cast(pa.uint8()).fill_null(UNKNOWN_GENERATION),
        "class": labels,
        "generator": rows.column(GENERATOR).cast(pa.string()),
        "amount": _amounts(rows),
    }
    return pa.table([columns[name] for name in INDEX_SCHEMA.names], schema=INDEX_SCHEMA).combine_chunks()


def _amounts(rows: pa.Table) -> pa.Array:
    if AMOUNT not in rows.schema.names:
        return pa.array(np.ones(rows.num_rows))
    amounts = np.asarray(rows.column(AMOUNT).cast(pa.float64()).to_numpy(), dtype=np.float64)
    bad = not_amounts(amounts)
    if bad.size:
        raise ProvenanceError(f"{bad.size} rows have no amount from 0 to 2^53 (first: row {bad[0]})")
    return pa.array(amounts)


def sorted_index(index: pa.Table) -> pa.Table:
    """Return index rows in the order of their ids; rows of one id are ordered by all other columns.

    >>> row = {"source": "web", "origin": 1, "evidence": 1, "generation": 0, "class": None, "generator": None}
    >>> table = pa.Table.from_pylist([row | {"id_hi": n, "id_lo": 0, "amount": 1.0} for n in (3, 1, 2)], INDEX_SCHEMA)
    >>> sorted_index(table).column("id_hi").to_pylist()
    [1, 2, 3]
    """
    hi, lo = (values_of(index.column(name)) for name in ("id_hi", "id_lo"))
    if (hi[1:] > hi[:-1]).all():  # as a part that was written holds them
        return index.combine_chunks()
    index = index.cast(INDEX_SCHEMA)  # dictionaries have no order
    order = np.argsort(hi)
    first = hi[order]
    if (first[1:] == first[:-1]).any():
        order = np.lexsort((lo, hi))
    ordered = index.take(pa.array(order)).combine_chunks()
    return _ties_ordered(ordered, hi[order], lo[order])


def _ties_ordered(ordered: pa.Table, hi: NDArray[np.uint64], lo: NDArray[np.uint64]) -> pa.Table:
    """Return the table with rows of equal ids in the order of their other columns."""
    same = (hi[1:] == hi[:-1]) & (lo[1:] == lo[:-1])
    if not same.any():
        return ordered
    tied = np.zeros(hi.size, dtype=bool)
    tied[1:] |= same
    tied[:-1] |= same
    where = np.flatnonzero(tied)
    rows = ordered.take(pa.array(where)).sort_by([(name, "ascending") for name in INDEX_SCHEMA.names])
    position = np.arange(hi.size)
    position[where] = hi.size + np.arange(where.size)
    return pa.concat_tables([ordered, rows]).take(pa.array(position)).combine_chunks()


def content_digest(index: pa.Table) -> str:
    """Return the digest over every value of index rows in their order; the Parquet writer does not matter.

    Texts may come as dictionaries: their digest is that of the plain texts.
    """
    digest = hashlib.sha256()
    for name in INDEX_SCHEMA.names:
        column = _whole(index.column(name))
        kind = INDEX_SCHEMA.field(name).type
        digest.update(f"{name}:{kind}:{len(column)};".encode())
        if pa.types.is_string(kind):
            texts = column.dictionary_decode() if pa.types.is_dictionary(column.type) else column
            digest.update(lengths_of(texts).astype("<i4", copy=False).data)
            digest.update(_bytes_of(texts.drop_null() if texts.null_count else texts))
        else:
            values = values_of(column)
            digest.update(values.astype(values.dtype.newbyteorder("<"), copy=False).data)
    return f"sha256:{digest.hexdigest()}"


def _whole(column: pa.ChunkedArray) -> pa.Array:
    if column.num_chunks == 1:
        return column.chunk(0)
    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)


def _bytes_of(texts: pa.Array) -> memoryview:
    """Return the UTF-8 of texts without nulls, one after the other."""
    offsets, data = texts.buffers()[1:]
    if data is None or len(texts) == 0:
        return memoryview(b"")
    bounds = np.frombuffer(offsets, dtype=np.int32)[texts.offset : texts.offset + len(texts) + 1]
    return memoryview(data)[int(bounds[0]) : int(bounds[-1])]


def real_digest(index: pa.Table) -> str:
    """Return SHA-256 over the distinct ids of the real rows of a sorted index, 16 bytes each, big-endian."""
    hi, lo = (values_of(index.column(name)) for name in ("id_hi", "id_lo"))
    is_real = values_of(index.column("origin")) == Origin.REAL
    if not is_real.all():
        hi, lo = hi[is_real], lo[is_real]
    is_new = np.ones(hi.size, dtype=bool)
    is_new[1:] = (hi[1:] != hi[:-1]) | (lo[1:] != lo[:-1])
    if not is_new.all():
        hi, lo = hi[is_new], lo[is_new]
    words = np.empty((hi.size, 2), dtype=">u8")
    words[:, 0], words[:, 1] = hi, lo
    return sha256_hex([words.tobytes()])


def root_digest(digests: Iterable[str]) -> str:
    """Return the digest over the digests of shards, whatever their order."""
    return sha256_hex([digest.encode() for digest in sorted(digests)])


def histogram_digest(counts: Histogram) -> str:
    """Return the digest over a histogram, in a fixed order."""
    ordered = sorted(counts.items(), key=lambda item: [(str(each), each is None) for each in item[0]])
    return sha256_hex([canonical_bytes([[*group, rows] for group, rows in ordered])])


def cut(index: pa.Table) -> Iterator[tuple[str, int, pa.Table]]:
    """Yield (source, number, at most :data:`SHARD_ROWS` of its rows) by source name, rows in their order."""
    sources = index.column("source")
    for source in sorted(pc.unique(sources).to_pylist()):
        part = index.filter(pc.equal(sources, source))
        for number, start in enumerate(range(0, part.num_rows, SHARD_ROWS)):
            yield source, number, part.slice(start, SHARD_ROWS)


def origin_name(code: int) -> str:
    """Return the name of an origin code, ``unknown`` for codes that do not exist."""
    return Origin(code).name.lower() if code in set(Origin) else Origin.UNKNOWN.name.lower()
