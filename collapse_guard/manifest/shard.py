"""A shard: rows of one source that are digested, written and read together."""

from __future__ import annotations

import io
import math
import os
import shutil
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from collapse_guard._atomic import write_bytes
from collapse_guard.errors import ManifestError
from collapse_guard.kernels import LARGEST_AMOUNT, not_amounts, sha256_hex
from collapse_guard.manifest.census import census_of
from collapse_guard.manifest.columns import values_of
from collapse_guard.manifest.header import ShardEntry
from collapse_guard.manifest.index import (
    INDEX_SCHEMA,
    Histogram,
    content_digest,
    real_digest,
    sorted_index,
)
from collapse_guard.records import Origin

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from collapse_guard.manifest.header import FileEntry

#: Rows of a row group: a range of ids is read without the rest.
_GROUP_ROWS: Final = 1 << 17
_TEXT: Final = [column.name for column in INDEX_SCHEMA if pa.types.is_string(column.type)]
#: The index with its texts as dictionaries.
_CODED: Final = pa.schema(
    [
        column.with_type(pa.dictionary(pa.int32(), pa.string())) if column.name in _TEXT else column
        for column in INDEX_SCHEMA
    ]
)
#: Ids are random bits: compressing them costs time and saves nothing.
_COMPRESSION: Final = {name: "NONE" if name.startswith("id_") else "ZSTD" for name in INDEX_SCHEMA.names}


@dataclass(frozen=True)
class Shard:
    """A shard's entry in the header and where its rows are: in memory, in a file, or both.

    Args:
        entry: what the header says.
        table: index rows sorted by id, None if they are in the file alone.
        path: Parquet part, None while in memory.
        counts: its histogram if it was counted when the shard was made.
    """

    entry: ShardEntry
    table: pa.Table | None = field(default=None, repr=False, compare=False)
    path: Path | None = field(default=None, compare=False)
    counts: Histogram | None = field(default=None, repr=False, compare=False)

    def histogram(self) -> Histogram:
        """Return rows per (source, origin, generation, class, generator)."""
        return census_of(self.read()).histogram() if self.counts is None else self.counts

    def read(self) -> pa.Table:
        """Return the index rows; raises ManifestError for a part that is missing, cut or of another form."""
        if self.table is not None:
            return self.table
        if self.path is None:
            raise ManifestError(f"shard {self.entry.name!r} has neither rows nor a file")
        return _read_part(self.path)

    def check_readable(self) -> None:
        """Raise ManifestError unless the part is a Parquet file of the right columns and length; reads its footer."""
        if self.path is None:
            return
        n_rows = _checked_rows(self.path)
        if n_rows != self.entry.rows:
            text = f"{self.path}: {n_rows} rows, the header says {self.entry.rows}; restore it"
            raise ManifestError(text, path=self.path)


def shard_of(index: pa.Table, *, name: str, file: FileEntry | None = None) -> Shard:
    """Return index rows of one source as a shard: sorted and digested, in memory.

    Raises ManifestError for no rows or rows of more than one source.
    """
    sources = pc.unique(index.column("source")).to_pylist()
    if len(sources) != 1:
        raise ManifestError(f"shard {name!r} must hold rows of one source, got {len(sources)}")
    rows = sorted_index(index)
    return Shard(entry_of(rows, name=name, source=sources[0], file=file), rows, counts=census_of(rows).histogram())


def entry_of(rows: pa.Table, *, name: str, source: str, file: FileEntry | None) -> ShardEntry:
    """Return what the header says of sorted index rows; texts may come as dictionaries."""
    return ShardEntry(
        name=name,
        source=source,
        rows=rows.num_rows,
        real_rows=int(np.count_nonzero(values_of(rows.column("origin")) == Origin.REAL)),
        amount=_total(values_of(rows.column("amount"))),
        digest=content_digest(rows),
        real_digest=real_digest(rows),
        file=file,
    )


def _total(amounts: NDArray[np.float64]) -> float:
    """Return the exact sum, rounded once; whole numbers need no care below 2^53.

    >>> _total(np.full(10, 0.1))
    1.0
    """
    total = float(amounts.sum())
    is_exact = total < LARGEST_AMOUNT and np.array_equal(amounts, np.floor(amounts))
    return total if is_exact else math.fsum(amounts)


def write_shard(shard: Shard, folder: Path) -> Shard:
    """Write the part of ``shard`` into ``folder`` unless it is there already; returns the shard as it stands there.

    A part that lies elsewhere is linked, or copied where the file system has no links.
    """
    target = folder / shard.entry.part
    if shard.table is None and shard.path is not None:
        shard.check_readable()
        _check_bytes(shard)
        if not (target.exists() and target.samefile(shard.path)):
            _link(shard.path, target)
        return replace(shard, path=target)
    data = as_parquet(shard.read())
    there = target.read_bytes() if target.is_file() else None
    if there is not None and there != data and _holds(target, shard.entry):
        data = there  # of another writer: an older header names its bytes
    elif there != data:
        write_bytes(target, data)
    entry = shard.entry.model_copy(update={"part_digest": sha256_hex([data])})
    return replace(shard, entry=entry, path=target)


