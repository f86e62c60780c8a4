"""The generations behind a manifest: headers that name each other's digests, found on disk."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from collapse_guard.errors import ManifestError
from collapse_guard.manifest.figures import origin_rows, real_share, real_sources
from collapse_guard.manifest.manifest import load_manifest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from os import PathLike

    from collapse_guard.manifest.header import Header, ParentLink

PATTERN: Final = "*.cgm.json"


@dataclass(frozen=True, slots=True)
class Link:
    """One generation of a chain.

    Args:
        header: its header.
        path: where it lies.
        missing: parents that it names and that were found nowhere.
        new_real_sources: sources of real rows that no parent has; none if a parent is missing.
        lost_real_sources: sources of real rows that a parent has.
    """

    header: Header
    path: Path
    missing: tuple[ParentLink, ...] = ()
    new_real_sources: tuple[str, ...] = ()
    lost_real_sources: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, object]:
        """Return plain values."""
        header = self.header
        return {
            "generation": header.generation,
            "name": header.name,
            "path": str(self.path),
            "created": header.created,
            "rows": header.index.rows,
            "origin_rows": origin_rows(header),
            "real_share": real_share(header),
            "new_real_sources": list(self.new_real_sources),
            "lost_real_sources": list(self.lost_real_sources),
            "digest": header.digest,
            "parents": [parent.model_dump(mode="json") for parent in header.parents],
            "missing_parents": [parent.model_dump(mode="json") for parent in self.missing],
        }


def chain_of(manifest: str | PathLike[str], folders: Sequence[str | PathLike[str]] = ()) -> tuple[Link, ...]:
    """Return a manifest and all its ancestors that are found, oldest first; headers alone are read.

    Args:
        manifest: the header file to start from.
        folders: where to look for ``*.cgm.json`` beside its own folder and the folders next to it.

    Raises ManifestError for a manifest that cannot be read, and for generations that name each other in a circle.
    """
    start = Path(manifest)
    header = load_manifest(start).header
    found = _headers(_searched(start, folders))
    found[header.digest] = (header, start)
    order = ancestry(header.digest, {digest: _parent_digests(known) for digest, (known, _) in found.items()})
    return tuple(_link(*found[digest], found) for digest in order)


def ancestry(start: str, parents: Mapping[str, Sequence[str]]) -> list[str]:
    """Return ``start`` and its ancestors, every one after all its parents; parents that are not known are left out.

    Raises ManifestError for a circle.

    >>> ancestry("c", {"c": ["b", "a"], "b": ["a"], "a": ["gone"]})
    ['a', 'b', 'c']
    """
    order: dict[str, None] = {}
    open_now: set[str] = set()
    todo = [(start, False)]
    while todo:
        digest, is_done = todo.pop()
        if is_done:
            open_now.discard(digest)
            order[digest] = None
        elif digest in open_now:
            raise ManifestError(f"{digest} is its own ancestor; a manifest was changed by hand, restore it")
        elif digest not in order and digest in parents:
            open_now.add(digest)
            todo.append((digest, True))
            todo += [(parent, False) for parent in reversed(parents[digest]) if parent in parents]
    return list(order)


def _parent_digests(header: Header) -> tuple[str, ...]:
    return tuple(parent.digest for parent in header.parents)


def _searched(start: Path, folders: Iterable[str | PathLike[str]]) -> Iterator[Path]:
    own = start.resolve().parent
    yield own
    yield from sorted(path for path in own.parent.iterdir() if path.is_dir() and path != own)
    for folder in folders:
        if not Path(folder).is_dir():
            raise ManifestError(
                f"{folder}: no such folder; name one that holds manifests ({PATTERN})", path=str(folder)
            )
        yield Path(folder)


def _headers(folders: Iterable[Path]) -> dict[str, tuple[Header, Path]]:
    """Return the headers of folders by digest, the first one found of each; files that are no headers are passed by."""
    found: dict[str, tuple[Header, Path]] = {}
    for folder in folders:
        for path in _listed(folder):
            try:
                header = load_manifest(path).header
            except ManifestError:
                continue  # of another version, or no manifest: if it was a parent, the chain says that it is missing
            found.setdefault(header.digest, (header, path))
    return found


def _listed(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.glob(PATTERN) if path.is_file())
    except OSError:  # a neighbouring folder that may not be read
        return []


def _link(header: Header, path: Path, found: Mapping[str, tuple[Header, Path]]) -> Link:
    """Return a generation with what it lacks; sources are new only if every parent is there to be asked."""
    missing = tuple(parent for parent in header.parents if parent.digest not in found)
    parents = [found[parent.digest][0] for parent in header.parents if parent.digest in found]
    now = real_sources(header)
    before: frozenset[str] = frozenset().union(*map(real_sources, parents))
    new = frozenset() if missing else now - before
    return Link(header, path, missing, tuple(sorted(new)), tuple(sorted(before - now)))
