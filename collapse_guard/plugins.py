"""Name -> class, filled by decorators here and by entry points of other packages."""

from __future__ import annotations

import difflib
import warnings
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Generic, TypeVar

from collapse_guard.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

T = TypeVar("T")


def nearest(name: str, known: Iterable[str]) -> str:
    """Return a "did you mean" clause for ``name``, or the list of what is allowed.

    >>> nearest("mixx", ["mix", "sources"])
    "did you mean 'mix'?"
    """
    allowed = sorted(known)
    close = difflib.get_close_matches(name, allowed, n=1)
    return f"did you mean {close[0]!r}?" if close else f"allowed: {', '.join(allowed)}"


class Registry(Generic[T]):
    """Things that can be looked up by name.

    Args:
        kind: what is registered, for messages and for the entry-point group ``collapse_guard.<kind>s``.

    >>> cells = Registry[type]("cell_map")
    >>> @cells.register("labels")
    ... class Labels: ...
    >>> cells.get("label")
    Traceback (most recent call last):
    ...
    collapse_guard.errors.InputError: no cell_map is called 'label'; did you mean 'labels'?
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._known: dict[str, T] = {}
        self._scanned = False

    def register(self, name: str) -> Callable[[T], T]:
        """Return a decorator that files its subject under ``name``; a name is used once."""

        def file(subject: T) -> T:
            if name in self._known:
                raise InputError(f"a {self.kind} called {name!r} is already registered")
            self._known[name] = subject
            return subject

        return file

    def get(self, name: str) -> T:
        """Return what is filed under ``name``; raises InputError with the nearest name."""
        self._scan()
        if name not in self._known:
            raise InputError(f"no {self.kind} is called {name!r}; {nearest(name, self._known)}")
        return self._known[name]

    def items(self) -> Iterator[tuple[str, T]]:
        """Iterate over (name, subject), sorted by name."""
        self._scan()
        return iter(sorted(self._known.items(), key=lambda item: item[0]))

    def _scan(self) -> None:
        if self._scanned:
            return
        self._scanned = True
        for point in entry_points(group=f"collapse_guard.{self.kind}s"):
            try:
                self._known.setdefault(point.name, point.load())
            except Exception as error:  # noqa: BLE001 - a broken plug-in of others must not break the gate
                warnings.warn(f"{self.kind} plug-in {point.name!r} ({point.value}) is skipped: {error}", stacklevel=3)
