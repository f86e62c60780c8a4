"""The index of a manifest: one row per training row, in a fixed order, and its digests."""

from __future__ import annotations

import hashlib
import io
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from collapse_guard.errors import ProvenanceError
from collapse_guard.kernels import canonical_bytes, class_names, id_words, sha256_hex
from collapse_guard.records import EVIDENCE, GENERATION, GENERATOR, ID, ORIGIN, SOURCE, UNKNOWN_GENERATION, Origin

if TYPE_CHECKING:
    from collections.abc import Iterator

INDEX_SCHEMA: Final = pa.schema(
    [
        pa.field("source", pa.string(), nullable=False),
        pa.field("id_hi", pa.uint64(), nullable=False),
        pa.field("id_lo", pa.uint64(), nullable=False),
        pa.field("origin", pa.uint8(), nullable=False),
        pa.field("evidence", pa.uint8(), nullable=False),
        pa.field("generation", pa.uint8(), nullable=False),
        pa.field("class", pa.string()),
        pa.field("generator", pa.string()),
    ]
)
_GROUP: Final = ["source", "origin", "generation", "class", "generator"]


def index_of(rows: pa.Table, *, class_column: str | None) -> pa.Table:
    """Return the index of tagged ``rows``: null tags become unknown, so that they fail closed.

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
        "source": rows.column(SOURCE).cast(pa.string()).fill_null("(no source)"),
        "id_hi": pa.array(hi),
        "id_lo": pa.array(lo),
        "origin": rows.column(ORIGIN).cast(pa.uint8()).fill_null(0),
        "evidence": rows.column(EVIDENCE).cast(pa.uint8()).fill_null(0),
        "generation": rows.column(GENERATION).cast(pa.uint8()).fill_null(UNKNOWN_GENERATION),
        "class": labels,
        "generator": rows.column(GENERATOR).cast(pa.string()),
    }
    table = pa.table([columns[name] for name in INDEX_SCHEMA.names], schema=INDEX_SCHEMA)
    return table.sort_by([(name, "ascending") for name in INDEX_SCHEMA.names]).combine_chunks()


def content_digest(index: pa.Table) -> str:
    """Return the digest over every value of the index in its order; the Parquet writer does not matter."""
    digest = hashlib.sha256()
    for name in INDEX_SCHEMA.names:
        column = index.column(name).combine_chunks()
        digest.update(f"{name}:{INDEX_SCHEMA.field(name).type}:{len(column)};".encode())
        if pa.types.is_string(column.type):
            lengths = pc.fill_null(pc.binary_length(column), -1)
            digest.update(np.asarray(lengths, dtype="<i4").tobytes())
            digest.update("".join(column.drop_null().to_pylist()).encode("utf-8", "surrogatepass"))
        else:
            values = column.to_numpy(zero_copy_only=False)
            digest.update(values.astype(values.dtype.newbyteorder("<")).tobytes())
    return f"sha256:{digest.hexdigest()}"


def histogram(index: pa.Table) -> list[dict[str, Any]]:
    """Return rows per (source, origin, generation, class, generator), sorted."""
    grouped = index.group_by(_GROUP).aggregate([([], "count_all")]).to_pylist()
    return sorted(grouped, key=lambda group: tuple(str(group[name]) for name in _GROUP))


def histogram_digest(index: pa.Table) -> str:
    """Return the digest over :func:`histogram`."""
    return sha256_hex([canonical_bytes(histogram(index))])


def shards(index: pa.Table) -> Iterator[tuple[str, pa.Table, str]]:
    """Yield (source, its rows, SHA-256 over its sorted ids), by source name."""
    for source in sorted(pc.unique(index.column("source")).to_pylist()):
        part = index.filter(pc.equal(index.column("source"), source))
        words = np.stack([part.column("id_hi").to_numpy(), part.column("id_lo").to_numpy()], axis=1)
        order = np.lexsort((words[:, 1], words[:, 0]))
        yield source, part, sha256_hex([words[order].astype(">u8").tobytes()])


def root_digest(shard_digests: list[str]) -> str:
    """Return the digest over shard digests, in their order."""
    return sha256_hex([digest.encode() for digest in shard_digests])


def as_parquet(index: pa.Table) -> bytes:
    """Return the index as Parquet bytes (zstd, dictionaries for text)."""
    sink = io.BytesIO()
    names = [field.name for field in INDEX_SCHEMA if pa.types.is_string(field.type)]
    pq.write_table(index, sink, compression="zstd", use_dictionary=names, write_statistics=True)
    return sink.getvalue()


def origin_name(code: int) -> str:
    """Return the name of an origin code, ``unknown`` for codes that do not exist."""
    return Origin(code).name.lower() if code in set(Origin) else Origin.UNKNOWN.name.lower()
