"""One writer of a manifest at a time."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from collapse_guard.errors import ManifestError
from collapse_guard.manifest.folders import index_folder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def only_writer(target: Path) -> Iterator[None]:
    """Hold the manifest whose header is at ``target``; manifests that share an index folder share the lock.

    The lock ends with the process that holds it; its empty file stays beside the manifest. Raises ManifestError at once
    if another process holds it.
    """
    folder = index_folder(target)
    folder.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder.with_name(f".{folder.name}.lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        text = f"{target}: another process is writing it; wait for it, or write to another file"
        raise ManifestError(text, path=target) from None
    try:
        yield
    finally:
        lock.release()
