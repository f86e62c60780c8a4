"""The files behind a manifest, as exports list them: header, index parts, data files."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from collapse_guard.errors import ManifestError

if TYPE_CHECKING:
    from pathlib import Path

    from collapse_guard.manifest import Manifest
    from collapse_guard.manifest.header import FileEntry, Header


@dataclass(frozen=True, slots=True)
class PartEntry:
    """An index part, as the header lists it.

    Args:
        name: path relative to the folder of the header, with ``/``.
        sha256: hexadecimal digest of its bytes.
        bytes: its size, None where the part is stored elsewhere.
    """

    name: str
    sha256: str
    bytes: int | None


@dataclass(frozen=True, slots=True)
class DataFileEntry:
    """A data file that shards were read from, with their sources."""

    file: FileEntry
    sources: tuple[str, ...]


def hex_digest(path: Path, algorithm: str) -> str:
    """Return the digest of a file's bytes; raises ManifestError for one that cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, lambda: hashlib.new(algorithm, usedforsecurity=False)).hexdigest()
    except OSError as error:
        text = f"{path}: cannot be read: {error.strerror or error}; restore it, or write the manifest again"
        raise ManifestError(text, path=path) from None


def part_entries(manifest: Manifest) -> tuple[PartEntry, ...]:
    """Return the index parts of a manifest on disk, each once; one is only read if the header has no digest of it."""
    folder = path_of(manifest).parent
    found: dict[str, PartEntry] = {}
    for shard in manifest.shards:
        if shard.path is not None:
            name = shard.path.relative_to(folder).as_posix()
            digest = shard.entry.part_digest
            sha256 = hex_digest(shard.path, "sha256") if digest is None else digest.removeprefix("sha256:")
            found[name] = PartEntry(name, sha256, shard.path.stat().st_size if shard.path.is_file() else None)
    return tuple(found[name] for name in sorted(found))


def path_of(manifest: Manifest) -> Path:
    """Return where the header lies; raises ManifestError for a manifest that is not on disk."""
    if manifest.path is None:
        raise ManifestError("the manifest is in memory alone; write it first (write_manifest), then export it")
    return manifest.path


def data_file_entries(header: Header) -> tuple[DataFileEntry, ...]:
    """Return the data files that the shards name, each once, sorted by path."""
    sources: dict[tuple[str, str], set[str]] = {}
    files: dict[tuple[str, str], FileEntry] = {}
    for shard in header.shards:
        if shard.file is not None:
            key = (shard.file.path, shard.file.digest)
            files.setdefault(key, shard.file)
            sources.setdefault(key, set()).add(shard.source)
    return tuple(DataFileEntry(files[key], tuple(sorted(sources[key]))) for key in sorted(files))
