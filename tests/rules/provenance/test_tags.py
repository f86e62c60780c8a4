"""CG301, CG302, CG306: rows that do not say who made them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from collapse_guard.errors import PolicyError
from collapse_guard.records import Finding, Origin
from tests.rules.test_rules import ODD_NAMES, findings, made, of, policy, real

if TYPE_CHECKING:
    from collapse_guard.manifest import Manifest
    from tests.rules.test_rules import Make


def test_each_fault_of_a_source_is_a_finding_of_its_own(make: Make) -> None:
    rows = real(1, origin=0) + real(2, first=10, evidence=0) + real(3, first=20, evidence=8) + real(9, first=30)
    rows += made(2, evidence=0, source="web: no origin")
    found = findings(of(policy(sources={"web": {}}), make(rows)), "CG301")
    assert [(each.subject, each.where["source"], each.measured) for each in found] == [
        ("web: no evidence", "web", 2),
        ("web: no origin", "web", 1),
        ("web: statistics alone", "web", 3),
        ("web: no origin: no evidence", "web: no origin", 2),
    ]
    assert [each.key for each in found[2:]] == [("sources", "web", "origin"), ("sources",)]


def test_a_source_without_generators_is_told_once(make: Make) -> None:
    rows = made(2, generator=None) + made(3, first=2000, generator="") + made(1, first=3000, source="b", generator=None)
    found = findings(of(policy(), make(rows)), "CG302")
    assert [(each.subject, each.measured) for each in found] == [("b", 1), ("made", 5)]


def unknown(make: Make, now: Manifest, limit: float, previous: Manifest | None = None) -> list[Finding]:
    rules = policy(provenance={"max_unknown_share": limit}, unit=now.header.unit)
    return findings(of(rules, now, previous), "CG306")


def test_a_policy_that_does_not_limit_the_unknown_takes_all(make: Make) -> None:
    assert findings(of(policy(), make(real(3, origin=0))), "CG306") == []


@pytest.mark.parametrize("code", [None, 0, 77])
@pytest.mark.parametrize(("limit", "trips"), [(0.0, True), (0.3, True), (0.4, False), (1.0, False)])
def test_codes_that_name_no_origin_are_unknown(make: Make, code: int | None, limit: float, trips: bool) -> None:
    assert bool(unknown(make, make(real(6) + real(4, first=50, origin=code)), limit)) == trips


@pytest.mark.parametrize("code", [origin for origin in Origin if origin])
def test_every_other_origin_is_known(make: Make, code: Origin) -> None:
    assert unknown(make, make(real(6, origin=int(code))), 0.0) == []


def test_the_share_is_of_what_trains_in_the_unit(make: Make) -> None:
    idle = make(real(6) + real(4, first=50, origin=0, amount=0.0))
    assert unknown(make, idle, 0.0) == []
    tokens = make(real(6) + real(1, first=50, origin=0, amount=6.0), unit="tokens")
    (found,) = unknown(make, tokens, 0.2)
    assert found.message == "6 of 12 tokens are of unknown origin, a share of 0.5000, the limit is 0.2"
    assert unknown(make, make(real(3, amount=0.0)), 0.0) == []


def test_the_trend_is_told_where_the_parent_counts_the_same(make: Make) -> None:
    parent = make(real(9) + real(1, first=50, origin=0))
    child = make(real(6) + real(4, first=50, origin=0), parent=parent)
    (found,) = unknown(make, child, 0.2, parent)
    assert found.message.endswith("the limit is 0.2; in the parent it was 0.1000")
    assert found.evidence["share_before"] == 0.1
    tokens = make(real(9), unit="tokens")
    for previous in (None, tokens):
        (found,) = unknown(make, child, 0.2, previous)
        assert found.evidence["share_before"] is None
        assert found.message.endswith("the limit is 0.2")


def test_floors_of_unknown_sources_above_the_limit_are_a_contradiction() -> None:
    sources = {name: {"origin": "unknown", "min_share": 0.1} for name in ("a", "b")}
    with pytest.raises(PolicyError, match=r"CG002 provenance\.max_unknown_share: .*add up to 0\.2, which is above it"):
        policy(sources=sources, provenance={"max_unknown_share": 0.15})
    policy(sources=sources, provenance={"max_unknown_share": 0.2})


@pytest.mark.parametrize("name", ODD_NAMES)
def test_a_source_of_any_name_may_be_untagged(make: Make, name: str) -> None:
    (found,) = findings(of(policy(), make(real(2, source=name, origin=0))), "CG301")
    assert found.where == {"source": name}
    assert "\n" not in found.message
