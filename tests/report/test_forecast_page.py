"""The page, the picture and the text of a forecast: safe, self-contained, readable, the same every time."""

from __future__ import annotations

import base64
import hashlib
import html
import re
from html.parser import HTMLParser
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import pytest
from rich.console import Console

from collapse_guard import forecast
from collapse_guard.forecast import Biases
from collapse_guard.report.forecast_page import by_real_rows, chance, forecast_html, forecast_page
from collapse_guard.report.forecast_plot import DARK, LIGHT, draw_forecast, forecast_picture, shows_dots
from collapse_guard.report.forecast_text import forecast_lines, forecast_table, percent, print_forecast

if TYPE_CHECKING:
    from pathlib import Path

REAL = {"common": 900, "rare": 60, "<script>alert(1)</script>": 4, 'two\nlines "&': 4, "\ud800": 2}
PARTS = ("forecast.html", "forecast.css")


def view(**changes: Any) -> dict[str, Any]:
    asked = {"generations": 5, "n_chains": 20, "seed": 0, "keep": 0.9, "probability": 0.9} | changes
    return forecast({"version": 1, "coverage": {}}, REAL, **asked).as_dict()


@pytest.fixture(scope="module")
def shown() -> dict[str, Any]:
    return view()


@pytest.fixture(scope="module")
def text(shown: dict[str, Any]) -> str:
    return forecast_html(shown)


class Page(HTMLParser):
    """Collects tags, attributes and visible text; fails on an end tag that closes nothing."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.texts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in {"meta", "img", "source", "link", "br"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.texts.append(data)


def test_names_from_the_data_stay_text(text: str) -> None:
    page = Page(text)
    assert page.open == []
    assert "script" not in {tag for tag, _ in page.tags}
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert any("<script>alert(1)</script>" in shown for shown in page.texts)
    assert any('two\\nlines "&' in shown for shown in page.texts)


def test_the_page_asks_for_nothing_and_runs_nothing(text: str) -> None:
    page = Page(text)
    policy = next(attrs["content"] for tag, attrs in page.tags if attrs.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy
    style = re.search(r"<style>(.*?)</style>", text, re.DOTALL)
    assert style is not None
    assert base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode() in policy
    loaded = [value for _, attrs in page.tags for name, value in attrs.items() if name in {"src", "srcset", "href"}]
    assert len(loaded) == 2
    assert all(value is not None and value.startswith("data:image/svg+xml;base64,") for value in loaded)
    assert not any(name.startswith("on") or name == "style" for _, attrs in page.tags for name in attrs)
    assert "http://" not in text
    assert "https://" not in text


def test_the_page_says_what_the_view_says(shown: dict[str, Any], text: str) -> None:
    plain = html.unescape(text)
    for sentence in (shown["summary"], shown["smallest_real_share"]["sentence"], *shown["leaves_out"], *shown["notes"]):
        assert sentence in plain
    assert shown["policy_digest"] in plain
    assert text.count('<th scope="row">') == 5 + len({entry["n_real_rows"] for entry in shown["classes"]})


def test_the_table_stands_under_the_picture_and_has_every_way_of_mixing(text: str) -> None:
    assert text.index("</figure>") < text.index("<table>")
    assert all(f'<th scope="col">{name}<span' in text for name in ("policy", "replace", "accumulate"))


def test_light_and_dark_differ(shown: dict[str, Any], text: str) -> None:
    assert forecast_picture(shown, LIGHT, kind="svg") != forecast_picture(shown, DARK, kind="svg")
    assert "prefers-color-scheme: dark" in text


def test_the_page_is_the_same_every_time(text: str) -> None:
    assert forecast_html(view()) == text


@pytest.mark.parametrize(
    "changes",
    [
        {"generations": 1},
        {"generations": 200, "keep": 0.1},
        {"n_chains": 0},
        {"biases": Biases(temperature=0.9, tail_removal=0.1)},
        {"n_rows": 1},
    ],
)
def test_every_kind_of_forecast_can_be_shown(changes: dict[str, Any], tmp_path: Path) -> None:
    shown = view(**changes)
    assert Page(forecast_html(shown)).open == []
    picture = draw_forecast(shown, tmp_path / "f.png").read_bytes()
    assert picture.startswith(b"\x89PNG\r\n\x1a\n")
    assert len(forecast_lines(shown)) > 8


def test_a_page_is_written_as_utf8_whatever_the_names(tmp_path: Path) -> None:
    assert "ud800" in forecast_page(view(), tmp_path / "f.html").read_text(encoding="utf-8")


def test_dots_are_promised_only_where_they_are_drawn() -> None:
    assert shows_dots(view())
    assert not shows_dots(view(n_chains=0))
    assert not shows_dots(view(generations=61, keep=0.1))
    assert "Dots:" not in forecast_html(view(n_chains=0))


def test_a_long_chain_is_cut_to_a_short_table() -> None:
    table = forecast_table(view(generations=2_000, n_chains=0, keep=0.01), most=8)
    assert table.generations[0] == 1
    assert table.generations[-1] == 2_000
    assert 5 <= len(table.generations) <= 8
    assert all(len(column.cells) == len(table.generations) for column in table.columns)


def test_the_text_has_the_answer_first_and_lines_up() -> None:
    lines = forecast_lines(view())
    assert lines[0].startswith("After 5 generations of 970 rows under this policy (50 % real), ")
    assert lines[1].startswith(("To keep 90 %", "Even without", "No real share"))
    rows = [line for line in lines if re.match(r"^ +\d+  ", line)]
    assert len(rows) == 5
    assert len({len(row) for row in rows}) == 1
    assert any(line.startswith("not modelled: ") for line in lines)


def test_the_terminal_shows_the_same_figures() -> None:
    console = Console(width=100, record=True, file=None, force_terminal=False, quiet=False)
    with console.capture() as captured:
        print_forecast(view(), console)
    text = captured.get()
    for row in forecast_table(view(), most=8).columns:
        assert all(cell in text for cell in row.cells)


def test_classes_with_equally_many_rows_are_one_line() -> None:
    groups = by_real_rows(view()["classes"])
    assert [(group["n_real_rows"], group["n_classes"]) for group in groups] == [(2, 1), (4, 2), (60, 1)]
    many = [{"name": str(row), "n_real_rows": 1, "alive": {"policy": row / 10}} for row in range(10)]
    assert by_real_rows(many)[0]["which"] == "0, 1, 2, 3 and 6 more"
    assert by_real_rows(many)[0]["alive"]["policy"] == pytest.approx(0.45)


@pytest.mark.parametrize(
    ("value", "text"), [(0.0, "< 0.1 %"), (1.0, "> 99.9 %"), (1e-9, "< 0.1 %"), (1 - 1e-9, "> 99.9 %"), (0.5, "50.0 %")]
)
def test_a_chance_is_never_rounded_to_certainty(value: float, text: str) -> None:
    assert chance(value) == text


@pytest.mark.parametrize(("value", "text"), [(0.0, "0 %"), (1.0, "100 %"), (0.05, "5 %"), (0.0123, "1.2 %")])
def test_percent_is_short(value: float, text: str) -> None:
    assert percent(value) == text


@pytest.mark.parametrize("name", PARTS)
def test_the_parts_of_the_page_are_package_data(name: str) -> None:
    assert files("collapse_guard.report").joinpath("templates", name).is_file()
