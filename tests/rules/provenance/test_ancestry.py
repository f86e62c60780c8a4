"""CG303 and CG304: depth, and ancestry that cannot be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from collapse_guard.manifest import Manifest
from collapse_guard.records import UNKNOWN_GENERATION, Origin
from tests.rules.test_rules import ODD_NAMES, findings, made, of, policy, real

if TYPE_CHECKING:
    from tests.rules.test_rules import Make


def of_generation(manifest: Manifest, generation: int) -> Manifest:
    return Manifest(manifest.header.model_copy(update={"generation": generation}), None, manifest.shards)


@pytest.mark.parametrize(
    ("before", "now", "trips"), [(0, 1, False), (0, 0, True), (3, 3, True), (3, 2, True), (3, 9, False)]
)
def test_a_child_is_later_than_its_parent(make: Make, before: int, now: int, trips: bool) -> None:
    parent = of_generation(make(real(3)), before)
    child = of_generation(make(real(3), parent=parent), now)
    found = findings(of(policy(), child, parent), "CG304")
    assert [(each.measured, each.limit, each.unit) for each in found] == (
        [(before, now - 1, "generations")] if trips else []
    )
    for each in found:
        assert each.message == (
            f"the manifest is of generation {now}, and its parent of generation {before}:"
            " a child is later than its parents"
        )
        assert (each.where, each.evidence["parents"]) == ({"generation": str(now)}, [parent.digest])


def test_generation_nought_has_no_parent_even_if_that_was_not_given(make: Make) -> None:
    child = of_generation(make(real(3), parent=make(real(3))), 0)
    stranger = of_generation(make(real(2)), 7)
    for previous in (None, stranger):
        (found,) = findings(of(policy(), child, previous), "CG304")
        assert "and its parent of generation 0 at least" in found.message
        assert (found.measured, found.limit) == (0, -1)


def test_a_stranger_says_nothing_of_the_ancestry(make: Make) -> None:
    child = make(real(3), parent=make(real(3)))
    assert findings(of(policy(), child, of_generation(make(real(2)), 7)), "CG304") == []
    assert findings(of(policy(), make(real(3)), of_generation(make(real(2)), 7)), "CG304") == []


@pytest.mark.parametrize(
    ("tags", "faults"),
    [
        ({"origin": 2, "generation": 0, "generator": "m@1"}, ["synthetic, generation 0"]),
        ({"origin": 2, "generation": 1, "generator": "m@1"}, []),
        ({"origin": 2, "generation": UNKNOWN_GENERATION, "generator": "m@1"}, []),
        ({"origin": 1, "generation": 0}, []),
        ({"origin": 1, "generation": 1}, ["real, later generation"]),
        ({"origin": 1, "generation": UNKNOWN_GENERATION}, []),
        ({"origin": 1, "generator": ""}, []),
        ({"origin": 1, "generator": "m@1"}, ["real, with a generator"]),
        ({"origin": 1, "generation": 2, "generator": "m@1"}, ["real, later generation", "real, with a generator"]),
        ({"origin": int(Origin.SIMULATED), "generation": 0, "generator": "engine"}, []),
        ({"origin": int(Origin.DERIVED), "generation": 0, "generator": "ocr@3"}, []),
        ({"origin": 0, "generation": 9, "generator": "m@1"}, []),
        ({"origin": 77, "generation": 9, "generator": "m@1"}, []),
    ],
)
def test_an_origin_has_its_generations(make: Make, tags: dict[str, Any], faults: list[str]) -> None:
    found = findings(of(policy(), make(real(2) + real(3, first=50, **tags))), "CG304")
    assert [(each.evidence["fault"], each.measured) for each in found] == [(fault, 3) for fault in faults]


def test_what_cannot_be_is_told_of_each_source(make: Make) -> None:
    rows = made(2, generation=0) + made(3, first=2000, generation=0, source="more", generator="m@2") + real(1)
    rows += made(1, first=3000, generation=0, source="more")
    found = findings(of(policy(), make(rows)), "CG304")
    assert [(each.where["source"], each.measured) for each in found] == [("made", 2), ("more", 4)]
    assert found[0].message == (
        "source 'made': 2 rows are synthetic and say generation 0: a model made them, whose data had a generation"
    )


@pytest.mark.parametrize("name", ODD_NAMES)
def test_a_source_of_any_name_may_be_too_deep(make: Make, name: str) -> None:
    rows = made(2, generation=5, source=name) + real(1, generation=1, source=name, first=50)
    for code in ("CG303", "CG304"):
        (found,) = findings(of(policy(), make(rows)), code)
        assert found.where == {"source": name}
        assert "\n" not in found.message


def test_the_deepest_generation_is_measured_and_all_are_told_in_order(make: Make) -> None:
    rows = [row for n, depth in enumerate((10, 3, 2, 255)) for row in made(2, first=100 * n, generation=depth)]
    (found,) = findings(of(policy(provenance={"max_generation_depth": 2}), make(rows)), "CG303")
    assert found.evidence["histogram"] == {"3": 2, "10": 2, "unknown": 2}
    assert list(found.evidence["histogram"]) == ["3", "10", "unknown"]
    assert (found.measured, found.limit) == (255, 2)
