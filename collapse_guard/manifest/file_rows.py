"""The rows of one data file -> shards of the index, written as they come."""

from __future__ import annotations

import json
import posixpath
import tempfile
from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from collapse_guard.errors import InputError, ProvenanceError
from collapse_guard.identity import content_ids
from collapse_guard.manifest.header import FileEntry, ShardEntry
from collapse_guard.manifest.index import SHARD_ROWS, Histogram, index_of
from collapse_guard.manifest.kinds import kind_of
from collapse_guard.manifest.shard import Shard, shard_of, write_shard
from collapse_guard.plugins import nearest
from collapse_guard.readers import TOKENS_COLUMN, WEIGHT_COLUMN, amounts
from collapse_guard.readers.decode import picture_digest, sound_digest
from collapse_guard.records import AMOUNT, DATE, EVIDENCE, GENERATION, GENERATOR, ID, ORIGIN, SOURCE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from collapse_guard.identity import IdRule
    from collapse_guard.manifest.header import Unit
    from collapse_guard.manifest.kinds import Kind
    from collapse_guard.readers import DataFile
    from collapse_guard.sources import Tag

_TAGS: Final = (SOURCE, ORIGIN, EVIDENCE, GENERATION, GENERATOR)
#: Rows that wait for their shard, over all sources of a file, at most.
_WAITING_ROWS: Final = 2 * SHARD_ROWS


@dataclass(frozen=True, slots=True)
class Reading:
    """How rows of data become rows of an index; a plain value that is sent to other processes.

    Args:
        tag: provenance of rows that carry none.
        id_rule: what makes two rows the same.
        class_column: the column that holds the class, None for no classes.
        unit: what amounts are counted in.
        unit_column: where they are read from.
        keep_ids: whether a ``cg_id`` that the rows carry is taken as it is.
    """

    tag: Tag
    id_rule: IdRule
    class_column: str | None = None
    unit: Unit = "rows"
    unit_column: str | None = None
    keep_ids: bool = False


