"""Score evidence: bets on a bounded mean, against exact fractions, by enumeration, and by simulation."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import beta, binom

from collapse_guard.errors import StatisticError
from collapse_guard.stats import ScoreEvidence, mean_floor
from collapse_guard.stats.score import SCORE_BETS

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Draw = Callable[[np.random.Generator, int, int], NDArray[np.float64]]

LIMIT = math.log(100)


def start(mean: float = 0.5, **changes: Any) -> ScoreEvidence:
    return ScoreEvidence.start(mean, **({"max_drop": 0.10, "planned_looks": 50} | changes))


# --- arithmetic, against a twin in exact fractions


def exact_log_e(bound: Fraction, looks: list[list[Fraction]], planned_looks: int) -> float:
    """Shiryaev-Roberts over bets by its definition: the sum over restarts of what was won since."""
    total = Fraction(0)
    for bet in map(Fraction, SCORE_BETS.tolist()):
        won = [
            math.prod((1 + bet / (1 - bound) * (bound - score) for score in look), start=Fraction(1)) for look in looks
        ]
        total += sum(math.prod(won[first:], start=Fraction(1)) for first in range(min(len(looks), planned_looks)))
    mean = total / len(SCORE_BETS) / planned_looks
    return math.log(mean.numerator) - math.log(mean.denominator)


SCORE = st.integers(0, 16).map(lambda number: Fraction(number, 16))


@settings(max_examples=60, derandomize=True, deadline=None)
@given(
    looks=st.lists(st.lists(SCORE, min_size=1, max_size=6), min_size=1, max_size=5),
    mean=st.integers(1, 15),
    drop=st.sampled_from([0, Fraction(1, 8), Fraction(1, 2)]),
    planned=st.integers(1, 4),
)
def test_bets_are_what_fractions_say(looks: list[list[Fraction]], mean: int, drop: Fraction, planned: int) -> None:
    evidence = start(mean / 16, max_drop=float(drop), planned_looks=planned)
    for look in looks:
        evidence = evidence.update([float(score) for score in look])
    expected = exact_log_e((1 - drop) * Fraction(mean, 16), looks, planned)
    assert evidence.compute().log_e == pytest.approx(expected, abs=1e-10)


def test_the_result_tells_the_mean_of_the_last_look() -> None:
    evidence = start(0.5)
    assert evidence.compute()[::2] == (-math.inf, 0)
    assert math.isnan(evidence.compute().mean_ratio)
    assert evidence.update([0.0, 1.0]).update([0.2, 0.2]).compute().mean_ratio == pytest.approx(0.4)


# --- validity, by enumeration: under the null nobody gets rich on average


def distributions(n_points: int) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Distributions on ``n_points`` scores, the ends of the scale among them."""
    grid, weights = (0.0, 0.05, 0.3, 0.45, 0.5, 0.8, 1.0), np.arange(1, 10) / 10
    shares = [share for share in itertools.product(weights, repeat=n_points - 1) if sum(share) < 0.999]
    return [
        (np.array(points), np.array([*share, 1 - sum(share)]))
        for points in itertools.combinations(grid, n_points)
        for share in shares
    ]


@pytest.mark.parametrize("n_points", [2, 3])
def test_the_expected_e_value_of_a_row_is_at_most_one_for_every_mean_in_the_null(n_points: int) -> None:
    """E[E] is linear in the distribution of a row: exact, by enumeration, bet by bet and on average."""
    highest, bound = 0.0, 0.9 * 0.5
    of_score = {
        score: math.exp(start(0.5, planned_looks=1).update([score]).compute().log_e)
        for score in (0.0, 0.05, 0.3, 0.45, 0.5, 0.8, 1.0)
    }
    tested = 0
    for points, shares in distributions(n_points):
        expected = sum(share * of_score[float(point)] for point, share in zip(points, shares, strict=True))
        if points @ shares >= bound - 1e-12:
            tested, highest = tested + 1, max(highest, expected)
        else:
            assert expected > 1, "below the bound the bets win"
    assert tested > 50
    assert highest <= 1 + 1e-12


