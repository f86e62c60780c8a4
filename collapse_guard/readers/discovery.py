"""A path, URL, pattern or folder -> its data files, in a stable order and under stable names."""

from __future__ import annotations

import json
import os
import posixpath
import re
from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from collapse_guard.errors import InputError
from collapse_guard.kernels import sha256_hex
from collapse_guard.readers.files import DataFile, Member, file_system
from collapse_guard.readers.tables import naming

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from os import PathLike

#: What is read, by the end of its name.
SUFFIXES: Final = {
    **dict.fromkeys((".parquet", ".pq"), "parquet"),
    **dict.fromkeys((".arrow", ".ipc", ".feather"), "arrow"),
    ".csv": "csv",
    ".csv.gz": "csv.gz",
    ".tsv": "tsv",
    ".tsv.gz": "tsv.gz",
    **dict.fromkeys((".jsonl", ".ndjson"), "jsonl"),
    **dict.fromkeys((".jsonl.gz", ".ndjson.gz"), "jsonl.gz"),
    **dict.fromkeys((".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff"), "image"),
    **dict.fromkeys((".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".au"), "audio"),
}
#: When a file changed, as the file systems of fsspec say it.
_STAMPS: Final = ("ETag", "etag", "mtime", "LastModified", "last_modified", "updated", "created")
_PATTERN: Final = re.compile(r"[*?\[]")


@dataclass(frozen=True, slots=True)
class _Found:
    """Files below one root, with what their file system says of them."""

    root: str
    protocol: str
    files: dict[str, dict[str, Any]]
    system: Any


def data_files(data: str | PathLike[str] | Sequence[str | PathLike[str]]) -> list[DataFile]:
    r"""Return the data files of ``data``, sorted by their relative paths.

    Args:
        data: files, folders, patterns such as ``shards/*.parquet``, folders that ``datasets`` saved, or URLs of any of
            these that fsspec opens. A folder is read with its subfolders; names that begin with ``.`` or ``_`` are
            left out.

    Raises InputError for what does not exist, holds no data files, holds several kinds of them, or is named twice.

    >>> import tempfile, pathlib
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = pathlib.Path(folder, "rows.csv").write_text("a\n1\n")
    ...     [(file.path, file.kind) for file in data_files(folder)]
    [('rows.csv', 'csv')]
    """
    items = [data] if isinstance(data, (str, os.PathLike)) else list(data)
    if not items:
        raise InputError("name at least one data file, folder, pattern or URL")
    found = [_found(os.fspath(item)) for item in items]
    base = _base(found)
    files = sorted((file for each in found for file in _files_of(each, base)), key=lambda file: file.path)
    twice = [path for path, times in Counter(file.path for file in files).items() if times > 1]
    if twice:
        raise InputError(f"{twice[0]}: named twice; name each data file once")
    return files


def _found(item: str) -> _Found:
    system, path = file_system(item)
    with naming(item):
        if system.isdir(path):
            return _in_folder(system, path.rstrip("/"), item)
        if system.exists(path):
            if _kind(path) is None:
                raise InputError(f"{item}: not a kind of file that is read; known: {', '.join(SUFFIXES)}")
            return _Found(posixpath.dirname(path), _protocol(system), {path: system.info(path)}, system)
        if not _PATTERN.search(path):
            raise InputError(f"{item}: no such file or folder")
        matched = {name: info for name, info in system.glob(path, detail=True).items() if info["type"] == "file"}
        return _known(system, _fixed_part(path), matched, item)


def _protocol(system: Any) -> str:
    return str(system.protocol if isinstance(system.protocol, str) else system.protocol[0])


def _fixed_part(pattern: str) -> str:
    """Return the folder of a pattern, up to the first part with a wildcard."""
    parts = pattern.split("/")
    first = next(place for place, part in enumerate(parts) if _PATTERN.search(part))
    return "/".join(parts[:first])


def _in_folder(system: Any, path: str, item: str) -> _Found:
    if system.exists(f"{path}/dataset_dict.json"):
        names = json.loads(system.cat_file(f"{path}/dataset_dict.json")).get("splits", [])
        raise InputError(
            f"{item}: a DatasetDict of splits; name those that train, such as {item}/{(names or ['train'])[0]}"
        )
    if system.exists(f"{path}/state.json"):
        return _saved(system, path, item)
    inside = system.find(path, detail=True)
    return _known(system, path, inside, item)


def _saved(system: Any, path: str, item: str) -> _Found:
    """Return the Arrow files of a dataset that `datasets` saved to disk."""
    try:
        names = [entry["filename"] for entry in json.loads(system.cat_file(f"{path}/state.json"))["_data_files"]]
    except (ValueError, KeyError, TypeError):
        raise InputError(f"{item}: state.json is not that of a saved dataset; save it again") from None
    absent = [name for name in names if "/" in name or not system.exists(f"{path}/{name}")]
    if absent or not names:
        raise InputError(f"{item}: state.json names {(absent or ['no file'])[0]}, which is not there; save it again")
    return _Found(path, _protocol(system), {f"{path}/{name}": system.info(f"{path}/{name}") for name in names}, system)


def _known(system: Any, root: str, files: dict[str, dict[str, Any]], item: str) -> _Found:
    """Return the files that are read; those of other kinds (a README, a licence) are left out."""
    shown = {path: info for path, info in files.items() if not _is_hidden(path.removeprefix(root))}
    known = {path: info for path, info in shown.items() if _kind(path) is not None}
    packed = [path for path in shown if path.lower().endswith(_PACKED)]
    if packed:
        text = f"{item}: {posixpath.basename(packed[0])} is packed in a way that is not read"
        raise InputError(f"{text}; unpack it (of JSON Lines .gz is read), or name the files that are meant")
    if not known:
        ends = sorted({posixpath.splitext(path)[1] or posixpath.basename(path) for path in shown})
        there = f"found {', '.join(ends[:5])}" if ends else "found nothing"
        raise InputError(f"{item}: no data files ({there}); known: {', '.join(SUFFIXES)}")
    kinds = sorted({str(_kind(path)).removesuffix(".gz") for path in known})
    if len(kinds) > 1:
        raise InputError(
            f"{item}: holds files of kind {' and '.join(kinds)}; name one kind, such as {item}/**/*.parquet"
        )
    return _Found(root, _protocol(system), known, system)


#: Data that would be left out silently.
_PACKED: Final = tuple(
    f"{kind}{end}"
    for kind in (".jsonl", ".ndjson", ".json", ".csv", ".tsv")
    for end in (".zst", ".bz2", ".xz", ".zip", ".lz4")
)


def _is_hidden(path: str) -> bool:
    return any(part.startswith((".", "_")) for part in path.split("/"))


def _kind(path: str) -> str | None:
    name = posixpath.basename(path).lower()
    return next((kind for suffix, kind in SUFFIXES.items() if name.endswith(suffix)), None)


def _base(found: Sequence[_Found]) -> dict[str, str]:
    """Return, per protocol, the folder that paths are relative to: the nearest that holds all of them."""
    roots: dict[str, list[str]] = defaultdict(list)
    for each in found:
        roots[each.protocol].append(each.root)
    common = {}
    for protocol, paths in roots.items():
        split = [path.split("/") for path in paths]
        shared = next((n for n, parts in enumerate(zip(*split, strict=False)) if len(set(parts)) > 1), None)
        depth = min(map(len, split)) if shared is None else shared
        common[protocol] = "/".join(split[0][:depth])
    return common


def _files_of(found: _Found, base: dict[str, str]) -> Iterable[DataFile]:
    before = f"{found.protocol}/" if len(base) > 1 else ""
    start = base[found.protocol]
    folders: dict[tuple[str, str], list[str]] = defaultdict(list)
    for path, info in found.files.items():
        kind = _kind(path) or "arrow"  # a saved dataset may call its files what it likes
        if kind in {"image", "audio"}:
            folders[posixpath.dirname(path), kind].append(path)
        else:
            name = before + _portable(path, start)
            yield DataFile(name, _url(found, path), kind, int(info["size"]), _stamp(info))
    for (folder, kind), paths in folders.items():
        yield _media(found, before + _portable(folder, start), folder, kind, sorted(paths))


def _media(found: _Found, name: str, folder: str, kind: str, paths: Sequence[str]) -> DataFile:
    infos = {path: found.files[path] for path in paths}
    members = tuple(Member(posixpath.basename(path), _url(found, path), int(infos[path]["size"])) for path in paths)
    stamp = sha256_hex(f"{path}\0{info['size']}\0{_stamp(info)}\n".encode() for path, info in infos.items())
    label = None if folder == found.root else posixpath.basename(folder)
    n_bytes = sum(member.n_bytes for member in members)
    return DataFile(name, _url(found, folder), kind, n_bytes, stamp, members, label)


def _url(found: _Found, path: str) -> str:
    return str(found.system.unstrip_protocol(path))


def _stamp(info: dict[str, Any]) -> str:
    return next((str(info[key]) for key in _STAMPS if info.get(key) is not None), "")


def _portable(path: str, start: str) -> str:
    """Return a path relative to ``start``, without what cannot stand in a relative path everywhere."""
    inside = path.removeprefix(start).lstrip("/") or "."
    return inside.replace("%", "%25").replace("\\", "%5C").replace(":", "%3A")
