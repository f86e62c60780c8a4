"""The page of a rule: why it is there, how it measures, what to do."""

from __future__ import annotations

from typing import Final

_DOCS: Final = "https://github.com/collapse-guard/collapse-guard/blob/main/collapse_guard/rules/pages"


def docs_url(code: str) -> str:
    """Return the address of a rule's page.

    >>> docs_url("CG201").rsplit("/", 1)[-1]
    'CG201.md'
    """
    return f"{_DOCS}/{code}.md"
