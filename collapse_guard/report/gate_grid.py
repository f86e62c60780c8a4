"""What a section of the page of a gate result is made of: tables of plain text, small bars, and numbers for people."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from collapse_guard._optional import need

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

#: Kinds of pieces of a bar; each has a colour.
_PIECES: Final = frozenset(
    {"real", "synthetic", "derived", "simulated", "mixed", "unknown", "bad", "held", "taken", "added"}
)
#: A table with more rows than this is folded.
MOST_OPEN: Final = 12


@dataclass(frozen=True)
class Grid:
    """A table.

    Args:
        caption: what it shows.
        columns: titles; the first column names the row.
        rows: a cell per column, text or markup.
        texts: columns that hold text and stand to the left, beside the first.
        note: what is left out.
    """

    caption: str
    columns: tuple[str, ...]
    rows: Sequence[Sequence[Any]]
    texts: frozenset[int] = frozenset()
    note: str = ""

    @property
    def is_open(self) -> bool:
        """Whether it is short enough to be shown at once."""
        return len(self.rows) <= MOST_OPEN


@dataclass(frozen=True)
class Part:
    """A plot, if there is one, with its numbers."""

    grid: Grid
    plot: Any = ""
    note: str = ""


@dataclass(frozen=True)
class Section:
    """A section of the page.

    Args:
        anchor: name of the place in the page.
        says: what is to be known before the plots, a paragraph each.
        parts: plots and tables; those without rows are left out.
    """

    anchor: str
    title: str
    says: tuple[str, ...] = ()
    parts: tuple[Part, ...] = ()

    @property
    def shown(self) -> list[Part]:
        """Parts that have something to show."""
        return [part for part in self.parts if part.grid.rows]


def percent(share: float | None) -> str:
    """Return a share for people: two digits after the point, so that 49.96 % is not taken for 50 %.

    >>> percent(0.49961), percent(1.0), percent(None)
    ('49.96 %', '100.00 %', '-')
    """
    return "-" if share is None else f"{100 * share:.2f} %"


def number(value: float | None) -> str:
    """Return a number for people: whole ones in full, others with six digits.

    >>> number(1234567), number(0.123456789), number(None)
    ('1,234,567', '0.123457', '-')
    """
    if value is None:
        return "-"
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.6g}"


def crossed(text: str, *, when: bool) -> str:
    """Return a text with a cross behind it, if what it says is beyond a limit.

    >>> crossed("12.00 %", when=False)
    '12.00 %'
    """
    return f"{text} \u2716" if when else text


def more(n: int, what: str) -> str:
    """Return how much was left out, nothing if all is there.

    >>> more(3, "sources"), more(0, "sources")
    ('3 more sources are not listed.', '')
    """
    return f"{n:,} more {what} are not listed." if n > 0 else ""


def drawn(svg: str) -> Any:
    """Return SVG of ours as markup that is not escaped."""
    return need("markupsafe", extra="report").Markup(svg)


def bar(pieces: Iterable[tuple[str, float]], marks: Iterable[tuple[str, float]] = ()) -> Any:
    """Return a small bar of pieces (class, share) that follow each other, with marks (class, share) across it.

    It repeats what stands beside it in numbers, and is hidden from those who hear the page.

    >>> str(bar([("real", 0.5)]))
    '<svg class="bar" viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true"><rect class="track" \
width="100" height="10"/><rect class="real" x="0" width="50" height="10"/></svg>'
    """
    end, parts = 0.0, ['<rect class="track" width="100" height="10"/>']
    for name, share in pieces:
        if share > 0:
            known = name if name in _PIECES else "unknown"  # a result that is read again may say anything
            parts.append(f'<rect class="{known}" x="{_place(end)}" width="{_place(share)}" height="10"/>')
            end += share
    parts += [f'<path class="{name}" d="M{_place(share)} 0V10"/>' for name, share in marks]
    head = '<svg class="bar" viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true">'
    return drawn(f"{head}{''.join(parts)}</svg>")


def _place(share: float) -> str:
    return f"{100 * min(max(share, 0.0), 1.0):.5g}"


#: Room beyond the larger of a figure and its limit.
_ROOM: Final = 1.15


def meter(finding: dict[str, Any]) -> Any:
    """Return a bar of what was measured, with a mark at the limit and the interval; nothing without both figures."""
    measured, limit = finding.get("measured"), finding.get("limit")
    ends = finding.get("interval") or ()
    figures = [each for each in (measured, limit, *ends) if each is not None]
    if measured is None or limit is None or not all(math.isfinite(each) and each >= 0 for each in figures):
        return ""
    whole = max(figures) * _ROOM or 1.0
    if finding.get("unit") == "share" and max(figures) > 1 / 3:
        whole = 1.0
    name = "bad" if finding.get("status") == "fail" else "held"
    marks = [("end", each / whole) for each in ends]
    return bar([(name, measured / whole)], [*marks, ("limit", limit / whole)])
