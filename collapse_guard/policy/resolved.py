"""A policy with the place of every value: file and line, preset, or the built-in default."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from collapse_guard.errors import Problem
from collapse_guard.policy.mix import SHAPES
from collapse_guard.policy.presets import preset_folder
from collapse_guard.policy.waiver import UNWAIVABLE
from collapse_guard.policy.yaml_tree import dotted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from collapse_guard.policy.schema import Policy
    from collapse_guard.policy.yaml_tree import Path as Key
    from collapse_guard.policy.yaml_tree import Tree


@dataclass(frozen=True)
class Value:
    """One resolved value of a policy.

    Args:
        key: dotted path.
        value: plain value.
        origin: ``default``, ``preset:NAME@1`` or ``file:line``.
    """

    key: str
    value: Any
    origin: str


@dataclass(frozen=True)
class Resolved:
    """A checked policy, and where each of its values stands.

    Args:
        policy: what the files say together.
        tree: the merged text of the file and what it extends.
    """

    policy: Policy
    tree: Tree

    def place(self, key: Key) -> tuple[str, int]:
        """Return file and line of a key in the policy file itself, for a reviewer to look at.

        The nearest section that stands in the file; the line of ``extends`` for what a preset or another file says; the
        first line for a default.
        """
        path = written(self.tree.values, key)
        for end in range(len(path), 0, -1):
            found = self.tree.places.get(path[:end])
            if found is not None and found[0] == self.tree.file:
                return found
            if found is not None:
                break
        return self.tree.places.get(("extends",), (self.tree.file, 1))

    def values(self) -> Iterator[Value]:
        """Iterate over every value with its origin, in the order of the schema."""
        plain = self.policy.model_dump(mode="json", exclude={"extends"})
        for path, value in _leaves(plain, ()):
            yield Value(dotted(path), value, self._origin(path))

    def _origin(self, path: Key) -> str:
        kept = written(self.tree.values, path)
        found = self.tree.places.get(kept)
        if found is None:
            return "default"
        file, line = Path(found[0]), found[1]
        is_preset = file.parent == preset_folder() and found[0] != self.tree.file
        return f"preset:{file.stem}@1" if is_preset else f"{file}:{line}"


def refused_waivers(resolved: Resolved) -> list[Problem]:
    """Return a problem for each waiver of a rule that cannot be waived (CG903)."""
    found = []
    for number, waiver in enumerate(resolved.policy.waivers):
        if waiver.rule in UNWAIVABLE:
            key = ("waivers", number, "rule")
            text = f"{waiver.rule} cannot be waived"
            remedy = "take the waiver out and mend what it hides; --allow-unsafe-waivers is told in every report"
            found.append(Problem("CG903", *resolved.place(key), dotted(key), text, remedy))
    return found


def written(values: Any, path: Key) -> Key:
    """Return ``path`` as it stands in the file: one cell has no number, and a kind or shape is no key of its own."""
    node: Any = values
    kept: list[str | int] = []
    for number, part in enumerate(path):
        is_there = part in node if isinstance(node, dict) else isinstance(node, list) and isinstance(part, int)
        if not is_there and part in SHAPES:
            continue
        if not is_there and isinstance(node, dict) and (isinstance(part, int) or number + 1 < len(path)):
            continue
        kept.append(part)
        node = _child(node, part) if is_there else None
    return tuple(kept)


def _child(node: Any, part: str | int) -> Any:
    if isinstance(node, dict):
        return node[part]
    return node[part] if isinstance(part, int) and part < len(node) else None


def _leaves(node: Any, path: Key) -> Iterator[tuple[Key, Any]]:
    if isinstance(node, dict) and node:
        for key, value in node.items():
            yield from _leaves(value, (*path, key))
    elif not isinstance(node, dict):
        yield path, node
