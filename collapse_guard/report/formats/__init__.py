"""The result of a gate in the formats that machines and reviewers read; each is loaded when it is asked for."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

from collapse_guard._atomic import write_bytes
from collapse_guard.errors import InputError
from collapse_guard.plugins import nearest

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

#: Format -> its module here and the function ``(view) -> str`` in it. ``json`` is the newest version of ours.
FORMATS: Final = {
    "azure": ("azure", "azure"),
    "github": ("github", "github"),
    "gitlab": ("gitlab", "gitlab"),
    "html": ("one_page", "html"),
    "json": ("json_v1", "json_v1"),
    "json-v1": ("json_v1", "json_v1"),
    "junit": ("junit", "junit"),
    "markdown": ("markdown", "markdown"),
    "plain": ("plain_text", "plain_text"),
    "sarif": ("sarif", "sarif"),
}


def check_format(name: str) -> str:
    """Return the name of a format; raises InputError with the nearest one.

    >>> check_format("serif")
    Traceback (most recent call last):
    ...
    collapse_guard.errors.InputError: no output format is called 'serif'; did you mean 'sarif'?
    """
    if name not in FORMATS:
        raise InputError(f"no output format is called {name!r}; {nearest(name, FORMATS)}")
    return name


def render(view: dict[str, Any], name: str) -> str:
    """Return the result of a gate in a format, as text that ends with a newline.

    Args:
        view: what ``GateResult.as_dict()`` or ``load_result`` gave.
        name: a key of :data:`FORMATS`.

    Raises InputError for another format, MissingExtraError if its package is not installed.
    """
    module, function = FORMATS[check_format(name)]
    text: str = getattr(importlib.import_module(f"{__name__}.{module}"), function)(view)
    return text if text.endswith("\n") else f"{text}\n"


def write(view: dict[str, Any], files: Iterable[tuple[str, Path]]) -> None:
    """Write the result of a gate to files, each (format, path): all are rendered before the first is written.

    Each is written whole or not at all. Raises as :func:`render` does, and OSError for a path that cannot be written.
    """
    rendered = [(path, render(view, name)) for name, path in files]
    for path, text in rendered:
        write_bytes(path, text.encode("utf-8", "backslashreplace"))


def append_summary(view: dict[str, Any], environ: Mapping[str, str]) -> Path | None:
    """Append the result as Markdown to the page of a GitHub step, if ``environ`` names one; returns its path.

    Raises InputError for a page that cannot be written.
    """
    from collapse_guard.report.formats import summary  # noqa: PLC0415 - few runs are steps of GitHub

    return summary.append_summary(view, environ)
