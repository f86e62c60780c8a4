"""Data files -> a manifest, in one pass over each file: bounded memory, several processes, resumable."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import threading
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from collapse_guard.errors import InputError, ManifestError
from collapse_guard.identity import RECORD_IDS
from collapse_guard.manifest.file_rows import Reading, file_shards
from collapse_guard.manifest.folders import index_folder, refuse_outside
from collapse_guard.manifest.header import ParentLink
from collapse_guard.manifest.journal import Journal
from collapse_guard.manifest.kinds import common_kind, shown
from collapse_guard.manifest.making import manifest_of
from collapse_guard.manifest.manifest import write_manifest
from collapse_guard.manifest.takedowns import load_takedowns
from collapse_guard.manifest.writer import only_writer
from collapse_guard.readers import data_files
from collapse_guard.sources import Tag

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Generator, Iterator, Sequence
    from concurrent.futures import Future
    from os import PathLike

    from collapse_guard.identity import IdRule
    from collapse_guard.manifest.file_rows import FileShards
    from collapse_guard.manifest.header import Unit
    from collapse_guard.manifest.kinds import Kind
    from collapse_guard.manifest.manifest import Manifest
    from collapse_guard.readers import DataFile
    from collapse_guard.records import Evidence, Origin

#: Files that wait in the queue of a process, so that a million of them do not wait in memory.
_QUEUED_FILES: Final = 4


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an inventory is.

    Args:
        files: data files that are done.
        n_files: all of them.
        rows: rows that were read.
        bytes: size of the files that are done.
        n_bytes: size of all.
    """

    files: int
    n_files: int
    rows: int
    bytes: int
    n_bytes: int


def take_inventory(  # noqa: PLR0913 - what is known of the rows, and how they are read
    data: str | PathLike[str] | Sequence[str | PathLike[str]],
    *,
    to: str | PathLike[str],
    source: str,
    origin: Origin | str,
    generator: str | None = None,
    generation: int | None = None,
    evidence: Evidence | str = "declared",
    date: dt.date | None = None,
    class_column: str | None = None,
    id_rule: IdRule = RECORD_IDS,
    unit: Unit = "rows",
    unit_column: str | None = None,
    parent: Manifest | None = None,
    name: str | None = None,
    policy_digest: str | None = None,
    takedowns: str | PathLike[str] | None = None,
    keep_ids: bool = False,
    jobs: int = 1,
    progress: Callable[[Progress], object] | None = None,
) -> Manifest:
    r"""Read data files once, and write the manifest of their rows.

    Rows that carry provenance columns keep them; all others get the tags given here. Memory holds one shard (2^20 rows
    of the index) per process. A run that was stopped is taken up by the same call: only files that were not finished,
    or that changed since, are read again. Until the last step an older manifest stays as it is.

    Args:
        data: files, folders, patterns or URLs; see :func:`collapse_guard.readers.data_files`.
        to: the header file to write, such as ``gen4/manifest.cgm.json``.
        source: name of where the rows come from.
        origin: unknown, real, synthetic, mixed, derived or simulated.
        generator: ``model@revision`` for generated rows.
        generation: 0 for real rows, 1 + that of its model's data for generated ones; unknown if left out.
        evidence: how the origin is known.
        date: creation or collection day.
        class_column: the column that holds the class; a null counts as no class.
        id_rule: what makes two rows the same.
        unit: what amounts are counted in: rows, tokens, bytes or weight.
        unit_column: where amounts are read from.
        parent: manifest of the generation before.
        name: name of the manifest; that of the file if left out.
        policy_digest: digest of the policy that the data is meant for.
        takedowns: list of lawful deletions that holds for the data.
        keep_ids: take ``cg_id`` columns as they are, without comparing them with the content.
        jobs: processes, each of which reads a file at a time.
        progress: told after each batch (each file with several processes).

    Raises InputError for data that cannot be read, ProvenanceError for tags that cannot be, missing columns and ids
    that are not those of the content, ManifestError for no rows, columns that change their type from file to file, a
    target that another process is writing, and a disk that is full.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = Path(folder, "rows.csv").write_text("text\na\nb\n")
    ...     take_inventory(f"{folder}/rows.csv", to=f"{folder}/gen0.cgm.json", source="web", origin="real").n_rows
    2
    """
    target = _checked_target(str(to))
    tag = Tag.of(origin=origin, source=source, generator=generator, generation=generation, evidence=evidence, date=date)
    if parent is not None and parent.header.id_rule != id_rule.name:
        text = f"the parent {parent.name} counts rows by {parent.header.id_rule!r}, not by {id_rule.name!r}"
        raise ManifestError(f"{text}; use its id rule, or write the parent again", path=parent.path)
    if jobs < 1:
        raise InputError(f"jobs must be 1 or more, got {jobs}")
    reading = Reading(tag, id_rule, class_column, unit, unit_column, keep_ids)
    taken = None if takedowns is None else load_takedowns(takedowns).entry
    files = data_files(data)
    with only_writer(target), _disk_faults(target):
        done = _read_all(files, reading, Journal(index_folder(target), reading), jobs, _Meter(files, progress))
        shards = [shard for each in done for shard in each.shards]
        if not shards:
            raise ManifestError(f"no rows in {len(files)} data file{'' if len(files) == 1 else 's'}; name others")
        manifest = manifest_of(
            shards,
            name=name or target.name.removesuffix(".json").removesuffix(".cgm"),
            generation=0 if parent is None else parent.header.generation + 1,
            class_column=class_column,
            parents=() if parent is None else (ParentLink(name=parent.header.name, digest=parent.digest),),
            policy_digest=policy_digest,
            unit=unit,
            unit_column=unit_column,
            id_rule=id_rule.name,
            takedowns=taken,
        )
        written = write_manifest(manifest, target)
        Journal(index_folder(target), reading).finish()
    return written


