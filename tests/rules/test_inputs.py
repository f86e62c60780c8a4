"""CG007: what was declared and holds no row."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from collapse_guard.errors import PolicyError
from collapse_guard.manifest import Manifest
from collapse_guard.manifest.describing import described
from collapse_guard.records import Status
from collapse_guard.rules import Subject, evaluate
from tests.rules.test_rules import ODD_NAMES, findings, generations, made, of, policy, real

if TYPE_CHECKING:
    from tests.rules.test_rules import Make


def without_rows(manifest: Manifest) -> Manifest:
    """Return a manifest whose header is right in all, and of no row."""
    return Manifest(described(manifest.header, [], Counter()), None, ())


def with_empty_source(manifest: Manifest, name: str) -> Manifest:
    entry = manifest.header.sources[0].model_copy(update={"name": name, "rows": 0, "real_rows": 0, "amount": 0.0})
    sources = (*manifest.header.sources, entry)
    return Manifest(manifest.header.model_copy(update={"sources": sources}), None, manifest.shards)


def test_a_manifest_of_no_row_breaks_no_rule_and_is_no_pass(make: Make) -> None:
    empty = without_rows(make(real(3)))
    asked = policy(
        sources={"web": {"min_share": 0.5, "max_share": 0.9}},
        mix={
            "drift": {},
            "synthetic_to_real_max": 1.0,
            "per_generator_max_share": 0.5,
            "per_generation_max_share": 0.5,
            "per_class_max_synthetic_share": 0.5,
        },
        accumulation={"require_weight_above": 0.0, "grow_within": 2},
        provenance={"forbid_reentry_of": ["m"], "max_unknown_share": 0.0},
        coverage={},
    )
    for previous in (None, make(real(3)), without_rows(make(made(2)))):
        found = evaluate(Subject(asked, empty, previous))
        told = {(finding.code, finding.message) for finding in found.failed}
        assert ("CG007", "the manifest has no row") in told
        assert {code for code, _ in told} >= {"CG007", "CG101"}


@pytest.mark.parametrize("floor", [0.0, 0.5])
def test_a_manifest_of_which_nothing_trains_is_told_whatever_the_floor(make: Make, floor: float) -> None:
    subject = of(policy(mix={"real_min_share": floor}), make(real(3, amount=0.0)))
    (finding,) = findings(subject, "CG007")
    assert (finding.message, finding.subject) == ("none of the 3 rows trains: all have the amount 0", "manifest")
    assert bool(findings(subject, "CG101")) == (floor > 0)
    assert evaluate(subject).failed


@pytest.mark.parametrize("name", [*ODD_NAMES, "books"])
def test_a_source_of_the_header_without_rows_is_told(make: Make, name: str) -> None:
    subject = of(policy(), with_empty_source(make(real(3)), name))
    (finding,) = findings(subject, "CG007")
    assert finding.message == f"source {name!r} is in the manifest and has no row"
    assert (finding.subject, finding.where, finding.key) == (name, {"source": name}, ("sources", name))


def test_a_source_that_is_merely_capped_may_be_absent(make: Make) -> None:
    rules = policy(sources={"bot": {"max_share": 0.1}, "web": {}, "more": {"share": 0.1}})
    assert findings(of(rules, make(real(3))), "CG007") == []


@pytest.mark.parametrize(
    ("sections", "key"),
    [
        ({"accumulation": {"scope": ["web", "boks"]}}, ("accumulation", "scope")),
        ({"sources": {"boks": {"accumulate": "strict"}}}, ("sources", "boks", "accumulate")),
    ],
)
def test_a_source_that_must_stay_and_is_nowhere_is_told(
    make: Make, sections: dict[str, Any], key: tuple[str, ...]
) -> None:
    rows = real(3) + real(2, first=50, source="books")
    (finding,) = findings(generations(make, rows, rows, **sections), "CG007")
    assert finding.message == "source 'boks' must stay, and neither manifest has such a source"
    assert (finding.remedy, finding.key, finding.where) == ("did you mean 'books'?", key, {"source": "boks"})
    (first,) = findings(of(policy(**sections), make(rows)), "CG007")
    assert first.message == "source 'boks' must stay, and there is no such source"


def test_a_source_that_the_parent_alone_has_is_a_loss_and_no_slip(make: Make) -> None:
    before = real(3) + real(2, first=50, source="books")
    subject = generations(make, before, real(3), accumulation={"scope": ["books"]})
    assert findings(subject, "CG007") == []
    assert findings(subject, "CG201")


def test_without_the_parent_it_is_not_known_whether_a_source_is_nowhere(make: Make) -> None:
    child = make(real(3), parent=make(real(3) + real(2, first=50, source="books")))
    (finding,) = findings(of(policy(accumulation={"scope": ["books"]}), child), "CG007")
    assert finding.status is Status.INCONCLUSIVE
    assert "'books' may stand in the parent alone" in finding.message
    assert findings(of(policy(accumulation={"scope": ["web"]}), child), "CG007") == []


def test_every_name_of_a_scope_that_is_nowhere_is_told_and_the_proof_stays_open(make: Make) -> None:
    subject = generations(make, real(5), real(4), accumulation={"scope": ["web", "boks", "magazines"]})
    assert [finding.subject for finding in findings(subject, "CG007")] == ["boks", "magazines"]
    open_one, lost = findings(subject, "CG201")
    assert (open_one.status, open_one.key) == (Status.INCONCLUSIVE, ("accumulation", "scope"))
    assert open_one.message.startswith("not evaluated: accumulation.scope names 'boks', a source of neither manifest")
    assert (lost.status, lost.measured) == (Status.FAIL, 1)


@pytest.mark.parametrize("name", ODD_NAMES)
def test_names_of_sources_in_a_hint_stay_on_one_line_and_are_not_listed_by_the_hundred(make: Make, name: str) -> None:
    few = real(2, source=name)
    many = [row for n in range(300) for row in real(1, first=n, source=f"{name}{n}")]
    for rows, hint in ((few, "allowed: "), (many, "correct the name, or leave it out")):
        subject = generations(make, rows, rows, accumulation={"scope": ["nowhere at all"]})
        (finding,), (open_one,) = findings(subject, "CG007"), findings(subject, "CG201")
        assert finding.remedy.startswith(hint)
        assert "\n" not in finding.remedy + open_one.message


def test_accumulation_that_is_off_wants_no_source_to_stay(make: Make) -> None:
    off = {"mode": "off", "scope": ["nowhere"]}
    assert findings(generations(make, real(3), real(3), accumulation=off), "CG007") == []


def test_what_matched_nothing_cannot_be_lowered_to_a_warning() -> None:
    with pytest.raises(PolicyError, match="CG007 guards the real rows"):
        policy(severity={"CG007": "warning"})


def test_strict_is_no_empty_word_beside_a_scope() -> None:
    asked: dict[str, Any] = {"sources": {"books": {"accumulate": "strict"}}, "accumulation": {"scope": ["web"]}}
    with pytest.raises(PolicyError, match=r"CG002 sources\.books\.accumulate: .*scope does not name this source"):
        policy(**asked)
    assert policy(**(asked | {"accumulation": {"scope": ["web", "books"]}})).sources["books"].accumulate == "strict"
