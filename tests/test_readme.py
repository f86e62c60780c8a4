"""The README's own blocks run, in their order, in one folder, as a newcomer would type them."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import yaml

from collapse_guard.policy import policy_from_mapping

README = (Path(__file__).parents[1] / "README.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
COMMANDS = [line for language, body in BLOCKS if language == "bash" for line in body.splitlines()]


def run(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=300)


def test_the_two_set_up_commands_stand_in_the_readme() -> None:
    bash = "".join(body for language, body in BLOCKS if language == "bash")
    assert "pip install -c constraints.txt '.[demo]' && collapse-guard demo" in bash
    assert "pip install -c constraints.txt -e '.[dev]' && pytest" in bash


def test_the_blocks_run(tmp_path: Path) -> None:
    for language, body in BLOCKS:
        if language == "yaml" and body.startswith("# "):
            (tmp_path / body.splitlines()[0].removeprefix("# ")).write_text(body)
    script = "\n".join(body for language, body in BLOCKS if language == "python")
    done = run([sys.executable, "-c", script], tmp_path)
    assert done.returncode == 0, done.stderr
    assert "'n_real_rows': 100, 'n_synthetic_rows': 100" in done.stdout
    assert "5 real rows lost: web/2 4, web/1 1; ids " in done.stdout
    assert " cells (" in done.stdout
    for command, more in (("check", []), ("forecast", []), ("simulate", ["--generations", "2", "--runs", "2"])):
        line = next(line for line in COMMANDS if line.startswith(f"collapse-guard {command} "))
        ran = run([str(Path(sys.executable).with_name("collapse-guard")), *line.split()[1:], *more], tmp_path)
        assert ran.returncode == 0, ran.stdout + ran.stderr
    assert (tmp_path / "forecast.html").stat().st_size > 1_000
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")


def test_the_cells_of_the_readme_are_a_policy() -> None:
    (declared,) = [body for language, body in BLOCKS if language == "yaml" and not body.startswith("# ")]
    coverage = policy_from_mapping({"version": 1} | yaml.safe_load(declared)).coverage
    assert coverage is not None
    assert [cells.kind for cells in coverage.cells] == ["labels", "ngrams", "tokens", "clusters", "images", "bins"]
