"""A small project with manifests, as `collapse-guard manifest` writes them."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any, Protocol

import pytest
from typer.testing import CliRunner

from collapse_guard.cli import app

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

POLICY = """# yaml-language-server: $schema=collapse_guard.schema.json
version: 1
name: project
manifests:
  current: manifests/current.cgm.json
  previous: manifests/previous.cgm.json
mix:
  real_min_share: 0.50
coverage:
  cells: {kind: labels, column: label}
"""


class Command(Protocol):
    """The command line in this process; what it prints comes back."""

    def __call__(self, *arguments: object, code: int = 0) -> str: ...


def command(*arguments: object, code: int = 0) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == code, f"{result.exit_code}: {result.output} {result.exception!r}"
    return result.stdout


@pytest.fixture(name="command")
def command_fixture() -> Command:
    return command


def write_rows(path: Path, rows: Iterable[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def made_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose manifest keeps its policy; `bad` and `lossy` beside it do not."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "collapse_guard.yaml").write_text(POLICY, encoding="utf-8")
    data, manifests = folder / "data", folder / "manifests"
    data.mkdir()
    people = [{"text": f"row {n}", "label": ["cat", "dog"][n % 2]} for n in range(60)]
    model = [{"text": f"made {n}", "label": ["cat", "dog"][n % 2]} for n in range(90)]
    files = {
        "people": (people, "real", []),
        "few": (people[:40], "real", []),
        "model": (model[:30], "synthetic", ["--generator", "m@1", "--generation", "1"]),
        "much": (model, "synthetic", ["--generator", "m@1", "--generation", "1"]),
    }
    for name, (rows, origin, options) in files.items():
        file = write_rows(data / f"{name}.jsonl", rows)
        output = manifests / f"{name}.cgm.json"
        arguments = ("--source", name, "--origin", origin, *options, "--class-column", "label", "-o", output)
        command("manifest", "write", file, *arguments)
    previous = manifests / "previous.cgm.json"
    command("manifest", "merge", manifests / "people.cgm.json", "-o", previous)
    for name, parts in (("current", ("people", "model")), ("bad", ("people", "much")), ("lossy", ("few", "model"))):
        merged = [manifests / f"{part}.cgm.json" for part in parts]
        command("manifest", "merge", *merged, "--parent", previous, "-o", manifests / f"{name}.cgm.json")
    return folder


@pytest.fixture
def project(made_project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the project, which is the working directory."""
    folder = tmp_path / "project"
    shutil.copytree(made_project, folder)
    monkeypatch.chdir(folder)
    monkeypatch.delenv("COLLAPSE_GUARD_POLICY", raising=False)
    return folder
