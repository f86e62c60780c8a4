"""The composite action: its structure, and its scripts under bash against real manifests, without a network."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

pytestmark = pytest.mark.slow


ROOT = Path(__file__).parents[2]
ACTION = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
STEPS = {step["name"]: step for step in ACTION["runs"]["steps"]}
BASH = shutil.which("bash")


def schema_faults(schema: str, *files: Path) -> str:
    """Return what an outside schema says of files, empty if they keep it."""
    pytest.importorskip("check_jsonschema")
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, *map(str, files)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    return "" if done.returncode == 0 else done.stdout + done.stderr


def test_the_action_keeps_the_schema_of_github() -> None:
    assert schema_faults("vendor.github-actions", ROOT / "action.yml") == ""


def test_the_action_has_the_inputs_and_outputs_that_it_promises() -> None:
    inputs = {"policy", "manifest", "against", "fail-on", "upload-sarif", "version", "extra-args"}
    assert ACTION["inputs"].keys() == inputs
    assert {"status", "findings", "report-path", "exit-code"} <= ACTION["outputs"].keys()
    assert ACTION["runs"]["using"] == "composite"
    assert not any(given.get("required") for given in ACTION["inputs"].values())


def test_every_output_is_written_by_the_step_that_it_names() -> None:
    script = STEPS["Check"]["run"]
    for output in ACTION["outputs"].values():
        name = re.fullmatch(r"\$\{\{ steps\.check\.outputs\.([a-z-]+) \}\}", output["value"])
        assert name is not None
        assert name[1] in script


def test_no_expression_stands_in_the_text_of_a_script() -> None:
    scripts = [step["run"] for step in STEPS.values() if "run" in step]
    assert len(scripts) == 3
    assert [script for script in scripts if "${{" in script] == []


def test_every_input_reaches_a_script_or_a_condition() -> None:
    said = str([step.get("env", {}) for step in STEPS.values()]) + str([step.get("if", "") for step in STEPS.values()])
    assert {name for name in ACTION["inputs"] if f"inputs.{name}" not in said} == set()


def test_findings_are_uploaded_and_the_verdict_is_given_in_any_case() -> None:
    names = list(STEPS)
    assert STEPS["Show under code scanning"]["if"].startswith("always()")
    assert STEPS["Verdict"]["if"] == "always()"
    assert names[-2:] == ["Show under code scanning", "Verdict"]
    used = STEPS["Show under code scanning"]["uses"]
    assert re.fullmatch(r"github/codeql-action/upload-sarif@v\d+", used)


class Runner:
    """What a runner does with a step of a composite action, as far as this one needs it."""

    def __init__(self, folder: Path, **inputs: str) -> None:
        self.folder = folder
        self.inputs = {name: given.get("default", "") for name, given in ACTION["inputs"].items()} | inputs
        self.temp, self.outputs, self.summary = folder / "temp", folder / "outputs", folder / "summary.md"
        self.temp.mkdir(exist_ok=True)
        self.path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"

    def expanded(self, text: str) -> str:
        """Return the text with its expressions, of which the action uses few."""
        known = {f"inputs.{name}": value for name, value in self.inputs.items()}
        known |= {f"steps.check.outputs.{name}": value for name, value in self.told().items()}
        known |= {"runner.temp": str(self.temp), "github.action_path": str(ROOT)}
        return re.sub(r"\$\{\{ ([\w.-]+) \}\}", lambda found: known.get(found[1], ""), text)

    def run(self, name: str) -> subprocess.CompletedProcess[str]:
        step = STEPS[name]
        script = self.temp / "script.sh"
        script.write_text(step["run"], encoding="utf-8")
        given = {key: self.expanded(value) for key, value in step["env"].items()}
        files = {"GITHUB_OUTPUT": str(self.outputs), "GITHUB_STEP_SUMMARY": str(self.summary)}
        environment = {key: value for key, value in os.environ.items() if key != "COLLAPSE_GUARD_POLICY"}
        assert BASH is not None
        return subprocess.run(
            [BASH, "--noprofile", "--norc", "-eo", "pipefail", str(script)],
            env=environment | {"PATH": self.path, **files, **given},
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    def told(self) -> dict[str, str]:
        """Return the outputs of the steps that ran."""
        if not self.outputs.exists():
            return {}
        return dict(line.split("=", 1) for line in self.outputs.read_text(encoding="utf-8").splitlines())


@pytest.mark.skipif(BASH is None, reason="bash is not installed")
class TestScripts:
    """The scripts of the action, step by step."""

    def test_a_kept_policy_ends_with_0(self, project: Path) -> None:
        runner = Runner(project)
        checked = runner.run("Check")
        assert checked.returncode == 0, checked.stderr
        told = runner.told()
        assert (told["status"], told["findings"], told["exit-code"]) == ("kept", "0", "0")
        assert runner.run("Verdict").returncode == 0
        assert "kept" in runner.summary.read_text(encoding="utf-8")

    def test_a_violated_policy_is_reported_before_it_fails(self, project: Path) -> None:
        runner = Runner(project, manifest="manifests/bad.cgm.json")
        checked = runner.run("Check")
        assert checked.returncode == 0, checked.stderr
        assert "::error file=collapse_guard.yaml,line=" in checked.stdout
        told = runner.told()
        assert (told["status"], told["exit-code"]) == ("violated", "1")
        assert int(told["findings"]) >= 1
        reports = [told[name] for name in ("report-path", "result-path", "sarif-path")]
        assert [Path(path).is_file() for path in reports] == [True, True, True]
        assert runner.run("Verdict").returncode == 1

    def test_unusable_input_ends_with_2_and_lowered_severity_with_0(self, project: Path) -> None:
        missing = Runner(project, manifest="manifests/nowhere.cgm.json")
        assert missing.run("Check").returncode == 0
        assert (missing.told()["status"], missing.told()["exit-code"]) == ("unusable", "2")
        assert missing.run("Verdict").returncode == 2
        missing.outputs.unlink()
        never = Runner(project, manifest="manifests/bad.cgm.json", **{"fail-on": "never"})
        never.run("Check")
        assert never.run("Verdict").returncode == 0

    def test_bad_usage_has_outputs_all_the_same(self, project: Path) -> None:
        runner = Runner(project, **{"fail-on": "sometimes"})
        assert runner.run("Check").returncode == 0
        told = runner.told()
        assert (told["status"], told["exit-code"], told["report-path"]) == ("unusable", "2", "")
        assert runner.run("Verdict").returncode == 2

    def test_a_step_that_never_checked_is_no_pass(self, project: Path) -> None:
        assert Runner(project).run("Verdict").returncode == 2

    def test_against_and_quoted_arguments_are_passed_on(self, project: Path) -> None:
        spaced = project / "with space.json"
        extra = {"extra-args": f"--output 'json={spaced}' --no-waivers"}
        runner = Runner(project, against="manifests/previous.cgm.json", policy="collapse_guard.yaml", **extra)
        assert runner.run("Check").returncode == 0
        assert runner.told()["status"] == "kept"
        assert spaced.is_file()

    @pytest.mark.parametrize("name", ["policy", "manifest", "against", "fail-on", "extra-args"])
    def test_an_input_is_never_run(self, project: Path, name: str) -> None:
        runner = Runner(project, **{name: '-x"; touch pwned; "$(touch pwned)`touch pwned`\ntouch pwned'})
        runner.run("Check")
        assert not (project / "pwned").exists()
        assert runner.told()["exit-code"] == "2"

    def test_an_open_quotation_mark_is_no_pass(self, project: Path) -> None:
        runner = Runner(project, **{"extra-args": "--no-waivers 'oh"})
        checked = runner.run("Check")
        assert checked.stderr.strip() == "extra-args: No closing quotation; quote them as in a shell"
        assert (runner.told()["status"], runner.told()["exit-code"]) == ("unusable", "2")

    @pytest.mark.parametrize(
        ("version", "wanted"),
        [("", f"{ROOT}[report]"), ("1.2.3", "collapse-guard[report]==1.2.3"), ("installed", None)],
    )
    def test_what_is_installed_is_what_was_asked_for(self, project: Path, version: str, wanted: str | None) -> None:
        tools = project / "tools"
        tools.mkdir()
        python = tools / "python"
        python.write_text('#!/bin/sh\nfor each in "$@"; do echo "$each"; done\n', encoding="utf-8")
        python.chmod(0o755)
        runner = Runner(project, version=version)
        runner.path = f"{tools}{os.pathsep}{runner.path}"
        done = runner.run("Install")
        assert done.returncode == 0
        assert done.stdout.splitlines()[-1:] == ([] if wanted is None else [wanted])


def test_the_action_that_is_documented_is_the_one_that_is_there() -> None:
    usage = (ROOT / "action.yml").read_text(encoding="utf-8").split("name: collapse-guard", 1)[0]
    example: Any = yaml.safe_load("\n".join(line[3:] for line in usage.splitlines()[2:]))
    (step,) = [step for step in example["steps"] if "collapse-guard" in step["uses"]]
    assert step["with"].keys() <= ACTION["inputs"].keys()
