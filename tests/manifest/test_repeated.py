"""Where ids may repeat, against plain counting; and answers that are the same on every way to them."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collapse_guard.errors import ManifestError
from collapse_guard.manifest import (
    Manifest,
    duplicate_ids,
    duplicates,
    load_manifest,
    manifest_of,
    real_and_generated_ids,
    repeated,
    shard_of,
    write_manifest,
)
from collapse_guard.manifest.index import INDEX_SCHEMA

if TYPE_CHECKING:
    from pathlib import Path

HIGH = st.sampled_from([0, 1, 2**63 - 1, 2**63, 2**64 - 1]) | st.integers(0, 2**64 - 1)
IDS = st.lists(st.tuples(HIGH, st.integers(0, 2), st.sampled_from([1, 1, 2])), min_size=1, max_size=8)
SHARDS = st.lists(st.tuples(st.sampled_from(["web", "books"]), IDS), min_size=1, max_size=4)
Shards = list[tuple[str, list[tuple[int, int, int]]]]


def of(shards: Shards) -> Manifest:
    parts = []
    for place, (source, ids) in enumerate(shards):
        plain = {"source": source, "evidence": 1, "generation": 0, "amount": 1.0}
        rows = [plain | {"id_hi": hi, "id_lo": lo, "origin": origin} for hi, lo, origin in ids]
        parts.append(shard_of(pa.Table.from_pylist(rows, INDEX_SCHEMA), name=f"#{place}"))
    return manifest_of(parts, name="n", generation=0)


@settings(deadline=None, derandomize=True)
@given(SHARDS, st.integers(1, 4))
def test_words_that_stand_twice_are_told(shards: Shards, range_rows: int) -> None:
    counted = Counter(hi for _, ids in shards for hi, _, _ in ids)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("collapse_guard.manifest.partition.RANGE_ROWS", range_rows)
        words = repeated.repeated_words(of(shards).shards)
    assert words is not None
    assert words.tolist() == sorted(hi for hi, n in counted.items() if n > 1)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(SHARDS)
def test_answers_are_the_same_whether_few_words_repeat_or_many(shards: Shards) -> None:
    few, many = of(shards), of(shards)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(repeated, "MAX_WORDS", -1)
        assert many.repeated_words is None
    assert duplicate_ids(few) == duplicate_ids(many)
    assert real_and_generated_ids(few) == real_and_generated_ids(many)


def test_too_many_words_of_one_range_are_not_gathered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repeated, "_MOST_WORDS", 3)
    assert repeated.repeated_words(of([("web", [(n, 0, 1) for n in range(4)])]).shards) is None
    assert repeated.repeated_words(of([("web", [(n, 0, 1) for n in range(3)])]).shards) is not None


def test_where_no_word_repeats_no_database_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duplicates, "connected", None)
    made = of([("web", [(n, 0, 1 + n % 2) for n in range(9)])])
    assert duplicate_ids(made) == ()
    assert real_and_generated_ids(made) == (0, ())


def test_parts_are_read_range_by_range(tmp_path: Path) -> None:
    path = tmp_path / "gen0.cgm.json"
    write_manifest(of([("web", [(5, 1, 1), (7, 0, 1)]), ("books", [(5, 1, 2), (2**64 - 1, 0, 2)])]), path)
    loaded = load_manifest(path)
    words = loaded.repeated_words
    assert words is not None
    assert words.tolist() == [5]
    assert real_and_generated_ids(loaded) == (1, (f"{5:016x}{1:016x}",))


def test_a_part_that_is_cut_says_so(tmp_path: Path) -> None:
    write_manifest(of([("web", [(5, 1, 1)])]), tmp_path / "gen0.cgm.json")
    loaded = load_manifest(tmp_path / "gen0.cgm.json")
    part = loaded.shards[0].path
    assert part is not None
    part.write_bytes(part.read_bytes()[:40])
    with pytest.raises(ManifestError, match="not a readable Parquet file"):
        _ = loaded.repeated_words
