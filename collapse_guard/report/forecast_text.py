"""A forecast for the terminal: the answer, a short table, what is left out; and the table for other pages."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from collapse_guard.kernels import one_line

#: Lines of the table on a terminal.
MOST_LINES: Final = 8
_FINE: Final = 20


class Column(NamedTuple):
    """One way of mixing, as text: its name, what its mix holds, and a cell per generation."""

    name: str
    mix: str
    cells: tuple[str, ...]
    simulated: tuple[str, ...]


class ForecastTable(NamedTuple):
    """Generations and one column per way of mixing."""

    generations: tuple[int, ...]
    columns: tuple[Column, ...]


def forecast_table(view: dict[str, Any], *, most: int) -> ForecastTable:
    """Return at most ``most`` generations of a forecast as text, 2 or more; the first and the last always."""
    arms = view["arms"]
    generations = [row["generation"] for row in arms[0]["closed_form"] or arms[0]["simulation"]]
    chosen = _chosen(generations, most)
    columns = []
    for arm in arms:
        rows = arm["closed_form"] or arm["simulation"]
        simulated = arm["simulation"] if arm["closed_form"] and arm["simulation"] else []
        columns.append(
            Column(
                arm["name"],
                mix_of(arm),
                tuple(band_text(rows[at], view) for at in chosen),
                tuple(band_text(simulated[at], view) for at in chosen) if simulated else (),
            )
        )
    return ForecastTable(tuple(generations[at] for at in chosen), tuple(columns))


def _chosen(generations: list[int], most: int) -> list[int]:
    """Return the places of up to ``most`` generations, closer together where drift is fast: at the beginning."""
    if len(generations) <= most:
        return list(range(len(generations)))
    ideal = np.geomspace(1, generations[-1], most)
    near = np.abs(np.log(np.array(generations))[None, :] - np.log(ideal)[:, None]).argmin(axis=1)
    return [int(at) for at in np.unique(near)]


def band_text(band: dict[str, Any], view: dict[str, Any]) -> str:
    """Return mean and band, such as ``397 (385-409)``; one decimal for a tail of few classes."""
    digits = 0 if view["tail"]["n_classes"] >= _FINE else 1
    return f"{band['mean']:.{digits}f} ({band['low']}-{band['high']})"


def mix_of(arm: dict[str, Any]) -> str:
    """Return the real share of an arm's mix for people."""
    return f"{percent(arm['real_share'])} real{' at the end' if arm['keeps_everything'] else ''}"


def percent(share: float) -> str:
    """Return a share in percent, with two digits that say something.

    >>> percent(0.5), percent(0.004)
    ('50 %', '0.4 %')
    """
    return f"{100 * share:.2g} %" if share < 1 else "100 %"


def forecast_lines(view: dict[str, Any]) -> list[str]:
    """Return the plain text of a forecast, a line each."""
    table = forecast_table(view, most=MOST_LINES)
    header = ["generation", *(f"{column.name} ({column.mix})" for column in table.columns)]
    rows = [[str(generation), *cells] for generation, *cells in _rows(table)]
    widths = [max(map(len, texts)) for texts in zip(header, *rows, strict=True)]
    lines = ["  ".join(text.rjust(width) for text, width in zip(row, widths, strict=True)) for row in [header, *rows]]
    return [*answer(view), "", _caption(view), *lines, "", *footer(view)]


def print_forecast(view: dict[str, Any], console: Console | None = None) -> None:
    """Print a forecast in colour (NO_COLOR is honoured)."""
    screen = console or Console(highlight=False)
    for line in answer(view):
        screen.print(Text(line, style="bold"))
    table = forecast_table(view, most=MOST_LINES)
    grid = Table(header_style="bold", box=None, pad_edge=False)
    for title in ("generation", *(f"{column.name}\n{column.mix}" for column in table.columns)):
        grid.add_column(title, justify="right")
    for generation, *cells in _rows(table):
        grid.add_row(str(generation), *cells)
    screen.print()
    screen.print(Text(_caption(view), style="italic"))
    screen.print(grid)
    screen.print()
    for line in footer(view):
        screen.print(Text(line, style="dim"))


def _rows(table: ForecastTable) -> list[tuple[Any, ...]]:
    return list(zip(table.generations, *(column.cells for column in table.columns), strict=True))


def answer(view: dict[str, Any]) -> list[str]:
    """Return the sentences that a manager reads."""
    return [view["summary"], view["smallest_real_share"]["sentence"]]


def _caption(view: dict[str, Any]) -> str:
    return f"rare classes alive of {view['tail']['n_classes']}, mean (10-90 % of runs); {method(view)}"


def method(view: dict[str, Any]) -> str:
    """Return how the figures were made, and how well the two ways agree."""
    difference = view["largest_difference_in_standard_errors"]
    if view["biases"]["any"]:
        return f"simulated, {view['n_chains']:,} chains: {biases_of(view)}"
    if difference is None:
        return "closed form"
    return f"closed form; {view['n_chains']:,} simulated chains differ by at most {difference:.1f} standard errors"


def biases_of(view: dict[str, Any]) -> str:
    """Return the declared biases as text."""
    biases = view["biases"]
    named = [("temperature", 1.0), ("top_p", 1.0), ("tail_removal", 0.0)]
    return ", ".join(f"{name} {biases[name]:g}" for name, none in named if biases[name] != none)


def footer(view: dict[str, Any]) -> list[str]:
    """Return the yardstick, the notes, what the model leaves out, and the digests."""
    lines = [f"fresh real data, {view['n_rows']:,} rows: {band_text(view['fresh_real'], view)} of the rare classes"]
    lines += [f"note: {one_line(note)}" for note in view["notes"]]
    lines += [f"not modelled: {text}" for text in view["leaves_out"]]
    digests = [("manifest", view["manifest_digest"]), ("policy", view["policy_digest"])]
    return [*lines, "  ".join(f"{name} {digest[:19]}" for name, digest in digests if digest)]
