"""Looks at one fixed set: the level holds although every look sees the same rows."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy.stats import beta, binom

from collapse_guard.errors import StatisticError
from collapse_guard.stats import FixedSetEvidence, ReferenceRows
from collapse_guard.stats.fixed_set import look_share

REFERENCE = (1_700, 200, 60, 40)
SETTINGS: dict[str, Any] = {"tail_mass": 0.06, "max_mass_drop": 0.10, "max_class_drop": 0.50, "alpha": 0.05}


def start(reference: Any = REFERENCE, **changes: Any) -> FixedSetEvidence:
    return FixedSetEvidence.start(reference, **(SETTINGS | changes))


def at_the_bound() -> np.ndarray:
    """Shares on the edge of health: the tail at 90 %, and a class at half of its own share."""
    shares = np.array(REFERENCE) / sum(REFERENCE)
    shares[[2, 3]] = 0.9 * shares[[2, 3]]
    shares[1] *= 0.5
    shares[0] = 1 - shares[1:].sum()
    return shares


def test_the_parts_of_the_level_sum_to_it() -> None:
    assert sum(map(look_share, range(1, 200_000))) == pytest.approx(1, abs=1e-5)


def test_the_tests_are_exact_binomial_tails_at_their_levels() -> None:
    evidence = start().update([1_850, 100, 30, 20])
    level = 0.05 * look_share(1)
    expected = [
        math.log(level / 2) - binom.logcdf(50, 2_000, 0.9 * 0.05),
        *(
            math.log(level / 8) - binom.logcdf(rows, 2_000, 0.5 * share / 2_000)
            for rows, share in zip((1_850, 100, 30, 20), REFERENCE, strict=True)
        ),
    ]
    np.testing.assert_allclose(evidence.log_excesses, expected, rtol=1e-7)


@pytest.mark.science
@pytest.mark.parametrize("baseline", ["reference", "sampled", "peak"])
def test_one_sample_looked_at_fifty_times_halts_no_more_often_than_stated(baseline: str) -> None:
    """Fully dependent looks on the edge of health: the same sample again and again."""
    n_runs, n_halted, rng = {"reference": 2_000, "sampled": 200, "peak": 60}[baseline], 0, np.random.default_rng(11)
    for _ in range(n_runs):
        if baseline == "sampled":
            sample = rng.multinomial(2_000, np.array(REFERENCE) / sum(REFERENCE))
            rows = ReferenceRows.of(sample, error=0.005, min_alone_rows=100)
            evidence = start(rows, tail=(2, 3), alpha=0.045)
        else:
            evidence = start(baseline=baseline)
        look = rng.multinomial(2_000, at_the_bound())
        evidence = evidence.update(look)
        looks = [evidence.compute().log_excess]
        if baseline != "peak" and looks[0] < 0:
            assert evidence.update(look).compute().log_excess < looks[0], "the level of a later look is smaller"
        else:
            for _ in range(49 if baseline != "peak" else 3):  # later looks only have smaller levels
                evidence = evidence.update(look)
                looks.append(evidence.compute().log_excess)
        n_halted += max(looks) >= 0
    bound = float(beta.ppf(0.95, n_halted + 1, n_runs - n_halted))
    print(f"\n{baseline}: false halts {n_halted} of {n_runs}, 95 % upper bound {bound:.2%}, allowed 5 %", end="")  # noqa: T201
    assert n_halted / n_runs <= 0.05
    assert bound <= 0.06 or n_runs < 100


def test_independent_looks_on_the_edge_keep_the_level_too() -> None:
    n_runs, n_halted, rng = 300, 0, np.random.default_rng(12)
    for _ in range(n_runs):
        evidence = start()
        for _ in range(20):
            evidence = evidence.update(rng.multinomial(2_000, at_the_bound()))
            if evidence.compute().log_excess >= 0:
                n_halted += 1
                break
    assert n_halted / n_runs <= 0.05


def test_a_class_that_is_no_longer_predicted_halts_at_once_and_is_named() -> None:
    result = start().update([1_800, 190, 10, 0]).compute()
    assert result.log_excess > 0
    assert 3 in result.fallen
    assert result.tail_mass_ratio == pytest.approx(0.1)


def test_against_its_own_peak_a_run_halts_when_it_falls_and_never_at_its_first_look() -> None:
    evidence = start(baseline="peak").update([2_000, 0, 0, 0])
    assert evidence.compute().log_excess < 0
    evidence = start(baseline="peak").update([1_500, 300, 120, 80])
    for _ in range(5):
        evidence = evidence.update([1_500, 300, 120, 80])
        assert evidence.compute().log_excess < 0
    fallen = evidence.update([1_880, 100, 15, 5]).compute()
    assert fallen.log_excess > 0
    assert set(fallen.fallen) == {1, 2, 3}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"alpha": 0}, r"alpha must lie in \(0, 1\)"),
        ({"max_class_drop": 1}, r"max_class_drop must lie in \[0, 1\)"),
        ({"baseline": "mean"}, "baseline must be reference or peak, got 'mean'"),
        ({"tail_mass": 0.001}, "the tail is empty"),
        ({"reference": [5, 0]}, "one class only"),
    ],
)
def test_a_start_that_makes_no_sense_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(StatisticError, match=message):
        start(**changes)


@pytest.mark.parametrize(
    ("counts", "message"),
    [([1, 2], "counts has 2 cells"), ([0, 0, 0, 0], "counts are all zero"), ([1, -1, 0, 0], r"counts\[1\] is -1")],
)
def test_a_look_that_is_no_look_is_refused(counts: list[int], message: str) -> None:
    with pytest.raises(StatisticError, match=message):
        start().update(counts)


def test_a_billion_rows_are_tested_without_overflow() -> None:
    evidence = start().update([85 * 10**7, 10**8, 3 * 10**7, 2 * 10**7])
    assert np.isfinite(evidence.log_excesses).all()
    assert evidence.compute().log_excess < 0
