"""Laws of a value: it is frozen, survives pickling, and its state is plain."""

from __future__ import annotations

import json
import pickle
from dataclasses import FrozenInstanceError, asdict, fields, is_dataclass
from typing import Any, get_type_hints


def check_frozen(value: Any) -> None:
    """A value cannot be changed, survives pickling, and its state is plain enough for JSON."""
    assert is_dataclass(value), f"{type(value).__name__} is not a dataclass"
    first = fields(value)[0].name
    try:
        setattr(value, first, getattr(value, first))
    except (FrozenInstanceError, AttributeError):
        pass
    else:
        raise AssertionError(f"{type(value).__name__} is not frozen")
    assert repickled(value) == value, "a value equals itself after pickling"


def check_json_state(value: Any) -> None:
    """``asdict`` of a statistic survives JSON."""
    state = json.loads(json.dumps(asdict(value), default=list))
    assert _rebuilt(type(value), state) == value, "a statistic equals itself after a JSON round trip"


def repickled(value: Any) -> Any:
    """Return ``value`` after pickling; raises AssertionError that names the law where it cannot be pickled."""
    try:
        return pickle.loads(pickle.dumps(value))  # noqa: S301 - our own bytes
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise AssertionError(f"a value equals itself after pickling; {type(value).__name__} cannot be") from error


def _rebuilt(kind: type[Any], state: dict[str, Any]) -> Any:
    """Return the dataclass whose ``asdict`` is ``state``, with dataclasses inside it."""
    kinds = get_type_hints(kind)
    parts = {
        name: _rebuilt(kinds[name], item) if is_dataclass(kinds[name]) else _tuples(item)
        for name, item in state.items()
    }
    return kind(**parts)


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value
