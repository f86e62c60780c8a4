"""``collapse-guard lint``: policies alone."""

from __future__ import annotations

import datetime as dt
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from collapse_guard.cli import app

TODAY = dt.datetime.now(dt.UTC).date()


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with a policy that can be used."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("COLLAPSE_GUARD_POLICY", raising=False)
    (tmp_path / "collapse_guard.yaml").write_text("version: 1\nextends: preset:starter@1\n", encoding="utf-8")
    return tmp_path


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["lint", *arguments])


def waiver(rule: str, days: int) -> str:
    end = TODAY + dt.timedelta(days=days)
    return f"  - {{id: W-{rule}{days}, rule: {rule}, reason: r, owner: o, expires: {end}, limit: {{max: 1}}}}\n"


def test_a_usable_policy_is_told_as_such() -> None:
    for arguments in ([], ["collapse_guard.yaml"]):
        result = invoke(*arguments)
        assert (result.exit_code, result.stdout) == (0, "1 policy: usable\n")


def test_every_fault_of_every_file_is_a_line(folder: Path) -> None:
    (folder / "a.yaml").write_text("version: 1\nmixx: {}\nmix: {real_min_share: 2}\n", encoding="utf-8")
    floors = "version: 1\nsources:\n  web: {min_share: 0.6}\n  own: {min_share: 0.6}\n"
    (folder / "b.yaml").write_text(floors, encoding="utf-8")
    result = invoke("a.yaml", "collapse_guard.yaml", "b.yaml", "nowhere.yaml")
    assert result.exit_code == 2
    assert result.stdout.splitlines() == [
        "a.yaml:2: CG001 mixx: unknown key; did you mean 'mix'?",
        "a.yaml:3: CG001 mix.real_min_share: must be less than or equal to 1, got 2",
        "b.yaml:2: CG002 sources: the min_share floors add up to 1.2, more than 1",
        "nowhere.yaml: CG001 no such file; write one, or name another",
        "4 policies: 3 of 4 cannot be used",
    ]


def test_waivers_that_cannot_be_are_faults_and_those_that_end_are_told(folder: Path) -> None:
    text = (
        "version: 1\nwaivers:\n" + waiver("CG004", 90) + waiver("CG102", -1) + waiver("CG102", 14) + waiver("CG102", 15)
    )
    (folder / "w.yaml").write_text(text, encoding="utf-8")
    result = invoke("w.yaml")
    assert result.exit_code == 2
    lines = result.stdout.splitlines()
    assert [line.partition(";")[0] for line in lines[:-1]] == [
        "w.yaml:3: CG903 waivers[0].rule: CG004 cannot be waived",
        f"w.yaml:4: CG901 waivers[1].expires: expired on {TODAY - dt.timedelta(days=1)}",
        f"w.yaml:5: CG904 waivers[2].expires: ends on {TODAY + dt.timedelta(days=14)}",
    ]
    assert [line.endswith(" [warning]") for line in lines[:-1]] == [False, False, True]
    (folder / "w.yaml").write_text(text.replace(waiver("CG004", 90), ""), encoding="utf-8")
    assert invoke("w.yaml").exit_code == 1, "an expired waiver fails a check, and so it does here"


def test_keys_and_codes_that_no_check_reads_are_told(folder: Path) -> None:
    text = "version: 1\ncoverage: {by: [class, language]}\nseverity: {CG999: info}\n"
    (folder / "k.yaml").write_text(text, encoding="utf-8")
    result = invoke("k.yaml")
    assert result.exit_code == 0
    assert [line.partition(":")[2].split()[1:3] for line in result.stdout.splitlines()[:-1]] == [
        ["CG905", "coverage.by:"],
        ["CG905", "severity.CG999:"],
    ]


def test_annotations_say_file_and_line_and_cannot_be_forged(folder: Path) -> None:
    (folder / "a.yaml").write_text('version: 1\n"x\\n::error::50 %": 1\n', encoding="utf-8")
    result = invoke("--output-format", "github", "a.yaml")
    assert result.exit_code == 2
    lines = result.stdout.splitlines()
    assert lines[0].startswith("::error file=a.yaml,line=2,title=CG001::x%0A::error::50 %25: unknown key;")
    assert len(lines) == 2


def test_a_hostile_key_is_one_line(folder: Path) -> None:
    (folder / "a.yaml").write_text('version: 1\n"x\\n\\u2028y": 1\n', encoding="utf-8")
    assert len(invoke("a.yaml").stdout.splitlines()) == 2


def test_no_policy_at_all_is_told(folder: Path) -> None:
    (folder / ".git").mkdir()
    (folder / "collapse_guard.yaml").unlink()
    done = subprocess.run(
        [Path(sys.executable).with_name("collapse-guard"), "lint"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: no policy")


def test_nothing_heavy_is_imported() -> None:
    code = "from collapse_guard.cli import main; import sys\ntry: main()\nfinally: print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code, "lint"], capture_output=True, text=True, check=True)
    loaded = {name.split(".")[0] for name in done.stdout.split()}
    assert not loaded & {"duckdb", "torch", "datasets", "matplotlib", "jinja2", "sklearn", "pandas"}


def test_a_cell_function_is_not_run(folder: Path) -> None:
    (folder / "evil.py").write_text("raise SystemExit('ran')\n", encoding="utf-8")
    text = "version: 1\ncoverage:\n  cells: {kind: callable, function: evil:cells, names: [a, b]}\n"
    (folder / "c.yaml").write_text(text, encoding="utf-8")
    assert invoke("c.yaml").exit_code == 0
