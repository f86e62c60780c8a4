"""Files and warnings of a run: each is tried, none may end it, and nothing is said twice."""

from __future__ import annotations

import logging
import warnings
from typing import TYPE_CHECKING

from collapse_guard.errors import ManifestError
from collapse_guard.manifest import load_manifest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from collapse_guard.manifest import Manifest

log = logging.getLogger(__name__)


class Traces:
    """What was said already, so that it is said once."""

    def __init__(self) -> None:
        self._said: set[str] = set()

    def tried(self, what: str, path: Path, write: Callable[[], object]) -> None:
        """Write a file; warn once if that cannot be, and never raise."""
        try:
            write()
        except (OSError, ValueError) as error:  # a path may hold what no path can
            text = f"the {what} of collapse_guard could not be written to {path}: {error}"
            if text not in self._said:
                self._said.add(text)
                warnings.warn(text, stacklevel=4)

    def warn_once(self, what: str, text: str) -> None:
        """Log a warning the first time that ``what`` happens."""
        if what not in self._said:
            self._said.add(what)
            log.warning("collapse_guard: %s", text)


def manifest_changed(manifest: Manifest | None) -> bool:
    """Return whether the file of a manifest is another one than when it was read."""
    if manifest is None or manifest.path is None:
        return False
    try:
        return load_manifest(manifest.path).digest != manifest.digest
    except (OSError, ManifestError):
        return True
