"""``--output FORMAT=PATH`` and ``--output-format``: looked at before any work is done."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import typer

from collapse_guard.errors import InputError
from collapse_guard.plugins import nearest
from collapse_guard.report import formats
from collapse_guard.report.terminal import NORMAL, gate_lines, print_gate

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Formats of the screen alone: ``auto`` is rich on a terminal and plain elsewhere.
SCREEN: Final = ("auto", "rich")
#: Suffix -> format, where a path stands alone.
_SUFFIXES: Final = {
    ".htm": "html",
    ".html": "html",
    ".json": "json",
    ".md": "markdown",
    ".sarif": "sarif",
    ".txt": "plain",
    ".xml": "junit",
}
#: What a format may look like; anything else before a ``=`` is part of a path.
_NAME: Final = re.compile(r"[A-Za-z0-9_-]+")


def check_format(name: str) -> str:
    """Return the name of a format for the screen; raises InputError with the nearest one."""
    if name not in SCREEN and name not in formats.FORMATS:
        said = nearest(name, [*SCREEN, *formats.FORMATS])
        raise InputError(f"--output-format {name!r}: there is no such format; {said}")
    return name


def parse_outputs(given: Sequence[str]) -> list[tuple[str, Path]]:
    """Return (format, path) of each ``FORMAT=PATH``; a path alone says the format by its suffix.

    Raises InputError for an unknown format, a path that stands twice, and a path that cannot be written.

    >>> [(name, path.as_posix()) for name, path in parse_outputs(["sarif=a.sarif", "b.json", "./c=d.json"])]
    [('sarif', 'a.sarif'), ('json', 'b.json'), ('json', 'c=d.json')]
    """
    found = [_parsed(text) for text in given]
    seen: dict[str, str] = {}
    for text, (_, path) in zip(given, found, strict=True):
        name = _checked(text, path)
        if name in seen:
            raise InputError(f"--output {text}: {seen[name]!r} already writes this file; name another one")
        seen[name] = text
    return found


def check_spared(files: Sequence[tuple[str, Path]], inputs: Sequence[Path]) -> None:
    """Raise InputError if a file to write is one that was read, or lies in an index folder that was."""
    for name, path in files:
        whole = Path(os.path.realpath(path))
        for read in inputs:
            own = Path(os.path.realpath(read))
            if whole == own or (own.is_dir() and whole.is_relative_to(own)):
                raise InputError(f"--output {name}={path}: is what was checked ({read}); name another file")


def _parsed(text: str) -> tuple[str, Path]:
    name, equals, path = text.partition("=")
    if not equals or not _NAME.fullmatch(name):
        name, path = _SUFFIXES.get(Path(text).suffix.lower(), ""), text
    if not name:
        raise InputError(f"--output {text}: say the format, such as sarif={text}; {', '.join(formats.FORMATS)}")
    if name not in formats.FORMATS:
        said = nearest(name, formats.FORMATS)
        raise InputError(f"--output {text}: there is no format {name!r} for a file; {said}; for a path type ./{text}")
    if path in {"", "-"}:
        raise InputError(f"--output {text}: name a file, such as {name}=result.{name}; --output-format prints")
    return name, Path(path)


def _checked(text: str, path: Path) -> str:
    """Return the whole path; raises InputError if no file can be written there. Folders that are missing are made."""
    try:
        whole = os.path.normcase(os.path.realpath(path))
        if path.is_dir():
            raise InputError(f"--output {text}: is a folder; name a file in it")
        if path.exists() and not path.is_file():
            raise InputError(f"--output {text}: is no regular file; name another one")
        folder = next(above for above in (path.absolute().parent, *path.absolute().parents) if above.exists())
        if not folder.is_dir():
            raise InputError(f"--output {text}: {str(folder)!r} is no folder; name another one")
    except (OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"--output {text!r}: is no path: {error}") from None
    if not os.access(folder, os.W_OK):
        raise InputError(f"--output {text}: the folder {str(folder)!r} cannot be written to; name another one")
    return whole


def show_gate(view: dict[str, Any], shown: str, verbosity: int = NORMAL) -> None:
    """Print a result of the gate as ``--output-format`` says, as far as somebody reads.

    A closed pipe does not change the exit code, which says the verdict.
    """
    try:
        if shown == "rich" or (shown == "auto" and sys.stdout.isatty()):
            print_gate(view, verbosity=verbosity)
        elif shown in {"auto", "plain"}:
            typer.echo("\n".join(gate_lines(view, verbosity)))
        else:
            typer.echo(formats.render(view, shown), nl=False)
        sys.stdout.flush()
    except BrokenPipeError:  # what is left in the buffer is written at exit, to nowhere
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
