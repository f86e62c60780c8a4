"""``collapse-guard explain``: the page of a rule, with what the schema says of its keys."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
import typer
import yaml
from markdown_it import MarkdownIt
from typer.testing import CliRunner, Result

from collapse_guard.cli import app
from collapse_guard.errors import InputError
from collapse_guard.policy import Policy, policy_json_schema
from collapse_guard.records import Finding, Severity
from collapse_guard.report.rule_text import explained_markdown
from collapse_guard.rules import RULES, Subject
from collapse_guard.rules.catalogue import EXPLAIN_SCHEMA, catalogue, explained
from collapse_guard.rules.registry import Rule

if TYPE_CHECKING:
    from collections.abc import Iterator

CODES = sorted(RULES.names())
HEADINGS = ["Why", "How it is measured", "Policy keys", "Example", "What to do"]


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["explain", *arguments])


def shown(*arguments: str) -> str:
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.mark.parametrize("code", CODES)
def test_a_pipe_gets_the_page_as_markdown(code: str) -> None:
    tokens = MarkdownIt("commonmark").parse(shown(code))
    heads = [tokens[place + 1].content for place, token in enumerate(tokens) if token.type == "heading_open"]
    assert heads[0] == f"{code}: {RULES.get(code).title}"
    has_keys = bool(catalogue()["rules"][CODES.index(code)]["keys"])
    assert heads[1:] == [heading for heading in HEADINGS if has_keys or heading != "Policy keys"]
    blocks = [token for token in tokens if token.type == "fence"]
    assert [token.info for token in blocks] == ["yaml", "text"]
    assert isinstance(yaml.safe_load(blocks[0].content), dict)
    assert code in blocks[1].content


def test_description_and_default_are_those_of_the_schema() -> None:
    said = shown("CG101")
    floor = policy_json_schema()["$defs"]["Mix"]["properties"]["real_min_share"]
    assert f"- `mix.real_min_share` (number from 0 to 1; default {floor['default']}): {floor['description']}\n" in said
    assert floor["default"] == Policy(version=1).mix.real_min_share


def test_a_code_may_be_in_small_letters_and_stand_twice() -> None:
    assert shown("cg201") == shown("CG201") == shown("CG201", " cg201 ")


def test_several_codes_come_in_the_order_in_which_they_are_asked() -> None:
    assert shown("CG301", "CG102") == f"{shown('CG301')}\n{shown('CG102')}"


def test_an_unknown_code_says_the_nearest_and_prints_nothing() -> None:
    result = run("CG201", "CG210")
    assert isinstance(result.exception, InputError)
    said = r"no rule is called 'CG210'; did you mean 'CG\d{3}'\?; see 'collapse-guard rules'"
    assert re.fullmatch(said, str(result.exception))
    assert result.stdout == ""


@pytest.mark.parametrize("code", ["banana", "", "CG", "CG2", "../CG201", "CG201.md", "CG\n201", "%s<script>"])
def test_what_is_no_code_is_refused_on_one_line(code: str) -> None:
    result = run(code)
    assert isinstance(result.exception, InputError)
    assert "\n" not in str(result.exception)
    assert "see 'collapse-guard rules'" in str(result.exception)


def test_the_command_exits_with_2_and_one_line() -> None:
    code = "from collapse_guard.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code, "explain", "CG999"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: no rule is called 'CG999'; did you mean 'CG")
    assert done.stderr.count("\n") == 1


def test_no_code_is_a_usage_error() -> None:
    assert run().exit_code == 2


def test_json_has_the_same_text_and_the_keys_apart() -> None:
    view = json.loads(shown("CG402", "CG302", "--output-format", "json"))
    assert view == explained(["CG402", "CG302"])
    assert view["schema"] == EXPLAIN_SCHEMA
    first, second = view["rules"]
    assert (first["code"], first["severity"], first["can_be_waived"]) == ("CG402", "warning", True)
    assert {"why", "how", "example", "what_to_do"} <= first.keys()
    ratio = {key["key"]: key for key in first["keys"]}["filters.tail.max_removal_ratio"]
    assert (ratio["default"], ratio["section"], ratio["is_required"]) == (1.5, "filters.tail", False)
    assert second["keys"] == []


def test_a_terminal_gets_every_word_of_the_page() -> None:
    drawn = shown("CG201", "--output-format", "rich")
    assert "## Why" not in drawn
    assert "every real row" in " ".join(drawn.lower().split())
    assert "accumulation.allow_loss" in drawn


@pytest.fixture
def plug_in(monkeypatch: pytest.MonkeyPatch) -> Rule:
    """Return a rule that another package registered."""

    def licences(subject: Subject) -> Iterator[Finding]:
        """Rows whose licence is not on the list."""
        return iter(())

    found = Rule("XX001", Severity.WARNING, "licence\n# not on the list", ("manifest",), licences)
    monkeypatch.setitem(RULES._known, "XX001", found)
    return found


def test_a_rule_of_another_package_is_told_in_its_own_words(plug_in: Rule) -> None:
    (rule,) = explained(["xx001"])["rules"]
    assert (rule["family"], rule["docs"], rule["keys"]) == ("of other packages", None, [])
    said = explained_markdown(rule)
    assert said.startswith("# XX001: licence\\n# not on the list\n")
    assert "Rows whose licence is not on the list." in said
    assert said.endswith("It comes from another package, and has no page here.\n")
    assert "## Example" not in said


@pytest.mark.parametrize("code", CODES)
def test_the_commands_and_options_that_a_page_names_are_there(code: str) -> None:
    named = re.findall(r"`collapse-guard ([a-z][^`]*)`", " ".join(shown(code).split()))
    for words in map(str.split, named):
        command: Any = typer.main.get_command(app)
        while words and hasattr(command, "list_commands"):
            command = command.get_command(typer.Context(command), words.pop(0))
            assert command is not None, named
        options = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= options, named
