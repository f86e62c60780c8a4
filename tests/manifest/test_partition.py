"""The proof by ranges of ids: every range alone, all together, against DuckDB and against plain sets."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collapse_guard.errors import ManifestError
from collapse_guard.manifest import Manifest, load_manifest, manifest_of, prove_accumulation, shard_of, write_manifest
from collapse_guard.manifest.index import INDEX_SCHEMA
from collapse_guard.manifest.loss import LOST_SCHEMA, tallied
from collapse_guard.manifest.partition import (
    RANGE_ROWS,
    absent,
    id_range,
    lost_in_range,
    n_ranges,
    without,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

TOP = 2**64 - 1
#: Few high and low words, at the edges of ranges too: ids that share one of them are what a careless join mixes up.
HIGH = st.sampled_from([0, 1, 2**62, 2**63 - 1, 2**63, 2**63 + 1, TOP])
LOW = st.sampled_from([0, 1, 2, TOP])
ROW = st.tuples(HIGH, LOW, st.sampled_from([1, 1, 1, 2]), st.sampled_from(["cat", "dog", None]))
SHARDS = st.lists(st.lists(ROW, min_size=1, max_size=8), min_size=1, max_size=4)
Rows = list[tuple[int, int, int, str | None]]


def index_rows(rows: Rows, source: str) -> pa.Table:
    plain = {"source": source, "evidence": 1, "generation": 0, "generator": None, "amount": 1.0}
    entries = [{"id_hi": hi, "id_lo": lo, "origin": origin, "class": label} | plain for hi, lo, origin, label in rows]
    return pa.Table.from_pylist(entries, INDEX_SCHEMA)


def written(path: Path, shards: Sequence[Rows]) -> Manifest:
    parts = [shard_of(index_rows(rows, f"s{n % 2}"), name=f"#{n}") for n, rows in enumerate(shards)]
    write_manifest(manifest_of(parts, name="n", generation=0, class_column="label"), path)
    return load_manifest(path)


def parts_of(manifest: Manifest) -> list[str]:
    return [str(shard.path) for shard in manifest.shards]


@pytest.mark.parametrize("n", [1, 2, 3, 7, 16, 1000])
def test_ranges_follow_each_other_and_hold_every_id(n: int) -> None:
    bounds = [id_range(number, n) for number in range(n)]
    assert (bounds[0][0], bounds[-1][1]) == (0, TOP)
    assert all(lo <= hi for lo, hi in bounds)
    assert all(before[1] + 1 == after[0] for before, after in itertools.pairwise(bounds))
    sizes = {hi - lo + 1 for lo, hi in bounds}
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize(
    ("n_rows", "n"), [(0, 1), (1, 1), (RANGE_ROWS, 1), (RANGE_ROWS + 1, 2), (10 * RANGE_ROWS, 10), (10**12, 16)]
)
def test_ranges_are_as_many_as_rows_ask_for_and_no_more_than_allowed(n_rows: int, n: int) -> None:
    assert n_ranges(n_rows, most=16) == n


@settings(max_examples=200, deadline=None, derandomize=True)
@given(asked=st.lists(st.tuples(HIGH, LOW), max_size=20), known=st.lists(st.tuples(HIGH, LOW), max_size=20))
def test_absence_is_a_set_difference(asked: list[tuple[int, int]], known: list[tuple[int, int]]) -> None:
    words = [np.array([pair[n] for pair in pairs], dtype=np.uint64) for pairs in (asked, known) for n in (0, 1)]
    assert absent(*words).tolist() == [pair not in set(known) for pair in asked]


@settings(max_examples=40, deadline=None, derandomize=True)
@given(before=SHARDS, after=SHARDS, kept=st.integers(0, 4), n=st.sampled_from([1, 2, 3, 8]))
def test_all_ranges_together_are_the_answer_of_duckdb(
    tmp_path_factory: pytest.TempPathFactory, before: list[Rows], after: list[Rows], kept: int, n: int
) -> None:
    folder = tmp_path_factory.mktemp("pair")
    first, second = written(folder / "a.cgm.json", before), written(folder / "b.cgm.json", after + before[:kept])
    tables = [lost_in_range(parts_of(first), parts_of(second), *id_range(number, n)) for number in range(n)]
    proof = prove_accumulation(first, second, lost_to=folder / "duckdb.parquet")
    tally = tallied(tables, lost_to=folder / "ranges.parquet")
    assert (tally.loss, tally.taken_down) == (proof.loss, proof.taken_down)
    assert pq.read_table(folder / "ranges.parquet").equals(pq.read_table(folder / "duckdb.parquet"))
    real = {(hi, lo) for rows in after + before[:kept] for hi, lo, origin, _ in rows if origin == 1}
    expected = {
        (hi, lo, f"s{number % 2}", label)
        for number, rows in enumerate(before)
        for hi, lo, origin, label in rows
        if origin == 1 and (hi, lo) not in real
    }
    found = {tuple(row.values()) for table in tables for row in table.to_pylist()}
    assert found == expected
    assert sum(table.num_rows for table in tables) == len(expected)


def test_a_range_holds_its_edges_and_nothing_else(tmp_path: Path) -> None:
    rows: Rows = [(word, 0, 1, None) for word in (9, 10, 15, 20, 21)]
    before = parts_of(written(tmp_path / "a.cgm.json", [rows]))
    assert lost_in_range(before, [], 10, 20).column("id_hi").to_pylist() == [10, 15, 20]
    lost = lost_in_range(before, [], 10, 20)
    assert lost.schema.equals(LOST_SCHEMA)
    assert lost_in_range(before, before, 0, TOP).equals(LOST_SCHEMA.empty_table())
    assert without(lost, before, 10, 20).num_rows == 0


def test_a_range_reads_the_row_groups_that_meet_it_and_no_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = index_rows([(n * 2**56, n, 1, "cat") for n in range(256)], "web")
    path = tmp_path / "part.parquet"
    pq.write_table(rows, path, row_group_size=16)
    read: list[list[int]] = []
    whole = pq.ParquetFile.read_row_groups

    def noted(part: pq.ParquetFile, groups: list[int], **options: Any) -> pa.Table:
        read.append(list(groups))
        return whole(part, groups, **options)

    monkeypatch.setattr(pq.ParquetFile, "read_row_groups", noted)
    for number in range(4):
        assert lost_in_range([str(path)], [], *id_range(number, 4)).num_rows == 64
    assert read == [[4 * number + n for n in range(4)] for number in range(4)]
    pq.write_table(rows, path, row_group_size=16, write_statistics=False)
    assert lost_in_range([str(path)], [], *id_range(1, 4)).num_rows == 64
    assert read[-1] == list(range(16))


@pytest.mark.parametrize("damage", ["missing", "cut", "other columns"])
def test_a_part_that_cannot_be_read_is_named(tmp_path: Path, damage: str) -> None:
    path = Path(parts_of(written(tmp_path / "a.cgm.json", [[(1, 1, 1, None)]]))[0])
    if damage == "missing":
        path.unlink()
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:-30])
    else:
        pq.write_table(pa.table({"id": [1]}), path)
    with pytest.raises(ManifestError) as caught:
        lost_in_range([str(path)], [], 0, TOP)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.path == str(path)
