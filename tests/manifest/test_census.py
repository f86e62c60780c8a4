"""One grouping that answers every question on the mix, against plain counting and against DuckDB."""

from __future__ import annotations

import math
import pickle
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collapse_guard.manifest import Manifest, engine, load_manifest, manifest, manifest_of, shard_of, write_manifest
from collapse_guard.manifest.census import GROUPED, RunningCensus, census_of, merged
from collapse_guard.manifest.columns import array_of, is_valid, lengths_of, values_of
from collapse_guard.manifest.index import INDEX_SCHEMA, content_digest
from collapse_guard.records import Origin

if TYPE_CHECKING:
    from pathlib import Path

LABEL = st.sampled_from(["cat", "", "caf\u00e9", "'; DROP TABLE rows; --", None])
ROW = st.fixed_dictionaries(
    {
        "id_hi": st.integers(0, 5),
        "id_lo": st.integers(0, 2**64 - 1),
        "source": st.sampled_from(["web", "books", ""]),
        "origin": st.sampled_from([0, 1, 2, 255]),
        "evidence": st.integers(0, 8),
        "generation": st.sampled_from([0, 1, 255]),
        "class": LABEL,
        "generator": st.sampled_from(["m@1", "", None]),
        "amount": st.floats(0, 2**40) | st.sampled_from([0.0, 1.0, 0.1, 2.0**53]),
    }
)
ROWS = st.lists(ROW, max_size=25)
NAMES = st.lists(st.sampled_from(GROUPED), unique=True)


