"""What a watch can see is said at its start, and a watch that is blind to extinction is refused."""

from __future__ import annotations

import re
from typing import Any

import pytest

from collapse_guard.cells import LabelCells
from collapse_guard.errors import StatisticError
from collapse_guard.monitor import Reference, Watch
from collapse_guard.policy import Policy
from collapse_guard.stats import CellCounts

REAL = Reference(LabelCells("label", ("cat", "dog", "emu\nyak")), CellCounts.of([1_980, 15, 5]))


def start(**coverage: Any) -> Watch:
    return Watch.start(Policy.coerce({"version": 1, "coverage": coverage}), REAL, generation=1)


@pytest.mark.parametrize("planned_looks", [1, 3, 50])
def test_the_number_of_rows_that_a_refusal_asks_for_works_and_one_less_does_not(planned_looks: int) -> None:
    with pytest.raises(StatisticError, match="not even the extinction of the tail") as caught:
        start(samples_per_look=10, planned_looks=planned_looks)
    asked = int(re.findall(r"ask for (\d+) rows or more", str(caught.value))[0])
    assert start(samples_per_look=asked, planned_looks=planned_looks).panels
    with pytest.raises(StatisticError, match=f"ask for {asked} rows"):
        start(samples_per_look=asked - 1, planned_looks=planned_looks)


def test_a_dead_tail_halts_within_the_looks_that_the_refusal_counted_on() -> None:
    with pytest.raises(StatisticError) as caught:
        start(samples_per_look=10, planned_looks=3)
    asked = int(re.findall(r"ask for (\d+) rows or more", str(caught.value))[0])
    watch = start(samples_per_look=asked, planned_looks=3)
    for epoch in range(3):
        watch = watch.look(CellCounts.of([asked, 0, 0]), epoch=epoch)
    assert watch.halted


def test_the_opening_line_has_both_figures_and_names_classes_that_are_guarded_together() -> None:
    (line,) = start().sight()
    assert re.search(r"of the tail, \d+% in one look and \d+% in 50", line)
    assert line.endswith("too rare to be guarded alone, and guarded together: emu\\nyak")


def test_drops_that_one_look_cannot_show_are_said_to_be_none() -> None:
    (line,) = start(samples_per_look=150).sight()
    assert "of the tail, none in one look" in line
    assert "not even their end would be seen of" not in line or "dog" in line
