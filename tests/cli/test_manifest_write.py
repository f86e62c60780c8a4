"""``collapse-guard manifest write``: what it writes, what it prints, and what it refuses."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner, Result

from collapse_guard.cli import app
from collapse_guard.cli.manifest import write as command
from collapse_guard.errors import InputError
from collapse_guard.manifest import load_manifest
from collapse_guard.manifest.inventory import Progress

COMMAND = Path(sys.executable).with_name("collapse-guard")
REAL = ("--source", "web", "--origin", "real", "-o", "gen0/manifest.cgm.json")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory: a folder of two data files, and a policy."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    for number in range(2):
        rows = pa.table({"text": [f"{number} {row}" for row in range(600)], "label": ["cat", "dog"] * 300})
        pq.write_table(rows, tmp_path / "data" / f"{number}.parquet")
    text = "version: 1\nunit: bytes\nunit_column: text\nidentity: {rule: record, columns: [text]}\n"
    text += "coverage:\n  cells:\n    - {kind: labels, column: label}\n"
    (tmp_path / "policy.yaml").write_text(text, encoding="utf-8")
    return tmp_path


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["manifest", "write", *arguments])


def test_a_manifest_is_written_and_summed_up() -> None:
    result = invoke("data", *REAL, "--class-column", "label", "--jobs", "2")
    assert result.exit_code == 0, result.output
    written = load_manifest("gen0/manifest.cgm.json")
    assert written.verify() == ()
    assert written.class_rows() == {"cat": 600, "dog": 600}
    assert result.stdout.splitlines() == [
        "gen0/manifest.cgm.json: 1,200 rows in 2 shards",
        "sources: web (real) 1,200",
        "ids: sha256-128/record-json-nfc/1",
        f"digest: {written.digest}",
    ]


@pytest.mark.parametrize(
    ("front", "origin", "evidence"),
    [
        ("language_creators: [machine-generated]", 2, 1),
        ("language_creators: [found]", 0, 0),
        ("language_creators: [expert-generated]", 1, 1),
    ],
)
def test_a_dataset_card_declares_the_origin(folder: Path, front: str, origin: int, evidence: int) -> None:
    (folder / "README.md").write_text(f"---\n{front}\n---\n# Rows\n")
    result = invoke("data", "--source", "web", "--card", "README.md", "-o", "m.cgm.json")
    assert result.exit_code == 0, result.output
    assert load_manifest("m.cgm.json").rows_by("origin", "evidence") == {(origin, evidence): 1200}
    assert "README.md: " in result.stderr


def test_origin_and_card_are_one_or_the_other() -> None:
    for more in ([], ["--origin", "real", "--card", "README.md"]):
        result = invoke("data", "--source", "web", *more, "-o", "m.cgm.json")
        assert isinstance(result.exception, InputError)
        assert "give one of the two" in str(result.exception)


def test_every_option_arrives() -> None:
    assert invoke("data", *REAL).exit_code == 0
    options = ["--generator", "m@1", "--generation", "1", "--evidence", "generated_here", "--date", "2026-03-31"]
    options += ["--id-rule", "text", "--id-column", "text", "--unit", "bytes", "--unit-column", "text"]
    options += ["--name", "next"]
    made = ("--source", "model", "--origin", "synthetic", "-o", "gen1.cgm.json")
    result = invoke("data/0.parquet", "data/1.parquet", *made, *options)
    assert result.exit_code == 0, result.output
    written = load_manifest("gen1.cgm.json")
    assert (written.header.name, written.header.unit, written.header.unit_column) == ("next", "bytes", "text")
    assert written.header.id_rule == "sha256-128/text-nfc/1[text]"
    assert written.rows_by("source", "origin", "evidence", "generation", "generator") == {
        ("model", 2, 7, 1, "m@1"): 1200
    }
    child = invoke("data", *REAL[:4], "-o", "gen2.cgm.json", "--parent", "gen0/manifest.cgm.json")
    assert child.exit_code == 0, child.output
    assert load_manifest("gen2.cgm.json").header.generation == 1


def test_a_policy_says_how_rows_are_read() -> None:
    result = invoke("data", *REAL, "--policy", "policy.yaml")
    assert result.exit_code == 0, result.output
    header = load_manifest("gen0/manifest.cgm.json").header
    assert (header.unit, header.unit_column, header.class_column) == ("bytes", "text", "label")
    assert header.id_rule == "sha256-128/record-json-nfc/1[text]"
    assert header.policy_digest is not None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere", *REAL], "nowhere: no such file or folder"),
        (["data", *REAL, "--class-column", "labl"], "no class column 'labl'; did you mean 'label'"),
        (["data", *REAL, "--date", "31.3.2026"], "--date must be a day such as 2026-03-31"),
        (["data", *REAL, "--id-rule", "text"], "ids over text need exactly one column"),
        (["data", *REAL, "-p", "policy.yaml", "--unit", "rows"], "--unit is 'rows', policy.yaml says 'bytes'"),
        (["data", *REAL, "-p", "policy.yaml", "--class-column", "text"], "--class-column is 'text', policy.yaml says"),
        (["data", *REAL, "--parent", "gone.cgm.json"], "gone.cgm.json: no such file"),
        (["data", *REAL, "--takedowns", "gone.jsonl"], "gone.jsonl: no such file"),
        (["data", "--source", "web", "--origin", "human", "-o", "m.cgm.json"], "origin must be one of"),
    ],
)
def test_what_cannot_be_done_is_an_input_error(arguments: list[str], message: str) -> None:
    result = invoke(*arguments)
    assert isinstance(result.exception, InputError)
    assert message in str(result.exception)


def test_faults_are_one_line_on_stderr_and_exit_code_2() -> None:
    done = subprocess.run(
        [str(COMMAND), "manifest", "write", "data", *REAL, "--class-column", "x"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: 0.parquet: no class column 'x'; allowed: label, text\n"


def test_a_bar_is_drawn_on_a_terminal_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    with command._shown_progress() as progress:
        assert progress is None
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with command._shown_progress() as progress:
        assert progress is not None
        progress(Progress(1, 2, 3, 4, 5))
