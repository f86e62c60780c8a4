"""The page of a gate result: safe, self-contained, in its order, small, the same every time."""

from __future__ import annotations

import base64
import hashlib
import html
import importlib
import itertools
import json
import re
from html.parser import HTMLParser
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import pytest

from collapse_guard.errors import MissingExtraError
from collapse_guard.kernels import one_line
from collapse_guard.report.formats import render, write
from collapse_guard.report.gate_findings import MOST_PER_RULE, counts, groups_of, not_checked
from collapse_guard.report.gate_grid import bar, meter
from collapse_guard.report.gate_page import MOST_RESULT, gate_html, gate_page

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow


VOID = {"meta", "img", "link", "br", "path", "rect", "use"}
ORDER = [
    "not-checked",
    "findings",
    "mix",
    "accumulation",
    "provenance",
    "tails",
    "filter",
    "diversity",
    "audit",
    "waivers",
    "method",
]


class Page(HTMLParser):
    """Collects tags, visible text and data; fails on an end tag that closes nothing."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.texts: list[str] = []
        self.data = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "script":
            self.data += data
        elif self.open and self.open[-1] != "style":
            self.texts.append(data)

    def attributes(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.tags if name == tag]


@pytest.fixture(autouse=True)
def _always_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "0")


@pytest.fixture(scope="module")
def text(view: dict[str, Any]) -> str:
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("SOURCE_DATE_EPOCH", "0")
        return gate_html(view)


@pytest.fixture(scope="module")
def page(text: str) -> Page:
    return Page(text)


def finding(code: str = "CG102", **changes: Any) -> dict[str, Any]:
    usual: dict[str, Any] = {
        "code": code, "severity": "error", "message": "too much", "status": "fail", "evidence": {}, "subject": "web",
        "where": {}, "measured": None, "limit": None, "unit": "", "n": None, "interval": None, "method": "", "key": "",
        "remedy": "", "accepted_by": "", "file": None, "line": None, "fingerprint": "0" * 16, "docs": "",
    }  # fmt: skip
    return usual | changes


# Names from the data


def test_names_from_the_data_stay_text(page: Page, hostile: tuple[str, ...]) -> None:
    assert page.open == []
    assert [attrs.get("type") for attrs in page.attributes("script")] == ["application/json"]
    assert page.attributes("img") == []
    said = "\n".join(page.texts)
    for name in hostile:
        assert one_line(name) in said
    assert "{{ 7 * 7 }}" in said


def test_no_letter_of_the_page_is_a_control_character(text: str) -> None:
    assert {letter for letter in text if not letter.isprintable()} == {"\n"}
    assert text.encode("utf-8").decode("utf-8") == text


def test_names_without_end_are_cut(view: dict[str, Any]) -> None:
    long = finding(message="m" * 50_000, remedy="r" * 50_000)
    page = Page(gate_html(view | {"findings": [long], "figures": None}))
    assert max(map(len, page.texts)) < 1_100
    assert any("48000" in shown or "49000" in shown for shown in page.texts)


def test_lone_surrogates_and_odd_texts_everywhere_are_shown(view: dict[str, Any], tmp_path: Path) -> None:
    odd = "\ud800 \u2028 </script> %s \x07"
    held = finding(message=odd, remedy=odd, file=odd, line=3, key=odd, evidence={odd: [odd]}, accepted_by=odd)
    waiver: dict[str, Any] = dict.fromkeys(("id", "reason", "owner", "expires"), odd)
    waiver |= {"rule": "CG102", "where": {"source": odd}, "days_left": -3, "limit": {"max_share": 0.2}, "n_findings": 0}
    changed = view | {"findings": [held], "notes": [odd], "waivers": [waiver], "policy": {"name": odd, "file": odd}}
    write(changed, [("html", tmp_path / "page.html")])
    written = (tmp_path / "page.html").read_text(encoding="utf-8")
    said = "\n".join(Page(written).texts)
    assert said.count(one_line(odd)) >= 9
    assert json.loads(Page(written).data)["notes"] == [odd]


def test_only_addresses_of_the_web_become_links(view: dict[str, Any]) -> None:
    docs = ["https://example.org/CG102", "javascript:alert(1)", "http://example.org/x"]
    found = [finding(f"CG10{n}", docs=address) for n, address in enumerate(docs)]
    page = Page(gate_html(view | {"findings": found, "figures": None}))
    links = [attrs["href"] for attrs in page.attributes("a") if not str(attrs["href"]).startswith("#")]
    assert links == ["https://example.org/CG102"]


# Nothing is loaded, nothing runs


def test_the_page_asks_for_nothing_and_runs_nothing(page: Page, text: str) -> None:
    policy = next(
        attrs["content"] for attrs in page.attributes("meta") if attrs.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy is not None
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy
    style = re.search(r"<style>(.*?)</style>", text, re.DOTALL)
    assert style is not None
    assert base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode() in policy
    assert "url(" not in style[1]
    assert "@import" not in style[1]
    for tag, attrs in page.tags:
        assert not any(name.startswith("on") or name in {"style", "src", "srcset", "action"} for name in attrs), tag
        assert tag == "a" or not str(attrs.get("href", "#")).startswith("http")


# What it says


def test_the_sections_stand_in_their_order(page: Page) -> None:
    headings = [attrs["id"] for attrs in page.attributes("h2")]
    assert headings == ORDER
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
    linked = [str(attrs["href"])[1:] for attrs in page.attributes("a") if str(attrs["href"]).startswith("#")]
    assert linked == ["main", *ORDER]


def test_the_verdict_and_the_digests_come_first(view: dict[str, Any], text: str) -> None:
    head = html.unescape(text[: text.index('<h2 id="findings">')])
    assert "The policy is violated" in head
    for part in (view["policy_digest"], view["parent_digest"], view["manifest_digest"], view["policy"]["file"]):
        assert part in head
    assert "<b>policy</b>" in head
    for line in not_checked(view):
        assert one_line(line) in head


@pytest.mark.parametrize("verdict", ["kept", "violated", "unusable", "inconclusive"])
def test_every_verdict_has_words_and_a_sign(verdict: str, view: dict[str, Any]) -> None:
    shown = gate_html(view | {"verdict": verdict, "findings": [], "figures": None})
    heading = re.search(r'<h1><span class="sign" aria-hidden="true">(.)</span> ([^<]+)</h1>', shown)
    assert heading is not None
    assert len(heading[2]) > 15
    assert f'class="verdict {verdict}"' in shown


def test_every_finding_is_told_with_its_figures(view: dict[str, Any], text: str) -> None:
    plain = html.unescape(text)
    shown = [each for each in view["findings"] if each["status"] != "inconclusive"]
    assert len(shown) >= 4
    for each in shown:
        assert one_line(each["message"]) in plain
        assert each["fingerprint"] in plain
        assert one_line(each["remedy"]) in plain
        assert each["measured"] is None or "measured " in plain


def test_what_is_accepted_is_marked_and_does_not_count(view: dict[str, Any]) -> None:
    found = [finding(accepted_by="waiver W-1 until 2999-12-31", status="waived"), finding("CG101")]
    (failed, accepted) = groups_of(view | {"findings": found})
    assert (failed.code, failed.level, failed.state) == ("CG101", "error", "")
    assert (accepted.code, accepted.level, accepted.state) == ("CG102", "note", "accepted")
    assert counts(view | {"findings": found}) == [("error", 1), ("accepted", 1)]
    assert "Accepted by waiver W-1 until 2999-12-31" in gate_html(view | {"findings": found, "figures": None})


def test_rules_that_were_not_evaluated_stand_at_the_top_with_what_was_left_out(view: dict[str, Any]) -> None:
    open_ = [finding(code, message="not evaluated: no parent", status="inconclusive") for code in ("CG201", "CG202")]
    changed = view | {
        "findings": open_,
        "ignored_rules": ["CG503"],
        "unenforced_policy_keys": ["mix.x"],
        "notes": ["n"],
    }
    lines = not_checked(changed)
    assert "not evaluated: no parent (CG201, CG202)" in lines
    assert any("CG503" in line for line in lines)
    assert "no check of this version reads the policy key mix.x" in lines
    assert lines[-1] == "n"
    assert gate_html(changed | {"figures": None}).index("no parent (CG201") < gate_html(changed).index('id="findings"')


def test_unsafe_waivers_are_told_in_every_page(view: dict[str, Any], text: str) -> None:
    assert "allow-unsafe-waivers" not in text
    assert "--allow-unsafe-waivers was given" in gate_html(view | {"unsafe_waivers": True, "figures": None})


def test_the_days_of_a_waiver_are_told(view: dict[str, Any]) -> None:
    (waiver,) = view["waivers"]
    late = waiver | {"id": "W-2", "days_left": -3}
    shown = gate_html(view | {"waivers": [waiver | {"days_left": 12}, late], "figures": None})
    assert shown.index("expired 3 days ago") < shown.index(">12<")
    assert "The policy has no waivers." in gate_html(view | {"waivers": [], "figures": None})


def test_every_plot_has_its_numbers_under_it(text: str) -> None:
    pieces = re.split(r"<figure>", text)[1:]
    assert len(pieces) == 7
    for piece in pieces:
        after = piece[piece.index("</figure>") :]
        assert "<table>" in after.partition("</section>")[0]
        assert re.search(r"<caption>[^<]{5,}</caption>", after)


def test_tables_are_tables(page: Page, text: str) -> None:
    assert text.count("<table>") == text.count("<caption>") == text.count("<thead>")
    assert {attrs.get("scope") for attrs in page.attributes("th")} == {"col", "row"}
    bodies = [re.sub(r"<thead>.*?</thead>", "", body, flags=re.DOTALL) for body in text.split("<table>")[1:]]
    rows = [row for body in bodies for row in body.split("</table>")[0].split("<tr>")[1:]]
    assert rows
    assert all(row.startswith('<th scope="row">') for row in rows)


def test_measured_figures_and_series_are_drawn_where_they_were_measured(view: dict[str, Any]) -> None:
    usual = {
        "source": None,
        "class": None,
        "value": 0.2,
        "n": 400,
        "low": 0.1,
        "high": 0.3,
        "level": 0.95,
        "before": None,
    }
    once = usual | {"name": "vendi_score", "at": None, "method": "kernel of embeddings"}
    dated = [usual | {"name": "synthetic_share", "at": f"2026-0{n}-01", "method": "m"} for n in (1, 4, 7)]
    shown = gate_html(view | {"figures": view["figures"] | {"measured": [once, *dated]}})
    assert "kernel of embeddings" in shown
    assert ">2026-04-01<" in shown
    assert shown.count("<figure>") == 8
    assert "No series was measured" not in shown
    assert "No series was measured" in gate_html(view)


def test_a_result_without_figures_says_so_and_still_shows_its_findings(view: dict[str, Any]) -> None:
    shown = Page(gate_html(view | {"figures": None}))
    assert shown.open == []
    headings = [attrs["id"] for attrs in shown.attributes("h2")]
    assert headings == ["not-checked", "findings", "figures", "waivers", "method"]
    assert any("holds no figures" in said for said in shown.texts)
    assert any(view["findings"][0]["fingerprint"] in said for said in shown.texts)


def test_figures_that_could_not_be_made_are_explained(view: dict[str, Any]) -> None:
    missing = dict.fromkeys(view["figures"]) | {"missing": "an index could not be read (CG004)"}
    assert "There are no figures: an index could not be read (CG004)." in gate_html(view | {"figures": missing})


def test_an_unusable_result_has_a_page(view: dict[str, Any]) -> None:
    bare = {"verdict": "unusable", "policy": None, "policy_digest": None, "manifest_digest": None, "figures": None}
    shown = gate_html(view | bare | {"manifest_file": None, "parent_digest": None, "accumulation": None})
    assert "The input cannot be used" in shown
    assert "none: no parent was compared" in shown


# Figures of another version, or changed by hand


@pytest.mark.parametrize("garbage", [{}, [], "x", 3, None, [3], {"sources": 3}])
@pytest.mark.parametrize(
    "section", ["mix", "accumulation", "provenance", "tails", "filters", "diversity", "measured", "method"]
)
def test_figures_that_were_changed_never_break_the_page(section: str, garbage: Any, view: dict[str, Any]) -> None:
    page = Page(gate_html(view | {"figures": view["figures"] | {section: garbage}}))
    assert page.open == []
    assert [attrs["id"] for attrs in page.attributes("h2")][-2:] == ["waivers", "method"]


def test_figures_that_cannot_be_drawn_are_told(view: dict[str, Any]) -> None:
    assert "cannot be drawn: check again" in gate_html(view | {"figures": {"mix": 3}})
    assert "cannot be drawn" not in gate_html(view)


def test_no_text_of_the_figures_gets_into_markup_unescaped(view: dict[str, Any]) -> None:
    changed = json.loads(json.dumps(view["figures"]).replace('"synthetic"', '"\\"><script>alert(2)</script>"'))
    text = gate_html(view | {"figures": changed})
    assert text.count("<script") == 1
    assert "alert(2)" in text


# Bars


def test_a_meter_shows_what_was_measured_and_the_limit() -> None:
    shown = str(meter(finding(measured=0.4, limit=0.5, unit="share", interval=[0.3, 0.45])))
    assert '<rect class="bad" x="0" width="40" height="10"/>' in shown
    assert '<path class="limit" d="M50 0V10"/>' in shown
    assert shown.count('class="end"') == 2
    assert 'class="held"' in str(meter(finding(measured=2, limit=1, status="waived")))


@pytest.mark.parametrize("figures", [(None, 1.0), (1.0, None), (float("inf"), 1.0), (-1.0, 2.0)])
def test_what_has_no_place_on_a_bar_has_none(figures: tuple[float | None, float | None]) -> None:
    assert meter(finding(measured=figures[0], limit=figures[1])) == ""


def test_bars_stay_within_their_frame() -> None:
    widths = re.findall(r'width="([\d.]+)"', str(bar([("real", 3.0), ("bad", -1.0)], [("limit", 7.0)])))
    assert [float(width) for width in widths] == [100.0, 100.0]
    assert "M100 0V10" in str(bar([], [("limit", 7.0)]))


# The same every time, small, and able to be read again


def test_the_page_is_the_same_every_time(view: dict[str, Any], text: str, tmp_path: Path) -> None:
    assert gate_html(json.loads(json.dumps(view))) == text
    assert render(view, "html") == text
    assert gate_page(view, tmp_path / "page.html").read_text(encoding="utf-8") == text
    assert "page made" not in text


def test_the_time_is_told_where_pages_need_not_be_the_same(
    view: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SOURCE_DATE_EPOCH")
    assert re.search(r"<dt>page made</dt><dd>\d{4}-\d\d-\d\d \d\d:\d\d UTC</dd>", gate_html(view | {"figures": None}))


def test_the_result_can_be_read_again_from_the_page(view: dict[str, Any], page: Page, text: str) -> None:
    assert json.loads(page.data) == json.loads(json.dumps(view))
    carried = text[text.index("application/json") :]
    assert "<" not in carried[carried.index(">") + 1 : carried.index("</script>")]
    assert gate_html(json.loads(page.data)) == text


def big(view: dict[str, Any]) -> dict[str, Any]:
    """Return a result with 5,000 findings and 2,000 classes."""
    figures = view["figures"]
    classes = [
        {"rank": n, "class": f"a class of some words, {n}", "reference_rows": 20_000 // n, "rows": 15_000 // n,
         "real_rows": 9_000 // n, "synthetic_rows": 6_000 // n}
        for n in range(1, 2_001)
    ]  # fmt: skip
    evidence = {"share": 0.123456789, "cap": 0.1, "amount": 123456.0, "unit": "rows", "ids": ["0" * 32] * 10}
    found = [
        finding(f"CG{100 + n % 10}", message=f"source 'web {n}': 1234 of 9876 rows are a share of 0.1, the cap is 0.1",
                measured=0.1 + n / 50_000, limit=0.1, unit="share", where={"source": f"web {n}"}, subject=f"web {n}",
                evidence=evidence, remedy="take fewer rows of it, or raise the cap in review", fingerprint=f"{n:016x}",
                file="policy.yaml", line=n, key="sources.web.max_share", docs="https://example.org/rules/CG102.md")
        for n in range(5_000)
    ]  # fmt: skip
    return view | {"findings": found, "figures": figures | {"tails": figures["tails"] | {"classes": classes}}}


def test_a_page_of_five_thousand_findings_and_two_thousand_classes_stays_below_two_megabytes(
    view: dict[str, Any],
) -> None:
    shown = gate_html(big(view))
    page = Page(shown)
    assert len(shown.encode()) < 2_000_000
    assert len(page.data) <= MOST_RESULT
    carried = json.loads(page.data)
    assert 0 < len(carried["findings"]) < 5_000
    assert carried["figures"] is not None
    assert f"{len(carried['findings']):,} of 5,000 findings" in carried["notes"][-1]
    assert shown.count("Another 480 are in the JSON form") == 10
    assert any("a class of some words, 2000" in said for said in page.texts)


def test_of_many_findings_those_furthest_beyond_their_limit_are_shown(view: dict[str, Any]) -> None:
    (first, *_) = groups_of(big(view))
    assert (first.n_findings, len(first.shown), first.n_more) == (500, MOST_PER_RULE, 500 - MOST_PER_RULE)
    assert first.shown[0]["fingerprint"] == f"{4_990:016x}"
    assert len(first.first) + len(first.folded) == MOST_PER_RULE


def test_figures_are_left_out_of_what_a_page_carries_before_it_grows_too_large(view: dict[str, Any]) -> None:
    figures = view["figures"] | {"measured": [], "padding": ["x" * 1_000] * 1_000}
    carried = json.loads(Page(gate_html(view | {"figures": figures})).data)
    assert carried["figures"] is None
    assert "no figures" in carried["notes"][-1]


# Colours


def luminance(colour: str) -> float:
    """Return the relative luminance of WCAG 2.2."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(first: str, second: str) -> float:
    low, high = sorted((luminance(first), luminance(second)))
    return (high + 0.05) / (low + 0.05)


