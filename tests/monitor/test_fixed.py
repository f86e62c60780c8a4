"""Looks at a fixed set along a chain: the parent becomes the baseline, and the level is spent over generations."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from collapse_guard.cells import LabelCells
from collapse_guard.errors import InputError
from collapse_guard.monitor import Anchor, Reference, Watch
from collapse_guard.policy import Policy
from collapse_guard.stats import CellCounts
from collapse_guard.stats.fixed_set import look_share

if TYPE_CHECKING:
    from collapse_guard.monitor.fixed import FixedLooks

REAL = Reference(LabelCells("label", ("cat", "dog", "emu")), CellCounts.of([1_800, 120, 80]))
HEALTHY, THIN = CellCounts.of([1_800, 120, 80]), CellCounts.of([1_920, 60, 20])


def fixed(chain: Watch) -> FixedLooks:
    assert chain.fixed is not None
    return chain.fixed


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
    """A test and the bounds of its sampled parent together spend the part of their generation, and no more."""
    chain, spent = watch(baseline=baseline), []
    for _ in range(3):
        test = fixed(chain).tests[0]
        spent.append(test.alpha + test.reference.error)
        chain = chain.look(HEALTHY, epoch=1).next_generation()
    assert spent == pytest.approx([0.01 * look_share(number) for number in (1, 2, 3)])
    assert fixed(chain).tests[0].n_looks == 0


def test_a_chain_against_real_rows_spends_one_level_over_the_looks_of_all_generations() -> None:
    chain = watch(baseline="real")
    for number in range(1, 4):
        test = fixed(chain.look(HEALTHY, epoch=1)).tests[0]
        assert (test.alpha, test.n_looks, test.reference.error) == (0.01, number, 0.0)
        chain = chain.look(HEALTHY, epoch=1).next_generation()


def test_cell_maps_share_the_level() -> None:
    columns = {"cells": [{"column": "label"}, {"column": "size"}], "looks": "fixed_set"}
    policy = Policy.coerce({"version": 1, "coverage": columns})
    sizes = Reference(LabelCells("size", ("big", "small")), CellCounts.of([1_900, 100]))
    chain = Watch.start(policy, Anchor((REAL, sizes)), generation=1)
    assert [test.alpha for test in fixed(chain).tests] == [0.005, 0.005]
    halted = chain.look(HEALTHY, CellCounts.of([2_000, 0]), epoch=1)
    assert halted.decision is not None
    assert halted.decision.evidence["subject"] == sizes.name
    assert halted.decision.evidence["dying_classes"] == ["small"]


def test_the_baseline_is_the_last_look_of_the_parent_and_pays_for_having_been_chosen() -> None:
    """Which look is the last may depend on what it saw: the n-th one is believed at its part of the error alone."""
    chain = watch(baseline="parent", reference_error=0.2).look(THIN, epoch=1).look(THIN, epoch=2)
    child = chain.look(HEALTHY, epoch=3).next_generation()
    test, level = fixed(child).tests[0], 0.01 * look_share(2)
    assert (test.reference.rows, fixed(child).said) == (HEALTHY.rows, "the parent")
    assert test.reference.error == pytest.approx(0.2 * level * look_share(3))
    assert fixed(child).tail == (1, 2), "the tail is that of the real rows"


@pytest.mark.parametrize("baseline", ["real", "parent", "peak"])
def test_a_chain_is_resumed_from_plain_state_as_if_it_had_never_stopped(baseline: str) -> None:
    chain = watch(baseline=baseline)
    for _ in range(2):
        chain = chain.look(HEALTHY, epoch=1).look(HEALTHY, epoch=2)
        state = json.loads(json.dumps(chain.state()))
        resumed = replace(chain.without_evidence().resumed(state), note="")
        assert resumed == chain
        assert resumed.look(THIN, epoch=3) == chain.look(THIN, epoch=3)
        chain = chain.next_generation()


@pytest.mark.parametrize("baseline", ["real", "parent", "peak"])
def test_a_child_resumed_from_its_parent_s_state_is_the_next_generation(baseline: str) -> None:
    chain = watch(baseline=baseline).look(HEALTHY, epoch=1).next_generation().look(HEALTHY, epoch=1)
    state = json.loads(json.dumps(chain.state()))
    child = Watch.start(chain.policy, REAL, generation=3).resumed(state)
    assert replace(child, note="") == chain.next_generation()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"first_generation": 5}, "generation 1 is before the first one, 5"),
        ({"tests": []}, "not a state of the guard"),
        ({"parent": [{"rows": [1, 2], "n_unclaimed_rows": 0}]}, "not a state of the guard"),
        ({"latest": [{"rows": [0.5, 2, 3], "n_unclaimed_rows": 0}]}, "counts must be whole numbers"),
        ({"generation": None}, "not a state of the guard"),
    ],
)
def test_a_state_that_is_none_is_refused_in_one_line(change: dict[str, Any], message: str) -> None:
    chain = watch(baseline="parent").look(HEALTHY, epoch=1)
    state = chain.state()
    with pytest.raises(InputError, match=message) as caught:
        chain.resumed(state | {"fixed": state["fixed"] | change})
    assert "\n" not in str(caught.value)


def test_rows_that_no_class_claims_count_as_rows() -> None:
    looked = watch(baseline="real").look(CellCounts.of([800, 60, 40], n_unclaimed_rows=1_100), epoch=1)
    assert looked.halted
    assert looked.looks[0].n_unclaimed_rows == 1_100


def test_a_generation_without_a_look_leaves_its_parent_as_the_baseline() -> None:
    chain = watch(baseline="parent").look(HEALTHY, epoch=1).next_generation().next_generation()
    assert chain.look(THIN, epoch=1).halted
    assert not watch(baseline="parent").next_generation().look(HEALTHY, epoch=1).halted
