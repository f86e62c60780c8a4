"""``collapse-guard forecast``: what it prints, what it writes, and what it refuses."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any, NoReturn

import pyarrow as pa
import pytest
from typer.testing import CliRunner, Result

from collapse_guard import _optional
from collapse_guard.cli import app, out_file
from collapse_guard.cli.forecast import forecast_command
from collapse_guard.errors import MissingExtraError
from collapse_guard.manifest import build_manifest, write_manifest
from collapse_guard.records import DATE, EVIDENCE, GENERATION, GENERATOR, ID, ORIGIN, SOURCE

COMMAND = Path(sys.executable).with_name("collapse-guard")
ASK = ["-m", "m.cgm.json", "-p", "policy.yaml", "--generations", "10"]
LABELS = ["common"] * 180 + ["rare"] * 9 + ["<b>rarest</b>"] * 4


def write(path: Path, labels: list[str] | None) -> None:
    n_rows = 193 if labels is None else len(labels)
    ids = [hashlib.sha256(str(row).encode()).digest()[:16] for row in range(n_rows)]
    rows = pa.table(
        {
            "label": pa.nulls(n_rows, pa.string()) if labels is None else pa.array(labels, pa.string()),
            ORIGIN: pa.array([1] * n_rows, pa.uint8()),
            EVIDENCE: pa.array([1] * n_rows, pa.uint8()),
            GENERATION: pa.array([0] * n_rows, pa.uint8()),
            SOURCE: ["web"] * n_rows,
            GENERATOR: pa.nulls(n_rows, pa.string()),
            DATE: pa.array([65535] * n_rows, pa.uint16()),
            ID: pa.array(ids, pa.binary(16)),
        }
    )
    write_manifest(build_manifest(rows, name="gen0", generation=0, class_column="label"), path)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory: a policy and a manifest of three classes, two of them rare."""
    monkeypatch.chdir(tmp_path)
    Path("policy.yaml").write_text("version: 1\nextends: preset:starter@1\n", encoding="utf-8")
    write(tmp_path / "m.cgm.json", LABELS)
    return tmp_path


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["forecast", *arguments])


def call(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(COMMAND), "forecast", *arguments],
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
        timeout=120,
    )


def refuse_constant(name: str) -> NoReturn:
    raise AssertionError(f"{name} is not strict JSON")


def test_the_installed_command_prints_plain_text() -> None:
    done = call(*ASK)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0].startswith("After 10 generations of 193 rows under this policy (50 % real), ")
    assert "\x1b[" not in done.stdout
    table = [line.split()[0] for line in lines if line.lstrip()[:1].isdigit()]
    assert (table[0], table[-1]) == ("1", "10")
    assert len(table) <= 8


def test_json_is_strict_and_has_the_schema() -> None:
    assert invoke(*ASK, "--out", "f.json", "--chains", "50").exit_code == 0
    view: dict[str, Any] = json.loads(Path("f.json").read_text(encoding="utf-8"), parse_constant=refuse_constant)
    assert view["schema"] == "collapse-guard/forecast/1"
    assert view["tail"]["n_classes"] == 2
    assert view["n_chains"] == 50
    assert view["largest_difference_in_standard_errors"] < 6


@pytest.mark.parametrize(("name", "start"), [("f.html", b"<!doctype html>"), ("f.PNG", b"\x89PNG"), ("f.json", b"{")])
def test_the_suffix_says_what_is_written(name: str, start: bytes) -> None:
    result = invoke(*ASK, "--out", f"new/{name}", "--chains", "20")
    assert result.exit_code == 0, result.output
    assert Path("new", name).read_bytes().startswith(start)


