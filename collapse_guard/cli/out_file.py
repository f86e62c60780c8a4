"""The file of ``--out``: looked at before the work is done."""

from __future__ import annotations

from typing import TYPE_CHECKING

from collapse_guard._optional import need
from collapse_guard.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


def check_out(out: Path, needed: Mapping[str, Sequence[str]]) -> None:
    """Raise InputError for another suffix or a folder, MissingExtraError for a package that is not installed.

    Args:
        needed: suffix -> modules that write such a file.
    """
    suffix = out.suffix.lower()
    if suffix not in needed:
        *others, last = needed
        raise InputError(f"--out must end in {', '.join(others)} or {last}, got {str(out)!r}")
    if out.is_dir():
        raise InputError(f"--out {str(out)!r} is a folder; name a file in it")
    for module in needed[suffix]:
        need(module, extra="report")
