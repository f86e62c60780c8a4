"""A gate result as a GitLab code-quality report.

Source: the fields that GitLab's documentation of code-quality reports asks for. It has no place for what is accepted or
could not be evaluated: both keep their words in the description. Fingerprints must differ inside one report.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Final

from collapse_guard.report.formats.entries import Entry, clipped, entries, place
from collapse_guard.report.formats.json_v1 import json_text

if TYPE_CHECKING:
    from collections.abc import Mapping

_SEVERITIES: Final = {"error": "critical", "warning": "minor", "note": "info"}
_MAX_DESCRIPTION: Final = 4000


def gitlab(view: dict[str, Any]) -> str:
    """Return a JSON array with one issue per statement, worst first."""
    seen: set[str] = set()
    return json_text([_issue(view, entry, seen) for entry in entries(view)]) + "\n"


def _issue(view: Mapping[str, Any], entry: Entry, seen: set[str]) -> dict[str, Any]:
    file, line = place(view, entry)
    breaks = view["verdict"] == "unusable" and entry.counts
    accepted = f"accepted by {entry.accepted_by or 'a waiver'}: " if entry.state == "accepted" else ""
    remedy = f"; {entry.remedy}" if entry.remedy else ""
    return {
        "description": clipped(f"{entry.code} {accepted}{entry.message}{remedy}", _MAX_DESCRIPTION),
        "check_name": entry.code,
        "fingerprint": _unique(entry.fingerprint, seen),
        "severity": "blocker" if breaks else _SEVERITIES[entry.level],
        "location": {"path": file, "lines": {"begin": line}},
    }


def _unique(fingerprint: str, seen: set[str]) -> str:
    """Return the fingerprint, or one made of it and a number if it was given before."""
    named, number = fingerprint, 1
    while named in seen:
        number += 1
        named = hashlib.sha256(f"{fingerprint}:{number}".encode("utf-8", "surrogatepass")).hexdigest()
    seen.add(named)
    return named