def table(rows: list[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(rows, INDEX_SCHEMA)


def coded(rows: pa.Table) -> pa.Table:
    """Return rows with texts as dictionaries, in chunks whose dictionaries differ."""
    texts = ("source", "class", "generator")
    parts = [
        pa.table(
            {
                name: part.column(name).dictionary_encode() if name in texts else part.column(name)
                for name in part.schema.names
            }
        )
        for part in (rows.slice(0, rows.num_rows // 2), rows.slice(rows.num_rows // 2))
    ]
    return pa.concat_tables(parts)


def plain_counts(rows: list[dict[str, Any]], names: list[str]) -> dict[tuple[Any, ...], tuple[int, int, list[float]]]:
    groups: defaultdict[tuple[Any, ...], list[float]] = defaultdict(list)
    for row in rows:
        groups[tuple(row[name] for name in names)].append(row["amount"])
    return {group: (len(own), sum(amount > 0 for amount in own), own) for group, own in groups.items()}


@settings(deadline=None, derandomize=True)
@given(ROWS, NAMES, st.booleans())
def test_a_census_counts_as_plain_counting_does(rows: list[dict[str, Any]], names: list[str], as_codes: bool) -> None:
    index = coded(table(rows)) if as_codes else table(rows)
    found = census_of(index).by(*names)
    expected = plain_counts(rows, names)
    assert found.keys() == expected.keys()
    for group, (n_rows, n_trained, amount) in found.items():
        assert (n_rows, n_trained) == expected[group][:2]
        assert amount == pytest.approx(math.fsum(expected[group][2]), rel=1e-14, abs=1e-12)


@settings(deadline=None, derandomize=True)
@given(st.tuples(ROWS, ROWS, ROWS))
def test_order_and_grouping_do_not_matter(parts: tuple[list[dict[str, Any]], ...]) -> None:
    whole = census_of(table([row for part in parts for row in part])).by(*GROUPED)
    one, two, three = (census_of(table(part)) for part in parts)
    for other in (merged([one, two, three]), merged([merged([three, one]), two]), merged([two, merged([one, three])])):
        found = other.by(*GROUPED)
        assert {group: sums[:2] for group, sums in found.items()} == {group: sums[:2] for group, sums in whole.items()}
        assert {group: sums[2] for group, sums in found.items()} == pytest.approx(
            {group: sums[2] for group, sums in whole.items()}, rel=1e-14
        )


def test_whole_amounts_are_exact_and_others_do_not_drift() -> None:
    n_rows = 1 << 17
    row = {"id_hi": 0, "id_lo": 0, "source": "web", "origin": 1, "evidence": 1, "generation": 0, "amount": 0.1}
    tenths = pa.concat_tables([table([row])] * 2).take(pa.array(np.zeros(n_rows, dtype=np.int64)))
    assert census_of(tenths).by() == {(): (n_rows, n_rows, math.fsum([0.1] * n_rows))}
    large = table([row | {"amount": 2.0**52}, row | {"amount": 1.0}, row | {"amount": 0.0}])
    assert census_of(large).by() == {(): (3, 2, 2.0**52 + 1)}


def test_no_rows_are_no_groups() -> None:
    assert census_of(table([])).by("source") == {}
    assert merged([]).by() == {}
    assert RunningCensus().census().n_groups == 0


def test_a_running_census_merges_what_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("collapse_guard.manifest.census._WAITING_GROUPS", 3)
    row = {"id_hi": 0, "id_lo": 0, "source": "web", "origin": 1, "evidence": 1, "generation": 0, "amount": 1.0}
    running = RunningCensus()
    for number in range(40):
        running.add(table([row | {"class": str(number % 7)}, row]))
        assert len(running._waiting) <= 14
    assert running.census().by("origin") == {(1,): (80, 80, 80.0)}


def many(tmp_path: Path, n_shards: int = 3, n_rows: int = 40) -> Manifest:
    """Return a written manifest of many tags, loaded again."""
    rng = np.random.default_rng(3)
    shards = []
    for number in range(n_shards):
        rows = [
            {
                "id_hi": int(rng.integers(2**63)),
                "id_lo": n,
                "source": f"s{number}",
                "origin": int(rng.integers(1, 3)),
                "evidence": int(rng.integers(1, 4)),
                "generation": n % 2,
                "class": [None, "cat", "dog"][n % 3],
                "generator": [None, "m@1"][n % 2],
                "amount": float(n % 4) / 2,
            }
            for n in range(n_rows)
        ]
        shards.append(shard_of(table(rows), name=f"#{number}"))
    path = tmp_path / "gen0.cgm.json"
    write_manifest(manifest_of(shards, name="n", generation=0, class_column="label"), path)
    return load_manifest(path)


def answers(loaded: Manifest) -> list[Any]:
    return [
        loaded.rows_by("source", "origin", "generator"),
        loaded.rows_by("evidence"),
        loaded.amount_by("class", "origin"),
        loaded.class_rows(),
        loaded.class_rows(trained=True),
        loaded.class_rows(Origin.REAL),
    ]


def test_after_verification_no_part_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = many(tmp_path)
    before = answers(loaded)
    assert loaded.verify() == ()
    for module in (engine, manifest):
        monkeypatch.setattr(module, "connected", None)
    assert answers(loaded) == before
    assert [list(each) for each in answers(loaded)] == [list(each) for each in before], "in the same order"


def test_what_was_counted_is_not_sent_to_other_processes(tmp_path: Path) -> None:
    loaded = many(tmp_path)
    loaded.verify()
    assert loaded.repeated_words is not None
    again = pickle.loads(pickle.dumps(loaded))
    assert vars(again).keys() == {"header", "path", "shards"}
    assert again == loaded
    assert answers(again) == answers(loaded)


def test_of_too_many_groups_the_parts_are_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = many(tmp_path)
    before = answers(loaded)
    monkeypatch.setattr(manifest, "MAX_GROUPS", 3)
    assert loaded.verify() == ()
    assert "_census" not in vars(loaded)
    assert answers(loaded) == before


def test_columns_that_are_no_tags_are_asked_of_the_parts(tmp_path: Path) -> None:
    loaded = many(tmp_path)
    loaded.verify()
    assert loaded.rows_by("amount") == {(0.0,): 30, (0.5,): 30, (1.0,): 30, (1.5,): 30}


@settings(deadline=None, derandomize=True)
@given(ROWS)
def test_the_digest_of_coded_texts_is_that_of_plain_ones(rows: list[dict[str, Any]]) -> None:
    assert content_digest(coded(table(rows))) == content_digest(table(rows))


@settings(deadline=None, derandomize=True)
@given(st.lists(LABEL), st.integers(0, 3))
def test_lengths_and_nulls_are_those_of_the_texts(texts: list[str | None], start: int) -> None:
    array = pa.array(texts, pa.string())[start:]
    kept = texts[start:]
    assert lengths_of(array).tolist() == [-1 if text is None else len(text.encode()) for text in kept]
    assert is_valid(array).tolist() == [text is not None for text in kept]


@settings(deadline=None, derandomize=True)
@given(st.lists(st.lists(st.integers(0, 2**64 - 1), max_size=5), max_size=4))
def test_numbers_come_back_as_they_were(chunks: list[list[int]]) -> None:
    column = pa.chunked_array(chunks, pa.uint64())
    values = values_of(column)
    assert values.dtype == np.uint64
    assert values.tolist() == [value for chunk in chunks for value in chunk]
    assert array_of(values, pa.uint64()).to_pylist() == values.tolist()
    assert values_of(array_of(values, pa.uint64())[1:]).tolist() == values.tolist()[1:]
