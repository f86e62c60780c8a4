"""Evidence on unclaimed rows: the mass test, seen from the other side."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import beta, binom

from collapse_guard.errors import StatisticError
from collapse_guard.stats import ClaimedEvidence, ReferenceRows, TailEvidence

LIMIT = math.log(100)
LOOK = st.integers(1, 3_000).flatmap(lambda n_rows: st.tuples(st.just(n_rows), st.integers(0, n_rows)))


def start(n_claimed: int = 990, n_unclaimed: int = 10, **changes: Any) -> ClaimedEvidence:
    error = changes.pop("error", 0.0)
    half = n_claimed // 2
    reference = ReferenceRows.of([half, n_claimed - half], n_unclaimed_rows=n_unclaimed, error=error)
    return ClaimedEvidence.start(reference, **({"max_rise": 0.10, "planned_looks": 50} | changes))


@settings(max_examples=60, derandomize=True, deadline=None)
@given(
    looks=st.lists(LOOK, min_size=1, max_size=5),
    n_unclaimed=st.integers(1, 300),
    rise=st.sampled_from([0.0, 0.1, 0.25]),
    planned=st.integers(1, 4),
)
def test_it_is_the_mass_test_on_the_rows_that_some_cell_claims(
    looks: list[tuple[int, int]], n_unclaimed: int, rise: float, planned: int
) -> None:
    n_claimed = 1_000 - n_unclaimed
    claimed = start(n_claimed, n_unclaimed, max_rise=rise, planned_looks=planned)
    mass = TailEvidence.start(
        [n_claimed, n_unclaimed],
        tail=(0,),
        tail_mass=0.1,
        max_mass_drop=rise * 1_000 / n_claimed,  # the same tolerance, as a part of what is claimed
        max_coverage_drop=0.5,
        planned_looks=planned,
    )
    for n_rows, unclaimed in looks:
        claimed = claimed.update(n_rows, n_unclaimed_rows=unclaimed)
        mass = mass.update([n_rows - unclaimed, unclaimed])
    np.testing.assert_allclose(claimed.log_claimed, mass.log_mass, rtol=1e-9, atol=1e-9)
    assert claimed.compute().log_e == pytest.approx(mass.compute().log_e_mass, abs=1e-9)


@pytest.mark.parametrize(("unclaimed", "expected"), [(0.11, 1.0), (0.05, 0.85), (0.15, 2.0)])
def test_the_expected_evidence_of_a_look_is_one_at_the_bound_less_within_it_and_more_beyond(
    unclaimed: float, expected: float
) -> None:
    """By enumeration of a look of forty rows; the bound is the reference's 1 % and a rise of 10 points."""
    evidence, outcomes = start(planned_looks=1), np.arange(41)
    values = [math.exp(evidence.update(40, n_unclaimed_rows=int(found)).compute().log_e) for found in outcomes]
    mean = float(binom.pmf(outcomes, 40, unclaimed) @ np.array(values))
    if expected == 1.0:
        assert mean == pytest.approx(1.0, rel=1e-9)
    else:
        assert (mean < expected) == (expected < 1)


@pytest.mark.science
def test_runs_at_the_bound_are_halted_in_one_of_a_hundred_at_most() -> None:
    rng, n_runs, n_looks = np.random.default_rng(8), 400, 20
    drawn = rng.binomial(300, 0.11, (n_runs, n_looks))
    n_halted = 0
    for looks in drawn:
        evidence = start(planned_looks=n_looks)
        tops = []
        for unclaimed in looks.tolist():
            evidence = evidence.update(300, n_unclaimed_rows=unclaimed)
            tops.append(evidence.compute().log_e)
        n_halted += max(tops) >= LIMIT
    highest = float(beta.ppf(0.95, n_halted + 1, n_runs - n_halted))
    text = f"{n_halted} of {n_runs} runs at the bound halt, 95 % upper bound {highest:.2%}"
    print(f"\n{text}", end="")  # noqa: T201 - shown with -s
    assert n_halted <= binom.isf(1e-6, n_runs, 0.01)


def test_what_a_digit_model_does_is_within_the_default_margin_and_beyond_a_narrow_one() -> None:
    """Off-manifold rows of the digits sandbox: 47 real ones, 462 of the first model, 643 later, of 4,000 each."""
    assert start(3_953, 47, max_rise=0.25).update(4_000, n_unclaimed_rows=643).compute().log_e < 0
    narrow = start(3_953, 47, max_rise=0.05)
    assert narrow.update(4_000, n_unclaimed_rows=47).compute().log_e < 0
    assert narrow.update(4_000, n_unclaimed_rows=462).compute().log_e > LIMIT


def test_without_unclaimed_rows_in_the_reference_the_margin_alone_is_tolerated() -> None:
    evidence = start(1_000, 0)
    assert evidence.least_share == pytest.approx(0.9)
    assert evidence.update(2_000, n_unclaimed_rows=200).compute().log_e < 0
    assert evidence.update(2_000, n_unclaimed_rows=400).compute().log_e > LIMIT


def test_without_margin_one_row_in_a_hundred_refutes_a_reference_that_claims_all() -> None:
    evidence = start(1_000, 0, max_rise=0.0)
    assert evidence.update(2_000, n_unclaimed_rows=0).compute().log_e < 0
    assert LIMIT < evidence.update(2_000, n_unclaimed_rows=20).compute().log_e < math.inf


