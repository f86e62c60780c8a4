"""Findings of a gate result as the page shows them: by rule, loudest first, with what was measured and the limit."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final

from collapse_guard._optional import need
from collapse_guard.kernels import one_line
from collapse_guard.report.formats.entries import Entry, clipped, entries, open_reasons, unread_keys
from collapse_guard.report.gate_grid import meter, number, percent
from collapse_guard.report.view import plain

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

#: Findings of one rule that are shown, those furthest beyond their limit first.
MOST_PER_RULE: Final = 20
#: Of them, as many stand open; the rest is folded.
MOST_OPEN: Final = 5
#: Characters of evidence that stand on one line.
_ONE_LINE: Final = 200
#: Characters of the evidence of a finding that are shown.
MOST_EVIDENCE: Final = 1_000
_STATES: Final = {"failed": "", "accepted": "accepted", "open": "not evaluated"}
_SIGNS: Final = {"error": "\u2716", "warning": "\u25b2", "note": "\u25cf"}


@dataclass(frozen=True)
class Group:
    """Findings of one rule.

    Args:
        level: ``error``, ``warning`` or ``note``.
        sign: the level as a sign, for those who do not see its colour.
        state: empty if they failed.
        n_findings: how many there are.
        shown: the first of them, in plain text.
    """

    code: str
    title: str
    level: str
    sign: str
    state: str
    docs: str
    n_findings: int
    shown: list[dict[str, Any]]

    @property
    def first(self) -> list[dict[str, Any]]:
        """Findings that stand open."""
        return self.shown[:MOST_OPEN]

    @property
    def folded(self) -> list[dict[str, Any]]:
        """Findings that are folded."""
        return self.shown[MOST_OPEN:]

    @property
    def n_more(self) -> int:
        """Findings that are not shown."""
        return self.n_findings - len(self.shown)


def groups_of(view: Mapping[str, Any]) -> list[Group]:
    """Return what failed or was accepted, a group per rule, loudest first; what is open stands elsewhere."""
    told = [entry for entry in entries(view) if entry.state != "open"]
    return [_group(list(found)) for _, found in groupby(told, key=lambda entry: (entry.level, entry.state, entry.code))]


def _group(found: Sequence[Entry]) -> Group:
    first = found[0]
    worst = sorted(found, key=lambda entry: -_excess(entry.finding))[:MOST_PER_RULE]
    return Group(
        first.code,
        first.title,
        first.level,
        _SIGNS[first.level],
        _STATES[first.state],
        _web_page(first.finding.get("docs")),
        len(found),
        [_shown(entry) for entry in worst],
    )


def _web_page(address: object) -> str:
    """Return an address that a reader may follow, nothing for another scheme: anyone may have written a result."""
    return address if isinstance(address, str) and address.startswith("https://") else ""


def _excess(finding: Mapping[str, Any]) -> float:
    """Return how far a figure lies from its limit, as a ratio to the limit."""
    measured, limit = finding.get("measured"), finding.get("limit")
    return 0.0 if measured is None or limit is None else abs(measured - limit) / (abs(limit) or 1.0)


def _shown(entry: Entry) -> dict[str, Any]:
    finding, unit = entry.finding, entry.finding.get("unit") or ""
    file, line = finding.get("file"), finding.get("line")
    return {
        "message": entry.message,
        "bar": meter(dict(finding)),
        "figures": _figures(finding, unit),
        "place": (f"{file}:{line}" if line else file) if file else "",
        "key": finding.get("key") or "",
        "remedy": entry.remedy,
        "accepted_by": entry.accepted_by,
        "fingerprint": entry.fingerprint,
        "evidence": _evidence(finding.get("evidence") or {}),
    }


def _figures(finding: Mapping[str, Any], unit: str) -> str:
    """Return what was measured, the limit, and how sure it is, as one line; empty if nothing was measured."""
    if finding.get("measured") is None:
        return ""
    said = [f"measured {amount(finding['measured'], unit)}"]
    if finding.get("limit") is not None:
        said.append(f"limit {amount(finding['limit'], unit)}")
    if finding.get("interval"):
        said.append(f"interval {' to '.join(amount(end, unit) for end in finding['interval'])}")
    if finding.get("n") is not None:
        said.append(f"n = {finding['n']:,}")
    return ", ".join([*said, *([finding["method"]] if finding.get("method") else [])])


def amount(value: float, unit: str) -> str:
    """Return a figure in its unit for people.

    >>> amount(0.4, "share"), amount(1200, "rows"), amount(1.5, "")
    ('40.00 %', '1,200 rows', '1.5')
    """
    return percent(value) if unit == "share" else f"{number(value)} {unit}".rstrip()


def _evidence(evidence: Mapping[str, Any]) -> Any:
    """Return evidence as indented lines, escaped; their ends are the only ones."""
    text = json.dumps(plain(evidence), sort_keys=True, ensure_ascii=False) if evidence else ""
    if len(text) > _ONE_LINE:
        text = clipped(json.dumps(plain(evidence), sort_keys=True, indent=1, ensure_ascii=False), MOST_EVIDENCE)
    return need("markupsafe", extra="report").escape("\n".join(map(one_line, text.split("\n"))))


def not_checked(view: Mapping[str, Any]) -> list[str]:
    """Return what the gate did not look at, a line each: open rules, ignored ones, keys without a check, notes."""
    found = [f"{message} ({', '.join(codes)})" for message, codes, _ in open_reasons(entries(view))]
    found += [f"no check of this version reads the policy key {key}" for key in unread_keys(view)]
    if view["ignored_rules"]:
        found.append(f"left out by request: {', '.join(view['ignored_rules'])}")
    return found + list(view["notes"])


def counts(view: Mapping[str, Any]) -> list[tuple[str, int]]:
    """Return how many findings there are of each kind, those without any left out."""
    found = Counter((each.level, each.state) for each in entries(view))
    numbers = [_numbered(level, found[level, "failed"]) for level in ("error", "warning", "note")]
    for word, state in (("accepted", "accepted"), ("not evaluated", "open")):
        numbers.append((word, sum(n for (_, kind), n in found.items() if kind == state)))
    return [(name, n) for name, n in numbers if n]


def _numbered(noun: str, n: int) -> tuple[str, int]:
    return (noun if n == 1 else f"{noun}s", n)
