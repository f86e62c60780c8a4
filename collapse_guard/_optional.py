"""Optional packages: import one, or say which line to type."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from collapse_guard.errors import MissingExtraError

if TYPE_CHECKING:
    from types import ModuleType


def need(module: str, *, extra: str) -> ModuleType:
    """Return ``module``, or raise :class:`MissingExtraError` naming the extra that brings it.

    >>> need("json", extra="report").__name__
    'json'
    >>> need("no_such_module", extra="ray")
    Traceback (most recent call last):
    ...
    collapse_guard.errors.MissingExtraError: no_such_module is not installed: pip install 'collapse-guard[ray]'
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is not None and module.split(".", maxsplit=1)[0] != error.name.split(".")[0]:
            raise
        raise MissingExtraError(f"{module} is not installed: pip install 'collapse-guard[{extra}]'") from error
