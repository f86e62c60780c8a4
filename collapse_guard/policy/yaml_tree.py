"""YAML text -> plain values with the line of every key; refuses what a reviewer cannot see.

Duplicate keys, aliases, merge keys, tags and keys that are not plain text are errors: other parsers
take the last duplicate silently, and an alias hides what a section says.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import yaml

from collapse_guard.errors import Problem

Path = tuple[str | int, ...]
MAX_POLICY_BYTES: Final = 1 << 20
MAX_DEPTH: Final = 16


@dataclass(slots=True)
class Tree:
    """Plain values of one file, where each stands, and what is wrong with the text."""

    file: str
    values: Any = None
    places: dict[Path, tuple[str, int]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def fault(self, line: int | None, path: Path, message: str, remedy: str = "") -> None:
        """Note one problem of this file."""
        self.problems.append(Problem("CG001", self.file, line, dotted(path), message, remedy))


class _Loader(yaml.SafeLoader):
    """Safe loader; its constructor is used on scalars only."""


def dotted(path: Path) -> str:
    """Return ``sources.web.max_share`` for ("sources", "web", "max_share").

    >>> dotted(("waivers", 0, "rule"))
    'waivers[0].rule'
    """
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def read_tree(text: str, *, file: str) -> Tree:
    """Return the tree of one YAML document; faults are collected in ``problems``, not raised."""
    tree = Tree(file)
    try:
        loader = _Loader(text)
        root = loader.get_single_node()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        tree.fault(None if mark is None else mark.line + 1, (), f"not YAML: {error.problem or error.context}")
        return tree
    except yaml.YAMLError as error:
        tree.fault(None, (), f"not YAML: {str(error).splitlines()[0]}")
        return tree
    except RecursionError:
        tree.fault(None, (), "not a policy: nested too deeply")
        return tree
    if not isinstance(root, yaml.MappingNode):
        tree.fault(1, (), "a policy is a mapping of keys", "start with 'version: 1'")
        return tree
    tree.values = _value(root, (), tree, loader, set())
    return tree


def _value(node: yaml.Node, path: Path, tree: Tree, loader: _Loader, seen: set[int]) -> Any:
    line = node.start_mark.line + 1
    if id(node) in seen:
        tree.fault(
            line, path, "aliases (*name) are not allowed", "write the value out, or move it to a file and use extends"
        )
        return None
    seen.add(id(node))
    if len(path) > MAX_DEPTH:
        tree.fault(line, path, "nested too deeply")
        return None
    if isinstance(node, yaml.MappingNode):
        return _mapping(node, path, tree, loader, seen)
    if isinstance(node, yaml.SequenceNode):
        return [_placed(item, (*path, number), tree, loader, seen) for number, item in enumerate(node.value)]
    return _scalar(node, path, tree, loader)


def _scalar(node: yaml.Node, path: Path, tree: Tree, loader: _Loader) -> Any:
    line = node.start_mark.line + 1
    if not node.tag.startswith("tag:yaml.org,2002:"):
        tree.fault(line, path, f"tags ({node.tag}) are not allowed", "write a plain value")
        return None
    try:
        return loader.construct_object(node)
    except (yaml.YAMLError, ValueError) as error:
        tree.fault(line, path, f"not a value: {str(error).splitlines()[0]}")
        return None


def _placed(node: yaml.Node, path: Path, tree: Tree, loader: _Loader, seen: set[int]) -> Any:
    tree.places[path] = (tree.file, node.start_mark.line + 1)
    return _value(node, path, tree, loader, seen)


def _mapping(node: yaml.MappingNode, path: Path, tree: Tree, loader: _Loader, seen: set[int]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key_node, value_node in node.value:
        line = key_node.start_mark.line + 1
        key = key_node.value
        if not isinstance(key_node, yaml.ScalarNode):
            tree.fault(line, path, "a key must be plain text")
            continue
        if key == "<<":
            tree.fault(line, path, "merge keys (<<) are not allowed", "use extends")
            continue
        here = (*path, key)
        if key in values:
            first = tree.places[here][1]
            tree.fault(line, here, f"duplicate key, first set in line {first}", "keep one of the two")
            continue
        tree.places[here] = (tree.file, line)
        values[key] = _value(value_node, here, tree, loader, seen)
    return values
