"""Loops over cells: the figures that the experiments on categories, biases and embeddings must show."""

from __future__ import annotations

import math

import numpy as np
import pytest

from collapse_guard.scenarios.experiments import biased, categorical, embeddings
from collapse_guard.scenarios.experiments.chains import GUARDED, Chains, Floats, Setting
from collapse_guard.scenarios.experiments.guarding import halting_log_e

pytestmark = pytest.mark.science


def setting(policy: str, *, generations: int, runs: int, real_share: float = 0.5) -> Setting:
    return Setting(policy, generations, runs, 11, real_share)


def models(policy: str, *, generations: int = 50, runs: int = 20, real_share: float = 0.5) -> Floats:
    """Return the shares of every model, shape (runs, generations, classes), unwatched."""
    made = setting(policy, generations=generations, runs=runs, real_share=real_share)
    found = []
    for run in range(runs):
        rng = made.rng(run)
        anchor = rng.multinomial(categorical.N_ROWS, categorical.zipf_shares())
        found.append([model for model, _ in categorical.samples(made, anchor, categorical.unbiased, rng)])
    return np.array(found)


def told(name: str, measured: object, theory: object) -> None:
    print(f"\n{name:52} measured {measured}  stated {theory}", end="")  # noqa: T201 - shown with -s


def survival(n_steps: int) -> Floats:
    """Return the chance of each class to outlive ``n_steps`` resamplings: a critical branching process."""
    dead = 0.0
    for _ in range(n_steps - 1):
        dead = math.exp(-(1 - dead))
    return np.asarray(1 - np.exp(-categorical.N_ROWS * categorical.zipf_shares() * (1 - dead)))


def test_replace_loses_classes_as_a_branching_process_does() -> None:
    alive = (models("replace") > 0).sum(axis=2).mean(axis=0)
    stated = {1: 908, 5: 622, 10: 461, 20: 316, 50: 175}
    told("classes alive under replace", [round(float(alive[t - 1])) for t in stated], list(stated.values()))
    for t, classes in stated.items():
        assert survival(t).sum() == pytest.approx(classes, abs=2)
        assert alive[t - 1] == pytest.approx(classes, abs=8)


@pytest.mark.parametrize(
    ("policy", "share", "last"),
    [("accumulate", 0.5, 908), ("accumulate-subsample", 0.5, 755), ("anchor", 0.1, 645), (GUARDED, 0.5, 908)],
)
def test_other_policies_keep_the_classes_that_are_stated(policy: str, share: float, last: int) -> None:
    alive = (models(policy, real_share=share) > 0).sum(axis=2).mean(axis=0)
    told(f"classes alive, {policy} {share}, t=50", round(float(alive[-1])), last)
    assert alive[0] == pytest.approx(908, abs=8)
    assert alive[-1] == pytest.approx(last, abs=15)


@pytest.mark.parametrize(("policy", "spread"), [("replace", 0.0212), ("accumulate", 0.0038)])
def test_the_mass_of_the_tail_is_a_martingale_that_spreads(policy: str, spread: float) -> None:
    shares = categorical.zipf_shares()
    tail = np.flatnonzero(np.cumsum(shares[::-1])[::-1] <= categorical.TAIL_MASS)
    mass = models(policy, runs=60)[:, -1, tail].sum(axis=1)
    told(f"tail mass after 50 generations, {policy}: mean, sd", (mass.mean().round(4), mass.std().round(4)), spread)
    assert mass.mean() == pytest.approx(shares[tail].sum(), abs=4 * spread / math.sqrt(60))
    assert mass.std() == pytest.approx(spread, rel=0.30)


@pytest.mark.parametrize(("share", "theory"), [(0.5, 1.0), (0.1, 5.21)])
def test_an_anchor_that_is_drawn_anew_adds_its_own_noise(share: float, theory: float) -> None:
    """(1 - f) / (f (2 - f)) holds for an exact anchor. Rows drawn anew add f (1 - f): (1 - f^2) / (f (2 - f))."""
    assert (1 - share**2) / (share * (2 - share)) == pytest.approx(theory, abs=0.01)
    made = models("anchor", generations=120, runs=10, real_share=share)
    truth = made[:, :1]
    heads = slice(0, 50)
    noise = (truth * (1 - truth) / categorical.N_ROWS)[..., heads]
    drift = float((((made - truth)[..., heads] ** 2)[:, 60:] / noise).mean())
    told(f"drift around an anchor of {share}, drawn anew", round(drift, 3), theory)
    assert drift == pytest.approx(theory, rel=0.10)


