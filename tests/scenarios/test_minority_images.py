"""The facts that the demo's scenario rests on."""

from __future__ import annotations

import copy
import logging
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from datasets import are_progress_bars_disabled

from collapse_guard.policy import Policy, load_policy
from collapse_guard.policy.presets import preset_path
from collapse_guard.scenarios import minority_images
from collapse_guard.scenarios.minority_images import Chain, Generation, World, quiet, real_rows, run_arm

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def world() -> World:
    return World.load()


@pytest.fixture(scope="module")
def policy() -> Policy:
    return load_policy(preset_path("minority-images@1"))


@pytest.fixture
def _short(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Train hardly at all: what the contract says does not depend on how good a model is."""
    monkeypatch.setattr(minority_images, "EPOCHS", 1)
    monkeypatch.setattr(minority_images, "STEPS_PER_EPOCH", 2)
    with quiet():
        yield


def test_what_the_demo_silences_speaks_again_afterwards() -> None:
    def state() -> tuple[Any, ...]:
        levels = [logging.getLogger(name).level for name in ("pytorch_lightning", "collapse_guard")]
        return levels, torch.get_num_threads(), are_progress_bars_disabled(), list(warnings.filters)

    before = state()
    with quiet():
        assert state() != before
        assert logging.getLogger("collapse_guard").level == logging.ERROR
    assert state() == before


def test_the_anchor_is_long_tailed_and_its_rarest_class_is_at_most_three_percent(world: World) -> None:
    sizes = np.bincount(world.labels, minlength=10)
    assert sizes.tolist() == sorted(sizes.tolist(), reverse=True)
    assert 0 < sizes[-1] / sizes.sum() <= 0.03


def test_images_and_labels_are_rows_of_one_set(world: World) -> None:
    assert world.images.shape == (world.labels.size, 64)
    assert world.images.dtype == np.float32
    assert (world.images >= 0).all()
    assert (world.images <= 1).all()


def test_no_row_stands_twice_in_the_anchor_or_also_with_the_labeller(world: World) -> None:
    anchor = {row.tobytes() for row in world.images}
    known = {row.tobytes() for row in world.labeller.images}
    assert len(anchor) == len(world.images)
    assert anchor & known == set()


def test_the_world_is_the_same_whenever_it_is_loaded(world: World) -> None:
    again = World.load()
    assert np.array_equal(again.images, world.images)
    assert again.reference.digest == world.reference.digest


def test_the_labeller_names_nearly_every_real_row_rightly_and_refuses_noise(world: World) -> None:
    answers = world.labeller(world.images)
    named = answers >= 0
    assert named.mean() > 0.8
    assert (answers[named] == world.labels[named]).mean() > 0.95
    noise = np.random.default_rng(0).random((200, 64)).astype(np.float32)
    assert (world.labeller(noise) == -1).all()


def test_the_reference_is_what_the_labeller_counts_on_the_real_rows(world: World) -> None:
    answers = world.labeller(world.images)
    assert world.reference.counts.n_rows == world.labels.size
    assert world.reference.counts.n_unclaimed_rows == int((answers < 0).sum())
    assert list(world.reference.counts.rows) == [int((answers == label).sum()) for label in range(10)]


def test_every_class_of_the_reference_is_alive(world: World) -> None:
    assert min(world.reference.counts.rows) > 0


def test_real_rows_become_a_dataset_without_a_copy_of_any(world: World) -> None:
    rows = real_rows(world)
    assert rows.column_names == ["image", "label", "quality"]
    assert len(rows) == world.labels.size
    assert rows["label"][:] == world.labels.tolist()


def run(arm: str, world: World, policy: Policy, folder: Path) -> tuple[list[Generation], Chain]:
    told: list[tuple[Generation, Chain]] = []

    def tell(generation: Generation, chain: Chain) -> None:
        told.append((generation, copy.copy(chain)))

    history = run_arm(arm, world, policy, folder, seed=0, generations=2, tell=tell)
    assert [generation.number for generation, _ in told] == [generation.number for generation in history]
    return history, told[-1][1]


def never_halting(policy: Policy) -> Policy:
    """Return the policy with a warning in place of the halt, for models that are hardly trained."""
    plain: dict[str, Any] = policy.model_dump(mode="json", exclude={"extends"}, exclude_unset=True)
    plain["coverage"]["on_violation"] = "warn"
    return Policy.coerce(plain)


@pytest.mark.usefixtures("_short")
def test_the_contract_refuses_an_arm_that_replaces_its_real_rows(world: World, policy: Policy, tmp_path: Path) -> None:
    history, chain = run("replace", world, never_halting(policy), tmp_path)
    n_rows = world.labels.size
    assert [(made.n_real_rows, made.n_synthetic_rows) for made in history] == [(n_rows, 0), (0, n_rows)]
    assert f"CG201 {n_rows} real rows lost" in chain.refusal
    assert "CG202" in chain.refusal


@pytest.mark.usefixtures("_short")
def test_the_guarded_arm_keeps_every_real_row_under_the_caps_and_is_not_refused(
    world: World, policy: Policy, tmp_path: Path
) -> None:
    history, chain = run("guarded", world, never_halting(policy), tmp_path)
    n_rows = world.labels.size
    assert chain.refusal == ""
    assert [made.n_real_rows for made in history] == [n_rows, n_rows]
    assert history[0].n_synthetic_rows == 0
    assert history[1].n_synthetic_rows <= n_rows
    assert chain.manifest is not None
    assert chain.manifest.header.generation == 1


@pytest.mark.usefixtures("_short")
def test_the_accumulating_arm_keeps_the_real_rows_and_adds_all_output(
    world: World, policy: Policy, tmp_path: Path
) -> None:
    history, _ = run("accumulate", world, never_halting(policy), tmp_path)
    n_rows = world.labels.size
    assert [(made.n_real_rows, made.n_synthetic_rows) for made in history] == [(n_rows, 0), (n_rows, n_rows)]
