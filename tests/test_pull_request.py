"""A pull request that replaces real rows, as a reviewer meets it: a repository, two branches, the installed command."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_digits

COMMAND = Path(sys.executable).with_name("collapse-guard")
POLICY = """version: 1
extends: preset:starter@1
name: digits
sources:
  scans: {origin: real, min_share: 0.5}
  flow: {origin: synthetic, generator: "flow@1"}
manifests:
  current: gen1/manifest.cgm.json
  previous: gen0/manifest.cgm.json
accumulation:
  mode: superset
  # a row may leave under a takedown, and for no other reason
  allow_loss: 0
"""
LOSS_LINE = POLICY.splitlines().index("  allow_loss: 0") + 1
REPLACED = 0.05

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")


def git(repository: Path, *arguments: str) -> str:
    said = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false", *arguments]
    return subprocess.run(said, cwd=repository, check=True, capture_output=True, text=True).stdout


def run(repository: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([COMMAND, *arguments], cwd=repository, check=False, capture_output=True, text=True)


def write_rows(path: Path, pixels: np.ndarray[Any, Any], labels: np.ndarray[Any, Any]) -> Path:
    rows = zip(pixels.tolist(), labels.tolist(), strict=True)
    path.write_text("".join(json.dumps({"pixels": row, "label": str(label)}) + "\n" for row, label in rows))
    return path


def manifest(repository: Path, name: str, data: Path, *options: str) -> str:
    output = f"{name}/manifest.cgm.json"
    written = run(repository, "manifest", "write", str(data), "-o", output, "--class-column", "label", *options)
    assert written.returncode == 0, written.stderr
    return output


def next_generation(repository: Path, real: Path, made: Path) -> None:
    """Write gen1 out of real and generated rows, with gen0 as its parent, and commit its header."""
    scans = manifest(repository, "scans", real, "--source", "scans", "--origin", "real")
    generated = ("--origin", "synthetic", "--generator", "flow@1", "--generation", "1")
    flow = manifest(repository, "flow", made, "--source", "flow", *generated)
    merged = ("--parent", "gen0/manifest.cgm.json", "-o", "gen1/manifest.cgm.json")
    assert run(repository, "manifest", "merge", scans, flow, *merged).returncode == 0
    git(repository, "add", "gen1/manifest.cgm.json")
    git(repository, "commit", "-qm", "Second generation")


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository whose main branch holds a policy and the header of gen0: 1,797 real digits."""
    root = tmp_path / "corpus"
    root.mkdir()
    pixels, labels = load_digits(return_X_y=True)
    write_rows(tmp_path / "scans.jsonl", pixels, labels)
    (root / "collapse_guard.yaml").write_text(POLICY)
    (root / ".gitignore").write_text("*.index\nscans/\nflow/\n")
    manifest(root, "gen0", tmp_path / "scans.jsonl", "--source", "scans", "--origin", "real")
    git(root, "init", "-q", "-b", "main")
    git(root, "add", ".")
    git(root, "commit", "-qm", "First generation and its policy")
    return root


def test_replacing_five_percent_is_refused_where_the_policy_says_so_and_adding_passes(
    repository: Path, tmp_path: Path
) -> None:
    pixels, labels = load_digits(return_X_y=True)
    rng = np.random.default_rng(0)
    gone = rng.choice(len(labels), round(REPLACED * len(labels)), replace=False)
    noisy = np.clip(pixels[gone] + rng.normal(0, 1, pixels[gone].shape), 0, 16).round(3)
    made = write_rows(tmp_path / "flow.jsonl", noisy, labels[gone])
    kept = np.setdiff1d(np.arange(len(labels)), gone)

    git(repository, "switch", "-qc", "replace")
    next_generation(repository, write_rows(tmp_path / "kept.jsonl", pixels[kept], labels[kept]), made)
    outputs = ("--output", "sarif=gate.sarif", "--output", "json=gate.json", "--output", "junit=gate.xml")
    refused = run(repository, "check", "--output-format", "github", *outputs)
    assert refused.returncode == 1, refused.stdout + refused.stderr

    result = json.loads((repository / "gate.json").read_text())
    failed = {found["code"]: found for found in result["findings"] if found["status"] == "fail"}
    assert set(failed) == {"CG201", "CG202"}
    assert failed["CG201"]["measured"] == gone.size == 90
    assert failed["CG202"]["evidence"]["n_new_synthetic_rows"] == gone.size
    assert (failed["CG201"]["file"], failed["CG201"]["line"]) == ("collapse_guard.yaml", LOSS_LINE)
    assert f"::error file=collapse_guard.yaml,line={LOSS_LINE},title=CG201" in refused.stdout

    (run_of_sarif,) = json.loads((repository / "gate.sarif").read_text())["runs"]
    places = {
        each["ruleId"]: each["locations"][0]["physicalLocation"]
        for each in run_of_sarif["results"]
        if "suppressions" not in each
    }
    assert places["CG201"]["artifactLocation"]["uri"] == "collapse_guard.yaml"
    assert places["CG201"]["region"]["startLine"] == LOSS_LINE

    git(repository, "switch", "-q", "main")
    git(repository, "switch", "-qc", "add")
    shutil.rmtree(repository / "gen1")
    next_generation(repository, tmp_path / "scans.jsonl", made)
    passed = run(repository, "check")
    assert passed.returncode == 0, passed.stdout + passed.stderr
    assert passed.stdout.startswith("policy kept")
