"""The autoencoder loop: the pooled tail grows while classes die, and class evidence halts it."""

from __future__ import annotations

import numpy as np
import pytest

from collapse_guard.scenarios.experiments import digits
from collapse_guard.scenarios.experiments.chains import GUARDED, Chains, Floats, Setting, Table
from collapse_guard.scenarios.experiments.digit_vae import fit_vae

pytestmark = pytest.mark.science

SEEDS = range(5)


def chain(policy: str, seed: int, generations: int) -> Chains:
    return digits.run(Setting(policy, generations, 1, seed, 0.5))[0]


def first_at(values: Floats, limit: float) -> int:
    reached = np.flatnonzero(values >= limit)
    return int(reached[0]) + 1 if reached.size else 0


def told(text: str) -> None:
    print(f"\n{text}", end="")  # noqa: T201 - shown with -s


def test_real_rows_have_geometric_shares_and_keep_their_labels() -> None:
    world = digits.digits()
    rows = world.rows(digits.N_ROWS, np.random.default_rng(0))
    labels = world.labeller(rows)
    counts = np.bincount(labels[labels >= 0], minlength=10)
    told(f"real rows per class {counts.tolist()}, none {(labels < 0).sum()}")
    assert rows.min() >= 0
    assert rows.max() <= 1
    assert counts[0] / counts[9] == pytest.approx(50, rel=0.5)
    assert (labels < 0).mean() < 0.05
    assert (world.labeller.classify(world.images) == world.labels).mean() > 0.93


def test_rows_far_from_every_real_digit_are_none() -> None:
    noise = np.random.default_rng(1).random((50, 64)).astype(np.float32)
    assert (digits.digits().labeller(noise) == -1).all()


def test_the_filter_keeps_the_same_share_of_every_class() -> None:
    world = digits.digits()
    rows = world.rows(1_000, np.random.default_rng(2))
    kept = world.filtered(Table((rows,))).columns[0]
    before, after = (np.bincount(world.labeller(part) + 1, minlength=11)[1:] for part in (rows, kept))
    assert after.tolist() == np.ceil(digits.KEPT_SHARE * before).astype(int).tolist()


def test_the_first_generation_is_near_the_truth_and_not_halted() -> None:
    found = chain("replace", 0, 1)
    assert found.figures["weakest class"][0, 0] > 0.5
    assert 0.05 < found.figures["unclaimed share"][0, 0] < 0.20
    assert found.halts.tolist() == [0]


def test_an_autoencoder_is_decided_by_its_seeds() -> None:
    rows = digits.digits().rows(128, np.random.default_rng(3))
    first, again, other = (fit_vae(rows, seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(first(9, 5), again(9, 5))
    assert not np.array_equal(first(9, 5), first(9, 6))
    assert not np.array_equal(first(9, 5), other(9, 5))


@pytest.mark.slow
def test_replace_halts_by_generation_three_while_its_pooled_tail_is_larger_than_the_real_one() -> None:
    for seed in SEEDS:
        found = chain("replace", seed, 6)
        real, first = (first_at(found.figures[f"log e, {name}"][0], np.log(100)) for name in ("real", "first model"))
        mass = found.figures["tail mass"][0]
        told(f"replace seed {seed}: real {real}, first model {first}, both {found.halts[0]}; tail {mass.round(2)}")
        assert 0 < real <= 3
        assert 0 < first <= 6
        assert 0 < found.halts[0] <= 3
        assert mass[:3].min() > 1


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["accumulate", "anchor", GUARDED])
def test_a_loop_that_keeps_real_rows_is_never_halted(policy: str) -> None:
    for seed in SEEDS:
        found = chain(policy, seed, 8)
        highest = {name: float(np.nanmax(found.figures[f"log e, {name}"])) for name in ("real", "first model")}
        weakest = found.figures["weakest class"].min()
        told(f"{policy} seed {seed}: highest log e {highest}, weakest class {weakest:.2f}")
        assert found.halts.tolist() == [0]
        assert max(highest.values()) < np.log(100)
