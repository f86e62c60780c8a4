"""A gate result as Azure Pipelines logging commands.

Source: ``##vso[task.logissue type=error;sourcepath=...;linenumber=...;code=...]message`` of Azure's documentation.
There is no such command for what is only noted or accepted; the other formats have it.
"""

from __future__ import annotations

from typing import Any, Final

from collapse_guard.kernels import one_line
from collapse_guard.report.formats.entries import clipped, entries, place
from collapse_guard.report.terminal import defused, verdict_line

_MAX_MESSAGE: Final = 4000
#: How the agent writes what would end a property or a command.
_ESCAPES: Final = {"%": "%AZP25", ";": "%3B", "\r": "%0D", "\n": "%0A", "]": "%5D"}


def azure(view: dict[str, Any]) -> str:
    """Return an issue per failed or open statement, worst first, and the verdict as a plain last line."""
    lines = []
    for entry in entries(view):
        if entry.level == "note":
            continue
        file, line = place(view, entry)
        given = {"type": entry.level, "sourcepath": file, "linenumber": str(line), "code": entry.code}
        properties = ";".join(f"{name}={escape(value)}" for name, value in given.items())
        text = f"{entry.message}; {entry.remedy}" if entry.remedy else entry.message
        lines.append(f"##vso[task.logissue {properties}]{escape(clipped(f'{entry.code} {text}', _MAX_MESSAGE))}")
    lines += [defused(f"note: {one_line(note)}") for note in view["notes"]]
    return "\n".join([*lines, verdict_line(view)]) + "\n"


def escape(text: str) -> str:
    """Return a text as the agent unescapes it.

    >>> escape("a;b] 5 %")
    'a%3Bb%5D 5 %AZP25'
    """
    return "".join(_ESCAPES.get(letter, letter) for letter in text)
