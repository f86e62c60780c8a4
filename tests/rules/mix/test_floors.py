"""CG101 and CG107: floors by rows and by what the rows weigh."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.rules.test_rules import ODD_NAMES, findings, made, of, policy, real

if TYPE_CHECKING:
    from tests.rules.test_rules import Entries, Make


def both(make: Make, rows: Entries, *, unit: str = "rows", **sections: Any) -> tuple[set[str], set[str]]:
    """Return what CG101 and CG107 are about."""
    subject = of(policy(unit=unit, **sections), make(rows, unit=unit))
    return (
        {each.subject for each in findings(subject, "CG101")},
        {each.subject for each in findings(subject, "CG107")},
    )


def test_a_floor_has_its_share_by_rows_beside_that_in_the_unit(make: Make) -> None:
    subject = of(policy(unit="tokens"), make(real(6) + made(4, amount=3.0), unit="tokens"))
    (finding,) = findings(subject, "CG101")
    assert finding.evidence == {
        "share": 6 / 18,
        "floor": 0.5,
        "amount": 6.0,
        "unit": "tokens",
        "share_of_rows": 0.6,
        "n_rows": 6,
        "missing": 6,
    }


@pytest.mark.parametrize(
    ("rows", "by_amount", "by_weight"),
    [
        (real(5) + made(5), False, False),
        (real(4) + made(5), True, False),  # too few rows: nothing but CG101
        (real(4) + real(4, first=50, amount=0.0) + made(5), True, True),  # enough rows, half of them idle
        (real(1) + real(3, first=50, amount=0.0) + made(5), True, False),  # too few rows, idle ones among them
        (real(5) + made(5, amount=2.0), True, True),  # repeated synthetic rows
        (real(4, amount=2.0) + made(5), False, False),  # too few rows, and enough in the unit
    ],
)
def test_weight_breaks_a_floor_only_where_rows_keep_it(
    make: Make, rows: Entries, by_amount: bool, by_weight: bool
) -> None:
    assert both(make, rows) == ({"real"} if by_amount else set(), {"real"} if by_weight else set())


def test_retained_rows_are_counted_and_named_apart(make: Make) -> None:
    rows = real(5) + real(1, first=50, amount=0.0) + made(6)
    (finding,) = findings(of(policy(), make(rows)), "CG107")
    assert finding.message == (
        "real rows: 6 of 12 rows keep the floor of 0.5, what they weigh does not: 5 of 11 rows are a share of 0.4545;"
        " 1 of these rows does not train"
    )
    assert finding.evidence["n_retained_rows"] == 1
    assert (finding.evidence["share_of_rows"], finding.measured) == (0.5, 5 / 11)


@pytest.mark.parametrize("name", [*ODD_NAMES, "real"])
def test_a_source_has_both_floors_for_itself(make: Make, name: str) -> None:
    rows = real(6) + real(4, first=50, source=name, amount=0.0)
    sources = {name: {"min_share": 0.4}, "web": {"min_share": 0.5}}
    assert both(make, rows, sources=sources) == ({name}, {name})
    (finding,) = findings(of(policy(sources=sources), make(rows)), "CG107")
    assert (finding.where, finding.key) == ({"source": name}, ("sources", name, "min_share"))
    assert "\n" not in finding.message


def test_a_source_that_is_absent_is_below_its_floor_by_rows_too(make: Make) -> None:
    assert both(make, real(6), sources={"books": {"min_share": 0.1}}) == ({"books"}, set())
    assert both(make, real(6), sources={"books": {"min_share": 0.0}}) == (set(), set())


def test_nothing_that_trains_is_below_every_floor_but_nought(make: Make) -> None:
    rows = real(6, amount=0.0)
    assert both(make, rows) == ({"real"}, {"real"})
    assert both(make, rows, mix={"real_min_share": 0.0}) == (set(), set())


@settings(max_examples=15, deadline=None, derandomize=True)
@given(
    n=st.tuples(*[st.integers(0, 6)] * 4).filter(any),
    floor=st.sampled_from([0.0, 0.25, 0.5, 0.6, 1.0]),
)
def test_weight_breaks_no_floor_that_holds_and_none_that_the_rows_break(
    make: Make, n: tuple[int, int, int, int], floor: float
) -> None:
    trained, idle, once, twice = n
    rows = real(trained) + real(idle, first=50, amount=0.0) + made(once) + made(twice, first=2000, amount=2.0)
    total, n_rows = trained + once + 2 * twice, trained + idle + once + twice
    is_broken = trained < floor * total - 1e-6 or (total == 0 and floor > 0)
    rows_keep = trained + idle >= floor * n_rows - 1e-6
    wanted = ({"real"} if is_broken else set(), {"real"} if is_broken and rows_keep else set())
    assert both(make, rows, mix={"real_min_share": floor}) == wanted
