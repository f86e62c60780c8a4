"""Manifest -> a ``.dvc`` file: header and index folder as DVC tracks them, with the digests that it would compute.

The header stays in git (``cache: false``); the index folder is what ``dvc push`` stores. Source: DVC's user guide,
https://dvc.org/doc/user-guide/project-structure/dvc-files and .../internal-files (a folder's digest is the MD5 of the
JSON list of its files, sorted by path).
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any, Final

from collapse_guard.errors import InputError
from collapse_guard.manifest import index_folder
from collapse_guard.policy.yaml_text import read_yaml
from collapse_guard.report.exports.files import hex_digest, path_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from collapse_guard.manifest import Manifest

_MD5: Final = "md5"


def as_dvc(manifest: Manifest) -> dict[str, Any]:
    """Return the content of a ``.dvc`` file that lies beside the header; reads every byte of the index folder.

    All files of the folder count, as they do for DVC, whether or not this header names them. Raises ManifestError for
    a manifest that is not on disk.
    """
    path = path_of(manifest)
    tracked = {
        "md5": hex_digest(path, _MD5),
        "size": path.stat().st_size,
        "hash": _MD5,
        "path": path.name,
        "cache": False,
    }
    folder = index_folder(path)
    return {
        "outs": [tracked, _folder_entry(folder)] if folder.is_dir() else [tracked],
        "meta": {"collapse_guard": {"manifest": manifest.digest, "generation": manifest.header.generation}},
    }


def _folder_entry(folder: Path) -> dict[str, Any]:
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    listed = [{"md5": hex_digest(path, _MD5), "relpath": path.relative_to(folder).as_posix()} for path in paths]
    return {
        "md5": folder_md5(listed),
        "size": sum(path.stat().st_size for path in paths),
        "nfiles": len(paths),
        "hash": _MD5,
        "path": folder.name,
    }


def folder_md5(listed: list[dict[str, str]]) -> str:
    """Return DVC's digest of a folder from the MD5 and the relative path of each of its files.

    >>> folder_md5([{"md5": "d3b07384d113edec49eaa6238ad5ff00", "relpath": "foo"}])
    'aa5f690fab1a8e34ad009d3de2ad38cb.dir'
    """
    ordered = sorted(listed, key=lambda entry: tuple(entry["relpath"].split("/")))
    text = json.dumps(ordered, sort_keys=True)
    return f"{hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()}.dir"


def recorded_md5(path: Path) -> dict[str, str]:
    """Return the MD5 that a ``.dvc`` file or a ``dvc.lock`` records, per path relative to its folder.

    Raises InputError for a file that cannot be read or is neither.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
    values = read_yaml(text, file=str(path))
    if "outs" not in values and "stages" not in values:
        raise InputError(f"{path}: neither a .dvc file (outs) nor a dvc.lock (stages); name one of the two")
    return {str(entry["path"]): str(entry[_MD5]) for entry in _entries(values) if "path" in entry and _MD5 in entry}


def _entries(values: dict[str, Any]) -> Iterator[dict[str, Any]]:
    stages = values.get("stages")
    owners = [values, *(stages.values() if isinstance(stages, dict) else [])]
    for owner in owners:
        for key in ("deps", "outs"):
            found = owner.get(key) if isinstance(owner, dict) else None
            yield from (entry for entry in found or [] if isinstance(entry, dict))
