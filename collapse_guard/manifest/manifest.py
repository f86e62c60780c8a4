"""A manifest as one value: header and index, built from tagged rows, written and read whole."""

from __future__ import annotations

import datetime as dt
import os
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from collapse_guard._atomic import write_bytes
from collapse_guard.errors import ManifestError
from collapse_guard.kernels import sha256_hex
from collapse_guard.manifest.header import FilterReceipt, Header, IndexEntry, ParentLink, ShardEntry, SourceEntry
from collapse_guard.manifest.index import (
    INDEX_SCHEMA,
    as_parquet,
    content_digest,
    histogram_digest,
    index_of,
    origin_name,
    root_digest,
    shards,
)
from collapse_guard.records import UNKNOWN_GENERATION, Origin

if TYPE_CHECKING:
    from collections.abc import Sequence
    from os import PathLike


MAX_GENERATION: Final = UNKNOWN_GENERATION - 1


@dataclass(frozen=True, slots=True)
class Mismatch:
    """A digest that the content does not bear out."""

    part: str
    expected: str
    found: str


@dataclass(frozen=True)
class Manifest:
    """What went into a training set.

    Args:
        header: the checked JSON header.
        path: the header file, None while in memory.
        table: the index while in memory; read from beside the header otherwise.
    """

    header: Header
    path: Path | None = None
    table: pa.Table | None = field(default=None, repr=False, compare=False)

    @property
    def digest(self) -> str:
        """Digest of the content: what a child generation names as its parent."""
        return self.header.digest

    @property
    def name(self) -> str:
        """Name for people: file if there is one."""
        return str(self.path) if self.path is not None else self.header.name

    @cached_property
    def index(self) -> pa.Table:
        """One row per training row; raises ManifestError if the file cannot be read or has other columns."""
        if self.table is not None:
            return self.table
        return _read_index(self._index_path())

    def _index_path(self) -> Path:
        if self.path is None:
            raise ManifestError(f"manifest {self.header.name!r} has neither a table nor a file")
        return self.path.parent / self.header.index.path

    def verify(self) -> tuple[Mismatch, ...]:
        """Return every digest that does not match; raises ManifestError if the index cannot be read."""
        header = self.header
        found: list[Mismatch] = []
        if self.table is None:
            found.append(Mismatch("index file", header.index.digest, sha256_hex([_read_bytes(self._index_path())])))
        index = self.index
        parts = list(shards(index))
        sources, entries = _described(parts)
        found.append(Mismatch("index rows", str(header.index.rows), str(index.num_rows)))
        found.append(Mismatch("index content", header.index.content_digest, content_digest(index)))
        found.append(Mismatch("class histogram", header.class_histogram_digest, histogram_digest(index)))
        found += _compared("shard", {e.source: e.digest for e in header.shards}, {e.source: e.digest for e in entries})
        found += _compared("shard entry", _shown(header.shards), _shown(entries))
        found += _compared("source", _shown(header.sources), _shown(sources))
        found.append(Mismatch("root", header.root_digest, root_digest([digest for _, _, digest in parts])))
        return tuple(mismatch for mismatch in found if mismatch.expected != mismatch.found)

    def class_rows(self, origin: Origin | None = None) -> dict[str, int]:
        """Return rows per class, of one origin or of all; rows without a class are left out."""
        index = self.index if origin is None else self.index.filter(pc.equal(self.index.column("origin"), int(origin)))
        counted = index.column("class").drop_null().value_counts().to_pylist()
        return {str(entry["values"]): int(entry["counts"]) for entry in counted}

    def rows_by(self, *names: str) -> dict[tuple[Any, ...], int]:
        """Return rows per combination of index columns, sorted."""
        grouped = self.index.group_by(list(names)).aggregate([([], "count_all")]).to_pylist()
        counted = {tuple(group[name] for name in names): int(group["count_all"]) for group in grouped}
        return dict(sorted(counted.items(), key=lambda item: tuple(map(str, item[0]))))

    @property
    def n_rows(self) -> int:
        """Rows of the training set."""
        return self.header.index.rows

    def n_origin_rows(self, origin: Origin) -> int:
        """Rows of one origin."""
        return self.rows_by("origin").get((int(origin),), 0)


