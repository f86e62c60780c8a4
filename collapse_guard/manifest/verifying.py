"""Is everything that a manifest names still there and unchanged: its parts, and the data files it was made from?"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

from collapse_guard.errors import ManifestError
from collapse_guard.readers import DataFile, data_files

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from os import PathLike

    from collapse_guard.manifest.header import FileEntry
    from collapse_guard.manifest.manifest import Manifest, Mismatch


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
    """

    mismatches: tuple[Mismatch, ...]
    files: tuple[FileFault, ...] = ()
    n_files: int = 0
    n_bytes: int = 0

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
        }


def verify_manifest(
    manifest: Manifest,
    data: str | PathLike[str] | Sequence[str | PathLike[str]] | None = None,
    *,
    seen: Callable[[int], object] | None = None,
) -> Verification:
    """Recompute every digest of a manifest and, with ``data``, of the files it was made from.

    Args:
        manifest: what is verified; every part is read.
        data: the folder, files or URL that were inventoried; a file whose size already differs is not read.
        seen: told the bytes of each data file that was read.

    Raises ManifestError for a part that cannot be read and, with ``data``, for a manifest that names no data files;
    InputError for data that cannot be read.
    """
    mismatches = manifest.verify()
    if data is None:
        return Verification(mismatches)
    named = named_files(manifest)
    if not named:
        text = f"{manifest.name} names no data files, as it was not made from any; verify it without data"
        raise ManifestError(text, path=manifest.path)
    found = {file.path: file for file in data_files(data)}
    reader = _Reader(seen)
    faults = [fault for path, entry in named.items() if (fault := _compared(path, entry, found, reader)) is not None]
    faults = _with_renames(faults, named, found, reader)
    return Verification(mismatches, tuple(faults), len(named), reader.n_bytes)


def named_files(manifest: Manifest) -> dict[str, FileEntry]:
    """Return the data files that the shards name, by path, each once.

    Raises ManifestError for a path that stands for two contents, as after a merge of manifests of several folders.
    """
    named: dict[str, FileEntry] = {}
    for shard in manifest.header.shards:
        if shard.file is not None:
            first = named.setdefault(shard.file.path, shard.file)
            if first.digest != shard.file.digest:
                text = f"{manifest.name} names two data files {shard.file.path!r}; verify the manifests it was made of"
                raise ManifestError(text, path=manifest.path)
    return dict(sorted(named.items()))


class _Reader:
    """Digests of data files, each read once."""

    def __init__(self, seen: Callable[[int], object] | None) -> None:
        self.n_bytes, self.seen, self.known = 0, seen, dict[str, str]()

    def digest(self, file: DataFile) -> str:
        if file.path not in self.known:
            self.known[file.path] = file.digest()
            self.n_bytes += file.n_bytes
            if self.seen is not None:
                self.seen(file.n_bytes)
        return self.known[file.path]


def _compared(path: str, entry: FileEntry, found: dict[str, DataFile], reader: _Reader) -> FileFault | None:
    if path not in found:
        return FileFault(path, Fault.MISSING)
    file = found[path]
    if file.n_bytes != entry.bytes:
        fault = Fault.TRUNCATED if file.n_bytes < entry.bytes else Fault.CHANGED
        return FileFault(path, fault, f"{file.n_bytes} bytes, {entry.bytes} when the manifest was written")
    return None if reader.digest(file) == entry.digest else FileFault(path, Fault.CHANGED, "other bytes, same size")


def _with_renames(
    faults: Sequence[FileFault], named: dict[str, FileEntry], found: dict[str, DataFile], reader: _Reader
) -> list[FileFault]:
    """Return faults with missing files found again under another name, and extra files added.

    An extra file is only read if one of its size is missing.
    """
    extra = {path: file for path, file in sorted(found.items()) if path not in named}
    settled = []
    for fault in faults:
        new = _renamed(named[fault.path], extra, reader) if fault.fault is Fault.MISSING else None
        if new is None:
            settled.append(fault)
        else:
            del extra[new]
            settled.append(FileFault(fault.path, Fault.RENAMED, f"now {new}"))
    return settled + [FileFault(path, Fault.EXTRA, f"{file.n_bytes} bytes") for path, file in extra.items()]


def _renamed(entry: FileEntry, extra: dict[str, DataFile], reader: _Reader) -> str | None:
    alike = (path for path, file in extra.items() if file.n_bytes == entry.bytes)
    return next((path for path in alike if reader.digest(extra[path]) == entry.digest), None)
