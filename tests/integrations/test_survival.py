"""What survives the operations of `datasets`: the table that the design rests on, row by row.

Columns survive everything; nothing else does. Each fact here is one that provenance would be lost by relying on.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import (
    Dataset,
    Features,
    IterableDataset,
    Value,
    concatenate_datasets,
    interleave_datasets,
    load_from_disk,
)

from collapse_guard.integrations.hugging_face.audit import provenance_table, validate
from collapse_guard.integrations.hugging_face.tags import tag
from collapse_guard.records import PROVENANCE_COLUMNS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

POLICY = {"version": 1}


def rows(n_rows: int = 6, start: int = 0) -> Dataset:
    numbers = list(range(start, start + n_rows))
    return Dataset.from_dict({"text": [f"row {number}" for number in numbers], "number": numbers})


def tagged() -> Dataset:
    return tag(rows(), origin="real", source="web")


def written(data: Dataset, folder: Path) -> Dataset:
    data.save_to_disk(folder / "saved")
    return load_from_disk(str(folder / "saved"))


def through_parquet(data: Dataset, folder: Path) -> Dataset:
    data.to_parquet(folder / "rows.parquet")
    return Dataset.from_parquet(str(folder / "rows.parquet"), cache_dir=str(folder / "cache"))


ONE: dict[str, Callable[[Dataset], Dataset]] = {
    "map": lambda data: data.map(lambda row: {"number": row["number"] + 1}),
    "map, batched": lambda data: data.map(lambda rows: {"number": rows["number"]}, batched=True),
    "filter": lambda data: data.filter(lambda row: row["number"] > 1),
    "select": lambda data: data.select([4, 0, 2]),
    "shuffle": lambda data: data.shuffle(seed=3),
    "flatten indices": lambda data: data.shuffle(seed=3).flatten_indices(),
    "split": lambda data: data.train_test_split(test_size=0.5, seed=0)["train"],
    "rename": lambda data: data.rename_column("number", "n"),
}
JOINED: dict[str, Callable[[Dataset, Dataset], Dataset]] = {
    "concatenate": lambda first, second: concatenate_datasets([first, second]),
    "interleave": lambda first, second: interleave_datasets([first, second], stopping_strategy="all_exhausted"),
}
FILES: dict[str, Callable[[Dataset, Path], Dataset]] = {"save_to_disk": written, "parquet": through_parquet}


# ------------------------------------------------------------------ row 1: ordinary columns


def tags_by_text(data: Dataset) -> dict[str, list[Any]]:
    table = provenance_table(data).to_pylist()
    return {text: list(row.values()) for text, row in zip(data["text"][:], table, strict=True)}


@pytest.mark.parametrize("step", ONE)
def test_columns_survive_every_step(step: str) -> None:
    after = ONE[step](tagged())
    assert len(after) > 0
    assert tags_by_text(after).items() <= tags_by_text(tagged()).items()
    assert validate(after, POLICY).ok


@pytest.mark.parametrize("step", JOINED)
def test_columns_survive_joining_of_tagged_rows(step: str) -> None:
    other = tag(rows(6, start=6), origin="real", source="books")
    after = JOINED[step](tagged(), other)
    assert tags_by_text(after) == tags_by_text(tagged()) | tags_by_text(other)
    assert validate(after, POLICY).ok


@pytest.mark.parametrize("file", FILES)
def test_columns_survive_files(file: str, tmp_path: Path) -> None:
    after = FILES[file](tagged(), tmp_path)
    assert tags_by_text(after) == tags_by_text(tagged())
    assert after.features == tagged().features
    assert validate(after, POLICY).ok


@pytest.mark.parametrize("step", JOINED)
def test_an_absent_column_is_filled_with_null_and_such_rows_are_unknown(step: str) -> None:
    after = JOINED[step](tagged(), rows(6, start=6))
    assert after.to_dict()["cg_origin"].count(None) == 6
    report = validate(after, POLICY)
    assert (report.rows, report.unknown) == (12, 6)
    assert report.null_tags["cg_origin"] == 6
    assert not report.ok
    untagged = [row for row in provenance_table(after).to_pylist() if row["cg_id"] is None]
    assert len(untagged) == 6
    assert {(row["cg_origin"], row["cg_evidence"], row["cg_generation"], row["cg_date"]) for row in untagged} == {
        (0, 0, 255, 65535)
    }


@pytest.mark.parametrize("joined", [concatenate_datasets, interleave_datasets])
def test_the_same_holds_for_streams(joined: Callable[[list[IterableDataset]], IterableDataset]) -> None:
    after = joined([tagged().to_iterable_dataset(), rows(6, start=6).to_iterable_dataset()])
    report = validate(after, POLICY)
    assert report.unknown == sum(row["cg_origin"] is None for row in after) > 0
    assert not report.ok


# ------------------------------------------------------------------ rows 2 and 3: Arrow metadata


def test_a_key_of_our_own_in_the_schema_is_lost_at_once(tmp_path: Path) -> None:
    table = pa.table({"text": ["a"]}).replace_schema_metadata({"collapse_guard": "kept?"})
    data = Dataset(table)
    assert b"collapse_guard" not in (data.data.schema.metadata or {})
    for after in (
        *(step(Dataset(pa.table(rows().to_dict()))) for step in ONE.values()),
        through_parquet(data, tmp_path),
    ):
        assert b"collapse_guard" not in (after.data.schema.metadata or {})


def test_metadata_of_a_field_is_lost_after_map() -> None:
    field = pa.field("text", pa.string(), metadata={"collapse_guard": "kept?"})
    data = Dataset(pa.table({"text": ["a", "b"]}, schema=pa.schema([field])))
    after = data.map(lambda row: {"text": row["text"] + "!"})
    assert not after.data.schema.field("text").metadata
    joined = concatenate_datasets([after, after])
    assert not joined.data.schema.field("text").metadata


# ------------------------------------------------------------------ row 4: the description


def described(text: str) -> Dataset:
    data = rows()
    data.info.description = text
    return data


def test_a_description_survives_steps_and_saving_is_joined_and_is_lost_in_parquet(tmp_path: Path) -> None:
    for step in ("map", "filter", "select", "shuffle"):
        assert ONE[step](described("mine")).info.description == "mine"
    joined = concatenate_datasets([described("mine"), described("yours")])
    assert joined.info.description == "mine\n\nyours"
    assert written(described("mine"), tmp_path).info.description == "mine"
    assert through_parquet(described("mine"), tmp_path).info.description == ""


# ------------------------------------------------------------------ row 5: subclasses


class OwnDataset(Dataset):  # type: ignore[misc] # datasets has no types
    """A subclass, as one would write it to carry provenance."""


def own() -> Dataset:
    return OwnDataset(rows().data)


def test_a_subclass_is_lost_in_most_steps(tmp_path: Path) -> None:
    kept = {
        "filter": own().filter(lambda row: row["number"] > 1),
        "with_format": own().with_format("numpy"),
        "remove_columns": own().remove_columns(["number"]),
    }
    assert {name for name, after in kept.items() if type(after) is OwnDataset} == set(kept)
    lost = {
        "map": own().map(lambda row: {"number": 1}),
        "select": own().select([1, 0, 5]),
        "shuffle": own().shuffle(seed=1),
        "concatenate": concatenate_datasets([own(), own()]),
        "interleave": interleave_datasets([own(), own()]),
        "parquet": through_parquet(own(), tmp_path),
        "save_to_disk": written(own(), tmp_path),
    }
    assert {name for name, after in lost.items() if type(after) is Dataset} == set(lost)


# ------------------------------------------------------------------ row 6: the key of `datasets` itself


def test_the_key_of_datasets_is_made_again_from_the_features(tmp_path: Path) -> None:
    data = tagged()
    kept = json.loads(data.remove_columns(["number"]).data.schema.metadata[b"huggingface"])
    assert "number" not in kept["info"]["features"]
    data.to_parquet(tmp_path / "rows.parquet")
    footer = json.loads(pq.read_schema(tmp_path / "rows.parquet").metadata[b"huggingface"])
    assert set(PROVENANCE_COLUMNS) < set(footer["info"]["features"])


# ------------------------------------------------------------------ the notes under the table


def test_a_transform_drops_the_tags_from_batches_and_not_from_the_data() -> None:
    data = tagged().with_transform(lambda batch: {"text": batch["text"]})
    assert set(data[0]) == {"text"}
    assert validate(data, POLICY).ok
    assert provenance_table(data).equals(provenance_table(tagged()))


def test_a_mapped_stream_forgets_its_columns_and_is_peeked() -> None:
    stream = tagged().to_iterable_dataset().map(lambda row: row)
    assert stream.column_names is None
    report = validate(stream, POLICY)
    assert report.rows == 6
    assert report.missing_columns == ()
    assert report.unknown == 0
    assert set(report.wrong_types) <= {"cg_origin", "cg_evidence", "cg_generation", "cg_date"}


def test_other_types_cannot_be_joined() -> None:
    wide = tagged().cast_column("cg_origin", Value("int64"))
    assert validate(wide, POLICY).wrong_types == {"cg_origin": "int64"}
    with pytest.raises(ValueError, match="cg_origin"):
        concatenate_datasets([tagged(), wide])
    same = provenance_table(wide)
    assert same.equals(provenance_table(tagged()))


def test_small_codes_become_whole_numbers_of_torch_and_nulls_become_fractions() -> None:
    batch = tagged().with_format("torch")[:2]
    assert str(batch["cg_origin"].dtype) == "torch.int64"
    holes = concatenate_datasets([tagged(), rows()]).with_format("torch", columns=["cg_origin"])[5:8]["cg_origin"]
    assert [math.isnan(float(code)) for code in holes] == [False, True, True]


def test_the_features_of_the_tags_are_those_that_all_versions_can_read() -> None:
    kinds = {name: kind for name, kind in tagged().features.items() if name in PROVENANCE_COLUMNS}
    assert all(isinstance(kind, Value) for kind in kinds.values())
    assert Features(kinds).arrow_schema.names == list(PROVENANCE_COLUMNS)