@pytest.mark.parametrize(("points", "shares"), [((0.0, 1.0), (0.55, 0.45)), ((0.05, 0.45, 0.8), (0.4, 0.1, 0.5))])
@pytest.mark.parametrize("planned", [1, 2, 3])
def test_the_expected_evidence_of_a_run_at_the_bound_is_what_was_spent(
    points: tuple[float, ...], shares: tuple[float, ...], planned: int
) -> None:
    """Three looks of two rows each, every outcome: E is 1 once all restarts are spent, at any planned number."""
    bound = math.fsum(point * share for point, share in zip(points, shares, strict=True))
    evidence = start(bound, max_drop=0.0, planned_looks=planned)
    states, spent = {evidence: 1.0}, []
    for look in range(3):
        after: dict[ScoreEvidence, float] = {}
        for (state, chance), rows in itertools.product(
            states.items(), itertools.product(zip(points, shares, strict=True), repeat=2)
        ):
            found = state.update([point for point, _ in rows])
            after[found] = after.get(found, 0.0) + chance * math.prod(share for _, share in rows)
        states = after
        spent.append(math.fsum(chance * math.exp(state.compute().log_e) for state, chance in states.items()))
        assert spent[-1] == pytest.approx(min(look + 1, planned) / planned, rel=1e-9)


# --- validity and power, by simulation


def zero_one(mean: float) -> Draw:
    return lambda rng, n_runs, n_rows: (rng.random((n_runs, n_rows)) < mean).astype(np.float64)


def bell(mean: float, strength: float) -> Draw:
    return lambda rng, n_runs, n_rows: rng.beta(mean * strength, (1 - mean) * strength, (n_runs, n_rows))


def shares_of_words(mean: float, n_words: int) -> Draw:
    """Scores as hapax has them: shares of few words."""
    return lambda rng, n_runs, n_rows: rng.binomial(n_words, mean, (n_runs, n_rows)) / n_words


SHAPES: dict[str, Callable[[float], Draw]] = {
    "zero or one": zero_one,
    "wide": lambda mean: bell(mean, 1.0),
    "bell": lambda mean: bell(mean, 30.0),
    "nearly constant": lambda mean: bell(mean, 1e5),
    "shares of words": lambda mean: shares_of_words(mean, 12),
}


@pytest.mark.science
def test_a_run_at_the_bound_halts_in_one_of_a_hundred_at_most() -> None:
    """At the bound of the null, whatever the shape of the scores; the upper bound is the exact binomial one."""
    n_runs, n_looks, n_rows, halts = 150, 12, 40, {}
    for mean, shape in itertools.product((0.05, 0.45, 0.95), SHAPES):
        rng = np.random.default_rng([round(mean * 100), *map(ord, shape)])
        drawn = SHAPES[shape](mean)(rng, n_runs, n_looks * n_rows).reshape(n_runs, n_looks, n_rows)
        halts[shape, mean] = sum(run_halts(start(mean, max_drop=0.0, planned_looks=n_looks), looks) for looks in drawn)
    n_halted, n_all = sum(halts.values()), n_runs * len(halts)
    highest = float(beta.ppf(0.95, n_halted + 1, n_all - n_halted))
    text = f"{n_halted} of {n_all} healthy runs at the bound halt, 95 % upper bound {highest:.2%}"
    print(f"\n{text}", end="")  # noqa: T201 - shown with -s
    assert highest < 0.01
    assert max(halts.values()) <= binom.isf(1e-6, n_runs, 0.01)


def run_halts(evidence: ScoreEvidence, looks: NDArray[np.float64]) -> bool:
    for look in looks:
        evidence = evidence.update(look)
        if evidence.compute().log_e >= LIMIT:
            return True
    return False


@pytest.mark.science
@pytest.mark.parametrize(("ratio", "look"), [(0.5, 1), (0.8, 4)])
def test_a_fallen_mean_halts_a_run_soon(ratio: float, look: int) -> None:
    """Scores as hapax has them, looks of 1,500 rows, margin 10 %: half in one look, a fifth in four."""
    rng = np.random.default_rng(3)
    drawn = shares_of_words(0.08 * ratio, 12)(rng, 40, look * 1_500).reshape(40, look, 1_500)
    halted = [run_halts(start(0.08), looks) for looks in drawn]
    text = f"mean at {ratio:.0%} of the reference: {sum(halted)} of 40 runs halt by look {look}"
    print(f"\n{text}", end="")  # noqa: T201 - shown with -s
    assert all(halted)


