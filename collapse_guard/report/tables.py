"""Tables for the terminal: aligned plain text, or colour."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table as Drawn
from rich.text import Text

from collapse_guard.kernels import one_line

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class Table:
    r"""A table of plain values; numbers stand to the right, a missing value is a dash.

    >>> print("\n".join(Table("sources", ("name", "rows"), (("web", 1200), ("own", None))).lines()))
    name   rows
    web   1,200
    own       -
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]

    def lines(self) -> list[str]:
        """Return the table as plain lines without its title."""
        cells = [self.columns, *(tuple(map(shown, row)) for row in self.rows)]
        widths = [max(len(row[place]) for row in cells) for place in range(len(self.columns))]
        right = self._right()
        padded = ([_padded(*each) for each in zip(row, widths, right, strict=True)] for row in cells)
        return ["  ".join(row).rstrip() for row in padded]

    def drawn(self) -> Drawn:
        """Return the table for a terminal with colours."""
        table = Drawn(show_header=True, header_style="bold", box=None, pad_edge=False)
        for name, is_right in zip(self.columns, self._right(), strict=True):
            table.add_column(name, justify="right" if is_right else "left", overflow="fold")
        for row in self.rows:
            table.add_row(*(Text(shown(value)) for value in row))
        return table

    def _right(self) -> list[bool]:
        numbers = (int, float, type(None))
        filled = [[row[place] for row in self.rows] for place in range(len(self.columns))]
        return [bool(values) and all(isinstance(value, numbers) for value in values) for values in filled]


def shown(value: Any) -> str:
    """Return one value as it stands in a table: whole numbers with commas, others with six digits at most.

    >>> [shown(value) for value in (1200, 0.25, 3.0, None, "a b")]
    ['1,200', '0.25', '3', '-', 'a b']
    """
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:,.0f}" if value.is_integer() else f"{value:,.9g}"
    return f"{value:,}" if isinstance(value, int) else one_line(str(value))


def _padded(text: str, width: int, is_right: bool) -> str:  # noqa: FBT001 - called by position from a zip
    return text.rjust(width) if is_right else text.ljust(width)


def section_lines(sections: Sequence[str | Table]) -> list[str]:
    """Return lines and tables as plain text; a table has its title above, and an empty one is left out."""
    lines: list[str] = []
    for section in sections:
        if isinstance(section, str):
            lines.append(one_line(section))
        elif section.rows:
            lines += ["", section.title, *section.lines()] if section.title else section.lines()
    return lines


def print_sections(sections: Sequence[str | Table], console: Console | None = None) -> None:
    """Print lines and tables in colour (NO_COLOR is honoured)."""
    screen = console or Console(highlight=False)
    for section in sections:
        if isinstance(section, str):
            screen.print(Text(one_line(section)))
        elif section.rows:
            if section.title:
                screen.print(Text(f"\n{section.title}", style="bold"))
            screen.print(section.drawn())
