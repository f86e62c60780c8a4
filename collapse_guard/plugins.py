"""Name -> class, filled by decorators here and by entry points of other packages."""

from __future__ import annotations

import difflib
import importlib
import warnings
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, Generic, TypeVar

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


def load_code(name: str) -> Callable[..., Any]:
    """Return the function that ``module:function`` names, which imports the module: this runs code.

    Call it for names that come from Python, or from a file that the user said is trusted. Raises InputError.

    >>> load_code("json:dumps")([1])
    '[1]'
    """
    module, colon, path = name.partition(":")
    if not colon or not all(part.isidentifier() for part in (*module.split("."), *path.split("."))):
        raise InputError(f"code is named as 'module:function', got {name!r}")
    try:
        found: Any = importlib.import_module(module)
    except ImportError as error:
        raise InputError(f"{name!r} cannot be loaded ({error}); is its folder on the Python path?") from None
    for part in path.split("."):
        if not hasattr(found, part):
            raise InputError(f"{name!r} cannot be loaded: no {part!r} there; {nearest(part, dir(found))}")
        found = getattr(found, part)
    if not callable(found):
        raise InputError(f"{name!r} is {type(found).__name__}, not a function")
    function: Callable[..., Any] = found
    return function


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

    def names(self) -> tuple[str, ...]:
        """Return every name, sorted."""
        return tuple(name for name, _ in self.items())

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
