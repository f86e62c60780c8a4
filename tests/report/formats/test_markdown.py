"""Markdown: read by GitHub's own parser and another, where text from the data is text and nothing else."""

from __future__ import annotations

import html
import importlib
import re
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from collapse_guard.kernels import one_line
from collapse_guard.report.formats import render
from collapse_guard.report.formats.markdown import MAX_BYTES, escape, markdown
from tests.report.formats.views import (
    HOSTILE,
    finding,
    hostile_views,
    opened,
    texts,
    tried,
    tried_often,
    view,
    waived,
    waiver,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from markdown_it.token import Token

OURS = {"<details><summary>Evidence</summary>", "</details>"}
PART = "\u200b"


def parser() -> MarkdownIt:
    """GitHub's dialect as far as the parser knows it: raw HTML, tables, links without markup."""
    return MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])


def tokens(text: str) -> Iterator[Token]:
    for token in parser().parse(text):
        yield token
        yield from token.children or ()


def shown(text: str) -> str:
    """Return what a reader sees of inline Markdown; fails if there is anything but text in it."""
    (inline,) = parser().parseInline(text)
    children = inline.children or []
    assert {child.type for child in children} <= {"text", "text_special"}
    return "".join(child.content for child in children).replace(PART, "")


#: Text made of what Markdown or GitHub could take for more than text.
marked = st.text(alphabet="ab1 @#:/.-_*`~|\\[]()<>!&$+=wWgh?%{}^\"'\t\u4e00", max_size=40)


def on_github(text: str) -> str:
    """Return the HTML that GitHub's fork of CommonMark makes, with every extension that it has."""
    cmark = importlib.import_module("cmarkgfm.cmark")
    extensions = ["table", "autolink", "tagfilter", "strikethrough", "tasklist"]
    made = cmark.markdown_to_html_with_extensions(text, options=cmark.Options.CMARK_OPT_UNSAFE, extensions=extensions)
    return str(made).strip()


@tried_often
@given(texts | marked)
def test_github_shows_text_from_data_as_it_is(text: str) -> None:
    made = on_github(escape(text))
    assert re.fullmatch(r"(<p>[^<]*</p>)?", made)
    assert html.unescape(re.sub("</?p>", "", made)).replace(PART, "") == one_line(text).strip()


@tried_often
@given(texts | marked)
@example("0@.A")
def test_a_cell_of_a_table_on_github_holds_just_the_text(text: str) -> None:
    made = on_github(f"| a | b |\n| --- | --- |\n| {escape(text)} | end |\n")
    cells = [html.unescape(cell).replace(PART, "") for cell in re.findall(r"<td>(.*?)</td>", made, re.DOTALL)]
    assert cells == [one_line(text).strip(), "end"]


@tried
@given(hostile_views())
def test_a_page_on_github_has_no_markup_but_ours(made: dict[str, Any]) -> None:
    page = on_github(render(made, "markdown"))
    ours = "h1 h2 p table thead tbody tr th td a ul li pre code details summary strong"
    assert set(re.findall(r"</?([a-zA-Z!][a-zA-Z0-9]*)", page)) <= set(ours.split())
    assert all(url.startswith("https://example.org/") for url in re.findall(r'href="([^"]*)"', page))


@tried_often
@given(texts)
def test_text_from_data_is_shown_as_it_is(text: str) -> None:
    assert shown(escape(text)) == one_line(text)


@tried_often
@given(texts)
def test_a_cell_of_a_table_holds_just_the_text(text: str) -> None:
    table = f"| a | b |\n| --- | --- |\n| {escape(text)} | end |\n"
    cells = [token.content for token in parser().parse(table) if token.type == "inline"]
    assert [shown(cell) for cell in cells] == ["a", "b", one_line(text).strip(), "end"]


@tried_often
@given(texts)
def test_a_line_of_a_list_holds_just_the_text(text: str) -> None:
    found = [token.type for token in parser().parse(f"- {escape(text)}!\n")]
    assert found.count("inline") == 1
    assert not {"ordered_list_open", "heading_open", "fence", "code_block", "hr"} & set(found)
    assert found.count("bullet_list_open") == 1


@tried
@given(hostile_views())
def test_a_page_has_no_markup_but_ours(made: dict[str, Any]) -> None:
    for token in tokens(render(made, "markdown")):
        if token.type in {"html_block", "html_inline"}:
            assert {line for line in token.content.splitlines() if line} <= OURS
        if token.type == "link_open":
            assert str(token.attrs["href"]).startswith("https://example.org/")
        assert token.type not in {"image", "code_inline", "code_block", "em_open"}
        assert token.type != "fence" or token.info == "json"


