"""GitLab code quality: the documented fields, unique fingerprints, places inside the repository."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from jsonschema import Draft202012Validator

from collapse_guard.report.formats import render
from tests.report.formats.views import finding, hostile_views, opened, tried, view, waived

#: What GitLab's documentation asks of a report.
CONTRACT = Draft202012Validator(
    {
        "type": "array",
        "items": {
            "type": "object",
            "required": ["description", "check_name", "fingerprint", "severity", "location"],
            "properties": {
                "description": {"type": "string", "minLength": 1},
                "check_name": {"type": "string", "minLength": 1},
                "fingerprint": {"type": "string", "minLength": 1},
                "severity": {"enum": ["info", "minor", "major", "critical", "blocker"]},
                "location": {
                    "type": "object",
                    "required": ["path", "lines"],
                    "properties": {
                        "path": {"type": "string", "minLength": 1, "not": {"pattern": "^(\\./|/|[A-Za-z]:)"}},
                        "lines": {
                            "type": "object",
                            "required": ["begin"],
                            "properties": {"begin": {"type": "integer", "minimum": 1}},
                        },
                    },
                },
            },
        },
    }
)


def issues(made: dict[str, Any]) -> list[dict[str, Any]]:
    found = json.loads(render(made, "gitlab").encode())
    CONTRACT.validate(found)
    assert isinstance(found, list)
    return found


@tried
@given(hostile_views())
def test_every_report_keeps_the_contract(made: dict[str, Any]) -> None:
    found = issues(made)
    assert len(found) == len(made["findings"])
    assert len({issue["fingerprint"] for issue in found}) == len(found)


def test_an_issue_says_what_and_where() -> None:
    (issue,) = issues(view(finding()))
    assert issue == {
        "check_name": "CG201",
        "description": "CG201 2 real rows lost; put them back",
        "fingerprint": "0123456789abcdef",
        "location": {"lines": {"begin": 12}, "path": "policies/gen4.yaml"},
        "severity": "critical",
    }


@pytest.mark.parametrize(
    ("found", "verdict", "severity"),
    [
        (finding(severity="warning"), "kept", "minor"),
        (finding(severity="info"), "kept", "info"),
        (finding("CG003"), "unusable", "blocker"),
        (opened(), "unusable", "info"),
        (opened(), "inconclusive", "critical"),
        (opened(), "kept", "minor"),
        (waived(), "kept", "info"),
    ],
)
def test_the_severity_is_how_loud_it_is(found: dict[str, Any], verdict: str, severity: str) -> None:
    (issue,) = issues(view(found, verdict=verdict))
    assert issue["severity"] == severity


def test_an_accepted_finding_says_by_what() -> None:
    (issue,) = issues(view(waived(), verdict="kept"))
    assert "accepted by waiver W-012 until 2026-12-31" in issue["description"]


def test_fingerprints_of_equal_findings_are_the_same_in_every_run() -> None:
    made = view(finding(), finding(message="another"), finding(message="a third"))
    first, second = issues(made), issues(made)
    assert first == second
    assert first[0]["fingerprint"] == "0123456789abcdef"
