"""Write a file so that a reader sees the old one or the new one, never half."""

from __future__ import annotations

import errno
import os
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from os import PathLike


def write_bytes(path: str | PathLike[str], data: bytes) -> Path:
    """Write ``data`` to ``path``: temporary file in the same folder, fsync, rename. Returns the path.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_bytes(Path(folder) / "a.json", b"{}").read_bytes()
    b'{}'
    """
    with whole_file(path) as draft, draft.open("wb") as file:
        file.write(data)
    return Path(path)


@contextmanager
def whole_file(path: str | PathLike[str]) -> Iterator[Path]:
    """Give a temporary file beside ``path`` to write piece by piece; it takes the name when the block ends.

    A block that raises leaves the old file, and no temporary one.
    """
    target = Path(path)
    if target.is_dir():
        raise IsADirectoryError(errno.EISDIR, "is a directory; name a file", str(target))
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", suffix=".tmp")
    draft = Path(name)
    try:
        yield draft
        os.fsync(handle)
        draft.chmod(0o644)
        draft.replace(target)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    finally:
        os.close(handle)
