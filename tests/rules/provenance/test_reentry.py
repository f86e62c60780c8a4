"""CG305: outputs of own models that come back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from collapse_guard.errors import PolicyError
from collapse_guard.records import UNKNOWN_GENERATION, Finding
from tests.rules.test_rules import ODD_NAMES, findings, made, of, policy, real

if TYPE_CHECKING:
    from tests.rules.test_rules import Entries, Make


def back(make: Make, rows: Entries, *names: str) -> list[Finding]:
    return findings(of(policy(provenance={"forbid_reentry_of": list(names)}), make(rows)), "CG305")


def test_a_policy_that_forbids_no_model_takes_all(make: Make) -> None:
    assert back(make, made(3)) == []


@pytest.mark.parametrize(
    ("generator", "name", "trips"),
    [
        ("web-model-v1@2025", "web-model-v1", True),
        ("web-model-v1", "web-model-v1", True),
        ("web-model-v1@2025", "web-model-v1@2025", True),
        ("web-model-v1@2025", "web-model-v1@2024", False),
        ("web-model-v10@2025", "web-model-v1", False),
        ("other/web-model-v1@2025", "web-model-v1", False),
        ("a@b@c", "a", True),
        ("a@b@c", "a@b", True),
        ("a@b@c", "a@b@c", True),
        ("@1", "@1", True),
        (None, "None", False),
        ("", "m", False),
    ],
)
def test_a_name_stands_for_all_its_revisions(make: Make, generator: str | None, name: str, trips: bool) -> None:
    assert bool(back(make, made(2, generator=generator), name)) == trips


def test_rows_are_told_by_source_and_generator_with_their_generations(make: Make) -> None:
    rows = (
        made(2)
        + made(3, first=2000, generation=2)
        + made(1, first=3000, generator="m@2")
        + made(4, first=4000, source="crawl", generation=UNKNOWN_GENERATION)
        + made(9, first=5000, generator="tutor@1")
        + real(5)
    )
    found = back(make, rows, "m")
    assert [(each.where, each.measured) for each in found] == [
        ({"source": "crawl", "generator": "m@1"}, 4),
        ({"source": "made", "generator": "m@1"}, 5),
        ({"source": "made", "generator": "m@2"}, 1),
    ]
    assert found[1].message == (
        "source 'made': 5 rows come from 'm@1', whose outputs must not come back (generation 1: 2, generation 2: 3)"
    )
    assert found[0].evidence["by_generation"] == {"unknown": 4}
    assert "1 row comes from 'm@2'" in found[2].message


@pytest.mark.parametrize("origin", [0, 1, 3, 4, 77])
def test_what_a_row_calls_itself_does_not_hide_its_generator(make: Make, origin: int) -> None:
    assert len(back(make, made(2, origin=origin), "m")) == 1


@pytest.mark.parametrize("name", [each for each in ODD_NAMES if each])
def test_a_model_of_any_name_may_be_kept_out(make: Make, name: str) -> None:
    (found,) = back(make, made(2, generator=f"{name}@1", source=name), name)
    assert found.where == {"source": name, "generator": f"{name}@1"}
    assert "\n" not in found.message


def test_an_empty_name_is_refused() -> None:
    with pytest.raises(PolicyError, match=r"provenance\.forbid_reentry_of\[0\]"):
        policy(provenance={"forbid_reentry_of": [""]})


@pytest.mark.parametrize("name", ["tutor", "tutor@2"])
def test_a_source_cannot_be_declared_to_come_from_a_model_that_is_kept_out(name: str) -> None:
    with pytest.raises(PolicyError, match=r"CG002 sources\.synth\.generator: .*keeps 'tutor@2' out"):
        policy(provenance={"forbid_reentry_of": [name]}, sources={"synth": {"generator": "tutor@2"}})
    policy(provenance={"forbid_reentry_of": ["tutor@3"]}, sources={"synth": {"generator": "tutor@2"}})
