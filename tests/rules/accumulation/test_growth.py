"""CG205: a real pool that stands still, as far back as headers tell."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from collapse_guard.manifest import Manifest, ParentLink, write_manifest
from collapse_guard.records import Finding, Status
from tests.rules.test_rules import Make, findings, generations, made, of, policy, real

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def chain(make: Make, tmp_path: Path) -> Any:
    """Return the manifests of generations with so many real rows each, written side by side, the newest last."""

    def written(*sizes: int, folder: str = "manifests", **tags: Any) -> list[Manifest]:
        line: list[Manifest] = []
        for number, size in enumerate(sizes):
            built = make(real(size, **tags) + made(1), parent=line[-1] if line else None)
            line.append(write_manifest(built, tmp_path / folder / f"gen{number}.cgm.json"))
        return line

    (tmp_path / "manifests").mkdir()
    return written


def asked(line: list[Manifest], within: int, **sections: Any) -> list[Finding]:
    return findings(of(policy(accumulation={"grow_within": within}, **sections), line[-1], line[-2]), "CG205")


def test_a_policy_that_does_not_ask_for_growth_sees_none(make: Make) -> None:
    assert findings(generations(make, real(5), real(5)), "CG205") == []


@pytest.mark.parametrize(
    ("sizes", "within", "still"),
    [
        ((5, 6), 1, None),
        ((5, 5), 1, 1),
        ((5, 4), 1, 1),
        ((5, 5), 2, None),  # the chain is younger than that
        ((4, 5, 5), 2, None),
        ((5, 5, 5), 2, 2),
        ((5, 4, 4), 2, 2),
        ((5, 6, 4, 4), 2, 2),
        ((5, 5, 5, 5, 6), 1, None),
        ((9, 5, 5, 5), 2, 3),  # it has stood still for longer than is asked
        ((3, 4, 5, 5, 5, 5), 3, 3),
        ((3, 4, 5, 5, 5, 5), 4, None),
    ],
)
def test_generations_without_growth_are_counted_back_from_the_newest(
    chain: Any, sizes: tuple[int, ...], within: int, still: int | None
) -> None:
    found = asked(chain(*sizes), within)
    assert [(each.measured, each.limit, each.status) for each in found] == (
        [] if still is None else [(still, within - 1, Status.FAIL)]
    )
    for each in found:
        assert each.evidence["real_rows"] == list(sizes[-still - 1 :])  # type: ignore[operator]
        assert each.evidence["generations"] == list(range(len(sizes) - still - 1, len(sizes)))  # type: ignore[operator]


def test_the_sizes_are_told_the_newest_last(chain: Any) -> None:
    (found,) = asked(chain(7, 5, 5), 2)
    assert found.message == (
        "the real pool did not grow for 2 generations: 7, 5, 5 real rows, the newest last; it is to grow within 2"
    )
    (found,) = asked(chain(5, 5), 1)
    assert found.message.startswith("the real pool did not grow for 1 generation: 5, 5 real rows")


def test_an_older_generation_that_lies_nowhere_leaves_the_question_open(chain: Any, make: Make) -> None:
    line = chain(5, 5, 5)
    assert asked(line, 2)[0].status is Status.FAIL
    line[0].path.unlink()
    (found,) = asked(line, 2)
    assert found.status is Status.INCONCLUSIVE
    assert found.message.startswith(
        "not evaluated: the real pool did not grow for 1 of 2 generations, and 'gen0', sha256:"
    )
    assert asked(line, 1)[0].status is Status.FAIL  # the parent alone answers that
    grown = [line[1], make(real(6), parent=line[1])]
    assert asked(grown, 5) == []  # and so does growth


def test_generations_in_memory_have_no_headers_beside_them(make: Make) -> None:
    first = make(real(5))
    second = make(real(5) + made(1), parent=first)
    line = [second, make(real(5) + made(2), parent=second)]
    assert asked(line, 1)[0].measured == 1
    assert asked(line, 2)[0].status is Status.INCONCLUSIVE


def test_headers_in_folders_beside_are_found_too(make: Make, tmp_path: Path) -> None:
    line: list[Manifest] = []
    for number in range(3):
        built = make(real(5) + made(number + 1), parent=line[-1] if line else None)
        line.append(write_manifest(built, tmp_path / f"gen{number}" / "manifest.cgm.json"))
    assert asked(line, 2)[0].measured == 2


def test_only_real_rows_in_scope_make_a_pool(make: Make) -> None:
    before, after = real(5) + made(1), real(5) + made(9) + real(4, first=50, source="cache")
    for sections in (
        {"accumulation": {"grow_within": 1, "scope": ["web"]}},
        {"accumulation": {"grow_within": 1}, "sources": {"cache": {"accumulate": "off"}}},
    ):
        assert len(findings(generations(make, before, after, **sections), "CG205")) == 1
    assert findings(generations(make, before, after, accumulation={"grow_within": 1}), "CG205") == []


def test_growth_is_asked_for_where_accumulation_is_off_too(chain: Any) -> None:
    line = chain(5, 5)
    rules = policy(accumulation={"mode": "off", "grow_within": 1})
    assert len(findings(of(rules, line[-1], line[-2]), "CG205")) == 1


def test_a_parent_that_was_not_given_leaves_the_question_open(make: Make) -> None:
    rules = policy(accumulation={"grow_within": 1})
    (found,) = findings(of(rules, make(real(5), parent=make(real(5)))), "CG205")
    assert (found.status, found.key) == (Status.INCONCLUSIVE, ("accumulation", "grow_within"))
    assert findings(of(rules, make(real(5))), "CG205") == []  # the first generation grew from nothing


def with_parents(manifest: Manifest, *parents: Manifest) -> Manifest:
    links = tuple(ParentLink(name=each.header.name, digest=each.digest) for each in parents)
    return Manifest(manifest.header.model_copy(update={"parents": links}), manifest.path, manifest.shards)


def test_of_several_parents_it_is_not_told_from_which_the_pool_grew(make: Make, tmp_path: Path) -> None:
    first, second = make(real(5)), make(real(4, first=50))
    both = with_parents(make(real(9, first=7), parent=first), first, second)
    (found,) = findings(of(policy(accumulation={"grow_within": 1}), both, first), "CG205")
    assert found.message == "not evaluated: generation 1 has 2 parents"
    written = write_manifest(both, tmp_path / "both.cgm.json")
    child = make(real(9), parent=written)
    (found,) = findings(of(policy(accumulation={"grow_within": 2}), child, written), "CG205")
    assert found.message.endswith("did not grow for 1 of 2 generations, and generation 1 has 2 parents")


def test_a_header_beside_that_is_damaged_counts_as_missing(chain: Any) -> None:
    line = chain(5, 5, 5)
    line[0].path.write_text("{")
    assert asked(line, 2)[0].status is Status.INCONCLUSIVE


def test_a_parent_that_went_away_while_the_gate_ran_leaves_the_question_open(chain: Any) -> None:
    line = chain(5, 5, 5)
    line[1].path.unlink()
    (found,) = asked(line, 2)
    assert found.status is Status.INCONCLUSIVE
    assert "its ancestors cannot be read" in found.message
