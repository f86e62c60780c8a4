"""Reading the state of a cell map: plain JSON values, checked one by one, never executed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from collapse_guard.errors import CellError
from collapse_guard.kernels import one_line

if TYPE_CHECKING:
    from collections.abc import Callable

#: Version of the states that this package writes and reads.
VERSION: Final = 1

_SHOWN: Final = 60


def shown(value: object) -> str:
    """Return a value as it can stand in a message: one line, and short.

    >>> shown(["x" * 100])[:10]
    "['xxxxxxxx"
    """
    text = one_line(repr(value))
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def check_head(state: Any) -> str:
    """Return the kind of a state; raises CellError unless it is a mapping of this version that names one.

    >>> check_head({"kind": "labels", "version": 1})
    'labels'
    """
    if not isinstance(state, Mapping):
        raise CellError(f"a state of cells is a mapping with 'kind' and 'version', got {type(state).__name__}")
    kind, version = state.get("kind"), state.get("version")
    if not isinstance(kind, str):
        raise CellError(f"a state of cells names its kind in 'kind', got {shown(kind)}")
    if type(version) is not int or version != VERSION:
        raise CellError(f"a state of {shown(kind)} cells has version {shown(version)}, this version reads {VERSION}")
    return kind


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of a state, taken with a check each; every fault is a CellError that names the part.

    >>> Parts.of({"kind": "labels", "version": 1, "column": "y"}, "column").text("column")
    'y'
    """

    where: str
    values: Mapping[str, Any]

    @classmethod
    def of(cls, state: Mapping[str, Any], *keys: str) -> Parts:
        """Return the parts of a whole state; raises CellError unless it has ``keys`` beside its head, and no others."""
        kind = check_head(state)
        return cls.inside({key: state[key] for key in state if key not in {"kind", "version"}}, f"{kind} cells", *keys)

    @classmethod
    def inside(cls, values: Any, where: str, *keys: str) -> Parts:
        """Return the parts of a mapping that stands inside a state; raises CellError as :meth:`of`."""
        if not isinstance(values, Mapping) or set(values) != set(keys):
            came = ", ".join(sorted(map(shown, values))) if isinstance(values, Mapping) else type(values).__name__
            raise CellError(f"a state of {where} must have {', '.join(keys)}; got {came or 'nothing'}")
        return cls(where, values)

    def text(self, key: str) -> str:
        """Return a text."""
        return str(self._checked(key, "text", _is_text))

    def texts(self, key: str) -> tuple[str, ...]:
        """Return distinct texts, one or more."""
        return tuple(self._checked(key, "a list of distinct texts, one or more", _are_texts))

    def flag(self, key: str) -> bool:
        """Return a bool."""
        return bool(self._checked(key, "true or false", lambda value: isinstance(value, bool)))

    def whole(self, key: str, *, low: int, high: int) -> int:
        """Return a whole number in [low, high]."""
        what = f"a whole number from {low} to {high}"
        return int(self._checked(key, what, lambda value: _is_whole(value) and low <= value <= high))

    def wholes(self, key: str, *, low: int, high: int) -> tuple[int, ...]:
        """Return distinct whole numbers in [low, high], one or more."""
        what = f"a list of distinct whole numbers from {low} to {high}, one or more"

        def is_fit(value: Any) -> bool:
            inside = isinstance(value, (list, tuple)) and all(_is_whole(item) and low <= item <= high for item in value)
            return inside and 0 < len(value) == len(set(value))

        return tuple(self._checked(key, what, is_fit))

    def floats(self, key: str) -> tuple[float, ...]:
        """Return finite numbers, none or more."""
        return tuple(map(float, self._checked(key, "a list of finite numbers", _are_floats)))

    def limit(self, key: str) -> float | None:
        """Return a finite number that is not negative, or None."""

        def is_fit(value: Any) -> bool:
            return value is None or (_is_finite(value) and value >= 0)

        value = self._checked(key, "a number, not negative, or null", is_fit)
        return None if value is None else float(value)

    def items(self, key: str) -> tuple[Any, ...]:
        """Return the items of a list, one or more, unchecked themselves."""
        return tuple(self._checked(key, "a list, not empty", lambda value: isinstance(value, (list, tuple)) and value))

    def fail(self, why: str) -> CellError:
        """Return the error for parts that do not fit together."""
        return CellError(f"a state of {self.where} does not hold together: {why}")

    def _checked(self, key: str, what: str, is_fit: Callable[[Any], Any]) -> Any:
        value = self.values[key]
        if not is_fit(value):
            raise CellError(f"a state of {self.where} must have {what} in {key!r}, got {shown(value)}")
        return value


def _is_text(value: Any) -> bool:
    """Whether a value is text that can be written again: JSON may hold half of a surrogate pair."""
    return isinstance(value, str) and not any("\ud800" <= letter <= "\udfff" for letter in value)


def _are_texts(value: Any) -> bool:
    is_list = isinstance(value, (list, tuple)) and all(_is_text(item) for item in value)
    return is_list and 0 < len(value) == len(set(value))


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _are_floats(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and all(_is_finite(item) for item in value)


def _is_finite(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # an int that no float holds
        return False
