"""A manifest as one value: header and shards; asked, verified, written and read."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from collapse_guard._atomic import write_bytes
from collapse_guard.errors import ManifestError
from collapse_guard.manifest.census import GROUPED, MAX_GROUPS, RunningCensus
from collapse_guard.manifest.describing import described
from collapse_guard.manifest.engine import connected
from collapse_guard.manifest.folders import index_folder, refuse_outside
from collapse_guard.manifest.header import Header
from collapse_guard.manifest.index import INDEX_SCHEMA, sorted_index
from collapse_guard.manifest.repeated import repeated_words
from collapse_guard.manifest.shard import Shard, entry_of, read_again, write_shard
from collapse_guard.records import Origin

if TYPE_CHECKING:
    from collections.abc import Sequence
    from os import PathLike

    import numpy as np
    from numpy.typing import NDArray

    from collapse_guard.manifest.census import Census, Sums
    from collapse_guard.manifest.engine import Limits
    from collapse_guard.manifest.header import ShardEntry


_CENSUS: Final = "_census"
_SUMS: Final = "count(*), count(*) FILTER (amount > 0), fsum(amount)"


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
        shards: its shards, in the order of the header.
    """

    header: Header
    path: Path | None
    shards: tuple[Shard, ...]

    @property
    def digest(self) -> str:
        """Digest of the content: what a child generation names as its parent."""
        return self.header.digest

    @property
    def name(self) -> str:
        """Name for people: file if there is one."""
        return str(self.path) if self.path is not None else self.header.name

    @property
    def folder(self) -> Path:
        """The folder of its parts; raises ManifestError while in memory."""
        if self.path is None:
            raise ManifestError(f"{self.name} is in memory; write it first")
        return self.path.parent / self.header.index.folder

    @property
    def index(self) -> pa.Table:
        """All index rows in memory, shard after shard; for questions at any size there is :meth:`rows_by`."""
        return pa.concat_tables([INDEX_SCHEMA.empty_table(), *(shard.read() for shard in self.shards)]).combine_chunks()

    def check_readable(self) -> None:
        """Raise ManifestError unless every part is there, whole and of the right form; reads footers only."""
        for shard in self.shards:
            shard.check_readable()

    def verify(self) -> tuple[Mismatch, ...]:
        """Return every digest that does not match, reading one shard at a time.

        What it counts on the way stays with the manifest, so that :meth:`rows_by` and its like need not read again.
        Raises ManifestError if a part cannot be read.
        """
        found: list[Mismatch] = []
        seen: list[Shard] = []
        counted = RunningCensus()
        for shard in self.shards:
            entry, rows, bytes_digest = _again(shard)
            if bytes_digest is not None and shard.entry.part_digest is not None:
                found.append(Mismatch(f"part of {shard.entry.name}", shard.entry.part_digest, bytes_digest))
            counted.add(rows)
            found += _compared(f"shard {shard.entry.name}", _figures(shard.entry), _figures(entry))
            seen.append(Shard(entry))
        census = counted.census()
        self._keep(census)
        header = _header_figures(self.header)
        found += _compared("", header, _header_figures(described(self.header, seen, census.histogram())))
        return tuple(mismatch for mismatch in found if mismatch.expected != mismatch.found)

    def _keep(self, census: Census) -> None:
        """Hold a census for questions to come; it is no field, and follows from the parts alone."""
        if census.n_groups <= MAX_GROUPS:
            self.__dict__[_CENSUS] = census

    @cached_property
    def repeated_words(self) -> NDArray[np.uint64] | None:
        """Where to look for ids that stand twice: see :func:`~collapse_guard.manifest.repeated.repeated_words`.

        Raises ManifestError for a part that cannot be read.
        """
        return repeated_words(self.shards)

    def __getstate__(self) -> dict[str, Any]:
        """Return the fields: what was counted is not sent to other processes."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def rows_by(self, *names: str, limits: Limits | None = None) -> dict[tuple[Any, ...], int]:
        """Return rows per combination of index columns, sorted."""
        return {group: rows for group, (rows, _, _) in self._counted(names, limits).items()}

    def trained_rows_by(self, *names: str, limits: Limits | None = None) -> dict[tuple[Any, ...], int]:
        """Return rows that train, those whose amount is not zero, per combination of index columns, sorted."""
        return {group: n_trained for group, (_, n_trained, _) in self._counted(names, limits).items()}

    def amount_by(self, *names: str, limits: Limits | None = None) -> dict[tuple[Any, ...], float]:
        """Return the amount per combination of index columns, in the unit of the manifest, sorted."""
        return {group: amount for group, (_, _, amount) in self._counted(names, limits).items()}

    def class_rows(
        self, origin: Origin | None = None, *, trained: bool = False, limits: Limits | None = None
    ) -> dict[str, int]:
        """Return rows per class, of one origin or of all; rows without a class are left out.

        Args:
            trained: only rows whose amount is not zero.
            limits: memory, threads and spill folder.
        """
        counted = self._counted(("class", "origin"), limits)
        rows: dict[str, int] = {}
        for (label, code), (n_rows, n_trained, _) in counted.items():
            n_counted = n_trained if trained else n_rows
            if label is not None and n_counted and (origin is None or code == int(origin)):
                rows[str(label)] = rows.get(str(label), 0) + n_counted
        return rows

    def _counted(self, names: Sequence[str], limits: Limits | None) -> dict[tuple[Any, ...], Sums]:
        """Return the sums of each group: of the census if one is held, else of the columns that are asked for."""
        unknown = [name for name in names if name not in INDEX_SCHEMA.names]
        if unknown:
            raise ManifestError(f"an index has no column {unknown[0]!r}; it has {', '.join(INDEX_SCHEMA.names)}")
        census = self.__dict__.get(_CENSUS)
        if census is not None and set(names) <= set(GROUPED):
            found = list(census.by(*names).items())
        else:
            columns = ", ".join(f'"{name}"' for name in names)
            query = f"SELECT {columns}, {_SUMS} FROM rows GROUP BY ALL"  # noqa: S608 - of our own names
            with connected(limits, rows=self) as database:
                rows = database.execute(query).fetchall()
            found = [(tuple(row[:-3]), (int(row[-3]), int(row[-2]), float(row[-1]))) for row in rows]
        return dict(sorted(found, key=lambda item: tuple(map(str, item[0]))))

    def trains_same_rows(self, other: Manifest) -> bool:
        """Return whether both train the same rows, each as often and of the same origin; classes may differ."""
        if self.header.root_digest == other.header.root_digest:
            return True
        names = ["id_hi", "id_lo", "origin", "amount"]
        order = [(name, "ascending") for name in names]
        first, second = (each.index.select(names).sort_by(order) for each in (self, other))
        return bool(first.equals(second))

    @property
    def n_rows(self) -> int:
        """Rows of the index, with those that are only retained."""
        return self.header.index.rows

    @property
    def amount(self) -> float:
        """What trains, in the unit of the manifest."""
        return math.fsum(shard.amount for shard in self.header.shards)

    def n_origin_rows(self, origin: Origin) -> int:
        """Rows of one origin."""
        if origin is Origin.REAL:
            return sum(shard.real_rows for shard in self.header.shards)
        return self.rows_by("origin").get((int(origin),), 0)

    def origin_amount(self, origin: Origin, *, limits: Limits | None = None) -> float:
        """Amount of one origin, in the unit of the manifest."""
        return self.amount_by("origin", limits=limits).get((int(origin),), 0.0)


def _again(shard: Shard) -> tuple[ShardEntry, pa.Table, str | None]:
    """Return the entry of a shard as its rows say, these rows, and the digest of the part's bytes if it has one."""
    rows, bytes_digest = (shard.read(), None) if shard.path is None else read_again(shard.path)
    names = sorted(pc.unique(rows.column("source")).to_pylist())
    if len(names) == 1:
        told = entry_of(sorted_index(rows), name=shard.entry.name, source=names[0], file=shard.entry.file)
    else:  # a part without rows or of several sources is described by what it holds
        told = shard.entry.model_copy(update={"source": ", ".join(names), "rows": rows.num_rows})
    return told, rows, bytes_digest


