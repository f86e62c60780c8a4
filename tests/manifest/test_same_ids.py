"""Ids that stand twice, and ids that stay while their class changes, against plain counting."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from collapse_guard.errors import ManifestError
from collapse_guard.manifest import (
    Manifest,
    Relabelled,
    duplicate_ids,
    manifest_of,
    partition,
    relabelled,
    shard_of,
)
from collapse_guard.manifest.index import INDEX_SCHEMA
from collapse_guard.manifest.loss import MAX_IDS

if TYPE_CHECKING:
    from collections.abc import Sequence

SOURCE = st.sampled_from(["web", "books", "'; DROP TABLE rows; --"])
ROW = st.tuples(
    st.integers(0, 12), st.sampled_from(["cat", "dog", "owl", None]), st.sampled_from([1, 1, 1, 2])
)  # number, class, origin
SHARDS = st.lists(st.tuples(SOURCE, st.lists(ROW, min_size=1, max_size=8)), min_size=1, max_size=5)
Shards = list[tuple[str, list[tuple[int, str | None, int]]]]


def words(number: int) -> tuple[int, int]:
    """Return an id; a third of them share their high word with others."""
    return (number // 3) * 2**60, number


def hex_id(number: int) -> str:
    hi, lo = words(number)
    return f"{hi:016x}{lo:016x}"


def of(shards: Shards, **options: Any) -> Manifest:
    parts = []
    for place, (source, rows) in enumerate(shards):
        plain = {"source": source, "evidence": 1, "generation": 0, "generator": None, "amount": 1.0}
        entries = [
            plain | {"id_hi": words(number)[0], "id_lo": words(number)[1], "class": label, "origin": origin}
            for number, label, origin in rows
        ]
        parts.append(shard_of(pa.Table.from_pylist(entries, INDEX_SCHEMA), name=f"#{place}"))
    said: dict[str, Any] = {"name": "n", "generation": 0, "class_column": "label"}
    return manifest_of(parts, **(said | options))


@pytest.fixture
def small_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partition, "RANGE_ROWS", 5)


@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(shards=SHARDS)
def test_duplicates_are_what_counting_says(small_ranges: None, shards: Shards) -> None:
    carried: dict[tuple[str, int], list[tuple[str | None, int]]] = {}
    for source, rows in shards:
        for number, label, origin in rows:
            carried.setdefault((source, number), []).append((label, origin))
    twice = {key: tags for key, tags in carried.items() if len(tags) > 1}
    found = {each.source: each for each in duplicate_ids(of(shards))}
    assert list(found) == sorted({source for source, _ in twice})
    for source, each in found.items():
        own = {number: tags for (name, number), tags in twice.items() if name == source}
        differing = {number for number, tags in own.items() if len(set(tags)) > 1}
        assert (each.n_ids, each.n_differing) == (len(own), len(differing))
        assert each.n_extra_rows == sum(len(tags) - 1 for tags in own.values())
        ordered = sorted(own, key=lambda number: (number not in differing, hex_id(number)))
        assert each.ids == tuple(hex_id(number) for number in ordered[:MAX_IDS])


Labels = set[str | None]


def real_labels(shards: Shards) -> dict[int, Labels]:
    labels: dict[int, Labels] = {}
    for _, rows in shards:
        for number, label, origin in rows:
            if origin == 1:
                labels.setdefault(number, set()).add(label)
    return labels


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    before=SHARDS,
    after=SHARDS,
    kept=st.integers(0, 5),
    scope=st.one_of(st.none(), st.lists(SOURCE, max_size=2)),
    exempt=st.lists(SOURCE, max_size=1),
)
def test_relabelled_rows_are_what_counting_says(
    small_ranges: None,
    before: Shards,
    after: Shards,
    kept: int,
    scope: Sequence[str] | None,
    exempt: Sequence[str],
) -> None:
    child = after + before[:kept]
    now = real_labels(child)
    expected = {
        (number, source, label)
        for source, rows in before
        for number, label, origin in rows
        if origin == 1 and label is not None and (scope is None or source in scope) and source not in exempt
        if number in now and label not in now[number]
    }
    found = relabelled(of(before), of(child), scope=scope, exempt=exempt)
    assert found.n_rows == len(expected)
    groups = Counter((source, label, new) for number, source, label in expected for new in now[number])
    assert {(source, label, new): rows for source, label, new, rows in found.by} == groups
    assert found.ids == tuple(sorted({hex_id(number) for number, *_ in expected})[:MAX_IDS])


def test_shards_that_stay_as_they_are_are_not_opened(tmp_path_factory: pytest.TempPathFactory) -> None:
    one: Shards = [("web", [(1, "cat", 1), (2, "dog", 1)])]
    two: Shards = [("web", [(3, "cat", 1)])]
    before, after = of(one + two), of([*one, ("web", [(3, "owl", 1)])])
    path = tmp_path_factory.mktemp("gone") / "part.parquet"
    closed = Manifest(before.header, None, (replace(before.shards[0], table=None, path=path), before.shards[1]))
    assert relabelled(closed, after).by == (("web", "cat", "owl", 1),)
    assert relabelled(closed, closed) == Relabelled()
    with pytest.raises(ManifestError, match="no such part"):
        relabelled(closed, of(two))


def test_ids_of_another_rule_are_refused() -> None:
    one: Shards = [("web", [(1, "cat", 1)])]
    with pytest.raises(ManifestError, match="they are not comparable"):
        relabelled(of(one), of(one, id_rule="sha256-128/text-nfc/1[body]"))
