"""``collapse-guard init``: a policy, a workflow and hooks for a repository that has none."""

from __future__ import annotations

import os
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from collapse_guard._atomic import write_bytes
from collapse_guard.cli.init_files import (
    DEFAULT_PRESET,
    hooks_text,
    policy_text,
    preset_name,
    preset_names,
    schema_text,
    workflow_text,
)
from collapse_guard.cli.init_files.pre_commit import with_hooks
from collapse_guard.errors import InputError
from collapse_guard.policy.discovery import FILE_NAMES

if TYPE_CHECKING:
    from collections.abc import Sequence

_SCHEMA: Final = "collapse_guard.schema.json"
_WORKFLOW: Final = ".github/workflows/collapse-guard.yml"
_HOOKS: Final = ".pre-commit-config.yaml"
_MANIFEST: Final = "manifests/current.cgm.json"


@dataclass(frozen=True)
class _File:
    """A file as it shall be, and as it is: None if it is not there."""

    name: str
    path: Path
    text: str
    before: bytes | None = None

    @property
    def is_changed(self) -> bool:
        return self.before != self.text.encode()


def init(
    preset: Annotated[
        str | None, typer.Option("--preset", help=f"Policy to begin with; {DEFAULT_PRESET} if left out.")
    ] = None,
    path: Annotated[Path, typer.Option("--path", metavar="DIR", help="The repository.")] = Path(),
    force: Annotated[bool, typer.Option("--force", help="Overwrite what is there.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the files, write nothing.")] = False,
    list_presets: Annotated[bool, typer.Option("--list-presets", help="Print the presets and exit.")] = False,
) -> None:
    """Write a policy, a GitHub workflow and pre-commit hooks to begin with.

    The policy, collapse_guard.yaml, extends a preset. Hooks are added to a .pre-commit-config.yaml that is there,
    whose other lines stay as they are. Nothing else is overwritten without --force, and nothing is written at all if
    one of the files is there.

    Exit code: 0 written, 2 if a file is there or cannot be written.

    Example: collapse-guard init --preset text-sft
    """
    if list_presets:
        typer.echo("\n".join(_listed()))
        return
    name = DEFAULT_PRESET if preset is None else preset_name(preset)
    files = _planned(name, path)
    _refuse_overwriting(files, path, is_forced=force)
    if dry_run:
        typer.echo("".join(_shown(file) for file in files if file.is_changed), nl=False)
        return
    _write_all([file for file in files if file.is_changed])
    typer.echo("\n".join(_told(files, name, path)))
    if preset is None and sys.stdout.isatty():
        typer.echo("\n".join(["", "other presets, for --preset NAME --force:", *_listed(but=name)]))


def _listed(*, but: str = "") -> list[str]:
    return [f"{name:<16} {about}" for name, about in preset_names().items() if name != but]


def _planned(preset: str, folder: Path) -> list[_File]:
    """Return the files as they shall be; raises InputError for what cannot be read or added to."""
    if folder.exists() and not folder.is_dir():
        raise InputError(f"--path {str(folder)!r} is a file; name the folder of a repository")
    hooks = folder / _HOOKS
    there = _content(hooks)
    wanted = {
        FILE_NAMES[0]: policy_text(preset, folder.resolve().name),
        _SCHEMA: schema_text(),
        _WORKFLOW: workflow_text(),
        _HOOKS: with_hooks(None if there is None else _decoded(there, hooks), hooks_text(), file=str(hooks)),
    }
    return [_File(name, folder / name, text, _content(folder / name)) for name, text in wanted.items()]


def _content(path: Path) -> bytes | None:
    if not os.path.lexists(path):
        return None
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise InputError(f"{path}: is a link to nothing; remove it") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}; move it out of the way") from None


def _decoded(content: bytes, path: Path) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: is not UTF-8 (byte {error.start}); save it as UTF-8") from None


def _refuse_overwriting(files: Sequence[_File], folder: Path, *, is_forced: bool) -> None:
    """Raise InputError if a file would be lost, or another policy be hidden by the new one."""
    other = folder / FILE_NAMES[1]
    if os.path.lexists(other):
        raise InputError(f"{other} is a policy already, and {FILE_NAMES[0]} would hide it; rename it or take it away")
    there = [file for file in files if file.before is not None and _is_ours_to_lose(file)]
    if there and not is_forced:
        listed = "\n".join(f"  {file.path}" for file in there)
        raise InputError(f"nothing was written, these are there already:\n{listed}\n--force overwrites them")


def _is_ours_to_lose(file: _File) -> bool:
    """Return whether writing it would lose what somebody wrote: hooks are added, a schema is made by a command."""
    return file.name != _HOOKS and not (file.name == _SCHEMA and not file.is_changed)


def _write_all(files: Sequence[_File]) -> None:
    """Write all of the files or none: what is written when a later one fails is put back as it was."""
    done: list[_File] = []
    try:
        for file in files:
            write_bytes(file.path.resolve(), file.text.encode())
            done.append(file)
    except BaseException:
        for file in done:
            if file.before is None:
                file.path.unlink()
            else:
                write_bytes(file.path.resolve(), file.before)
        raise


def _shown(file: _File) -> str:
    return f"--- {file.path}\n{file.text}"


def _told(files: Sequence[_File], preset: str, folder: Path) -> list[str]:
    lines = [f"{_verb(file)} {file.path}" for file in files]
    lines[0] += f" (preset {preset})"
    moved = f"cd {shlex.quote(str(folder))} && " if folder != Path() else ""
    command = f"collapse-guard manifest write DATA --source NAME --origin real -p {FILE_NAMES[0]} -o {_MANIFEST}"
    return [*lines, f"next: {moved}{command}", "then: collapse-guard check"]


def _verb(file: _File) -> str:
    if not file.is_changed:
        return "kept"
    return "added hooks to" if file.name == _HOOKS and file.before is not None else "wrote"