@pytest.mark.parametrize(
    "text", ["@everyone", "#12", "gh-7", "https://evil.example", "www.evil.example", ":smile:", "a@b.c"]
)
def test_github_finds_no_reference_in_data(text: str) -> None:
    magic = r"@\w|#\d|gh-\d|://|www\.|:smile:"
    assert re.search(magic, text)
    assert not re.search(magic, shown_raw(escape(text)))


def shown_raw(text: str) -> str:
    (inline,) = parser().parseInline(text)
    return "".join(child.content for child in inline.children or [])


def test_the_page_of_a_violated_policy() -> None:
    made = view(
        finding(interval=[1.0, 3.0]),
        waived(),
        opened("CG501"),
        opened("CG503"),
        waivers=[waiver()],
        notes=["the policy caps 'x'"],
        ignored_rules=["CG103"],
        unsafe_waivers=True,
        accumulation={"level": "rows", "holds": False, "summary": "2 real rows lost"},
    )
    text = render(made, "markdown")
    assert text.startswith("# collapse-guard: **failed**\n")
    assert (
        "[CG201](https://example.org/rules#cg201) | error | 2 real rows lost; put them back | 2 rows | 0 rows |" in text
    )
    assert "accepted by waiver W-012 until 2026-12-31" in text
    assert "- not evaluated: no parent: CG501, CG503\n" in text
    assert "- ignored on request: CG103\n" in text
    assert "2026-12-31 (35 days left) | 1 |" in text
    assert "--allow-unsafe-waivers" in text
    assert '"n_lost_rows": 2' in text
    heads = [token.content for token in tokens(text) if token.type == "inline" and token.level == 1]
    assert heads[0] == "collapse-guard: **failed**"
    assert [head for head in heads if head in {"Findings", "Not evaluated", "Waivers", "Notes"}] == [
        "Findings",
        "Not evaluated",
        "Waivers",
        "Notes",
    ]


def test_the_page_of_a_kept_policy_is_short() -> None:
    text = render(view(verdict="kept"), "markdown")
    assert text.startswith("# collapse-guard: passed\n")
    assert "##" not in text
    assert len(text) < 700


def test_keys_that_no_check_reads_are_told_where_no_finding_does() -> None:
    assert "`" not in render(view(verdict="kept"), "markdown")
    assert "reads: mix.x" in render(view(verdict="kept", unenforced_policy_keys=["mix.x"]), "markdown")
    covered = view(opened("CG905", subject="mix.x"), verdict="inconclusive", unenforced_policy_keys=["mix.x"])
    assert "reads: mix.x" not in render(covered, "markdown")


@pytest.mark.parametrize("max_bytes", [2000, 20_000, MAX_BYTES])
def test_a_page_stays_within_its_budget_and_says_what_is_cut(max_bytes: int) -> None:
    many = [
        finding(message=f"{number} \U0001f989 " + "y|" * 200, evidence={"ids": ["z" * 90] * 9})
        for number in range(3000)
    ]
    text = markdown(view(*many), max_bytes=max_bytes)
    assert len(text.encode()) <= max_bytes
    cut = re.search(r"\.\.\. and (\d+) more entries, left out for their length", text)
    assert cut is not None
    rows = text.count("[CG201](")
    assert int(cut[1]) >= len(many) - rows
    assert text.count("<details>") == text.count("</details>")


@tried_often
@given(st.text(min_size=1), st.text())
@example("\U0010ffff" * 999, "\U000e0001" * 999)
@example("\U0001f989" * 999, "@" * 999)
def test_the_shortest_page_has_the_verdict(name: str, summary: str) -> None:
    proof = {"level": "rows", "holds": False, "summary": summary}
    made = view(finding(), accumulation=proof, policy={"name": name, "file": None, "digest": None})
    text = markdown(made, max_bytes=2000)
    assert text.startswith("# collapse-guard: **failed**\n\nPolicy ")
    assert len(text.encode()) <= 2000


@pytest.mark.parametrize("text", [*HOSTILE, "````" * 3])
def test_evidence_cannot_leave_its_fence(text: str) -> None:
    made = view(finding(evidence={"by": text, text: ["`" * 30]}))
    fences = [token for token in tokens(render(made, "markdown")) if token.type == "fence"]
    assert len(fences) == 1
    assert fences[0].content.startswith("{\n")
    assert fences[0].content.endswith("}\n")
    assert all(line.isprintable() for line in fences[0].content.splitlines())
