"""``collapse-guard init``: what it writes, what it leaves alone, and that it writes all or nothing."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from collapse_guard._atomic import write_bytes
from collapse_guard.cli import app
from collapse_guard.cli.init_files import preset_names
from collapse_guard.cli.init_files.pre_commit import with_hooks
from collapse_guard.errors import InputError
from collapse_guard.policy import load_policy, policy_json_schema
from collapse_guard.policy.presets import preset_path

COMMAND = Path(sys.executable).with_name("collapse-guard")
POLICY, SCHEMA, WORKFLOW, HOOKS = FILES = (
    "collapse_guard.yaml",
    "collapse_guard.schema.json",
    ".github/workflows/collapse-guard.yml",
    ".pre-commit-config.yaml",
)
WRITE = "--source NAME --origin real -p collapse_guard.yaml -o manifests/current.cgm.json"
WANTED = {"text-pretrain", "text-sft", "vision-longtail", "audio", "tabular", "scraped-web"}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory: an empty repository."""
    repository = tmp_path / "web model"
    repository.mkdir()
    monkeypatch.chdir(repository)
    return repository


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["init", *arguments])


def written(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def hook_ids(folder: Path) -> list[str]:
    repos = yaml.safe_load((folder / HOOKS).read_text(encoding="utf-8"))["repos"]
    return [hook["id"] for repo in repos for hook in repo["hooks"]]


def test_a_new_repository_gets_everything_and_is_told_what_is_next(folder: Path) -> None:
    result = invoke("--preset", "text-sft")
    assert result.exit_code == 0, result.output
    assert set(written(folder)) == set(FILES)
    assert result.stdout.splitlines() == [
        "wrote collapse_guard.yaml (preset text-sft)",
        *[f"wrote {name}" for name in FILES[1:]],
        f"next: collapse-guard manifest write DATA {WRITE}",
        "then: collapse-guard check",
    ]
    assert hook_ids(folder) == ["collapse-guard-policy", "collapse-guard-manifest"]


def test_what_is_told_next_is_what_works(folder: Path) -> None:
    lines = invoke().stdout.splitlines()
    (folder / "data.csv").write_text("text,label\na,cat\nb,dog\n", encoding="utf-8")
    typed = lines[-2].removeprefix("next: ").replace("DATA", "data.csv").replace("NAME", "web")
    for line in (typed, lines[-1].removeprefix("then: ")):
        assert CliRunner().invoke(app, line.split()[1:]).exit_code == 0, line


@pytest.mark.parametrize("preset", sorted(preset_names()))
def test_the_policy_is_its_preset_under_the_name_of_the_repository(folder: Path, preset: str) -> None:
    assert invoke("--preset", preset).exit_code == 0
    policy = load_policy(POLICY)
    assert policy.digest == load_policy(preset_path(f"{preset}@1")).digest
    assert policy.name == "web-model"
    assert policy.manifests.current == "manifests/current.cgm.json"
    lines = (folder / POLICY).read_text(encoding="utf-8").splitlines()
    assert lines[0] == f"# yaml-language-server: $schema={SCHEMA}"
    assert f"extends: preset:{preset}@1" in lines
    assert max(map(len, lines)) <= 120
    assert "@" not in re.sub(r"@1|@r1", "", "\n".join(lines))


def test_the_schema_for_editors_is_the_schema(folder: Path) -> None:
    invoke()
    assert json.loads((folder / SCHEMA).read_text(encoding="utf-8")) == policy_json_schema()


@pytest.mark.parametrize("preset", sorted(preset_names()))
def test_what_is_commented_out_can_be_used(folder: Path, preset: str) -> None:
    invoke("--preset", preset)
    text = (folder / POLICY).read_text(encoding="utf-8")
    head, tail = text.split("# sources:", 1)
    uncommented = head.replace("  # previous:", "  previous:") + re.sub(
        r"^# ?", "", f"# sources:{tail}", flags=re.MULTILINE
    )
    (folder / POLICY).write_text(uncommented, encoding="utf-8")
    policy = load_policy(POLICY)
    assert {"web", "crawl", "tutor"} <= policy.sources.keys()
    assert policy.accumulation.takedowns == "takedowns.jsonl"
    assert policy.provenance.forbid_reentry_of == ("my-model",)
    assert policy.manifests.previous is not None


def test_every_modality_has_a_preset_with_one_line_about_it() -> None:
    assert preset_names().keys() >= WANTED
    lines = invoke("--list-presets").stdout.splitlines()
    assert {line.split()[0] for line in lines} == set(preset_names())
    assert all(len(line.split(maxsplit=1)[1]) > 20 for line in lines)


def test_without_a_preset_the_one_of_no_modality_is_taken(folder: Path) -> None:
    assert invoke().exit_code == 0
    assert load_policy(POLICY).digest == load_policy(preset_path("starter@1")).digest


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals")
def test_on_a_terminal_the_other_presets_are_named() -> None:
    import pty

    main, terminal = pty.openpty()
    done = subprocess.run([COMMAND, "init"], stdout=terminal, check=False)
    os.close(terminal)
    shown = os.read(main, 1 << 16).decode()
    os.close(main)
    assert done.returncode == 0
    assert {name for name in preset_names() if f"\n{name} " in shown} == set(preset_names()) - {"starter"}


@pytest.mark.parametrize(
    ("given", "hint"),
    [("text-sftt", "did you mean 'text-sft'?"), ("text-sft@2", "did you mean 'text-sft'?"), ("zzz", "allowed: ")],
)
def test_an_unknown_preset_is_told_with_the_nearest_one(folder: Path, given: str, hint: str) -> None:
    result = invoke("--preset", given)
    assert isinstance(result.exception, InputError)
    assert hint in str(result.exception)
    assert written(folder) == {}


@pytest.mark.parametrize("given", ["text-sft@1", "preset:text-sft@1"])
def test_a_preset_may_be_named_as_policies_name_it(given: str) -> None:
    assert invoke("--preset", given).exit_code == 0
    assert "preset:text-sft@1" in Path(POLICY).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", [POLICY, SCHEMA, WORKFLOW])
def test_nothing_is_written_where_something_is_there(folder: Path, name: str) -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text("mine\n", encoding="utf-8")
    done = subprocess.run([COMMAND, "init"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == f"error: nothing was written, these are there already:\n  {name}\n--force overwrites them\n"
    assert written(folder) == {name: b"mine\n"}
    assert invoke("--force").exit_code == 0
    assert set(written(folder)) == set(FILES)
    assert (folder / name).read_bytes() != b"mine\n"


def test_twice_is_refused_and_forced_changes_nothing_but_the_policy(folder: Path) -> None:
    invoke("--preset", "audio")
    before = written(folder)
    again = invoke("--preset", "audio")
    assert isinstance(again.exception, InputError)
    assert [POLICY in str(again.exception), WORKFLOW in str(again.exception)] == [True, True]
    assert invoke("--preset", "audio", "--force").exit_code == 0
    assert written(folder) == before
    invoke("--preset", "tabular", "--force")
    assert {name for name, content in written(folder).items() if content != before[name]} == {POLICY}


def test_a_dry_run_prints_and_writes_nothing(folder: Path) -> None:
    result = invoke("--dry-run", "--preset", "audio")
    assert result.exit_code == 0
    assert written(folder) == {}
    shown = dict(part.split("\n", 1) for part in re.split(r"^--- ", result.stdout, flags=re.MULTILINE)[1:])
    assert set(shown) == set(FILES)
    invoke("--preset", "audio")
    assert {name: text.encode() for name, text in shown.items()} == written(folder)


def test_another_folder_is_made_and_named(folder: Path) -> None:
    result = invoke("--path", "sub/new one")
    assert result.exit_code == 0, result.output
    assert set(written(folder / "sub" / "new one")) == set(FILES)
    assert "next: cd 'sub/new one' && collapse-guard manifest write" in result.stdout
    (folder / "file").touch()
    refused = invoke("--path", "file")
    assert str(refused.exception) == "--path 'file' is a file; name the folder of a repository"


def test_a_policy_of_the_other_name_is_not_hidden(folder: Path) -> None:
    (folder / "collapse_guard.yml").write_text("version: 1\n", encoding="utf-8")
    for arguments in ([], ["--force"]):
        assert "would hide it" in str(invoke(*arguments).exception)
    assert set(written(folder)) == {"collapse_guard.yml"}


@pytest.mark.parametrize("n_written", [0, 1, 2, 3])
def test_a_disk_that_fills_up_leaves_what_was_there(
    folder: Path, monkeypatch: pytest.MonkeyPatch, n_written: int
) -> None:
    (folder / POLICY).write_text("old policy\n", encoding="utf-8")
    (folder / HOOKS).write_text("repos: []  # none\n", encoding="utf-8")
    before, calls = written(folder), list[Path]()

    def full(path: Path, data: bytes) -> Path:
        calls.append(path)
        if len(calls) == n_written + 1:
            raise OSError(28, "No space left on device", str(path))
        return write_bytes(path, data)

    monkeypatch.setattr("collapse_guard.cli.init.write_bytes", full)
    result = invoke("--force")
    assert isinstance(result.exception, OSError)
    assert written(folder) == before


def test_a_file_in_the_place_of_a_folder_leaves_nothing_half_written(folder: Path) -> None:
    (folder / ".github").write_text("", encoding="utf-8")
    done = subprocess.run([COMMAND, "init"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert written(folder) == {".github": b""}


def test_links_are_followed_and_links_to_nothing_are_refused(folder: Path) -> None:
    (folder / "shared.yaml").write_text("repos: []\n", encoding="utf-8")
    (folder / HOOKS).symlink_to("shared.yaml")
    assert invoke().exit_code == 0
    assert (folder / HOOKS).is_symlink()
    assert "collapse-guard-policy" in (folder / "shared.yaml").read_text(encoding="utf-8")
    (folder / POLICY).unlink()
    (folder / POLICY).symlink_to("nowhere.yaml")
    assert "is a link to nothing" in str(invoke("--force").exception)


@pytest.mark.parametrize(
    "text",
    [
        "# ours\nrepos:\n  - repo: https://example.org/a  # pinned\n    rev: v1\n    hooks:\n      - id: a\n",
        "repos:\n- repo: meta\n  hooks:\n  - id: identity\n\n# the end\n",
        "ci: {}\nrepos:\n    -   repo: meta\n        hooks:\n        -   id: identity\n\nfail_fast: true\n",
        "repos:\n  - repo: meta\n    hooks:\n      - id: identity\n    # a comment below\nci: {}",
        "repos: []  # none yet\n",
        "repos:\n",
        "fail_fast: true\n",
        "",
        "---\nrepos:\n- repo: meta\n  hooks: [{id: identity}]\n...\n",
        "repos:\r\n  - repo: meta\r\n    hooks: [{id: identity}]\r\n",
        "repos:\n  # first\n  - repo: meta\n    hooks: [{id: é, name: '- not an item'}]\n",
    ],
)
def test_hooks_are_added_and_every_other_line_stays(folder: Path, text: str) -> None:
    (folder / HOOKS).write_bytes(text.encode())
    result = invoke()
    assert result.exit_code == 0, result.exception
    assert f"added hooks to {HOOKS}" in result.stdout
    after = (folder / HOOKS).read_bytes().decode()
    before = yaml.safe_load(text) or {}
    values = yaml.safe_load(after)
    assert values["repos"][:-1] == (before.get("repos") or [])
    assert [hook["id"] for hook in values["repos"][-1]["hooks"]] == [
        "collapse-guard-policy",
        "collapse-guard-manifest",
    ]
    assert {key: value for key, value in values.items() if key != "repos"} == {
        key: value for key, value in before.items() if key != "repos"
    }
    kept = [line.replace("[]", "").replace(" ", "") for line in text.splitlines()]
    assert [line for line in kept if line not in after.replace(" ", "")] == []
    assert text.count("\r\n") == 0 or "\n" not in after.replace("\r\n", "")
    assert with_hooks(after, "- repo: local\n", file="x") == after


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("repos: [{repo: meta, hooks: []}]\n", "are not written as a list of lines; add these to it"),
        ("repos: {a: 1}\n", "repos must be a list, got dict"),
        ("- a\n", "expected a mapping of keys"),
        ("repos: [\n", "not YAML"),
        ("repos: []\nrepos: []\n", "stands twice"),
    ],
)
def test_a_configuration_that_cannot_be_added_to_stops_everything(folder: Path, text: str, said: str) -> None:
    (folder / HOOKS).write_text(text, encoding="utf-8")
    result = invoke()
    assert isinstance(result.exception, InputError)
    assert said in str(result.exception)
    assert written(folder) == {HOOKS: text.encode()}


def test_a_configuration_of_other_bytes_stops_everything(folder: Path) -> None:
    (folder / HOOKS).write_bytes(b"repos: []  # \xe9\n")
    assert "is not UTF-8" in str(invoke().exception)


def outside_schema(schema: str, path: Path) -> str:
    pytest.importorskip("check_jsonschema")
    command_line = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, str(path)]
    done = subprocess.run(command_line, capture_output=True, text=True, check=False, timeout=120)
    return "" if done.returncode == 0 else done.stdout


def test_the_workflow_keeps_the_schema_of_github_and_few_rights(folder: Path) -> None:
    invoke()
    assert outside_schema("vendor.github-workflows", folder / WORKFLOW) == ""
    workflow: dict[Any, Any] = yaml.safe_load((folder / WORKFLOW).read_text(encoding="utf-8"))
    (job,) = workflow["jobs"].values()
    assert workflow["permissions"] == {"contents": "read"}
    assert job["permissions"] == {"contents": "read", "security-events": "write"}
    uses = [step["uses"] for step in job["steps"] if "uses" in step]
    assert [use for use in uses if re.fullmatch(r"[\w-]+/[\w-]+(/[\w-]+)?@v\d+", use) is None] == []
    upload = next(step for step in job["steps"] if "upload-sarif" in step.get("uses", ""))
    assert upload["if"].startswith("always()")
    runs = [step["run"] for step in job["steps"] if "run" in step]
    assert not any("${{" in script for script in runs)
    assert any(script.startswith("collapse-guard check ") for script in runs)


@pytest.mark.skipif(shutil.which("actionlint") is None, reason="actionlint is not installed")
def test_a_linter_of_workflows_has_nothing_to_say(folder: Path) -> None:
    invoke()
    done = subprocess.run(["actionlint", WORKFLOW], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_the_command_of_the_workflow_leaves_what_is_uploaded(folder: Path) -> None:
    invoke()
    (folder / "data.csv").write_text("text,label\na,cat\nb,dog\n", encoding="utf-8")
    write = "manifest write data.csv --source web --origin real -p collapse_guard.yaml -o manifests/current.cgm.json"
    assert CliRunner().invoke(app, write.split()).exit_code == 0
    (job,) = yaml.safe_load((folder / WORKFLOW).read_text(encoding="utf-8"))["jobs"].values()
    line = next(step["run"] for step in job["steps"] if step.get("run", "").startswith("collapse-guard "))
    assert CliRunner().invoke(app, line.split()[1:]).exit_code == 0
    given = [str(step.get("with", {})) for step in job["steps"]]
    made = [name for name in ("collapse-guard.sarif", "collapse-guard.html") if (folder / name).is_file()]
    assert len(made) == 2
    assert all(any(name in text for text in given) for name in made)


def test_an_outside_reader_takes_the_hooks(folder: Path) -> None:
    load = pytest.importorskip("pre_commit.clientlib").load_config
    invoke()
    (repo,) = load(HOOKS)["repos"]
    assert [hook["id"] for hook in repo["hooks"]] == ["collapse-guard-policy", "collapse-guard-manifest"]
