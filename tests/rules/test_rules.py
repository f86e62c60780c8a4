"""Every rule: what trips it, what passes it, and what leaves it open."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from collapse_guard.errors import Problem
from collapse_guard.manifest import Manifest
from collapse_guard.policy import Policy, policy_from_mapping
from collapse_guard.records import UNKNOWN_GENERATION, Evidence, Finding, Origin, Severity, Status
from collapse_guard.rules import RULES, Subject, evaluate

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


def generations(make: Make, before: Entries, after: Entries, **sections: Any) -> Subject:
    parent = make(before)
    return of(policy(**sections), make(after, parent=parent), parent)


def tampered(manifest: Manifest) -> Manifest:
    return Manifest(manifest.header.model_copy(update={"root_digest": PINNED}), None, manifest.index)


@dataclass(frozen=True)
class Case:
    """A subject that trips a rule, and one that differs as little as possible and passes it."""

    trips: Callable[[Make], Subject]
    passes: Callable[[Make], Subject]


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
    "CG105": Case(
        lambda make: of(policy(sources={"made": {"origin": "real"}}), make(real(2) + made(2))),
        lambda make: of(policy(sources={"made": {"origin": "synthetic", "generator": "m@1"}}), make(made(2))),
    ),
    "CG106": Case(
        lambda make: of(policy(mix={"per_generator_max_share": 0.2}), make(real(7) + made(3))),
        lambda make: of(policy(mix={"per_generator_max_share": 0.2}), make(real(8) + made(2))),
    ),
    "CG201": Case(
        lambda make: generations(make, real(5), real(4)),
        lambda make: generations(make, real(5), real(6)),
    ),
    "CG202": Case(
        lambda make: generations(make, real(5), real(3) + made(2)),
        lambda make: generations(make, real(5), real(3) + made(4)),
    ),
    "CG204": Case(
        lambda make: of(policy(), make(real(3), parent=make(real(3))), make(real(2))),
        lambda make: generations(make, real(3), real(3)),
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
    "CG501": Case(
        lambda make: generations(make, [*real(3), {"id": 9, "label": "owl"}], real(3), coverage={}),
        lambda make: generations(
            make, [*real(3), {"id": 9, "label": "owl"}], made(1, label="owl") + real(3), coverage={}
        ),
    ),
}


def test_every_registered_rule_has_a_case() -> None:
    assert {code for code, _ in RULES.items()} == set(CASES)


@pytest.mark.parametrize("code", sorted(CASES))
def test_a_rule_is_tripped_by_its_case(make: Make, code: str) -> None:
    found = findings(CASES[code].trips(make), code)
    assert found
    for finding in found:
        assert (finding.code, finding.status, finding.severity) == (code, Status.FAIL, RULES.get(code).severity)
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
    found = RULES.get(code)(Subject(asked, subject.manifest, subject.previous, subject.reference))
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


def test_rules_that_count_rows_are_inconclusive_when_the_policy_counts_tokens(make: Make) -> None:
    subject = of(policy(unit="tokens"), make(made(3)))
    counted = {code for code, rule in RULES.items() if "unit" in rule.needs}
    assert counted == {"CG101", "CG102", "CG103", "CG106"}
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
        of(policy(unit="tokens", severity={"CG302": "info"}), make([*made(3, generator=None), {"id": 1000}]))
    )
    assert result.codes == tuple(sorted(CASES))
    assert {finding.code for finding in result.inconclusive} == {"CG101", "CG102", "CG103", "CG106"}
    assert result.failed == ()
    assert {finding.code for finding in result.findings} == {"CG101", "CG102", "CG103", "CG106", "CG302"}


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
    found = findings(of(policy(), Manifest(told.header, None, actual.index)), "CG004")
    assert {finding.subject for finding in found} >= {"index content", "class histogram", "shard web", "root"}
    assert found[0].subject == "index content"
    assert found[0].evidence["expected"] == told.header.index.content_digest
    assert found[0].evidence["recomputed"] == actual.header.index.content_digest


def test_a_parent_whose_rows_were_taken_out_of_its_index_is_never_a_pass(make: Make) -> None:
    parent = make(real(10))
    child = make(real(4), parent=parent)
    kept = set(child.index.column("id_hi").to_pylist())
    mask = [word in kept for word in parent.index.column("id_hi").to_pylist()]
    thinned = Manifest(parent.header, None, parent.index.filter(mask))
    assert evaluate(of(policy(), child, parent)).failed
    assert evaluate(of(policy(), child, thinned)).findings


def test_a_reference_whose_rows_were_taken_out_of_its_index_is_never_a_pass(make: Make) -> None:
    anchor = make([*real(5), {"id": 9, "label": "owl"}])
    child = make(real(5))
    thinned = Manifest(anchor.header, None, child.index)
    rules = policy(coverage={"reference": "anchor.cgm.json"})
    assert evaluate(of(rules, child, reference=anchor)).failed
    assert evaluate(of(rules, child, reference=thinned)).findings


def test_duplicate_ids_are_counted_by_source_with_at_most_ten_of_them(make: Make) -> None:
    (finding,) = findings(of(policy(), make(real(15) + real(15) + real(1))), "CG005")
    assert (finding.evidence["n_ids"], finding.evidence["n_extra_rows"]) == (15, 16)
    assert len(set(finding.evidence["ids"])) == 10
    assert finding.evidence["ids"] == sorted(finding.evidence["ids"])


# CG1xx


@pytest.mark.parametrize(("n_real", "n_made", "floor"), [(1, 9, 0.5), (3, 10, 0.7), (7, 20, 0.95), (2, 5, 0.3)])
def test_the_missing_real_rows_are_exactly_as_many_as_needed(
    make: Make, n_real: int, n_made: int, floor: float
) -> None:
    rules = policy(mix={"real_min_share": floor})
    (finding,) = findings(of(rules, make(real(n_real) + made(n_made))), "CG101")
    gap = finding.evidence["missing_rows"]
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
    assert finding.evidence["missing_rows"] == 2


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


@pytest.mark.parametrize("code", ["CG101", "CG102", "CG106"])
def test_a_header_that_claims_no_rows_does_not_break_the_rules(make: Make, code: str) -> None:
    rules = policy(
        mix={"per_generator_max_share": 0.1},
        sources={"web": {"min_share": 0.9}, "made": {"max_share": 0.1}},
    )
    told = make(real(2) + made(4))
    index = told.header.index.model_copy(update={"rows": 0})
    lying = Manifest(told.header.model_copy(update={"index": index}), None, told.index)
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


@pytest.mark.parametrize("code", ["CG201", "CG202"])
def test_ids_under_another_rule_cannot_be_compared(make: Make, code: str) -> None:
    parent, child = make(real(5)), make(real(3) + made(2))
    other = Manifest(parent.header.model_copy(update={"id_rule": "md5/1"}), None, parent.index)
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
    assert "is not the recorded parent" in finding.message


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


def test_the_first_generation_needs_no_parent(make: Make) -> None:
    assert findings(of(policy(), make(real(3))), "CG204") == []


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
    assert finding.message == "2 of 3 classes are gone: newt (1 rows before), owl (2 rows before)"
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
    rules = {"coverage": {}, "sources": {name: {"max_share": 0.1, "origin": "real"}, "web": {}}}
    found = evaluate(generations(make, before, after, **rules)).findings
    assert {finding.code for finding in found} >= {"CG102", "CG105", "CG201", "CG202", "CG501"}
    loss = next(finding for finding in found if finding.code == "CG201")
    assert loss.evidence["by"] == [[name, name, 2]]
    coverage = next(finding for finding in found if finding.code == "CG501")
    assert coverage.evidence["lost"] == [name]
    assert [finding for finding in found if "\n" in finding.message] == []