def build_manifest(
    rows: pa.Table,
    *,
    name: str,
    generation: int,
    class_column: str | None,
    parents: Sequence[ParentLink] = (),
    filters: Sequence[FilterReceipt] = (),
    policy_digest: str | None = None,
) -> Manifest:
    """Return the manifest of tagged training ``rows``, in memory.

    Raises ManifestError for no rows, ProvenanceError for rows that are not tagged.
    """
    if rows.num_rows == 0:
        raise ManifestError("a manifest needs rows, got none; add a source first")
    if not 0 <= generation <= MAX_GENERATION:
        raise ManifestError(f"generation must be 0 to {MAX_GENERATION}, got {generation}")
    index = index_of(rows, class_column=class_column)
    parts = list(shards(index))
    sources, entries = _described(parts)
    header = Header(
        name=name,
        generation=generation,
        created=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        tool=f"collapse-guard {version('collapse-guard')}",
        policy_digest=policy_digest,
        parents=tuple(parents),
        sources=sources,
        shards=entries,
        root_digest=root_digest([digest for _, _, digest in parts]),
        class_histogram_digest=histogram_digest(index),
        index=IndexEntry(
            path="unwritten.parquet",
            digest=sha256_hex([]),
            content_digest=content_digest(index),
            rows=index.num_rows,
        ),
        filters=tuple(filters),
    )
    return Manifest(header, None, index)


def _described(parts: list[tuple[str, pa.Table, str]]) -> tuple[tuple[SourceEntry, ...], tuple[ShardEntry, ...]]:
    """Return the header's entries of sources and of shards."""
    entries = tuple(
        ShardEntry(name=f"{source}#0", source=source, rows=part.num_rows, digest=digest)
        for source, part, digest in parts
    )
    return tuple(_source(source, part, digest) for source, part, digest in parts), entries


def _shown(entries: Sequence[SourceEntry | ShardEntry]) -> dict[str, str]:
    """Return each entry as text, by its name."""
    return {entry.name: entry.model_dump_json() for entry in entries}


def _compared(part: str, recorded: dict[str, str], computed: dict[str, str]) -> list[Mismatch]:
    names = sorted(recorded.keys() | computed.keys())
    absent = "(absent)"
    return [Mismatch(f"{part} {name}", recorded.get(name, absent), computed.get(name, absent)) for name in names]


def _source(source: str, part: pa.Table, digest: str) -> SourceEntry:
    origins = {origin_name(code) for code in pc.unique(part.column("origin")).to_pylist()}
    generators = sorted(pc.unique(part.column("generator").drop_null()).to_pylist())
    return SourceEntry(
        name=source,
        origin=origins.pop() if len(origins) == 1 else Origin.MIXED.name.lower(),
        generators=tuple(generators),
        rows=part.num_rows,
        root_digest=root_digest([digest]),
    )


def write_manifest(manifest: Manifest, path: str | PathLike[str]) -> Manifest:
    """Write header and index; returns the manifest as it now stands on disk.

    The index comes first, under a name that holds its digest, so that an older header keeps its own index.
    """
    target = Path(path)
    if target.is_dir():
        raise ManifestError(f"{target} is a directory; name a file such as {target / 'manifest.cgm.json'}", path=target)
    if "\\" in target.name:
        raise ManifestError(f"{target}: a manifest's name holds no backslash; name another file", path=target)
    data = as_parquet(manifest.index)
    stem = target.name.removesuffix(".json").removesuffix(".cgm")
    entry = manifest.header.index.model_copy(
        update={
            "path": f"{stem}.{sha256_hex([data])[7:19]}.parquet",
            "digest": sha256_hex([data]),
        }
    )
    header = manifest.header.model_copy(update={"index": entry})
    write_bytes(target.parent / entry.path, data)
    write_bytes(target, header.as_json())
    return Manifest(header, target, manifest.index)


def load_manifest(path: str | PathLike[str]) -> Manifest:
    """Return the manifest whose header is at ``path``; the index is read when first asked for.

    Raises ManifestError for a missing file, a directory, or a header that this version cannot read.
    """
    target = Path(path)
    return Manifest(Header.from_json(_read_bytes(target), path=str(target)), target)


def _read_bytes(path: Path) -> bytes:
    if os.path.isdir(path):  # noqa: PTH112 - unlike Path.is_dir it never raises
        raise ManifestError(f"{path}: is a directory; name the manifest file (*.cgm.json) in it", path=path)
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise ManifestError(f"{path}: no such file; write the manifest first or name another", path=path) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ManifestError(f"{path}: cannot be read: {reason}", path=path) from None


def _read_index(path: Path) -> pa.Table:
    _read_bytes(path)
    try:
        index = pq.read_table(path, partitioning=None)
        index.validate(full=True)
    except (pa.ArrowException, OSError, UnicodeDecodeError):
        text = f"{path}: not a readable Parquet file, it was cut or changed; restore it, or write the manifest again"
        raise ManifestError(text, path=path) from None
    if sorted(index.schema.names) != sorted(INDEX_SCHEMA.names):
        wanted = ", ".join(INDEX_SCHEMA.names)
        raise ManifestError(f"{path}: columns are {', '.join(index.schema.names)}; expected {wanted}", path=path)
    try:
        return index.select(INDEX_SCHEMA.names).cast(INDEX_SCHEMA).combine_chunks()
    except (pa.ArrowException, ValueError) as error:
        raise ManifestError(f"{path}: {str(error).splitlines()[0]}; write the manifest again", path=path) from None
