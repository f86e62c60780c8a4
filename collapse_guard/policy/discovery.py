"""Which policy is meant where none is named, and what a project's ``pyproject.toml`` says of the command line.

``--policy``, then the environment variable ``COLLAPSE_GUARD_POLICY``, then ``collapse_guard.yaml`` here or in a folder
above up to the root of the git repository, then ``policy`` in ``[tool.collapse_guard]`` of a ``pyproject.toml`` there.
"""

from __future__ import annotations

import os
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pydantic import ValidationError

from collapse_guard.errors import InputError
from collapse_guard.plugins import nearest
from collapse_guard.policy.section import Section

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ENVIRONMENT: Final = "COLLAPSE_GUARD_POLICY"
FILE_NAMES: Final = ("collapse_guard.yaml", "collapse_guard.yml")
_TABLE: Final = "tool.collapse_guard"


class Project(Section):
    """``[tool.collapse_guard]``: pointers and defaults of the command line; what is demanded stays in the policy.

    Paths are relative to the ``pyproject.toml``.
    """

    policy: str | None = None
    manifest: str | None = None
    against: str | None = None
    baseline: str | None = None
    fail_on: str | None = None
    output_format: str | None = None
    select: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()


@dataclass(frozen=True)
class Found:
    """A policy file, and why this one.

    Args:
        path: the file; it need not exist where it was named.
        by: what named it.
        project: defaults of the project, empty if there are none.
        folder: the folder of the ``pyproject.toml`` that says so.
    """

    path: Path
    by: str
    project: Project = field(default_factory=Project)
    folder: Path = field(default_factory=Path)

    def beside(self, name: str | None) -> Path | None:
        """Return a path of the project's table, from where one stands; None if it names none."""
        return None if name is None else self.folder / name


def find_policy(
    given: Path | None = None,
    *,
    start: Path | None = None,
    environ: Mapping[str, str] | None = None,
    is_isolated: bool = False,
) -> Found:
    """Return the policy that is meant.

    Args:
        given: what ``--policy`` says.
        start: where the search begins; the working directory if left out.
        environ: the environment; that of the process if left out.
        is_isolated: look for nothing and read no ``pyproject.toml`` (``--no-config``).

    Raises InputError if there is none, or if a ``pyproject.toml`` on the way cannot be used.
    """
    if is_isolated:
        if given is None:
            raise InputError("--no-config looks for no policy: name it with --policy FILE")
        return Found(given, "--policy")
    here = Path.cwd() if start is None else start
    named = (os.environ if environ is None else environ).get(ENVIRONMENT, "")
    project, folder = _project(here)
    if given is not None:
        return Found(given, "--policy", project, folder)
    if named:
        return Found(Path(named), ENVIRONMENT, project, folder)
    for above in _upwards(here):
        for name in FILE_NAMES:
            if (above / name).is_file():
                return Found(_shown(above / name), f"found as {name}", project, folder)
    if project.policy is not None:
        return Found(folder / project.policy, f"pyproject.toml [{_TABLE}]", project, folder)
    raise InputError(
        f"no policy: neither --policy, nor {ENVIRONMENT}, nor {FILE_NAMES[0]} here or above, nor policy in"
        f" [{_TABLE}] of pyproject.toml; 'collapse-guard init' writes one"
    )


def repository_root(start: Path) -> Path | None:
    """Return the root of the git repository that ``start`` lies in, None if it lies in none."""
    top = list(_upwards(start))[-1]
    return top if (top / ".git").exists() else None


def _upwards(start: Path) -> Iterator[Path]:
    """Iterate over ``start`` and the folders above it, up to the root of its git repository."""
    whole = start.absolute()
    for folder in (whole, *whole.parents):
        yield folder
        if (folder / ".git").exists():
            return


def _project(start: Path) -> tuple[Project, Path]:
    for folder in _upwards(start):
        path = folder / "pyproject.toml"
        if path.is_file():
            return _read(_shown(path)), _shown(folder)
    return Project(), Path()


def _read(path: Path) -> Project:
    try:
        table: Any = tomllib.loads(path.read_text(encoding="utf-8-sig")).get("tool", {})
        said = table.get("collapse_guard", {}) if isinstance(table, dict) else {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise InputError(f"{path}: cannot be read: {error}; mend it, or pass --no-config") from None
    if not isinstance(said, dict):
        raise InputError(f"{path}: [{_TABLE}] is a table of keys, got {said!r:.60}")
    said = {
        str(key).replace("-", "_"): tuple(value) if isinstance(value, list) else value for key, value in said.items()
    }
    try:
        return Project.model_validate(said)
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        key = str(fault["loc"][0])
        if fault["type"] == "extra_forbidden":
            raise InputError(f"{path}: [{_TABLE}] {key}: unknown key; {nearest(key, Project.model_fields)}") from None
        raise InputError(f"{path}: [{_TABLE}] {key}: {fault['msg']}, got {fault['input']!r:.60}") from None


def _shown(path: Path) -> Path:
    """Return a path from the working directory where it lies inside."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
