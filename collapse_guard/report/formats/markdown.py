"""A gate result as GitHub-flavoured Markdown, for a step's summary or a comment.

Text from the data cannot become markup: punctuation is escaped, and what GitHub would turn into a mention, a reference
or a link by itself is parted by a zero-width space.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from collapse_guard.kernels import one_line
from collapse_guard.report.formats.entries import Entry, clipped, entries, open_reasons, unread_keys
from collapse_guard.report.formats.json_v1 import json_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

#: Size of the whole text, in bytes; a GitHub step may write 1 MiB.
MAX_BYTES: Final = 200_000
_MAX_TEXT, _MAX_EVIDENCE, _MAX_LISTED = 1000, 4000, 200
#: The head of the page always fits: the shortest text has room for names of this length.
_MAX_NAME: Final = 80
#: Kept free for what closes a part and for the line that says what was cut.
_RESERVE: Final = 300
#: What is markup anywhere in a line, and what is at its start alone.
_MARKUP: Final = re.compile(r"([\\`*_\[\]<|~&$])")
_LINE_START: Final = re.compile(r"^(\s*)([-+:#>=])|^(\s*\d+)([.)])(?=\s|$)")
#: Mentions, issue numbers, links without markup, emoji names.
_MAGIC: Final = re.compile(
    r"(?<=@)|(?<=#)(?=\w)|(?<=:)(?=//)|(?<=www)(?=\.)|(?<=gh)(?=-)|(?<=:)(?=[\w+-]+:)|(?<=mailto)(?=:)|(?<=xmpp)(?=:)",
    re.IGNORECASE,
)
_WEB_PAGE: Final = re.compile(r"https://[A-Za-z0-9.-]+(/[A-Za-z0-9._~/#-]*)?")
_SIGNS: Final = {
    "kept": "passed",
    "violated": "**failed**",
    "unusable": "**unusable input**",
    "inconclusive": "**inconclusive**",
}


def markdown(view: dict[str, Any], *, max_bytes: int = MAX_BYTES) -> str:
    """Return the verdict, the findings, their evidence, what was not evaluated, and the waivers.

    Args:
        max_bytes: the longest text, in UTF-8; from 2000. What does not fit is counted in a last line.
    """
    page = _Page(max_bytes)
    found = entries(view)
    page.add(_head(view))
    page.add_table("Findings", ("rule", "level", "finding", "measured", "limit", "place"), _rows(found))
    page.add_list("Not evaluated", _open(view, found))
    page.add_table("Waivers", ("waiver", "rule", "where", "owner", "reason", "expires", "findings"), _waivers(view))
    page.add_list("Notes", _notes(view))
    page.add_details(_evidence(found))
    return page.text()


class _Page:
    """Markdown that stays within a number of bytes, and counts what it leaves out."""

    def __init__(self, max_bytes: int) -> None:
        self._parts: list[str] = []
        self._room = max_bytes - _RESERVE
        self._n_cut = 0

    def add(self, text: str) -> bool:
        """Add a text if there is room for it; returns whether there was."""
        size = len(text.encode())
        if size > self._room:
            self._n_cut += 1
            return False
        self._room -= size
        self._parts.append(text)
        return True

    def add_table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Add a table, row by row, if it has any."""
        if rows and self.add(f"\n## {title}\n\n{_row(columns)}{_row(['---'] * len(columns))}"):
            for row in rows:
                self.add(_row(row))

    def add_list(self, title: str, lines: Sequence[str]) -> None:
        """Add a list, line by line, if it has any."""
        if lines and self.add(f"\n## {title}\n\n"):
            for line in lines:
                self.add(f"- {line}\n")

    def add_details(self, blocks: Iterator[str]) -> None:
        """Add blocks that are folded away, if there are any."""
        opened = False
        for block in blocks:
            opened = opened or self.add("\n<details><summary>Evidence</summary>\n")
            self.add(block)
        if opened:
            self._parts.append("\n</details>\n")

    def text(self) -> str:
        """Return the whole text."""
        cut = f"\n... and {self._n_cut} more entries, left out for their length; the JSON result has them all.\n"
        return "".join([*self._parts, cut if self._n_cut else ""])


