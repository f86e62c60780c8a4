"""What the formats have in common: the statements of a result, worst first, each with its level and place."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass
from pathlib import PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING, Any, Final, Literal

from collapse_guard.kernels import one_line
from collapse_guard.records import FAMILIES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Level = Literal["error", "warning", "note"]
State = Literal["failed", "accepted", "open"]

_ORDER: Final[dict[str, int]] = {"error": 0, "warning": 1, "note": 2, "failed": 0, "open": 1, "accepted": 2}
_LEVELS: Final[dict[str, Level]] = {"error": "error", "warning": "warning", "info": "note"}
_STATES: Final[dict[str, State]] = {
    "fail": "failed",
    "waived": "accepted",
    "baselined": "accepted",
    "inconclusive": "open",
}
#: What a reviewer can open in the repository; anything else that a finding names is data.
_REVIEWED: Final = {".yaml", ".yml", ".json", ".jsonl", ".toml", ".txt"}


@dataclass(frozen=True, slots=True)
class Entry:
    """One statement of a result.

    Args:
        level: how loud it is; what is accepted is a note, what could not be evaluated is as loud as the gate takes it.
        state: it failed, it failed and that is accepted, or it could not be evaluated.
        counts: whether it alone keeps the exit code from being 0.
        message: one line, control characters escaped.
        fingerprint: names it from run to run.
        finding: as it stands in the view.
    """

    code: str
    title: str
    level: Level
    state: State
    counts: bool
    message: str
    fingerprint: str
    finding: Mapping[str, Any]

    @property
    def remedy(self) -> str:
        """What to do, in one line; may be empty."""
        return one_line(str(self.finding.get("remedy") or ""))

    @property
    def accepted_by(self) -> str:
        """The waiver or baseline that accepts it; may be empty."""
        return one_line(str(self.finding.get("accepted_by") or ""))


def entries(view: Mapping[str, Any]) -> list[Entry]:
    """Return every statement of a result, worst first: by level, then what failed, what is open, what is accepted."""
    titles = {rule["code"]: one_line(rule["title"]) for rule in view["rules"]}
    found = [_entry(view, finding, titles) for finding in view["findings"]]
    return sorted(found, key=lambda entry: (_ORDER[entry.level], _ORDER[entry.state], entry.code))


def missing_counts(view: Mapping[str, Any]) -> bool:
    """Return whether a rule that could not be evaluated keeps the exit code from being 0.

    Under an unusable input it is a consequence, and a kept policy was told to go on (``on_missing_evidence: warn``).
    """
    return view["verdict"] in {"violated", "inconclusive"}


def unread_keys(view: Mapping[str, Any]) -> list[str]:
    """Return the policy keys that no check reads and no finding names, as when CG905 is ignored."""
    named = {finding["subject"] for finding in view["findings"] if finding["code"] == "CG905"}
    return [one_line(key) for key in view["unenforced_policy_keys"] if key not in named]


def _entry(view: Mapping[str, Any], finding: Mapping[str, Any], titles: Mapping[str, str]) -> Entry:
    state = _STATES[finding["status"]]
    loud = {"error": {"error"}, "warning": {"error", "warning"}, "never": set[str]()}[view["fail_on"]]
    fails = view["verdict"] == "unusable" or finding["severity"] in loud
    counts = {"failed": fails, "accepted": False, "open": missing_counts(view)}[state]
    level: Level = _LEVELS[finding["severity"]] if state == "failed" else "note"
    return Entry(
        one_line(finding["code"]),
        titles.get(finding["code"], one_line(finding["code"])),
        _open_level(view) if state == "open" else level,
        state,
        counts,
        one_line(finding["message"]),
        finding["fingerprint"],
        finding,
    )


def _open_level(view: Mapping[str, Any]) -> Level:
    if missing_counts(view):
        return "error"
    return "warning" if view["verdict"] == "kept" else "note"


def family(code: str) -> str:
    """Return the family of a rule, ``plug-in`` for one of another package.

    >>> family("CG201"), family("XX001")
    ('accumulation', 'plug-in')
    """
    return FAMILIES.get(code[:3], "plug-in")


def relative(file: str | None, folder: str = "") -> str | None:
    r"""Return a path from the root of the repository, with ``/``, if it stays inside and a reviewer can open it.

    Args:
        file: from the working directory.
        folder: of the working directory, from the root.

    >>> relative("policies\\gen4.yaml"), relative("../a.yaml", "text"), relative("/data/x.yaml"), relative("a.parquet")
    ('policies/gen4.yaml', 'a.yaml', None, None)
    """
    slashed = (file or "").replace("\\", "/")
    path = PurePosixPath(posixpath.normpath(posixpath.join(folder, slashed)))
    leaves = path.is_absolute() or PureWindowsPath(file or "").drive or ".." in path.parts
    return None if leaves or path.suffix.lower() not in _REVIEWED else str(path)


def place(view: Mapping[str, Any], entry: Entry) -> tuple[str, int]:
    """Return the (file, line) of a repository that a statement points at: never absolute, never a data file.

    A finding without such a place points at the policy, then at the manifest's header, line 1.
    """
    folder = view.get("folder") or ""
    here = relative(entry.finding.get("file"), folder)
    if here is not None:
        return here, max(1, entry.finding.get("line") or 1)
    policy = view["policy"].get("file") if view.get("policy") else None
    for file in (policy, view.get("manifest_file")):
        fallback = relative(file, folder)
        if fallback is not None:
            return fallback, 1
    outside = PurePosixPath((policy or view.get("manifest_file") or "").replace("\\", "/"))
    return outside.name or "collapse_guard.yaml", 1


def open_reasons(found: Sequence[Entry]) -> list[tuple[str, list[str], Entry]]:
    """Return (message, codes, first entry) of what could not be evaluated, one per message."""
    grouped: dict[str, list[Entry]] = {}
    for entry in found:
        if entry.state == "open":
            grouped.setdefault(entry.message, []).append(entry)
    return [(text, sorted({entry.code for entry in each}), each[0]) for text, each in grouped.items()]


def clipped(text: str, n_characters: int) -> str:
    """Return a text of at most about ``n_characters``, which says so where it was cut.

    >>> clipped("abcdef", 3)
    'abc... (3 more characters)'
    """
    n_more = len(text) - n_characters
    return text if n_more <= 0 else f"{text[:n_characters]}... ({n_more} more characters)"
