"""``collapse-guard simulate`` as a user runs it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from collapse_guard.cli import main, simulate
from collapse_guard.scenarios.experiments.catalogue import EXPERIMENTS
from collapse_guard.scenarios.experiments.chains import FRESH


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> int:
    """Run the command line in this process, as its console script does; return the exit code."""
    monkeypatch.setattr(sys, "argv", ["collapse-guard", "simulate", *map(str, arguments)])
    with pytest.raises(SystemExit) as caught:
        main()
    return int(caught.value.code or 0)


SMALL = ("regression", "--policy", "replace", "--policy", "guarded", "--generations", "3", "--runs", "2")


def test_a_run_prints_a_table_and_a_sentence_and_writes_figures_and_a_plot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    table, plot = tmp_path / "new" / "table.json", tmp_path / "plot.PNG"
    assert run(monkeypatch, *SMALL, "--out", table, "--out", plot) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    assert printed.out.splitlines()[0].startswith("regression: linear regression")
    assert "Error after 3 generations, in the median: fresh" in printed.out
    view = json.loads(table.read_text(encoding="utf-8"))
    assert [chain["policy"] for chain in view["chains"]] == [FRESH, "replace", "guarded"]
    assert plot.read_bytes().startswith(b"\x89PNG")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["new", "plot.PNG", "table.json"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("regresion",), "unknown experiment 'regresion'; did you mean 'regression'?"),
        (("regression", "--policy", "acumulate"), "has no policy 'acumulate'; did you mean 'accumulate'?"),
        (("regression", "--generations", "0"), "generations must be a whole number from 1 to 1000, got 0"),
        (("regression", "--runs", "1000000000"), "runs must be a whole number from 1 to 10000"),
        (("regression", "--real-share", "nan"), "real_share must lie in (0, 1), got nan"),
        (("regression", "--seed", "-1"), "seed must lie in 0 to"),
        (("regression", "--text", "words.txt"), "reads no text"),
        (("sentences", "--text", "words.txt"), "--text 'words.txt' is not a file"),
        ((*SMALL, "--out", "table.csv"), "--out must end in .json, .png or .svg, got 'table.csv'"),
    ],
)
def test_unusable_input_exits_with_2_and_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(monkeypatch, *arguments, "--out", tmp_path / "out.json") == 2
    printed = capsys.readouterr()
    (line,) = printed.err.splitlines()
    assert line.startswith("error: ")
    assert said in line
    assert printed.out == ""
    assert list(tmp_path.iterdir()) == []


def test_without_text_sentences_says_what_to_pass(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("COLLAPSE_GUARD_DATA", raising=False)
    assert run(monkeypatch, "sentences") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "pass --text FILE" in line


def test_a_folder_in_place_of_the_file_exits_with_2_before_anything_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out.json").mkdir()
    assert run(monkeypatch, *SMALL, "--out", tmp_path / "out.json") == 2
    assert "is a folder; name a file in it" in capsys.readouterr().err


def test_the_help_names_every_experiment_and_every_policy() -> None:
    text = (Path(simulate.__file__)).read_text(encoding="utf-8")
    for name, experiment in EXPERIMENTS.items():
        assert name in text
        assert all(policy in text for policy in experiment.policies)


def test_only_digits_brings_torch_and_nothing_does_at_the_start() -> None:
    code = (
        "import collapse_guard.cli, collapse_guard.scenarios.experiments.runner as runner, sys\n"
        "heavy = {'torch', 'sklearn', 'matplotlib', 'datasets'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
        "for name in ('gaussian', 'categorical', 'biased', 'embeddings'):\n"
        "    runner.simulate(name, policies=['guarded'], generations=1, runs=1)\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
