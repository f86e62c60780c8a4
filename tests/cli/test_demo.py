"""``collapse-guard demo`` as a user runs it: another process, an exit code, files."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from collapse_guard.cli import main

if TYPE_CHECKING:
    from subprocess import CompletedProcess

POLICY = Path(__file__).parents[2] / "configs" / "minority-images.yaml"


def collapse_guard(*arguments: str | Path, timeout_s: int = 180) -> CompletedProcess[str]:
    """Run the command line in a process of its own."""
    code = "from collapse_guard.cli import main; main()"
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)


def read(path: Path) -> dict[str, Any]:
    plain: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return plain


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> tuple[CompletedProcess[str], Path]:
    """Two generations of the guarded arm, run once."""
    out = tmp_path_factory.mktemp("demo") / "out"
    return collapse_guard("demo", "--arms", "guarded", "--generations", "2", "--out", out), out


def test_a_guarded_run_exits_with_0_and_tells_what_happened(guarded: tuple[CompletedProcess[str], Path]) -> None:
    done, out = guarded
    assert done.returncode == 0, done.stdout + done.stderr
    assert "guarded: finished 2 generations without a halt" in done.stdout
    assert "Traceback" not in done.stderr
    assert str(out / "demo.png") in done.stdout.replace("\n", "")


def test_every_generation_leaves_its_manifest_its_report_and_its_evidence(
    guarded: tuple[CompletedProcess[str], Path],
) -> None:
    _, out = guarded
    for number in (1, 2):
        folder = out / "guarded" / f"generation-{number}"
        manifest = read(folder / "manifest.cgm.json")
        assert manifest["generation"] == number - 1
        report = read(folder / "run.json")
        assert report["schema"] == "collapse-guard/run/2"
        assert report["contract"] == "checked"
        assert report["halted"] is False
        assert len(report["looks"]) == number
        assert (folder / "manifest.evidence.json").is_file()


def test_the_plot_and_the_figures_stand_in_the_folder(guarded: tuple[CompletedProcess[str], Path]) -> None:
    _, out = guarded
    assert (out / "demo.png").read_bytes().startswith(b"\x89PNG")
    figures = read(out / "demo.json")
    assert figures["schema"] == "collapse-guard/demo/1"
    assert [row["generation"] for row in figures["chains"]["guarded"]] == [1, 2]
    assert "unfinished" not in figures
    assert [path.name for path in out.iterdir() if path.name.startswith(".")] == []


def test_the_gate_accepts_what_the_guarded_arm_wrote(guarded: tuple[CompletedProcess[str], Path]) -> None:
    _, out = guarded
    first, second = (out / "guarded" / f"generation-{number}" / "manifest.cgm.json" for number in (1, 2))
    alone = collapse_guard("check", "-p", POLICY, "-m", first)
    assert alone.returncode == 0, alone.stdout + alone.stderr
    chained = collapse_guard("check", "-p", POLICY, "-m", second, "--against", first)
    assert chained.returncode == 0, chained.stdout + chained.stderr


def test_the_gate_refuses_the_same_generation_without_its_parent(guarded: tuple[CompletedProcess[str], Path]) -> None:
    _, out = guarded
    done = collapse_guard("check", "-p", POLICY, "-m", out / "guarded" / "generation-2" / "manifest.cgm.json")
    assert done.returncode == 1
    assert "CG204" in done.stdout


def refused(monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> int:
    """Run the command line in this process, as its console script does; return the exit code."""
    monkeypatch.setattr(sys, "argv", ["collapse-guard", *map(str, arguments)])
    with pytest.raises(SystemExit) as caught:
        main()
    return int(caught.value.code or 0)


@pytest.mark.parametrize("arms", ["nonsense", "guarded,nonsense", ","])
def test_an_unknown_arm_exits_with_2_and_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arms: str
) -> None:
    assert refused(monkeypatch, "demo", "--arms", arms, "--out", tmp_path / "out") == 2
    printed = capsys.readouterr()
    assert printed.err.splitlines() == [f"error: --arms takes replace, accumulate, guarded, got {arms!r}"]
    assert printed.out == ""
    assert not (tmp_path / "out").exists()


def test_a_folder_with_files_of_somebody_else_exits_with_2_and_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "guarded").mkdir()
    (tmp_path / "guarded" / "thesis.txt").write_text("mine", encoding="utf-8")
    assert refused(monkeypatch, "demo", "--arms", "guarded", "--generations", "2", "--out", tmp_path) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("is not empty and no demo wrote it; name another folder with --out")
    assert [path.relative_to(tmp_path).as_posix() for path in sorted(tmp_path.rglob("*"))] == [
        "guarded",
        "guarded/thesis.txt",
    ]
    assert (tmp_path / "guarded" / "thesis.txt").read_text(encoding="utf-8") == "mine"


def test_a_file_in_place_of_the_folder_exits_with_2_and_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out").write_text("mine", encoding="utf-8")
    assert refused(monkeypatch, "demo", "--arms", "guarded", "--out", tmp_path / "out") == 2
    assert "is a file; --out names a folder" in capsys.readouterr().err
    assert (tmp_path / "out").read_text(encoding="utf-8") == "mine"


@pytest.mark.slow
def test_a_full_run_halts_replace_and_not_the_guarded_arm(tmp_path: Path) -> None:
    done = collapse_guard("demo", "--seed", "0", "--arms", "replace,guarded", "--out", tmp_path / "out", timeout_s=900)
    assert done.returncode == 0, done.stdout + done.stderr
    figures = read(tmp_path / "out" / "demo.json")
    replace, kept = figures["chains"]["replace"], figures["chains"]["guarded"]
    assert replace[-1]["action"] == "halt"
    assert [row["action"] for row in kept] == ["continue"] * 8
    assert "CG201" in figures["refusal"]
    assert read(tmp_path / "out" / "replace" / f"generation-{len(replace)}" / "run.json")["halted"] is True
