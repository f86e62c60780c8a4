"""CG206: real rows that are kept and do not train."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collapse_guard.errors import PolicyError
from collapse_guard.manifest.light import light_rows
from collapse_guard.records import Origin, Status
from tests.rules.test_rules import ODD_NAMES, findings, made, of, policy, real

if TYPE_CHECKING:
    from tests.rules.test_rules import Entries, Make


def light(make: Make, rows: Entries, at_most: float, *, unit: str = "weight", **sections: Any) -> dict[str, float]:
    """Return what is measured of each source."""
    scope = sections.pop("accumulation", {})
    rules = policy(unit=unit, accumulation={"require_weight_above": at_most} | scope, **sections)
    subject = of(rules, make(rows, unit=unit))
    return {each.subject: each.measured or 0 for each in findings(subject, "CG206")}


def test_a_policy_that_does_not_ask_for_weight_sees_none(make: Make) -> None:
    assert findings(of(policy(), make(real(3, amount=0.0))), "CG206") == []


@pytest.mark.parametrize(("at_most", "n_rows"), [(0.0, 1), (0.1, 2), (0.25, 3), (0.5, 4), (0.6, 4), (3.0, 5)])
def test_an_amount_that_is_just_the_bound_is_too_light(make: Make, at_most: float, n_rows: int) -> None:
    rows = [{"id": n, "amount": amount} for n, amount in enumerate((0.0, 0.1, 0.25, 0.5, 3.0))]
    assert light(make, rows, at_most) == {"web": n_rows}
    assert light(make, rows[4:], 0.5) == {}


def test_only_real_rows_in_scope_must_weigh(make: Make) -> None:
    rows = real(2, amount=0.0) + made(3, amount=0.0) + real(4, first=50, source="cache", amount=0.0)
    assert light(make, rows, 0.0) == {"web": 2, "cache": 4}
    assert light(make, rows, 0.0, accumulation={"scope": ["web"]}) == {"web": 2}
    assert light(make, rows, 0.0, sources={"cache": {"accumulate": "off"}}) == {"web": 2}
    assert light(make, rows, 0.0, accumulation={"mode": "off"}) == {"web": 2, "cache": 4}


def test_count_and_share_of_the_source_are_told(make: Make) -> None:
    rows = real(3) + real(1, first=50, amount=0.0) + made(9)
    (found,) = findings(of(policy(accumulation={"require_weight_above": 0.0}), make(rows)), "CG206")
    assert found.message == (
        "source 'web': 1 real row is kept with an amount of 0 rows or less (a share of 0.2500 of its real rows)"
    )
    assert found.evidence == {"n_rows": 1, "share": 0.25, "at_most": 0.0, "unit": "rows"}


def test_amounts_of_another_unit_leave_the_question_open(make: Make) -> None:
    rules = policy(unit="tokens", accumulation={"require_weight_above": 3.0})
    (found,) = findings(of(rules, make(real(3))), "CG206")
    assert found.status is Status.INCONCLUSIVE


@pytest.mark.parametrize("name", ODD_NAMES)
@pytest.mark.parametrize("at_most", [0.0, 0.5])
def test_a_source_of_any_name_may_be_light(make: Make, name: str, at_most: float) -> None:
    assert light(make, real(2, source=name, amount=at_most) + real(2, first=50), at_most) == {name: 2}


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    amounts=st.lists(st.sampled_from([0.0, 5e-324, 0.1, 0.3, 1.0, 2.0**53]), min_size=1, max_size=8),
    at_most=st.sampled_from([0.0, 5e-324, 0.1, 0.2, 1.0]),
)
def test_rows_are_counted_as_arrow_counts_them(make: Make, amounts: list[float], at_most: float) -> None:
    rows = [{"id": n, "amount": amount, "source": f"s{n % 2}"} for n, amount in enumerate(amounts)]
    manifest = make(rows + made(2, amount=0.0))
    index = manifest.index
    wanted: dict[str, int] = {}
    for source in sorted({str(row["source"]) for row in rows}):
        part = index.filter(pc.equal(index.column("source"), source))
        n_light = pc.sum(pc.less_equal(part.column("amount"), at_most)).as_py()
        wanted |= {source: n_light} if n_light else {}
    assert light_rows(manifest, Origin.REAL, at_most=at_most) == wanted
    manifest.verify()
    assert light_rows(manifest, Origin.REAL, at_most=at_most) == wanted


@pytest.mark.parametrize("value", [-1, ".inf", "much"])
def test_a_bound_that_is_no_amount_is_refused(value: Any) -> None:
    with pytest.raises(PolicyError, match="require_weight_above"):
        policy(accumulation={"require_weight_above": float("inf") if value == ".inf" else value})
