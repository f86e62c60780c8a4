"""A gate result as SARIF 2.1.0, for code scanning.

Choices that the standard leaves open, each for what GitHub takes in:

- Every result is of kind ``fail``, with a level and a place in the repository: GitHub knows no other kind and refuses a
  result without a place. A rule that could not be evaluated is such a result too, an error where the exit code says so,
  else nobody would see it. Under an unusable input such rules are notifications: the cause is the result.
- What a waiver or the baseline accepts has ``suppressions`` with the reason, and the level ``note``: GitHub ignores
  suppressions, and must not turn a pull request red for them.
- GitHub tells alerts apart by rule, file and the text of the line. Results that share all three get a line hash of
  their own, made of the fingerprint; for the others GitHub's own hash stays.
- Of 5,000 results GitHub shows none of the rest, so the worst 5,000 stay and a notification counts the others.

Source: OASIS, Static Analysis Results Interchange Format 2.1.0; GitHub, SARIF support for code scanning.
"""

from __future__ import annotations

import re
from collections import Counter
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from collapse_guard.kernels import one_line
from collapse_guard.report.formats.entries import (
    Entry,
    clipped,
    entries,
    family,
    missing_counts,
    place,
    unread_keys,
)
from collapse_guard.report.formats.json_v1 import json_text
from collapse_guard.rules.page import docs_url

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

#: Results of a run that GitHub keeps.
MAX_RESULTS: Final = 5000
SCHEMA: Final = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
FINGERPRINT: Final = "collapseGuard/v1"
_HOME: Final = "https://pypi.org/project/collapse-guard/"
_MAX_MESSAGE: Final = 4000
_OURS: Final = re.compile(r"CG\d{3}")
_LEVELS: Final = {"error": "error", "warning": "warning", "info": "note"}
_FACTS: Final = (
    "subject",
    "where",
    "measured",
    "limit",
    "unit",
    "n",
    "interval",
    "method",
    "key",
    "severity",
    "status",
)


def sarif(view: dict[str, Any]) -> str:
    """Return the SARIF log: one run with every rule, result and notification."""
    return json_text({"$schema": SCHEMA, "version": "2.1.0", "runs": [_run(view)]}) + "\n"


def _run(view: Mapping[str, Any]) -> dict[str, Any]:
    found = entries(view)
    told = [entry for entry in found if entry.state != "open" or view["verdict"] != "unusable"]
    shown = told[:MAX_RESULTS]
    rules = _rules(view, found)
    places = Counter((entry.code, *place(view, entry)) for entry in shown)
    numbers = {rule["id"]: number for number, rule in enumerate(rules)}
    return {
        "tool": {"driver": _driver(view, rules)},
        "automationDetails": {"id": f"collapse-guard/{quote(_policy_name(view), errors='surrogatepass')}/"},
        "invocations": [_invocation(view, found, len(told) - len(shown))],
        "results": [_result(view, entry, numbers[entry.code], places) for entry in shown],
        "properties": {
            "verdict": view["verdict"],
            "policyDigest": view["policy_digest"],
            "manifestDigest": view["manifest_digest"],
            "parentDigest": view["parent_digest"],
        },
    }


def _policy_name(view: Mapping[str, Any]) -> str:
    name = view["policy"].get("name") if view.get("policy") else None
    return str(name or "policy").replace("/", "-")


def _driver(view: Mapping[str, Any], rules: list[dict[str, Any]]) -> dict[str, Any]:
    tool = view["tool"]
    return {"name": tool["name"], "version": tool["version"], "informationUri": _HOME, "rules": rules}


def _rules(view: Mapping[str, Any], found: Sequence[Entry]) -> list[dict[str, Any]]:
    """Return a descriptor for every rule that was looked at, and for every code that a statement has."""
    shown = {entry.code for entry in found if entry.state != "open"}
    docs = {entry.code: entry.finding.get("docs") for entry in found}
    docs |= {rule["code"]: docs_url(rule["code"]) for rule in view["rules"] if rule["code"] not in docs}
    listed = {one_line(rule["code"]): (one_line(rule["title"]), rule["severity"]) for rule in view["rules"]}
    others = {entry.code: (entry.title, "error") for entry in found if entry.code not in listed}
    return [
        {
            "id": code,
            "name": _pascal(title) or code,
            "shortDescription": {"text": title or code},
            "fullDescription": {"text": f"{code}: {title}." if title else code},
            "defaultConfiguration": {"level": _LEVELS.get(severity, "error")},
            "properties": {"tags": [family(code)]},
        }
        | _help(code, docs.get(code), is_shown=code in shown)
        for code, (title, severity) in (listed | others).items()
    ]


