"""Parts that no manifest names any more: found, and removed when asked."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from collapse_guard.manifest.writer import only_writer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_PART: Final = re.compile(r"[0-9a-f]{64}\.parquet")
_DIGEST: Final = re.compile(rb"[0-9a-f]{64}")
_READ_BYTES: Final = 1 << 24
#: What a digest that lies across two reads needs.
_OVERLAP: Final = 63


def unnamed_parts(header: Path, folder: Path) -> tuple[Path, ...]:
    """Return the parts in ``folder`` that no file beside ``header`` names, sorted.

    Writes that were killed leave them, and manifests that were written again. Only files beside ``header`` can name
    parts of ``folder``. All that may be JSON are searched for the digests that parts are called by, whatever their own
    names and whichever version wrote them, and so is the journal of a write that will be taken up again.
    """
    left = {path.name.removesuffix(".parquet"): path for path in _parts(folder)}
    for place in (header, *_beside(header, folder)):
        if not left:
            break
        for digest in _digests(place):
            left.pop(digest, None)
    return tuple(sorted(left.values()))


def remove_unnamed_parts(header: Path, folder: Path) -> tuple[Path, ...]:
    """Remove the parts in ``folder`` that no file beside ``header`` names; returns them.

    Raises ManifestError if another process is writing a manifest of that folder.
    """
    with only_writer(header.with_name(f"{folder.name.removesuffix('.index')}.cgm.json")):
        found = unnamed_parts(header, folder)
        for path in found:
            path.unlink(missing_ok=True)
    return found


def _parts(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if _PART.fullmatch(path.name)] if folder.is_dir() else []


def _beside(header: Path, folder: Path) -> Iterator[Path]:
    """Yield every file that may name a part: those beside the header, and hidden ones in the index folder."""
    for place in (header.parent, folder):
        yield from (path for path in sorted(place.iterdir()) if path.is_file() and not _PART.fullmatch(path.name))


def _digests(path: Path) -> Iterator[str]:
    """Yield what may be a digest in a file that begins as JSON does."""
    with path.open("rb") as file:
        data = file.read(_READ_BYTES)
        if not data.lstrip(b"\xef\xbb\xbf \t\r\n").startswith((b"{", b"[")):
            return
        while data:
            yield from (found.decode() for found in _DIGEST.findall(data))
            more = file.read(_READ_BYTES)
            data = data[-_OVERLAP:] + more if more else b""
