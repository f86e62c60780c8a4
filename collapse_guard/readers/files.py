"""Data files: where they are, how large, and their rows; a folder of pictures or of recordings counts as one file."""

from __future__ import annotations

import hashlib
import posixpath
import shutil
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa

from collapse_guard.errors import InputError
from collapse_guard.kernels import sha256_hex
from collapse_guard.readers.tables import BATCH_BYTES, BATCH_ROWS, column_names, naming, table_batches

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

#: What a URL of this machine begins with; the path behind it stands as it is.
LOCAL: Final = "file://"
_COPY_BYTES: Final = 1 << 22
_MEDIA: Final = {"image": "image", "audio": "audio"}


@dataclass(frozen=True, slots=True)
class Member:
    """One picture or recording of a folder.

    Args:
        name: its file name.
        url: where it is.
        n_bytes: its size.
    """

    name: str
    url: str
    n_bytes: int


@dataclass(frozen=True, slots=True)
class DataFile:
    """A file of rows, or a folder of pictures or recordings; a small value that can be sent to another process.

    Args:
        path: relative POSIX path, stable between machines.
        url: where it is, for fsspec.
        kind: parquet, arrow, csv, tsv, jsonl (``.gz`` behind it if compressed), image or audio.
        n_bytes: its size; of a folder the sum of its members.
        stamp: what changes when the file does: an etag, or else the time of the last change.
        members: pictures or recordings of a folder, sorted.
        label: class of the members: the name of their folder.
    """

    path: str
    url: str
    kind: str
    n_bytes: int
    stamp: str = ""
    members: tuple[Member, ...] = ()
    label: str | None = None

    @property
    def is_local(self) -> bool:
        """Whether the file is on a disk of this machine."""
        return self.url.startswith(LOCAL)

    def batches(self, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """Yield the rows in order, at most 65536 and about 32 MiB at a time.

        Media give a column ``image`` or ``audio`` of ``{bytes, path}``, as `datasets` stores them, and ``label``.

        Raises InputError that names the file for one that is cut or of another format, and for a column it lacks.
        """
        if self.kind in _MEDIA:
            yield from self._media(columns)
            return
        with naming(self.path), _opened(self.url) as source:
            yield from table_batches(source, self.kind, self.path, columns)

    def names(self) -> list[str] | None:
        """Return the columns of a file that says so before its rows, None of one that must be read to know."""
        if self.kind not in {"parquet", "arrow"}:
            return None
        with naming(self.path), _opened(self.url) as source:
            return column_names(source, self.kind)

    def digest(self) -> str:
        """Return ``sha256:...`` over the bytes; of a folder over the names, sizes and digests of its members."""
        with naming(self.path):
            if self.kind not in _MEDIA:
                return _file_digest(self.url)
            lines = (f"{each.name}\0{each.n_bytes}\0{_file_digest(each.url)}\n" for each in self.members)
            return sha256_hex(line.encode() for line in lines)

    def fetched(self, folder: Path) -> DataFile:
        """Return the file as it is on this machine; one from elsewhere is copied into ``folder``, which reads it once.

        Folders of media stay where they are, as their members are read one by one.
        """
        if self.is_local or self.kind in _MEDIA:
            return self
        copy = folder / f"{hashlib.sha256(self.url.encode()).hexdigest()[:16]}.{self.kind}"
        with naming(self.path), _opened(self.url) as source, copy.open("wb") as target:
            shutil.copyfileobj(source, target, _COPY_BYTES)
        return replace(self, url=f"{LOCAL}{copy.resolve()}")

    def _media(self, columns: Sequence[str] | None) -> Iterator[pa.RecordBatch]:
        n_held = 0
        held: list[dict[str, Any]] = []
        for member in self.members:
            if held and (n_held + member.n_bytes > BATCH_BYTES or len(held) == BATCH_ROWS):
                yield self._media_batch(held, columns)
                n_held, held = 0, []
            with naming(posixpath.join(self.path, member.name)), _opened(member.url) as source:
                held.append({"bytes": source.read(), "path": member.name})
            n_held += member.n_bytes
        if held:
            yield self._media_batch(held, columns)

    def _media_batch(self, held: list[dict[str, Any]], columns: Sequence[str] | None) -> pa.RecordBatch:
        media = pa.array(held, pa.struct([("bytes", pa.binary()), ("path", pa.string())]))
        labels = pa.array([self.label] * len(held), pa.string())
        batch = pa.RecordBatch.from_arrays([media, labels], names=[_MEDIA[self.kind], "label"])
        return batch if columns is None else batch.select(list(columns))


def file_system(url: str) -> tuple[Any, str]:
    """Return the file system of a URL and the path on it; raises InputError for one that fsspec cannot open."""
    import fsspec  # noqa: PLC0415 - 0.1 s that reading a header need not pay

    if "::" in url:
        raise InputError(f"{url}: chained URLs are not read; unpack the archive first")
    try:
        system, path = fsspec.core.url_to_fs(url)
    except (ImportError, ValueError) as error:
        raise InputError(f"{url}: cannot be opened: {error}") from None
    return system, str(path)


@contextmanager
def _opened(url: str) -> Iterator[Any]:
    """Give a seekable binary file; one on this machine is read by Arrow itself."""
    if url.startswith(LOCAL):
        with pa.OSFile(url.removeprefix(LOCAL)) as source:
            yield source
    else:
        system, path = file_system(url)
        with system.open(path, "rb") as source:
            yield source


def _file_digest(url: str) -> str:
    with _opened(url) as source:
        return sha256_hex(iter(lambda: source.read(_COPY_BYTES), b""))
