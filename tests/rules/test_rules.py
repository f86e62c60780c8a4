"""Every rule: what trips it, what passes it, and what leaves it open."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest

from collapse_guard.errors import PolicyError, Problem
from collapse_guard.manifest import FilterReceipt, Level, Manifest, ParentLink, Shard, Takedowns
from collapse_guard.manifest.header import CellReceipt
from collapse_guard.manifest.measurement import Measurement
from collapse_guard.manifest.takedowns import Takedown, digest_of
from collapse_guard.policy import Policy, policy_from_mapping
from collapse_guard.records import UNKNOWN_GENERATION, Evidence, Finding, Origin, Severity, Status
from collapse_guard.rules import RULES, Subject, evaluate
from collapse_guard.rules.governance import Governance
from collapse_guard.rules.waivers import uses_of

Make = Callable[..., Manifest]
Entries = list[dict[str, Any]]
PINNED = f"sha256:{'0' * 64}"
ODD_NAMES = ["'; DROP TABLE x; --", "\U0001f408", "two\nlines", "", 'a "quoted" name']


def policy(**sections: Any) -> Policy:
    return policy_from_mapping({"version": 1, **sections})


def real(n_rows: int, *, first: int = 0, **tags: Any) -> Entries:
    return [{"id": first + n} | tags for n in range(n_rows)]


def made(n_rows: int, *, first: int = 1000, **tags: Any) -> Entries:
    own = {"source": "made", "origin": int(Origin.SYNTHETIC), "generation": 1, "generator": "m@1", "evidence": 7}
    return [{"id": first + n} | own | tags for n in range(n_rows)]


def findings(subject: Subject, code: str) -> list[Finding]:
    return RULES.get(code)(subject)


def of(rules: Policy, manifest: Manifest, previous: Manifest | None = None, **more: Any) -> Subject:
    return Subject(rules, manifest, previous, **more)


def problem(code: str) -> Subject:
    return Subject(problems=(Problem(code, "a.yaml", 3, "mixx", "unknown key", "did you mean 'mix'?"),))


def generations(
    make: Make, before: Entries, after: Entries, *, taken: Takedowns | None = None, **sections: Any
) -> Subject:
    parent = make(before)
    return of(policy(**sections), make(after, parent=parent), parent, takedowns=taken)


def takedowns(*numbers: int, reason: str = "erasure 118") -> Takedowns:
    ids = [hashlib.sha256(str(number).encode()).digest()[:16] for number in numbers]
    records = [Takedown(digest_of(bytes(16), each), reason, dt.date(2026, 3, 31)) for each in ids]
    return Takedowns(bytes(16), tuple(records))


def waived(make: Make, *, today: str = "2026-06-01", unenforced: tuple[str, ...] = (), **changes: Any) -> Subject:
    """Return a subject whose one finding, a source above its cap, has a waiver until the end of 2026."""
    whole = {"id": "W-1", "rule": "CG102", "reason": "agreed", "owner": "data", "expires": "2026-12-31"}
    rules = policy(
        sources={"made": {"max_share": 0.2}, "web": {}}, waivers=[whole | {"limit": {"max_share": 0.5}} | changes]
    )
    subject = of(rules, make(real(7) + made(3)))
    uses = uses_of(rules.waivers, findings(subject, "CG102"), dt.date.fromisoformat(today))
    governance = Governance(uses, evaluated=frozenset(RULES.names()), unenforced=unenforced)
    return replace(subject, governance=governance)


def tampered(manifest: Manifest) -> Manifest:
    return Manifest(manifest.header.model_copy(update={"root_digest": PINNED}), None, manifest.shards)


def told_as(told: Manifest, actual: Manifest) -> Manifest:
    """Return the rows of ``actual`` under the header, and the shard entries, of ``told``."""
    pairs = zip(told.shards, actual.shards, strict=True)
    return Manifest(told.header, None, tuple(Shard(said.entry, found.table) for said, found in pairs))


def receipt(cells: dict[str, tuple[int, int]], *, source: str = "made, generation 1", **more: str) -> FilterReceipt:
    """Return the receipt of a filter: rows before and after, by cell."""
    said = {"filter": "keep_best_within_cells", "spec_id": PINNED} | more
    counted = tuple(CellReceipt(cell=cell, rows=rows, kept_rows=kept) for cell, (rows, kept) in cells.items())
    return FilterReceipt(source=source, cells=counted, **said)


def filtered(make: Make, filters: dict[str, Any], *receipts: FilterReceipt, n_made: int = 3) -> Subject:
    return of(policy(filters=filters, coverage={}), make(real(3) + made(n_made), filters=receipts))


def estimate(name: str, value: float, low: float, high: float, **more: Any) -> dict[str, Any]:
    return {"name": name, "value": value, "interval": (low, high), "n": 1000, "level": 0.95, "method": "by hand"} | more


def measured(make: Make, limits: dict[str, Any], *figures: dict[str, Any], detector: bool = False) -> Subject:
    """Return a subject with one measurement of its manifest."""
    manifest, rates = make(real(3) + made(3)), {"false_positive_rate": 0.02, "false_negative_rate": 0.1}
    tried = {"name": "d 1", "n_real_rows": 500, "n_synthetic_rows": 500} | rates
    said = {"manifest": manifest.digest, "made_by": "audit 1.0", "created": "2026-11-26"}
    named = {"figures": figures} | ({"detector": tried} if detector else {})
    return of(policy(measurements=limits), manifest, measurements=(Measurement.model_validate(said | named),))


@dataclass(frozen=True)
class Case:
    """A subject that trips a rule, and one that differs as little as possible and passes it."""

    trips: Callable[[Make], Subject]
    passes: Callable[[Make], Subject]


QUALITY = {"score": "cg_score", "keep_share": 0.5}
BEFORE = {"value": 100, "interval": (98, 102), "n": 1000, "level": 0.95}
OWLS = real(4, first=50, label="owl")


def audit(*shares: float) -> list[dict[str, Any]]:
    years = enumerate(shares, start=2024)
    return [estimate("synthetic_share", p, p - 0.01, p + 0.01, at=f"{year}-07-01") for year, p in years]


CASES: dict[str, Case] = {
    "CG001": Case(lambda make: problem("CG001"), lambda make: problem("CG002")),
    "CG002": Case(lambda make: problem("CG002"), lambda make: problem("CG001")),
    "CG003": Case(lambda make: problem("CG003"), lambda make: problem("CG001")),
    "CG004": Case(
        lambda make: of(policy(), tampered(make(real(3)))),
        lambda make: of(policy(), make(real(3))),
    ),
    "CG005": Case(
        lambda make: of(policy(), make([*real(3), {"id": 0}])),
        lambda make: of(policy(), make([*real(3), {"id": 0, "source": "books"}])),
    ),
    "CG007": Case(
        lambda make: of(policy(), make(real(3, amount=0.0))),
        lambda make: of(policy(), make([*real(3, amount=0.0), {"id": 9}])),
    ),
    "CG101": Case(
        lambda make: of(policy(mix={"real_min_share": 0.5}), make(real(4) + made(5))),
        lambda make: of(policy(mix={"real_min_share": 0.5}), make(real(5) + made(5))),
    ),
    "CG102": Case(
        lambda make: of(policy(sources={"made": {"max_share": 0.2}, "web": {}}), make(real(7) + made(3))),
        lambda make: of(policy(sources={"made": {"max_share": 0.3}, "web": {}}), make(real(7) + made(3))),
    ),
    "CG103": Case(
        lambda make: of(policy(mix={"synthetic_to_real_max": 0.5}), make(real(4) + made(3))),
        lambda make: of(policy(mix={"synthetic_to_real_max": 0.5}), make(real(4) + made(2))),
    ),
    "CG104": Case(
        lambda make: generations(make, real(10), real(10) + made(1), mix={"drift": {"warn": 0.09, "error": 0.1}}),
        lambda make: generations(make, real(10), real(11) + made(1), mix={"drift": {"warn": 0.09, "error": 0.1}}),
    ),
    "CG105": Case(
        lambda make: of(policy(sources={"made": {"origin": "real"}}), make(real(2) + made(2))),
        lambda make: of(policy(sources={"made": {"origin": "synthetic", "generator": "m@1"}}), make(made(2))),
    ),
    "CG106": Case(
        lambda make: of(policy(mix={"per_generator_max_share": 0.2}), make(real(7) + made(3))),
        lambda make: of(policy(mix={"per_generator_max_share": 0.2}), make(real(8) + made(2))),
    ),
    "CG107": Case(
        lambda make: of(policy(mix={"real_min_share": 0.5}), make(real(4) + real(2, first=50, amount=0.0) + made(5))),
        lambda make: of(policy(mix={"real_min_share": 0.5}), make(real(4) + real(2, first=50, amount=0.5) + made(5))),
    ),
    "CG108": Case(
        lambda make: of(
            policy(mix={"per_generation_max_share": [1.0, 0.2]}),
            make(real(5) + made(2) + made(3, first=50, generation=2)),
        ),
        lambda make: of(
            policy(mix={"per_generation_max_share": [1.0, 0.2]}),
            make(real(5) + made(3) + made(2, first=50, generation=2)),
        ),
    ),
    "CG109": Case(
        lambda make: of(
            policy(mix={"per_class_max_synthetic_share": 0.5}, coverage={}),
            make(real(9) + real(1, first=50, label="owl") + made(2, label="owl")),
        ),
        lambda make: of(
            policy(mix={"per_class_max_synthetic_share": 0.5}, coverage={}),
            make(real(9) + real(1, first=50, label="owl") + made(1, label="owl")),
        ),
    ),
    "CG110": Case(
        lambda make: of(policy(mix={"budget": {"amount": 5}}, coverage={}), make(real(6))),
        lambda make: of(policy(mix={"budget": {"amount": 5}}, coverage={}), make(real(5))),
    ),
    "CG201": Case(
        lambda make: generations(make, real(5), real(4)),
        lambda make: generations(make, real(5), real(6)),
    ),
    "CG202": Case(
        lambda make: generations(make, real(5), real(3) + made(2)),
        lambda make: generations(make, real(5), real(3) + made(4)),
    ),
    "CG203": Case(
        lambda make: generations(make, real(5), [*real(4), {"id": 4, "label": "dog"}]),
        lambda make: generations(make, real(5), [*real(5), {"id": 4, "label": "dog"}]),
    ),
    "CG204": Case(
        lambda make: of(policy(), make(real(3), parent=make(real(3))), make(real(2))),
        lambda make: generations(make, real(3), real(3)),
    ),
    "CG205": Case(
        lambda make: generations(make, real(5), real(5) + made(2), accumulation={"grow_within": 1}),
        lambda make: generations(make, real(5), real(6) + made(2), accumulation={"grow_within": 1}),
    ),
    "CG206": Case(
        lambda make: of(
            policy(accumulation={"require_weight_above": 0.0}), make(real(3) + real(2, first=50, amount=0.0))
        ),
        lambda make: of(policy(accumulation={"require_weight_above": 0.0}), make(real(3) + made(2, amount=0.0))),
    ),
    "CG207": Case(
        lambda make: generations(make, real(5), real(4), taken=takedowns(4)),
        lambda make: generations(make, real(5), real(4), taken=takedowns(5)),
    ),
    "CG208": Case(
        lambda make: of(policy(), make(real(3)), takedowns=takedowns(2)),
        lambda make: of(policy(), make(real(3)), takedowns=takedowns(3)),
    ),
    "CG301": Case(
        lambda make: of(policy(), make(real(3, origin=int(Origin.UNKNOWN)))),
        lambda make: of(policy(sources={"web": {"origin": "unknown"}}), make(real(3, origin=int(Origin.UNKNOWN)))),
    ),
    "CG302": Case(
        lambda make: of(policy(), make(made(3, generator=None))),
        lambda make: of(policy(), make(made(3))),
    ),
    "CG303": Case(
        lambda make: of(policy(provenance={"max_generation_depth": 2}), make(made(3, generation=3))),
        lambda make: of(policy(provenance={"max_generation_depth": 2}), make(made(3, generation=2))),
    ),
    "CG304": Case(
        lambda make: of(policy(), make(real(3) + made(2, generation=0))),
        lambda make: of(policy(), make(real(3) + made(2, generation=1))),
    ),
    "CG305": Case(
        lambda make: of(policy(provenance={"forbid_reentry_of": ["m"]}), make(real(3) + made(2))),
        lambda make: of(policy(provenance={"forbid_reentry_of": ["m@2", "own"]}), make(real(3) + made(2))),
    ),
    "CG306": Case(
        lambda make: of(policy(provenance={"max_unknown_share": 0.2}), make(real(7) + real(3, first=50, origin=0))),
        lambda make: of(policy(provenance={"max_unknown_share": 0.3}), make(real(7) + real(3, first=50, origin=0))),
    ),
    "CG309": Case(
        lambda make: of(policy(), make(real(3) + made(2, first=2))),
        lambda make: of(policy(), make(real(3) + made(2, first=3))),
    ),
    "CG901": Case(
        lambda make: waived(make, today="2027-01-01"),
        lambda make: waived(make, today="2026-12-31"),
    ),
    "CG902": Case(
        lambda make: waived(make, where={"source": "web"}),
        lambda make: waived(make, where={"source": "made"}),
    ),
    "CG903": Case(
        lambda make: waived(make, limit={"max_rows": 5}),
        waived,
    ),
    "CG904": Case(
        lambda make: waived(make, today="2026-12-17"),
        lambda make: waived(make, today="2026-12-16"),
    ),
    "CG905": Case(
        lambda make: waived(make, unenforced=("provenance.near_duplicate",)),
        waived,
    ),
    "CG006": Case(
        lambda make: measured(make, {"max_underived_id_share": 0.01}, estimate("underived_id_share", 0.05, 0.04, 0.07)),
        lambda make: measured(make, {"max_underived_id_share": 0.05}, estimate("underived_id_share", 0.05, 0.04, 0.07)),
    ),
    "CG307": Case(
        lambda make: measured(
            make,
            {"max_flagged_real_share": 0.05},
            estimate("flagged_real_share", 0.12, 0.1, 0.14),
            detector=True,
        ),
        lambda make: measured(
            make,
            {"max_flagged_real_share": 0.05},
            estimate("flagged_real_share", 0.03, 0.02, 0.05),
            detector=True,
        ),
    ),
    "CG401": Case(
        lambda make: filtered(make, {}, receipt({"cat": (9, 4), "owl": (2, 0)})),
        lambda make: filtered(make, {}, receipt({"cat": (9, 4), "owl": (2, 1)})),
    ),
    "CG402": Case(
        lambda make: filtered(make, {"tail": {}}, receipt({"cat": (4000, 3000), "owl": (100, 50)})),
        lambda make: filtered(make, {"tail": {}}, receipt({"cat": (4000, 3000), "owl": (100, 70)})),
    ),
    "CG403": Case(
        lambda make: filtered(
            make,
            {"max_real_removal_ratio": 1},
            receipt({"cat": (400, 100)}, source="web"),
            receipt({"cat": (400, 300)}),
        ),
        lambda make: filtered(
            make,
            {"max_real_removal_ratio": 1},
            receipt({"cat": (400, 300)}, source="web"),
            receipt({"cat": (400, 300)}),
        ),
    ),
    "CG404": Case(
        lambda make: filtered(make, {"require_reason": True}, receipt({"cat": (9, 2)})),
        lambda make: filtered(make, {"require_reason": True}, receipt({"cat": (9, 3)})),
    ),
    "CG405": Case(
        lambda make: filtered(make, {"quality": QUALITY}, receipt({"cat": (100, 40)})),
        lambda make: filtered(make, {"quality": QUALITY}, receipt({"cat": (100, 45)})),
    ),
    "CG502": Case(
        lambda make: measured(make, {"max_diversity_drop": 0.1}, estimate("hill_1", 70, 68, 72, before=BEFORE)),
        lambda make: measured(make, {"max_diversity_drop": 0.1}, estimate("hill_1", 95, 93, 97, before=BEFORE)),
    ),
    "CG503": Case(
        lambda make: generations(
            make, real(4) + OWLS, real(4) + OWLS + made(12), coverage={"max_entropy_drop_nats": 0.1}
        ),
        lambda make: generations(
            make, real(4) + OWLS, real(4) + OWLS + made(1), coverage={"max_entropy_drop_nats": 0.1}
        ),
    ),
    "CG504": Case(
        lambda make: measured(
            make, {"max_near_duplicate_share": 0.1}, estimate("near_duplicate_share", 0.15, 0.12, 0.18)
        ),
        lambda make: measured(
            make, {"max_near_duplicate_share": 0.1}, estimate("near_duplicate_share", 0.09, 0.07, 0.12)
        ),
    ),
    "CG505": Case(
        lambda make: measured(
            make,
            {"min_variance_ratio": 0.5},
            estimate("within_class_variance_ratio", 0.3, 0.2, 0.4, **{"class": "owl"}),
        ),
        lambda make: measured(
            make,
            {"min_variance_ratio": 0.5},
            estimate("within_class_variance_ratio", 0.7, 0.4, 0.9, **{"class": "owl"}),
        ),
    ),
    "CG601": Case(
        lambda make: measured(make, {"max_synthetic_rise_per_year": 0.05}, *audit(0.02, 0.1, 0.2)),
        lambda make: measured(make, {"max_synthetic_rise_per_year": 0.2}, *audit(0.02, 0.1, 0.2)),
    ),
    "CG602": Case(
        lambda make: measured(make, {"max_half_width": 0.01}, estimate("near_duplicate_share", 0.1, 0.08, 0.12)),
        lambda make: measured(make, {"max_half_width": 0.02}, estimate("near_duplicate_share", 0.1, 0.08, 0.12)),
    ),
    "CG501": Case(
        lambda make: generations(make, [*real(3), {"id": 9, "label": "owl"}], real(3), coverage={}),
        lambda make: generations(
            make, [*real(3), {"id": 9, "label": "owl"}], made(1, label="owl") + real(3), coverage={}
        ),
    ),
}


@pytest.mark.parametrize("code", sorted(CASES))
def test_a_finding_does_not_depend_on_what_verification_has_counted(make: Make, code: str) -> None:
    for case in (CASES[code].trips, CASES[code].passes):
        fresh, verified = case(make), case(make)
        for manifest in (verified.manifest, verified.previous, verified.reference):
            if manifest is not None:
                manifest.verify()
        assert findings(verified, code) == findings(fresh, code)


def test_every_registered_rule_has_a_case() -> None:
    assert {code for code, _ in RULES.items()} == set(CASES)


@pytest.mark.parametrize("code", sorted(CASES))
def test_a_rule_is_tripped_by_its_case(make: Make, code: str) -> None:
    found = findings(CASES[code].trips(make), code)
    assert found
    for finding in found:
        asked = Status.INCONCLUSIVE if code == "CG905" else Status.FAIL
        assert (finding.code, finding.status, finding.severity) == (code, asked, RULES.get(code).severity)
        assert finding.message
        assert finding.subject
        assert finding.remedy
        json.dumps(finding.as_dict(), allow_nan=False)


@pytest.mark.parametrize("code", sorted(CASES))
def test_a_rule_is_passed_by_its_case(make: Make, code: str) -> None:
    assert findings(CASES[code].passes(make), code) == []


@pytest.mark.parametrize("code", sorted(CASES))
def test_a_rule_gives_the_same_findings_again(make: Make, code: str) -> None:
    assert findings(CASES[code].trips(make), code) == findings(CASES[code].trips(make), code)


@pytest.mark.parametrize("code", sorted(code for code in CASES if code >= "CG004"))
@pytest.mark.parametrize("severity", ["error", "warning", "info"])
def test_the_policy_sets_the_severity_of_a_rule(make: Make, code: str, severity: str) -> None:
    subject = CASES[code].trips(make)
    assert subject.policy is not None
    asked = subject.policy.model_copy(update={"severity": {code: severity}})
    found = RULES.get(code)(replace(subject, policy=asked))
    assert {finding.severity for finding in found} == {Severity(severity)}


@pytest.mark.parametrize("code", sorted(code for code, rule in RULES.items() if rule.needs))
def test_a_rule_without_what_it_needs_is_inconclusive_and_never_a_pass(code: str) -> None:
    for subject in (Subject(), Subject(policy())):
        (finding,) = findings(subject, code)
        assert finding.status is Status.INCONCLUSIVE
        assert finding.message == (
            "not evaluated: the policy could not be read"
            if subject.policy is None and "policy" in RULES.get(code).needs
            else "not evaluated: the manifest could not be read"
        )


def test_rules_that_read_rows_are_inconclusive_when_the_index_is_unreadable(make: Make) -> None:
    cut = Problem("CG004", "m.parquet", None, "", "it was cut")
    subject = Subject(policy(), make(real(3)), problems=(cut,))
    for code, rule in RULES.items():
        if "index" in rule.needs:
            assert [finding.status for finding in findings(subject, code)] == [Status.INCONCLUSIVE], code


COUNTED = {"CG101", "CG102", "CG103", "CG106", "CG107", "CG108", "CG109", "CG110", "CG206", "CG306"}


def test_rules_that_count_rows_are_inconclusive_when_the_policy_counts_tokens(make: Make) -> None:
    subject = of(policy(unit="tokens"), make(made(3)))
    counted = {code for code, rule in RULES.items() if "unit" in rule.needs}
    assert counted == COUNTED
    for code in counted:
        (finding,) = findings(subject, code)
        assert finding.status is Status.INCONCLUSIVE
        assert finding.message == "not evaluated: the policy counts tokens, the manifest counts rows"


def test_rules_that_compare_are_inconclusive_when_the_recorded_parent_is_not_given(make: Make) -> None:
    subject = of(policy(coverage={}), make(real(3), parent=make(real(3))))
    for code in ("CG201", "CG202", "CG501"):
        (finding,) = findings(subject, code)
        assert finding.status is Status.INCONCLUSIVE
        assert "pass --against PREVIOUS" in finding.message


def test_an_evaluation_names_every_rule_and_sorts_failed_from_open(make: Make) -> None:
    result = evaluate(
        of(policy(unit="tokens", severity={"CG302": "info"}), make([*made(3, generator=None), {"id": 1}]))
    )
    assert result.codes == tuple(sorted(CASES))
    assert {finding.code for finding in result.inconclusive} == COUNTED
    assert result.failed == ()
    assert {finding.code for finding in result.findings} == {*COUNTED, "CG302"}


def test_a_healthy_chain_has_no_finding(make: Make) -> None:
    rules = policy(extends="preset:starter@1", sources={"web": {"origin": "real", "min_share": 0.5}, "made": {}})
    parent = make(real(10) + made(5))
    child = make(real(12) + made(6, first=2000, generation=2), parent=parent)
    assert evaluate(of(rules, child, parent)).findings == ()


# CG0xx


def test_a_problem_becomes_a_finding_with_its_place() -> None:
    (finding,) = findings(problem("CG001"), "CG001")
    assert (finding.file, finding.line, finding.message) == ("a.yaml", 3, "mixx: unknown key")
    assert finding.remedy == "did you mean 'mix'?"


def test_a_changed_row_is_found_by_content_histogram_shard_and_root(make: Make) -> None:
    told, actual = make(real(4)), make([*real(3), {"id": 77, "label": "dog"}])
    found = {finding.subject: finding for finding in findings(of(policy(), told_as(told, actual)), "CG004")}
    assert found.keys() >= {"shard web#0 digest", "shard web#0 real_digest", "class histogram", "root", "real root"}
    assert found["shard web#0 digest"].evidence["expected"] == told.header.shards[0].digest
    assert found["shard web#0 digest"].evidence["recomputed"] == actual.header.shards[0].digest


def test_a_parent_whose_rows_were_taken_out_of_its_index_is_never_a_pass(make: Make) -> None:
    parent = make(real(10))
    child = make(real(4), parent=parent)
    assert evaluate(of(policy(), child, parent)).failed
    assert evaluate(of(policy(), child, told_as(parent, child))).findings


def test_a_reference_whose_rows_were_taken_out_of_its_index_is_never_a_pass(make: Make) -> None:
    anchor = make([*real(5), {"id": 9, "label": "owl"}])
    child = make(real(5))
    rules = policy(coverage={"reference": "anchor.cgm.json"})
    assert evaluate(of(rules, child, reference=anchor)).failed
    assert evaluate(of(rules, child, reference=told_as(anchor, child))).findings


def test_duplicate_ids_are_counted_by_source_with_at_most_ten_of_them(make: Make) -> None:
    (finding,) = findings(of(policy(), make(real(15) + real(15) + real(1))), "CG005")
    assert (finding.evidence["n_ids"], finding.evidence["n_extra_rows"]) == (15, 16)
    assert len(set(finding.evidence["ids"])) == 10
    assert finding.evidence["ids"] == sorted(finding.evidence["ids"])


def test_duplicate_ids_that_disagree_are_counted_apart_and_shown_first(make: Make) -> None:
    rows = [*real(12), *real(12), {"id": 5, "label": "dog"}, {"id": 7, "origin": 2}, {"id": 9, "label": None}]
    (finding,) = findings(of(policy(), make(rows)), "CG005")
    assert (finding.evidence["n_ids"], finding.evidence["n_differing_ids"]) == (12, 3)
    differing = sorted(hashlib.sha256(str(n).encode()).hexdigest()[:32] for n in (5, 7, 9))
    assert finding.evidence["ids"][:3] == differing
    assert "; 3 of them with other classes or origins; ids " in finding.message
    (alike,) = findings(of(policy(), make(real(3) + real(3))), "CG005")
    assert alike.evidence["n_differing_ids"] == 0
    assert "other classes" not in alike.message


def test_rows_without_a_class_are_alike(make: Make) -> None:
    (finding,) = findings(of(policy(), make(real(3, label=None) + real(3, label=None))), "CG005")
    assert (finding.evidence["n_ids"], finding.evidence["n_differing_ids"]) == (3, 0)


# CG1xx


@pytest.mark.parametrize(("n_real", "n_made", "floor"), [(1, 9, 0.5), (3, 10, 0.7), (7, 20, 0.95), (2, 5, 0.3)])
def test_the_missing_real_rows_are_exactly_as_many_as_needed(
    make: Make, n_real: int, n_made: int, floor: float
) -> None:
    rules = policy(mix={"real_min_share": floor})
    (finding,) = findings(of(rules, make(real(n_real) + made(n_made))), "CG101")
    gap = finding.evidence["missing"]
    assert finding.evidence["share"] == n_real / (n_real + n_made)
    assert findings(of(rules, make(real(n_real + gap) + made(n_made))), "CG101") == []
    assert findings(of(rules, make(real(n_real + gap - 1) + made(n_made))), "CG101")


@pytest.mark.parametrize("code", [Origin.UNKNOWN, Origin.MIXED, Origin.DERIVED, Origin.SIMULATED, None, 77])
def test_only_rows_that_are_known_to_be_real_count_as_real(make: Make, code: int | None) -> None:
    rows = real(5) + real(6, first=50, origin=code)
    assert findings(of(policy(mix={"real_min_share": 0.5}), make(rows)), "CG101")


def test_a_source_has_a_floor_of_its_own_even_if_none_of_its_rows_came(make: Make) -> None:
    rules = policy(sources={"web": {"min_share": 0.5}, "books": {"min_share": 0.1}})
    (finding,) = findings(of(rules, make(real(10))), "CG101")
    assert (finding.subject, finding.evidence["share"]) == ("books", 0.0)
    assert finding.evidence["missing"] == 2


def test_a_floor_of_one_is_kept_by_real_rows_alone(make: Make) -> None:
    rules = policy(mix={"real_min_share": 1.0})
    assert findings(of(rules, make(real(5))), "CG101") == []
    assert findings(of(rules, make(real(5) + made(1))), "CG101")


def test_a_ratio_of_zero_admits_no_synthetic_row(make: Make) -> None:
    rules = policy(mix={"synthetic_to_real_max": 0})
    assert findings(of(rules, make(real(5))), "CG103") == []
    assert findings(of(rules, make(real(5) + made(1))), "CG103")
    assert findings(of(rules, make(made(1))), "CG103")


def test_a_declared_generator_is_compared_with_each_row(make: Make) -> None:
    rules = policy(sources={"made": {"origin": "synthetic", "generator": "m@1"}})
    rows = made(2) + made(1, first=2000, generator="m@2") + made(1, first=3000, generator=None)
    found = findings(of(rules, make(rows)), "CG105")
    assert sorted(str(finding.evidence["actual"]) for finding in found) == ["None", "m@2"]


def test_each_generator_has_the_cap_for_itself(make: Make) -> None:
    rows = real(5) + made(4) + made(1, first=2000, generator="m@2")
    (finding,) = findings(of(policy(mix={"per_generator_max_share": 0.3}), make(rows)), "CG106")
    assert (finding.subject, finding.evidence["share"]) == ("m@1", 0.4)


def tokens(make: Make, rows: Entries, **sections: Any) -> Subject:
    return of(policy(unit="tokens", **sections), make(rows, unit="tokens"))


def test_shares_are_of_tokens_where_policy_and_manifest_count_them(make: Make) -> None:
    rows = real(9, amount=1.0) + made(1, amount=10.0)
    (finding,) = findings(tokens(make, rows, mix={"real_min_share": 0.5}), "CG101")
    assert finding.message == "real rows: 9 of 19 tokens are a share of 0.4737, the floor is 0.5"
    assert (finding.evidence["missing"], finding.remedy) == (1, "add 1 tokens of this kind, or take others out")
    (finding,) = findings(tokens(make, rows, sources={"made": {"max_share": 0.5}}), "CG102")
    assert finding.evidence == {"share": 10 / 19, "cap": 0.5, "amount": 10.0, "unit": "tokens"}
    (finding,) = findings(tokens(make, rows, mix={"synthetic_to_real_max": 1.0}), "CG103")
    assert finding.message == "10 synthetic tokens to 9 real ones, the limit is 1 to 1"
    assert findings(tokens(make, rows, mix={"per_generator_max_share": 0.5}), "CG106")
    assert findings(tokens(make, rows, mix={"per_generation_max_share": 0.5}), "CG108")
    assert findings(tokens(make, rows, mix={"per_class_max_synthetic_share": 0.5}, coverage={}), "CG109")
    assert findings(tokens(make, rows, mix={"budget": {"amount": 18}}, coverage={}), "CG110")
    even = real(10, amount=1.0) + made(1, amount=10.0)
    kept = {
        "mix": {
            "real_min_share": 0.5,
            "synthetic_to_real_max": 1.0,
            "per_generator_max_share": 0.5,
            "per_generation_max_share": 0.5,
            "per_class_max_synthetic_share": 0.5,
            "budget": {"amount": 20},
        },
        "sources": {"made": {"max_share": 0.5}},
        "coverage": {},
    }
    assert [finding for code in COUNTED for finding in findings(tokens(make, even, **kept), code)] == []


def test_retained_rows_count_for_no_share_and_no_budget(make: Make) -> None:
    rows = real(5) + real(50, first=100, amount=0.0) + made(6)
    mix = {"real_min_share": 0.5, "budget": {"amount": 10}}
    subject = of(policy(mix=mix, coverage={}), make(rows))
    (finding,) = findings(subject, "CG101")
    assert finding.message == "real rows: 5 of 11 rows are a share of 0.4545, the floor is 0.5"
    (finding,) = findings(subject, "CG110")
    assert (finding.message, finding.subject) == ("11 rows train, the budget is 10", "budget")


def test_a_repeated_row_counts_as_often_as_it_stands(make: Make) -> None:
    rows = real(6) + made(3, amount=2.0)
    assert findings(of(policy(mix={"real_min_share": 0.5}), make(rows)), "CG101") == []
    (finding,) = findings(of(policy(mix={"real_min_share": 0.6}), make(rows)), "CG101")
    assert finding.evidence["share"] == 0.5


@pytest.mark.parametrize(
    ("caps", "found"),
    [(0.2, ["1", "2", "255"]), ([0.3, 0.2], ["2", "255"]), ([0.3, 0.3], []), ([1.0, 1.0, 0.0], ["255"]), (1.0, [])],
)
def test_each_generation_has_its_cap_and_unknown_ones_have_the_last(make: Make, caps: Any, found: list[str]) -> None:
    rows = real(10) + [row for n in (1, 2, 255) for row in made(30, first=1000 * n, generation=n)]
    subjects = [
        each.subject for each in findings(of(policy(mix={"per_generation_max_share": caps}), make(rows)), "CG108")
    ]
    assert subjects == [f"generation {generation}" for generation in found]


def test_the_classes_furthest_above_their_cap_are_listed_and_all_are_counted(make: Make) -> None:
    rows = real(1, label="c00") + [
        row
        for n in range(12)
        for row in [*real(2, first=10 * n + 100, label=f"c{n:02d}"), *made(n, first=1000 + 20 * n, label=f"c{n:02d}")]
    ]
    rows += made(3, first=5000, label=None)
    (finding,) = findings(of(policy(mix={"per_class_max_synthetic_share": 0.5}, coverage={}), make(rows)), "CG109")
    assert finding.message.startswith("10 of 13 classes are more synthetic than 0.5: (no class) 1.0000, c11 0.8462,")
    assert (finding.evidence["n_classes"], len(finding.evidence["classes"])) == (10, 10)
    none = policy(mix={"per_class_max_synthetic_share": 0.0}, coverage={})
    assert findings(of(none, make(real(3))), "CG109") == []
    assert findings(of(none, make([*real(3), *made(1)])), "CG109")
    assert findings(of(policy(mix={"per_class_max_synthetic_share": 1.0}, coverage={}), make(rows)), "CG109") == []


def test_a_budget_is_kept_to_the_last_row(make: Make) -> None:
    for amount, trips in ((9.5, True), (10, False), (10.5, False)):
        subject = of(policy(mix={"budget": {"amount": amount}}, coverage={}), make(real(10)))
        assert bool(findings(subject, "CG110")) == trips


@pytest.mark.parametrize("code", ["CG101", "CG102", "CG106"])
def test_a_header_that_claims_no_rows_does_not_break_the_rules(make: Make, code: str) -> None:
    rules = policy(
        mix={"per_generator_max_share": 0.1},
        sources={"web": {"min_share": 0.9}, "made": {"max_share": 0.1}},
    )
    told = make(real(2) + made(4))
    index = told.header.index.model_copy(update={"rows": 0})
    lying = Manifest(told.header.model_copy(update={"index": index}), None, told.shards)
    result = evaluate(of(rules, lying))
    assert [finding.subject for finding in result.failed if finding.code == "CG004"] == ["index rows"]
    assert code in {finding.code for finding in result.findings}


# CG2xx


def test_a_loss_up_to_the_allowance_passes(make: Make) -> None:
    for lost, trips in ((2, False), (3, True)):
        subject = generations(make, real(10), real(10 - lost), accumulation={"allow_loss": 2})
        assert bool(findings(subject, "CG201")) == trips


def test_a_loss_names_source_class_share_and_ids(make: Make) -> None:
    before = [*real(6), {"id": 50, "label": "owl"}, {"id": 51, "label": "owl"}]
    (finding,) = findings(generations(make, before, real(6)), "CG201")
    assert finding.evidence["n_lost_rows"] == 2
    assert finding.evidence["share"] == 0.25
    assert finding.evidence["by"] == [["web", "owl", 2]]
    assert len(finding.evidence["ids"]) == 2


def test_a_real_row_that_became_synthetic_is_lost(make: Make) -> None:
    subject = generations(make, real(3), [*real(2), {"id": 2, "origin": 2, "generator": "m@1"}])
    (finding,) = findings(subject, "CG201")
    assert finding.evidence["n_lost_rows"] == 1


def test_the_scope_and_a_source_that_is_off_limit_the_proof(make: Make) -> None:
    before, after = real(3) + real(3, first=50, source="cache"), real(3)
    assert findings(generations(make, before, after), "CG201")
    for sections in ({"accumulation": {"scope": ["web"]}}, {"sources": {"cache": {"accumulate": "off"}}}):
        assert findings(generations(make, before, after, **sections), "CG201") == []


def test_accumulation_that_is_off_asks_for_no_parent(make: Make) -> None:
    subject = generations(make, real(5), real(1) + made(4), accumulation={"mode": "off"})
    for code in ("CG201", "CG202", "CG204"):
        assert findings(subject, code) == []
    alone = of(policy(accumulation={"mode": "off"}), make(real(1), parent=make(real(1))))
    for code in ("CG201", "CG202", "CG204"):
        assert findings(alone, code) == []


@pytest.mark.parametrize("code", ["CG201", "CG202", "CG203"])
def test_ids_under_another_rule_cannot_be_compared(make: Make, code: str) -> None:
    parent, child = make(real(5)), make(real(3) + made(2))
    other = Manifest(parent.header.model_copy(update={"id_rule": "md5/1"}), None, parent.shards)
    found = findings(of(policy(), child, other), code)
    assert [finding.status for finding in found] == [Status.INCONCLUSIVE]


@pytest.mark.parametrize(("n_new", "trips"), [(17, False), (18, True), (20, True), (22, True), (23, False)])
def test_a_replacement_is_as_many_synthetic_rows_within_the_tolerance(make: Make, n_new: int, trips: bool) -> None:
    subject = generations(make, real(50), real(30) + made(n_new), accumulation={"replace_tolerance": 0.1})
    assert bool(findings(subject, "CG202")) == trips


def test_a_replacement_is_counted_class_by_class(make: Make) -> None:
    before = [*real(4), {"id": 50, "label": "owl"}, {"id": 51, "label": None}]
    after = real(4) + made(1, label="cat") + made(1, first=2000, label=None)
    (finding,) = findings(generations(make, before, after), "CG202")
    assert finding.evidence["overlap_by_class"] == {"owl": 0, "None": 1}
    assert finding.evidence["n_new_synthetic_rows"] == 2


def test_a_loss_within_the_allowance_is_no_replacement(make: Make) -> None:
    subject = generations(make, real(5), real(3) + made(2), accumulation={"allow_loss": 2})
    assert findings(subject, "CG202") == []


def test_a_recorded_parent_that_is_not_given_is_an_error(make: Make) -> None:
    parent = make(real(3))
    (finding,) = findings(of(policy(), make(real(3), parent=parent)), "CG204")
    assert finding.status is Status.FAIL
    assert finding.message == "the manifest records a parent, none was given"
    assert finding.evidence == {"recorded": [parent.digest], "given": None, "pinned": None}


def test_a_given_parent_that_is_not_the_recorded_one_is_an_error(make: Make) -> None:
    parent, stranger = make(real(3)), make(real(2))
    (finding,) = findings(of(policy(), make(real(3), parent=parent), stranger), "CG204")
    assert finding.message == f"{stranger.digest[:19]}... is not the recorded parent"
    (finding,) = findings(of(policy(), make(real(3)), stranger), "CG204")
    assert (finding.message[22:], finding.remedy) == (
        " is not the parent: the manifest records none",
        "write the manifest again with --parent",
    )


def test_a_pinned_digest_that_is_not_the_parents_is_an_error(make: Make) -> None:
    parent = make(real(3))
    child = make(real(3), parent=parent)
    (finding,) = findings(of(policy(manifests={"parent_digest": PINNED}), child, parent), "CG204")
    assert finding.message.startswith("the policy pins parent sha256:000000000000...")
    assert finding.evidence["pinned"] == PINNED
    assert findings(of(policy(manifests={"parent_digest": parent.digest}), child, parent), "CG204") == []


def test_a_pinned_digest_without_any_parent_is_an_error(make: Make) -> None:
    (finding,) = findings(of(policy(manifests={"parent_digest": PINNED}), make(real(3))), "CG204")
    assert finding.evidence["pinned"] == PINNED


def test_a_later_generation_without_a_parent_is_an_error(make: Make) -> None:
    (finding,) = findings(of(policy(), make(real(3), generation=2)), "CG204")
    assert finding.message == "generation 2 records no parent"


def test_another_id_rule_than_the_parents_is_an_error_that_names_both(make: Make) -> None:
    parent = make(real(3), id_rule="sha256-128/text-nfc/1[body]")
    (finding,) = findings(of(policy(), make(real(3), parent=parent), parent), "CG204")
    assert finding.status is Status.FAIL
    assert finding.evidence == {
        "parent": "sha256-128/text-nfc/1[body]",
        "current": "sha256-128/record-json-nfc/1",
    }
    assert all(repr(rule) in finding.message for rule in finding.evidence.values())


def test_a_loss_says_at_which_level_it_was_proven(make: Make) -> None:
    (finding,) = findings(generations(make, real(5), real(4)), "CG201")
    assert finding.evidence["level"] == "rows"
    subject = generations(make, real(5), real(5) + made(2))
    assert subject.proof is not None
    assert subject.proof.level is Level.ROOT
    grown = generations(make, real(5), real(5) + real(2, first=50, source="books"))
    assert grown.proof is not None
    assert grown.proof.level is Level.SHARDS


def test_the_share_of_a_loss_is_of_the_rows_in_scope(make: Make) -> None:
    before = real(4) + real(16, first=50, source="cache")
    subject = generations(make, before, real(3) + before[4:], accumulation={"scope": ["web"]})
    (finding,) = findings(subject, "CG201")
    assert finding.evidence["share"] == 0.25


def test_what_a_takedown_covers_is_no_loss_and_no_replacement(make: Make) -> None:
    before, after = real(5), real(3) + made(2)
    assert findings(generations(make, before, after), "CG202")
    for codes, taken in (({"CG201"}, takedowns(3)), (set(), takedowns(3, 4))):
        subject = generations(make, before, after, taken=taken)
        assert {code for code in ("CG201", "CG202") if findings(subject, code)} == codes
    (finding,) = findings(generations(make, before, after, taken=takedowns(3)), "CG201")
    assert (finding.evidence["n_lost_rows"], finding.evidence["n_taken_down_rows"]) == (1, 1)


def test_lawful_deletions_are_told_by_reason_without_their_ids(make: Make) -> None:
    subject = generations(make, real(5), real(3), taken=takedowns(3, 4, reason="erasure\u200b 118"))
    (finding,) = findings(subject, "CG207")
    assert finding.severity is Severity.INFO
    assert finding.message == "2 real rows left under takedowns: erasure\\u200b 118 (2026-03-31) 2"
    assert finding.evidence == {
        "n_rows": 2,
        "by_takedown": [["erasure\u200b 118", "2026-03-31", 2]],
        "by": [["web", "cat", 2]],
    }


@pytest.mark.parametrize("tags", [{}, {"origin": 2, "source": "made"}, {"origin": 0}])
def test_a_row_that_was_taken_down_may_not_come_back_whatever_its_origin(make: Make, tags: dict[str, Any]) -> None:
    subject = of(policy(accumulation={"mode": "off"}), make([*real(3), {"id": 9} | tags]), takedowns=takedowns(9))
    (finding,) = findings(subject, "CG208")
    assert (finding.status, finding.severity) == (Status.FAIL, Severity.ERROR)
    assert finding.evidence["n_rows"] == 1
    assert finding.evidence["ids"] == [hashlib.sha256(b"9").hexdigest()[:32]]


@pytest.mark.parametrize(
    ("before", "after", "by"),
    [
        ("cat", "dog", [["web", "cat", "dog", 1]]),
        ("cat", None, [["web", "cat", None, 1]]),
        (None, "dog", []),
        ("cat", "cat", []),
    ],
)
def test_a_class_that_changed_or_went_away_is_told_and_one_that_came_is_not(
    make: Make, before: str | None, after: str | None, by: list[Any]
) -> None:
    subject = generations(make, [*real(3), {"id": 9, "label": before}], [*real(3), {"id": 9, "label": after}])
    assert findings(subject, "CG201") == []
    assert [finding.evidence["by"] for finding in findings(subject, "CG203")] == ([by] if by else [])


def test_a_class_that_stands_elsewhere_under_the_same_id_is_kept(make: Make) -> None:
    before = [*real(3), {"id": 9, "label": "owl"}]
    after = [*real(3), {"id": 9, "label": "dog"}, {"id": 9, "label": "owl", "source": "books"}]
    assert findings(generations(make, before, after), "CG203") == []
    after[-1]["origin"] = 2
    assert findings(generations(make, before, after), "CG203")


def test_a_lost_row_is_no_relabelled_row(make: Make) -> None:
    subject = generations(make, [*real(3), {"id": 9, "label": "owl"}], real(3))
    assert findings(subject, "CG201")
    assert findings(subject, "CG203") == []


@pytest.mark.parametrize(
    ("sections", "columns", "status"),
    [
        ({}, ("label", "topic"), Status.INCONCLUSIVE),
        ({}, ("label", None), Status.INCONCLUSIVE),
        ({}, ("label", "cg_label"), Status.INCONCLUSIVE),
        ({}, ("cg_cell", "cg_cell"), None),
        ({}, (None, "label"), None),
        ({"accumulation": {"mode": "off"}}, ("label", "label"), None),
        ({"accumulation": {"scope": ["books"]}}, ("label", "label"), None),
        ({"sources": {"web": {"accumulate": "off"}}}, ("label", "label"), None),
        ({}, ("label", "label"), Status.FAIL),
    ],
)
def test_classes_are_compared_where_both_have_the_same_ones(
    make: Make, sections: dict[str, Any], columns: tuple[str | None, str | None], status: Status | None
) -> None:
    parent = make(real(3), class_column=columns[0])
    child = make(real(3, label="dog"), parent=parent, class_column=columns[1] and "label")
    child = Manifest(child.header.model_copy(update={"class_column": columns[1]}), None, child.shards)
    found = findings(of(policy(**sections), child, parent), "CG203")
    assert [finding.status for finding in found] == ([] if status is None else [status])


def test_the_first_generation_needs_no_parent(make: Make) -> None:
    assert findings(of(policy(), make(real(3))), "CG204") == []


def test_one_parent_of_several_proves_nothing_of_the_others(make: Make) -> None:
    first, second = make(real(3)), make(real(3, first=10))
    child = make(real(3), parent=first)
    links = [ParentLink(name=each.header.name, digest=each.digest) for each in (first, second)]
    child = Manifest(child.header.model_copy(update={"parents": tuple(links)}), None, child.shards)
    (found,) = findings(of(policy(), child, first), "CG204")
    assert found.message.startswith("2 parents are recorded and one was given")


def test_a_list_of_takedowns_cannot_shrink(make: Make) -> None:
    recorded = takedowns(7, 8).entry
    parent = make(real(3))
    parent = Manifest(parent.header.model_copy(update={"takedowns": recorded}), None, parent.shards)
    for taken, n_now in ((None, 0), (takedowns(7), 1)):
        (found,) = findings(of(policy(), make(real(3), parent=parent), parent, takedowns=taken), "CG208")
        assert found.message == f"its parent was written under 2 takedowns, {n_now} are known now"
    assert findings(of(policy(), make(real(3), parent=parent), parent, takedowns=takedowns(7, 8, 9)), "CG208") == []


def test_rows_that_are_only_retained_keep_no_class_alive(make: Make) -> None:
    before = [*real(3), {"id": 9, "label": "owl"}]
    parent = make(before)
    child = make([*real(3), {"id": 9, "label": "owl", "amount": 0.0}], parent=parent)
    assert len(findings(of(policy(coverage={}), child, parent), "CG501")) == 1
    nothing = make([entry | {"amount": 0.0} for entry in before], parent=parent)
    (found,) = findings(of(policy(), nothing, parent), "CG101")
    assert "0 of 0 rows are a share of 0.0000" in found.message


def test_an_empty_scope_is_refused() -> None:
    with pytest.raises(PolicyError, match=r"accumulation\.scope: "):
        policy(accumulation={"scope": []})


# CG3xx


@pytest.mark.parametrize(
    ("tags", "clause"),
    [
        ({"origin": None}, "have no origin"),
        ({"origin": 0}, "have no origin"),
        ({"origin": 77}, "have no origin"),
        ({"evidence": None}, "claim an origin without evidence"),
        ({"evidence": 0}, "claim an origin without evidence"),
        ({"evidence": int(Evidence.STATISTICAL)}, "are called real by statistics alone"),
    ],
)
def test_an_origin_needs_evidence(make: Make, tags: dict[str, Any], clause: str) -> None:
    (finding,) = findings(of(policy(), make(real(2) + real(3, first=50, **tags))), "CG301")
    assert finding.message == f"source 'web': 3 rows {clause}"
    assert finding.evidence["n_rows"] == 3


def test_statistics_may_call_a_row_synthetic(make: Make) -> None:
    rows = made(3, evidence=int(Evidence.STATISTICAL))
    assert findings(of(policy(), make(rows)), "CG301") == []


def test_a_source_of_unknown_origin_may_still_not_claim_one_without_evidence(make: Make) -> None:
    rules = policy(sources={"web": {"origin": "unknown"}})
    assert findings(of(rules, make(real(3, evidence=0))), "CG301")


@pytest.mark.parametrize("generator", [None, ""])
def test_a_synthetic_row_names_its_generator(make: Make, generator: str | None) -> None:
    rows = real(2) + made(2) + made(3, first=2000, generator=generator)
    (finding,) = findings(of(policy(), make(rows)), "CG302")
    assert finding.evidence["n_rows"] == 3


def test_a_source_may_be_limited_further_than_the_whole(make: Make) -> None:
    rules = policy(sources={"made": {"max_depth": 0}, "deep": {"max_depth": 9}})
    rows = made(2) + made(3, first=2000, source="deep", generation=3) + made(1, first=3000, source="more", generation=2)
    found = {finding.subject: finding.evidence for finding in findings(of(rules, make(rows)), "CG303")}
    assert found == {
        "made": {"histogram": {"1": 2}, "limit": 0},
        "deep": {"histogram": {"3": 3}, "limit": 2},
    }


@pytest.mark.parametrize("generation", [None, UNKNOWN_GENERATION])
def test_an_unknown_generation_counts_as_too_deep(make: Make, generation: int | None) -> None:
    rules = policy(provenance={"max_generation_depth": 254})
    (finding,) = findings(of(rules, make(made(3, generation=generation))), "CG303")
    assert finding.evidence["histogram"] == {"unknown": 3}


def test_a_row_of_unknown_origin_is_not_measured_by_depth(make: Make) -> None:
    assert findings(of(policy(), make(real(3, origin=0, generation=UNKNOWN_GENERATION))), "CG303") == []


# CG5xx

RARE: Entries = [*real(5), *real(2, first=50, label="owl"), *real(1, first=60, label="newt")]


def test_lost_classes_are_named_with_the_rarest_first(make: Make) -> None:
    (finding,) = findings(generations(make, RARE, real(5), coverage={}), "CG501")
    assert finding.message == "2 of 3 classes are gone: newt (1 before), owl (2 before)"
    assert finding.evidence["lost"] == ["newt", "owl"]
    assert finding.evidence["coverage"] == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    ("coverage", "n_lost"),
    [
        ({}, 2),
        ({"min_class_rows": 2}, 1),
        ({"min_class_rows": 3}, 0),
        ({"max_classes_lost": 1}, 2),
        ({"max_classes_lost": 2}, 0),
        ({"min_class_rows": 2, "max_classes_lost": 1}, 0),
    ],
)
def test_small_classes_and_an_allowance_are_set_by_the_policy(
    make: Make, coverage: dict[str, Any], n_lost: int
) -> None:
    found = findings(generations(make, RARE, real(5), coverage=coverage), "CG501")
    assert sum(finding.evidence["n_lost"] for finding in found) == n_lost


def test_the_reference_goes_before_the_parent(make: Make) -> None:
    anchor, parent = make(RARE), make(real(5))
    child = make(real(5), parent=parent)
    rules = policy(coverage={"reference": "anchor.cgm.json"})
    assert findings(of(rules, child, parent), "CG501") == []
    (finding,) = findings(of(rules, child, parent, reference=anchor), "CG501")
    assert finding.evidence["lost"] == ["newt", "owl"]


def test_a_reference_is_enough_without_the_parent(make: Make) -> None:
    child = make(real(5), parent=make(real(5)))
    found = findings(of(policy(coverage={}), child, reference=make(RARE)), "CG501")
    assert [finding.status for finding in found] == [Status.FAIL]


def test_only_real_rows_of_the_parent_make_a_class(make: Make) -> None:
    assert findings(generations(make, real(5) + made(3, label="owl"), real(5), coverage={}), "CG501") == []


def test_a_parent_without_any_class_leaves_coverage_open(make: Make) -> None:
    parent = make(real(5), class_column=None)
    found = findings(of(policy(coverage={}), make(real(5), parent=parent), parent), "CG501")
    assert [finding.status for finding in found] == [Status.INCONCLUSIVE]


def test_a_policy_without_coverage_asks_nothing_of_classes(make: Make) -> None:
    assert findings(generations(make, RARE, real(5)), "CG501") == []


# Names from the data


@pytest.mark.parametrize("name", ODD_NAMES)
def test_names_from_the_data_are_only_names(make: Make, name: str) -> None:
    before = [*real(3), *real(2, first=50, source=name, label=name)]
    after = real(3) + made(2, source=name, generator=name, label="cat")
    rules: dict[str, Any] = {"coverage": {}, "sources": {name: {"max_share": 0.1, "origin": "real"}, "web": {}}}
    found = evaluate(generations(make, before, after, **rules)).findings
    assert {finding.code for finding in found} >= {"CG102", "CG105", "CG201", "CG202", "CG501"}
    loss = next(finding for finding in found if finding.code == "CG201")
    assert loss.evidence["by"] == [[name, name, 2]]
    coverage = next(finding for finding in found if finding.code == "CG501")
    assert coverage.evidence["lost"] == [name]
    assert [finding for finding in found if "\n" in finding.message] == []


def test_a_missing_class_and_one_that_is_called_none_are_told_apart(make: Make) -> None:
    built = make([{"id": 1, "label": None}, {"id": 2, "label": "None", "source": "books"}])
    again = make([{"id": 2, "label": "None", "source": "books"}, {"id": 1, "label": None}])
    assert built.header.class_histogram_digest == again.header.class_histogram_digest
    assert (built.verify(), again.verify()) == ((), ())


@pytest.mark.parametrize("amount", [1e-11, 1.0, 1e11])
def test_floors_and_caps_hold_however_little_a_row_weighs(make: Make, amount: float) -> None:
    rows = real(1, amount=amount) + made(38, amount=amount)
    mix = {"real_min_share": 0.5, "synthetic_to_real_max": 1, "per_generator_max_share": 0.1}
    mix["per_class_max_synthetic_share"] = 0.5
    asked = policy(unit="weight", mix=mix, sources={"made": {"max_share": 0.1}}, coverage={})
    subject = of(asked, make(rows, unit="weight"))
    for code in ("CG101", "CG102", "CG103", "CG106", "CG109"):
        assert [found.status for found in findings(subject, code)] == [Status.FAIL], code


def test_where_accumulation_is_off_nothing_is_compared_not_even_id_rules(make: Make) -> None:
    parent = make(real(3), id_rule="sha256-128/text-nfc/1[body]")
    child = make(real(2), parent=parent)
    for code in ("CG201", "CG202", "CG203", "CG204"):
        assert findings(of(policy(accumulation={"mode": "off"}), child, parent), code) == []


def test_a_scope_that_names_nothing_leaves_replacement_open_too(make: Make) -> None:
    subject = generations(make, real(4), real(4) + made(1), accumulation={"scope": ["ghost"]})
    for code in ("CG201", "CG202"):
        assert [found.status for found in findings(subject, code)] == [Status.INCONCLUSIVE]


def test_evidence_that_does_not_exist_is_none(make: Make) -> None:
    (found,) = findings(of(policy(), make(real(2, evidence=99))), "CG301")
    assert found.evidence["fault"] == "no evidence"