def median_halt(chains: Chains) -> float:
    assert (chains.halts > 0).all(), f"{chains.policy} {chains.variant} must halt in every run"
    return float(np.median(chains.halts))


def test_replace_is_halted_and_healthy_policies_are_not_in_fifty_generations() -> None:
    for policy in ("fresh", "accumulate", "accumulate-subsample", "anchor", GUARDED):
        (chains,) = categorical.run(setting(policy, generations=50, runs=2))
        told(f"highest log e in 50 generations, {policy}", round(float(chains.log_e.max()), 1), "under 4.7")
        assert chains.halts.tolist() == [0, 0]
        assert chains.log_e.max() < halting_log_e()
    (chains,) = categorical.run(setting("replace", generations=50, runs=2))
    told("generation at which replace halts", median_halt(chains), 6)
    assert median_halt(chains) == pytest.approx(6, abs=1)
    assert chains.figures["tail mass"][:, :12] == pytest.approx(np.ones((2, 12)), abs=0.25)


def test_a_bias_takes_the_mass_of_the_tail_and_halts_within_three_generations() -> None:
    for policy, mass in (("replace", 0.70), ("accumulate", 0.75), ("anchor", 0.75)):
        for chains in biased.run(setting(policy, generations=4, runs=3)):
            second = float(np.median(chains.figures["tail mass"][:, 1]))
            told(f"tail mass in generation 2, {policy}, {chains.variant}", round(second, 3), mass)
            assert second == pytest.approx(mass, abs=0.10)
            assert median_halt(chains) <= 3


def test_the_guarded_loop_is_halted_under_a_biased_sampler_and_mends_a_biased_filter() -> None:
    temperature, top_p, filtered = biased.run(setting(GUARDED, generations=5, runs=3))
    for chains in (temperature, top_p):
        assert median_halt(chains) <= 3
        stopped = int(chains.halts[0])
        assert np.isnan(chains.figures["tail mass"][0, stopped:]).all()
    assert filtered.halts.tolist() == [0, 0, 0]
    assert np.median(filtered.figures["tail mass"]) == pytest.approx(1, abs=0.05)


@pytest.fixture(scope="module")
def replacing() -> dict[str, Chains]:
    return {chains.variant: chains for chains in embeddings.run(setting("replace", generations=5, runs=3))}


def test_a_density_filter_is_a_collapse_engine_and_a_filter_within_cells_is_none(replacing: dict[str, Chains]) -> None:
    last = {variant: float(np.median(chains.figures["tail coverage"][:, -1])) for variant, chains in replacing.items()}
    told("tail coverage after 5 generations", {name: round(value, 2) for name, value in last.items()}, "")
    assert last["densest 80 %"] < 0.5 * last["random 80 %"]
    assert last["densest 80 % of each cell"] > 0.9 * last["random 80 %"]
    assert median_halt(replacing["densest 80 %"]) <= 3


def test_averaging_narrows_and_kernel_noise_widens_while_the_cells_see_both(replacing: dict[str, Chains]) -> None:
    noise, averaging = replacing["kernel noise"].figures, replacing["local averaging"].figures
    assert np.median(averaging["spread"][:, -1]) < 0.95
    assert np.median(noise["spread"][:, -1]) > 1.03
    for figures in (noise, averaging):
        assert np.median(figures["effective cells"][:, -1]) < np.median(figures["effective cells"][:, 0]) - 0.03


def test_the_null_and_the_guarded_loop_keep_their_cells() -> None:
    for policy in ("fresh", GUARDED):
        found = {chains.variant: chains for chains in embeddings.run(setting(policy, generations=4, runs=2))}
        for variant in ("kernel noise", "densest 80 %", "random 80 %"):
            assert found[variant].halts.tolist() == [0, 0]
            assert np.median(found[variant].figures["effective cells"]) > 0.93


def test_a_filter_keeps_the_share_that_it_was_asked_for() -> None:
    rng = np.random.default_rng(2)
    rows = np.concatenate([rng.normal(size=(900, 3)), 20 + rng.normal(size=(100, 3))])
    cells = np.repeat([0, 1], [900, 100])
    for kept in (embeddings.densest, embeddings.at_random, embeddings.densest_of_each_cell):
        chosen = kept(rows, cells, 800, rng)
        assert len(set(chosen.tolist())) == chosen.size == pytest.approx(800, abs=2)
    in_rare = (cells[embeddings.densest_of_each_cell(rows, cells, 800, rng)] == 1).sum()
    assert in_rare == pytest.approx(80, abs=1)
    assert (cells[embeddings.densest(rows, cells, 800, rng)] == 1).sum() < 60
