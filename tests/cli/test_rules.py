"""``collapse-guard rules``: the catalogue, and the document that is made of it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from markdown_it import MarkdownIt
from typer.testing import CliRunner

from collapse_guard.cli import app
from collapse_guard.policy.keys import policy_key
from collapse_guard.records import FAMILIES
from collapse_guard.report.rule_text import NEEDS, catalogue_markdown, rule_sections
from collapse_guard.report.tables import section_lines
from collapse_guard.rules import RULES
from collapse_guard.rules.catalogue import RULES_SCHEMA, catalogue

ROOT = Path(__file__).parents[2]
UNWAIVABLE = {"CG001", "CG002", "CG003", "CG004", "CG204", "CG305", "CG901", "CG902", "CG903", "CG904", "CG905"}


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["rules", *arguments])
    assert result.exit_code == 0, result.output
    return result.stdout


def test_the_document_is_what_the_command_writes() -> None:
    assert (ROOT / "docs" / "rules.md").read_text("utf-8") == run("--output-format", "markdown")


def test_json_has_every_rule_of_the_registry_in_order() -> None:
    view = json.loads(run("--output-format", "json"))
    assert view["schema"] == RULES_SCHEMA
    assert [rule["code"] for rule in view["rules"]] == list(RULES.names())
    for rule in view["rules"]:
        filed = RULES.get(rule["code"])
        assert (rule["severity"], rule["title"]) == (filed.severity.value, filed.title)
        assert rule["needs"] == list(filed.needs)
        assert rule["can_be_waived"] == (rule["code"] not in UNWAIVABLE)
        assert rule["docs"].endswith(f"/pages/{rule['code']}.md")
        assert [policy_key(key).key for key in rule["keys"]] == rule["keys"]


def test_a_pipe_gets_a_line_for_each_rule_under_its_family() -> None:
    lines = run().splitlines()
    assert lines[0] == f"{len(RULES.names())} rules; next: collapse-guard explain CODE"
    assert [line[:6] for line in lines if re.match(r"CG\d{3} ", line)] == [f"{code} " for code in RULES.names()]
    assert [line[:3] for line in lines if re.match(r"CG\dxx ", line)] == list(FAMILIES)
    assert run() == run("--output-format", "plain")


def test_a_terminal_gets_the_same_rules() -> None:
    said = run("--output-format", "rich")
    assert all(code in said for code in RULES.names())


def test_another_format_is_a_usage_error() -> None:
    result = CliRunner().invoke(app, ["rules", "--output-format", "banana"])
    assert result.exit_code == 2
    assert "banana" in result.output


def test_the_document_is_tables_of_links_to_pages() -> None:
    """An outside parser finds as many rows as there are rules, in a table for each family."""
    tokens = MarkdownIt("commonmark").enable("table").parse(catalogue_markdown(catalogue()))
    assert sum(token.type == "table_open" for token in tokens) == len(FAMILIES) + 1
    links = [child for token in tokens for child in token.children or () if child.type == "link_open"]
    targets = [str(link.attrs["href"]) for link in links]
    assert [target.rpartition("/")[2] for target in targets] == [f"{code}.md" for code in RULES.names()]
    assert all((ROOT / "docs" / target).is_file() for target in targets)


def test_every_need_has_its_words() -> None:
    assert {need for rule in catalogue()["rules"] for need in rule["needs"]} == set(NEEDS)


@pytest.mark.parametrize("title", ["a | b", "two\nlines", "\x1b[31mred"])
def test_a_title_of_another_package_does_not_break_the_table(title: str) -> None:
    entry = {"code": "XX001", "family": "of other packages", "severity": "info", "title": title, "docs": None}
    view = {"rules": [entry | {"needs": [], "keys": [], "can_be_waived": True}]}
    (row,) = (line for line in catalogue_markdown(view).splitlines() if line.startswith("| XX001"))
    assert len(re.findall(r"(?<!\\)\|", row)) == 7
    assert "\x1b" not in row
    (line,) = (line for line in section_lines(rule_sections(view)) if line.startswith("XX001"))
    assert "\x1b" not in line
