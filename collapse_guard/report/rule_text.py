"""The catalogue of rules and the page of one rule, as Markdown and as tables."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any, Final

from collapse_guard.kernels import one_line
from collapse_guard.report.tables import Table

if TYPE_CHECKING:
    from collections.abc import Iterator

#: What a rule is given, by its name in the registry.
NEEDS: Final = {
    "policy": "the policy",
    "manifest": "the header of the manifest",
    "content": "every part of the manifests again, to recompute their digests",
    "index": "rows of the manifest",
    "unit": "a policy and a manifest that count in the same unit",
    "parent": "the manifest of the parent generation, where one is recorded",
    "reference": "the manifest of the real reference, or of the parent",
}
_PAGES: Final = "../collapse_guard/rules/pages"
_HEAD: Final = """\
# Rules

Every rule of the gate, by family. `collapse-guard explain CODE` prints the page of one rule: why it is there, how it
measures, the defaults of its policy keys, an example, what to do. This list is written by
`collapse-guard rules --output-format markdown`.
"""


def rule_sections(view: dict[str, Any]) -> list[str | Table]:
    """Return the catalogue for a terminal: a table for each family."""
    tables: list[str | Table] = [
        Table(family, ("code", "severity", "rule", "needs", "waiver", "policy keys"), tuple(map(_plain_row, rules)))
        for family, rules in _families(view)
    ]
    return [f"{len(view['rules'])} rules; next: collapse-guard explain CODE", *tables]


def catalogue_markdown(view: dict[str, Any]) -> str:
    """Return the catalogue as a Markdown page, with the words for what a rule needs at its end."""
    lines = [_HEAD]
    for family, rules in _families(view):
        lines += [f"## {family}", ""]
        lines += ["| code | severity | rule | needs | waiver | policy keys |", "| --- | --- | --- | --- | --- | --- |"]
        lines += [_markdown_row(rule) for rule in rules] + [""]
    lines += ["## What rules need", "", "A rule that lacks what it needs is inconclusive, which is never a pass.", ""]
    lines += ["| need | what it is |", "| --- | --- |", *(f"| {name} | {said} |" for name, said in NEEDS.items()), ""]
    lines += [
        "A waiver accepts what failed, up to its bound and until its last day; never what is inconclusive. Severities",
        "are defaults: `severity` in the policy changes them, but not those of rules that guard real rows and the",
        "evidence.",
    ]
    return "\n".join(lines) + "\n"


def explained_markdown(rule: dict[str, Any]) -> str:
    """Return the page of a rule as Markdown: its text, with what the schema says of each policy key between."""
    lines = [f"# {rule['code']}: {one_line(rule['title'])}", "", _facts(rule), ""]
    for heading, part in (("Why", "why"), ("How it is measured", "how")):
        lines += [f"## {heading}", "", rule[part], ""] if rule[part] else []
    if rule["keys"]:
        lines += ["## Policy keys", "", *map(_key_line, rule["keys"]), ""]
    for heading, part in (("Example", "example"), ("What to do", "what_to_do")):
        lines += [f"## {heading}", "", rule[part], ""] if rule[part] else []
    lines += [f"<{rule['docs']}>"] if rule["docs"] else ["It comes from another package, and has no page here."]
    return "\n".join(lines) + "\n"


def _families(view: dict[str, Any]) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    for family, rules in groupby(view["rules"], key=lambda rule: rule["family"]):
        yield family, list(rules)


def _plain_row(rule: dict[str, Any]) -> tuple[str, ...]:
    return (rule["code"], rule["severity"], rule["title"], _needs(rule), _waiver(rule), ", ".join(rule["keys"]) or "-")


def _markdown_row(rule: dict[str, Any]) -> str:
    code = f"[{rule['code']}]({_PAGES}/{rule['code']}.md)" if rule["docs"] else rule["code"]
    keys = ", ".join(f"`{key}`" for key in rule["keys"]) or "-"
    title = one_line(rule["title"]).replace("|", "\\|")
    return f"| {code} | {rule['severity']} | {title} | {_needs(rule)} | {_waiver(rule)} | {keys} |"


def _needs(rule: dict[str, Any]) -> str:
    return ", ".join(rule["needs"]) or "-"


def _waiver(rule: dict[str, Any]) -> str:
    return "yes" if rule["can_be_waived"] else "no"


def _facts(rule: dict[str, Any]) -> str:
    """Return severity, family, whether it can be waived and what it needs, as one paragraph."""
    waived = "It can be waived." if rule["can_be_waived"] else "It cannot be waived."
    needs = f"It needs {'; '.join(NEEDS[name] for name in rule['needs'])}." if rule["needs"] else "It needs nothing."
    return f"Severity: {rule['severity']}. Family: {rule['family'].partition(':')[0]}. {waived} {needs}"


def _key_line(key: dict[str, Any]) -> str:
    meaning = f": {key['meaning']}" if key["meaning"] else ""
    return f"- `{key['key']}` ({key['said']}){meaning}"
