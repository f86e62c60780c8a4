"""Drift in closed form: against the figures of the literature, exact Markov chains, twins and simulated chains."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import binom

from collapse_guard.stats.drift import (
    anchor_variance,
    effective_rows_of_accumulation,
    effective_rows_of_mix,
    fresh_share_plateau,
    simpson_diversity,
    survival,
)

Floats = NDArray[np.float64]

SHARES = st.floats(0, 1)
ROWS = st.integers(1, 10**9)


def zipf(n_classes: int) -> Floats:
    weights = 1 / np.arange(1, n_classes + 1)
    return np.asarray(weights / weights.sum())


def mix(n_rows: int, real_share: float, generations: int, *, entering: float | None = None) -> Floats:
    return effective_rows_of_mix(
        n_rows=n_rows,
        n_synthetic_rows=n_rows if entering is None else entering,
        real_share=real_share,
        generations=generations,
    )


def exact_survival(share: float, *, n_rows: int, entering: int, real_share: float, generations: int) -> Floats:
    """Return the chance to be alive by the whole Markov chain of the entering rows of one class."""
    states = np.arange(entering + 1)
    model = real_share * share + (1 - real_share) * states / entering
    step = binom.pmf(states[None, :], entering, model[:, None])
    unseen = (1 - model) ** n_rows
    law, found = binom.pmf(states, entering, share), [1 - (1 - share) ** n_rows]
    for _ in range(generations - 1):
        found.append(1 - float(law @ unseen))
        law = law @ step
    return np.array(found)


@pytest.mark.parametrize(("generation", "live"), [(1, 908), (5, 622), (10, 461), (20, 316), (50, 175)])
def test_live_types_of_a_zipf_population_under_replace_are_those_of_the_notes(generation: int, live: int) -> None:
    effective = mix(10_000, 0.0, 50)[generation - 1]
    assert survival(zipf(1_000), effective).sum() == pytest.approx(live, abs=1)


@pytest.mark.science
def test_live_types_under_replace_agree_with_simulated_chains() -> None:
    rng, n_chains, shares = np.random.default_rng(5), 200, zipf(1_000)
    model = np.tile(shares, (n_chains, 1))
    alive = []
    for _ in range(20):
        rows = rng.multinomial(10_000, model)
        alive.append((rows > 0).sum(axis=1))
        model = rows / 10_000
    for generation in (1, 5, 10, 20):
        sample = alive[generation - 1]
        expected = survival(shares, mix(10_000, 0.0, 20)[generation - 1]).sum()
        print(f"\nreplace, t={generation:2}: simulated {sample.mean():.1f}, closed form {expected:.1f}", end="")  # noqa: T201 - shown with -s
        assert sample.mean() == pytest.approx(expected, abs=5 * sample.std() / math.sqrt(n_chains))


def test_replace_is_the_critical_branching_process() -> None:
    dead = [0.0]
    for _ in range(99):
        dead.append(math.exp(-(1 - dead[-1])))
    assert mix(1_000, 0.0, 100) == pytest.approx(1_000 * (1 - np.array(dead)), rel=1e-12)
    assert mix(1_000, 0.0, 10_000)[-1] == pytest.approx(2 * 1_000 / 10_001, rel=2e-3)


@pytest.mark.parametrize("real_share", [0.01, 0.1, 0.5, 0.9])
def test_a_mix_is_branching_with_immigration(real_share: float) -> None:
    """The generating function, written with s instead of 1 - s."""
    s, n_rows = [0.0], 1_000
    for _ in range(30):
        s.append(math.exp((1 - real_share) * (s[-1] - 1)))
    logs = [real_share * sum(x - 1 for x in s[: t - 1]) + (s[t - 1] - 1) for t in range(1, 31)]
    assert mix(n_rows, real_share, 30) == pytest.approx(-n_rows * np.array(logs), rel=1e-12)


@pytest.mark.science
@pytest.mark.parametrize(("real_share", "limit"), [(0.0, 4.0), (0.02, 0.7), (0.1, 0.2), (0.5, 0.025)])
@pytest.mark.parametrize("n_rows", [20, 50, 200, 400])
def test_the_error_of_the_branching_limit_is_as_stated(n_rows: int, real_share: float, limit: float) -> None:
    effective, worst = mix(n_rows, real_share, 100), 0.0
    for share in (0.3 / n_rows, 1 / n_rows, min(3 / n_rows, 0.1), 0.02, 0.1):
        exact = exact_survival(share, n_rows=n_rows, entering=n_rows, real_share=real_share, generations=100)
        closed = [survival(np.array([share]), rows)[0] for rows in effective]
        worst = max(worst, float(np.abs(exact - closed).max()))
    print(f"\nreal share {real_share:4}, n={n_rows:3}: largest error {worst:.5f} = {worst * n_rows:.3f} / n", end="")  # noqa: T201 - shown with -s
    assert worst <= limit / n_rows


@pytest.mark.parametrize(("n_rows", "entering"), [(200, 60), (60, 200), (300, 1)])
@pytest.mark.parametrize("real_share", [0.3, 0.8])
def test_a_look_may_be_larger_or_smaller_than_the_rows_that_enter(
    n_rows: int, entering: int, real_share: float
) -> None:
    exact = exact_survival(0.01, n_rows=n_rows, entering=entering, real_share=real_share, generations=30)
    closed = [survival(np.array([0.01]), rows)[0] for rows in mix(n_rows, real_share, 30, entering=entering)]
    assert closed == pytest.approx(exact, abs=0.01)


def test_a_fresh_real_share_follows_the_same_law_when_rows_count_the_whole_mix() -> None:
    rng, n_chains, n_rows, real_share, share = np.random.default_rng(3), 40_000, 1_000, 0.2, 0.002
    rows = rng.binomial(n_rows, share, n_chains)
    alive = [(rows > 0).mean()]
    for _ in range(9):
        fresh = rng.binomial(int(real_share * n_rows), share, n_chains)
        rows = fresh + rng.binomial(n_rows - int(real_share * n_rows), rows / n_rows)
        alive.append((rows > 0).mean())
    closed = [survival(np.array([share]), effective)[0] for effective in mix(n_rows, real_share, 10)]
    assert alive == pytest.approx(closed, abs=5 * 0.5 / math.sqrt(n_chains) + 0.001)


def test_accumulation_is_the_backward_recursion() -> None:
    n_rows, n_real_rows, n_class_rows = 500, 800, 3
    for generations in (1, 2, 7, 30):
        theta = n_rows / (n_real_rows + (generations - 1) * n_rows)
        for step in range(generations - 2, -1, -1):
            theta += n_rows / (n_real_rows + step * n_rows) * (1 - math.exp(-theta))
        effective = effective_rows_of_accumulation(n_rows=n_rows, n_real_rows=n_real_rows, generations=generations)
        assert effective[-1] * n_class_rows / n_real_rows == pytest.approx(theta * n_class_rows, rel=1e-12)


@pytest.mark.science
def test_accumulation_agrees_with_simulated_chains() -> None:
    rng, n_chains, n_rows, n_real_rows, n_class_rows = np.random.default_rng(4), 100_000, 400, 600, 2
    held, alive = np.full(n_chains, float(n_class_rows)), []
    for step in range(15):
        made = rng.binomial(n_rows, held / (n_real_rows + step * n_rows))
        alive.append((made > 0).mean())
        held += made
    effective = effective_rows_of_accumulation(n_rows=n_rows, n_real_rows=n_real_rows, generations=15)
    closed = [survival(np.array([n_class_rows / n_real_rows]), rows)[0] for rows in effective]
    print(f"\naccumulate, t=15: simulated {alive[-1]:.4f}, closed form {closed[-1]:.4f}", end="")  # noqa: T201 - shown with -s
    assert alive == pytest.approx(closed, abs=5 * 0.5 / math.sqrt(n_chains) + 0.001)


@given(ROWS, ROWS, SHARES, st.integers(1, 60))
@settings(derandomize=True, deadline=None)
def test_effective_rows_never_grow_and_real_rows_never_hurt(
    n_rows: int, entering: int, share: float, generations: int
) -> None:
    found = mix(n_rows, share, generations, entering=entering)
    assert found[0] == n_rows
    assert (np.diff(found) <= 1e-9 * n_rows).all()
    assert (found >= 0).all()
    assert mix(n_rows, min(1.0, share + 0.1), generations, entering=entering)[-1] >= found[-1] - 1e-9 * n_rows
    assert (mix(n_rows, 1.0, generations) == n_rows).all()


@given(st.integers(1, 10**9), st.integers(1, 10**9), st.integers(1, 60))
@settings(derandomize=True, deadline=None)
def test_accumulation_never_does_worse_than_replace(n_rows: int, n_real_rows: int, generations: int) -> None:
    kept = effective_rows_of_accumulation(n_rows=n_rows, n_real_rows=n_real_rows, generations=generations)
    assert kept[0] == pytest.approx(n_rows)
    assert (np.diff(kept) <= 1e-9 * n_rows).all()
    assert (kept >= mix(n_rows, 0.0, generations) * (1 - 1e-9)).all()


def test_a_thousand_million_rows_over_ten_thousand_generations_stay_finite() -> None:
    replaced = mix(10**9, 0.0, 10_000)
    kept = effective_rows_of_accumulation(n_rows=10**9, n_real_rows=10**9, generations=10_000)
    assert replaced[-1] == pytest.approx(2e5, rel=1e-2)
    assert 0.5e9 < kept[-1] < 1e9
    assert survival(np.array([1e-12, 0.5]), kept[-1]) == pytest.approx([kept[-1] * 1e-12, 1.0], rel=1e-3)


def test_without_generated_rows_every_generation_is_fresh_real_data() -> None:
    assert mix(50, 1.0, 3, entering=0).tolist() == [50.0, 50.0, 50.0]


def test_simpson_diversity_is_exact() -> None:
    """Against the Markov chain of two classes: E[2 q (1 - q)]."""
    n_rows, share, generations = 30, 0.3, 12
    states = np.arange(n_rows + 1)
    step = binom.pmf(states[None, :], n_rows, states[:, None] / n_rows)
    law = binom.pmf(states, n_rows, share) @ np.linalg.matrix_power(step, generations - 1)
    expected = float(law @ (2 * states / n_rows * (1 - states / n_rows)))
    found = simpson_diversity(np.array([share, 1 - share]), n_rows=n_rows, generations=generations)
    assert found == pytest.approx(expected, rel=1e-10)


def test_simpson_diversity_at_its_ends() -> None:
    shares = np.array([0.5, 0.5])
    assert simpson_diversity(shares, n_rows=1, generations=0) == 0.5
    assert simpson_diversity(shares, n_rows=1, generations=3) == 0.0
    assert simpson_diversity(shares, n_rows=10**9, generations=10_000) == pytest.approx(0.5, rel=1e-4)


@pytest.mark.parametrize(("real_share", "times"), [(0.5, 0.67), (0.1, 4.7), (0.01, 50)])
def test_drift_around_an_anchor_has_the_size_of_the_notes_when_rows_count_the_whole_mix(
    real_share: float, times: float
) -> None:
    n_rows, share = 10_000_000, 0.2
    found = anchor_variance(np.array([share]), n_synthetic_rows=(1 - real_share) * n_rows, real_share=real_share)
    assert found[0] / (share * (1 - share) / n_rows) == pytest.approx(times, rel=0.02)


@pytest.mark.parametrize("real_share", [0.1, 0.5])
def test_drift_around_an_anchor_is_that_of_the_exact_chain(real_share: float) -> None:
    entering, share = 60, 0.2
    states = np.arange(entering + 1)
    model = real_share * share + (1 - real_share) * states / entering
    step = binom.pmf(states[None, :], entering, model[:, None])
    law = binom.pmf(states, entering, share) @ np.linalg.matrix_power(step, 300)
    expected = float(law @ np.square(model)) - float(law @ model) ** 2
    found = anchor_variance(np.array([share]), n_synthetic_rows=entering, real_share=real_share)
    assert found[0] == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("real_share", "plateau"), [(0.5, 1.33), (0.1, 5.26), (0.01, 50.25), (1.0, 1.0)])
def test_a_fresh_share_settles_at_the_plateau(real_share: float, plateau: float) -> None:
    error = 0.0
    for _ in range(2_000):
        error = 1 + (1 - real_share) ** 2 * error
    assert fresh_share_plateau(real_share) == pytest.approx(error, rel=1e-9)
    assert fresh_share_plateau(real_share) == pytest.approx(plateau, abs=0.005)


def test_a_fresh_share_settles_at_the_plateau_in_simulated_chains() -> None:
    rng, n_chains, n_rows, real_share, share = np.random.default_rng(6), 20_000, 2_000, 0.1, 0.3
    rows = rng.binomial(n_rows, share, n_chains)
    for _ in range(60):
        fresh = rng.binomial(int(real_share * n_rows), share, n_chains)
        rows = fresh + rng.binomial(n_rows - int(real_share * n_rows), rows / n_rows)
    ratio = (rows / n_rows).var() / (share * (1 - share) / n_rows)
    assert ratio == pytest.approx(fresh_share_plateau(real_share), rel=0.06)
