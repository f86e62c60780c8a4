"""The summary page of a GitHub step: other steps write it too, so text is only ever added."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from collapse_guard.errors import InputError
from collapse_guard.report.formats.markdown import MAX_BYTES, markdown

if TYPE_CHECKING:
    from collections.abc import Mapping

#: What a step may write into its summary, in bytes; GitHub shows nothing at all of a longer one.
MAX_SUMMARY_BYTES: Final = 1 << 20
#: Room that the shortest summary needs.
_LEAST_BYTES: Final = 2000


def append_summary(view: dict[str, Any], environ: Mapping[str, str]) -> Path | None:
    """Append the Markdown of a result to the summary of a GitHub step; returns its path.

    None if ``GITHUB_STEP_SUMMARY`` is not set, or if what the step wrote before leaves no room. Raises InputError for
    a file that cannot be written.
    """
    given = environ.get("GITHUB_STEP_SUMMARY")
    if not given:
        return None
    path = Path(given)
    try:
        n_bytes = path.stat().st_size if path.exists() else 0
        room = min(MAX_BYTES, MAX_SUMMARY_BYTES - n_bytes - 2)
        if room < _LEAST_BYTES:
            return None
        with path.open("ab") as file:  # not by a rename: what other steps wrote stays, and the runner holds the file
            file.write((("\n" if n_bytes else "") + markdown(view, max_bytes=room)).encode())
    except OSError as error:
        text = f"GITHUB_STEP_SUMMARY={given}: cannot be written: {error.strerror or error}; unset it to go without"
        raise InputError(text) from None
    return path
