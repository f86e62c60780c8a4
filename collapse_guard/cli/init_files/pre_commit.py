"""The hooks, added to a pre-commit configuration without touching any other line of it."""

from __future__ import annotations

import re
from typing import Any, Final

from collapse_guard.errors import InputError
from collapse_guard.policy.yaml_text import key_lines, read_yaml

#: Ids of the hooks; a configuration that has one of them is left alone.
HOOKS: Final = frozenset({"collapse-guard-policy", "collapse-guard-manifest"})


def with_hooks(text: str | None, entry: str, *, file: str) -> str:
    r"""Return the configuration with ``entry`` as the last of its ``repos``; unchanged if a hook of ours is there.

    Args:
        text: the configuration, None if there is none.
        entry: an item of ``repos`` as YAML text, from the first column.
        file: its name, for messages.

    Raises InputError for a configuration that cannot be read, or that is written in a way in which nothing can be
    added without writing all of it anew.

    >>> print(with_hooks("repos:\n  - repo: meta  # ours\n    hooks: []\n", "- repo: local\n", file="x"), end="")
    repos:
      - repo: meta  # ours
        hooks: []
      - repo: local
    """
    if text is None:
        return f"repos:\n{_indented(entry, '  ')}"
    repos = read_yaml(text, file=file).get("repos")
    if repos is not None and not isinstance(repos, list):
        raise InputError(f"{file}: repos must be a list, got {type(repos).__name__}; correct it")
    if _hook_ids(repos or []) & HOOKS:
        return text
    added = _added(text, repos or [], entry, file=file)
    wanted = [*(repos or []), *read_yaml(f"repos:\n{entry}", file=file)["repos"]]
    if added is None or read_yaml(added, file=file).get("repos") != wanted:
        raise InputError(f"{file}: its repos are not written as a list of lines; add these to it:\n{entry}")
    return added


def _hook_ids(repos: list[Any]) -> set[Any]:
    hooks = [repo.get("hooks") for repo in repos if isinstance(repo, dict)]
    listed = [hook for each in hooks if isinstance(each, list) for hook in each]
    return {str(hook.get("id")) for hook in listed if isinstance(hook, dict)}


def _added(text: str, repos: list[Any], entry: str, *, file: str) -> str | None:
    """Return the text with the entry, None where the list is no list of lines."""
    newline = "\r\n" if "\r\n" in text else "\n"
    lines = text.splitlines(keepends=True)
    if lines and not lines[-1].endswith("\n"):
        lines[-1] += newline
    spans = key_lines(text, file=file)
    if "repos" not in spans:
        spans["repos"] = (len(lines), len(lines) + 1)
        lines.append(f"repos:{newline}")
    first, after = spans["repos"]
    if not repos:  # nothing, or [] in its line
        lines[first] = re.sub(r"^(repos[ \t]*:)[ \t]*(\[[ \t]*\]|null|~)", r"\1", lines[first])
    items = [match[1] for line in lines[first + 1 : after] if (match := re.match(r"([ ]*)-[ \t]", line))]
    if repos and not items:
        return None
    lines.insert(after, _indented(entry, items[0] if items else "  ").replace("\n", newline))
    return "".join(lines)


def _indented(entry: str, indent: str) -> str:
    return "".join(f"{indent}{line}" for line in entry.splitlines(keepends=True))
