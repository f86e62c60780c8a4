"""A study as people read it in a terminal: a table, and what happened in words."""

from __future__ import annotations

import math
from itertools import groupby
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text


def study_lines(view: dict[str, Any]) -> list[str]:
    """Return a study as plain text: a title, a table with aligned columns, and a sentence per mechanism."""
    rows = [_titles(view), *(_cells(view, chain) for chain in view["chains"])]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    table = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return [*_opening(view), *table, "", *sentences(view)]


def print_study(view: dict[str, Any], console: Console | None = None) -> None:
    """Print a study in colour (NO_COLOR is honoured)."""
    screen = console or Console(highlight=False)
    table = Table(box=None, header_style="bold", pad_edge=False)
    for title in _titles(view):
        table.add_column(title, overflow="fold")
    for chain in view["chains"]:
        cells = [Text(cell) for cell in _cells(view, chain)]  # names are shown as they are, not read as markup
        table.add_row(*cells, style="red" if _halted_share(chain) >= 0.5 else None)  # noqa: PLR2004 - the median run
    for line in _opening(view):
        screen.print(Text(line))
    screen.print(table)
    screen.print()
    for line in sentences(view):
        screen.print(Text(line))


def sentences(view: dict[str, Any]) -> list[str]:
    """Return what happened: which policies halt and when, or where the first figure ends if nothing is watched."""
    said = []
    for variant, group in groupby(view["chains"], key=lambda chain: chain["variant"]):
        text = _told(view, list(group))
        said.append(f"{variant}: {text}" if variant else text[0].upper() + text[1:])
    return said


def _told(view: dict[str, Any], chains: list[dict[str, Any]]) -> str:
    if all(_is_empty(chain["log_e"]["median"]) for chain in chains):
        name = view["figures"][0]
        ends = ", ".join(f"{chain['policy']} {_last(chain['figures'][name]['median']):.3g}" for chain in chains)
        return f"{name} after {view['generations']} generations, in the median: {ends}."
    halted = [chain for chain in chains if any(chain["halts"])]
    told = [f"{chain['policy']} in {_count(chain)} at generation {_median_halt(chain):g}" for chain in halted]
    calm = ", ".join(chain["policy"] for chain in chains if not any(chain["halts"]))
    first = f"the guard halts {'; '.join(told)} (median)" if told else "the guard halts nothing"
    return f"{first}{f'; never {calm}' if told and calm else ''}."


def _opening(view: dict[str, Any]) -> list[str]:
    runs = "1 run" if view["runs"] == 1 else f"{view['runs']} runs"
    size = f"{runs} of {view['generations']} generations, seed {view['seed']}"
    share = f"anchor share {view['real_share']:g}"
    return [
        f"{view['experiment']}: {view['title']}; {size}, {share}",
        "median of the first -> of the last generation [10 % .. 90 % of runs]",
        "",
    ]


def _titles(view: dict[str, Any]) -> list[str]:
    has_variants = any(chain["variant"] for chain in view["chains"])
    return [*(["mechanism"] if has_variants else []), "policy", *view["figures"], "log e, highest", "halts"]


def _cells(view: dict[str, Any], chain: dict[str, Any]) -> list[str]:
    has_variants = any(each["variant"] for each in view["chains"])
    watched = not _is_empty(chain["log_e"]["median"])
    highest = max((value for value in chain["log_e"]["high"] if not math.isnan(value)), default=math.nan)
    return [
        *([chain["variant"]] if has_variants else []),
        chain["policy"],
        *(_figure(chain["figures"][name]) for name in view["figures"]),
        f"{highest:.1f}" if watched else "not watched",
        _halts(chain) if watched else "-",
    ]


def _figure(bands: dict[str, list[float]]) -> str:
    first, last = bands["median"][0], _last(bands["median"])
    return f"{first:.3g} -> {last:.3g} [{_last(bands['low']):.3g} .. {_last(bands['high']):.3g}]"


def _halts(chain: dict[str, Any]) -> str:
    return f"{_count(chain)} at {_median_halt(chain):g}" if any(chain["halts"]) else f"{_count(chain)}"


def _count(chain: dict[str, Any]) -> str:
    return f"{sum(halt > 0 for halt in chain['halts'])} of {len(chain['halts'])}"


def _median_halt(chain: dict[str, Any]) -> float:
    return float(np.median([halt for halt in chain["halts"] if halt]))


def _halted_share(chain: dict[str, Any]) -> float:
    return float(np.mean([halt > 0 for halt in chain["halts"]]))


def _last(values: list[float]) -> float:
    """Return the last value that is there."""
    return next((value for value in reversed(values) if not math.isnan(value)), math.nan)


def _is_empty(values: list[float]) -> bool:
    return all(math.isnan(value) for value in values)