def test_the_margin_is_tolerated_and_more_is_not() -> None:
    looks = np.random.default_rng(4).binomial(12, 0.5 * 0.9, (50, 400)) / 12
    assert not run_halts(start(0.5), looks)
    assert run_halts(start(0.5, max_drop=0.05), looks)


# --- the mean that a sample is sure of


@pytest.mark.science
@pytest.mark.parametrize(
    ("shape", "mean", "n_rows"),
    [
        ("zero or one", 0.45, 30),
        ("zero or one", 0.02, 300),
        ("wide", 0.45, 30),
        ("wide", 0.02, 300),
        ("bell", 0.45, 300),
        ("nearly constant", 0.45, 30),
        ("shares of words", 0.95, 100),
    ],
)
def test_a_floor_is_above_the_mean_as_rarely_as_it_says(shape: str, mean: float, n_rows: int) -> None:
    """If it were in 5 %, more would be seen less than once in a million times."""
    n_runs, error = 400, 0.05
    rng = np.random.default_rng([round(mean * 100), n_rows, *map(ord, shape)])
    floors = np.array([mean_floor(row, error=error) for row in SHAPES[shape](mean)(rng, n_runs, n_rows)])
    n_wrong = int((floors > mean).sum())
    text = f"{shape}, mean {mean}, {n_rows} rows: {n_wrong} of {n_runs} floors too high, median {np.median(floors):.4f}"
    print(f"\n{text}", end="")  # noqa: T201 - shown with -s
    assert n_wrong <= binom.isf(1e-6, n_runs, error)


