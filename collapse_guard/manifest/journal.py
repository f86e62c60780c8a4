"""Which data files of an unfinished inventory are done, so that a run that was stopped goes on from there."""

from __future__ import annotations

import hashlib
import json
import os
import re
from dataclasses import asdict
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final

from collapse_guard._atomic import write_bytes
from collapse_guard.errors import ManifestError
from collapse_guard.manifest.file_rows import FileShards

if TYPE_CHECKING:
    from pathlib import Path

    from collapse_guard.manifest.file_rows import Reading
    from collapse_guard.readers import DataFile

_NAME: Final = ".inventory.jsonl"
#: A part that a killed run did not finish.
_DRAFT: Final = re.compile(r"\.[0-9a-f]{64}\.parquet\..+\.tmp")


class Journal:
    """Finished files of one index folder, a line each, flushed to disk before the next file counts.

    A file is known by its path, place, size, time of change (or etag), by how its rows are read, and by the version of
    this package: if any of them changes, it is read again.

    Args:
        folder: the index folder.
        reading: how rows are read.
    """

    def __init__(self, folder: Path, reading: Reading) -> None:
        self.path = folder / _NAME
        self._folder = folder
        self._reading = json.dumps(asdict(reading) | {"tool": version("collapse-guard")}, sort_keys=True)
        self._lines = self._read()

    def _read(self) -> dict[str, dict[str, Any]]:
        """Return what earlier runs left; a line that was cut short is dropped."""
        lines: dict[str, dict[str, Any]] = {}
        if self.path.exists():
            for line in self.path.read_bytes().splitlines():
                try:
                    entry = json.loads(line)
                    lines[entry["key"]] = entry
                except (ValueError, KeyError, TypeError, RecursionError):
                    continue
        return lines

    def start(self) -> None:
        """Put the journal in order for new lines, and remove parts that were never finished."""
        self._folder.mkdir(parents=True, exist_ok=True)
        for left in self._folder.iterdir():
            if _DRAFT.fullmatch(left.name):
                left.unlink(missing_ok=True)
        if self._lines:
            text = "".join(json.dumps(entry) + "\n" for entry in self._lines.values())
            write_bytes(self.path, text.encode())

    def found(self, file: DataFile) -> FileShards | None:
        """Return the shards of a file that is done, None if it must be read."""
        entry = self._lines.get(self._key(file))
        if entry is None:
            return None
        try:
            return FileShards.from_dict(entry, self._folder)
        except (ManifestError, ValueError, KeyError, TypeError):  # a part was removed since, or the line was changed
            return None

    def add(self, file: DataFile, done: FileShards) -> None:
        """Write down that a file is done."""
        line = json.dumps({"key": self._key(file), "path": file.path, **done.as_dict()}) + "\n"
        with self.path.open("ab") as journal:
            journal.write(line.encode())
            journal.flush()
            os.fsync(journal.fileno())

    def finish(self) -> None:
        """Forget everything: the manifest is written."""
        self.path.unlink(missing_ok=True)

    def _key(self, file: DataFile) -> str:
        place = [file.path, file.url, file.kind, file.n_bytes, file.stamp, file.label, self._reading]
        return hashlib.sha256(json.dumps(place).encode()).hexdigest()
