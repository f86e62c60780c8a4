"""The page of a rule: why it is there, how it measures, an example, what to do."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING, Final

from collapse_guard.errors import InputError

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

#: The headings of every page, in their order.
HEADINGS: Final = ("Why", "How it is measured", "Example", "What to do")
_DOCS: Final = "https://github.com/collapse-guard/collapse-guard/blob/main/collapse_guard/rules/pages"
_TITLE: Final = re.compile(r"# (CG\d{3}): (\S.*)")
_KEY: Final = re.compile(r"^- `([^`]+)`$", re.MULTILINE)
_BLOCK: Final = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class Page:
    """A page, taken apart.

    Args:
        code: of the rule.
        title: of the rule.
        keys: policy keys that the rule reads, as dotted paths that :mod:`collapse_guard.policy.keys` knows.
        sections: Markdown under each heading.
    """

    code: str
    title: str
    keys: tuple[str, ...]
    sections: dict[str, str]

    def example(self, language: str) -> str:
        """Return what the block of a language in the example holds: ``yaml`` the policy, ``text`` what is printed."""
        found = [body for named, body in _BLOCK.findall(self.sections["Example"]) if named == language]
        return "".join(found)


def docs_url(code: str) -> str:
    """Return the address of a rule's page.

    >>> docs_url("CG201").rsplit("/", 1)[-1]
    'CG201.md'
    """
    return f"{_DOCS}/{code}.md"


def page_codes() -> tuple[str, ...]:
    """Return the codes that have a page, sorted."""
    names = (entry.name for entry in _folder().iterdir())
    return tuple(sorted(name.removesuffix(".md") for name in names if name.endswith(".md")))


def load_page(code: str) -> Page | None:
    """Return the page of a rule, None for a rule that has none, as those of plug-ins.

    >>> load_page("CG201").keys[0]
    'accumulation.mode'
    """
    path = _folder() / f"{code}.md"
    return parse_page(path.read_text("utf-8"), name=f"{code}.md") if code in page_codes() else None


def parse_page(text: str, *, name: str) -> Page:
    """Return a page from its Markdown.

    The first line is ``# CODE: title``; a list of keys follows, one ``- `key``` a line, then the four headings.

    Args:
        text: the whole page.
        name: of the file, for messages.

    Raises InputError that says what is missing.
    """
    head, *parts = re.split(r"^## ", text, flags=re.MULTILINE)
    titled = _TITLE.match(head)
    if titled is None:
        raise InputError(f"{name}: the first line must be '# CG000: title', got {text.partition(chr(10))[0]!r}")
    named = [part.partition("\n") for part in parts]
    if tuple(heading for heading, _, _ in named) != HEADINGS:
        raise InputError(f"{name}: headings must be {', '.join(HEADINGS)}, got {', '.join(each[0] for each in named)}")
    sections = {heading: body.strip() for heading, _, body in named}
    empty = [heading for heading, body in sections.items() if not body]
    if empty:
        raise InputError(f"{name}: nothing stands under {', '.join(empty)}")
    return Page(titled[1], titled[2], tuple(_KEY.findall(head)), sections)


def _folder() -> Traversable:
    return files("collapse_guard.rules") / "pages"
