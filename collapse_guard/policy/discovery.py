"""Which policy is meant where none is named, and what a project's ``pyproject.toml`` says of the command line.

``--policy``, then the environment variable ``COLLAPSE_GUARD_POLICY``, then ``collapse_guard.yaml`` here or in a folder
above up to the root of the git repository, then ``policy`` in ``[tool.collapse_guard]`` of a ``pyproject.toml`` there.
"""

from __future__ import annotations

import os
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from pydantic import ValidationError, field_validator

from collapse_guard.errors import InputError
from collapse_guard.plugins import nearest
from collapse_guard.policy.contradictions import UNSAFE_TO_LOWER
from collapse_guard.policy.section import Section

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ENVIRONMENT: Final = "COLLAPSE_GUARD_POLICY"
FILE_NAMES: Final = ("collapse_guard.yaml", "collapse_guard.yml")
_TABLE: Final = "tool.collapse_guard"


class Project(Section):
    """``[tool.collapse_guard]``: a pointer and defaults of the command line; what is demanded stays in the policy.

    ``policy`` is relative to the ``pyproject.toml``. A file that few review may make a check stricter, and leave out
    rules that guard neither real rows nor the evidence; it cannot switch the gate off.
    """

    policy: str | None = None
    fail_on: Literal["error", "warning"] | None = None
    output_format: str | None = None
    ignore: tuple[str, ...] = ()

    @field_validator("ignore")
    @classmethod
    def _leaves_what_guards(cls, ignore: tuple[str, ...]) -> tuple[str, ...]:
        for given in ignore:
            kept = sorted(code for code in UNSAFE_TO_LOWER if code.startswith(given.strip().upper()))
            if kept:
                raise ValueError(
                    f"{given!r} would leave out {', '.join(kept)}, which are for the command line to ignore"
                )
        return ignore


@dataclass(frozen=True)
class Found:
    """A policy file, and why this one.

    Args:
        path: the file; it need not exist where it was named.
        by: what named it.
        project: defaults of the project, empty if there are none.
        notes: what a reviewer should know of the choice.
    """

    path: Path
    by: str
    project: Project = field(default_factory=Project)
    notes: tuple[str, ...] = ()


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
        return Found(given, "--policy", project)
    if named:
        return Found(Path(named), ENVIRONMENT, project)
    declared = None if project.policy is None else folder / project.policy
    beside = _beside(here)
    if beside is not None:
        is_other = declared is not None and os.path.realpath(beside) != os.path.realpath(declared)
        note = f"{declared}, which [{_TABLE}] of pyproject.toml names, is not the policy: {beside} stands here"
        return Found(beside, f"found as {beside.name}", project, (note,) if is_other else ())
    if declared is not None:
        return Found(declared, f"pyproject.toml [{_TABLE}]", project)
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


def _beside(start: Path) -> Path | None:
    """Return the nearest policy by its name, even one that cannot be read: another one must not stand in for it."""
    for folder in _upwards(start):
        there = [folder / name for name in FILE_NAMES if os.path.lexists(folder / name)]
        if len(there) > 1:
            raise InputError(f"two policies: {_shown(there[0])} and {there[1].name} beside it; keep one, or --policy")
        if there:
            return _shown(there[0])
    return None


def _project(start: Path) -> tuple[Project, Path]:
    """Return the nearest table, and its folder; a ``pyproject.toml`` that says nothing of it is passed by."""
    for folder in _upwards(start):
        path = folder / "pyproject.toml"
        found = _read(_shown(path)) if path.is_file() else None
        if found is not None:
            return found, _shown(folder)
    return Project(), Path()


def _read(path: Path) -> Project | None:
    try:
        table: Any = tomllib.loads(path.read_text(encoding="utf-8-sig")).get("tool", {})
        said = table.get("collapse_guard") if isinstance(table, dict) else None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise InputError(f"{path}: cannot be read: {error}; mend it, or pass --no-config") from None
    if said is None and isinstance(table, dict) and "collapse-guard" in table:
        raise InputError(f"{path}: the table is called [{_TABLE}], with an underscore")
    if said is None:
        return None
    if not isinstance(said, dict):
        raise InputError(f"{path}: [{_TABLE}] is a table of keys, got {said!r:.60}")
    if len({str(key).replace("-", "_") for key in said}) < len(said):
        raise InputError(f"{path}: [{_TABLE}] says a key twice, with - and with _; keep one")
    said = {
        str(key).replace("-", "_"): tuple(value) if isinstance(value, list) else value for key, value in said.items()
    }
    try:
        return Project.model_validate(said)
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        key = str(fault["loc"][0])
        if fault["type"] == "extra_forbidden":
            raise InputError(f"{path}: [{_TABLE}] {key!r}: unknown key; {nearest(key, Project.model_fields)}") from None
        raise InputError(
            f"{path}: [{_TABLE}] {key}: {fault['msg'].removeprefix('Value error, ')}, got {fault['input']!r:.60}"
        ) from None


def _shown(path: Path) -> Path:
    """Return a path from the working directory where it lies inside."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
