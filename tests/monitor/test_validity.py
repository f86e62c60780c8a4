"""Healthy chains are not halted: each case here once was, or would be if a guard of the proof fell."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from collapse_guard.cells import LabelCells
from collapse_guard.decision import reference_error, sampled_error
from collapse_guard.errors import CellError, StatisticError
from collapse_guard.monitor import Anchor, Reference, Watch
from collapse_guard.monitor.panel import halves
from collapse_guard.monitor.watch import coverage_of
from collapse_guard.policy import Coverage, Policy
from collapse_guard.stats import CellCounts

pytestmark = pytest.mark.science


def policy(**coverage: Any) -> Policy:
    return Policy.coerce({"version": 1, "coverage": coverage})


def zipf(n_cells: int, exponent: float) -> np.ndarray:
    weights = np.arange(1, n_cells + 1) ** -exponent
    return np.asarray(weights / weights.sum())


def cells(n_cells: int) -> LabelCells:
    return LabelCells("label", tuple(f"{cell:06}" for cell in range(n_cells)))


def chain_halts(
    asked: Policy, real: CellCounts, shares: np.ndarray, rng: np.random.Generator, *, looks: int, n_rows: int
) -> bool:
    """One look per generation, all of one model that never changes; the last share is of rows in no cell."""
    watch = Watch.start(asked, Reference(cells(len(real.rows)), real), generation=1)
    for _ in range(looks):
        drawn = rng.multinomial(n_rows, shares)
        watch = watch.look(CellCounts.of(drawn[:-1], n_unclaimed_rows=int(drawn[-1])), epoch=1)
        if watch.halted:
            return True
        watch = watch.next_generation()
    return False


@pytest.mark.parametrize(("n_cells", "exponent"), [(1_500, 1.0), (3_000, 1.0), (5_000, 0.3)])
def test_a_first_model_that_hit_few_of_many_cells_condemns_no_later_one(n_cells: int, exponent: float) -> None:
    shares = zipf(n_cells, exponent)
    real = CellCounts.of(np.round(shares * 1e6).astype(np.int64) + 1)
    exact = np.append(real.compute() / real.n_rows, 0.0)
    halted = [
        chain_halts(policy(), real, exact, np.random.default_rng([seed, 5]), looks=6, n_rows=2_000) for seed in range(6)
    ]
    assert not any(halted)


@pytest.mark.parametrize(
    ("n_cells", "exponent", "n_real"), [(10_000, 1.3, 5_000), (30_000, 1.0, 5_000), (300, 1.0, 900)]
)
def test_a_population_is_not_condemned_by_the_sample_that_chose_its_tail(
    n_cells: int, exponent: float, n_real: int
) -> None:
    """The reference knows only the labels that it held; fresh rows of the population bring others."""
    shares = zipf(n_cells, exponent)
    for seed in range(4):
        rng = np.random.default_rng([seed, 6])
        drawn = rng.multinomial(n_real, shares)
        held = np.flatnonzero(drawn)
        population = np.append(shares[held], 1 - shares[held].sum())
        asked = policy(real_is="sample")
        assert not chain_halts(asked, CellCounts.of(drawn[held]), population, rng, looks=8, n_rows=2_000)


def test_halves_are_two_samples_of_one_population() -> None:
    counts = CellCounts.of([6_000, 300, 7, 0], n_unclaimed_rows=90)
    first, second = halves(counts)
    assert first.merge(second) == counts
    assert abs(first.n_rows - second.n_rows) < 5 * math.sqrt(counts.n_rows)
    assert halves(counts) == (first, second)


def test_a_first_model_that_overstated_the_tail_may_be_mended() -> None:
    real = Reference(cells(3), CellCounts.of([900, 60, 40]))
    watch = Watch.start(policy(), real, generation=1).look(CellCounts.of([1_500, 300, 200]), epoch=1)
    for _ in range(10):
        watch = watch.next_generation().look(CellCounts.of([1_800, 120, 80]), epoch=1)
        assert not watch.halted


def test_the_last_look_of_the_first_generation_pays_for_having_been_chosen() -> None:
    real = Reference(cells(3), CellCounts.of([900, 60, 40]))
    once = Watch.start(policy(), real, generation=1).look(CellCounts.of([1_800, 120, 80]), epoch=1)
    often = once
    for epoch in range(9):
        often = often.look(CellCounts.of([1_800, 120, 80]), epoch=epoch)
    errors = [watch.next_generation().panels[1].tail.reference.error for watch in (once, often)]
    assert errors[0] / errors[1] == pytest.approx(100)


@pytest.mark.parametrize(
    "coverage",
    [
        {"real_is": "sample", "scores": [{"kind": "hapax", "against": "real"}, {"kind": "novelty"}]},
        {"scores": [{"kind": "hapax"}]},
        {"cells": [{"column": "a"}, {"column": "b"}], "real_is": "sample"},
    ],
)
def test_what_sampled_references_spend_together_is_what_the_policy_allows(coverage: dict[str, Any]) -> None:
    found: Coverage = coverage_of(policy(**coverage))
    n_references = len(found.cells) * (1 + (found.real_is == "sample")) + len(found.scores)
    spent = n_references * sampled_error(found)
    assert spent == pytest.approx(reference_error(found) * found.false_halt_rate)


def test_a_score_against_real_rows_is_measured_on_looks_of_one_size() -> None:
    asked = coverage_of(
        policy(cells=[], references=["real"], scores=[{"kind": "hapax", "against": "real"}], samples_per_look=100)
    )
    rng = np.random.default_rng(0)
    texts = [" ".join(f"w{word}" for word in rng.integers(0, 500, 5)) for _ in range(250)]
    means = [Anchor.fit(pa.table({"text": texts[:n_rows]}), asked).score_means[0] for n_rows in (200, 250)]
    assert means[0] == means[1], "the last fifty rows are no look"
    with pytest.raises(CellError, match=r"needs a look of real rows, 100 \(samples_per_look\), got 99"):
        Anchor.fit(pa.table({"text": texts[:99]}), asked)


def test_a_score_against_real_rows_without_a_mean_is_refused_and_not_left_out() -> None:
    asked = policy(scores=[{"kind": "column", "column": "quality", "against": "real"}])
    with pytest.raises(StatisticError, match=r"'column of quality' is measured against real rows.*Anchor\.fit"):
        Watch.start(asked, Reference(cells(3), CellCounts.of([900, 60, 40])), generation=1)


def test_a_chain_that_is_measured_against_its_first_model_alone_can_be_resumed() -> None:
    asked = policy(references=["first_model"])
    real = Reference(cells(3), CellCounts.of([900, 60, 40]))
    watch = Watch.start(asked, real, generation=1).look(CellCounts.of([1_800, 120, 80]), epoch=1)
    watch = watch.next_generation().look(CellCounts.of([1_800, 120, 80]), epoch=1)
    resumed = Watch.start(asked, real, generation=2).resumed(json.loads(json.dumps(watch.state())))
    assert resumed.panels == watch.panels


def test_a_chain_only_goes_on() -> None:
    real = Reference(cells(3), CellCounts.of([900, 60, 40]))
    watch = Watch.start(policy(), real, generation=2).look(CellCounts.of([1_800, 120, 80]), epoch=1)
    with pytest.raises(StatisticError, match="generation 1 is before 2; a chain only goes on"):
        watch.at_generation(1)


@pytest.mark.parametrize("first", [CellCounts.of([2_000, 0, 0]), CellCounts.of([50, 30, 20], n_unclaimed_rows=1_900)])
def test_a_first_model_that_is_dead_from_the_start_breaks_nothing(first: CellCounts) -> None:
    asked = policy(on_violation="warn")
    watch = Watch.start(asked, Reference(cells(3), CellCounts.of([900, 60, 40])), generation=1).look(first, epoch=1)
    later = watch.next_generation().look(first, epoch=1)
    against = [log_e for title, log_e in later.looks[-1].parts.items() if "first_model" in title]
    assert against
    assert max(against) < 0
