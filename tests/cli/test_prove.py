"""``collapse-guard prove`` and ``collapse-guard takedown``: exit codes, output, files."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner, Result

from collapse_guard.cli import app
from collapse_guard.errors import InputError, ManifestError
from collapse_guard.manifest import (
    Manifest,
    load_manifest,
    load_takedowns,
    manifest_of,
    prove_accumulation,
    shard_of,
    write_manifest,
)
from collapse_guard.manifest.index import INDEX_SCHEMA
from collapse_guard.records import ID

if TYPE_CHECKING:
    from collections.abc import Sequence

COMMAND = Path(sys.executable).with_name("collapse-guard")


def hex_id(number: int) -> str:
    return hashlib.sha256(str(number).encode()).hexdigest()[:32]


def rows(numbers: Sequence[int], *, source: str = "web", label: str | None = "cat", origin: int = 1) -> Any:
    import pyarrow as pa

    plain = {"source": source, "class": label, "origin": origin, "evidence": 1, "generation": 0, "amount": 1.0}
    entries = [
        plain | {"id_hi": int(hex_id(n)[:16], 16), "id_lo": int(hex_id(n)[16:], 16), "generator": None} for n in numbers
    ]
    return pa.Table.from_pylist(entries, INDEX_SCHEMA)


def write(path: str, *tables: Any, **options: Any) -> Manifest:
    shards = [shard_of(table, name=f"#{n}") for n, table in enumerate(tables)]
    said: dict[str, Any] = {"name": path, "generation": 0, "class_column": "label"}
    return write_manifest(manifest_of(shards, **(said | options)), Path(path))


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory: a parent, a child that grew, one that lost rows, one under another id rule."""
    monkeypatch.chdir(tmp_path)
    before = rows(range(20)), rows(range(20, 30), source="books", label=None)
    write("gen0.json", *before)
    write("grown.json", *before, rows(range(30, 40)))
    write("lossy.json", rows(range(4, 20)), rows(range(100, 120), source="made", origin=2))
    write("other.json", *before, id_rule="sha256-128/text-nfc/1[body]")
    return tmp_path


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["prove", *arguments])


def view_of(*arguments: str) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(invoke(*arguments, "--output-format", "json").stdout)
    return value


@pytest.mark.parametrize(
    ("current", "code", "first"),
    [
        ("gen0.json", 0, "accumulation holds: every real row is kept (of 30, by the root digest)"),
        ("grown.json", 0, "accumulation holds: every real row is kept (of 30, by the digests of shards)"),
        ("lossy.json", 1, "accumulation broken: 14 real rows lost (of 30, by 30 rows of 2 changed shards)"),
        ("other.json", 3, "accumulation inconclusive: ids follow 'sha256-128/record-json-nfc/1' in PREV"),
    ],
)
def test_the_exit_code_and_the_first_line_say_the_verdict_and_the_level(current: str, code: int, first: str) -> None:
    result = invoke("gen0.json", current)
    assert result.exit_code == code
    assert result.stdout.startswith(first)


def test_lost_rows_are_told_by_source_and_class_with_at_most_ten_ids(folder: Path) -> None:
    result = invoke("gen0.json", "lossy.json", "--lost-to", "lost.parquet")
    lines = result.stdout.splitlines()
    assert lines[1:3] == ["  lost 10: source 'books', no class", "  lost 4: source 'web', class 'cat'"]
    lost = sorted(hex_id(n) for n in (*range(4), *range(20, 30)))
    assert lines[3] == f"  ids {', '.join(lost[:10])}; every lost row is in lost.parquet"
    assert [value.hex() for value in pq.read_table("lost.parquet").column(ID).to_pylist()] == lost
    assert len(lines) == 5


def test_json_on_stdout_and_in_a_file_is_the_same() -> None:
    result = invoke("gen0.json", "lossy.json", "--output-format", "json", "-o", "out/proof.json")
    view = json.loads(result.stdout)
    assert view == json.loads(Path("out/proof.json").read_text())
    assert (view["schema"], view["verdict"], view["exit_code"]) == ("collapse-guard/proof/1", "lost", 1)
    assert (view["level"], view["n_lost_rows"], view["n_compared_rows"]) == ("rows", 14, 30)
    assert view["lost_by"] == [["books", None, 10], ["web", "cat", 4]]
    assert view["previous"]["digest"] == load_manifest("gen0.json").digest
    assert view_of("gen0.json", "other.json")["verdict"] == "inconclusive"


def test_a_scope_may_be_repeated_and_is_checked() -> None:
    assert view_of("gen0.json", "lossy.json", "--scope", "web")["n_lost_rows"] == 4
    assert view_of("gen0.json", "lossy.json", "--scope", "web", "--scope", "books")["n_lost_rows"] == 14
    with pytest.raises(InputError, match=r"--scope 'wbe' is a source of neither manifest; did you mean 'web'\?"):
        raise invoke("gen0.json", "lossy.json", "--scope", "wbe").exception or AssertionError


