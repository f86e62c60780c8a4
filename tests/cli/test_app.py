"""The command line as a whole: every command is listed, explained, and imported only when it is used."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from collapse_guard.cli import COMMANDS, app


def test_help_lists_every_command() -> None:
    text = CliRunner().invoke(app, ["--help"]).output
    assert [name for name in COMMANDS if name not in text] == []


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself_with_an_example(name: str) -> None:
    result = CliRunner().invoke(app, [name, "-h"])
    assert result.exit_code == 0
    assert f"collapse-guard {name}" in " ".join(result.output.split())
    assert "install-completion" not in result.output


def test_a_command_that_is_none_is_bad_usage() -> None:
    result = CliRunner().invoke(app, ["chek"])
    said = " ".join(result.output.replace("│", " ").split())
    assert (result.exit_code, "no command is called 'chek'; did you mean 'check'?" in said) == (2, True)


def test_an_earlier_name_goes_on_working_and_is_not_listed() -> None:
    assert "prove-accumulation" not in CliRunner().invoke(app, ["--help"]).output
    result = CliRunner().invoke(app, ["prove-accumulation", "-h"])
    assert (result.exit_code, "collapse-guard prove" in result.output) == (0, True)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_complete_commands(shell: str) -> None:
    words = {"bash": {"COMP_WORDS": "collapse-guard ch", "COMP_CWORD": "1"}}.get(shell, {})
    given = {"_TYPER_COMPLETE_ARGS": "collapse-guard ch", "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    environment = words | given | {"_COLLAPSE_GUARD_COMPLETE": f"complete_{shell}"}
    command = str(Path(sys.executable).with_name("collapse-guard"))
    done = subprocess.run([command], capture_output=True, text=True, check=False, env=os.environ | environment)
    assert {"check", "check-checkpoint"} <= set(re.findall(r"[\w-]+", done.stdout))


def test_a_command_does_not_import_what_the_others_need() -> None:
    code = (
        "import sys\nfrom typer.testing import CliRunner\nfrom collapse_guard.cli import app\n"
        "assert CliRunner().invoke(app, ['prove', '-h']).exit_code == 0\n"
        "heavy = ('duckdb', 'pandas', 'datasets', 'torch', 'collapse_guard.forecast')\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
