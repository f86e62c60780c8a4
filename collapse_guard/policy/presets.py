"""The policies that ship with the package, and that a policy may extend."""

from __future__ import annotations

from pathlib import Path

from collapse_guard.errors import PolicyError, Problem
from collapse_guard.plugins import nearest

_HERE = Path(__file__).parent


def preset_folder() -> Path:
    """Return the folder of the presets: the wheel carries them beside this module, a checkout in ``configs/``."""
    folder = _HERE / "presets"
    return folder if folder.is_dir() else _HERE.parents[1] / "configs"


def presets() -> dict[str, Path]:
    """Return the files of all presets by their name, such as ``starter@1``."""
    return {f"{file.stem}@1": file for file in sorted(preset_folder().glob("*.yaml"))}


def preset_path(name: str) -> Path:
    """Return the file of a preset such as ``starter@1``; raises PolicyError with the nearest name."""
    known = presets()
    if name not in known:
        raise PolicyError([Problem("CG001", name, None, "extends", "no such preset", nearest(name, known))])
    return known[name]