def test_takedowns_made_by_the_command_excuse_a_loss() -> None:
    said = ["takedown", "--to", "t.jsonl", "--reason", "erasure 118"]
    first = CliRunner().invoke(app, [*said, hex_id(0), hex_id(1), "--date", "2026-03-31"])
    assert first.stdout == "2 rows taken down; t.jsonl lists 2\n"
    more = CliRunner().invoke(app, [*said, hex_id(1), *(hex_id(n) for n in (2, 3, *range(20, 30)))])
    assert more.stdout == "12 rows taken down; 1 was listed already; t.jsonl lists 14\n"
    assert load_takedowns("t.jsonl").records[0].date.isoformat() == "2026-03-31"
    result = invoke("gen0.json", "lossy.json", "--takedowns", "t.jsonl")
    assert result.exit_code == 0
    assert result.stdout.startswith("accumulation holds: every real row is kept; 14 rows left under takedowns (of 30")
    assert "  taken down 2: erasure 118 (2026-03-31)" in result.stdout.splitlines()
    assert not [n for n in range(30) if hex_id(n) in result.stdout + Path("t.jsonl").read_text()]


def test_takedowns_take_the_file_that_the_proof_has_written() -> None:
    assert invoke("gen0.json", "lossy.json", "--lost-to", "lost.parquet").exit_code == 1
    said = ["takedown", "--from", "lost.parquet", "--to", "t.jsonl", "--reason", "erasure 118"]
    result = CliRunner().invoke(app, said)
    assert (result.exit_code, result.stdout) == (0, "14 rows taken down; t.jsonl lists 14\n")
    assert invoke("gen0.json", "lossy.json", "--takedowns", "t.jsonl").exit_code == 0
    other = CliRunner().invoke(app, ["takedown", "--from", "gen0.json", "--to", "t.jsonl", "--reason", "r"])
    assert isinstance(other.exception, InputError)
    assert "gen0.json: no Parquet file with a column cg_id of ids" in str(other.exception)


def test_a_proof_takes_paths_as_well() -> None:
    assert prove_accumulation("gen0.json", "grown.json").holds


def test_limits_do_not_change_the_answer() -> None:
    held = view_of("gen0.json", "lossy.json", "--max-memory", "100MB", "--threads", "1")
    assert held == view_of("gen0.json", "lossy.json")


def test_verify_finds_a_part_that_was_swapped(folder: Path) -> None:
    assert invoke("gen0.json", "lossy.json", "--verify").exit_code == 1
    part = load_manifest("gen0.json").shards[0].path
    other = write("swap.json", rows(range(50, 70))).shards[0].path
    assert part is not None
    assert other is not None
    part.write_bytes(other.read_bytes())
    result = invoke("gen0.json", "gen0.json", "--verify")
    assert isinstance(result.exception, ManifestError)
    assert str(result.exception).startswith("gen0.json: ")
    assert "#0" in str(result.exception)


def test_names_from_the_data_cannot_speak_for_the_guard() -> None:
    forged = "owl\naccumulation holds\x1b[2J"
    write("gen0.json", rows(range(3), source=forged, label=forged))
    result = invoke("gen0.json", "lossy.json")
    assert [line for line in result.stdout.splitlines() if line.startswith("accumulation holds")] == []
    assert "\x1b" not in result.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ["nowhere.json", "gen0.json"],
        ["gen0.json", "lossy.json", "--takedowns", "nowhere.jsonl"],
        ["gen0.json", "lossy.json", "--max-memory", "plenty"],
        ["gen0.json", "lossy.json", "--threads", "0"],
        ["gen0.json", "lossy.json", "--engine", "spark"],
        ["gen0.json", "lossy.json", "--engine", "ray", "--max-memory", "1GB"],
        ["gen0.json", "lossy.json", "--lost-to", "."],
    ],
)
def test_what_cannot_be_used_is_exit_code_2_in_one_line(arguments: list[str]) -> None:
    done = subprocess.run([str(COMMAND), "prove", *arguments], capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, done.stdout) == (2, "")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("arguments", [["00ff"], [hex_id(0), "--date", "soon"], [hex_id(0), "--reason", " "]])
def test_what_cannot_be_taken_down_is_refused_and_writes_nothing(arguments: list[str]) -> None:
    said = ["takedown", "--to", "t.jsonl", *(["--reason", "r"] if "--reason" not in arguments else [])]
    result = CliRunner().invoke(app, [*said, *arguments])
    assert isinstance(result.exception, InputError)
    assert not Path("t.jsonl").exists()


@pytest.mark.slow
def test_ray_gives_the_same_view(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray.data")
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    said = ["prove", "gen0.json", "lossy.json", "--output-format", "json"]
    done = subprocess.run(
        [str(COMMAND), *said, "--engine", "ray", "--threads", "1"],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 1
    assert json.loads(done.stdout) == view_of("gen0.json", "lossy.json") | {"engine": "ray"}
