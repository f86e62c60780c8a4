"""Audits of tags: what is unknown, missing or impossible; the tags as a table; rows without tags again."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, asdict
from typing import TYPE_CHECKING, Any

import datasets
import numpy as np
import pyarrow as pa
import pytest
from datasets import Dataset, DatasetDict, IterableDataset, IterableDatasetDict, Value, concatenate_datasets
from hypothesis import given, settings
from hypothesis import strategies as st

from collapse_guard.curate import ARROW_TYPES
from collapse_guard.errors import InputError, ProvenanceError
from collapse_guard.identity import IdRule, content_ids
from collapse_guard.integrations.hugging_face.audit import provenance_table, strip, validate
from collapse_guard.integrations.hugging_face.tag_report import TagReport
from collapse_guard.integrations.hugging_face.tags import arrow_rows, has_order, row_order, tag
from collapse_guard.records import PROVENANCE_COLUMNS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

POLICY = {"version": 1, "provenance": {"max_generation_depth": 2}}


def rows(n_rows: int = 4) -> Dataset:
    return Dataset.from_dict({"text": [f"row {number}" for number in range(n_rows)]})


def real(n_rows: int = 4) -> Dataset:
    return tag(rows(n_rows), origin="real", source="web")


def made(generation: int | None = 1, source: str = "bot") -> Dataset:
    return tag(rows(3), origin="synthetic", source=source, generator="bot@1", generation=generation)


def changed(data: Dataset, **columns: list[Any]) -> Dataset:
    """Return rows with other tags, of the same types."""
    for name, values in columns.items():
        kind = data.features[name]
        data = data.remove_columns([name]).add_column(name, values).cast_column(name, kind)
    return data


def generated() -> Iterator[dict[str, str]]:
    yield from ({"text": text} for text in "abc")


KINDS: dict[type, Callable[[Dataset], Any]] = {
    Dataset: lambda data: data,
    DatasetDict: lambda data: DatasetDict({"train": data}),
    IterableDataset: lambda data: data.to_iterable_dataset(),
    IterableDatasetDict: lambda data: IterableDatasetDict({"train": data.to_iterable_dataset()}),
}


# ------------------------------------------------------------------ validate


@pytest.mark.parametrize("kind", KINDS)
def test_rows_that_are_tagged_have_no_problem(kind: type) -> None:
    report = validate(KINDS[kind](concatenate_datasets([real(), made()])), POLICY)
    assert report.ok
    assert report.problems == ()
    assert (report.rows, report.complete) == (7, True)
    report.raise_for_problems()


@pytest.mark.parametrize("kind", KINDS)
def test_rows_that_are_not_tagged_are_unknown_in_every_kind(kind: type) -> None:
    report = validate(KINDS[kind](rows()), POLICY)
    assert not report.ok
    assert (report.rows, report.unknown) == (4, 4)
    assert report.missing_columns == tuple(PROVENANCE_COLUMNS)
    with pytest.raises(ProvenanceError, match=r"the rows lack cg_origin, .*; .*4 of 4 rows are of unknown origin"):
        report.raise_for_problems()


@pytest.mark.parametrize("kind", KINDS)
def test_rows_that_lost_their_tags_in_a_join_are_unknown_in_every_kind(kind: type) -> None:
    report = validate(KINDS[kind](concatenate_datasets([real(), rows(2)])), POLICY)
    assert (report.rows, report.unknown) == (6, 2)
    assert report.null_tags == {name: 2 for name in PROVENANCE_COLUMNS if name != "cg_generator"}
    assert any("tags of 6 rows are null (cg_origin in 2, cg_evidence in 2" in line for line in report.problems)
    assert any("2 of 6 rows are of unknown origin" in line for line in report.problems)


FAULTS: dict[str, tuple[Callable[[], Dataset], dict[str, Any], str]] = {
    "unknown": (
        lambda: tag(rows(), origin="unknown", source="web", evidence="none"),
        {"unknown": 4},
        "4 of 4 rows are of unknown origin",
    ),
    "no evidence": (
        lambda: changed(real(), cg_evidence=[1, 0, 0, 1]),
        {"without_evidence": 2},
        "2 of 4 rows state an origin without evidence",
    ),
    "a generated real row": (
        lambda: changed(real(), cg_generation=[0, 1, 0, 0]),
        {"impossible": 1},
        "1 of 4 rows have tags that cannot be",
    ),
    "real by statistics": (
        lambda: changed(real(), cg_evidence=[8, 1, 8, 1]),
        {"impossible": 2},
        "2 of 4 rows have tags that cannot be",
    ),
    "a code that means nothing": (
        lambda: changed(real(), cg_origin=[1, 77, 1, 1]),
        {"impossible": 1},
        "1 of 4 rows have tags that cannot be",
    ),
    "too deep": (
        lambda: made(3),
        {"too_deep": 3, "max_depth": 2},
        "3 of 3 rows are of a generation that is unknown or",
    ),
    "of unknown generation": (
        lambda: made(None),
        {"too_deep": 3},
        "3 of 3 rows are of a generation that is unknown or",
    ),
    "ids of another length": (
        lambda: changed(real(), cg_id=[b"short", b"x" * 16, b"y" * 16, b"z" * 17]),
        {"malformed_ids": 2},
        "2 of 4 rows have a cg_id that is not 16 bytes",
    ),
    "a column that is gone": (
        lambda: real().remove_columns(["cg_id", "cg_evidence"]),
        {"missing_columns": ("cg_evidence", "cg_id"), "without_evidence": 4},
        "the rows lack cg_evidence, cg_id",
    ),
    "a column of another type": (
        lambda: real().cast_column("cg_date", Value("string")),
        {"wrong_types": {"cg_date": "string"}},
        "cg_date is string where uint16 is needed",
    ),
    "an origin in words": (
        lambda: real().map(lambda row: {"cg_origin": "real"}, remove_columns=["cg_origin"]),
        {"wrong_types": {"cg_origin": "string"}, "unknown": 4},
        "cg_origin is string where uint8 is needed",
    ),
}


@pytest.mark.parametrize("case", FAULTS)
def test_a_fault_is_counted_and_said_in_one_line(case: str) -> None:
    make, expected, said = FAULTS[case]
    report = validate(make(), POLICY)
    assert {name: getattr(report, name) for name in expected} == expected
    assert any(line.startswith(said) for line in report.problems), report.problems
    assert all("\n" not in line and "; " in line for line in report.problems)
    assert not report.ok


def test_a_source_may_have_a_depth_of_its_own() -> None:
    policy = {"version": 1, "sources": {"imp": {"max_depth": 1}}}
    data = concatenate_datasets([made(2), made(2, source="imp"), made(1, source="imp")])
    assert validate(data, policy).too_deep == 3


def test_the_report_of_splits_is_their_sum_and_names_them() -> None:
    report = validate(DatasetDict({"train": real(), "test": rows(2)}), POLICY)
    assert (report.rows, report.unknown) == (6, 2)
    assert report.splits["train"].ok
    assert report.splits["test"].unknown == 2
    assert report.missing_columns == tuple(PROVENANCE_COLUMNS)
    assert all(line.startswith("test: ") for line in report.problems)
    assert validate(DatasetDict({}), POLICY) == TagReport(rows=0)


def test_a_stream_is_peeked_and_its_place_stays() -> None:
    stream = concatenate_datasets([real(30), rows(1)]).to_iterable_dataset()
    assert validate(stream, POLICY, sample=10).ok
    assert (validate(stream, POLICY, sample=10).rows, validate(stream, POLICY, sample=10).complete) == (10, False)
    assert validate(stream, POLICY, sample=31).unknown == 1
    assert validate(stream, POLICY).complete
    reader = iter(stream)
    next(reader)
    state = stream.state_dict()
    validate(stream, POLICY)
    assert stream.state_dict() == state
    assert len(list(reader)) == 30


def test_a_sample_of_a_dataset_is_its_first_rows() -> None:
    data = concatenate_datasets([real(5), rows(5)])
    assert validate(data, POLICY, sample=5).ok
    assert not validate(data, POLICY, sample=5).complete
    assert validate(data, POLICY, sample=50).unknown == 5
    for wrong in (0, -3):
        with pytest.raises(InputError, match=f"sample must be 1 row or more, got {wrong}"):
            validate(data, POLICY, sample=wrong)


def test_nothing_but_datasets_is_audited() -> None:
    table: Any = pa.table({"text": ["a"]})
    for wrong in (lambda: validate(table, POLICY), lambda: provenance_table(table), lambda: strip(table)):
        with pytest.raises(InputError, match="got Table"):
            wrong()
    streamed: Any = real().to_iterable_dataset()
    with pytest.raises(InputError, match="use validate for streams"):
        provenance_table(streamed)


def test_a_report_is_a_value() -> None:
    report = validate(rows(), POLICY)
    assert report == validate(rows(), POLICY)
    with pytest.raises(FrozenInstanceError):
        report.rows = 3  # type: ignore[misc]
    assert asdict(report)["unknown"] == 4


def test_rows_that_are_stored_and_not_shown_are_not_audited() -> None:
    data = concatenate_datasets([real(), rows(2)])
    assert validate(data.select([3, 0]), POLICY).ok
    assert validate(data.select([5, 0]), POLICY).unknown == 1
    assert validate(rows(0), POLICY).rows == 0


# ------------------------------------------------------------------ provenance_table


@settings(max_examples=60, deadline=None)
@given(order=st.lists(st.integers(0, 8), max_size=20), columns=st.none() | st.just(["cg_id", "text"]))
def test_both_ways_of_reading_rows_agree_in_every_order(order: list[int], columns: list[str] | None) -> None:
    data = concatenate_datasets([real(), made(), rows(2)]).select(order)
    fast = arrow_rows(data, columns), provenance_table(data)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("collapse_guard.integrations.hugging_face.tags.has_order", lambda dataset: False)
        assert arrow_rows(data, columns).to_pydict() == fast[0].to_pydict()
        assert provenance_table(data).equals(fast[1])
        tagged = tag(strip(data), origin="real", source="web") if order else None
    if tagged is not None:
        assert tagged[:] == tag(strip(data), origin="real", source="web")[:]


def test_a_few_rows_of_many_are_read_as_they_lie() -> None:
    data = real(200).select([150, 3])
    assert arrow_rows(data, ["text"]).to_pydict() == {"text": ["row 150", "row 3"]}
    assert provenance_table(data).column("cg_id").to_pylist() == data["cg_id"][:]


def test_the_private_name_of_the_order_is_where_it_was() -> None:
    assert has_order(rows()), (
        f"datasets {datasets.__version__} has moved Dataset._indices: reading is slow, see tags.py"
    )
    assert row_order(rows()) is None
    order = row_order(rows().select([2, 0, 2]))
    assert order is not None
    assert order.tolist() == [2, 0, 2]


def test_the_table_has_the_types_of_the_manifest_and_unknown_where_tags_are_missing() -> None:
    table = provenance_table(concatenate_datasets([real(2), rows(1)]))
    assert table.schema == pa.schema(list(ARROW_TYPES.items()))
    assert table.to_pylist()[2] == {
        "cg_origin": 0,
        "cg_evidence": 0,
        "cg_generation": 255,
        "cg_source": None,
        "cg_generator": None,
        "cg_date": 65535,
        "cg_id": None,
    }
    assert provenance_table(rows(1)).to_pylist() == table.to_pylist()[2:]
    assert provenance_table(real(1).select([])).num_rows == 0


def test_the_table_follows_the_order_of_a_shuffled_dataset() -> None:
    data = real(200).shuffle(seed=5)
    expected = content_ids(pa.table({"text": data["text"][:]}))
    assert provenance_table(data).column("cg_id").combine_chunks().equals(expected)
    assert provenance_table(data.with_format("torch", columns=["text"])).equals(provenance_table(data))


def test_tags_that_their_column_cannot_hold_are_refused() -> None:
    data = real().map(lambda row: {"cg_origin": -1}, remove_columns=["cg_origin"])
    with pytest.raises(ProvenanceError, match=r"cg_origin is int64 and does not fit uint8 .*; tag the rows again"):
        provenance_table(data)
    ids = changed(real(), cg_id=[b"short"] * 4)
    with pytest.raises(ProvenanceError, match="cg_id is binary and does not fit"):
        provenance_table(ids)


# ------------------------------------------------------------------ strip


@pytest.mark.parametrize("kind", KINDS)
def test_strip_takes_the_tags_off_and_leaves_the_rest(kind: type) -> None:
    bare = strip(KINDS[kind](real().add_column("cg_score", [0.5] * 4)))
    assert type(bare) is kind
    found: Any = bare["train"] if isinstance(bare, dict) else bare
    assert list(found) == list(rows())
    assert found.features == rows().features


def test_strip_of_a_stream_that_does_not_say_its_columns() -> None:
    stream = tag(IterableDataset.from_generator(generated), origin="real", source="web")
    assert stream.column_names is None
    assert list(strip(stream)) == list(generated())
    assert list(strip(IterableDataset.from_generator(generated))) == list(generated())


# ------------------------------------------------------------------ identity of tag()


@pytest.mark.parametrize("kind", KINDS)
def test_tag_makes_ids_by_the_rule_that_is_said(kind: type) -> None:
    data = Dataset.from_dict({"text": ["a", "a", "b"], "number": [1, 2, 3]})
    rule = IdRule("text", ("text",))
    tagged = tag(KINDS[kind](data), origin="real", source="web", identity=rule)
    found = [row["cg_id"] for row in (tagged["train"] if isinstance(tagged, dict) else tagged)]
    assert found == content_ids(arrow_rows(data), rule).to_pylist()
    assert found[0] == found[1] != found[2]


def test_tag_refuses_a_rule_that_reads_a_column_that_is_not_there() -> None:
    with pytest.raises(ProvenanceError, match="reads column 'body', which the rows lack"):
        tag(rows(), origin="real", source="web", identity=IdRule("text", ("body",)))


@settings(max_examples=40, deadline=None)
@given(order=st.lists(st.integers(0, 5), min_size=1, max_size=12))
def test_an_indices_mapping_stays_one_and_rows_get_their_own_ids(order: list[int]) -> None:
    data = rows(6).select(order)
    tagged = tag(data, origin="real", source="web")
    assert tagged["text"][:] == data["text"][:]
    assert tagged["cg_id"][:] == content_ids(pa.table({"text": data["text"][:]})).to_pylist()
    assert validate(tagged, POLICY).ok
    assert tag(tagged, origin="real", source="books", overwrite=True)["cg_source"][:] == ["books"] * len(order)
    flat = tagged.flatten_indices()
    assert flat[:] == tagged[:]


def test_tagging_a_shuffled_dataset_writes_no_content() -> None:
    data = Dataset.from_dict({"text": [str(number) for number in range(1000)]}).shuffle(seed=0)
    tagged = tag(data, origin="real", source="web")
    assert tagged._indices is not None
    stored = tagged.data.column("text").chunk(0).buffers()[2]
    assert stored.address == data.data.column("text").chunk(0).buffers()[2].address
    assert np.array_equal(tagged._indices.column(0).to_numpy(), data._indices.column(0).to_numpy())
