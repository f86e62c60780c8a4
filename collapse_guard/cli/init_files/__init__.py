"""What ``collapse-guard init`` writes: the templates in this folder, filled in."""

from __future__ import annotations

import json
import re
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Final

from collapse_guard.errors import InputError
from collapse_guard.plugins import nearest
from collapse_guard.policy import load_policy, policy_json_schema
from collapse_guard.policy.presets import presets

if TYPE_CHECKING:
    from pydantic import BaseModel

_HERE: Final = Path(__file__).parent
#: What is taken where no preset is named: the one that knows no modality.
DEFAULT_PRESET: Final = "starter"
#: Shipped with the package, and no beginning of a project: the policy of ``collapse-guard demo``.
_DEMO: Final = "minority-images"


def preset_names() -> dict[str, str]:
    """Return what each preset is for, in one line, by its name."""
    found = {key.partition("@")[0]: file for key, file in presets().items()}
    return {name: _about(file) for name, file in found.items() if name != _DEMO}


def preset_name(given: str) -> str:
    """Return the bare name of a preset; raises InputError with the nearest one.

    >>> preset_name("preset:starter@1")
    'starter'
    >>> preset_name("startr")
    Traceback (most recent call last):
    ...
    collapse_guard.errors.InputError: no preset is called 'startr'; did you mean 'starter'?
    """
    name, at, number = given.removeprefix("preset:").partition("@")
    known = preset_names()
    if name not in known or (at and number != "1"):
        raise InputError(f"no preset is called {given!r}; {nearest(name, known)}")
    return name


def policy_text(preset: str, project: str) -> str:
    """Return a commented policy that extends ``preset``; ``project`` becomes its name."""
    path = presets()[f"{preset}@1"]
    coverage = load_policy(path).coverage
    cells = () if coverage is None else coverage.cells
    name = re.sub(r"[^\w.-]+", "-", project).strip("-.")
    return _filled(
        "policy.yaml",
        PRESET=preset,
        ABOUT=_about(path),
        NAME=json.dumps(name or "my-data", ensure_ascii=False),
        CELLS="\n".join(f"    - {_flow(each)}" for each in cells),
    )


def workflow_text() -> str:
    """Return the workflow for GitHub."""
    return _filled("workflow.yml", REQUIREMENT=_requirement())


def hooks_text() -> str:
    """Return the entry of a pre-commit configuration, an item of its ``repos``."""
    return _filled("pre-commit.yaml", REQUIREMENT=_requirement())


def schema_text() -> str:
    """Return the JSON Schema of a policy, for editors."""
    return json.dumps(policy_json_schema(), indent=2) + "\n"


def _filled(template: str, **values: str) -> str:
    text = (_HERE / template).read_text(encoding="utf-8")
    for key, value in values.items():
        text = text.replace(f"@{key}@", value)
    return text


def _requirement() -> str:
    """Return the versions that read the policy as this one does."""
    return f"~={version('collapse-guard')}"


def _about(path: Path) -> str:
    """Return the second line of a preset, which says in one sentence what it is for."""
    return path.read_text(encoding="utf-8").splitlines()[1].removeprefix("#").strip()


def _flow(cells: BaseModel) -> str:
    """Return a declared cell map as one line of YAML: what it is, what it reads, and what is not the default."""
    said = cells.model_dump(mode="json", exclude_defaults=True)
    inputs = [key for key in ("column", "columns") if key in type(cells).model_fields]
    shown = {key: getattr(cells, key) for key in ("kind", *inputs)} | said
    return f"{{{', '.join(f'{key}: {_scalar(value)}' for key, value in shown.items())}}}"


def _scalar(value: object) -> str:
    return value if isinstance(value, str) and re.fullmatch(r"[A-Za-z_]\w*", value) else json.dumps(value)
