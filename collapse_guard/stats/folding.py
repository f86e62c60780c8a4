"""What looks leave in an evidence, as plain values: the part of its state that policy and reference do not give."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, ClassVar, Final, Protocol, TypeVar

from collapse_guard.errors import StatisticError

if TYPE_CHECKING:
    from collections.abc import Mapping

_MOST: Final = 1e300


class Folded(Protocol):
    """A frozen evidence that is folded look by look.

    ``sizes`` gives the length that each of its tuples has after a look, by the name of the field.
    """

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def n_looks(self) -> int:
        """Looks so far."""

    def sizes(self) -> dict[str, int]:
        """Return the length of each tuple of evidence after a look."""


E = TypeVar("E", bound=Folded)


def folded_state(evidence: Folded) -> dict[str, Any]:
    """Return the fields that looks change, as ints, floats and lists.

    >>> from collapse_guard.stats import ScoreEvidence
    >>> folded_state(ScoreEvidence.start(0.5, max_drop=0.1, planned_looks=3))
    {'n_looks': 0, 'log_wealth': [], 'last_mean': 0.0}
    """
    values = {name: getattr(evidence, name) for name in _names(evidence)}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


def with_folded(evidence: E, state: Mapping[str, Any]) -> E:
    """Return ``evidence`` with the fields that :func:`folded_state` gave.

    Raises StatisticError for fields that are missing, of another type or length, or not finite.
    """
    names, sizes = _names(evidence), evidence.sizes()
    if not hasattr(state, "keys") or set(state) != set(names):
        raise StatisticError(f"{type(evidence).__name__} is made of {', '.join(names)}, got {_keys(state)}")
    n_looks = state["n_looks"]
    if isinstance(n_looks, bool) or not isinstance(n_looks, int) or n_looks < 0:
        raise StatisticError(f"n_looks must be a whole number, 0 or more, got {n_looks!r}")
    found = {name: _value(state[name], getattr(evidence, name), name) for name in names}
    for name, after_a_look in sizes.items():
        size = after_a_look if n_looks else 0
        if len(found[name]) != size:
            raise StatisticError(f"{name} has {len(found[name])} entries after {n_looks} looks, expected {size}")
    return replace(evidence, **found)


def _names(evidence: Folded) -> list[str]:
    """Return the fields from ``n_looks`` on: those before it follow from reference and policy."""
    names = [field.name for field in fields(evidence)]
    return names[names.index("n_looks") :]


def _value(value: Any, like: Any, name: str) -> Any:
    if isinstance(like, tuple):
        if not isinstance(value, (list, tuple)):
            raise StatisticError(f"{name} must be a list of numbers, got {value!r:.40}")
        return tuple(_number(item, 0.0, name) for item in value)
    return _number(value, like, name)


def _number(value: Any, like: float, name: str) -> float:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not is_number or not -_MOST < value < _MOST:  # compared, not converted: an int may be too large for a float
        raise StatisticError(f"{name} must hold finite numbers, got {value!r:.40}")
    if isinstance(like, int):
        if value != int(value) or value < 0:
            raise StatisticError(f"{name} must be a whole number, 0 or more, got {value!r}")
        return int(value)
    return float(value)


def _keys(state: Any) -> str:
    return ", ".join(sorted(map(str, state))) if hasattr(state, "keys") else f"{state!r:.40}"
