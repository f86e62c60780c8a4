"""The fixture for pytest, in runs of pytest of their own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow


pytest_plugins = ["pytester"]

ROOT = Path(__file__).parents[2]
MODULE = "collapse_guard.integrations.pytest_plugin"
PLUGIN = ("-p", MODULE)
HEAVY = ("duckdb", "pyarrow", "numpy", "pydantic", "rich", "typer", "yaml", "torch", "datasets")

TESTS = """
def test_kept(collapse_guard_manifest):
    collapse_guard_manifest.assert_kept()

def test_checked(collapse_guard_manifest):
    assert collapse_guard_manifest.check().exit_code == 0
    assert collapse_guard_manifest.result.verdict == "kept"
    assert collapse_guard_manifest.findings == ()
"""


@pytest.fixture(name="run")
def pytest_of_a_project(
    pytester: pytest.Pytester, made_project: Path, monkeypatch: pytest.MonkeyPatch
) -> pytest.Pytester:
    """A project with a policy and manifests, and a folder of tests; the working directory."""
    monkeypatch.delenv("COLLAPSE_GUARD_POLICY", raising=False)
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # what others import is not ours to answer for
    shutil.copytree(made_project, pytester.path, dirs_exist_ok=True)
    pytester.makepyprojecttoml("[tool.pytest.ini_options]\n")
    pytester.makepyfile(test_data=TESTS)
    return pytester


def outcome(run: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    return run.runpytest_subprocess("-W", "error", *PLUGIN, *arguments)


def test_a_kept_policy_passes_and_warns_of_nothing(run: pytest.Pytester) -> None:
    outcome(run).assert_outcomes(passed=2)


def test_a_violated_policy_fails_with_its_findings_and_no_traceback(run: pytest.Pytester) -> None:
    result = outcome(run, "--collapse-guard-manifest", "manifests/bad.cgm.json")
    result.assert_outcomes(failed=2)
    text = result.stdout.str()
    assert "policy violated (" in text
    assert "CG101 error: collapse_guard.yaml:" in text
    assert "-> " in text
    assert "pytest_plugin.py" not in text


def test_what_cannot_be_told_fails_as_well(run: pytest.Pytester) -> None:
    policy = run.path / "collapse_guard.yaml"
    text = policy.read_text(encoding="utf-8")
    policy.write_text(f"{text}unit: bytes\n", encoding="utf-8")
    result = outcome(run, "-k", "kept")
    result.assert_outcomes(failed=1)
    assert "policy inconclusive" in result.stdout.str()
    assert "the policy counts bytes, the manifest counts rows" in result.stdout.str()


def test_the_parent_may_be_an_option(run: pytest.Pytester) -> None:
    policy = run.path / "collapse_guard.yaml"
    text = policy.read_text(encoding="utf-8").replace("  previous: manifests/previous.cgm.json\n", "")
    policy.write_text(text, encoding="utf-8")
    outcome(run, "-k", "kept").assert_outcomes(failed=1)
    outcome(run, "-k", "kept", "--collapse-guard-against", "manifests/previous.cgm.json").assert_outcomes(passed=1)


def test_files_are_named_by_options_the_environment_and_the_ini_file_in_this_order(
    run: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    (run.path / "conf").mkdir()
    (run.path / "collapse_guard.yaml").unlink()
    demands = 'manifests: {current: "../manifests/current.cgm.json", previous: "../manifests/previous.cgm.json"}\n'
    for name, floor in (("loose", 0.1), ("strict", 0.9)):
        text = f"version: 1\nname: {name}\nmix: {{real_min_share: {floor}}}\n{demands}"
        (run.path / "conf" / f"{name}.yaml").write_text(text, encoding="utf-8")
    run.makepyprojecttoml('[tool.pytest.ini_options]\ncollapse_guard_policy = "conf/loose.yaml"\n')
    run.makepyfile(test_data="def test_kept(collapse_guard_manifest):\n    collapse_guard_manifest.assert_kept()\n")
    outcome(run).assert_outcomes(passed=1)
    monkeypatch.setenv("COLLAPSE_GUARD_POLICY", "conf/strict.yaml")
    outcome(run).assert_outcomes(failed=1)
    outcome(run, "--collapse-guard-policy", "conf/loose.yaml").assert_outcomes(passed=1)


def test_the_projects_own_table_is_read(run: pytest.Pytester) -> None:
    (run.path / "collapse_guard.yaml").rename(run.path / "held.yaml")
    table = '[tool.collapse_guard]\npolicy = "held.yaml"\n'
    run.makepyprojecttoml(f"{table}[tool.pytest.ini_options]\n")
    outcome(run).assert_outcomes(passed=2)


def test_a_test_may_stand_in_another_folder(run: pytest.Pytester) -> None:
    run.makepyfile(
        test_data="""
        def test_first(collapse_guard_manifest):
            assert collapse_guard_manifest.policy.is_absolute()

        def test_elsewhere(collapse_guard_manifest, tmp_path, monkeypatch):
            monkeypatch.chdir(tmp_path)
            collapse_guard_manifest.assert_kept()
        """
    )
    outcome(run).assert_outcomes(passed=2)
    (run.path / "sub").mkdir()
    from_below = run.runpytest_subprocess(*PLUGIN, "--rootdir", str(run.path), "sub/..", "-q")
    from_below.assert_outcomes(passed=2)


def test_no_policy_is_one_line_that_says_what_to_do(run: pytest.Pytester) -> None:
    (run.path / "collapse_guard.yaml").unlink()
    (run.path / ".git").mkdir()
    result = outcome(run)
    result.assert_outcomes(errors=2)
    assert "collapse_guard_manifest: no policy" in result.stdout.str()
    assert "--collapse-guard-policy" in result.stdout.str()
    assert "Traceback" not in result.stdout.str()


def test_rules_severity_and_waivers_can_be_chosen(run: pytest.Pytester) -> None:
    run.makepyfile(
        test_data="""
        import pytest

        def test_choice(collapse_guard_manifest):
            assert collapse_guard_manifest.check(select=["CG2"]).exit_code == 0
            assert collapse_guard_manifest.check(ignore=["CG1"]).exit_code == 0
            assert collapse_guard_manifest.check(fail_on="never").exit_code == 0
            assert {found.code for found in collapse_guard_manifest.findings} >= {"CG101"}

        def test_severity(collapse_guard_manifest):
            collapse_guard_manifest.assert_kept(fail_on="never")
            with pytest.raises(pytest.fail.Exception, match="CG101"):
                collapse_guard_manifest.assert_kept(fail_on="warning")
            assert collapse_guard_manifest.result is collapse_guard_manifest.result

        def test_waived(collapse_guard_manifest):
            assert collapse_guard_manifest.check(waivers=False).exit_code == 1
        """
    )
    outcome(run, "--collapse-guard-manifest", "manifests/bad.cgm.json").assert_outcomes(passed=3)


def test_the_fixture_and_its_options_are_listed(run: pytest.Pytester) -> None:
    fixtures = outcome(run, "--fixtures", "-q").stdout.str()
    assert "collapse_guard_manifest" in fixtures
    assert "--collapse-guard-against=FILE" in outcome(run, "--help").stdout.str()


def test_a_run_that_does_not_ask_imports_nothing(run: pytest.Pytester) -> None:
    run.makepyfile(
        test_data=f"""
        import sys

        def test_nothing_was_imported():
            assert [name for name in {HEAVY!r} if name in sys.modules] == []
        """
    )
    run.runpytest_subprocess(*PLUGIN).assert_outcomes(passed=1)


def test_importing_the_plug_in_imports_nothing_heavy() -> None:
    code = f"import sys, pytest; before = set(sys.modules); import {MODULE}; print(*sorted(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.split(".")[0] for name in done.stdout.split()}
    assert loaded <= {"collapse_guard", *sys.stdlib_module_names}


def test_the_package_says_that_it_is_a_plug_in() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["entry-points"]["pytest11"] == {"collapse_guard": MODULE}


@pytest.mark.slow
def test_an_installed_wheel_brings_the_fixture(
    run: pytest.Pytester, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The wheel goes before the package that runs this test; pytest rewrites the assertions of plug-ins from wheels."""
    folder = tmp_path_factory.mktemp("wheel")
    building = [sys.executable, "-m", "pip", "wheel", "--no-deps", "-q", "-w", str(folder), str(ROOT)]
    built = subprocess.run(building, check=False, capture_output=True, text=True)
    if built.returncode and "No matching distribution" in built.stderr:
        pytest.skip("no package index can be reached for the build backend")
    assert built.returncode == 0, built.stderr
    (wheel,) = folder.glob("*.whl")
    installing = ("install", "--no-deps", "-q", "--target", str(folder / "site"), str(wheel))
    subprocess.run([sys.executable, "-m", "pip", *installing], check=True)
    monkeypatch.delenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD")
    environment = os.environ | {"PYTHONPATH": str(folder / "site")}
    command = [sys.executable, "-m", "pytest", "-q", "-W", "error"]
    done = subprocess.run(command, cwd=run.path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout
