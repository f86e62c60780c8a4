"""A gate result as GitHub workflow commands: annotations at the lines of the policy.

Source: the workflow commands that the actions runner reads (``::error file=...,line=...,title=...::message``). It shows
ten annotations of each level for a step and drops the rest without a word, so the tenth line says how many there are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from collapse_guard.kernels import one_line
from collapse_guard.report.formats.entries import Entry, clipped, entries, open_reasons, place
from collapse_guard.report.terminal import verdict_line

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

#: Annotations of one level that a step shows.
MAX_SHOWN: Final = 10
_COMMANDS: Final = {"error": "error", "warning": "warning", "note": "notice"}
_MAX_MESSAGE, _MAX_TITLE, _MAX_CODES = 4000, 200, 5


def github(view: dict[str, Any]) -> str:
    """Return the annotations, worst first, and the verdict as a plain last line."""
    found = entries(view)
    lines: list[str] = []
    for level, command in _COMMANDS.items():
        lines += _shown([*_of_findings(view, found, level), *_of_reasons(view, found, level)], command)
    n_accepted = sum(entry.state == "accepted" for entry in found)
    if n_accepted:
        text = f"{n_accepted} accepted by a waiver or the baseline; the summary of the step lists them"
        lines.append(f"::notice title=collapse-guard::{escape(text)}")
    if view["notes"]:
        lines.append(
            f"::notice title=collapse-guard::{escape(clipped('; '.join(map(one_line, view['notes'])), _MAX_MESSAGE))}"
        )
    return "\n".join([*lines, verdict_line(view)]) + "\n"


def escape(text: str) -> str:
    r"""Return a text as the runner unescapes it.

    >>> escape("50 %\n")
    '50 %25%0A'
    """
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def escape_property(text: str) -> str:
    """Return a value of a property as the runner unescapes it.

    >>> escape_property("a:b,c")
    'a%3Ab%2Cc'
    """
    return escape(text).replace(":", "%3A").replace(",", "%2C")


def _of_findings(view: Mapping[str, Any], found: Sequence[Entry], level: str) -> list[tuple[str, str]]:
    """Return (properties, message) of what failed."""
    return [
        (_properties(view, entry, f"{entry.code} {entry.title}"), _message(entry.message, entry.remedy))
        for entry in found
        if entry.level == level and entry.state == "failed"
    ]


def _of_reasons(view: Mapping[str, Any], found: Sequence[Entry], level: str) -> list[tuple[str, str]]:
    """Return (properties, message) of why rules could not be evaluated: one annotation per reason, not per rule."""
    reasons = open_reasons([entry for entry in found if entry.level == level])
    return [
        (_properties(view, first, f"{_named(codes)} not evaluated"), _message(text, first.remedy))
        for text, codes, first in reasons
    ]


def _named(codes: Sequence[str]) -> str:
    return ", ".join(codes) if len(codes) <= _MAX_CODES else f"{codes[0]} and {len(codes) - 1} more rules"


def _properties(view: Mapping[str, Any], entry: Entry, title: str) -> str:
    file, line = place(view, entry)
    given = {"file": file, "line": str(line), "title": clipped(title, _MAX_TITLE)}
    return ",".join(f"{name}={escape_property(value)}" for name, value in given.items())


def _message(text: str, remedy: str) -> str:
    return clipped(f"{text}; {remedy}" if remedy else text, _MAX_MESSAGE)


def _shown(found: Sequence[tuple[str, str]], command: str) -> list[str]:
    shown = found if len(found) <= MAX_SHOWN else found[: MAX_SHOWN - 1]
    lines = [f"::{command} {properties}::{escape(message)}" for properties, message in shown]
    n_more = len(found) - len(shown)
    if n_more:
        lines.append(f"::{command} title=collapse-guard::and {n_more} more; see the summary of the step")
    return lines
