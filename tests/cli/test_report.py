"""``collapse-guard report``: a result in other formats, without checking again."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from collapse_guard.cli import app
from collapse_guard.cli.outputs import check_format, parse_outputs
from collapse_guard.errors import InputError
from collapse_guard.report.formats import FORMATS, render, write
from collapse_guard.report.result import result_json_schema
from tests.report.formats.views import EXIT_CODES, finding, view, waived

MADE = view(finding(), waived())


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with a result in it."""
    monkeypatch.chdir(tmp_path)
    write(MADE, [("json", Path("gate.json"))])
    return tmp_path


def run(*arguments: str, stdin: bytes | None = None) -> Result:
    return CliRunner().invoke(app, ["report", *arguments], input=stdin, catch_exceptions=True)


def refused(*arguments: str, stdin: bytes | None = None) -> str:
    """Return what the command complains of; it is bad input, which the command line turns into exit code 2."""
    result = run(*arguments, stdin=stdin)
    assert isinstance(result.exception, InputError), result.output
    return str(result.exception)


@pytest.mark.parametrize("name", sorted(FORMATS.keys() - {"html"}))
def test_every_format_is_printed_as_it_is_rendered(folder: Path, name: str) -> None:
    result = run("gate.json", "--output-format", name)
    assert result.exit_code == 0
    assert result.stdout == render(MADE, name)


def test_plain_lines_are_what_a_pipe_gets(folder: Path) -> None:
    assert run("gate.json").stdout == render(MADE, "plain")


def test_rich_is_for_terminals(folder: Path) -> None:
    result = run("gate.json", "--output-format", "rich")
    assert result.exit_code == 0
    assert "policy violated" in result.stdout


@pytest.mark.parametrize("verdict", EXIT_CODES)
def test_it_is_no_gate(folder: Path, verdict: str) -> None:
    write(view(verdict=verdict), [("json", Path("other.json"))])
    assert run("other.json").exit_code == 0


def test_a_result_is_read_from_a_pipe(folder: Path) -> None:
    result = run("-", "--output-format", "sarif", stdin=render(MADE, "json").encode())
    assert result.stdout == render(MADE, "sarif")


def test_several_files_are_written_in_one_run(folder: Path) -> None:
    result = run("gate.json", "-o", "sarif=a.sarif", "-o", "junit=b.xml", "-o", "copy.json")
    assert result.exit_code == 0
    assert Path("a.sarif").read_text("utf-8") == render(MADE, "sarif")
    assert Path("b.xml").read_text("utf-8") == render(MADE, "junit")
    assert json.loads(Path("copy.json").read_text("utf-8")) == MADE


def test_a_result_that_is_none_leaves_no_file(folder: Path) -> None:
    Path("bad.json").write_text("{}", encoding="utf-8")
    assert refused("bad.json", "-o", "sarif=a.sarif").startswith("bad.json: /schema is None")
    assert not Path("a.sarif").exists()
    assert "standard input: not a result" in refused("-", stdin=b"{")


def test_the_result_itself_is_not_overwritten(folder: Path) -> None:
    assert "is the result that is read" in refused("gate.json", "-o", "sarif=./gate.json")
    assert json.loads(Path("gate.json").read_text("utf-8")) == MADE


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["serif=a"], "there is no format 'serif' for a file; did you mean 'sarif'?"),
        (["rich=a"], "there is no format 'rich' for a file"),
        (["sarif="], "name a file, such as sarif=result.sarif"),
        (["sarif=-"], "name a file"),
        ([""], "say the format"),
        (["report"], "say the format, such as sarif=report"),
        (["sarif=sub"], "is a folder; name a file in it"),
        (["sarif=gate.json/a.sarif"], "gate.json' is no folder; name another one"),
        (["sarif=a", "junit=./sub/../a"], "'sarif=a' already writes this file"),
        (["a.json", "json=a.json"], "'a.json' already writes this file"),
        (["sarif=/dev/null"], "is no regular file"),
        (["sarif=a\x00b"], "is no path"),
        (["sarif=" + "x" * 5000], "is no path"),
    ],
)
def test_an_output_that_cannot_be_written_is_refused_before_any_work(folder: Path, given: list[str], said: str) -> None:
    Path("sub").mkdir()
    with pytest.raises(InputError, match="--output") as caught:
        parse_outputs(given)
    assert said in str(caught.value)
    arguments = [part for text in given for part in ("-o", text)]
    assert refused("nowhere.json", *arguments) == str(caught.value)


def test_folders_that_are_missing_are_made(folder: Path) -> None:
    assert run("gate.json", "-o", "sarif=new/er/a.sarif").exit_code == 0
    assert Path("new/er/a.sarif").is_file()


def test_a_path_with_an_equals_sign_can_be_named(folder: Path) -> None:
    assert parse_outputs(["./run=3.json", "json=lr=0.1.json"]) == [
        ("json", Path("run=3.json")),
        ("json", Path("lr=0.1.json")),
    ]


def test_a_folder_that_cannot_be_written_to_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(path: Any, mode: int) -> bool:
        return False

    monkeypatch.setattr("os.access", never)
    with pytest.raises(InputError, match="cannot be written to"):
        parse_outputs(["sarif=a.sarif"])


def test_an_unknown_format_is_told_the_nearest() -> None:
    with pytest.raises(InputError, match=r"--output-format 'junti': there is no such format; did you mean 'junit'\?"):
        check_format("junti")
    assert [check_format(name) for name in ("auto", "rich", *FORMATS)] == ["auto", "rich", *FORMATS]


def test_the_installed_command_ends_with_2_and_one_line(folder: Path) -> None:
    command = Path(sys.executable).with_name("collapse-guard")
    done = subprocess.run([command, "report", "nowhere.json"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: nowhere.json: cannot be read: No such file or directory")
    assert done.stderr.count("\n") == 1


def test_the_schema_of_a_result_is_printed() -> None:
    result = CliRunner().invoke(app, ["schema", "result"])
    assert result.exit_code == 0
    assert json.loads(result.stdout) == result_json_schema()