def themes() -> list[dict[str, str]]:
    css = files("collapse_guard.report").joinpath("templates", "gate.css").read_text(encoding="utf-8")
    found = [
        dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", block)) for block in re.findall(r":root \{(.*?)\}", css, re.DOTALL)
    ]
    assert len(found) == 3
    return found


def test_contrast_is_that_of_black_and_white() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)


@pytest.mark.parametrize("theme", themes(), ids=["light", "dark", "print"])
def test_text_and_plots_stand_out_in_every_theme(theme: dict[str, str]) -> None:
    for name in ("ink", "soft", "link", "good", "bad", "warn", "note"):
        assert contrast(theme[name], theme["page"]) >= 4.5, name
        assert contrast(theme[name], theme["card"]) >= 4.5, name
    for name in ("real", "synthetic", "derived", "simulated", "mixed", "unknown"):
        assert contrast(theme[name], theme["page"]) >= 3, name


# Without the extra


@pytest.mark.parametrize("missing", ["jinja2", "matplotlib"])
def test_without_the_extra_the_line_to_type_is_told(
    missing: str, view: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent(name: str, *_: Any, **__: Any) -> Any:
        if name == missing:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return real_import(name)

    real_import = importlib.import_module
    monkeypatch.setattr(importlib, "import_module", absent)
    with pytest.raises(
        MissingExtraError, match=re.escape(f"{missing} is not installed: pip install 'collapse-guard[report]'")
    ):
        gate_html(view)


@pytest.mark.parametrize("name", ["gate.html", "gate.css"])
def test_the_parts_of_the_page_are_package_data(name: str) -> None:
    assert files("collapse_guard.report").joinpath("templates", name).is_file()
