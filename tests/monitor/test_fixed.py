"""Looks at a fixed set along a chain: the parent becomes the baseline, and the level is spent over generations."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from collapse_guard.cells import LabelCells
from collapse_guard.monitor import Reference, Watch
from collapse_guard.policy import Policy
from collapse_guard.stats import CellCounts
from collapse_guard.stats.fixed_set import look_share

REAL = Reference(LabelCells("label", ("cat", "dog", "emu")), CellCounts.of([1_800, 120, 80]))
HEALTHY, THIN = CellCounts.of([1_800, 120, 80]), CellCounts.of([1_920, 60, 20])


def watch(**coverage: Any) -> Watch:
    policy = Policy.coerce({"version": 1, "coverage": {"looks": "fixed_set"} | coverage})
    return Watch.start(policy, REAL, generation=1)


def test_against_the_parent_a_loss_in_one_generation_halts_and_a_parent_that_had_lost_it_is_no_yardstick() -> None:
    chain = watch(baseline="parent").look(HEALTHY, epoch=1).next_generation()
    halted = chain.look(THIN, epoch=1)
    assert halted.halted
    assert halted.decision is not None
    assert "of the parent" in halted.decision.message or "classes fell" in halted.decision.message
    later = halted.next_generation()
    assert not later.look(THIN, epoch=1).halted


def test_against_real_rows_the_level_goes_on_and_a_loss_stays_a_loss() -> None:
    chain = watch(baseline="real").look(HEALTHY, epoch=1).next_generation()
    assert chain.look(THIN, epoch=1).halted
    assert chain.look(THIN, epoch=1).next_generation().look(THIN, epoch=1).halted


@pytest.mark.parametrize("baseline", ["parent", "peak"])
def test_generations_that_start_anew_share_the_level(baseline: str) -> None:
    chain, alphas = watch(baseline=baseline, references=["real"]), []
    for _ in range(3):
        assert chain.fixed is not None
        test = chain.fixed.tests[0]
        alphas.append(test.alpha + (0.1 * test.alpha / 0.9 if chain.fixed.parent else 0.0))
        chain = chain.look(HEALTHY, epoch=1).next_generation()
    spent = [0.01 * look_share(number) for number in (1, 2, 3)]
    assert alphas == pytest.approx(spent, rel=0.05)
    assert sum(spent) < 0.01


@pytest.mark.parametrize("baseline", ["real", "parent", "peak"])
def test_a_chain_is_resumed_from_plain_state_as_if_it_had_never_stopped(baseline: str) -> None:
    chain = watch(baseline=baseline)
    for _ in range(2):
        chain = chain.look(HEALTHY, epoch=1).look(HEALTHY, epoch=2)
        state = json.loads(json.dumps(chain.state()))
        assert replace(chain.without_evidence().resumed(state), note="") == (chain)
        chain = chain.next_generation()


def test_rows_that_no_class_claims_count_as_rows() -> None:
    looked = watch(baseline="real").look(CellCounts.of([800, 60, 40], n_unclaimed_rows=1_100), epoch=1)
    assert looked.halted
    assert looked.looks[0].n_unclaimed_rows == 1_100
