"""Provenance tags on every kind of dataset, and what `datasets` does to them afterwards."""

from __future__ import annotations

import datetime as dt
import unicodedata
from typing import TYPE_CHECKING, Any

import datasets
import numpy as np
import pyarrow as pa
import pytest
import torch
from datasets import (
    Dataset,
    DatasetDict,
    Features,
    IterableDataset,
    IterableDatasetDict,
    Value,
    concatenate_datasets,
    load_dataset,
    load_from_disk,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from collapse_guard.errors import ProvenanceError
from collapse_guard.integrations.hugging_face.holder import GuardedDataset
from collapse_guard.integrations.hugging_face.tags import arrow_rows, tag
from collapse_guard.manifest import build_manifest
from collapse_guard.records import PROVENANCE_COLUMNS, Evidence, Origin

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


def rows() -> Dataset:
    return Dataset.from_dict({"text": ["a", "b", "c", "d"], "number": [1, 2, 3, 4]})


def tagged_rows(**changes: Any) -> Dataset:
    return tag(rows(), **({"origin": "real", "source": "web"} | changes))


def generated(*texts: str) -> Iterator[dict[str, str]]:
    for text in texts or ("a", "b"):
        yield {"text": text}


def ids(dataset: Any) -> list[bytes]:
    return [row["cg_id"] for row in dataset]


def as_one(tagged: Any) -> Any:
    """Return the only split, or the dataset itself."""
    return tagged["train"] if isinstance(tagged, dict) else tagged


KINDS: dict[type, Callable[[Dataset], Any]] = {
    Dataset: lambda data: data,
    DatasetDict: lambda data: DatasetDict({"train": data}),
    IterableDataset: lambda data: data.to_iterable_dataset(),
    IterableDatasetDict: lambda data: IterableDatasetDict({"train": data.to_iterable_dataset()}),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_dataset_stays_what_it_is_and_gets_the_same_tags(kind: type) -> None:
    tagged = tag(KINDS[kind](rows()), origin="real", source="web")
    assert type(tagged) is kind
    found = list(as_one(tagged))
    assert [row["text"] for row in found] == ["a", "b", "c", "d"]
    assert [[row[name] for name in PROVENANCE_COLUMNS if name != "cg_id"] for row in found] == [
        [Origin.REAL, Evidence.DECLARED, 0, "web", None, 65535]
    ] * 4
    assert ids(found) == ids(tagged_rows())
    assert len(set(ids(found))) == 4


def test_every_split_of_a_dict_is_tagged() -> None:
    tagged = tag(DatasetDict({"train": rows(), "test": rows().select([0])}), origin="real", source="web")
    assert {name: part["cg_origin"][:] for name, part in tagged.items()} == {"train": [1, 1, 1, 1], "test": [1]}


def test_anything_but_a_dataset_is_refused_by_the_name_of_its_type() -> None:
    untyped: Any = [{"text": "a"}]
    with pytest.raises(ProvenanceError, match="takes a dataset of the `datasets` library, got list"):
        tag(untyped, origin="real", source="web")


def test_every_column_has_the_type_that_the_table_of_columns_says() -> None:
    tagged = tagged_rows()
    plain = {name: kind for name, kind in PROVENANCE_COLUMNS.items() if name != "cg_id"}
    assert {name: str(tagged.features[name].dtype) for name in plain} == plain
    assert tagged.features["cg_id"] == Value("binary")
    assert {len(identity) for identity in ids(tagged)} == {16}
    assert tagged.column_names == ["text", "number", *PROVENANCE_COLUMNS]


def test_all_that_is_said_of_generated_rows_stands_in_their_columns() -> None:
    tagged = tag(
        rows(),
        origin=Origin.SYNTHETIC,
        source="bot",
        generator="bot@1",
        generation=3,
        evidence="generated_here",
        date=dt.date(1970, 1, 11),
    )
    row = tagged[0]
    assert row["cg_origin"] == 2
    assert row["cg_evidence"] == 7
    assert row["cg_generation"] == 3
    assert (row["cg_source"], row["cg_generator"], row["cg_date"]) == ("bot", "bot@1", 10)


def test_a_moment_is_the_day_that_it_says() -> None:
    late = dt.datetime(1970, 1, 11, 23, 59)  # noqa: DTZ001 - what people pass
    tagged = tag(Dataset.from_dict({"text": ["a"]}), origin="real", source="web", date=late)
    assert tagged["cg_date"][:] == [10]


def test_generated_rows_without_a_generation_are_of_unknown_generation() -> None:
    assert tagged_rows(origin="synthetic")["cg_generation"][:] == [255] * 4


# ------------------------------------------------------------------ ids


@settings(max_examples=40, deadline=None)
@given(
    table=st.lists(
        st.fixed_dictionaries(
            {"text": st.none() | st.text(), "number": st.integers(-(2**63), 2**63 - 1), "share": st.floats()}
        ),
        min_size=1,
        max_size=8,
    )
)
def test_a_stream_gives_the_ids_of_the_rows_it_streams(table: list[dict[str, Any]]) -> None:
    features = Features({"text": Value("string"), "number": Value("int64"), "share": Value("float64")})
    data = Dataset.from_list(table, features=features)
    streamed = tag(data.to_iterable_dataset(), origin="real", source="web")
    assert ids(streamed) == tag(data, origin="real", source="web")["cg_id"][:]


def test_a_stream_of_unknown_columns_gives_the_same_ids() -> None:
    stream = tag(IterableDataset.from_generator(generated), origin="real", source="web")
    assert ids(stream) == ids(tag(Dataset.from_dict({"text": ["a", "b"]}), origin="real", source="web"))


@settings(max_examples=40, deadline=None)
@given(text=st.text(min_size=1))
def test_texts_that_are_equal_in_nfc_have_equal_ids(text: str) -> None:
    forms = [unicodedata.normalize(form, text) for form in ("NFC", "NFD")]
    found = tag(Dataset.from_dict({"text": forms}), origin="real", source="web")["cg_id"][:]
    assert found[0] == found[1]


def test_other_texts_other_column_names_and_other_types_have_other_ids() -> None:
    contents: list[dict[str, list[Any]]] = [{"text": ["a"]}, {"text": ["A"]}, {"word": ["a"]}, {"n": [1]}, {"n": [1.0]}]
    found = {ids(tag(Dataset.from_dict(content), origin="real", source="web"))[0] for content in contents}
    assert len(found) == len(contents)


def test_the_order_of_columns_does_not_matter() -> None:
    assert ids(tag(rows().select_columns(["number", "text"]), origin="real", source="web")) == ids(tagged_rows())


def test_tags_do_not_enter_the_id() -> None:
    other = tagged_rows(origin="synthetic", source="bot", generator="bot@1", generation=2)
    assert ids(other) == ids(tagged_rows())


# ------------------------------------------------------------------ survival

STEPS: dict[str, Callable[[Dataset], Dataset]] = {
    "map": lambda data: data.map(lambda row: {"number": row["number"] + 1}),
    "filter": lambda data: data.filter(lambda row: row["number"] > 1),
    "select": lambda data: data.select([2, 0]),
    "shuffle": lambda data: data.shuffle(seed=3),
    "sort": lambda data: data.sort("number", reverse=True),
    "train_test_split": lambda data: data.train_test_split(test_size=0.5, seed=0)["train"],
    "concatenate": lambda data: concatenate_datasets([data, data.select([1])]),
}


@pytest.mark.filterwarnings("ignore:Specifying null_placement in SortOptions:FutureWarning")  # datasets' own sort
@pytest.mark.parametrize("step", STEPS)
def test_tags_stay_with_their_rows_through_an_operation_of_datasets(step: str) -> None:
    tagged = tagged_rows()
    after = STEPS[step](tagged)
    of_text = dict(zip(tagged["text"][:], ids(tagged), strict=True))
    assert len(after) > 0
    assert [row["cg_id"] for row in after] == [of_text[row["text"]] for row in after]
    assert {name: after.features[name] for name in PROVENANCE_COLUMNS} == {
        name: tagged.features[name] for name in PROVENANCE_COLUMNS
    }


def test_tags_survive_saving_to_disk(tmp_path: Path) -> None:
    tagged_rows().save_to_disk(tmp_path / "rows")
    loaded = load_from_disk(str(tmp_path / "rows"))
    assert loaded[:] == tagged_rows()[:]
    assert loaded.features == tagged_rows().features


def test_tags_survive_parquet(tmp_path: Path) -> None:
    tagged_rows().to_parquet(tmp_path / "rows.parquet")
    loaded = Dataset.from_parquet(str(tmp_path / "rows.parquet"), cache_dir=str(tmp_path / "cache"))
    assert loaded[:] == tagged_rows()[:]
    assert loaded.features == tagged_rows().features
    stream = load_dataset(
        "parquet", data_files=str(tmp_path / "rows.parquet"), split="train", streaming=True, cache_dir=str(tmp_path)
    )
    assert ids(stream) == ids(tagged_rows())


@pytest.mark.parametrize("order", [[2, 0, 1], [3, 3, 0], [1]])
def test_a_dataset_with_an_indices_mapping_is_tagged_in_the_order_it_shows(order: list[int]) -> None:
    found = tag(rows().select(order), origin="real", source="web")
    assert found["text"][:] == [rows()["text"][row] for row in order]
    assert ids(found) == [ids(tagged_rows())[row] for row in order]


def test_a_shuffled_dataset_is_tagged_in_the_order_it_shows() -> None:
    shuffled = Dataset.from_dict({"text": [str(number) for number in range(50)]}).shuffle(seed=1)
    assert shuffled["text"][:3] != ["0", "1", "2"]
    found = tag(shuffled, origin="real", source="web")
    assert found["text"][:] == shuffled["text"][:]
    assert ids(found) == ids(tag(Dataset.from_dict({"text": shuffled["text"][:]}), origin="real", source="web"))


def test_the_torch_format_is_kept_and_the_ids_do_not_depend_on_it() -> None:
    tagged = tag(rows().with_format("torch"), origin="real", source="web")
    assert tagged.format["type"] == "torch"
    assert isinstance(tagged[0]["number"], torch.Tensor)
    assert tagged[0]["cg_origin"] == 1
    assert tagged.with_format(None)["cg_id"][:] == tagged_rows()["cg_id"][:]


def test_the_torch_format_of_a_stream_is_kept() -> None:
    stream = tag(rows().to_iterable_dataset().with_format("torch"), origin="real", source="web")
    first = next(iter(stream))
    assert isinstance(first["number"], torch.Tensor)
    assert first["cg_id"] == ids(tagged_rows())[0]


def test_pictures_of_a_tagged_stream_are_decoded_as_before() -> None:
    picture = Image.fromarray(np.full((2, 2), 7, np.uint8))
    data = Dataset.from_dict({"picture": [picture]}, features=Features({"picture": datasets.Image()}))
    stream = tag(data.to_iterable_dataset(), origin="real", source="web")
    assert np.array_equal(np.asarray(next(iter(stream))["picture"]), np.asarray(picture))
    steps: list[Callable[[Any], Any]] = [lambda one: one.map(lambda row: row), lambda one: one.filter(lambda row: True)]
    for step in steps:  # older releases forget to decode after filter, tagged or not
        before, after = (next(iter(step(one)))["picture"] for one in (data.to_iterable_dataset(), stream))
        assert type(after) is type(before)
    assert ids(stream) == ids(tag(data, origin="real", source="web"))


def test_columns_outside_the_format_count_for_the_id() -> None:
    narrow = tag(rows().with_format("numpy", columns=["number"]), origin="real", source="web")
    assert narrow.with_format(None)["cg_id"][:] == tagged_rows()["cg_id"][:]


def test_an_empty_dataset_gets_the_columns_and_their_types() -> None:
    none = Dataset.from_dict({"text": []}, features=Features({"text": Value("string")}))
    empty = tag(none, origin="real", source="web")
    assert len(empty) == 0
    assert {name: empty.features[name] for name in PROVENANCE_COLUMNS} == {
        name: tagged_rows().features[name] for name in PROVENANCE_COLUMNS
    }


def test_rows_without_any_column_are_refused() -> None:
    with pytest.raises(ProvenanceError, match="no content column"):
        tag(Dataset.from_dict({}), origin="real", source="web")


# ------------------------------------------------------------------ tags that are there, or impossible


@pytest.mark.parametrize("kind", KINDS)
def test_tagged_rows_are_refused_unless_the_tags_may_be_overwritten(kind: type) -> None:
    once = tag(KINDS[kind](rows()), origin="real", source="web")
    with pytest.raises(ProvenanceError, match=r"already have .*cg_origin.*; pass overwrite=True"):
        tag(once, origin="synthetic", source="bot", generation=1)
    again = as_one(tag(once, origin="synthetic", source="bot", generation=1, overwrite=True))
    found = list(again)
    assert [row["cg_origin"] for row in found] == [2] * 4
    assert ids(found) == ids(tagged_rows())


def test_a_tagged_stream_of_unknown_columns_is_refused_as_well() -> None:
    once = tag(IterableDataset.from_generator(generated), origin="real", source="web")
    with pytest.raises(ProvenanceError, match=r"already have .*cg_origin"):
        list(tag(once, origin="synthetic", source="bot", generation=1))


def test_overwriting_the_tags_of_a_stream_of_unknown_columns_keeps_the_ids() -> None:
    once = tag(IterableDataset.from_generator(generated), origin="real", source="web")
    again = tag(once, origin="synthetic", source="bot", generation=1, overwrite=True)
    assert ids(again) == ids(once)
    assert [row["cg_origin"] for row in again] == [2, 2]


def test_rows_with_some_of_the_tags_are_refused_too() -> None:
    with pytest.raises(ProvenanceError, match="already have cg_source; pass overwrite"):
        tag(rows().add_column("cg_source", ["x"] * 4), origin="real", source="web")


IMPOSSIBLE: dict[str, tuple[dict[str, Any], str]] = {
    "a real row with a generator": ({"origin": "real", "generator": "m@1"}, "real rows have generation 0 and no gen"),
    "a real row of generation 1": ({"origin": "real", "generation": 1}, "real rows have generation 0"),
    "a real row of unknown generation": ({"origin": "real", "generation": 255}, "real rows have generation 0"),
    "a synthetic row of generation 0": ({"origin": "synthetic", "generation": 0}, "synthetic rows have generation 1"),
    "an origin without evidence": ({"origin": "real", "evidence": "none"}, "origin real needs evidence"),
    "a real row by statistics": ({"origin": "real", "evidence": "statistical"}, "statistics alone cannot"),
    "an unknown origin name": ({"origin": "human"}, "origin must be one of unknown, real, .*, got 'human'"),
    "an unknown evidence name": ({"origin": "real", "evidence": "gut"}, "evidence must be one of none, .*, got 'gut'"),
    "an unknown origin code": ({"origin": 17}, "origin must be one of"),
    "an unknown evidence code": ({"origin": "real", "evidence": 99}, "evidence must be one of"),
    "an empty source": ({"origin": "real", "source": ""}, "source must be a name"),
    "a source that is no text": ({"origin": "real", "source": 3}, "source must be a name"),
    "a negative generation": ({"origin": "synthetic", "generation": -1}, "generation must be 0 to 254"),
    "a generation beyond the column": ({"origin": "synthetic", "generation": 256}, "generation must be 0 to 254"),
    "a generation in words": ({"origin": "synthetic", "generation": "1"}, "generation must be 0 to 254"),
    "a generation that is a bool": ({"origin": "synthetic", "generation": True}, "generation must be 0 to 254"),
    "a date before the column begins": ({"origin": "real", "date": dt.date(1969, 12, 31)}, "date must lie in"),
    "a date after the column ends": ({"origin": "real", "date": dt.date(2150, 1, 1)}, "date must lie in"),
}


@pytest.mark.parametrize("case", IMPOSSIBLE)
def test_an_impossible_tag_is_one_clear_error(case: str) -> None:
    said, expected = IMPOSSIBLE[case]
    with pytest.raises(ProvenanceError, match=expected) as caught:
        tag(rows(), **({"source": "web"} | said))
    assert "\n" not in str(caught.value)


def test_unknown_rows_need_no_evidence() -> None:
    tagged = tagged_rows(origin="unknown", evidence="none")
    assert (tagged[0]["cg_origin"], tagged[0]["cg_evidence"], tagged[0]["cg_generation"]) == (0, 0, 255)


def test_the_null_of_a_careless_concatenation_is_seen_as_unknown() -> None:
    mixed = concatenate_datasets([tagged_rows(), rows()])
    assert mixed["cg_origin"][4:] == [None] * 4
    with pytest.raises(ProvenanceError, match="4 of 8 rows have a null origin"):
        GuardedDataset({"version": 1}).add_real(mixed, source="web")
    known = arrow_rows(mixed.map(lambda row: {"cg_id": row["cg_id"] or b"0123456789abcdef"}))
    held = build_manifest(known, name="mixed", generation=0, class_column=None)
    assert held.n_origin_rows(Origin.UNKNOWN) == 4
    with pytest.raises(ProvenanceError, match="4 of 8 rows have no cg_id"):
        build_manifest(arrow_rows(mixed), name="mixed", generation=0, class_column=None)


def test_a_tag_leaves_the_dataset_it_was_given_alone() -> None:
    before = rows()
    tag(before, origin="real", source="web")
    assert before.column_names == ["text", "number"]
    assert isinstance(before.with_format("arrow")[:], pa.Table)