def _figures(entry: ShardEntry) -> dict[str, str]:
    return {key: str(value) for key, value in entry.model_dump(exclude={"file", "name", "part_digest"}).items()}


def _header_figures(header: Header) -> dict[str, str]:
    """Return every figure of a header that its shards decide, as text."""
    figures = {f"source {source.name}": source.model_dump_json() for source in header.sources}
    return figures | {
        "root": header.root_digest,
        "real root": header.real_root_digest,
        "class histogram": header.class_histogram_digest,
        "index rows": str(header.index.rows),
    }


def _compared(part: str, recorded: dict[str, str], computed: dict[str, str]) -> list[Mismatch]:
    names = [*recorded, *(name for name in computed if name not in recorded)]
    absent = "(absent)"
    return [
        Mismatch(f"{part} {name}".strip(), recorded.get(name, absent), computed.get(name, absent)) for name in names
    ]


def write_manifest(manifest: Manifest, path: str | PathLike[str]) -> Manifest:
    """Write parts and header; returns the manifest as it now stands on disk.

    The parts come first, under names made of their digests, so that an older header keeps its own. Raises ManifestError
    for a directory, a name with a backslash, and an index folder that is a link to somewhere else.
    """
    target = Path(path)
    if target.is_dir():
        raise ManifestError(f"{target} is a directory; name a file such as {target / 'manifest.cgm.json'}", path=target)
    if "\\" in target.name:
        raise ManifestError(f"{target}: a manifest's name holds no backslash; name another file", path=target)
    folder = index_folder(target)
    refuse_outside(folder)
    shards = tuple(write_shard(shard, folder) for shard in manifest.shards)
    index = manifest.header.index.model_copy(update={"folder": folder.name})
    entries = tuple(shard.entry for shard in shards)
    header = manifest.header.model_copy(update={"index": index, "shards": entries})
    write_bytes(target, header.as_json())
    return Manifest(header, target, shards)


def load_manifest(path: str | PathLike[str]) -> Manifest:
    """Return the manifest whose header is at ``path``; parts are read when first asked for.

    Raises ManifestError for a missing file, a directory, a header that this version cannot read, or an index folder
    that is a link to somewhere else.
    """
    target = Path(path)
    header = Header.from_json(header_bytes(target), path=str(target))
    folder = target.parent / header.index.folder
    refuse_outside(folder)
    return Manifest(header, target, tuple(Shard(entry, None, folder / entry.part) for entry in header.shards))


def header_bytes(path: Path) -> bytes:
    """Return the bytes of a header file; raises ManifestError for a file that is missing or cannot be read."""
    if os.path.isdir(path):  # noqa: PTH112 - unlike Path.is_dir it never raises
        raise ManifestError(f"{path}: is a directory; name the manifest file (*.cgm.json) in it", path=path)
    if os.path.exists(path) and not os.path.isfile(path):  # noqa: PTH110, PTH113 - as above
        raise ManifestError(f"{path}: is no file but a device or a pipe; name the manifest (*.cgm.json)", path=path)
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise ManifestError(f"{path}: no such file; write the manifest first or name another", path=path) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ManifestError(f"{path}: cannot be read: {reason}", path=path) from None