def escape(text: str, n_characters: int = _MAX_TEXT) -> str:
    r"""Return a text from the data as Markdown that shows just that text, on one line.

    >>> escape("a|b <script>")
    'a\\|b \\<script>'
    """
    inert = _MAGIC.sub("\u200b", clipped(one_line(text), n_characters))
    marked = _MARKUP.sub(r"\\\1", inert)
    return _LINE_START.sub(lambda at: f"{at[1] or at[3] or ''}\\{at[2] or at[4]}", marked)


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |\n"


def _head(view: Mapping[str, Any]) -> str:
    name = view["policy"].get("name") if view.get("policy") else None
    lines = [f"# collapse-guard: {_SIGNS[view['verdict']]}", ""]
    named = f"Policy {escape(name, _MAX_NAME)}, exit" if name else "Exit"
    lines += [f"{named} code {view['exit_code']}.", ""]
    if view["unsafe_waivers"]:
        lines += ["**Waivers of rules that cannot be waived are allowed** (--allow-unsafe-waivers).", ""]
    lines += [_row(("what", "digest")).strip(), "| --- | --- |"]
    digests = [(kind, view[f"{kind}_digest"]) for kind in ("policy", "manifest", "parent")]
    lines += [_row((kind, escape(digest) if digest else "none")).strip() for kind, digest in digests]
    proof = view["accumulation"]
    if proof:
        lines += ["", f"Accumulation: {escape(str(proof.get('summary', '')), 2 * _MAX_NAME)}"]
    return "\n".join(lines) + "\n"


def _rows(found: Sequence[Entry]) -> list[tuple[str, ...]]:
    return [_cells(entry) for entry in found if entry.state != "open"]


def _cells(entry: Entry) -> tuple[str, ...]:
    finding = entry.finding
    said = clipped(entry.message, _MAX_TEXT // 2) + (f"; {entry.remedy}" if entry.remedy else "")
    level = f"accepted by {escape(entry.accepted_by)}" if entry.accepted_by else entry.level
    figures = (_figure(finding.get(name), finding.get("unit", "")) for name in ("measured", "limit"))
    return (_linked(entry), level, escape(said), *figures, _place(finding))


def _linked(entry: Entry) -> str:
    url = entry.finding.get("docs") or ""
    return f"[{escape(entry.code)}]({url})" if _WEB_PAGE.fullmatch(url) else escape(entry.code)


def _figure(value: float | None, unit: str) -> str:
    return "" if value is None else escape(f"{value:g} {unit}".strip())


def _place(finding: Mapping[str, Any]) -> str:
    file, line = finding.get("file"), finding.get("line")
    return "" if not file else escape(f"{file}:{line}" if line else file)


def _open(view: Mapping[str, Any], found: Sequence[Entry]) -> list[str]:
    reasons = [f"{escape(text)}: {escape(', '.join(codes))}" for text, codes, _ in open_reasons(found)]
    unread, ignored = unread_keys(view), view["ignored_rules"]
    reasons += [f"policy keys that no check of this version reads: {escape(', '.join(unread))}"] if unread else []
    return [*reasons, *([f"ignored on request: {escape(', '.join(ignored))}"] if ignored else [])]


def _notes(view: Mapping[str, Any]) -> list[str]:
    return [escape(note) for note in view["notes"]]


def _waivers(view: Mapping[str, Any]) -> list[tuple[str, ...]]:
    return [
        (
            escape(each["id"]),
            escape(each["rule"]),
            escape(", ".join(f"{key} {value}" for key, value in each["where"].items()) or "everywhere"),
            escape(each["owner"]),
            escape(each["reason"]),
            escape(f"{each['expires']} ({each['days_left']} days left)"),
            str(each["n_findings"]),
        )
        for each in view["waivers"]
    ]


def _evidence(found: Sequence[Entry]) -> Iterator[str]:
    """Give a block per finding with evidence: its figures as JSON; a line of JSON never closes a fence."""
    for entry in found[:_MAX_LISTED]:
        evidence = entry.finding.get("evidence")
        if not evidence or entry.state == "open":
            continue
        body = "\n".join(map(one_line, clipped(json_text(evidence), _MAX_EVIDENCE).split("\n")))
        subject = f" {escape(entry.finding['subject'])}" if entry.finding.get("subject") else ""
        yield f"\n{escape(entry.code)}{subject}\n\n```json\n{body}\n```\n"
