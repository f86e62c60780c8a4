"""What a watch can see is said at its start, and a watch that is blind to extinction is refused."""

from __future__ import annotations

import re
from dataclasses import replace
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
    """A tail of 1 % in looks of 150 rows: its end takes several looks, that of the rarest class more than there are."""
    (line,) = start(samples_per_look=150, min_alone_rows=1).sight()
    assert "of the tail, none in one look and 56% in 50" in line
    assert "not even their end would be seen of emu\\nyak" in line
    assert "guarded together" not in line
    assert "\n" not in line


def test_of_many_rare_classes_five_are_named_and_the_rest_is_counted() -> None:
    names = tuple(f"rare {number}\n" for number in range(8))
    rare = Reference(LabelCells("label", ("head", *names)), CellCounts.of([9_920, *[10] * 8]))
    (line,) = Watch.start(Policy.coerce({"version": 1, "coverage": {}}), rare, generation=1).sight()
    assert line.endswith(r"guarded together: rare 0\n, rare 1\n, rare 2\n, rare 3\n, rare 4\n and 3 more")


def test_the_figures_are_those_of_the_looks_that_are_left() -> None:
    watch = start(planned_looks=3)
    found = [re.findall(r"(\d+%|none) in (\d+)", watch.sight()[0])]
    for epoch in range(4):
        watch = watch.look(CellCounts.of([1_980, 15, 5]), epoch=epoch)
        found.append(re.findall(r"(\d+%|none) in (\d+)", watch.sight()[0]))
    assert [figures[0][1] for figures in found] == ["3", "2", "1", "1", "1"]
    drops = [int(figures[0][0].rstrip("%")) for figures in found]
    assert drops == sorted(drops), "fewer looks see larger drops only"


@pytest.mark.parametrize(
    "more",
    [
        {"real_is": "sample"},
        {"max_mass_drop": 0.8},
        {"references": ["real"], "max_unclaimed_rise": None},
        {"false_halt_rate": 1e-6},
        {"scores": [{"kind": "hapax"}, {"kind": "novelty"}]},
    ],
)
def test_a_refusal_followed_to_the_letter_ends_under_every_policy(more: dict[str, Any]) -> None:
    with pytest.raises(StatisticError) as caught:
        start(samples_per_look=1, planned_looks=2, **more)
    asked = int(re.findall(r"ask for (\d+) rows or more", str(caught.value))[0])
    watch = start(samples_per_look=asked, planned_looks=2, **more)
    one = "none in one look" in watch.sight()[0]
    assert one or "100% in one look" in watch.sight()[0]


def test_a_tail_of_mistakes_alone_is_refused_without_a_number() -> None:
    """All rows of the rare class are there by mistake: its end changes nothing, however many rows are asked for."""
    blind = replace(REAL, false_shares=(0.0, 15 / 2_000, 5 / 2_000))
    with pytest.raises(StatisticError, match="no number of rows could; tolerate smaller drops"):
        Watch.start(Policy.coerce({"version": 1, "coverage": {}}), blind, generation=1)


def test_what_is_measured_against_the_first_model_alone_is_not_refused_before_there_is_one() -> None:
    assert start(references=["first_model"], samples_per_look=1).sight() == []
