"""Manifest -> in-toto Statement v1: what is attested is the header, its content and its parts; nothing is signed here.

With the result of a gate the predicate is in-toto's ``test-result``, else a summary of the manifest of our own. Sign
with what signs your other artefacts (a DSSE envelope around these bytes); ``collapse-guard manifest sign`` signs the
header alone. Sources: the in-toto attestation framework,
https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md and .../spec/predicates/test-result.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from collapse_guard.errors import InputError
from collapse_guard.manifest.signing.statement import (
    MANIFEST_PREDICATE,
    STATEMENT,
    manifest_subject,
    parent_entry,
    summary,
)
from collapse_guard.report.exports.files import hex_digest, part_entries, path_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from collapse_guard.manifest import Manifest

TEST_RESULT: Final = "https://in-toto.io/attestation/test-result/v0.1"
#: Name of a digest that is not over the bytes of a file, as ``gitCommit`` is not.
POLICY_DIGEST: Final = "collapseGuardPolicy"

_RESULT_SCHEMA: Final = "collapse-guard/result/1"
_KEPT, _VIOLATED, _INCONCLUSIVE = 0, 1, 3


def as_in_toto(manifest: Manifest, result: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the statement about a manifest on disk.

    Args:
        manifest: what is attested; the header's bytes, its content digest and every index part are subjects.
        result: what ``collapse-guard check --output-format json`` printed about this manifest.

    Raises InputError for a result of another schema or manifest, ManifestError for a manifest that is not on disk.
    """
    path = path_of(manifest)
    subjects = [manifest_subject(manifest.header, hex_digest(path, "sha256"), name=path.name)]
    subjects += [{"name": part.name, "digest": {"sha256": part.sha256}} for part in part_entries(manifest)]
    return {
        "_type": STATEMENT,
        "subject": subjects,
        "predicateType": MANIFEST_PREDICATE if result is None else TEST_RESULT,
        "predicate": summary(manifest.header) if result is None else _test_result(manifest, result),
    }


def _test_result(manifest: Manifest, result: Mapping[str, Any]) -> dict[str, Any]:
    """Return the predicate of a gate result: inconclusive is never a pass, so it counts as failed."""
    _check_result(manifest, result)
    exit_code = result["exit_code"]
    codes = [str(rule["code"]) for rule in result["rules"]]
    failed, warned = _outcomes(result)
    loud = sorted({*failed, *(f"policy key {key}" for key in result["unenforced_policy_keys"])})
    if exit_code == _VIOLATED and not failed:  # the gate was told that warnings fail
        loud, warned = sorted({*loud, *warned}), set()
    if exit_code == _KEPT:
        loud, warned = sorted(failed), warned | ({*loud} - failed)
    verdict = "FAILED" if exit_code != _KEPT else "WARNED" if loud or warned else "PASSED"
    return {
        "result": verdict,
        "configuration": _configuration(result),
        "passedTests": [code for code in codes if code not in {*loud, *warned}],
        "warnedTests": sorted(warned - {*loud}),
        "failedTests": loud,
    }


def _check_result(manifest: Manifest, result: Mapping[str, Any]) -> None:
    schema = result.get("schema")
    if schema != _RESULT_SCHEMA:
        text = f"the result has the schema {schema!r}, expected {_RESULT_SCHEMA!r}; pass what 'check' wrote as JSON"
        raise InputError(text)
    about = result.get("manifest_digest")
    if about != manifest.digest:
        text = f"the result is about the manifest {about}, this one is {manifest.digest}; run 'check' on it again"
        raise InputError(text)
    if result.get("exit_code") not in {_KEPT, _VIOLATED, _INCONCLUSIVE}:
        text = f"the result has exit code {result.get('exit_code')}: nothing was tested; mend its input, then export it"
        raise InputError(text)
    missing = [key for key in ("rules", "findings", "unenforced_policy_keys", "policy_digest") if key not in result]
    if missing:
        raise InputError(f"the result lacks {', '.join(missing)}; pass what 'check' wrote as JSON, whole")


def _outcomes(result: Mapping[str, Any]) -> tuple[set[str], set[str]]:
    """Return codes that failed or could not be evaluated where that counts, and codes that only warn."""
    failed: set[str] = set()
    warned: set[str] = set()
    for finding in result["findings"]:
        is_open = finding["status"] == "inconclusive"
        is_loud = result["exit_code"] == _INCONCLUSIVE if is_open else finding["severity"] == "error"
        (failed if is_loud else warned).add(str(finding["code"]))
    return failed, warned


def _configuration(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return what the gate was run with: the policy, and the parent if there was one."""
    policy = str(result["policy_digest"] or "").removeprefix("sha256:")
    found = [{"name": "policy", "digest": {POLICY_DIGEST: policy}}]
    if result.get("parent_digest"):
        found.append(parent_entry("parent manifest", str(result["parent_digest"])))
    return found
