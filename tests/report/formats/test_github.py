"""Workflow commands, read back by the rules of the actions runner; the summary of a step; Azure's logging commands."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from collapse_guard.errors import InputError
from collapse_guard.report.formats import append_summary, render
from collapse_guard.report.formats.azure import escape as escape_azure
from collapse_guard.report.formats.github import MAX_SHOWN, escape, escape_property
from collapse_guard.report.formats.summary import MAX_SUMMARY_BYTES
from tests.report.formats.views import HOSTILE, finding, hostile_views, opened, tried, tried_often, view, waived

if TYPE_CHECKING:
    from pathlib import Path

Command = tuple[str, dict[str, str], str]


def unescaped(text: str, codes: dict[str, str]) -> str:
    """Undo escapes one after the other, the percent sign last, as the runner documents it."""
    for code, letter in codes.items():
        text = text.replace(code, letter)
    return text.replace("%25", "%")


def command_of(line: str) -> Command | None:
    """Read a line as the runner does: ``::name key=value,key=value::data`` at the start of a line."""
    found = re.match(r"\s*::(?P<name>[^ :]+)(?: (?P<given>.*?))?::(?P<data>.*)$", line, re.DOTALL)
    if found is None:
        return None
    ends = {"%0D": "\r", "%0A": "\n"}
    pairs = (pair.partition("=") for pair in (found["given"] or "").split(",") if pair)
    given = {key: unescaped(value, ends | {"%3A": ":", "%2C": ","}) for key, _, value in pairs}
    return found["name"], given, unescaped(found["data"], ends)


def commands(made: dict[str, Any]) -> list[Command]:
    *lines, last = render(made, "github").split("\n")[:-1]
    assert command_of(last) is None
    assert last.startswith("policy ")
    found = [command_of(line) for line in lines]
    assert None not in found
    return [each for each in found if each is not None]


@tried_often
@given(st.text())
@example("%3A %0A %25 % ::")
def test_text_comes_back_as_it_went(text: str) -> None:
    line = f"::error title={escape_property(text)}::{escape(text)}"
    assert "\n" not in line
    assert "\r" not in line
    read = command_of(line)
    assert read is not None
    assert read[2] == text
    assert read[1].get("title", "") == text


@tried
@given(hostile_views())
def test_data_makes_no_command_of_its_own(made: dict[str, Any]) -> None:
    found = commands(made)
    assert {name for name, _, _ in found} <= {"error", "warning", "notice"}
    for name in ("error", "warning"):
        assert sum(each[0] == name for each in found) <= MAX_SHOWN
    for _, given_, message in found:
        assert given_.keys() <= {"file", "line", "title"}
        assert message.isprintable()


def test_an_annotation_stands_at_the_line_of_the_policy() -> None:
    (found,) = commands(view(finding()))
    assert found == (
        "error",
        {"file": "policies/gen4.yaml", "line": "12", "title": "CG201 title of CG201"},
        "2 real rows lost; put them back",
    )


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_names_reach_the_annotation(text: str) -> None:
    (found,) = commands(view(finding(message=f"class {text}", remedy="")))
    assert found[2].startswith("class")
    for word in text.split():
        if word.isprintable():
            assert word in found[2]


def test_the_levels_are_those_of_the_findings() -> None:
    found = commands(view(finding("CG904", severity="info"), finding("CG103", severity="warning"), finding()))
    assert [(name, each["title"].split()[0]) for name, each, _ in found] == [
        ("error", "CG201"),
        ("warning", "CG103"),
        ("notice", "CG904"),
    ]


def test_the_tenth_annotation_counts_the_others() -> None:
    many = [finding(message=f"number {number}") for number in range(25)]
    found = commands(view(*many))
    assert len(found) == MAX_SHOWN
    assert found[8][2] == "number 8; put them back"
    assert found[9] == ("error", {"title": "collapse-guard"}, "and 16 more; see the summary of the step")


def test_ten_annotations_are_all_shown() -> None:
    found = commands(view(*(finding(message=f"number {number}") for number in range(MAX_SHOWN))))
    assert [message.split(";")[0] for _, _, message in found] == [f"number {number}" for number in range(MAX_SHOWN)]


def test_a_reason_for_which_rules_were_not_evaluated_is_told_once() -> None:
    found = commands(view(opened("CG201"), opened("CG501"), verdict="inconclusive"))
    assert [(name, given_["title"]) for name, given_, _ in found] == [("error", "CG201, CG501 not evaluated")]


def test_under_an_unusable_input_one_notice_stands_for_all_rules() -> None:
    found = commands(view(finding("CG003"), *(opened(f"CG1{number:02}") for number in range(20)), verdict="unusable"))
    assert [(name, given_["title"]) for name, given_, _ in found] == [
        ("error", "CG003 title of CG003"),
        ("notice", "CG100 and 19 more rules not evaluated"),
    ]


def test_what_is_accepted_is_one_notice() -> None:
    found = commands(view(waived(), waived("CG103"), verdict="kept"))
    assert [(name, message) for name, _, message in found] == [
        ("notice", "2 accepted by a waiver or the baseline; the summary of the step lists them")
    ]


def test_the_summary_is_appended_and_nothing_is_lost(tmp_path: Path) -> None:
    page = tmp_path / "summary.md"
    page.write_text("from an earlier step", encoding="utf-8")
    assert append_summary(view(finding()), {"GITHUB_STEP_SUMMARY": str(page)}) == page
    text = page.read_text("utf-8")
    assert text.startswith("from an earlier step\n# collapse-guard")
    assert "CG201" in text


def test_a_summary_is_made_if_there_is_none(tmp_path: Path) -> None:
    page = tmp_path / "summary.md"
    append_summary(view(), {"GITHUB_STEP_SUMMARY": str(page)})
    assert page.read_text("utf-8").startswith("# collapse-guard")


@pytest.mark.parametrize("environ", [{}, {"GITHUB_STEP_SUMMARY": ""}])
def test_without_a_step_nothing_is_written(environ: dict[str, str]) -> None:
    assert append_summary(view(), environ) is None


@pytest.mark.parametrize("n_free", [0, 1000, 10_000, 100_000])
def test_the_page_of_a_step_stays_within_what_github_shows(tmp_path: Path, n_free: int) -> None:
    page = tmp_path / "summary.md"
    page.write_bytes(b"x" * (MAX_SUMMARY_BYTES - n_free))
    made = view(*(finding(message=f"{number} " + "y" * 300) for number in range(2000)))
    written = append_summary(made, {"GITHUB_STEP_SUMMARY": str(page)})
    assert page.stat().st_size <= MAX_SUMMARY_BYTES
    assert (written is not None) == (n_free >= 10_000)


def test_a_page_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^GITHUB_STEP_SUMMARY=.*cannot be written"):
        append_summary(view(), {"GITHUB_STEP_SUMMARY": str(tmp_path)})


def azure_read(line: str) -> tuple[dict[str, str], str]:
    """Read a logging command as Azure documents it: ``##vso[area.action key=value;key=value]data``."""
    found = re.match(r"##vso\[task\.logissue (?P<given>[^\]]*)\](?P<data>.*)$", line, re.DOTALL)
    assert found is not None
    codes = {"%3B": ";", "%0D": "\r", "%0A": "\n", "%5D": "]", "%AZP25": "%"}

    def plain(text: str) -> str:
        for code, letter in codes.items():
            text = text.replace(code, letter)
        return text

    pairs = (pair.partition("=") for pair in found["given"].split(";"))
    return {key: plain(value) for key, _, value in pairs}, plain(found["data"])


@tried_often
@given(st.text())
@example("%3B %0A %AZP25 % ]")
def test_azure_text_comes_back_as_it_went(text: str) -> None:
    given_, message = azure_read(f"##vso[task.logissue code={escape_azure(text)}]{escape_azure(text)}")
    assert message == text
    assert given_["code"] == text


@tried
@given(hostile_views())
def test_azure_shows_errors_and_warnings(made: dict[str, Any]) -> None:
    *lines, last = render(made, "azure").split("\n")[:-1]
    assert last.startswith("policy ")
    issues = [line for line in lines if not line.startswith("note: ")]
    assert len(lines) - len(issues) == len(made["notes"])
    for line in issues:
        given_, message = azure_read(line)
        assert given_["type"] in {"error", "warning"}
        assert message.startswith(given_["code"])


def test_an_azure_issue_stands_at_the_line_of_the_policy() -> None:
    given_, message = azure_read(render(view(finding()), "azure").split("\n")[0])
    assert given_ == {"type": "error", "sourcepath": "policies/gen4.yaml", "linenumber": "12", "code": "CG201"}
    assert message == "CG201 2 real rows lost; put them back"