def _help(code: str, url: Any, *, is_shown: bool) -> dict[str, Any]:
    """Return where a rule is explained, if that is a web page, and what stands there for one that has a result."""
    if not isinstance(url, str) or not url.startswith("https://"):
        return {}
    safe = quote(url, safe="/:#?&=%", errors="surrogatepass")
    page = (page_of(code) if is_shown else None) or f"See [the page of this rule]({safe})."
    return {"helpUri": safe, "help": {"text": f"See {safe}", "markdown": page}}


def page_of(code: str) -> str | None:
    """Return the page of a rule of this package as Markdown, None if there is none."""
    page = files("collapse_guard.rules") / "pages" / f"{code}.md"
    return page.read_text("utf-8") if _OURS.fullmatch(code) and page.is_file() else None


def _pascal(title: str) -> str:
    """Return a title as SARIF wants a name, such as ``RealRowsWereLost``."""
    kept = "".join(letter if letter.isalnum() and letter.isascii() else " " for letter in title)
    return "".join(word[:1].upper() + word[1:] for word in kept.split())


def _result(
    view: Mapping[str, Any], entry: Entry, number: int, places: Mapping[tuple[str, str, int], int]
) -> dict[str, Any]:
    file, line = place(view, entry)
    prints = {FINGERPRINT: entry.fingerprint}
    if places[entry.code, file, line] > 1:
        prints["primaryLocationLineHash"] = f"{entry.fingerprint}:1"
    return {
        "ruleId": entry.code,
        "ruleIndex": number,
        "kind": "fail",
        "level": entry.level,
        "message": {"text": _message(entry)},
        "locations": [
            {
                "physicalLocation": {
                    "artifactLocation": {"uri": quote(file, safe="/", errors="surrogatepass")},
                    "region": {"startLine": line},
                }
            }
        ],
        "partialFingerprints": prints,
        "properties": {name: entry.finding[name] for name in _FACTS if entry.finding.get(name) not in (None, "", {})},
    } | _suppressions(entry)


def _message(entry: Entry) -> str:
    accepted = f" [accepted by {entry.accepted_by}]" if entry.accepted_by else ""
    remedy = f". To mend it: {entry.remedy}" if entry.remedy else ""
    return _text(f"{entry.message}{accepted}{remedy}")


def _text(text: str) -> str:
    """Return a text in which SARIF sees no link; a link is ``[text](target)``."""
    return clipped(text, _MAX_MESSAGE).replace("](", "] (")


def _suppressions(entry: Entry) -> dict[str, Any]:
    if entry.state != "accepted":
        return {}
    why = entry.accepted_by or "accepted"
    return {"suppressions": [{"kind": "external", "status": "accepted", "justification": why}]}


def _invocation(view: Mapping[str, Any], found: Sequence[Entry], n_cut: int) -> dict[str, Any]:
    warnings = [f"{n_cut} more results are left out; the JSON result has them all"] if n_cut else []
    if view["unsafe_waivers"]:
        warnings.append("waivers of rules that cannot be waived are allowed (--allow-unsafe-waivers)")
    if not missing_counts(view):
        warnings += [f"{entry.code}: {entry.message}" for entry in found if entry.state == "open"]
    warnings += [f"no check of this version reads the policy key {key}" for key in unread_keys(view)]
    told = [_notification("warning", text) for text in warnings]
    return {
        "executionSuccessful": view["verdict"] != "unusable",
        "exitCode": view["exit_code"],
        "toolExecutionNotifications": told + [_notification("note", one_line(note)) for note in view["notes"]],
    }


def _notification(level: str, text: str) -> dict[str, Any]:
    return {"level": level, "message": {"text": _text(text)}}
