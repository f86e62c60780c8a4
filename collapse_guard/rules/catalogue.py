"""What the rules are, as plain values: for the catalogue, and for the page of one rule."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, Final

from collapse_guard.errors import InputError
from collapse_guard.plugins import nearest
from collapse_guard.policy.keys import policy_key
from collapse_guard.policy.waiver import UNWAIVABLE
from collapse_guard.records import FAMILIES
from collapse_guard.rules.governance import FAMILY
from collapse_guard.rules.page import docs_url, load_page
from collapse_guard.rules.registry import RULES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from collapse_guard.rules.page import Page
    from collapse_guard.rules.registry import Rule

RULES_SCHEMA: Final = "collapse-guard/rules/1"
EXPLAIN_SCHEMA: Final = "collapse-guard/explain/1"

#: What the rules of a family ask.
ASKED: Final = {
    "integrity": "can the policy and the manifest be used, and do they hold together?",
    "mix": "how much of what went in?",
    "accumulation": "is every real row of the parent still here, and does the real pool grow?",
    "provenance": "is it known who made each row, and do own outputs stay out?",
    "filters": "whom did they remove?",
    "coverage": "are the rare classes and the variety still there?",
    "audits": "does the synthetic share rise, and were enough rows looked at?",
    "governance": "is what was accepted still accepted, and by whom?",
}
_OTHERS: Final = "of other packages"


def family_of(code: str) -> str:
    """Return the family of a code, with what it asks.

    >>> family_of("CG405")
    'CG4xx filters: whom did they remove?'
    """
    name = FAMILIES.get(code[:3])
    return _OTHERS if name is None else f"{code[:3]}xx {name}: {ASKED[name]}"


def can_be_waived(code: str) -> bool:
    """Return whether a waiver may accept findings of a rule; those on waivers themselves are asked after all others.

    >>> can_be_waived("CG102"), can_be_waived("CG201"), can_be_waived("CG204"), can_be_waived("CG904")
    (True, True, False, False)
    """
    return code not in UNWAIVABLE and not code.startswith(FAMILY)


def catalogue() -> dict[str, Any]:
    """Return every rule in the order of its code: severity, title, needs, whether it can be waived, policy keys."""
    return {"schema": RULES_SCHEMA, "rules": [_entry(code, rule) for code, rule in RULES.items()]}


def explained(codes: Sequence[str]) -> dict[str, Any]:
    """Return the pages of some rules with what the schema says of their keys; a code may be in small letters.

    Raises InputError with the nearest code for one that no rule has.
    """
    known = RULES.names()
    asked = list(dict.fromkeys(code.strip().upper() for code in codes))
    for code in asked:
        if code not in known:
            raise InputError(f"no rule is called {code!r}; {nearest(code, known)}; see 'collapse-guard rules'")
    return {"schema": EXPLAIN_SCHEMA, "rules": [_explained(code) for code in asked]}


def _entry(code: str, rule: Rule) -> dict[str, Any]:
    page = load_page(code)
    return {
        "code": code,
        "family": family_of(code),
        "severity": rule.severity.value,
        "title": rule.title,
        "needs": list(rule.needs),
        "can_be_waived": can_be_waived(code),
        "keys": [] if page is None else list(page.keys),
        "docs": None if page is None else docs_url(code),
    }


def _explained(code: str) -> dict[str, Any]:
    rule, page = RULES.get(code), load_page(code)
    parts = _own_words(rule) if page is None else _parts(page)
    keys = () if page is None else page.keys
    return _entry(code, rule) | parts | {"keys": [policy_key(key).as_dict() for key in keys]}


def _parts(page: Page) -> dict[str, str]:
    return {
        "why": page.sections["Why"],
        "how": page.sections["How it is measured"],
        "example": page.sections["Example"],
        "what_to_do": page.sections["What to do"],
    }


def _own_words(rule: Rule) -> dict[str, str]:
    """Return what a rule without a page says of itself: the docstring of its function."""
    return {"why": "", "how": inspect.getdoc(rule.check) or "", "example": "", "what_to_do": ""}
