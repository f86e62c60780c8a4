"""YAML text -> plain values with the line of every key; refuses what a reviewer cannot see.

Duplicate keys, aliases, merge keys, tags and keys that are not plain text are errors: other parsers
take the last duplicate silently, and an alias hides what a section says.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

import yaml

from collapse_guard.errors import Problem

Path = tuple[str | int, ...]
MAX_POLICY_BYTES: Final = 1 << 20
MAX_DEPTH: Final = 16
MAX_INTEGER: Final = 1 << 63
_SCALARS: Final = {f"tag:yaml.org,2002:{kind}" for kind in ("str", "int", "float", "bool", "null", "timestamp")}
_FAULTY: Final = object()  # stands for a value that has a problem of its own, and is left out


@dataclass(slots=True)
class Tree:
    """Plain values of one file, where each stands, what is wrong with the text, and the files that it extends."""

    file: str
    values: Any = None
    places: dict[Path, tuple[str, int]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    extended: tuple[str, ...] = ()

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
    tree.values = _Reader(tree, loader, text).mapping(root, ())
    return tree


def tree_of(values: Any, *, file: str) -> Tree:
    """Return the tree of plain Python values, under the same rules as a file."""
    tree = Tree(file)
    found = _plain(values, (), tree)
    if not isinstance(values, Mapping):
        tree.fault(None, (), f"a policy is a mapping of keys, got {type(values).__name__}")
        return tree
    tree.values = found
    return tree


class _Reader:
    """Turns nodes into values; every node is visited once."""

    def __init__(self, tree: Tree, loader: _Loader, text: str) -> None:
        self.tree, self.loader, self.text, self.seen = tree, loader, text, set[int]()

    @cached_property
    def alias_lines(self) -> list[int]:
        """The lines of aliases; the text is scanned again for them, and only if there are any."""
        return [token.start_mark.line + 1 for token in yaml.scan(self.text) if isinstance(token, yaml.AliasToken)]

    def mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = self._key(key_node, path)
            if key is None:
                continue
            line, here = key_node.start_mark.line + 1, (*path, key)
            if here in self.tree.places:
                first = self.tree.places[here][1]
                self.tree.fault(line, here, f"duplicate key, first set in line {first}", "keep one of the two")
                continue
            self.tree.places[here] = (self.tree.file, line)
            value = self._value(value_node, here, line)
            if value is not _FAULTY:
                values[key] = value
        return values

    def _key(self, node: yaml.Node, path: Path) -> str | None:
        line = node.start_mark.line + 1
        if id(node) in self.seen:  # its line is that of the anchor: the alias stands below
            self.tree.fault(self._alias_line(line), path, *_ALIAS)
        elif not isinstance(node, yaml.ScalarNode):
            self.tree.fault(line, path, "a key must be plain text")
        elif node.value == "<<":
            self.tree.fault(line, path, "merge keys (<<) are not allowed", "use extends")
        else:
            self.seen.add(id(node))
            return str(node.value)
        return None

    def _alias_line(self, begin: int) -> int:
        """Return the line of the first alias from a line on; the node itself stands at its anchor."""
        return min((at for at in self.alias_lines if at >= begin), default=begin)

    def _value(self, node: yaml.Node, path: Path, line: int) -> Any:
        if id(node) in self.seen:
            self.tree.fault(line, path, *_ALIAS)
            return _FAULTY
        self.seen.add(id(node))
        if len(path) > MAX_DEPTH:
            self.tree.fault(line, path, "nested too deeply")
            return _FAULTY
        allowed = {f"tag:yaml.org,2002:{kind}" for kind in ("map", "seq")} | _SCALARS
        if node.tag not in allowed:
            tag = node.tag.replace("tag:yaml.org,2002:", "!!")
            self.tree.fault(line, path, f"tags ({tag}) are not allowed", "write a plain value")
            return _FAULTY
        if isinstance(node, yaml.MappingNode):
            return self.mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return self._sequence(node, path)
        return self._scalar(node, path, line)

    def _sequence(self, node: yaml.SequenceNode, path: Path) -> list[Any]:
        values = []
        for number, item in enumerate(node.value):
            begin, line = node.start_mark.line + 1, item.start_mark.line + 1
            line = self._alias_line(begin) if id(item) in self.seen else line
            self.tree.places[(*path, number)] = (self.tree.file, line)
            values.append(self._value(item, (*path, number), line))
        return [value for value in values if value is not _FAULTY]

    def _scalar(self, node: yaml.Node, path: Path, line: int) -> Any:
        try:
            value = self.loader.construct_object(node)
        except (yaml.YAMLError, ValueError, KeyError, IndexError, AttributeError, TypeError):
            self.tree.fault(
                line, path, f"{str(node.value)[:60]!r} is not a value of its kind", "quote it, or correct it"
            )
            return _FAULTY
        fault = _unfit(value)
        if type(value) is int and re.fullmatch(r"[-+]?(0|[1-9][0-9]*)", node.value) is None:
            fault = fault or f"{node.value!r} is read as {value}: write a plain decimal number"
        if fault is not None:
            self.tree.fault(line, path, fault)
            return _FAULTY
        return value


_ALIAS: Final = ("aliases (*name) are not allowed", "write the value out, or move it to a file and use extends")


def _unfit(value: Any) -> str | None:
    """Return why a scalar cannot stand in any policy, None if it can."""
    if isinstance(value, int) and abs(value) >= MAX_INTEGER:
        return "is too large a number"
    if isinstance(value, str) and any("\ud800" <= character <= "\udfff" for character in value):
        return "is not Unicode text (half a surrogate pair)"
    return None


def _plain(value: Any, path: Path, tree: Tree) -> Any:
    if len(path) > MAX_DEPTH:
        tree.fault(None, path, "nested too deeply")
        return _FAULTY
    if isinstance(value, Mapping):
        return _plain_mapping(value, path, tree)
    if isinstance(value, (list, tuple)):
        items = [_plain(item, (*path, number), tree) for number, item in enumerate(value)]
        return [item for item in items if item is not _FAULTY]
    kind = value is None or isinstance(value, (str, int, float, bool, dt.date))
    fault = _unfit(value) if kind else f"must be a plain value, got {type(value).__name__}"
    if fault is not None:
        tree.fault(None, path, fault)
        return _FAULTY
    return value


def _plain_mapping(value: Mapping[Any, Any], path: Path, tree: Tree) -> dict[str, Any]:
    values = {}
    for key, item in value.items():
        if not isinstance(key, str) or _unfit(key) is not None:
            tree.fault(None, path, f"a key must be plain text, got {key!r:.60}")
            continue
        found = _plain(item, (*path, key), tree)
        if found is not _FAULTY:
            values[key] = found
    return values