@pytest.mark.parametrize(("rise", "seen_from"), [(0.25, 0.30), (0.10, 0.16), (0.05, 0.11)])
def test_a_rise_is_seen_from_where_the_smallest_bet_wins(rise: float, seen_from: float) -> None:
    """Bets are parts of the claimed share, 0.9 at most, so that shares just beyond a margin win nothing, ever."""
    evidence = start(max_rise=rise, planned_looks=1)
    n_rows = 100_000
    assert evidence.update(n_rows, n_unclaimed_rows=round(n_rows * seen_from)).compute().log_e > LIMIT
    assert evidence.update(n_rows, n_unclaimed_rows=round(n_rows * (seen_from - 0.02))).compute().log_e < 0


@pytest.mark.parametrize(("n_claimed", "n_unclaimed", "rise"), [(100, 900, 0.1), (100, 900, 0.5), (2, 0, 0.999)])
def test_a_rise_beyond_all_rows_is_refused_and_the_largest_below_it_is_not(
    n_claimed: int, n_unclaimed: int, rise: float
) -> None:
    share = n_claimed / (n_claimed + n_unclaimed)
    if rise < share:
        assert start(n_claimed, n_unclaimed, max_rise=rise).update(10, n_unclaimed_rows=10).compute().log_e < 0.1
    else:
        text = rf"max_rise {rise:g} allows every row to be unclaimed: the reference has 90.0% already; lower it"
        with pytest.raises(StatisticError, match=text):
            start(n_claimed, n_unclaimed, max_rise=rise)


@pytest.mark.parametrize("error", [1e-6, 0.01])
def test_a_sampled_reference_is_trusted_down_to_its_bound(error: float) -> None:
    found = start(990, 10, error=error).least_share
    assert found == pytest.approx(float(beta.ppf(error, 990, 11)) - 0.1, rel=1e-9)


def test_no_more_is_asked_of_a_first_model_than_real_rows_have() -> None:
    reference = ReferenceRows.of([600, 390], n_unclaimed_rows=10, error=0.01, enough=[0.5, 0.3])
    assert ClaimedEvidence.start(reference, max_rise=0.1, planned_looks=1).least_share == pytest.approx(0.7)


@pytest.mark.parametrize("unclaimed", [0, 10**9 // 2, 10**9])
def test_huge_looks_neither_overflow_nor_give_nan(unclaimed: int) -> None:
    evidence = start(planned_looks=2)
    for _ in range(4):
        evidence = evidence.update(10**9, n_unclaimed_rows=unclaimed)
        assert np.isfinite(evidence.log_claimed).all()
    assert evidence.compute().unclaimed_share == unclaimed / 10**9


def test_before_the_first_look_there_is_no_evidence() -> None:
    log_e, share, n_looks = start().compute()
    assert (log_e, n_looks) == (-math.inf, 0)
    assert math.isnan(share)


@pytest.mark.parametrize(
    ("n_rows", "n_unclaimed", "message"),
    [
        (0, 0, "n_rows must be 1 or more and hold the unclaimed ones, got 0 and 0"),
        (5, 6, "n_rows must be 1 or more and hold the unclaimed ones, got 5 and 6"),
        (-5, 0, "n_rows must be a whole number of rows, 0 or more, got -5"),
        (5, -1, "n_unclaimed_rows must be a whole number of rows, 0 or more, got -1"),
        (5.5, 1, "n_rows must be a whole number of rows, 0 or more, got 5.5"),
        (5, math.nan, "n_unclaimed_rows must be a whole number of rows, 0 or more, got nan"),
        (True, 0, "n_rows must be a whole number of rows, 0 or more, got True"),
        (10**30, 0, "n_rows is 10*; the sum would overflow 64 bits"),
    ],
)
def test_a_look_that_is_no_look_is_refused_by_the_argument(n_rows: Any, n_unclaimed: Any, message: str) -> None:
    with pytest.raises(StatisticError, match=message):
        start().update(n_rows, n_unclaimed_rows=n_unclaimed)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"max_rise": 1}, r"max_rise must lie in \[0, 1\), got 1"),
        ({"max_rise": 1.5}, r"max_rise must lie in \[0, 1\), got 1.5"),
        ({"max_rise": -0.1}, r"max_rise must lie in \[0, 1\), got -0.1"),
        ({"max_rise": math.nan}, r"max_rise must lie in \[0, 1\), got nan"),
        ({"max_rise": "0.1"}, r"max_rise must lie in \[0, 1\), got '0.1'"),
        ({"planned_looks": 0}, "planned_looks must be 1 or more, got 0"),
        ({"planned_looks": 1.5}, "planned_looks must be a whole number, 0 or more, got 1.5"),
    ],
)
def test_a_start_that_makes_no_sense_is_refused_by_the_argument(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(StatisticError, match=message):
        start(**changes)


def test_evidence_grows_with_every_unclaimed_row() -> None:
    found = [start().update(500, n_unclaimed_rows=rows).compute().log_e for rows in range(0, 501, 20)]
    assert all(less < more for less, more in itertools.pairwise(found))