@dataclass(frozen=True, slots=True)
class FileShards:
    """What became of one data file.

    Args:
        shards: its shards, as they stand in the index folder.
        kinds: kind of value of each content column, to compare files by.
    """

    shards: tuple[Shard, ...]
    kinds: dict[str, Kind]

    @property
    def n_rows(self) -> int:
        """Rows of the file."""
        return sum(shard.entry.rows for shard in self.shards)

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for a journal."""
        counts = [[[*group, rows] for group, rows in shard.histogram().items()] for shard in self.shards]
        entries = [shard.entry.model_dump(mode="json") for shard in self.shards]
        return {"shards": entries, "counts": counts, "kinds": self.kinds}

    @classmethod
    def from_dict(cls, plain: dict[str, Any], folder: Path) -> FileShards:
        """Return what :meth:`as_dict` wrote; raises ManifestError if a part is no longer whole."""
        shards = []
        for written, counted in zip(plain["shards"], plain["counts"], strict=True):
            entry = ShardEntry.model_validate_json(json.dumps(written))
            counts = Histogram({tuple(group): rows for *group, rows in counted})
            shards.append(Shard(entry, None, folder / entry.part, counts))
            shards[-1].check_readable()
        return cls(tuple(shards), plain["kinds"])


def file_shards(
    file: DataFile, reading: Reading, folder: Path, seen: Callable[[int], object] | None = None
) -> FileShards:
    """Read a data file once, and write the parts of its shards into ``folder``.

    Args:
        file: the data file.
        reading: how its rows are read.
        folder: the index folder.
        seen: told the rows of each batch.

    Raises InputError and ProvenanceError that name the file.
    """
    with tempfile.TemporaryDirectory(prefix="collapse-guard-") as scratch:
        here = file.fetched(Path(scratch))
        sink = _Sink(FileEntry(path=file.path, bytes=file.n_bytes, digest=here.digest()), folder)
        kinds: dict[str, Kind] = {}
        n_rows = n_wrong = 0
        for batch in here.batches(_columns(here, reading)):
            try:
                index, wrong = _index(batch, reading)
            except (InputError, pa.ArrowException) as error:
                refuse_broken(file, n_rows, batch, reading.id_rule)
                raise ProvenanceError(f"{file.path}: {str(error).splitlines()[0]}") from None
            kinds = kinds or {
                field.name: kind_of(field.type) for field in batch.schema if not field.name.startswith("cg_")
            }
            n_wrong += wrong
            n_rows += batch.num_rows
            if not n_wrong:
                sink.add(index)
            if seen is not None:
                seen(batch.num_rows)
        if n_wrong:
            text = f"{file.path}: {n_wrong} of {n_rows} rows whose cg_id is not the id of their content"
            raise ProvenanceError(f"{text} ({reading.id_rule.name}); tag them again, or keep the ids (--keep-ids)")
        return FileShards(tuple(sink.finished()), kinds)


def refuse_broken(file: DataFile, n_before: int, batch: pa.RecordBatch, rule: IdRule) -> None:
    """Raise ProvenanceError that names the first picture or recording that cannot be decoded, if there is one.

    Args:
        file: the folder.
        n_before: its members before the batch.
        batch: rows of ``{bytes, path}``.
        rule: what ids are made over.
    """
    decode = {"pixels": picture_digest, "samples": sound_digest}.get(rule.kind)
    if decode is None or not file.members:
        return
    for member, media in zip(file.members[n_before:], batch.column(0), strict=False):
        try:
            decode(media["bytes"].as_py())
        except InputError as error:
            name = posixpath.join(file.path, member.name)
            raise ProvenanceError(f"{name} {error}; drop it, or use the id rule 'bytes'") from None


def _columns(file: DataFile, reading: Reading) -> list[str] | None:
    """Return the columns to read, None for all."""
    if not reading.id_rule.columns or (reading.unit == "bytes" and reading.unit_column is None):
        return None
    there = file.names()
    if there is None:
        return None
    unit = reading.unit_column or {"tokens": TOKENS_COLUMN, "weight": WEIGHT_COLUMN}.get(reading.unit)
    wanted = {*reading.id_rule.columns, reading.class_column, unit, *_TAGS, ID}
    return [name for name in there if name in wanted]


def _index(batch: pa.RecordBatch, reading: Reading) -> tuple[pa.Table, int]:
    """Return the index rows of a batch, and how many carry another id than that of their content."""
    names = batch.schema.names
    given = ID in names
    columns = _tags(batch, reading.tag)
    n_wrong = 0
    if given and reading.keep_ids:
        columns[ID] = batch.column(ID)
    else:
        columns[ID] = content_ids(batch, reading.id_rule)
    if given and not reading.keep_ids:
        same = pc.equal(batch.column(ID).cast(pa.binary()), columns[ID].cast(pa.binary()))
        n_wrong = batch.num_rows - int(pc.sum(same, min_count=0).as_py())
    if reading.class_column is not None:
        if reading.class_column not in names:
            text = f"no class column {reading.class_column!r}"
            raise ProvenanceError(f"{text}; {nearest(reading.class_column, names)}")
        if names.count(reading.class_column) > 1:
            raise ProvenanceError(f"{names.count(reading.class_column)} columns are called {reading.class_column!r}")
        columns[reading.class_column] = batch.column(reading.class_column)
    columns[AMOUNT] = pa.array(amounts(batch, reading.unit, reading.unit_column))
    return index_of(pa.table(columns), class_column=reading.class_column), n_wrong


def _tags(batch: pa.RecordBatch, tag: Tag) -> dict[str, pa.Array]:
    """Return the tags of the rows: their own if they carry any, else those of ``tag``."""
    own = [name for name in (*_TAGS, DATE) if name in batch.schema.names]
    if own:
        missing = [name for name in _TAGS if name not in own]
        if missing:
            text = f"rows carry {', '.join(own)} and lack {', '.join(missing)}"
            raise ProvenanceError(f"{text}; tag them whole, or drop their cg_ columns")
        return {name: batch.column(name) for name in _TAGS}
    values: dict[str, tuple[Any, pa.DataType]] = {
        SOURCE: (tag.source, pa.string()),
        ORIGIN: (int(tag.origin), pa.uint8()),
        EVIDENCE: (int(tag.evidence), pa.uint8()),
        GENERATION: (tag.generation, pa.uint8()),
        GENERATOR: (tag.generator, pa.string()),
    }
    return {name: pa.repeat(pa.scalar(value, kind), batch.num_rows) for name, (value, kind) in values.items()}


class _Sink:
    """Gathers index rows by source, and writes a shard when one is full.

    Args:
        file: the data file, as the header names it.
        folder: the index folder.
    """

    def __init__(self, file: FileEntry, folder: Path) -> None:
        self._file, self._folder = file, folder
        self._waiting: dict[str, list[pa.Table]] = defaultdict(list)
        self._n_waiting: dict[str, int] = defaultdict(int)
        self._first: dict[str, int] = {}
        self._done: list[Shard] = []
        self._n_rows = 0

    def add(self, index: pa.Table) -> None:
        for source, part in _by_source(index):
            self._first.setdefault(source, self._n_rows)
            self._waiting[source].append(part)
            self._n_waiting[source] += part.num_rows
            while self._n_waiting[source] >= SHARD_ROWS:
                self._write(source)
        self._n_rows += index.num_rows
        while sum(self._n_waiting.values()) > _WAITING_ROWS:
            self._write(max(self._n_waiting, key=self._n_waiting.__getitem__))

    def finished(self) -> list[Shard]:
        for source in list(self._waiting):
            if self._n_waiting[source]:
                self._write(source)
        return self._done

    def _write(self, source: str) -> None:
        """Write the rows of a source that wait, up to a full shard."""
        rows = pa.concat_tables(self._waiting.pop(source)).combine_chunks()
        n_waiting, first = self._n_waiting.pop(source), self._first.pop(source)
        file = self._file.model_copy(update={"first_row": first})
        name = f"{source}/{file.path}#{len(self._done)}"
        shard = write_shard(shard_of(rows.slice(0, SHARD_ROWS), name=name, file=file), self._folder)
        self._done.append(replace(shard, table=None))
        if n_waiting > SHARD_ROWS:
            rest = rows.take(pa.array(range(SHARD_ROWS, n_waiting)))  # a slice would keep all rows in memory
            self._waiting[source], self._n_waiting[source] = [rest], rest.num_rows
            self._first[source] = first + SHARD_ROWS


def _by_source(index: pa.Table) -> Iterator[tuple[str, pa.Table]]:
    sources = pc.unique(index.column("source")).to_pylist()
    for source in sources:
        yield source, index if len(sources) == 1 else index.filter(pc.equal(index.column("source"), source))
