"""Results of the gate as plain views, tame and hostile, for the tests of what draws them."""

from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st

DIGEST = f"sha256:{'1' * 64}"
EXIT_CODES = {"kept": 0, "violated": 1, "unusable": 2, "inconclusive": 3}

#: What data has been seen to be called, or could be.
HOSTILE = (
    "two\nlines\r\nand more",
    "50 % %0A %25",
    "]]> <![CDATA[",
    "::error file=x::gotcha",
    "##vso[task.complete result=Succeeded]",
    "<script>alert(1)</script>",
    "a|b `c` ```d``` \\| *e* _f_",
    "@everyone see #12 and gh-7, https://evil.example, www.evil.example, mailto:a@b.example",
    "[click](https://evil.example) ![x](y) :smile: $x$ &lt; {0}",
    "\u202eright to left\u200b",
    "owl \U0001f989",
    "\x00\x1b[31m\x7f\ufffe",
    "\ud800\udfff",
    "- [ ] item",
    "1. item",
    "",
    " ",
)


def finding(code: str = "CG201", **changes: Any) -> dict[str, Any]:
    return {
        "code": code,
        "severity": "error",
        "message": "2 real rows lost",
        "status": "fail",
        "evidence": {"n_lost_rows": 2, "by": [["web", "owl", 2]]},
        "subject": "web",
        "where": {"source": "web"},
        "measured": 2.0,
        "limit": 0.0,
        "unit": "rows",
        "extent": None,
        "mark": "",
        "n": None,
        "interval": None,
        "method": "",
        "key": "accumulation.allow_loss",
        "remedy": "put them back",
        "accepted_by": "",
        "file": "policies/gen4.yaml",
        "line": 12,
        "fingerprint": "0123456789abcdef",
        "docs": f"https://example.org/rules#{code.lower()}",
    } | changes


def opened(code: str = "CG501", **changes: Any) -> dict[str, Any]:
    said = {"status": "inconclusive", "message": "not evaluated: no parent", "measured": None, "limit": None}
    return finding(
        code, **said, evidence={}, remedy="", file=None, line=None, fingerprint="fedcba9876543210", **changes
    )


def waived(code: str = "CG102", **changes: Any) -> dict[str, Any]:
    return finding(code, status="waived", accepted_by="waiver W-012 until 2026-12-31") | changes


def view(*findings: dict[str, Any], verdict: str = "violated", **changes: Any) -> dict[str, Any]:
    codes = sorted({each["code"] for each in findings} | {"CG001", "CG101"})
    words = {"fail": "failed", "waived": "waived", "baselined": "baselined", "inconclusive": "inconclusive"}
    statuses = {each["code"]: words[each["status"]] for each in findings}
    return {
        "schema": "collapse-guard/result/1",
        "tool": {"name": "collapse-guard", "version": "0.1.0"},
        "verdict": verdict,
        "exit_code": EXIT_CODES[verdict],
        "fail_on": "error",
        "policy": {"name": "web-model-v4", "file": "policies/gen4.yaml", "digest": DIGEST},
        "policy_digest": DIGEST,
        "manifest_file": "manifests/gen4.cgm.json",
        "manifest_digest": DIGEST,
        "parent_digest": None,
        "rules": [
            {"code": code, "title": f"title of {code}", "severity": "error", "status": statuses.get(code, "passed")}
            for code in codes
        ],
        "ignored_rules": [],
        "unenforced_policy_keys": [],
        "notes": [],
        "accumulation": None,
        "findings": list(findings),
        "waivers": [],
        "unsafe_waivers": False,
        "figures": None,
    } | changes


def waiver(**changes: Any) -> dict[str, Any]:
    return {
        "id": "W-012",
        "rule": "CG102",
        "where": {"source": "synth_math"},
        "reason": "curriculum boost, agreed in review 418",
        "owner": "data-team",
        "expires": "2026-12-31",
        "days_left": 35,
        "limit": {"max_share": 0.24},
        "n_findings": 1,
    } | changes


#: How often a law is tried on whole results, and on texts.
tried = settings(max_examples=40, deadline=None, derandomize=True)
tried_often = settings(max_examples=200, deadline=None, derandomize=True)

#: Any text at all, and what is known to hurt.
texts = st.one_of(st.sampled_from(HOSTILE), st.text(max_size=40), st.text(st.characters(), max_size=10))
figures = st.one_of(st.none(), st.floats(allow_nan=False, allow_infinity=False), st.integers(-(2**70), 2**70))


@st.composite
def findings(draw: st.DrawFn) -> dict[str, Any]:
    """Any finding that a rule could make about hostile data."""
    status = draw(st.sampled_from(["fail", "waived", "baselined", "inconclusive"]))
    return finding(
        draw(st.sampled_from(["CG001", "CG102", "CG201", "CG501", "CG904", "XX100"])),
        severity=draw(st.sampled_from(["error", "warning", "info"])),
        status=status,
        message=draw(texts),
        subject=draw(texts),
        where=draw(st.dictionaries(st.sampled_from(["source", "class"]), texts, max_size=2)),
        evidence=draw(st.dictionaries(texts, st.one_of(texts, figures, st.lists(texts, max_size=2)), max_size=3)),
        measured=draw(figures),
        limit=draw(figures),
        unit=draw(texts),
        extent=draw(st.none() | st.integers(0, 10**6)),
        mark=draw(texts),
        remedy=draw(texts),
        accepted_by=draw(texts) if status in {"waived", "baselined"} else "",
        file=draw(
            st.one_of(st.none(), texts, st.sampled_from(["policy.yaml", "/etc/passwd", "..\\x.yaml", "a/b.parquet"]))
        ),
        line=draw(st.one_of(st.none(), st.integers(0, 10**6))),
        fingerprint=draw(st.sampled_from(["0123456789abcdef", "fedcba9876543210"])),
        docs=draw(st.one_of(texts, st.just("https://example.org/x"), st.just("javascript:alert(1)"))),
    )


@st.composite
def hostile_views(draw: st.DrawFn) -> dict[str, Any]:
    """Any result that a gate could give about hostile data."""
    found = draw(st.lists(findings(), max_size=6))
    fields = {
        "fail_on": draw(st.sampled_from(["error", "warning", "never"])),
        "policy": {"name": draw(st.none() | texts), "file": draw(st.none() | texts), "digest": None},
        "manifest_file": draw(st.none() | texts),
        "notes": draw(st.lists(texts, max_size=2)),
        "ignored_rules": draw(st.lists(st.sampled_from(["CG101", "CG999"]), unique=True, max_size=2)),
        "unenforced_policy_keys": draw(st.lists(texts, max_size=2)),
        "waivers": draw(st.lists(st.builds(lambda text: waiver(id=text, reason=text, owner=text), texts), max_size=2)),
        "accumulation": draw(st.none() | st.just({"level": "root", "holds": True, "summary": "kept, of <5>"})),
        "unsafe_waivers": draw(st.booleans()),
    }
    made = view(*found, verdict=draw(st.sampled_from(sorted(EXIT_CODES))), **fields)
    for rule in made["rules"]:
        rule["title"] = draw(texts)
    return made