def _checked_target(to: str) -> Path:
    if "://" in to:
        raise ManifestError(f"{to}: manifests are written to a disk of this machine; name a file, and copy it then")
    target = Path(to)
    if target.is_dir():
        raise ManifestError(f"{target} is a directory; name a file such as {target / 'manifest.cgm.json'}", path=target)
    target.parent.mkdir(parents=True, exist_ok=True)
    refuse_outside(index_folder(target))
    return target


@contextlib.contextmanager
def _disk_faults(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = f"{error.filename or target}: {error.strerror or error}"
        raise ManifestError(f"{reason}; make room and run again, finished files are kept", path=target) from error


class _Meter:
    """Adds up progress and passes it on.

    Args:
        files: all data files.
        told: the callback.
    """

    def __init__(self, files: Sequence[DataFile], told: Callable[[Progress], object] | None) -> None:
        self._told = told
        self._now = Progress(0, len(files), 0, 0, sum(file.n_bytes for file in files))

    def rows(self, n_rows: int) -> None:
        self._now = replace(self._now, rows=self._now.rows + n_rows)
        self._tell()

    def file(self, file: DataFile) -> None:
        self._now = replace(self._now, files=self._now.files + 1, bytes=self._now.bytes + file.n_bytes)
        self._tell()

    def _tell(self) -> None:
        if self._told is not None:
            self._told(self._now)


def _read_all(
    files: Sequence[DataFile], reading: Reading, journal: Journal, jobs: int, meter: _Meter
) -> list[FileShards]:
    """Return what became of each file, in the order of the files."""
    journal.start()
    done: dict[str, FileShards] = {}
    kinds: dict[str, tuple[Kind, str]] = {}
    for file in files:
        known = journal.found(file)
        if known is not None:
            _compare_kinds(file, known, kinds)
            done[file.path] = known
            meter.rows(known.n_rows)
            meter.file(file)
    open_files = [file for file in files if file.path not in done]
    several = jobs > 1 and len(open_files) > 1 and not any(file.url.startswith("memory:") for file in open_files)
    read = _in_processes if several else _in_this_process
    with contextlib.closing(read(open_files, reading, journal.path.parent, jobs, meter)) as results:
        for file, result in results:
            _compare_kinds(file, result, kinds)
            journal.add(file, result)
            done[file.path] = result
            meter.file(file)
    return [done[file.path] for file in files]


def _in_this_process(
    files: Sequence[DataFile], reading: Reading, folder: Path, jobs: int, meter: _Meter
) -> Generator[tuple[DataFile, FileShards]]:
    del jobs
    for file in files:
        yield file, file_shards(file, reading, folder, meter.rows)


def _in_processes(
    files: Sequence[DataFile], reading: Reading, folder: Path, jobs: int, meter: _Meter
) -> Generator[tuple[DataFile, FileShards]]:
    """Yield files as they are done; an error in one of them ends all."""
    waiting = sorted(files, key=lambda file: file.n_bytes)  # the largest is popped first
    running: dict[Future[FileShards], DataFile] = {}
    spawn = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(min(jobs, len(files)), mp_context=spawn, initializer=_end_with_parent)
    try:
        while waiting or running:
            while waiting and len(running) < _QUEUED_FILES * jobs:
                file = waiting.pop()
                running[pool.submit(file_shards, file, reading, folder)] = file
            finished, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in finished:
                file, result = running.pop(future), future.result()
                meter.rows(result.n_rows)
                yield file, result
    except BrokenProcessPool:
        text = "a process that reads data ended on its own, perhaps for want of memory"
        raise ManifestError(f"{text}; run again with fewer jobs, finished files are kept") from None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _end_with_parent() -> None:
    """Let this process end when the one that started it is killed; it would wait for work for ever."""

    def watch() -> None:
        parent = multiprocessing.parent_process()
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _compare_kinds(file: DataFile, result: FileShards, kinds: dict[str, tuple[Kind, str]]) -> None:
    """Raise ManifestError if a column holds other values than in an earlier file: equal content would differ in ids."""
    for column, kind in result.kinds.items():
        before, path = kinds.get(column, ("null", file.path))
        common = common_kind(before, kind)
        if common is None:
            text = f"column {column!r} is {shown(kind)} in {file.path} and {shown(before)} in {path}"
            raise ManifestError(f"{text}; give it one type in all files of a source")
        kinds[column] = (common, file.path)
