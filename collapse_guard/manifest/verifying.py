"""Is everything that a manifest names still there and unchanged: its parts, and the data files it was made from?"""

from __future__ import annotations

import itertools
import os
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import Enum
from os import PathLike
from typing import TYPE_CHECKING, Any

from collapse_guard.errors import InputError, ManifestError
from collapse_guard.manifest.parts import unnamed_parts
from collapse_guard.readers import DataFile, data_files

if TYPE_CHECKING:
    from collections.abc import Callable

    from collapse_guard.manifest.header import FileEntry
    from collapse_guard.manifest.manifest import Manifest, Mismatch


#: What was inventoried: files, folders, patterns or URLs.
Data = str | PathLike[str] | Sequence[str | PathLike[str]]


class Fault(Enum):
    """What became of a data file."""

    MISSING = "missing"
    TRUNCATED = "truncated"
    CHANGED = "changed"
    RENAMED = "renamed"
    EXTRA = "extra"


@dataclass(frozen=True, slots=True)
class FileFault:
    """One data file that is not as the manifest says.

    Args:
        path: as the manifest names it; of an extra file as it is found.
        fault: missing, truncated (fewer bytes), changed (other bytes), renamed (the same bytes under another name),
            or extra (found, and named by no shard).
        detail: sizes or the new name.
    """

    path: str
    fault: Fault
    detail: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self) | {"fault": self.fault.value}


@dataclass(frozen=True, slots=True)
class Verification:
    """What was compared, and what differs.

    Args:
        mismatches: digests of the header that its parts do not bear out.
        files: data files that are not as they were.
        n_files: data files that the manifest names; 0 if no data was given.
        n_bytes: bytes of data that were read.
        empty_files: data files without a row, which no shard can name; no fault.
        unnamed_parts: parts in the index folder that no manifest names, as a write that was killed leaves them; no
            fault.
    """

    mismatches: tuple[Mismatch, ...]
    files: tuple[FileFault, ...] = ()
    n_files: int = 0
    n_bytes: int = 0
    empty_files: tuple[str, ...] = ()
    unnamed_parts: tuple[str, ...] = ()

    @property
    def holds(self) -> bool:
        """Whether nothing differs."""
        return not self.mismatches and not self.files

    def as_dict(self) -> dict[str, Any]:
        """Return plain values."""
        mismatches = [{"part": each.part, "expected": each.expected, "found": each.found} for each in self.mismatches]
        return {
            "holds": self.holds,
            "mismatches": mismatches,
            "files": [fault.as_dict() for fault in self.files],
            "n_files": self.n_files,
            "n_bytes": self.n_bytes,
            "empty_files": list(self.empty_files),
            "unnamed_parts": list(self.unnamed_parts),
        }


def verify_manifest(
    manifest: Manifest,
    data: Data | None = None,
    *,
    seen: Callable[[int], object] | None = None,
) -> Verification:
    """Recompute every digest of a manifest and, with ``data``, of the files it was made from.

    Args:
        manifest: what is verified; every part is read.
        data: what was inventoried: a folder, files or a URL. Of a manifest that was merged from inventories of several
            folders, all of them. A file whose size already differs is not read.
        seen: told the bytes of each data file that was read.

    Raises ManifestError for a part that cannot be read and, with ``data``, for a manifest that names no data files, or
    two of one path where one folder was given; InputError for data that cannot be read.
    """
    mismatches = manifest.verify()
    unnamed = (
        () if manifest.path is None else tuple(path.name for path in unnamed_parts(manifest.path, manifest.folder))
    )
    if data is None:
        return Verification(mismatches, unnamed_parts=unnamed)
    named = named_files(manifest)
    if not named:
        text = f"{manifest.name} names no data files, as it was not made from any; verify it without data"
        raise ManifestError(text, path=manifest.path)
    roots = _roots(data, named)
    if len(roots) == 1:
        _refuse_two_contents(manifest, named)
    comparison = _Comparison([file for root in roots for file in root], seen)
    faults = comparison.faults(named)
    extra, empty = comparison.left()
    return Verification(mismatches, (*faults, *extra), len(named), comparison.n_bytes, empty, unnamed)


def named_files(manifest: Manifest) -> list[FileEntry]:
    """Return the data files that the shards name, sorted by path, each content of a path once."""
    named = {(shard.file.path, shard.file.digest): shard.file for shard in manifest.header.shards if shard.file}
    return [named[key] for key in sorted(named)]


