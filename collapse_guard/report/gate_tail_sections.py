"""Sections of the page of a gate result about the rare classes: tails, filters, diversity, the audit series."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from collapse_guard.report.gate_grid import Grid, Part, Section, bar, crossed, drawn, more, number, percent
from collapse_guard.report.gate_plots import (
    MOST_SERIES,
    bin_label,
    coverage_plot,
    diversity_plot,
    letter,
    rank_plot,
    removal_plot,
    series_plot,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

_MEASURE: Final = "name a file of measurements (collapse-guard/measurement/1) under measurements.files in the policy"


def tails_section(view: Mapping[str, Any]) -> Section:
    """Return rows per class by rank, coverage by size of the class, and the classes that are gone."""
    tails = view["figures"]["tails"]
    if tails is None:
        text = "No row carries a class: name the class column when the manifest is written, and tails can be shown."
        return Section("tails", "Tails", (text,))
    against = "the real rows here, as no reference was given" if tails["reference"] is None else tails["reference"]
    is_gone = "class is" if tails["n_lost"] == 1 else "classes are"
    least = f", classes from {tails['min_class_rows']} rows" if tails["min_class_rows"] > 1 else ""
    new = f" {tails['n_new']:,} classes here are not in the reference." if tails["n_new"] else ""
    said = f"{tails['n_lost']:,} of {tails['n_classes']:,} {is_gone} gone. Reference: {against}{least}.{new}"
    parts = (
        Part(_classes(tails), drawn(rank_plot(tails))),
        Part(_coverage(tails), drawn(coverage_plot(tails["bins"])) if tails["bins"] else ""),
        Part(_gone(tails)),
    )
    return Section("tails", "Tails", (said,), parts)


def _classes(tails: dict[str, Any]) -> Grid:
    rows = [
        (
            each["class"],
            number(each["rank"]),
            number(each["reference_rows"]),
            number(each["rows"]) if each["rows"] else crossed("gone", when=True),
            number(each["real_rows"]),
            number(each["synthetic_rows"]),
        )
        for each in tails["classes"]
    ]
    columns = ("class", "rank", "reference rows", "rows that train", "real rows", "synthetic rows")
    n_all = tails["n_classes"]
    note = f"Listed are the rarest classes, and others spread over the rest: {len(rows):,} of {n_all:,}."
    return Grid("Rows per class", columns, rows, note=note if n_all > len(rows) else "")


def _coverage(tails: dict[str, Any]) -> Grid:
    rows = [
        (
            bin_label(each),
            bar([("real", each["n_alive"] / each["n_classes"])]),
            percent(each["n_alive"] / each["n_classes"]),
            number(each["n_alive"]),
            number(each["n_classes"]),
            number(each["reference_rows"]),
            number(each["rows"]),
            number(each["real_rows"]),
        )
        for each in tails["bins"]
    ]
    of_classes = ("real rows of a class", "", "still there", "classes there", "classes")
    of_rows = ("reference rows", "rows that train", "real rows")
    return Grid("Coverage by size of the class", (*of_classes, *of_rows), rows, frozenset({1}))


def _gone(tails: dict[str, Any]) -> Grid:
    rows = [(each["class"], number(each["reference_rows"])) for each in tails["lost"]]
    note = more(tails["n_lost"] - len(rows), "classes")
    return Grid("Classes that are gone", ("class", "rows in the reference"), rows, note=note)


def filters_section(view: Mapping[str, Any]) -> Section:
    """Return what filters removed, by size of the class, real and synthetic sources beside each other."""
    receipts = view["figures"]["filters"]
    if not receipts:
        text = "The manifest holds no receipt of a filter: filters that the guard runs while it curates leave one."
        return Section("filter", "Filter", (text,))
    listed = [
        (
            letter(place) if place < MOST_SERIES else str(place + 1),
            each["filter"],
            each["source"],
            each["origin"] or "-",
            number(each["rows"]),
            number(each["kept_rows"]),
            percent(each["removed_share"]),
            _interval(each),
        )
        for place, each in enumerate(receipts)
    ]
    columns = ("receipt", "filter", "source", "origin", "rows", "kept", "removed", "95 % interval")
    bins = [
        (
            letter(place) if place < MOST_SERIES else str(place + 1),
            bin_label(each),
            number(each["n_classes"]),
            number(each["rows"]),
            number(each["kept_rows"]),
            percent(each["removed_share"]),
            _interval(each),
        )
        for place, receipt in enumerate(receipts)
        for each in receipt["bins"]
    ]
    of_bins = ("receipt", "real rows of the class", "classes", "rows", "kept", "removed", "95 % interval")
    note = f"The plot shows the first {MOST_SERIES} of {len(receipts)} receipts." if len(receipts) > MOST_SERIES else ""
    parts = (
        Part(Grid("Receipts", columns, listed, frozenset({1, 2, 3}))),
        Part(Grid("Removal by size of the class", of_bins, bins, note=note), drawn(removal_plot(receipts))),
    )
    said = "A filter that takes more of rare classes than of common ones makes the tail thinner; intervals are exact."
    return Section("filter", "Filter", (said,), parts)


def _interval(each: Mapping[str, Any]) -> str:
    return "-" if each["low"] is None else f"{percent(each['low'])} to {percent(each['high'])}"


def diversity_section(view: Mapping[str, Any]) -> Section:
    """Return how many classes train and what they are worth, and the figures of diversity that were measured."""
    found = [each for each in view["figures"]["diversity"] if each["n_classes"]]
    measured = [each for each in view["figures"]["measured"] if each["at"] is None]
    rows = [
        (
            f"{each['which']}: {each['name']}",
            number(each["generation"]),
            number(each["n_classes"]),
            f"{each['effective_classes']:,.2f}",
            percent(each["head_share"]),
        )
        for each in found
    ]
    columns = ("manifest", "generation", "classes", "effective classes", "share of the ten largest")
    note = "Effective classes: as many equally common ones are as varied (exponential of Shannon's entropy)."
    said = () if measured else (f"Diversity within classes was not measured: {_MEASURE}.",)
    plot = drawn(diversity_plot(found)) if len(found) > 1 else ""
    parts = (Part(Grid("Classes by generation", columns, rows, note=note), plot), Part(_measured(measured)))
    return Section("diversity", "Diversity over generations", said, parts)


def _measured(figures: list[dict[str, Any]]) -> Grid:
    rows = [
        (
            each["name"].replace("_", " "),
            " / ".join(part for part in (each["source"], each["class"]) if part) or "all rows",
            number(each["value"]),
            number(each["before"]),
            f"{number(each['low'])} to {number(each['high'])}",
            f"{100 * each['level']:g} %",
            number(each["n"]),
            each["method"],
        )
        for each in figures
    ]
    columns = ("figure", "of", "value", "before", "interval", "level", "n", "method")
    return Grid("Measured figures", columns, rows, frozenset({1, 7}))


def audit_section(view: Mapping[str, Any]) -> Section:
    """Return the series of measured figures, each with its band."""
    dated: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for each in view["figures"]["measured"]:
        if each["at"] is not None:
            of = " / ".join(part for part in (each["source"], each["class"]) if part)
            dated.setdefault((each["name"], of), []).append(each)
    if not dated:
        text = f"No series was measured: {_MEASURE}, with figures that bear a date (at)."
        return Section("audit", "Audit series", (text,))
    parts = [_series(name, of, points, place) for place, ((name, of), points) in enumerate(sorted(dated.items()))]
    return Section("audit", "Audit series", (), tuple(parts[:12]))


def _series(name: str, of: str, points: list[dict[str, Any]], place: int) -> Part:
    rows = [
        (
            each["at"],
            number(each["value"]),
            f"{number(each['low'])} to {number(each['high'])}",
            f"{100 * each['level']:g} %",
            number(each["n"]),
        )
        for each in points
    ]
    title = f"{name.replace('_', ' ')}{f' of {of}' if of else ''}"
    grid = Grid(title, ("date", "value", "interval", "level", "n"), rows)
    return Part(grid, drawn(series_plot(points, name=f"series{place}")))
