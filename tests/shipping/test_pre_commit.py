"""The hooks: what they declare, and what they do in a repository."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

pytestmark = pytest.mark.slow


ROOT = Path(__file__).parents[2]
HOOKS = {hook["id"]: hook for hook in yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))}
COMMANDS = Path(sys.executable).parent


def run(*command: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    path = f"{COMMANDS}{os.pathsep}{os.environ['PATH']}"
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(("GIT_", "COLLAPSE_GUARD_"))}
    return subprocess.run(
        command,
        cwd=folder,
        env=inherited | {"PATH": path} | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )


def hook(name: str, folder: Path, *files: str) -> subprocess.CompletedProcess[str]:
    """Run a hook as pre-commit would: its entry, and the staged files if it takes them."""
    passed = files if HOOKS[name].get("pass_filenames", True) else ()
    return run(*shlex.split(HOOKS[name]["entry"]), *passed, folder=folder)


def test_an_outside_reader_takes_the_hooks() -> None:
    validate = pytest.importorskip("pre_commit.clientlib").load_manifest
    assert {each["id"] for each in validate(str(ROOT / ".pre-commit-hooks.yaml"))} == set(HOOKS)


def test_hooks_look_at_policies_and_headers_alone() -> None:
    assert set(HOOKS) == {"collapse-guard-policy", "collapse-guard-manifest"}
    policy, manifest = HOOKS["collapse-guard-policy"], HOOKS["collapse-guard-manifest"]
    named = [
        "collapse_guard.yaml",
        "sub/collapse_guard.yml",
        "my_collapse_guard.yaml",
        "gen1/manifest.cgm.json",
        "a.py",
    ]
    assert [bool(re.search(policy["files"], name)) for name in named] == [True, True, False, False, False]
    assert [bool(re.search(manifest["files"], name)) for name in named] == [True, True, False, True, False]
    assert manifest["pass_filenames"] is False
    assert "--headers-only" in manifest["entry"]


def test_a_usable_policy_passes_and_a_faulty_one_does_not(project: Path) -> None:
    assert hook("collapse-guard-policy", project, "collapse_guard.yaml").returncode == 0
    (project / "collapse_guard.yaml").write_text("version: 1\nmixx: {}\n", encoding="utf-8")
    done = hook("collapse-guard-policy", project, "collapse_guard.yaml")
    assert done.returncode == 2
    assert "collapse_guard.yaml:2: CG001 mixx: unknown key; did you mean 'mix'?" in done.stdout


def test_headers_are_held_to_the_policy_without_their_rows(project: Path) -> None:
    folders = list((project / "manifests").glob("*.index"))
    assert folders
    for folder in folders:
        shutil.rmtree(folder)
    assert hook("collapse-guard-manifest", project).returncode == 0
    (project / "manifests" / "current.cgm.json").write_text("{}", encoding="utf-8")
    assert hook("collapse-guard-manifest", project).returncode == 2


def repository(folder: Path) -> None:
    for arguments in (
        ("init", "--quiet"),
        ("config", "user.email", "a@example.org"),
        ("config", "user.name", "a"),
        ("add", "."),
    ):
        done = run("git", *arguments, folder=folder)
        assert done.returncode == 0, done.stderr


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_the_hooks_of_a_new_project_run(project: Path) -> None:
    """As `init` writes them, with the installed package in place of one from an index."""
    pytest.importorskip("pre_commit")
    done = run("collapse-guard", "init", "--force", folder=project)
    assert done.returncode == 0, done.stderr
    shutil.copy(project / "manifests" / "people.cgm.json", project / "manifests" / "current.cgm.json")
    config = project / ".pre-commit-config.yaml"
    text = config.read_text(encoding="utf-8")
    local = re.sub(r" *additional_dependencies: .*\n", "", text).replace("language: python", "language: system")
    config.write_text(local, encoding="utf-8")
    repository(project)
    passed = run("pre-commit", "run", "--all-files", folder=project, PRE_COMMIT_HOME=str(project.parent / "home"))
    assert passed.returncode == 0, passed.stdout + passed.stderr
    assert passed.stdout.count("Passed") == 2
    policy = project / "collapse_guard.yaml"
    policy.write_text(policy.read_text(encoding="utf-8").replace("version: 1", "version: 2"), encoding="utf-8")
    failed = run("pre-commit", "run", "--all-files", folder=project, PRE_COMMIT_HOME=str(project.parent / "home"))
    assert failed.returncode == 1
    assert failed.stdout.count("Failed") == 2
    assert "CG001 version" in failed.stdout


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_the_hooks_install_from_this_repository(project: Path) -> None:
    """`pre-commit try-repo` builds an environment of its own, for which it needs a package index."""
    pytest.importorskip("pre_commit")
    index = run(sys.executable, "-m", "pip", "download", "--no-deps", "-d", str(project.parent), "rich", folder=project)
    if index.returncode:
        pytest.skip("no package index can be reached")
    repository(project)
    shipped = project.parent / "shipped"
    left_out = shutil.ignore_patterns(".git", ".*_cache", "__pycache__", "shared")
    shutil.copytree(ROOT, shipped, ignore=left_out)
    repository(shipped)
    committed = run("git", "commit", "--quiet", "-m", "all", folder=shipped)
    assert committed.returncode == 0, committed.stderr
    command = ("pre-commit", "try-repo", str(shipped), "--all-files")
    done = run(*command, folder=project, PRE_COMMIT_HOME=str(project.parent / "home"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("Passed") == 2
