"""What the schema says of one key of a policy: what it takes, what it is if left out, and what it means."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any, Final

from collapse_guard.errors import InputError
from collapse_guard.plugins import nearest

#: Stands in a path for the name of a source.
ANY: Final = "<name>"
#: Stands behind a key whose value is a list, for each of its items.
EACH: Final = "[]"
_DEFINED: Final = "#/$defs/"
_BOUNDS: Final = {
    "minimum": "{:g} or more",
    "exclusiveMinimum": "above {:g}",
    "maximum": "{:g} or less",
    "exclusiveMaximum": "below {:g}",
}


@dataclass(frozen=True)
class PolicyKey:
    """One key of a policy.

    Args:
        key: dotted path, such as ``sources.<name>.max_share`` or ``waivers[].limit``.
        takes: what may stand there, in words.
        default: what holds if it is left out; None where nothing does, or where it must be there.
        is_required: whether it must be there.
        section: the nearest section around it that is not there by default; empty if there is none.
        meaning: its description, with the source of the default where it has one.
    """

    key: str
    takes: str
    default: Any
    is_required: bool
    section: str
    meaning: str

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON, with ``said``."""
        return asdict(self) | {"said": self.said()}

    def said(self) -> str:
        """Return what it takes and what holds if it is left out, as a clause.

        >>> policy_key("mix.real_min_share").said()
        'number from 0 to 1; default 0.5'
        """
        within = f" once {self.section} is there" if self.section else ""
        if self.is_required:
            return f"{self.takes}; required{within}"
        if self.default is None:
            return f"{self.takes}; no default"
        plain = self.default if isinstance(self.default, str) else json.dumps(self.default)
        return f"{self.takes}; default {plain}{within}"


def policy_key(path: str) -> PolicyKey:
    """Return what the schema says of a key; raises InputError with the nearest name for one that there is not.

    >>> policy_key("mix.real_min_shar")
    Traceback (most recent call last):
    ...
    collapse_guard.errors.InputError: the policy has no key 'mix.real_min_shar'; did you mean 'real_min_share'?
    """
    node, section, is_required = _schema(), "", False
    walked: list[str] = []
    for part in path.split("."):
        if walked and node.get("default", ...) is None:
            section = ".".join(walked)
        is_required = part.removesuffix(EACH) in _inner(node).get("required", ())
        node = _child(node, part, path)
        walked.append(part)
    return PolicyKey(path, _takes(node), _default(node.get("default")), is_required, section, _meaning(node))


def _child(node: dict[str, Any], part: str, path: str) -> dict[str, Any]:
    """Return the node of one part of a path; of its items if it ends in brackets."""
    inner, name = _inner(node), part.removesuffix(EACH)
    known = dict(inner.get("properties", {}))
    if isinstance(inner.get("additionalProperties"), dict):
        known[ANY] = inner["additionalProperties"]
    if name not in known:
        raise InputError(f"the policy has no key {path!r}; {nearest(name, known)}")
    child: dict[str, Any] = known[name]
    if name == part:
        return child
    items = _inner(child).get("items")
    if not isinstance(items, dict):
        raise InputError(f"the policy has no key {path!r}; {name!r} holds no list")
    return items


def _default(value: Any) -> Any:
    """Return a default without what is left out in it; that of a section stands at its own keys."""
    if isinstance(value, list):
        return [_without_nulls(item) if isinstance(item, dict) else item for item in value]
    return None if isinstance(value, dict) else value


def _without_nulls(section: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in section.items() if value is not None}


@cache
def _schema() -> dict[str, Any]:
    from collapse_guard.policy.schema import policy_json_schema  # noqa: PLC0415 - the policy is large, and few ask

    return policy_json_schema()


def _resolved(node: dict[str, Any]) -> dict[str, Any]:
    """Return a node with the definition that it names."""
    named = node.get("$ref", "")
    found: dict[str, Any] = _schema()["$defs"][named.removeprefix(_DEFINED)] if named else {}
    return found | node


def _kinds(node: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the kinds of values that a node allows; null, which is leaving it out, is none."""
    whole = _resolved(node)
    kinds = [kind for name in ("anyOf", "oneOf") for kind in whole.get(name, ())]
    if not kinds:
        return [] if whole.get("type") == "null" else [whole]
    return [found for kind in kinds for found in _kinds(kind)]


def _inner(node: dict[str, Any]) -> dict[str, Any]:
    """Return the kind of a node in which further keys stand: the first section or list, itself if there is none."""
    kinds = _kinds(node)
    return next((kind for kind in kinds if {"properties", "additionalProperties", "items"} & kind.keys()), node)


def _meaning(node: dict[str, Any]) -> str:
    said = [each.get("description", "") for each in (node, *_kinds(node))]
    return next((text for text in said if text), "")


def _takes(node: dict[str, Any]) -> str:
    """Return what a node allows, in words."""
    return " or ".join(dict.fromkeys(_kind(kind) for kind in _kinds(node)))


def _kind(kind: dict[str, Any]) -> str:
    if "enum" in kind:
        return " | ".join(map(str, kind["enum"]))
    if "const" in kind:
        return str(kind["const"])
    if kind.get("type") == "array":
        return f"list of {_takes(kind['items'])}" if "items" in kind else "list"
    if kind.get("format") == "date":
        return "date"
    names = {"string": "text", "boolean": "true | false", "object": "section"}
    if kind.get("type") in names:
        return names[kind["type"]]
    return ", ".join(["whole number" if kind.get("type") == "integer" else "number", *_bounds(kind)]).replace(
        "number, from", "number from"
    )


def _bounds(kind: dict[str, Any]) -> list[str]:
    if {"minimum", "maximum"} <= kind.keys():
        return [f"from {kind['minimum']:g} to {kind['maximum']:g}"]
    return [text.format(kind[name]) for name, text in _BOUNDS.items() if name in kind]
