"""The command line as a whole: every command is listed, explained, and imported only when it is used."""

from __future__ import annotations

import subprocess
import sys

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
    assert (result.exit_code, "No such command 'chek'" in result.output) == (2, True)


def test_a_command_does_not_import_what_the_others_need() -> None:
    code = (
        "import sys\nfrom typer.testing import CliRunner\nfrom collapse_guard.cli import app\n"
        "assert CliRunner().invoke(app, ['prove-accumulation', '-h']).exit_code == 0\n"
        "heavy = ('duckdb', 'pandas', 'datasets', 'torch', 'collapse_guard.forecast')\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
