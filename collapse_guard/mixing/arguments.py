"""What the functions of this room are called with: one line says what is wrong, before any arithmetic does."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import takewhile
from numbers import Real
from typing import Any, Final

import numpy as np

from collapse_guard.errors import InputError
from collapse_guard.policy import Policy

#: Shorter names are near to each other by chance: bot and bat.
_LEAST_LETTERS: Final = 4
_SWAPPED_LETTERS: Final = 2


def check_kind(name: str, value: object, kind: type, remedy: str) -> None:
    """Raise InputError unless ``value`` is of a kind.

    >>> check_kind("seed", "7", int, "leave the quotes out")
    Traceback (most recent call last):
    collapse_guard.errors.InputError: seed must be of type int, got str; leave the quotes out
    """
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise InputError(f"{name} must be of type {kind.__name__}, got {type(value).__name__}; {remedy}")


def check_policy(policy: object) -> None:
    """Raise InputError unless it is a checked policy."""
    check_kind("policy", policy, Policy, "check a mapping or a file with Policy.coerce")


def check_number(name: str, value: object, *, least: float = 0.0) -> None:
    """Raise InputError unless ``value`` is a finite number of ``least`` or more.

    >>> check_number("ratio", float("nan"))
    Traceback (most recent call last):
    collapse_guard.errors.InputError: ratio must be a number of 0 or more, got nan
    """
    if not is_number(value) or float(value) < least:  # type: ignore[arg-type]
        raise InputError(f"{name} must be a number of {least:g} or more, got {value!r}")


def check_whole(name: str, value: object, *, least: int) -> None:
    """Raise InputError unless ``value`` is a whole number of ``least`` or more."""
    is_whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    if not is_whole or int(value) < least:  # type: ignore[call-overload]
        raise InputError(f"{name} must be a whole number of {least} or more, got {value!r}")


def is_number(value: object) -> bool:
    """Return whether ``value`` is a finite number, which True is not."""
    return not isinstance(value, bool) and isinstance(value, Real) and math.isfinite(value)


def check_reference(reference: object) -> None:
    """Raise InputError unless every class has an amount of 0 or more by its name.

    >>> check_reference(["owl"])
    Traceback (most recent call last):
    collapse_guard.errors.InputError: reference must be a mapping of class names to real amounts, got list; leave it out
    """
    if not isinstance(reference, Mapping):
        said = f"got {type(reference).__name__}; leave it out"
        raise InputError(f"reference must be a mapping of class names to real amounts, {said}")
    for label, amount in reference.items():
        if not isinstance(label, str) or not is_number(amount) or amount < 0:
            text = f"reference gives an amount of 0 or more for each class by its name, got {label!r}: {amount!r}"
            raise InputError(f"{text}; name classes as text")


def check_vector(name: str, values: Any, n_rows: int | None = None) -> None:
    """Raise InputError unless ``values`` is an array of one axis, of numbers, and of ``n_rows`` if that is given."""
    if not isinstance(values, np.ndarray) or values.ndim != 1 or values.dtype.kind not in "iufb":
        said = f"shape {values.shape}, {values.dtype}" if isinstance(values, np.ndarray) else type(values).__name__
        raise InputError(f"{name} must be a numpy array of numbers with one axis, got {said}")
    if n_rows is not None and values.size != n_rows:
        raise InputError(f"{name} has {values.size} rows, the others have {n_rows}; give one value per row")


def check_caps(policy: Policy, names: set[str]) -> None:
    """Raise InputError for a source that is capped and not there, where one that is there is a slip away from it.

    A name of no row caps nothing, so a slip would let the source in uncapped. A source that is only not there yet is
    no fault, and neither is one whose neighbour differs in a number or a last letter alone: those are series.

    Args:
        policy: its ``sources``.
        names: sources of all rows, real and synthetic.
    """
    rules = policy.sources.items()
    absent = [name for name, rule in rules if name not in names and (rule.max_share, rule.max_depth) != (None, None)]
    for name in absent:
        for other in sorted(names - set(policy.sources)):
            if is_slip(name, other):
                text = f"sources.{name} caps a source that no row is of; did you mean {other!r}?"
                raise InputError(f"{text} If both are meant, name {other!r} under sources as well")


def is_slip(one: str, other: str) -> bool:
    """Return whether names differ as by a slip: one letter, two letters swapped, or case and separators alone.

    >>> is_slip("tutor", "tuter"), is_slip("tutor", "tuotr"), is_slip("Tutor-7b", "tutor_7B")
    (True, True, True)
    >>> is_slip("run_2025", "run_2026"), is_slip("part-a", "part-b"), is_slip("bot", "bat"), is_slip("tutor", "web")
    (False, False, False, False)
    """
    bare, other_bare = ("".join(c for c in name.casefold() if c.isalnum()) for name in (one, other))
    if bare == other_bare:
        return one != other
    parts, is_at_end = _unlike(bare, other_bare)
    is_series = (parts[0] + parts[1]).isdigit() or (is_at_end and max(map(len, parts)) == 1)
    is_swap = len(parts[0]) == _SWAPPED_LETTERS and parts[0] == parts[1][::-1]
    is_near = max(map(len, parts)) <= 1 or is_swap
    return min(len(bare), len(other_bare)) >= _LEAST_LETTERS and is_near and not is_series


def _unlike(one: str, other: str) -> tuple[tuple[str, str], bool]:
    """Return what is left of two names without what they begin and end with alike, and whether it is their end."""
    start = _n_alike(one, other)
    end = _n_alike(one[start:][::-1], other[start:][::-1])
    return (one[start : len(one) - end], other[start : len(other) - end]), end == 0


def _n_alike(one: str, other: str) -> int:
    """Return how many letters two texts begin with alike."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))
