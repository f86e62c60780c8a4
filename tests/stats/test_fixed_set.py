"""Looks at one fixed set: exact tests, and a false-halt rate that holds however much the looks depend on each other."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import beta, binom

from collapse_guard.errors import StatisticError
from collapse_guard.stats import FixedSetEvidence, ReferenceRows, TailEvidence
from collapse_guard.stats.fixed_set import look_share

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

ROWS = [8_000, 1_000, 600, 400]
SHARES = np.array(ROWS) / 10_000
DROP, ALPHA = 0.1, 0.05
SETTINGS: dict[str, Any] = {"tail_mass": 0.1, "max_mass_drop": DROP, "max_class_drop": DROP, "alpha": ALPHA}


def start(reference: Any = ROWS, **changes: Any) -> FixedSetEvidence:
    return FixedSetEvidence.start(reference, **(SETTINGS | changes))


# --- simulation: a twin on scipy's binomial and beta distributions, many runs at once


@dataclass(frozen=True)
class Runs:
    """Counts of many runs: tests are the tail (cells 2 and 3) and each of the four classes.

    Args:
        counts: shape (runs, looks, cells).
        parents: rows of the parent's last look on the same set, shape (runs, cells).
    """

    counts: Ints
    parents: Ints
    n_rows: int

    def tested(self, counts: Ints) -> Ints:
        """Return the rows of each test, the tail first, shape (..., tests)."""
        return np.concatenate([counts[..., 2:].sum(axis=-1, keepdims=True), counts], axis=-1)


def lower(rows: Ints, n_rows: int, error: Floats) -> Floats:
    """Return Clopper-Pearson lower bounds; ``error`` has one level per test, the last axis."""
    found = np.zeros(rows.shape)
    for test in range(rows.shape[-1]):
        values, where = np.unique(rows[..., test], return_inverse=True)
        bound = np.where(values > 0, beta.ppf(error[test], np.maximum(values, 1), n_rows - values + 1), 0)
        found[..., test] = bound[where].reshape(rows.shape[:-1])
    return found


def levels_at(look: int, alpha: float) -> Floats:
    """Return the level of each of five tests: half for the tail, half for four classes in equal parts."""
    return alpha * look_share(look) * np.array([1 / 2, *[1 / 8] * 4])


def excesses(runs: Runs, baseline: str, *, spend: Any = levels_at) -> Floats:
    """Return log of level over p-value, of the strongest test of each look, shape (runs, looks)."""
    tested, n_rows = runs.tested(runs.counts), runs.n_rows
    healthy, alpha, error = np.array([0.1, *SHARES]), ALPHA, 0.1 * ALPHA
    if baseline == "parent":
        alpha = ALPHA - error
        healthy = lower(runs.tested(runs.parents), n_rows, error * np.array([1 / 2, *[1 / 2 / 2 / 4] * 4]))
    floors, found = np.zeros(tested[:, 0].shape), []
    for look in range(1, tested.shape[1] + 1):
        level = spend(look, alpha / 2 if baseline == "peak" else alpha)
        bounds = (1 - DROP) * (floors if baseline == "peak" else healthy)
        found.append((np.log(level) - binom.logcdf(tested[:, look - 1], n_rows, bounds)).max(axis=1))
        if baseline == "peak":
            floors = np.maximum(floors, lower(tested[:, look - 1], n_rows, level))
    return np.stack(found, axis=1)


def drawn(kind: str, *, n_runs: int, n_looks: int, n_rows: int, is_first_healthy: bool = False) -> Runs:
    """Return runs at the bound of every null at once: all rare cells at 0.9 of their share, the head has the rest.

    - ``one set``: a model that stays the same, looked at on one and the same set.
    - ``independent``: a new set for every look.
    - ``drifting``: one set; rare cells thin out look by look, down to the bound.

    Args:
        is_first_healthy: whether the first look is not at the bound yet, so that a peak has something to fall from.
    """
    rng = np.random.default_rng(17)
    parents = rng.multinomial(n_rows, SHARES, n_runs)
    if kind == "independent":
        low = np.append(1 - 0.9 * SHARES[1:].sum(), 0.9 * SHARES[1:])
        counts = rng.multinomial(n_rows, low, (n_runs, n_looks))
    else:
        kept = np.full(n_looks, 0.9) if kind == "one set" else np.linspace(1.0, 0.9, n_looks)
        rare = [rng.binomial(parents[:, 1:], kept[0])]
        for before, after in itertools.pairwise(kept):
            rare.append(rng.binomial(rare[-1], after / before))
        tail = np.stack(rare, axis=1)
        counts = np.concatenate([n_rows - tail.sum(axis=2, keepdims=True), tail], axis=2)
    if is_first_healthy:
        counts[:, 0] = parents
    return Runs(counts, parents, n_rows)


@pytest.mark.science
@pytest.mark.parametrize("kind", ["one set", "independent", "drifting"])
@pytest.mark.parametrize("baseline", ["reference", "parent", "peak"])
def test_fifty_looks_halt_healthy_runs_as_rarely_as_stated_however_they_depend(baseline: str, kind: str) -> None:
    """Level 5 %, five thousand runs of fifty looks at 1,500 rows; ``one set`` is the same sample, fifty times."""
    runs = drawn(kind, n_runs=5_000, n_looks=50, n_rows=1_500, is_first_healthy=baseline == "peak")
    n_halted, n_runs = int((excesses(runs, baseline) >= 0).any(axis=1).sum()), len(runs.counts)
    highest = float(beta.ppf(0.95, n_halted + 1, n_runs - n_halted))
    text = (
        f"{baseline}, {kind}: {n_halted} of {n_runs} halted ({n_halted / n_runs:.2%}), 95 % upper bound {highest:.2%}"
    )
    print(f"\n{text}", end="")  # noqa: T201 - shown with -s
    assert highest < ALPHA


@pytest.mark.science
def test_levels_that_are_not_spent_would_halt_healthy_runs() -> None:
    """The same runs and tests with the whole level at every look: what the spending is for."""
    runs = drawn("independent", n_runs=1_000, n_looks=50, n_rows=1_500)
    whole = excesses(runs, "reference", spend=lambda _look, alpha: levels_at(1, alpha) / look_share(1))
    rate = (whole >= 0).any(axis=1).mean()
    print(f"\nunspent, independent: {rate:.2%} halted", end="")  # noqa: T201 - shown with -s
    assert rate > 4 * ALPHA


@pytest.mark.science
def test_evidence_that_multiplies_looks_at_one_set_would_halt_healthy_runs() -> None:
    """Why fresh looks have another test: one unlucky sample, looked at thirty times, is evidence thirty times."""
    drops: dict[str, Any] = {"max_mass_drop": DROP, "max_coverage_drop": 0.5}
    n_halted = 0
    for tail_rows in np.random.default_rng(2).binomial(1_500, 0.09, 40).tolist():
        evidence = TailEvidence.start([900, 100], tail_mass=0.1, planned_looks=30, **drops)
        for _ in range(30):
            evidence = evidence.update([1_500 - tail_rows, tail_rows])
        n_halted += evidence.compute().log_e_mass >= -math.log(ALPHA)
    print(f"\nmultiplied, one set: {n_halted} of 40 halted", end="")  # noqa: T201 - shown with -s
    assert n_halted > 5


@pytest.mark.parametrize("kind", ["one set", "independent"])
@pytest.mark.parametrize("baseline", ["reference", "parent", "peak"])
def test_the_twin_of_the_simulation_is_the_evidence_itself(baseline: str, kind: str) -> None:
    """At every look of runs that lose all but an eighth of the rare cells at the last one."""
    runs = drawn(kind, n_runs=3, n_looks=4, n_rows=150, is_first_healthy=True)
    runs.counts[:, 3, 1:] //= 8
    runs.counts[:, 3, 0] += 150 - runs.counts[:, 3].sum(axis=1)
    expected = excesses(runs, baseline)
    for run in range(3):
        evidence = start(baseline="peak" if baseline == "peak" else "reference")
        if baseline == "parent":
            reference = ReferenceRows.of(runs.parents[run], error=0.1 * ALPHA)
            evidence = start(reference, alpha=0.9 * ALPHA, tail=(2, 3))
        for look in range(4):
            evidence = evidence.update(runs.counts[run, look])
            assert evidence.compute().log_excess == pytest.approx(expected[run, look], rel=1e-6, abs=1e-6)
    assert (expected[:, 3] > expected[:, 2]).all()


# --- arithmetic


LOOK = st.tuples(st.lists(st.integers(0, 400), min_size=4, max_size=4).filter(any), st.integers(0, 50))


@settings(max_examples=60, derandomize=True, deadline=None)
@given(looks=st.lists(LOOK, min_size=1, max_size=3), mass_drop=st.sampled_from([0.0, 0.1]), class_drop=st.just(0.5))
def test_every_test_is_an_exact_binomial_one_at_its_part_of_the_level(
    looks: list[tuple[list[int], int]], mass_drop: float, class_drop: float
) -> None:
    evidence = start(max_mass_drop=mass_drop, max_class_drop=class_drop)
    bounds = np.array([(1 - mass_drop) * 0.1, *((1 - class_drop) * SHARES)])
    for number, (counts, unclaimed) in enumerate(looks, 1):
        evidence = evidence.update(counts, n_unclaimed_rows=unclaimed)
        rows = np.array([counts[2] + counts[3], *counts])
        expected = np.log(levels_at(number, ALPHA)) - binom.logcdf(rows, sum(counts) + unclaimed, bounds)
        np.testing.assert_allclose(evidence.log_excesses, expected, rtol=1e-6, atol=1e-9)
        result = evidence.compute()
        assert result.log_excess == pytest.approx(expected.max())
        assert result.tail_log_excess == pytest.approx(expected[0])
        assert result.fallen == tuple(np.flatnonzero(expected[1:] >= 0))
        assert result.tail_mass_ratio == pytest.approx(rows[0] / (sum(counts) + unclaimed) / 0.1)


def test_a_peak_is_the_highest_exact_bound_of_any_earlier_look() -> None:
    evidence, rng, floors = start(baseline="peak"), np.random.default_rng(1), np.zeros(5)
    for number in range(1, 4):
        counts = rng.multinomial(200, SHARES)
        rows = np.array([counts[2] + counts[3], *counts])
        level = levels_at(number, ALPHA / 2)
        expected = np.log(level) - binom.logcdf(rows, 200, (1 - DROP) * floors)
        evidence = evidence.update(counts)
        np.testing.assert_allclose(evidence.log_excesses, expected, rtol=1e-6, atol=1e-9)
        floors = np.maximum(floors, lower(rows[None], 200, level)[0])
        np.testing.assert_allclose(evidence.peak_floors, floors, rtol=1e-9)


@pytest.mark.parametrize(("baseline", "part"), [("reference", 1.0), ("peak", 0.5)])
def test_all_levels_of_all_looks_add_up_to_the_level(baseline: Any, part: float) -> None:
    """Of a peak, the other half is what its bounds may be wrong."""
    evidence = start(baseline=baseline)
    spent = math.fsum(replace(evidence, n_looks=look)._levels(5).sum() for look in range(3_000))
    rest = 6 / math.pi**2 / 3_000  # of the looks after the three thousandth, to leading order
    assert spent == pytest.approx(part * ALPHA * (1 - rest), rel=1e-6)
    levels = evidence._levels(5)
    assert levels[0] == pytest.approx(levels[1:].sum()), "half for the tail, half for the classes"


@pytest.mark.parametrize("look", [0, -1, 1.5, True, math.nan])
def test_a_look_is_counted_from_one(look: Any) -> None:
    with pytest.raises(StatisticError, match="look must be a whole number, 1 or more, got"):
        look_share(look)


@settings(max_examples=10, derandomize=True, deadline=None)
@given(look=LOOK, reference=st.lists(st.integers(1, 5_000), min_size=4, max_size=4))
def test_a_peak_never_halts_at_its_first_look(look: tuple[list[int], int], reference: list[int]) -> None:
    counts, unclaimed = [rows % 40 for rows in look[0]], look[1]
    counts[0] += 1
    evidence = start(reference, tail_mass=0.9, baseline="peak").update(counts, n_unclaimed_rows=unclaimed)
    assert evidence.compute().log_excess < 0
    assert evidence.compute().fallen == ()


# --- power


@pytest.mark.science
@pytest.mark.parametrize(("n_rows", "look", "least"), [(2_000, 1, 0.99), (2_000, 20, 0.90), (600, 1, 0.35)])
def test_a_halved_class_is_seen_at_the_very_look_at_which_it_halves(n_rows: int, look: int, least: float) -> None:
    """A class of 10 %, margin 10 %, level 1 %; at a later look the level is smaller."""
    rng, n_runs = np.random.default_rng(n_rows), 200
    evidence = replace(start(alpha=0.01), n_looks=look - 1)
    shares = SHARES + np.array([0.05, -0.05, 0, 0])
    seen = [1 in evidence.update(counts).compute().fallen for counts in rng.multinomial(n_rows, shares, n_runs)]
    print(f"\n{n_rows} rows, look {look}: {np.mean(seen):.1%} of halved classes seen", end="")  # noqa: T201 - shown with -s
    assert np.mean(seen) >= least


def test_a_halved_class_is_seen_against_the_run_s_own_peak() -> None:
    """Expected counts: the peak is reached at look 5, the class halves at look 6."""
    evidence = start(baseline="peak", alpha=0.01)
    for share in (0.02, 0.05, 0.08, 0.10, 0.11):
        tail = 200
        rows = round(4_000 * share)
        evidence = evidence.update([4_000 - rows - tail, rows, tail // 2, tail // 2])
        assert evidence.compute().log_excess < 0
    fallen = evidence.update([4_000 - 220 - 200, 220, 100, 100]).compute()
    assert fallen.fallen == (1,)
    assert fallen.log_excess > 0 > fallen.tail_log_excess


def test_a_tail_that_dies_in_parts_is_seen_by_the_pooled_test() -> None:
    """Every cell of the tail loses a third: none of them is sure alone, all of them together are."""
    reference = [9_000, *[50] * 20]
    result = start(reference, alpha=0.01).update([950 * 2 - 34, *[5 - 1 if cell % 2 else 3 for cell in range(20)]])
    assert result.compute().tail_log_excess > 0
    assert result.compute().fallen == ()


# --- references


def test_a_parent_as_baseline_is_trusted_down_to_its_bound() -> None:
    look = [1_700, 200, 60, 40]
    parent = [1_600, 200, 120, 80]
    exact, sampled = start(parent), start(ReferenceRows.of(parent, error=0.01))
    assert exact.update(look).compute().log_excess > sampled.update(look).compute().log_excess


def test_rare_classes_are_tested_together_and_named_by_none() -> None:
    reference = ReferenceRows.of([9_000, 500, 30, 30, 40], min_alone_rows=100)
    evidence = start(reference)
    assert evidence.sizes() == {"log_excesses": 4, "peak_floors": 0}
    result = evidence.update([9_400, 590, 0, 10, 0]).compute()
    assert result.log_excess > 0
    assert result.fallen == ()


def test_a_tail_that_the_reference_never_saw_cannot_fall() -> None:
    result = start([900, 100, 0], tail=(2,)).update([900, 100, 0]).compute()
    assert result.tail_log_excess < 0
    assert result.tail_mass_ratio == 0.0


def test_two_classes_are_enough_and_one_is_refused() -> None:
    assert start([950, 50]).update([1_000, 0]).compute().fallen == (1,)
    with pytest.raises(StatisticError, match="one class only"):
        start([950, 0])


@pytest.mark.parametrize("look", [[10**9, 0, 0, 0], [0, 0, 0, 10**9], [8 * 10**8, 10**8, 6 * 10**7, 4 * 10**7]])
@pytest.mark.parametrize("baseline", ["reference", "peak"])
def test_huge_looks_are_finite(look: list[int], baseline: Any) -> None:
    evidence = start(baseline=baseline)
    for _ in range(2):
        evidence = evidence.update(look)
        assert np.isfinite(evidence.log_excesses).all()
        assert math.isfinite(evidence.compute().log_excess)


def test_before_the_first_look_nothing_is_said() -> None:
    result = start().compute()
    assert result[:3] == (-math.inf, -math.inf, ())
    assert math.isnan(result.tail_mass_ratio)
    assert result.n_looks == 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"baseline": "parent"}, "baseline must be reference or peak, got 'parent'"),
        ({"tail_mass": 0}, r"tail_mass must lie in \(0, 1\), got 0"),
        ({"tail_mass": 0.01}, r"the tail is empty: the rarest cell holds 4.00% .*set tail_mass to at least 0.0400"),
        ({"max_mass_drop": 1.0}, r"max_mass_drop must lie in \[0, 1\), got 1.0"),
        ({"max_class_drop": -0.1}, r"max_class_drop must lie in \[0, 1\), got -0.1"),
        ({"alpha": 0.0}, r"alpha must lie in \(0, 1\), got 0.0"),
        ({"alpha": math.nan}, r"alpha must lie in \(0, 1\), got nan"),
        ({"alpha": "1 %"}, r"alpha must lie in \(0, 1\), got '1 %'"),
        ({"reference": [0, 0]}, "reference_counts are all zero"),
        ({"reference": [0.9, 0.1]}, "reference_counts must be whole numbers"),
    ],
)
def test_a_start_that_makes_no_sense_is_refused_by_the_argument(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(StatisticError, match=message):
        start(**changes)


@pytest.mark.parametrize(
    ("counts", "unclaimed", "message"),
    [
        ([3, -1, 2, 0], 0, r"counts\[1\] is -1; counts of rows are 0 or more"),
        ([0.5, 0.5, 0, 0], 0, "counts must be whole numbers.*do not pass shares"),
        ([math.nan, 1, 2, 3], 0, "counts must be whole numbers"),
        ([3, 1], 0, "counts has 2 cells, the reference has 4; use the same cell map"),
        ([0, 0, 0, 0], 0, "counts are all zero: a look needs rows"),
        ([1, 2, 3, 4], -1, "n_unclaimed_rows must be a whole number of rows"),
        ([[1, 2, 3, 4]], 0, "counts must be a non-empty 1-D array"),
    ],
)
def test_a_look_that_is_not_counts_is_refused_with_a_remedy(counts: Any, unclaimed: Any, message: str) -> None:
    with pytest.raises(StatisticError, match=message):
        start().update(counts, n_unclaimed_rows=unclaimed)
