"""The README's own blocks run, in their order, in one folder, as a newcomer would type them."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

README = (Path(__file__).parents[1] / "README.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", README, re.DOTALL | re.MULTILINE)


def run(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=300)


def test_the_two_set_up_commands_stand_in_the_readme() -> None:
    bash = "".join(body for language, body in BLOCKS if language == "bash")
    assert "pip install -c constraints.txt '.[demo]' && collapse-guard demo" in bash
    assert "pip install -c constraints.txt -e '.[dev]' && pytest" in bash


def test_the_blocks_run(tmp_path: Path) -> None:
    for language, body in BLOCKS:
        if language == "yaml":
            (tmp_path / body.splitlines()[0].removeprefix("# ")).write_text(body)
    script = "\n".join(body for language, body in BLOCKS if language == "python")
    done = run([sys.executable, "-c", script], tmp_path)
    assert done.returncode == 0, done.stderr
    assert "'n_real_rows': 100, 'n_synthetic_rows': 100" in done.stdout
    assert "5 real rows lost: web/2 4, web/1 1; ids " in done.stdout
    gate = next(
        line for language, body in BLOCKS if language == "bash" for line in body.splitlines() if "check" in line
    )
    command = [str(Path(sys.executable).with_name("collapse-guard")), *gate.split()[1:]]
    checked = run(command, tmp_path)
    assert checked.returncode == 0, checked.stdout + checked.stderr
