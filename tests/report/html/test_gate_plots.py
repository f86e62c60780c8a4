"""Plots of the page: in the page's own colours, without style or names that could meet others, the same every time."""

from __future__ import annotations

import re
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from collapse_guard.report import gate_plots
from collapse_guard.report.gate_plots import COLOURS, MOST_POINTS, thinned
from collapse_guard.report.svg_markup import inlined


def series(n: int) -> list[dict[str, Any]]:
    return [{"at": f"2026-{month:02d}-01", "value": 0.1, "low": 0.05, "high": 0.2} for month in range(1, n + 1)]


def drawn(figures: dict[str, Any]) -> dict[str, str]:
    return {
        "mix": gate_plots.mix_plot(figures["mix"]),
        "chain": gate_plots.chain_plot(figures["accumulation"]["chain"]),
        "depth": gate_plots.depth_plot(figures["provenance"]["depths"], 1),
        "rank": gate_plots.rank_plot(figures["tails"]),
        "coverage": gate_plots.coverage_plot(figures["tails"]["bins"]),
        "removal": gate_plots.removal_plot(figures["filters"]),
        "diversity": gate_plots.diversity_plot(figures["diversity"]),
        "series": gate_plots.series_plot(series(4), name="series"),
    }


@pytest.fixture(scope="module")
def plots(view: dict[str, Any]) -> dict[str, str]:
    return drawn(view["figures"])


def test_no_plot_has_a_colour_of_its_own_or_style(plots: dict[str, str]) -> None:
    for name, svg in plots.items():
        used = {value for element in ET.fromstring(svg).iter() for key, value in element.attrib.items()
                if key in {"fill", "stroke"}}  # fmt: skip
        own = {value for value in used if value not in {"none", *COLOURS.values()} and not value.startswith("url(#")}
        assert own == set(), name
        assert "style" not in svg
        assert "<metadata" not in svg


def test_names_inside_plots_never_meet(plots: dict[str, str]) -> None:
    everything = "".join(plots.values())
    ids = re.findall(r' id="([^"]+)"', everything)
    asked = set(re.findall(r'url\(#([^)]+)\)|href="#([^"]+)"', everything))
    assert len(ids) == len(set(ids))
    assert {first or second for first, second in asked} == set(ids)


def test_every_plot_says_what_it_shows(plots: dict[str, str]) -> None:
    for svg in plots.values():
        root = ET.fromstring(svg)
        assert root.get("role") == "img"
        assert len(root.get("aria-label", "")) > 20
        assert root.get("viewBox")


def test_no_text_of_the_data_is_drawn(plots: dict[str, str], hostile: tuple[str, ...]) -> None:
    drawn_text = " ".join("".join(ET.fromstring(svg).itertext()) for svg in plots.values())
    assert not any(name in drawn_text for name in (*hostile, "m@1", "gen0"))


def test_colour_is_never_the_only_sign(plots: dict[str, str]) -> None:
    assert "url(#mix-" in plots["mix"]
    assert plots["mix"].count("<pattern") >= 1
    markers = {re.search(r'd="([^"]+)"', match)[0] for match in re.findall(r"<path id=[^>]+>", plots["removal"])}  # type: ignore[index]
    assert len(markers) >= 2


def test_equal_figures_give_equal_plots(view: dict[str, Any], plots: dict[str, str]) -> None:
    assert drawn(view["figures"]) == plots


def test_a_long_curve_is_thinned_and_keeps_its_ends() -> None:
    found = [each["rank"] for each in thinned([{"rank": n} for n in range(1, 100_001)])]
    assert found == sorted(set(found))
    assert (found[0], found[-1]) == (1, 100_000)
    assert MOST_POINTS / 2 < len(found) <= MOST_POINTS


def test_the_floor_is_left_out_where_none_is_asked(view: dict[str, Any]) -> None:
    mix = view["figures"]["mix"]
    with_floor, without = (gate_plots.mix_plot(mix | {"real_min_share": floor}) for floor in (0.6, None))
    assert "real floor" in with_floor
    assert "real floor" not in without


def test_amounts_are_drawn_beside_rows_only_where_they_differ(view: dict[str, Any]) -> None:
    mix = view["figures"]["mix"]
    other = [each | {"amount_share": 1 / len(each)} for each in mix["generations"][0]["origins"]]
    twice = gate_plots.mix_plot(mix | {"unit": "tokens", "generations": [mix["generations"][0] | {"origins": other}]})
    assert "share of tokens" in twice
    assert "share of rows" in twice
    assert "share of tokens" not in gate_plots.mix_plot(mix | {"unit": "tokens"})


def test_markup_keeps_references_and_drops_what_is_not_the_pages() -> None:
    svg = b"""<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"
      width="10pt" height="10pt" viewBox="0 0 1 1"><metadata>m</metadata><style>*{x: y}</style>
      <defs><path id="a" d="M 0.123456 0"/><path id="b" d="M 0 0"/></defs>
      <use xlink:href="#a" style="fill: #000005; font-family: X; font-size: 9px"/></svg>"""
    text = inlined(svg, name="n", label="l", colours=COLOURS)
    assert '<use href="#n-a" fill="var(--bad)" font-size="9px" />' in text
    assert '<path id="n-a" d="M 0.12 0" />' in text
    assert '<path d="M 0 0" />' in text
    assert not any(word in text for word in ("metadata", "style", "xmlns", "width", "font-family"))