@pytest.mark.science
@pytest.mark.parametrize(("error", "loosest"), [(0.001, 1.55), (1e-6, 1.35)])
@pytest.mark.parametrize("n_rows", [100, 1_000, 100_000, 1_000_000])
def test_a_floor_of_zeros_and_ones_is_not_much_looser_than_clopper_and_pearson(
    error: float, loosest: float, n_rows: int
) -> None:
    """How far below the mean, over how far the exact bound for such scores is: rare, even and common ones."""
    ratios = []
    for n_ones in (max(n_rows // 1_000, 3), n_rows // 100 + 3, n_rows // 10, n_rows // 2, n_rows * 99 // 100):
        scores = np.repeat([0.0, 1.0], [n_rows - n_ones, n_ones])
        exact, mean = float(beta.ppf(error, n_ones, n_rows - n_ones + 1)), n_ones / n_rows
        ratios.append((mean - mean_floor(scores, error=error)) / (mean - exact))
    text = f"{n_rows} rows, error {error:g}: {min(ratios):.2f} to {max(ratios):.2f} of the exact margin"
    print(f"\n{text}", end="")  # noqa: T201 - shown with -s
    assert min(ratios) >= 1, "no bound that knows less is tighter than the exact one"
    assert max(ratios) < loosest


def test_a_floor_uses_that_scores_hardly_vary() -> None:
    scores = np.random.default_rng(1).normal(0.3, 0.001, 400).clip(0, 1)
    assert 0.29 < mean_floor(scores, error=0.001) < 0.3
    as_zeros_and_ones = float(beta.ppf(0.001, 120, 281))
    assert as_zeros_and_ones < 0.24


@settings(max_examples=60, derandomize=True, deadline=None)
@given(scores=st.lists(st.floats(0, 1), min_size=1, max_size=30), error=st.sampled_from([0.3, 0.01, 1e-9]))
def test_a_floor_is_between_zero_and_the_mean_and_falls_with_the_error(scores: list[float], error: float) -> None:
    floor = mean_floor(scores, error=error)
    assert 0 <= mean_floor(scores, error=error / 10) <= floor <= np.mean(scores) + 1e-12
    assert mean_floor(scores[::-1], error=error) == pytest.approx(floor, rel=1e-5, abs=1e-12)


@pytest.mark.parametrize(("score", "least"), [(0.0, 0.0), (1.0, 0.98), (1e-300, 0.98e-300), (0.3, 0.98 * 0.3)])
def test_the_floor_of_constant_scores(score: float, least: float) -> None:
    floor = mean_floor(np.full(1_000, score), error=0.001)
    assert least <= floor <= score


# --- ends and bad input


@pytest.mark.parametrize(("score", "falls"), [(0.0, True), (1.0, False)])
@pytest.mark.parametrize("mean", [1e-9, 0.5, 1 - 1e-9])
def test_constant_scores_of_zero_and_one_are_finite_evidence(score: float, falls: bool, mean: float) -> None:
    evidence = start(mean, planned_looks=2)
    for _ in range(4):
        evidence = evidence.update(np.full(500, score))
        assert np.isfinite(evidence.log_wealth).all()
    assert (evidence.compute().log_e > math.log(0.5)) == falls


def test_a_million_rows_stay_finite() -> None:
    scores = np.random.default_rng(0).random(10**6)
    result = start(0.9).update(scores).update(scores).compute()
    assert math.isfinite(result.log_e)
    assert result.log_e > 1e5
    assert math.isfinite(start(0.1).update(scores).compute().log_e)


BAD_SCORES = [
    ([0.5, math.nan], r"\[1\] is nan; scores lie in \[0, 1\], rescale them"),
    ([0.5, 0.1, 1.5], r"\[2\] is 1.5; scores lie in"),
    ([-0.1, 0.5], r"\[0\] is -0.1; scores lie in"),
    ([0.5, math.inf], r"\[1\] is inf; scores lie in"),
    (np.array([1.0000001], dtype=np.float32), r"\[0\] is 1.0000001\d+; scores lie in"),
    (["0.5", "0.1"], r" must be a non-empty 1-D array of numbers in \[0, 1\], got shape \(2,\) of <U3"),
    ([None, 0.5], r" must be a non-empty 1-D array of numbers in \[0, 1\], got shape \(2,\) of object"),
    ([[0.5], [0.1, 0.2]], r" must be a non-empty 1-D array of numbers in \[0, 1\], got ragged lists"),
    ([[0.5, 0.1]], r" must be a non-empty 1-D array of numbers in \[0, 1\], got shape \(1, 2\)"),
    ([], r" must be a non-empty 1-D array of numbers in \[0, 1\], got shape \(0,\)"),
    (0.5, r" must be a non-empty 1-D array of numbers in \[0, 1\], got shape \(\)"),
    ([0.5 + 1j], r" must be a non-empty 1-D array of numbers in \[0, 1\], got shape \(1,\) of complex128"),
]


@pytest.mark.parametrize(("scores", "message"), BAD_SCORES)
def test_scores_that_are_none_are_refused_by_name_and_row(scores: Any, message: str) -> None:
    with pytest.raises(StatisticError, match=f"^scores{message}"):
        start().update(scores)
    with pytest.raises(StatisticError, match=f"^reference_scores{message}"):
        mean_floor(scores, error=0.01)


@pytest.mark.parametrize(
    "scores", [[True, False], np.array([0, 1], dtype=np.uint8), np.array([0, 1], dtype=np.float32), (0, 1)]
)
def test_scores_may_be_flags_and_numbers_of_any_width(scores: Any) -> None:
    assert start().update(scores) == start().update([float(score) for score in scores])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mean": 0}, r"reference_mean must lie in \(0, 1\), got 0"),
        ({"mean": 1}, r"reference_mean must lie in \(0, 1\), got 1"),
        ({"mean": math.nan}, r"reference_mean must lie in \(0, 1\), got nan"),
        ({"mean": "half"}, r"reference_mean must lie in \(0, 1\), got 'half'"),
        ({"mean": True}, r"reference_mean must lie in \(0, 1\), got True"),
        ({"max_drop": 1.0}, r"max_drop must lie in \[0, 1\), got 1.0"),
        ({"max_drop": -0.1}, r"max_drop must lie in \[0, 1\), got -0.1"),
        ({"max_drop": 10**400}, r"max_drop must lie in \[0, 1\), got 1000"),
        ({"planned_looks": 0}, "planned_looks must be 1 or more, got 0"),
        ({"planned_looks": 2.5}, "planned_looks must be a whole number, 0 or more, got 2.5"),
        ({"planned_looks": True}, "planned_looks must be a whole number, 0 or more, got True"),
        ({"planned_looks": 10**30}, r"planned_looks must be 2\^62 or less, got 1000"),
    ],
)
def test_a_start_that_makes_no_sense_is_refused_by_the_argument(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(StatisticError, match=message):
        start(**changes)


@pytest.mark.parametrize("error", [0.0, 1.0, -0.1, math.nan, None])
def test_an_error_that_is_no_probability_is_refused(error: Any) -> None:
    with pytest.raises(StatisticError, match=r"error must lie in \(0, 1\), got"):
        mean_floor([0.5], error=error)