def _check_bytes(shard: Shard) -> None:
    """Raise ManifestError for a part whose bytes are not those that its header names."""
    told, path = shard.entry.part_digest, shard.path
    if path is not None and told is not None and sha256_hex([path.read_bytes()]) != told:
        text = f"{path}: not the part that the header of {shard.entry.name!r} names, it was changed; restore it"
        raise ManifestError(text, path=path)


def _holds(path: Path, entry: ShardEntry) -> bool:
    """Return whether a part has the content of ``entry``."""
    try:
        return content_digest(_read_part(path)) == entry.digest
    except ManifestError:
        return False


def _link(origin: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        try:
            os.link(origin, draft)
        except OSError:  # another device, or no links there
            shutil.copyfile(origin, draft)
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)


def as_parquet(rows: pa.Table) -> bytes:
    """Return index rows as the bytes of a part."""
    sink = io.BytesIO()
    names = [*_TEXT, "amount", "origin", "evidence", "generation"]
    pq.write_table(
        rows,
        sink,
        compression=_COMPRESSION,
        use_dictionary=names,
        row_group_size=_GROUP_ROWS,
        write_statistics=["id_hi", "origin", "source"],
    )
    return sink.getvalue()


def _checked_rows(path: Path) -> int:
    """Return the rows that the footer of a part tells; raises ManifestError for other columns than an index has."""
    if not os.path.isfile(path):  # noqa: PTH113 - unlike Path.is_file it never raises
        raise missing_part(path)
    try:
        footer = pq.read_metadata(path)
        schema, n_rows = footer.schema.to_arrow_schema(), int(footer.num_rows)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise broken_part(path) from error
    _check_columns(schema, path)
    return n_rows


def _read_part(path: Path) -> pa.Table:
    _checked_rows(path)
    try:
        rows = _parquet(path)
        rows.validate(full=True)
        rows = rows.select(INDEX_SCHEMA.names).cast(INDEX_SCHEMA).combine_chunks()
    except (pa.ArrowException, OSError, ValueError) as error:
        raise broken_part(path) from error
    return _with_amounts(rows, path)


def read_again(path: Path) -> tuple[pa.Table, str]:
    """Return the index rows of a part, texts as dictionaries, and the digest of its bytes; the file is read once.

    Raises ManifestError for a part that is missing, cut or of another form.
    """
    if not os.path.isfile(path):  # noqa: PTH113 - unlike Path.is_file it never raises
        raise missing_part(path)
    try:
        data = pa.py_buffer(path.read_bytes())
        schema = pq.read_schema(pa.BufferReader(data))
    except (pa.ArrowException, OSError, ValueError) as error:
        raise broken_part(path) from error
    _check_columns(schema, path)
    try:
        rows = _parquet(pa.BufferReader(data), read_dictionary=_TEXT)
        rows.validate(full=True)
        rows = rows.select(INDEX_SCHEMA.names).cast(_CODED).unify_dictionaries().combine_chunks()
    except (pa.ArrowException, OSError, ValueError) as error:
        raise broken_part(path) from error
    return _with_amounts(rows, path), sha256_hex([data])


def _parquet(source: Any, **options: Any) -> pa.Table:
    """Return a Parquet file's rows; not by ``pq.read_table``, which imports pandas where it is installed (0.2 s)."""
    with pq.ParquetFile(source, **options) as part:
        return part.read(use_threads=False)


def _with_amounts(rows: pa.Table, path: Path) -> pa.Table:
    """Return ``rows``; raises ManifestError for amounts that are none."""
    if not_amounts(values_of(rows.column("amount"))).size:
        text = f"{path}: an amount is no number from 0 to 2^53, it was changed; restore it"
        raise ManifestError(text, path=path)
    return rows


def missing_part(path: str | Path) -> ManifestError:
    """Return the error of a part that is not there."""
    return ManifestError(f"{path}: no such part of the index; restore it, or write the manifest again", path=path)


def broken_part(path: str | Path) -> ManifestError:
    """Return the error of a part that Parquet cannot read."""
    text = f"{path}: not a readable Parquet file, it was cut or changed; restore it, or write the manifest again"
    return ManifestError(text, path=path)


def _check_columns(schema: pa.Schema, path: Path) -> None:
    wanted = {column.name: column.type for column in INDEX_SCHEMA}
    if len(schema) != len(wanted) or {column.name: column.type for column in schema} != wanted:
        found = ", ".join(f"{column.name} {column.type}" for column in schema)
        expected = ", ".join(f"{name} {kind}" for name, kind in wanted.items())
        raise ManifestError(f"{path}: columns are {found}; expected {expected}", path=path)
