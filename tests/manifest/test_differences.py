"""Two manifests compared: against a count by hand, and laws that any comparison keeps."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collapse_guard.errors import ManifestError
from collapse_guard.kernels import id_hex
from collapse_guard.manifest import Manifest, manifest_of, shard_of
from collapse_guard.manifest.differences import compare_manifests
from collapse_guard.manifest.index import INDEX_SCHEMA, cut

if TYPE_CHECKING:
    from collections.abc import Iterable

COLUMNS = ("id_hi", "id_lo", "source", "origin", "evidence", "generation", "class", "generator", "amount")
Row = tuple[Any, ...]
rows = st.tuples(
    st.integers(0, 2),
    st.integers(0, 3),
    st.sampled_from(["web", "own"]),
    st.sampled_from([0, 1, 2]),
    st.just(1),
    st.just(0),
    st.sampled_from([None, "cat"]),
    st.none(),
    st.sampled_from([0.0, 1.0, 2.5]),
)
tables = st.lists(rows, min_size=1, max_size=12)


def manifest(found: Iterable[Row], name: str = "m", **facts: Any) -> Manifest:
    index = pa.Table.from_pylist([dict(zip(COLUMNS, row, strict=True)) for row in found], INDEX_SCHEMA)
    shards = [shard_of(part, name=f"{source}#{number}") for source, number, part in cut(index)]
    return manifest_of(shards, name=name, generation=0, **facts)


def ids(found: Iterable[Row]) -> set[tuple[int, int]]:
    return {row[:2] for row in found}


@settings(max_examples=30, deadline=None)
@given(tables, tables)
def test_every_count_is_that_by_hand(one: list[Row], two: list[Row]) -> None:
    found = compare_manifests(manifest(one), manifest(two))
    left, right = Counter(one), Counter(two)
    moved = ids((left - right).elements()) | ids((right - left).elements())
    for change, expected in (
        (found.only_before, ids(one) - ids(two)),
        (found.only_after, ids(two) - ids(one)),
        (found.retagged, moved & ids(one) & ids(two)),
    ):
        assert change.n_ids == len(expected)
        assert change.ids == tuple(id_hex(hi, lo) for hi, lo in sorted(expected)[:10])
    assert found.any == (left != right)


@settings(max_examples=15, deadline=None)
@given(tables, tables)
def test_groups_are_those_by_hand(one: list[Row], two: list[Row]) -> None:
    found = compare_manifests(manifest(one), manifest(two))
    counts = [Counter(row[2] for row in each) for each in (one, two)]
    amounts = [{name: sum(row[8] for row in each if row[2] == name) for name in ("own", "web")} for each in (one, two)]
    expected = [
        (name, counts[0][name], counts[1][name], amounts[0][name], amounts[1][name])
        for name in ("own", "web")
        if counts[0][name] != counts[1][name] or amounts[0][name] != amounts[1][name]
    ]
    assert [
        (each.name, each.rows_before, each.rows_after, each.amount_before, each.amount_after) for each in found.sources
    ] == expected


@settings(max_examples=15, deadline=None)
@given(tables, tables)
def test_turned_round_it_says_the_same(one: list[Row], two: list[Row]) -> None:
    there, back = (compare_manifests(manifest(a), manifest(b)) for a, b in ((one, two), (two, one)))
    assert (there.only_before, there.only_after, there.retagged) == (back.only_after, back.only_before, back.retagged)


def row(number: int, **changes: Any) -> Row:
    usual = dict(zip(COLUMNS, (number, 0, "web", 1, 1, 0, "cat", None, 1.0), strict=True))
    return tuple((usual | changes).values())


def test_equal_shards_are_not_compared() -> None:
    same = [row(number) for number in range(5)]
    found = compare_manifests(manifest([*same, row(9, source="a")]), manifest([*same, row(8, source="b")]))
    assert found.n_compared_rows == 2
    assert [each.name for each in found.sources] == ["a", "b"]


def test_a_row_that_moves_to_a_shard_that_both_have_is_not_lost() -> None:
    same = [row(number) for number in range(3)]
    found = compare_manifests(manifest([*same, row(0, source="a")]), manifest(same))
    assert found.only_before.n_ids == 0
    assert found.retagged.ids == (id_hex(0, 0),)


def test_header_fields_that_differ_are_named() -> None:
    found = compare_manifests(manifest([row(1)]), manifest([row(1)], "other", policy_digest=f"sha256:{'1' * 64}"))
    assert {each.field: (each.before, each.after) for each in found.fields} == {
        "name": ("m", "other"),
        "policy_digest": (None, f"sha256:{'1' * 64}"),
    }


def test_amounts_of_different_units_are_not_compared() -> None:
    found = compare_manifests(manifest([row(1)]), manifest([row(1), row(2)], unit="tokens"))
    assert found.sources[0].amount_before is None
    assert found.sources[0].rows_after == 2


def test_origins_are_named() -> None:
    found = compare_manifests(manifest([row(1)]), manifest([row(1, origin=2)]))
    assert [(each.name, each.rows_before, each.rows_after) for each in found.origins] == [
        ("real", 1, 0),
        ("synthetic", 0, 1),
    ]


def test_ids_of_different_rules_are_refused() -> None:
    with pytest.raises(ManifestError, match="write one of them again"):
        compare_manifests(manifest([row(1)]), manifest([row(1)], id_rule="sha256-128/text-nfc/1[text]"))
