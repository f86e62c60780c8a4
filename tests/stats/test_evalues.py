"""The e-values against an exact twin in the product domain, against scipy, and against their own null."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field
from fractions import Fraction
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.special import logsumexp
from scipy.stats import binom, multinomial

from collapse_guard.stats import ClassEvidence, ReferenceRows, TailEvidence
from collapse_guard.stats.evalues import (
    CLASS_BETS,
    EPSILONS,
    MASS_BETS,
    coverage_log_ratios,
    log_likelihood_ratios,
    log_mean_exp,
    shiryaev_roberts,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    Look = tuple[Sequence[int], int]

# The grids of science.md 3.2 and 3.3, written again so that a change of the package's own shows up.
MASS_GRID = [Fraction(tenths, 10) for tenths in (9, 8, 7, 6, 5, 3, 1)]
CLASS_GRID = [Fraction(hundredths, 100) for hundredths in (1, 10, 25, 50, 75)]
EPSILON_GRID = [Fraction(hundredths, 100) for hundredths in (1, 3, 10, 30)]


def exact_log(value: Fraction) -> float:
    return math.log(value.numerator) - math.log(value.denominator)


def mean(values: Sequence[Fraction]) -> Fraction:
    return sum(values, Fraction(0)) / len(values)


def likelihood_ratio(rows: int, n_rows: int, bound: Fraction, bet: Fraction) -> Fraction:
    """L = (q/b)^k ((1-q)/(1-b))^(n-k) with q = bet * b."""
    alternative = bet * bound
    return (alternative / bound) ** rows * ((1 - alternative) / (1 - bound)) ** (n_rows - rows)


@dataclass
class ExactTwin:
    """Science.md 3.2-3.4 and 3.6 in fractions: every start of every look is summed up on its own."""

    reference: Sequence[int]
    reference_unclaimed_rows: int
    tail_mass: Fraction
    mass_drop: Fraction
    coverage_drop: Fraction
    class_drop: Fraction
    planned_looks: int
    looks: list[Look] = field(default_factory=list)

    def share(self, cell: int) -> Fraction:
        return Fraction(self.reference[cell], sum(self.reference) + self.reference_unclaimed_rows)

    def tail(self) -> list[int]:
        alive = sorted((rows, cell) for cell, rows in enumerate(self.reference) if rows)
        cells: list[int] = []
        cumulated = 0
        for rows, cell in alive:
            cumulated += rows
            if cumulated > self.tail_mass * sum(self.reference):
                break
            cells.append(cell)
        return sorted(cells)

    def statistic(self, one_look: Callable[[Look], Fraction]) -> Fraction:
        """Sum over starts j of g_j L_j L_(j+1) ... L_t, with g_j = 1/T for planned looks and 0 afterwards."""
        ratios = [one_look(look) for look in self.looks]
        starts = range(min(len(ratios), self.planned_looks))
        return sum((math.prod(ratios[start:], start=Fraction(1, self.planned_looks)) for start in starts), Fraction(0))

    def mass(self) -> Fraction:
        tail = self.tail()
        bound = (1 - self.mass_drop) * sum((self.share(cell) for cell in tail), Fraction(0))

        def ratio(look: Look, bet: Fraction) -> Fraction:
            counts, unclaimed = look
            return likelihood_ratio(sum(counts[cell] for cell in tail), sum(counts) + unclaimed, bound, bet)

        return mean([self.statistic(partial(ratio, bet=bet)) for bet in MASS_GRID])

    def coverage(self) -> Fraction:
        tail = self.tail()

        def ratio(look: Look, epsilon: Fraction) -> Fraction:
            counts, unclaimed = look
            product = Fraction(1)
            for cell in tail:
                bound, n_rows = (1 - self.coverage_drop) * self.share(cell), sum(counts) + unclaimed
                mixture = mean([likelihood_ratio(counts[cell], n_rows, bound, bet) for bet in CLASS_GRID])
                product *= 1 + epsilon * (mixture - 1)
            return product

        return mean([self.statistic(partial(ratio, epsilon=epsilon)) for epsilon in EPSILON_GRID])

    def one_class(self, cell: int) -> Fraction:
        bound = (1 - self.class_drop) * self.share(cell)

        def ratio(look: Look, bet: Fraction) -> Fraction:
            counts, unclaimed = look
            return likelihood_ratio(counts[cell], sum(counts) + unclaimed, bound, bet)

        return mean([self.statistic(partial(ratio, bet=bet)) for bet in CLASS_GRID])

    def classes(self) -> dict[int, Fraction]:
        return {cell: self.one_class(cell) for cell, rows in enumerate(self.reference) if rows}


def assert_twins_agree(twin: ExactTwin, tail: TailEvidence, classes: ClassEvidence) -> None:
    mass, coverage, per_class = twin.mass(), twin.coverage(), twin.classes()
    found, found_classes = tail.compute(), classes.compute()
    assert list(tail.tail) == twin.tail()
    assert found.log_e_mass == pytest.approx(exact_log(mass), abs=1e-9)
    assert found.log_e_coverage == pytest.approx(exact_log(coverage), abs=1e-9)
    assert found.log_e == pytest.approx(exact_log((mass + coverage) / 2), abs=1e-9)
    assert found_classes.log_e == pytest.approx(exact_log(mean(list(per_class.values()))), abs=1e-9)
    for cell in range(len(twin.reference)):
        expected = exact_log(per_class[cell]) if cell in per_class else -math.inf
        assert found_classes.log_e_of(cell) == pytest.approx(expected, abs=1e-9)


def folded(twin: ExactTwin) -> tuple[TailEvidence, ClassEvidence]:
    reference = ReferenceRows.of(twin.reference, n_unclaimed_rows=twin.reference_unclaimed_rows)
    tail = TailEvidence.start(
        reference,
        tail_mass=float(twin.tail_mass),
        max_mass_drop=float(twin.mass_drop),
        max_coverage_drop=float(twin.coverage_drop),
        planned_looks=twin.planned_looks,
    )
    classes = ClassEvidence.start(
        reference,
        max_class_drop=float(twin.class_drop),
        planned_looks=twin.planned_looks,
    )
    for counts, unclaimed in twin.looks:
        tail = tail.update(counts, n_unclaimed_rows=unclaimed)
        classes = classes.update(counts, n_unclaimed_rows=unclaimed)
    return tail, classes


def test_the_grids_are_those_of_the_science_notes() -> None:
    assert MASS_BETS.tolist() == pytest.approx([float(bet) for bet in MASS_GRID])
    assert CLASS_BETS.tolist() == pytest.approx([float(bet) for bet in CLASS_GRID])
    assert EPSILONS.tolist() == pytest.approx([float(epsilon) for epsilon in EPSILON_GRID])


@settings(max_examples=40, derandomize=True, deadline=None)
@given(data=st.data())
def test_evidence_equals_its_exact_twin(data: st.DataObject) -> None:
    n_cells = data.draw(st.integers(2, 5), label="n_cells")
    counts = st.lists(st.integers(0, 40), min_size=n_cells, max_size=n_cells)
    drop = st.sampled_from([Fraction(0), Fraction(1, 10), Fraction(1, 5), Fraction(1, 2), Fraction(9, 10)])
    looks = st.tuples(counts, st.integers(0, 20)).filter(lambda look: sum(look[0]) + look[1] > 0)
    twin = ExactTwin(
        reference=data.draw(counts.filter(lambda rows: sum(row > 0 for row in rows) > 1), label="reference"),
        reference_unclaimed_rows=data.draw(st.integers(0, 30), label="reference_unclaimed_rows"),
        tail_mass=data.draw(st.integers(5, 95).map(lambda percent: Fraction(percent, 100)), label="tail_mass"),
        mass_drop=data.draw(drop, label="mass_drop"),
        coverage_drop=data.draw(drop, label="coverage_drop"),
        class_drop=data.draw(drop, label="class_drop"),
        planned_looks=data.draw(st.integers(1, 4), label="planned_looks"),
        looks=data.draw(st.lists(looks, min_size=1, max_size=5), label="looks"),
    )
    assume(twin.tail())
    assert_twins_agree(twin, *folded(twin))


def test_evidence_equals_its_exact_twin_on_a_dying_tail_beyond_the_planned_looks() -> None:
    reference = [118, 91, 67, 55, 41, 30, 26, 19, 14, 11, 0]
    looks: list[Look] = [
        ([120, 90, 70, 50, 40, 30, 25, 20, 13, 12, 0], 5),
        ([130, 95, 70, 50, 40, 30, 25, 10, 6, 2, 1], 9),
        ([140, 99, 80, 60, 40, 20, 20, 4, 2, 0, 0], 30),
        ([190, 99, 80, 60, 40, 20, 20, 0, 0, 0, 0], 60),
        ([190, 99, 80, 60, 40, 20, 20, 0, 0, 0, 0], 0),
    ]
    half, tenth = Fraction(1, 2), Fraction(1, 10)
    twin = ExactTwin(reference, 17, tenth, tenth, half, half, planned_looks=3, looks=looks)
    tail, classes = folded(twin)
    assert_twins_agree(twin, tail, classes)
    assert tail.compute().log_e > math.log(100), "the example must be one that halts"


def test_evidence_over_a_thousand_cells_equals_scipy() -> None:
    rng = np.random.default_rng(7)
    zipf = 1 / np.arange(1, 1001)
    reference = rng.multinomial(10_000, zipf / zipf.sum())
    start = TailEvidence.start(reference, tail_mass=0.10, max_mass_drop=0.10, max_coverage_drop=0.50, planned_looks=50)
    looks = [rng.multinomial(9_000, reference / 10_000) for _ in range(2)]
    found = start.update(looks[0]).update(looks[1]).compute()

    tail = np.array(start.tail)
    shares = reference[tail] / 10_000
    log_mass, log_coverage = np.full(7, -np.inf), np.full(4, -np.inf)
    for counts in looks:
        bound = 0.9 * shares.sum()
        seen = counts[tail]
        mass = binom.logpmf(seen.sum(), 9_000, bound * MASS_BETS) - binom.logpmf(seen.sum(), 9_000, bound)
        bets = 0.5 * shares[:, None] * CLASS_BETS
        ratios = binom.logpmf(seen[:, None], 9_000, bets) - binom.logpmf(seen, 9_000, 0.5 * shares)[:, None]
        mixture = np.exp(logsumexp(ratios, axis=1) - math.log(5))
        coverage = np.log1p(EPSILONS[:, None] * (mixture - 1)).sum(axis=1)
        log_mass = mass + np.logaddexp(log_mass, -math.log(50))
        log_coverage = coverage + np.logaddexp(log_coverage, -math.log(50))
    assert found.n_tail_cells == tail.size > 400
    assert found.log_e_mass == pytest.approx(logsumexp(log_mass) - math.log(7), abs=1e-9)
    assert found.log_e_coverage == pytest.approx(logsumexp(log_coverage) - math.log(4), abs=1e-8)
    assert found.n_tail_cells_seen == int((looks[1][tail] > 0).sum())
    assert found.tail_mass_ratio == pytest.approx(looks[1][tail].sum() / reference[tail].sum() * 10 / 9)
    assert found.expected_tail_coverage == pytest.approx((1 - (1 - shares) ** 9_000).mean())


@pytest.mark.parametrize("n_rows", [1, 10, 300, 20_000])
@pytest.mark.parametrize("bound", [1e-4, 0.003, 0.09, 0.5, 0.97])
def test_the_likelihood_ratio_is_a_difference_of_binomial_log_masses(n_rows: int, bound: float) -> None:
    counts = np.unique(np.linspace(0, n_rows, 7).astype(np.int64))
    found = log_likelihood_ratios(counts, n_rows, np.full(counts.size, bound), CLASS_BETS)
    rows = counts[:, None]
    expected = binom.logpmf(rows, n_rows, bound * CLASS_BETS) - binom.logpmf(rows, n_rows, bound)
    assert found.shape == (counts.size, CLASS_BETS.size)
    # scipy's own log masses cancel; their rounding grows with the counts
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9 * max(1.0, n_rows / 100))


def expectation(n_rows: int, share: float, bound: float, bets: NDArray[np.float64]) -> NDArray[np.float64]:
    counts = np.arange(n_rows + 1)
    ratios = np.exp(log_likelihood_ratios(counts, n_rows, np.full(counts.size, bound), bets))
    return np.asarray(binom.pmf(counts, n_rows, share) @ ratios)


@pytest.mark.parametrize("n_rows", [1, 5, 40, 400])
@pytest.mark.parametrize("bound", [0.001, 0.02, 0.09, 0.4])
@pytest.mark.parametrize("surplus", [1.0, 1.01, 1.2, 2.0])
def test_the_expected_likelihood_ratio_is_at_most_one_for_every_healthy_share(
    n_rows: int, bound: float, surplus: float
) -> None:
    for bets in (MASS_BETS, CLASS_BETS):
        expected = expectation(n_rows, bound * surplus, bound, bets)
        assert (expected <= 1 + 1e-9).all()
        if surplus == 1.0:
            np.testing.assert_allclose(expected, 1.0, atol=1e-9)


def test_the_expected_likelihood_ratio_exceeds_one_once_the_share_is_below_its_bound() -> None:
    assert (expectation(400, 0.5 * 0.09, 0.09, MASS_BETS) > 1.5).all()


@pytest.mark.parametrize("surplus", [1.0, 1.3, 1.9])
def test_the_expected_coverage_product_is_at_most_one_under_the_multinomial(surplus: float) -> None:
    bounds = np.array([0.05, 0.10, 0.15])
    shares = np.append(bounds * surplus, 1 - surplus * bounds.sum())
    n_rows, total = 9, np.zeros(EPSILONS.size)
    for counts in itertools.product(range(n_rows + 1), repeat=3):
        rest = n_rows - sum(counts)
        if rest < 0:
            continue
        ratios = log_likelihood_ratios(np.array(counts), n_rows, bounds, CLASS_BETS)
        product = np.exp(coverage_log_ratios(log_mean_exp(ratios, axis=1), np.ones(len(ratios), dtype=np.int64)))
        total += multinomial.pmf([*counts, rest], n_rows, shares) * product
    assert (total <= 1 + 1e-9).all()
    assert (total > 0.5).all(), "the enumeration must reach all of the mass"


@pytest.mark.parametrize(("planned_looks", "spent"), [(1, 1.0), (2, 1.0), (4, 0.5)])
def test_the_expected_statistic_after_two_looks_is_what_was_spent_on_restarts(planned_looks: int, spent: float) -> None:
    n_rows, bound = 12, 0.2
    counts = np.arange(n_rows + 1)
    ratios = log_likelihood_ratios(counts, n_rows, np.full(counts.size, bound), MASS_BETS)
    chance = binom.pmf(counts, n_rows, bound)
    expected = np.zeros(MASS_BETS.size)
    for first, second in itertools.product(counts, counts):
        after_one = shiryaev_roberts(None, ratios[first], look=1, planned_looks=planned_looks)
        after_two = shiryaev_roberts(after_one, ratios[second], look=2, planned_looks=planned_looks)
        expected += chance[first] * chance[second] * np.exp(after_two)
    np.testing.assert_allclose(expected, spent, rtol=1e-9)


def test_a_mean_of_exponentials_neither_overflows_nor_underflows() -> None:
    values = np.array([[2_000.0, 1_999.0], [-2_000.0, -2_001.0], [-np.inf, 0.0], [-np.inf, -np.inf]])
    found = log_mean_exp(values, axis=1)
    assert found[:3].tolist() == pytest.approx(
        [2_000 + math.log((1 + math.exp(-1)) / 2), -2_000 + math.log((1 + math.exp(-1)) / 2), -math.log(2)]
    )
    assert found[3] == -np.inf
    assert float(log_mean_exp(np.array([0.0, math.log(3)]))) == pytest.approx(math.log(2))


def test_unclaimed_rows_dilute_every_share() -> None:
    reference = ReferenceRows.of([6, 2], n_unclaimed_rows=8)
    assert reference.floors(reference.counts(), error=0).tolist() == [6 / 16, 2 / 16]
