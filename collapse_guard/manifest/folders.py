"""Where the parts of a manifest lie: in one folder beside the header, and nowhere else."""

from __future__ import annotations

import os
from pathlib import Path

from collapse_guard.errors import ManifestError


def index_folder(path: Path) -> Path:
    """Return the folder of the parts of the manifest whose header is at ``path``.

    >>> index_folder(Path("gen4/manifest.cgm.json")).as_posix()
    'gen4/manifest.index'
    """
    return path.parent / f"{path.name.removesuffix('.json').removesuffix('.cgm')}.index"


def refuse_outside(folder: Path) -> None:
    """Raise ManifestError for an index folder that is a link to somewhere outside of the folder that it stands in.

    Links of single parts stay: DVC, git-annex and the cache of a hub make them, and a part is known by its digest.
    """
    is_link = os.path.islink(folder)  # noqa: PTH114 - unlike Path.is_symlink it never raises
    if is_link and Path(os.path.realpath(folder.parent)) not in Path(os.path.realpath(folder)).parents:
        text = f"{folder}: a link that leaves the folder of its manifest"
        raise ManifestError(f"{text}; put the index folder itself there (its parts may be links)", path=folder)
