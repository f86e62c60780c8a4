"""The house keeps its shape: lazy imports, module sizes, exports, presets, documents."""

from __future__ import annotations

import ast
import importlib
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import collapse_guard
from collapse_guard.policy import policy_json_schema

ROOT = Path(__file__).parents[2]
PACKAGE = Path(collapse_guard.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))
HEAVY = ("torch", "pytorch_lightning", "lightning", "datasets", "transformers", "ray", "matplotlib", "sklearn")


def fresh(code: str) -> str:
    """Run code in an interpreter of its own and return what it prints."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    return done.stdout.strip()


def test_importing_the_package_brings_nothing_heavy() -> None:
    loaded = fresh("import collapse_guard, sys; print(*sys.modules)").split()
    assert not {name.split(".")[0] for name in loaded} & {*HEAVY, "pyarrow", "pydantic", "duckdb", "numpy"}


def test_statistics_and_gate_bring_no_trainer() -> None:
    code = "import collapse_guard.gate, collapse_guard.monitor, collapse_guard.curate, sys; print(*sys.modules)"
    assert not {name.split(".")[0] for name in fresh(code).split()} & set(HEAVY)


def test_the_command_line_brings_no_trainer() -> None:
    loaded = fresh("import collapse_guard.cli, sys; print(*sys.modules)").split()
    assert not {name.split(".")[0] for name in loaded} & set(HEAVY)


@pytest.mark.parametrize("name", collapse_guard.__all__)
def test_every_public_name_can_be_loaded_and_is_documented(name: str) -> None:
    assert getattr(collapse_guard, name).__doc__


def test_public_names_agree_with_their_homes() -> None:
    assert sorted(collapse_guard._HOMES) == collapse_guard.__all__
    assert set(collapse_guard.__all__) <= set(dir(collapse_guard))


def test_an_unknown_public_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'tagg'"):
        _ = collapse_guard.tagg


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_modules_are_documented_and_small(module: Path) -> None:
    text = module.read_text()
    assert len(text.splitlines()) <= 500
    assert ast.get_docstring(ast.parse(text))


def test_all_lists_only_what_is_there() -> None:
    for module in MODULES:
        found = re.search(r"^__all__ = \[(.*?)\]", module.read_text(), re.DOTALL | re.MULTILINE)
        name = ".".join(module.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")
        exported = [] if found is None else re.findall(r'"(\w+)"', found[1])
        loaded = importlib.import_module(name)
        assert [export for export in exported if not hasattr(loaded, export)] == [], name


def test_no_module_is_a_drawer() -> None:
    names = {module.stem for module in MODULES}
    assert not names & ({"utils", "util", "common", "helpers", "misc"} | (set(sys.stdlib_module_names) - {"__init__"}))


def test_yaml_is_read_in_the_policy_room_alone() -> None:
    users = {
        path.relative_to(PACKAGE).parts[0]
        for path in MODULES
        if re.search(r"^import yaml", path.read_text(), re.MULTILINE)
    }
    assert users == {"policy"}


def test_the_shipped_schema_is_the_schema() -> None:
    assert json.loads((ROOT / "configs" / "policy.schema.json").read_text()) == policy_json_schema()


def test_the_map_in_contributing_names_every_room() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    rooms = {path.relative_to(PACKAGE).parts[0].removesuffix(".py") for path in MODULES} - {"__init__"}
    assert not {room for room in rooms if room not in text}


def test_documents_speak_of_the_project_only() -> None:
    paths = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/trainers.md")]
    for path in [*paths, *MODULES]:
        assert not re.search(r"/(work|tmp|root|home)/", path.read_text()), path
