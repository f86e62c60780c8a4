"""Divergences from the reference against closed forms and outside references.

Outside references, to 1e-6 or better: scipy.spatial.distance.jensenshannon and cityblock; scipy.stats.chisquare;
scipy.stats.dirichlet_multinomial and multinomial (the Bayes factor); mpmath with 50 digits (the same at 1e9 rows).
"""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cityblock, jensenshannon
from scipy.stats import chisquare, dirichlet_multinomial, multinomial

from collapse_guard.errors import StatisticError
from collapse_guard.stats.divergence import (
    drift_log_bayes_factor,
    jensen_shannon_nats,
    novel_row_share,
    pearson_chi2,
    rarefied_types_ratio,
    total_variation,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

FIGURES: list[Callable[[Any, Any], float]] = [
    drift_log_bayes_factor,
    jensen_shannon_nats,
    novel_row_share,
    pearson_chi2,
    rarefied_types_ratio,
    total_variation,
]
PAIRS = st.integers(1, 8).flatmap(
    lambda size: st.tuples(*[st.lists(st.integers(0, 30), min_size=size, max_size=size).filter(any)] * 2)
)
#: Pairs with a row of the look in a cell of the reference.
MEETING = PAIRS.filter(lambda pair: any(made and reference for made, reference in zip(*pair, strict=True)))
laws = settings(max_examples=60, derandomize=True, deadline=None)


def samples(seed: int, n_cells: int = 40) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    rng = np.random.default_rng(seed)
    reference = rng.multinomial(5_000, rng.dirichlet(np.ones(n_cells))) + 1
    return rng.multinomial(3_000, rng.dirichlet(reference)), reference


@pytest.mark.parametrize("seed", range(5))
def test_divergences_agree_with_scipy(seed: int) -> None:
    made, reference = samples(seed)
    p, q = made / made.sum(), reference / reference.sum()
    assert jensen_shannon_nats(made, reference) == pytest.approx(jensenshannon(p, q) ** 2, rel=1e-6)
    assert total_variation(made, reference) == pytest.approx(cityblock(p, q) / 2, rel=1e-6)
    expected = q * made.sum()
    assert pearson_chi2(made, reference) == pytest.approx(chisquare(made, expected).statistic, rel=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_the_bayes_factor_agrees_with_scipy(seed: int) -> None:
    made, reference = samples(seed, n_cells=6)
    n_rows, q = int(made.sum()), reference / reference.sum()
    null = multinomial.logpmf(made, n_rows, q)
    drifted = [dirichlet_multinomial.logpmf(made, q * n_rows / t, n_rows) for t in (1, 2, 5, 10, 20)]
    expected = np.logaddexp.reduce(drifted) - math.log(5) - null
    assert drift_log_bayes_factor(made, reference) == pytest.approx(expected, rel=1e-6, abs=1e-6)


def test_the_bayes_factor_has_expectation_one_under_its_null() -> None:
    reference, n_rows = np.array([4, 2, 1]), 7
    outcomes = [c for c in itertools.product(range(n_rows + 1), repeat=3) if sum(c) == n_rows]
    weights = multinomial.pmf(outcomes, n_rows, reference / reference.sum())
    factors = np.exp([drift_log_bayes_factor(list(outcome), reference) for outcome in outcomes])
    assert (weights * factors).sum() == pytest.approx(1, rel=1e-10)


@pytest.mark.parametrize("scale", [1, 10**3, 10**8])
def test_the_bayes_factor_holds_at_a_billion_rows(scale: int) -> None:
    mp = pytest.importorskip("mpmath", reason="mpmath is not installed").mp
    mp.dps = 50
    made, reference = [6 * scale, 3 * scale + 7, scale, 5, 0], [60, 31, 9, 1, 1]
    n_rows, total = sum(made), sum(reference)

    def exact_log(t: int) -> Any:
        kappa = mp.mpf(n_rows) / t
        alphas = [kappa * count / total for count in reference]
        cells = [
            mp.loggamma(alpha + rows) - mp.loggamma(alpha) - rows * mp.log(mp.mpf(count) / total)
            for alpha, rows, count in zip(alphas, made, reference, strict=True)
        ]
        return mp.loggamma(kappa) - mp.loggamma(kappa + n_rows) + mp.fsum(cells)

    logs = [exact_log(t) for t in (1, 2, 5, 10, 20)]
    top = max(logs)
    expected = float(top + mp.log(mp.fsum(mp.exp(log - top) for log in logs) / 5))
    assert drift_log_bayes_factor(made, reference) == pytest.approx(expected, rel=1e-9, abs=1e-6)


@laws
@given(pair=MEETING)
def test_equal_shares_diverge_by_nothing_and_others_within_the_scale(pair: tuple[list[int], list[int]]) -> None:
    made, reference = pair
    assert 0 <= jensen_shannon_nats(made, reference) <= math.log(2)
    assert 0 <= total_variation(made, reference) <= 1
    assert pearson_chi2(made, reference) >= 0
    same = [3 * rows for rows in reference]
    assert jensen_shannon_nats(same, reference) == pytest.approx(0, abs=1e-12)
    assert total_variation(same, reference) == pytest.approx(0, abs=1e-12)
    assert pearson_chi2(same, reference) == pytest.approx(0, abs=1e-9)
    assert drift_log_bayes_factor(same, reference) <= 1e-9
    assert rarefied_types_ratio(reference, reference) == 1


@laws
@given(pair=PAIRS)
def test_jensen_shannon_and_total_variation_are_symmetric_and_ordered(pair: tuple[list[int], list[int]]) -> None:
    made, reference = pair
    distance, nats = total_variation(made, reference), jensen_shannon_nats(made, reference)
    assert distance == pytest.approx(total_variation(reference, made), abs=1e-12)
    assert nats == pytest.approx(jensen_shannon_nats(reference, made), abs=1e-12)
    assert nats <= distance * math.log(2) + 1e-12  # Lin 1991
    assert nats >= distance**2 / 2 - 1e-12  # Pinsker, twice


@laws
@given(pair=MEETING, data=st.data())
def test_the_order_of_cells_does_not_matter(pair: tuple[list[int], list[int]], data: st.DataObject) -> None:
    made, reference = np.array(pair[0]), np.array(pair[1])
    order = data.draw(st.permutations(range(made.size)))
    for figure in FIGURES:
        assert figure(made[order], reference[order]) == pytest.approx(figure(made, reference), rel=1e-9, abs=1e-9)


def test_disjoint_shares_diverge_by_all_there_is() -> None:
    assert jensen_shannon_nats([4, 0], [0, 9]) == pytest.approx(math.log(2), rel=1e-15)
    assert total_variation([4, 0], [0, 9]) == 1


def test_rows_of_cells_that_the_reference_never_saw_are_counted_apart() -> None:
    known, unknown = ([50, 40, 2], [60, 35, 5]), ([50, 40, 2, 5, 3], [60, 35, 5, 0, 0])
    assert pearson_chi2(*unknown) == pearson_chi2(*known)
    assert drift_log_bayes_factor(*unknown) == drift_log_bayes_factor(*known)
    assert novel_row_share(*unknown) == 0.08
    assert novel_row_share(*known) == 0
    for figure in (pearson_chi2, drift_log_bayes_factor):
        with pytest.raises(StatisticError, match="counts hold rows in cells alone that the reference never saw"):
            figure([0, 3], [3, 0])


def test_a_fresh_sample_has_the_chi2_of_its_degrees_of_freedom_and_no_bayes_factor() -> None:
    reference = np.arange(1, 101) * 10
    rng = np.random.default_rng(3)
    looks = [rng.multinomial(20_000, reference / reference.sum()) for _ in range(50)]
    chi2 = np.mean([pearson_chi2(look, reference) for look in looks])
    assert chi2 == pytest.approx(99, abs=4 * math.sqrt(2 * 99 / 50))
    assert max(drift_log_bayes_factor(look, reference) for look in looks) < 0


def test_one_cell_and_a_billion_rows_are_no_trouble() -> None:
    assert [figure([10**9], [3]) for figure in FIGURES] == pytest.approx([0, 0, 0, 0, 1, 0], abs=1e-6)
    assert total_variation([3 * 10**9, 10**9], [1, 1]) == 0.25
    assert rarefied_types_ratio([10**9, 0], [10**9, 10**9]) == pytest.approx(0.5)


@pytest.mark.parametrize("figure", FIGURES)
@pytest.mark.parametrize(
    ("made", "reference", "message"),
    [
        ([1, 2], [1, 2, 3], "counts has 2 cells, the reference has 3"),
        ([0, 0], [1, 2], "counts are all zero"),
        ([1, 2], [0, 0], "reference_counts are all zero"),
        ([1, -2], [1, 2], r"counts\[1\] is -2"),
        ([1, 2], [0.5, 0.5], "reference_counts must be whole numbers"),
        ([1, float("nan")], [1, 2], "counts must be whole numbers"),
    ],
)
def test_counts_that_are_none_are_refused_by_name(
    figure: Callable[[Any, Any], float], made: Any, reference: Any, message: str
) -> None:
    with pytest.raises(StatisticError, match=message) as caught:
        figure(made, reference)
    assert "\n" not in str(caught.value)
