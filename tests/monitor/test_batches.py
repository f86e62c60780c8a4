"""What the batches of a run carried: counts, decisions and states, without any framework."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from collapse_guard.errors import InputError
from collapse_guard.monitor import BatchWatch, PredictionCounts
from collapse_guard.policy import Policy
from collapse_guard.records import Action, Origin, RunReason
from collapse_guard.stats import BatchCounts


def watch(**sections: Any) -> BatchWatch:
    return BatchWatch.start(Policy.coerce({"version": 1} | sections), None)


def rows(*, unknown: int = 0, real: int = 0, synthetic: int = 0) -> BatchCounts:
    return BatchCounts.of_rows((unknown, real, synthetic, 0, 0, 0), n_batches=1)


def test_a_mix_at_its_floor_goes_on_and_one_far_below_halts() -> None:
    assert watch().check(rows(real=500, synthetic=500)).decision.action is Action.CONTINUE  # type: ignore[union-attr]
    halted = watch().check(rows(real=300, synthetic=700))
    assert halted.halted
    assert halted.decision is not None
    assert halted.decision.reason is RunReason.BATCH_MIX


def test_a_small_dip_is_chance_and_the_same_dip_of_many_rows_is_not() -> None:
    assert not watch().check(rows(real=45, synthetic=55)).halted
    assert watch().check(rows(real=4500, synthetic=5500)).halted


def packs(n_packs: int, *, real: int, synthetic: int) -> BatchCounts:
    """Return packed rows, each all real or all synthetic, of 1,024 tokens."""
    tokens = np.zeros((n_packs, 6), dtype=np.int64)
    tokens[:real, Origin.REAL] = tokens[real : real + synthetic, Origin.SYNTHETIC] = 1024
    return BatchCounts(n_batches=1).update(tokens)


def test_the_tokens_of_a_packed_row_are_one_draw() -> None:
    """Of 20 documents at the floor, 7 or fewer are real in every eighth run: many tokens make that no evidence."""
    assert not watch().check(packs(20, real=7, synthetic=13)).halted
    assert watch().check(packs(2000, real=700, synthetic=1300)).halted
    assert watch().check(rows(real=7 * 1024, synthetic=13 * 1024)).halted


def test_packed_rows_at_the_floor_hardly_ever_halt() -> None:
    """200 runs of 60 checks of 8 packs each, of many lengths, half of all tokens real, at a level of 5 %."""
    rng, n_halted = np.random.default_rng(0), 0
    for _ in range(200):
        followed = watch(batches={"false_halt_rate": 0.05})
        for _ in range(60):
            tokens = np.zeros((8, 6), dtype=np.int64)
            tokens[np.arange(8), rng.choice([1, 2], size=8)] = rng.choice([16, 100, 1000], size=8)
            followed = followed.check(BatchCounts(n_batches=1).update(tokens))
        n_halted += followed.halted
    assert n_halted <= 10


def test_a_sudden_change_is_seen_in_the_latest_batches_before_it_shows_in_all() -> None:
    sound = watch()
    for _ in range(20):
        sound = sound.check(rows(real=900, synthetic=100))
    changed = sound.check(rows(real=300, synthetic=700))
    assert changed.counts.origins[Origin.REAL] / changed.counts.n_rows > 0.8
    assert changed.halted
    assert changed.decision is not None
    assert "in the latest batches" in changed.decision.message


def test_a_halt_is_not_undone_by_what_comes_after_it() -> None:
    halted = watch().check(rows(real=300, synthetic=700))
    after = halted.check(rows(real=100_000))
    assert after.decision == halted.decision
    assert after.counts.n_rows == 101_000


def test_rows_in_blocks_are_judged_at_the_ends_of_epochs_if_the_policy_says_so() -> None:
    blocks = watch(batches={"order": "any"}).check(rows(synthetic=1000))
    assert not blocks.halted
    assert not blocks.check(rows(real=1000), whole=True).halted
    assert blocks.check(rows(real=100), whole=True).halted
    assert watch().check(rows(synthetic=1000)).halted


def test_a_floor_that_only_warns_does_not_hide_one_that_halts() -> None:
    both = watch(mix={"real_min_share": 0.5, "synthetic_to_real_max": 0.01})
    found = both.check(rows(real=300, synthetic=700)).decision
    assert found is not None
    assert (found.action, "are real, the policy asks for 50.0%" in found.message) == (Action.HALT, True)
    warned = watch(mix={"real_min_share": 0.2, "synthetic_to_real_max": 0.01}).check(rows(real=300, synthetic=700))
    assert warned.decision is not None
    assert warned.decision.action is Action.WARN


def test_unknown_rows_are_not_real_and_fail_closed() -> None:
    assert watch().check(rows(unknown=700, real=300)).halted


def test_rows_that_the_manifest_does_not_hold_halt_at_once() -> None:
    held = BatchWatch(Policy(version=1), frozenset({Origin.REAL}))
    found = held.check(rows(unknown=1, real=10_000)).decision
    assert found is not None
    assert found.reason is RunReason.UNEXPECTED_ROWS
    assert found.message.endswith("1 unknown; null or missing tags count as unknown")


def test_states_go_through_json_and_back() -> None:
    before = watch().check(rows(real=5, synthetic=2), (3, 4)).check(rows(real=1), (1, 0))
    assert watch().resumed(json.loads(json.dumps(before.state()))) == before
    assert before.cell_rows == (4, 4)


@pytest.mark.parametrize(
    "state",
    [{"counts": 3}, {"counts": [1, 2]}, {"counts": ["x"] * 264}, {"origins": [1], "cells": 2} | {"counts": None}],
)
def test_a_state_that_is_none_is_refused(state: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="not counts of batches"):
        watch().resumed(state)


# ------------------------------------------------------------------ predictions


def test_predictions_of_ranks_add_up_in_any_order() -> None:
    first = PredictionCounts().update(np.array([0, 1, 1]), np.array([0, 1, 0]))
    second = PredictionCounts().update(np.array([2, -1]), np.array([2, 2]))
    both = first.merge(second)
    assert both == second.merge(first)
    assert both == PredictionCounts().update(np.array([0, 1, 1, 2, -1]), np.array([0, 1, 0, 2, 2]))
    assert both.predicted == {"0": 1, "1": 2, "2": 1, "-1": 1}
    assert both.recall_of(("2",)) == 0.5
    assert both.recall_of(("7",)) is None


def test_classes_may_be_text() -> None:
    counts = PredictionCounts().update(np.array(["cat", "emu"]), np.array(["cat", "cat"]))
    assert (counts.predicted, counts.hits) == ({"cat": 1, "emu": 1}, {"cat": 1})
