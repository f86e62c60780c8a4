"""The job for GitLab: its structure, and its script under bash."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tomllib
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
import yaml

pytestmark = pytest.mark.slow


ROOT = Path(__file__).parents[2]
FILE = ROOT / "ci" / "gitlab.yml"
JOB = yaml.safe_load(FILE.read_text(encoding="utf-8"))["collapse-guard"]
BASH = shutil.which("bash")


def test_the_job_keeps_the_schema_of_gitlab() -> None:
    pytest.importorskip("check_jsonschema")
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.gitlab-ci", str(FILE)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout


def test_the_job_installs_the_version_that_it_came_with() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert JOB["variables"]["COLLAPSE_GUARD_REQUIREMENT"] == f"collapse-guard[report]~={project['version']}"


def run_script(folder: Path, **variables: str) -> int:
    """Run the lines of the job as GitLab does, one after the other; nothing is installed."""
    tools = folder / "tools"
    tools.mkdir(exist_ok=True)
    python = tools / "python"
    python.write_text("#!/bin/sh\nexit 0\n", encoding="utf-8")
    python.chmod(0o755)
    path = os.pathsep.join([str(tools), str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {key: value for key, value in os.environ.items() if not key.startswith("COLLAPSE_GUARD_")}
    environment |= JOB["variables"] | variables | {"PATH": path}
    assert BASH is not None
    script = "\n".join(JOB["script"])
    done = subprocess.run(
        [BASH, "-eo", "pipefail", "-c", script],
        cwd=folder,
        env=environment,
        capture_output=True,
        check=False,
        timeout=120,
    )
    return done.returncode


@pytest.mark.skipif(BASH is None, reason="bash is not installed")
def test_the_job_leaves_what_it_says_it_leaves(project: Path) -> None:
    assert run_script(project) == 0
    assert run_script(project, COLLAPSE_GUARD_ARGS="--manifest manifests/bad.cgm.json") == 1
    reports = JOB["artifacts"]["reports"]
    found = json.loads((project / reports["codequality"]).read_text(encoding="utf-8"))
    assert any(issue["check_name"].startswith("CG101") for issue in found)
    suites = ET.parse(project / reports["junit"]).getroot()
    assert suites.findall(".//failure")
    assert [(project / path).is_file() for path in JOB["artifacts"]["paths"]] == [True]
    assert JOB["artifacts"]["when"] == "always"


@pytest.mark.skipif(BASH is None, reason="bash is not installed")
def test_the_job_takes_a_policy_from_its_variables(project: Path) -> None:
    (project / "collapse_guard.yaml").rename(project / "other.yaml")
    assert run_script(project) == 2
    assert run_script(project, COLLAPSE_GUARD_POLICY="other.yaml") == 0