def _refuse_two_contents(manifest: Manifest, named: Sequence[FileEntry]) -> None:
    for one, two in itertools.pairwise(named):
        if one.path == two.path:
            text = f"{manifest.name} names two data files {one.path!r}, of manifests that were merged"
            raise ManifestError(f"{text}; give every folder that was inventoried (--data, again)", path=manifest.path)


def _roots(data: Data, named: Sequence[FileEntry]) -> list[list[DataFile]]:
    """Return the files that are there: of one inventory of all that was given, or of one each, as the manifest has it.

    Paths of one inventory are relative to the folder that all of ``data`` lies in, those of inventories that were
    merged each to its own.
    """
    together = data_files(data)
    items = [data] if isinstance(data, (str, os.PathLike)) else list(data)
    if len(items) == 1:
        return [together]
    apart = [data_files(item) for item in items]
    paths = {entry.path for entry in named}
    n_together = len(paths & {file.path for file in together})
    n_apart = len(paths & {file.path for root in apart for file in root})
    return apart if n_apart > n_together else [together]


class _Comparison:
    """Holds named files against those that are there; each file is read once, and stands for one name."""

    def __init__(self, found: Sequence[DataFile], seen: Callable[[int], object] | None) -> None:
        self.n_bytes, self._seen, self._known = 0, seen, dict[str, str]()
        self._left: dict[str, list[DataFile]] = defaultdict(list)
        self._sizes: dict[int, list[DataFile]] = defaultdict(list)
        for file in sorted(found, key=lambda file: file.path):
            self._left[file.path].append(file)
            self._sizes[file.n_bytes].append(file)

    def faults(self, named: Sequence[FileEntry]) -> list[FileFault]:
        """Return what became of each named file that is not as it was; those found stand for no other name."""
        other = [entry for entry in named if not self._take(entry, self._left[entry.path])]
        faults = []
        for entry in other:
            there = self._left[entry.path]
            faults.append(_changed(entry, self._without(there[0])) if there else FileFault(entry.path, Fault.MISSING))
        return [
            self._renamed(entry, fault) if fault.fault is Fault.MISSING else fault
            for entry, fault in zip(other, faults, strict=True)
        ]

    def left(self) -> tuple[list[FileFault], tuple[str, ...]]:
        """Return the files that nothing names: faults, and the paths of those without a row."""
        left = [file for _, files in sorted(self._left.items()) for file in files]
        empty = {file.url for file in left if _has_no_row(file)}
        extra = [FileFault(file.path, Fault.EXTRA, f"{file.n_bytes} bytes") for file in left if file.url not in empty]
        return extra, tuple(file.path for file in left if file.url in empty)

    def _take(self, entry: FileEntry, there: list[DataFile]) -> DataFile | None:
        """Take the first file with the bytes of ``entry`` out of what is left; only those of its size are read."""
        for file in there:
            if file.n_bytes == entry.bytes and self._digest(file) == entry.digest:
                return self._without(file)
        return None

    def _without(self, file: DataFile) -> DataFile:
        self._left[file.path].remove(file)
        self._sizes[file.n_bytes].remove(file)
        return file

    def _renamed(self, entry: FileEntry, fault: FileFault) -> FileFault:
        new = self._take(entry, self._sizes[entry.bytes])
        return fault if new is None else FileFault(entry.path, Fault.RENAMED, f"now {new.path}")

    def _digest(self, file: DataFile) -> str:
        if file.url not in self._known:
            self._known[file.url] = file.digest()
            self.n_bytes += file.n_bytes
            if self._seen is not None:
                self._seen(file.n_bytes)
        return self._known[file.url]


def _changed(entry: FileEntry, file: DataFile) -> FileFault:
    """Return what is wrong with the file that stands under the name of ``entry``."""
    if file.n_bytes == entry.bytes:
        return FileFault(entry.path, Fault.CHANGED, "other bytes, same size")
    fault = Fault.TRUNCATED if file.n_bytes < entry.bytes else Fault.CHANGED
    return FileFault(entry.path, fault, f"{file.n_bytes} bytes, {entry.bytes} when the manifest was written")


def _has_no_row(file: DataFile) -> bool:
    """Return whether a file is whole and holds no row; its first batch of rows is read."""
    if file.members:
        return False
    try:
        return not any(batch.num_rows for batch in file.batches())
    except InputError:
        return False
