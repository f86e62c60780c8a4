"""Kinds of values: Arrow types less their storage; equal content of different kinds has different ids."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa

from collapse_guard.kernels import is_list

if TYPE_CHECKING:
    from collections.abc import Callable

#: Plain values, so that a journal holds them: a name, ``["list", kind]``, or ``["struct", {name: kind}]``.
Kind = Any

#: Kinds that several types hold.
_SHARED: Final[tuple[tuple[str, Callable[[pa.DataType], bool]], ...]] = (
    *(("text", is_kind) for is_kind in (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)),
    *(("bytes", is_kind) for is_kind in (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_fixed_size_binary)),
    ("integer", pa.types.is_integer),
)


def kind_of(kind: pa.DataType) -> Kind:
    """Return the kind of the values of a type.

    >>> kind_of(pa.large_list(pa.dictionary(pa.int8(), pa.string())))
    ['list', 'text']
    """
    if pa.types.is_dictionary(kind):
        return kind_of(kind.value_type)
    if is_list(kind):
        return ["list", kind_of(kind.value_type)]
    if pa.types.is_struct(kind):
        return ["struct", {field.name: kind_of(field.type) for field in kind}]
    return next((name for name, is_kind in _SHARED if is_kind(kind)), str(kind))


def common_kind(one: Kind, other: Kind) -> Kind | None:
    """Return the kind of both, None if they differ; ``null`` (no value was seen) agrees with every kind.

    >>> common_kind(["list", "null"], ["list", "text"])
    ['list', 'text']
    >>> common_kind("text", "integer") is None
    True
    """
    if "null" in (one, other):
        return other if one == "null" else one
    if isinstance(one, str) or isinstance(other, str) or one[0] != other[0]:
        return one if one == other else None
    if one[0] == "list":
        inner = common_kind(one[1], other[1])
        return None if inner is None else ["list", inner]
    fields = {name: common_kind(kind, other[1].get(name)) for name, kind in one[1].items()}
    same = fields.keys() == other[1].keys() and None not in fields.values()
    return ["struct", fields] if same else None


def shown(kind: Kind) -> str:
    """Return a kind for people.

    >>> shown(["struct", {"a": ["list", "text"]}])
    'struct<a: list<text>>'
    """
    if isinstance(kind, str):
        return kind
    if kind[0] == "list":
        return f"list<{shown(kind[1])}>"
    return f"struct<{', '.join(f'{name}: {shown(each)}' for name, each in kind[1].items())}>"