def test_options_reach_the_forecast() -> None:
    options = ["--rows", "400", "--seed", "3", "--keep", "0.5", "--probability", "0.8", "--temperature", "0.9"]
    bent = [*options, "--top-p", "0.99", "--tail-removal", "0.1", "--chains", "30", "--out", "f.json"]
    assert invoke(*ASK, *bent).exit_code == 0
    view = json.loads(Path("f.json").read_text(encoding="utf-8"))
    assert view["biases"] == {"temperature": 0.9, "top_p": 0.99, "tail_removal": 0.1, "any": True}
    goal = view["smallest_real_share"]
    assert (view["n_rows"], view["seed"], goal["keep"], goal["probability"]) == (400, 3, 0.5, 0.8)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--out", "f.txt"], "--out must end in .html, .json or .png, got 'f.txt'"),
        (["--out", "f"], "--out must end in .html, .json or .png, got 'f'"),
        (["--generations", "0"], "generations must be 1 or more, got 0"),
        (["--generations", "10001"], "generations must be 1 to 10000, got 10001"),
        (["--generations", "-3"], "generations must be a whole number"),
        (["--rows", "0"], "n_rows must be 1 or more"),
        (["--chains", "-1"], "n_chains must be a whole number"),
        (["--seed", "-1"], "seed must be a whole number"),
        (["--temperature", "0"], "temperature must be a finite number above 0"),
        (["--temperature", "nan"], "temperature must be a finite number above 0"),
        (["--top-p", "0"], "top_p must lie in (0, 1]"),
        (["--top-p", "1.01"], "top_p must lie in (0, 1]"),
        (["--tail-removal", "1"], "tail_removal must lie in [0, 1)"),
        (["--keep", "1.1"], "keep must lie in (0, 1]"),
        (["--probability", "1"], "probability must lie in (0, 1)"),
        (["-m", "none.cgm.json"], "none.cgm.json: no such file"),
        (["-p", "none.yaml"], "none.yaml"),
        (["-m", "unlabelled.cgm.json"], "its real rows carry no class"),
        (["-m", "one.cgm.json"], "counts hold one class only"),
        (["-m", "even.cgm.json"], "counts have no tail"),
        (["-p", "bare.yaml"], "policy has no coverage section"),
    ],
)
def test_unusable_input_is_one_line_and_writes_nothing(folder: Path, arguments: list[str], text: str) -> None:
    write(folder / "unlabelled.cgm.json", None)
    write(folder / "one.cgm.json", ["a"] * 9)
    write(folder / "even.cgm.json", ["a", "b"] * 9)
    Path("bare.yaml").write_text("version: 1\n", encoding="utf-8")
    before = sorted(folder.iterdir())
    out = [] if "--out" in arguments else ["--out", "f.json"]
    result = invoke(*ASK, "--chains", "9", *arguments, *out)
    assert result.exit_code != 0
    assert text in str(result.exception)
    assert "\n" not in str(result.exception)
    assert sorted(folder.iterdir()) == before


def test_an_error_reaches_the_shell_as_exit_code_2_and_one_line() -> None:
    done = call(*ASK, "--out", "f.txt")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: --out must end in .html, .json or .png, got 'f.txt'\n"


def test_a_folder_is_no_file(folder: Path) -> None:
    (folder / "f.html").mkdir()
    result = invoke(*ASK, "--out", "f.html")
    assert "is a folder; name a file in it" in str(result.exception)


def test_a_missing_extra_is_said_before_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(module: str, *, extra: str) -> NoReturn:
        _optional.need("no_such_" + module, extra=extra)
        raise AssertionError

    monkeypatch.setattr(out_file, "need", absent)
    monkeypatch.setitem(forecast_command.__globals__, "forecast", lambda *_a, **_k: pytest.fail("the work was begun"))
    result = invoke(*ASK, "--out", "f.html")
    assert isinstance(result.exception, MissingExtraError)
    assert "pip install 'collapse-guard[report]'" in str(result.exception)
    assert list(Path().glob("f.*")) == []


def test_a_forecast_brings_no_drawing_library() -> None:
    heavy = "{'matplotlib', 'jinja2', 'torch'}"
    code = f"import collapse_guard.cli, collapse_guard.forecast, sys; print({heavy} & {{*sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "set()"
