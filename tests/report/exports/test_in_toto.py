"""The in-toto export: what is attested, and what a gate result says."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import pytest

from collapse_guard.errors import InputError
from collapse_guard.gate import check
from collapse_guard.manifest.signing.statement import CONTENT_DIGEST, MANIFEST_PREDICATE
from collapse_guard.report.exports import as_in_toto
from collapse_guard.report.exports.in_toto import POLICY_DIGEST, TEST_RESULT

if TYPE_CHECKING:
    from pathlib import Path

    from collapse_guard.manifest import Manifest


def result(manifest: Manifest, **changes: Any) -> dict[str, Any]:
    return {
        "schema": "collapse-guard/result/1",
        "exit_code": 0,
        "policy_digest": f"sha256:{'7' * 64}",
        "manifest_digest": manifest.digest,
        "parent_digest": None,
        "rules": [{"code": code, "title": ""} for code in ("CG101", "CG102", "CG201")],
        "unenforced_policy_keys": [],
        "findings": [],
    } | changes


def finding(code: str, severity: str = "error", status: str = "fail") -> dict[str, str]:
    return {"code": code, "severity": severity, "status": status}


def test_the_subjects_are_the_header_its_content_and_every_part(on_disk: Manifest) -> None:
    assert on_disk.path is not None
    statement = as_in_toto(on_disk)
    assert set(statement) == {"_type", "subject", "predicateType", "predicate"}
    assert statement["_type"] == "https://in-toto.io/Statement/v1"
    header, *parts = statement["subject"]
    assert header["name"] == on_disk.path.name
    assert header["digest"]["sha256"] == hashlib.sha256(on_disk.path.read_bytes()).hexdigest()
    assert f"sha256:{header['digest'][CONTENT_DIGEST]}" == on_disk.digest
    assert len(parts) == 2
    for part in parts:
        data = (on_disk.path.parent / part["name"]).read_bytes()
        assert part["digest"] == {"sha256": hashlib.sha256(data).hexdigest()}


def test_without_a_result_the_predicate_sums_the_manifest_up(on_disk: Manifest) -> None:
    statement = as_in_toto(on_disk)
    assert statement["predicateType"] == MANIFEST_PREDICATE
    assert statement["predicate"]["originRows"] == {"real": 5, "synthetic": 3}
    assert statement["predicate"]["generators"] == ["my model@1"]
    assert statement["predicate"]["parents"] == [{"name": "gen0", "digest": {CONTENT_DIGEST: "3" * 64}}]


@pytest.mark.parametrize(
    ("changes", "verdict", "passed", "warned", "failed"),
    [
        ({}, "PASSED", ["CG101", "CG102", "CG201"], [], []),
        (
            {"findings": [finding("CG101", "warning")]},
            "WARNED",
            ["CG102", "CG201"],
            ["CG101"],
            [],
        ),
        (
            {"exit_code": 1, "findings": [finding("CG101"), finding("CG102", "warning"), finding("CG101", "warning")]},
            "FAILED",
            ["CG201"],
            ["CG102"],
            ["CG101"],
        ),
        (  # --fail-on warning
            {"exit_code": 1, "findings": [finding("CG102", "warning")]},
            "FAILED",
            ["CG101", "CG201"],
            [],
            ["CG102"],
        ),
        (  # --fail-on never: nothing stopped, yet the rule did not pass
            {"findings": [finding("CG101")]},
            "WARNED",
            ["CG102", "CG201"],
            [],
            ["CG101"],
        ),
        (
            {"exit_code": 3, "findings": [finding("CG201", status="inconclusive")], "unenforced_policy_keys": ["a.b"]},
            "FAILED",
            ["CG101", "CG102"],
            [],
            ["CG201", "policy key a.b"],
        ),
        (  # on_missing_evidence: warn
            {"findings": [finding("CG201", status="inconclusive")], "unenforced_policy_keys": ["a.b"]},
            "WARNED",
            ["CG101", "CG102"],
            ["CG201", "policy key a.b"],
            [],
        ),
    ],
)
def test_a_result_becomes_a_test_result(
    on_disk: Manifest, changes: dict[str, Any], verdict: str, passed: list[str], warned: list[str], failed: list[str]
) -> None:
    statement = as_in_toto(on_disk, result(on_disk, **changes))
    assert statement["predicateType"] == TEST_RESULT
    predicate = statement["predicate"]
    assert predicate["result"] == verdict
    assert (predicate["passedTests"], predicate["warnedTests"], predicate["failedTests"]) == (passed, warned, failed)
    assert predicate["configuration"] == [{"name": "policy", "digest": {POLICY_DIGEST: "7" * 64}}]


def test_the_parent_is_part_of_the_configuration(on_disk: Manifest) -> None:
    given = result(on_disk, parent_digest=f"sha256:{'8' * 64}")
    configuration = as_in_toto(on_disk, given)["predicate"]["configuration"]
    assert configuration[1] == {"name": "parent manifest", "digest": {CONTENT_DIGEST: "8" * 64}}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"manifest_digest": f"sha256:{'9' * 64}"}, "about the manifest sha256:999"),
        ({"schema": "collapse-guard/result/0"}, "schema 'collapse-guard/result/0'"),
        ({"exit_code": 2}, "nothing was tested"),
    ],
)
def test_a_result_about_something_else_is_refused(on_disk: Manifest, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        as_in_toto(on_disk, result(on_disk, **changes))


def test_a_result_that_was_cut_is_refused(on_disk: Manifest) -> None:
    given = result(on_disk)
    del given["findings"]
    with pytest.raises(InputError, match="lacks findings"):
        as_in_toto(on_disk, given)


def test_what_the_gate_returns_is_understood(on_disk: Manifest, tmp_path: Path) -> None:
    assert on_disk.path is not None
    policy = tmp_path / "policy.yaml"
    policy.write_text("version: 1\nmix: {real_min_share: 0.9}\naccumulation: {mode: 'off'}\n")
    found = check(policy, on_disk.path)
    assert found.exit_code == 1
    predicate = as_in_toto(on_disk, found.as_dict())["predicate"]
    assert predicate["result"] == "FAILED"
    assert "CG101" in predicate["failedTests"]
    assert set(predicate["passedTests"]) | set(predicate["failedTests"]) | set(predicate["warnedTests"]) >= set(
        found.codes
    )
