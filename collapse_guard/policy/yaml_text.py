"""YAML of files that are no policies: dataset cards, DVC files. Read safely, written plainly, edited key by key."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import yaml

from collapse_guard.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

_FENCE: Final = re.compile(r"---[ \t]*(?:\r?\n|$)")


class _PlainDumper(yaml.SafeDumper):
    """Writes every value out: an anchor is nothing that a reviewer should follow."""

    def ignore_aliases(self, data: Any) -> bool:
        del data
        return True


def read_yaml(text: str, *, file: str) -> dict[str, Any]:
    """Return the mapping of a YAML document; an empty document is an empty mapping.

    Raises InputError for text that is not YAML, is no mapping, or has a key twice at the top.

    >>> read_yaml("license: mit", file="README.md")
    {'license': 'mit'}
    """
    try:
        values = yaml.safe_load(text)
        key_lines(text, file=file)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        if isinstance(error, InputError):
            raise
        mark = getattr(error, "problem_mark", None)
        line = "" if mark is None else f":{mark.line + 1}"
        reason = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise InputError(f"{file}{line}: not YAML: {reason}; correct it") from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise InputError(f"{file}: expected a mapping of keys, got {type(values).__name__}")
    return {str(key): value for key, value in values.items()}


def key_lines(text: str, *, file: str) -> dict[str, tuple[int, int]]:
    r"""Return the lines of every top key and its value: first (from 0), and the one after the last.

    Raises InputError for a key that stands twice.

    >>> key_lines("a: 1\nb:\n- 2\n", file="x")
    {'a': (0, 1), 'b': (1, 3)}
    """
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    if not isinstance(root, yaml.MappingNode):
        return {}
    lines = text.splitlines()
    spans: dict[str, tuple[int, int]] = {}
    for key, value in root.value:
        name, first = str(key.value), key.start_mark.line
        if name in spans:
            raise InputError(f"{file}:{first + 1}: the key {name!r} stands twice; keep one of the two")
        spans[name] = (first, _end(value, first, lines))
    return spans


def _end(value: yaml.Node, first: int, lines: list[str]) -> int:
    """Return the line after a value; comments and blank lines before the next key belong to that key.

    The mark of a block value stands at the start of what follows it.
    """
    mark = value.end_mark
    after = mark.line if mark.column == 0 else mark.line + 1
    while after > first + 1 and (not lines[after - 1].strip() or lines[after - 1].startswith("#")):
        after -= 1
    return max(first + 1, after)


def yaml_text(values: dict[str, Any]) -> str:
    r"""Return values as YAML, in their order, one trailing newline.

    >>> yaml_text({"tags": ["synthetic"], "rows": 3})
    'tags:\n- synthetic\nrows: 3\n'
    """
    return yaml.dump(
        values, Dumper=_PlainDumper, sort_keys=False, allow_unicode=True, default_flow_style=False, width=10_000
    )


def front_matter(text: str) -> tuple[str, str]:
    r"""Return the YAML between the fences at the head of a Markdown text, and what follows; no fences, no YAML.

    >>> front_matter("---\nlicense: mit\n---\n# Title\n")
    ('license: mit\n', '# Title\n')
    """
    opening = _FENCE.match(text.removeprefix("\ufeff"))
    body = text.removeprefix("\ufeff")
    if opening is None:
        return "", body
    closing = re.compile(rf"^{_FENCE.pattern}", re.MULTILINE).search(body, opening.end())
    if closing is None:
        return "", body
    return body[opening.end() : closing.start()], body[closing.end() :]


def read_front_matter(path: Path) -> dict[str, Any]:
    """Return the front matter of a Markdown file such as a dataset card, empty if it has none.

    Raises InputError for a file that cannot be read and for front matter that is no mapping.
    """
    try:
        text = path.read_bytes().decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{path}: cannot be read: {reason}; name a dataset card, such as README.md") from None
    return read_yaml(front_matter(text)[0], file=str(path))


def with_keys(text: str, values: dict[str, Any], *, file: str) -> str:
    r"""Return the YAML ``text`` with the top keys ``values`` set; every other line stays byte for byte.

    Keys that are there are replaced where they stand, new ones follow at the end.

    >>> with_keys("license: mit  # ours\nrows: 1\n", {"rows": 2, "tags": ["a"]}, file="README.md")
    'license: mit  # ours\nrows: 2\ntags:\n- a\n'
    """
    read_yaml(text, file=file)
    spans = key_lines(text, file=file)
    lines = text.splitlines(keepends=True)
    if lines and not lines[-1].endswith("\n"):
        lines[-1] += "\n"
    for name, (first, after) in sorted(spans.items(), key=lambda item: -item[1][0]):
        if name in values:
            lines[first:after] = [yaml_text({name: values[name]})]
    return "".join(lines) + "".join(yaml_text({key: values[key]}) for key in values if key not in spans)
