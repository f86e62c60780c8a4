"""A generation as a folder: rows, manifest, takedowns and cells; it appears whole or not at all."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from datasets import Dataset, load_from_disk

from collapse_guard.errors import AccumulationError, ManifestError
from collapse_guard.manifest import (
    Manifest,
    Takedowns,
    load_manifest,
    load_takedowns,
    lost_real_rows,
    manifest_of,
    shard_of,
)
from collapse_guard.manifest.index import INDEX_SCHEMA, cut, sorted_index
from collapse_guard.records import Origin

if TYPE_CHECKING:
    from collections.abc import Iterator

MANIFEST_FILE: Final = "manifest.cgm.json"
TAKEDOWNS_FILE: Final = "takedowns.jsonl"
REAL: Final = "real"
SYNTHETIC: Final = "synthetic"


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """Give a draft folder that takes the place of ``target`` when all is written, and is gone if anything fails.

    Raises ManifestError if something is there already: a generation is written once.
    """
    if target.exists():
        text = f"{target} already exists; a generation is written once, name a new folder"
        raise ManifestError(text, path=target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        text = f"{target}: its folder cannot be made ({error.strerror or error}); name another"
        raise ManifestError(text, path=target) from None
    draft = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}."))
    try:
        yield draft
        _flush(draft)
        draft.chmod(0o755)
        draft.rename(target)
    except BaseException as error:
        shutil.rmtree(draft, ignore_errors=True)
        if isinstance(error, OSError) and error.errno in {errno.ENOTEMPTY, errno.EEXIST}:
            text = f"{target} was written by another process meanwhile; name a new folder"
            raise ManifestError(text, path=target) from None
        raise


def _flush(folder: Path) -> None:
    """Have every file of a folder on the disk before the folder gets its name."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())


def checked_manifest(folder: Path) -> Manifest:
    """Return the manifest of a saved generation; raises ManifestError if its digests do not hold."""
    manifest = load_manifest(folder / MANIFEST_FILE)
    mismatches = manifest.verify()
    if mismatches:
        first = mismatches[0]
        text = f"{folder}: {first.part} does not match its digest ({first.expected[:19]}..., {first.found[:19]}...)"
        raise ManifestError(f"{text}; restore the folder", path=folder)
    return manifest


def saved_takedowns(folder: Path, manifest: Manifest) -> Takedowns | None:
    """Return the deletions that were saved with a generation, None if there were none.

    Raises ManifestError unless they are those that its manifest was written under.
    """
    path = folder / TAKEDOWNS_FILE
    found = load_takedowns(path) if path.exists() else None
    if (None if found is None else found.entry) != manifest.header.takedowns:
        text = f"{path}: not the list of takedowns that the manifest was written under"
        raise ManifestError(f"{text}; restore it, and record further ones with take_down", path=path)
    return found


def saved_pool(folder: Path, manifest: Manifest) -> tuple[Dataset, ...]:
    """Return the synthetic rows that were saved with a generation; raises ManifestError if they are gone."""
    path = folder / SYNTHETIC
    if path.is_dir():
        return (saved_rows(path),)
    if any(source.rows > source.real_rows for source in manifest.header.sources):
        text = f"{path}: no such folder, and the manifest names synthetic rows; restore the folder"
        raise ManifestError(text, path=path)
    return ()


def saved_rows(folder: Path) -> Dataset:
    """Return the rows of a folder; raises ManifestError for one that is no saved dataset."""
    try:
        loaded = load_from_disk(str(folder))
    except (OSError, pa.ArrowException, ValueError) as error:
        reason = str(error).splitlines()[0][:160]
        raise ManifestError(f"{folder} is not a saved dataset ({reason}); restore the folder", path=folder) from None
    if not isinstance(loaded, Dataset):
        raise ManifestError(f"{folder} holds splits; one dataset is expected", path=folder)
    return loaded


def check_rows(folder: Path, manifest: Manifest, index: pa.Table, *, with_classes: bool) -> None:
    """Raise unless the real rows of a folder are those of its manifest.

    Args:
        index: index rows of the folder's real rows.
        with_classes: whether their classes are those that the manifest was made with.

    Raises AccumulationError for rows that left, ManifestError for rows that came or were changed.
    """
    shards = [shard_of(part, name=f"{source}#{number}") for source, number, part in cut(index)]
    if not shards:
        raise AccumulationError(f"{folder}: every real row is gone; restore the folder")
    there = manifest_of(shards, name=manifest.header.name, generation=0, id_rule=manifest.header.id_rule)
    loss = lost_real_rows(manifest, there)
    if loss.n_rows:
        raise AccumulationError(f"{folder}: {loss.describe()}; restore the folder")
    recorded = manifest.index
    real = recorded.filter(pc.equal(recorded.column("origin"), int(Origin.REAL)))
    if not _comparable(index, with_classes=with_classes).equals(_comparable(real, with_classes=with_classes)):
        text = f"{folder}: the real rows are not those of the manifest (rows added, tags or classes changed)"
        raise ManifestError(f"{text}; restore the folder", path=folder)


def _comparable(index: pa.Table, *, with_classes: bool) -> pa.Table:
    """Return index rows in their order, without what a plan or another policy may change."""
    same = {"amount": pa.array(np.ones(index.num_rows))}
    if not with_classes:
        same["class"] = pa.nulls(index.num_rows, pa.string())
    columns = [same.get(name, index.column(name)) for name in INDEX_SCHEMA.names]
    return sorted_index(pa.table(columns, schema=INDEX_SCHEMA))
