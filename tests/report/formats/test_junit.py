"""JUnit: read by another parser, red exactly when the exit code is not 0, and unharmed by the data."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from junitparser import Error, Failure, JUnitXml, Skipped, TestCase

from collapse_guard.report.formats import render
from tests.report.formats.views import HOSTILE, finding, hostile_views, opened, tried, view, waived


def cases(made: dict[str, Any]) -> dict[str, TestCase]:
    (suite,) = JUnitXml.fromstring(render(made, "junit").encode())
    return {case.name.split()[0]: case for case in suite}


def kind(case: TestCase) -> str:
    return ",".join(type(each).__name__ for each in case.result) or "passed"


@tried
@given(hostile_views())
def test_a_dashboard_is_red_exactly_when_the_exit_code_is_not_0(made: dict[str, Any]) -> None:
    document = JUnitXml.fromstring(render(made, "junit").encode())
    (suite,) = document
    found = [each for case in suite for each in case.result]
    n_failures = sum(isinstance(each, Failure) for each in found)
    n_errors = sum(isinstance(each, Error) for each in found)
    assert (document.failures, document.errors, document.tests) == (n_failures, n_errors, len(list(suite)))
    assert suite.skipped == sum(isinstance(each, Skipped) for each in found)
    fails = {"error": {"error"}, "warning": {"error", "warning"}, "never": set[str]()}[made["fail_on"]]
    lies = made["verdict"] == "kept" and any(
        each["status"] == "fail" and each["severity"] in fails for each in made["findings"]
    )
    if not lies:  # no gate calls such a policy kept
        assert bool(n_failures + n_errors) == bool(made["exit_code"])


def test_each_rule_is_a_case_of_its_family() -> None:
    found = cases(view(finding(), finding("XX100")))
    assert {code: case.classname for code, case in found.items()} == {
        "CG001": "collapse_guard.integrity",
        "CG101": "collapse_guard.mix",
        "CG201": "collapse_guard.accumulation",
        "XX100": "collapse_guard.plug-in",
    }
    assert kind(found["CG101"]) == "passed"
    assert found["CG201"].name == "CG201 title of CG201"


@pytest.mark.parametrize(
    ("found", "verdict", "fail_on", "expected"),
    [
        (finding(), "violated", "error", "Failure"),
        (finding(severity="warning"), "kept", "error", "passed"),
        (finding(severity="warning"), "violated", "warning", "Failure"),
        (finding(severity="info"), "kept", "warning", "passed"),
        (finding(), "kept", "never", "passed"),
        (finding(), "unusable", "never", "Error"),
        (waived(), "kept", "error", "passed"),
        (opened(), "inconclusive", "error", "Error"),
        (opened(), "violated", "error", "Error"),
        (opened(), "kept", "error", "Skipped"),
        (opened(), "unusable", "error", "Skipped"),
    ],
)
def test_what_becomes_of_a_rule(found: dict[str, Any], verdict: str, fail_on: str, expected: str) -> None:
    case = cases(view(found, verdict=verdict, fail_on=fail_on))[found["code"]]
    assert kind(case) == expected
    if expected == "passed":
        assert found["message"] in case.system_out


def test_several_findings_of_a_rule_are_one_failure_that_lists_them() -> None:
    made = view(finding(), finding(message="3 more rows lost", severity="warning"), finding(message="and 4"))
    case = cases(made)["CG201"]
    (failure,) = case.result
    assert failure.message == "2 real rows lost (and 1 more)"
    assert failure.text.splitlines() == [
        "error: policies/gen4.yaml:12: 2 real rows lost",
        "    -> put them back",
        "error: policies/gen4.yaml:12: and 4",
        "    -> put them back",
    ]
    assert "3 more rows lost" in case.system_out


def test_ignored_rules_are_skipped_even_if_no_list_has_them() -> None:
    found = cases(view(verdict="kept", ignored_rules=["CG101", "CG777"]))
    assert [kind(found[code]) for code in ("CG001", "CG101", "CG777")] == ["passed", "Skipped", "Skipped"]


def test_a_verdict_that_no_finding_explains_is_red_all_the_same() -> None:
    case = cases(view(verdict="inconclusive"))["verdict"]
    assert kind(case) == "Error"


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_stays_visible(text: str) -> None:
    made = view(finding(message=text, remedy=text, file=text or None))
    made["rules"][0]["title"] = text
    root = ET.fromstring(render(made, "junit").encode())
    (failure,) = root.iter("failure")
    assert failure.attrib["message"].encode().decode("utf-8").isprintable()
    for word in text.split():
        if word.isprintable():
            assert word in failure.attrib["message"]


def test_a_long_message_is_cut_and_says_so() -> None:
    (failure,) = cases(view(finding(message="x" * 5000)))["CG201"].result
    assert failure.message.endswith("... (4000 more characters)")
