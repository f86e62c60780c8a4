"""A gate result as JUnit XML: one test case per rule.

A rule that failed where that counts is a ``failure``, or an ``error`` where the input is unusable. One that could not
be evaluated is an ``error`` where that keeps the exit code from being 0, and ``skipped`` where it is a consequence of
an unusable input or the policy says to go on without. A warning that does not count, and what a waiver or the baseline
accepts, passes and says so in ``system-out``. So a dashboard is red exactly when the exit code is not 0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from xml.etree import ElementTree as ET

from collapse_guard.kernels import one_line
from collapse_guard.report.formats.entries import Entry, clipped, entries, family
from collapse_guard.report.terminal import verdict_line

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_MAX_MESSAGE: Final = 1000
_MAX_BODY: Final = 100_000
#: Attribute of the suite -> the element that it counts.
_COUNTED: Final = {"tests": "testcase", "failures": "failure", "errors": "error", "skipped": "skipped"}


def junit(view: dict[str, Any]) -> str:
    """Return the XML document."""
    name = view["policy"].get("name") if view.get("policy") else None
    suite = ET.Element("testsuite", name=f"collapse-guard {one_line(name or 'policy')}")
    properties = ET.SubElement(suite, "properties")
    for key in ("verdict", "policy_digest", "manifest_digest", "parent_digest"):
        ET.SubElement(properties, "property", name=key, value=one_line(str(view[key] or "none")))
    for code, title, found in _cases(view):
        case = ET.SubElement(
            suite, "testcase", classname=f"collapse_guard.{family(code)}", name=f"{code} {title}".strip()
        )
        _fill(case, found, view, is_ignored=code in map(one_line, view["ignored_rules"]))
    if view["exit_code"] and not [*suite.iter("failure"), *suite.iter("error")]:
        case = ET.SubElement(suite, "testcase", classname="collapse_guard.gate", name="verdict")
        _stop(case, "error", view["verdict"], verdict_line(view), "")
    if view["notes"]:
        ET.SubElement(suite, "system-out").text = clipped("\n".join(map(one_line, view["notes"])), _MAX_BODY)
    return _document(suite)


def _document(suite: ET.Element) -> str:
    for attribute, tag in _COUNTED.items():
        suite.set(attribute, str(sum(1 for _ in suite.iter(tag))))
    suites = ET.Element("testsuites", {key: suite.attrib[key] for key in ("name", "tests", "failures", "errors")})
    suites.append(suite)
    ET.indent(suites)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ET.tostring(suites, encoding="unicode")}\n'


def _cases(view: Mapping[str, Any]) -> list[tuple[str, str, list[Entry]]]:
    """Return (code, title, its statements) of every rule; a code that no list of rules has gets a case too."""
    titles = {one_line(rule["code"]): one_line(rule["title"]) for rule in view["rules"]}
    by_code: dict[str, list[Entry]] = {code: [] for code in (*titles, *map(one_line, view["ignored_rules"]))}
    for entry in entries(view):
        by_code.setdefault(entry.code, []).append(entry)
    return [(code, titles.get(code, ""), found) for code, found in by_code.items()]


def _fill(case: ET.Element, found: Sequence[Entry], view: Mapping[str, Any], *, is_ignored: bool) -> None:
    """Write what became of a rule into its case: what counts decides, the rest is told."""
    red = [entry for entry in found if entry.counts]
    others = [entry for entry in found if not entry.counts]
    if red:
        broken = view["verdict"] == "unusable" or red[0].state == "open"
        n_more = f" (and {len(red) - 1} more)" if len(red) > 1 else ""
        said = clipped(red[0].message, _MAX_MESSAGE) + n_more
        _stop(case, "error" if broken else "failure", red[0].level, said, _lines(red))
    elif is_ignored:
        _skip(case, "ignored on request")
    elif others and all(entry.state == "open" for entry in others):
        _skip(case, clipped(others[0].message, _MAX_MESSAGE))
        return
    if others:
        ET.SubElement(case, "system-out").text = clipped(_lines(others), _MAX_BODY)


def _stop(case: ET.Element, kind: str, type_: str, message: str, body: str) -> None:
    ET.SubElement(case, kind, type=type_, message=message).text = clipped(body, _MAX_BODY)


def _skip(case: ET.Element, message: str) -> None:
    ET.SubElement(case, "skipped").text = message


def _lines(found: Sequence[Entry]) -> str:
    lines = []
    for entry in found:
        file = entry.finding.get("file")
        place = f"{one_line(file)}:{entry.finding.get('line') or 1}: " if file else ""
        accepted = f" [accepted by {entry.accepted_by}]" if entry.accepted_by else ""
        lines.append(f"{entry.level}: {place}{entry.message}{accepted}")
        lines += [f"    -> {entry.remedy}"] if entry.remedy else []
    return "\n".join(lines)
