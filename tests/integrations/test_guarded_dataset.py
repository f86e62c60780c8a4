"""The holder of a training set: all real rows in, generated ones filtered and capped, generation after generation."""

from __future__ import annotations

import math
import shutil
import tempfile
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from datasets import Dataset, DatasetDict, Features, Value, concatenate_datasets, load_from_disk
from hypothesis import given, settings
from hypothesis import strategies as st

from collapse_guard.errors import AccumulationError, CellError, FilterError, InputError, ManifestError, ProvenanceError
from collapse_guard.integrations.hugging_face.holder import GuardedDataset
from collapse_guard.integrations.hugging_face.saved import MANIFEST_FILE
from collapse_guard.integrations.hugging_face.tags import tag
from collapse_guard.manifest import load_manifest
from collapse_guard.records import PROVENANCE_COLUMNS, Origin

if TYPE_CHECKING:
    from collections.abc import Callable

    Made = Callable[..., Dataset]

PLAIN: dict[str, Any] = {"version": 1}
LABELLED: dict[str, Any] = {"version": 1, "coverage": {}}
FILTERED: dict[str, Any] = LABELLED | {"filters": {"quality": {"score": "quality", "keep_share": 0.5}}}
BOT: dict[str, Any] = {"source": "bot", "generator": "bot@1", "generation": 1}


def texts(prefix: str, n_rows: int) -> Dataset:
    return Dataset.from_dict({"text": [f"{prefix} {row}" for row in range(n_rows)]})


def held(n_real_rows: int = 6, policy: dict[str, Any] | None = None) -> GuardedDataset:
    return GuardedDataset(policy or PLAIN).add_real(texts("real", n_real_rows), source="web")


def real_texts(data: Dataset) -> set[str]:
    return {row["text"] for row in data if row["cg_origin"] == Origin.REAL}


def made_texts(data: Dataset) -> set[str]:
    return {row["text"] for row in data if row["cg_origin"] == Origin.SYNTHETIC}


# ------------------------------------------------------------------ what enters


def test_every_real_row_is_in_and_generated_rows_stop_at_the_cap() -> None:
    data = held(6).add_real(texts("more", 2), source="books").add_synthetic(texts("made", 40), **BOT).training_set()
    assert real_texts(data) == {*texts("real", 6)["text"][:], *texts("more", 2)["text"][:]}
    assert len(made_texts(data)) == 8
    assert len(data) == 16
    assert set(PROVENANCE_COLUMNS) <= set(data.column_names)
    assert "cg_score" not in data.column_names


def test_a_stricter_policy_lets_fewer_generated_rows_in() -> None:
    strict = PLAIN | {"mix": {"real_min_share": 0.75}}
    assert len(made_texts(held(6, strict).add_synthetic(texts("made", 40), **BOT).training_set())) == 2


def test_a_growing_pool_lets_no_old_row_in_that_was_not_chosen_before() -> None:
    small = held().add_synthetic(texts("made", 10), **BOT)
    before = made_texts(small.training_set())
    after = made_texts(small.add_synthetic(texts("later", 10), **BOT).training_set())
    assert len(before) == len(after) == 6
    assert after & set(texts("made", 10)["text"][:]) <= before
    assert after != before


def test_more_real_rows_keep_every_generated_row_that_was_in() -> None:
    few = held(3).add_synthetic(texts("made", 20), **BOT).training_set()
    many = held(8).add_synthetic(texts("made", 20), **BOT).training_set()
    assert made_texts(few) < made_texts(many)


def test_the_manifest_describes_the_training_set() -> None:
    guarded = held().add_synthetic(texts("made", 40), **BOT)
    data, manifest = guarded.training_set(), guarded.manifest()
    index = manifest.index
    words = zip(index["id_hi"].to_pylist(), index["id_lo"].to_pylist(), strict=True)
    assert {f"{hi:016x}{lo:016x}" for hi, lo in words} == {identity.hex() for identity in data["cg_id"][:]}
    assert manifest.rows_by("source", "origin", "generation", "generator") == {
        ("bot", 2, 1, "bot@1"): 6,
        ("web", 1, 0, None): 6,
    }
    assert manifest.verify() == ()


def test_the_report_says_how_many_rows_stayed_out_and_why() -> None:
    guarded = held(2).add_synthetic(texts("made", 5), **BOT)
    guarded.add_synthetic(texts("deep", 4), source="bot", generator="bot@9", generation=9)
    report = guarded.report()
    shares = report.pop("shares")
    assert report == {
        "unit": "rows",
        "n_real_rows": 2,
        "n_retained_rows": 0,
        "n_synthetic_rows": 2,
        "real_amount": 2.0,
        "synthetic_amount": 2.0,
        "real_share": 0.5,
        "n_filtered_rows": 0,
        "n_too_deep_rows": 4,
        "n_unwanted_rows": 0,
        "n_capped_rows": 3,
        "n_topped_up_rows": 0,
        "n_repeated_rows": 0,
        "short": [],
        "weights": {"real": 1.0, "synthetic": 1.0},
        "keep_share_by_cell": {},
        "breaches": [],
    }
    assert shares["origin"]["real"] == {"share": 0.5, "least": 0.5, "largest": 0.5}
    assert list(shares) == ["origin", "source", "generator", "generation"]


def test_a_policy_without_coverage_needs_no_label() -> None:
    guarded = held().add_synthetic(texts("made", 3), **BOT)
    assert len(guarded.training_set()) == 9
    assert guarded.manifest().class_rows() == {}


def test_rows_in_any_order_and_with_an_indices_mapping_give_the_same_set() -> None:
    straight = held().add_synthetic(texts("made", 30), **BOT)
    shuffled = GuardedDataset(PLAIN).add_real(texts("real", 6).shuffle(seed=1), source="web")
    shuffled.add_synthetic(texts("made", 30).shuffle(seed=2), **BOT)
    assert set(shuffled.training_set()["text"][:]) == set(straight.training_set()["text"][:])
    assert shuffled.manifest().digest == straight.manifest().digest


def test_unicode_class_names_are_counted_as_they_are(labelled_rows: Made) -> None:
    sizes = {"naïve": 4, "日本": 2, "🦆 duck": 1}
    guarded = GuardedDataset(FILTERED).add_real(labelled_rows(sizes), source="wéb")
    guarded.add_synthetic(labelled_rows(sizes, prefix="made"), **BOT)
    assert guarded.manifest().class_rows(Origin.REAL) == sizes
    assert guarded.report()["keep_share_by_cell"] == {"bot, generation 1": {"naïve": 0.5, "日本": 0.5, "🦆 duck": 1.0}}


def test_a_class_name_is_the_same_class_in_every_unicode_form(labelled_rows: Made) -> None:
    guarded = GuardedDataset(LABELLED).add_real(labelled_rows({"caf\u00e9": 2}), source="web")
    guarded.add_synthetic(labelled_rows({"cafe\u0301": 2}, prefix="made"), **BOT)
    assert guarded.manifest().class_rows() == {"caf\u00e9": 4}


# ------------------------------------------------------------------ filter


def test_the_keep_rate_of_every_cell_stands_in_manifest_and_report(labelled_rows: Made) -> None:
    guarded = GuardedDataset(FILTERED).add_real(labelled_rows({"a": 10, "b": 10}), source="web")
    guarded.add_synthetic(labelled_rows({"a": 4, "b": 3}, prefix="made"), **BOT)
    assert guarded.report()["keep_share_by_cell"] == {"bot, generation 1": {"a": 0.5, "b": 2 / 3}}
    assert guarded.report()["n_filtered_rows"] == 3
    (receipt,) = guarded.manifest().header.filters
    assert receipt.filter == "keep_best_within_cells"
    assert [(cell.cell, cell.rows, cell.kept_rows) for cell in receipt.cells] == [("a", 4, 2), ("b", 3, 2)]
    assert made_texts(guarded.training_set()) == {"made a 2", "made a 3", "made b 5", "made b 6"}


def test_a_callable_score_decides_in_place_of_the_column(labelled_rows: Made) -> None:
    guarded = GuardedDataset(FILTERED).add_real(labelled_rows({"a": 10}), source="web")
    guarded.add_synthetic(
        labelled_rows({"a": 4}, prefix="made"), score=lambda rows: -np.asarray(rows["quality"].to_numpy()), **BOT
    )
    assert made_texts(guarded.training_set()) == {"made a 0", "made a 1"}


def test_rows_without_a_label_are_not_kept_when_filtered_and_are_kept_otherwise(labelled_rows: Made) -> None:
    unlabelled = labelled_rows({"a": 3}, prefix="made").map(lambda row: {"label": None if row["quality"] else "a"})
    for policy, n_made_rows in ((FILTERED, 1), (LABELLED, 3)):
        guarded = GuardedDataset(policy).add_real(labelled_rows({"a": 10}), source="web")
        assert len(made_texts(guarded.add_synthetic(unlabelled, **BOT).training_set())) == n_made_rows
    guarded = GuardedDataset(FILTERED).add_real(labelled_rows({"a": 10}), source="web").add_synthetic(unlabelled, **BOT)
    assert guarded.report()["keep_share_by_cell"] == {"bot, generation 1": {"a": 1.0, "(no cell)": 0.0}}


def test_real_rows_without_a_label_stay_in(labelled_rows: Made) -> None:
    unlabelled = labelled_rows({"a": 3}).map(lambda row: {"label": None if row["quality"] else "a"})
    guarded = GuardedDataset(FILTERED).add_real(unlabelled, source="web")
    assert len(guarded.training_set()) == 3


@pytest.mark.parametrize("bad", [math.nan, math.inf, None])
def test_a_score_that_is_no_number_is_refused_when_the_rows_are_added(labelled_rows: Made, bad: float | None) -> None:
    guarded = GuardedDataset(FILTERED).add_real(labelled_rows({"a": 10}), source="web")
    scores = labelled_rows({"a": 3}, prefix="made").map(lambda row: {"quality": row["quality"] or bad})
    with pytest.raises(FilterError, match="null, NaN or infinite for 1 of 3 rows"):
        guarded.add_synthetic(scores, **BOT)
    assert len(guarded.training_set()) == 10


def test_a_missing_score_column_is_refused_with_the_column_that_may_be_meant(labelled_rows: Made) -> None:
    guarded = GuardedDataset(FILTERED).add_real(labelled_rows({"a": 1}), source="web")
    with pytest.raises(FilterError, match=r"no score column 'quality'; .*'qualty'"):
        guarded.add_synthetic(labelled_rows({"a": 1}, prefix="made").rename_column("quality", "qualty"), **BOT)


def test_a_score_is_refused_when_the_policy_filters_nothing() -> None:
    with pytest.raises(FilterError, match=r"no filters\.quality"):
        held().add_synthetic(texts("made", 2), score="text", **BOT)


# ------------------------------------------------------------------ what may not be added


def test_nothing_but_synthetic_rows_are_refused() -> None:
    guarded = GuardedDataset(PLAIN).add_synthetic(texts("made", 3), **BOT)
    for ask in (guarded.training_set, guarded.manifest, guarded.report):
        with pytest.raises(AccumulationError, match=r"nothing but synthetic: 3 rows: bot/\(no class\) 3"):
            ask()


def test_an_empty_holder_has_no_training_set() -> None:
    with pytest.raises(AccumulationError, match="no row at all"):
        GuardedDataset(PLAIN).training_set()


@pytest.mark.parametrize(
    ("data", "hint"),
    [
        (DatasetDict({"train": texts("real", 1)}), "it has the splits train; name one with split="),
        ([{"text": "a"}], "got list"),
    ],
)
def test_anything_but_one_dataset_is_refused_with_what_to_do(data: Any, hint: str) -> None:
    with pytest.raises(ProvenanceError, match=hint):
        GuardedDataset(PLAIN).add_real(data, source="web")
    with pytest.raises(ProvenanceError, match=hint):
        GuardedDataset(PLAIN).add_synthetic(data, **BOT)


def test_a_source_without_rows_is_refused() -> None:
    empty = Dataset.from_dict({"text": []}, features=Features({"text": Value("string")}))
    with pytest.raises(ProvenanceError, match="source 'web' has no rows"):
        GuardedDataset(PLAIN).add_real(empty, source="web")


def test_a_missing_cell_column_is_refused_when_the_rows_are_added_as_the_docstring_says() -> None:
    with pytest.raises(CellError, match="has no column 'label'"):
        GuardedDataset(LABELLED).add_real(texts("real", 1), source="web")


def test_rows_with_a_null_origin_are_refused() -> None:
    careless = concatenate_datasets([tag(texts("real", 2), origin="real", source="web"), texts("scraped", 3)])
    with pytest.raises(ProvenanceError, match="source 'web': 3 of 5 rows have a null origin"):
        GuardedDataset(PLAIN).add_real(careless, source="web")


def test_synthetic_rows_are_not_added_as_real_ones_nor_the_other_way() -> None:
    made = tag(texts("made", 3), origin="synthetic", **BOT)
    with pytest.raises(ProvenanceError, match="3 of 3 rows are not tagged real; add them apart"):
        GuardedDataset(PLAIN).add_real(made, source="bot")
    with pytest.raises(ProvenanceError, match="2 of 2 rows are not tagged synthetic"):
        held().add_synthetic(tag(texts("x", 2), origin="real", source="bot"), **BOT)


def test_rows_of_another_source_name_are_refused() -> None:
    with pytest.raises(ProvenanceError, match="rows carry the source 'web'; add them under that source"):
        GuardedDataset(PLAIN).add_real(tag(texts("real", 2), origin="real", source="web"), source="books")


def test_rows_with_some_of_the_tags_are_refused() -> None:
    partly = tag(texts("real", 2), origin="real", source="web").remove_columns(["cg_id", "cg_date"])
    with pytest.raises(ProvenanceError, match="tags cg_date, cg_id are missing; tag the rows again"):
        GuardedDataset(PLAIN).add_real(partly, source="web")


@pytest.mark.parametrize(("generator", "generation"), [("other@9", 1), ("bot@1", 2)])
def test_tags_that_contradict_how_the_rows_are_added_are_refused(generator: str, generation: int) -> None:
    made = tag(texts("made", 2), origin="synthetic", source="bot", generator=generator, generation=generation)
    with pytest.raises(ProvenanceError):
        held().add_synthetic(made, **BOT)


def test_rows_of_other_column_types_are_one_error_of_this_package_before_anything_is_written(tmp_path: Path) -> None:
    numbers = Dataset.from_dict({"text": [1, 2]})
    with pytest.raises(InputError, match="text"):
        held().add_synthetic(numbers, **BOT).save(tmp_path / "generation")
    assert list(tmp_path.iterdir()) == []


# ------------------------------------------------------------------ generations


def test_real_rows_that_the_parent_held_must_be_added_again(labelled_rows: Made) -> None:
    rows = labelled_rows({"a": 12, "b": 2})
    parent = GuardedDataset(LABELLED, name="first").add_real(rows, source="web").manifest()
    child = GuardedDataset(LABELLED, name="second", parent=parent).add_real(rows.select(range(12, 14)), source="web")
    with pytest.raises(AccumulationError, match=r"^12 real rows lost: web/a 12; ids ") as caught:
        child.training_set()
    ids = str(caught.value).partition("; ids ")[2].partition(";")[0].split(", ")
    assert len(ids) == 10
    tagged = tag(rows, origin="real", source="web")
    assert set(ids) <= {identity.hex() for identity in tagged["cg_id"][:]}
    child.add_real(rows.select(range(12)), source="web")
    assert len(child.training_set()) == 14


def test_three_generations_keep_every_real_row_and_name_their_parents(tmp_path: Path) -> None:
    guarded = held()
    digests: list[str] = []
    for number in range(3):
        folder = guarded.save(tmp_path / f"generation-{number}")
        manifest = load_manifest(folder / MANIFEST_FILE)
        assert manifest.verify() == ()
        assert manifest.header.generation == number
        assert [link.digest for link in manifest.header.parents] == digests[-1:]
        assert manifest.digest == guarded.manifest().digest
        digests.append(manifest.digest)
        guarded = GuardedDataset.load(folder, PLAIN)
        assert guarded.parent is not None
        assert guarded.parent.digest == manifest.digest
        assert real_texts(guarded.training_set()) == set(texts("real", 6)["text"][:])
        guarded.add_synthetic(texts(f"made {number}", 4), source="bot", generator=f"bot@{number}", generation=1)
    assert len(set(digests)) == 3


def test_a_loaded_pool_gives_the_same_training_set_as_before(tmp_path: Path, labelled_rows: Made) -> None:
    guarded = GuardedDataset(FILTERED).add_real(labelled_rows({"a": 5, "b": 3}), source="web")
    guarded.add_synthetic(labelled_rows({"a": 20, "b": 8}, prefix="made"), **BOT)
    loaded = GuardedDataset.load(guarded.save(tmp_path / "first"), FILTERED)
    assert loaded.training_set()[:] == guarded.training_set()[:]
    assert loaded.report() == guarded.report()


def rewritten(folder: Path, n_rows: int) -> None:
    """Replace the real rows of a saved generation by its first ones."""
    kept = load_from_disk(str(folder / "real")).select(range(n_rows)).to_list()
    features = load_from_disk(str(folder / "real")).features
    shutil.rmtree(folder / "real")
    Dataset.from_list(kept, features=features).save_to_disk(folder / "real")


def test_real_rows_that_were_deleted_on_disk_are_missed_at_load(tmp_path: Path, labelled_rows: Made) -> None:
    guarded = GuardedDataset(LABELLED).add_real(labelled_rows({"a": 3, "b": 2}), source="web")
    folder = guarded.save(tmp_path / "first")
    rewritten(folder, 3)
    with pytest.raises(AccumulationError, match=r"first: 2 real rows lost: web/b 2; ids .*; restore the folder"):
        GuardedDataset.load(folder, LABELLED)


def test_rows_smuggled_into_a_saved_folder_are_found_at_load(tmp_path: Path) -> None:
    folder = held().save(tmp_path / "first")
    rows = load_from_disk(str(folder / "real"))
    more = concatenate_datasets([rows.map(lambda row: row), tag(texts("smuggled", 1), origin="real", source="web")])
    copy = more.map(lambda row: row)
    copy.save_to_disk(tmp_path / "copy")
    shutil.rmtree(folder / "real")
    shutil.move(tmp_path / "copy", folder / "real")
    with pytest.raises(ManifestError, match="the real rows are not those of the manifest"):
        GuardedDataset.load(folder, PLAIN)


def test_saved_rows_that_were_cut_are_one_clear_error(tmp_path: Path) -> None:
    folder = held().save(tmp_path / "first")
    (file,) = (folder / "real").glob("*.arrow")
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(ManifestError, match=r"is not a saved dataset .*restore the folder"):
        GuardedDataset.load(folder, PLAIN)


def test_a_folder_that_cannot_be_made_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ManifestError, match="its folder cannot be made"):
        held().save(tmp_path / "file" / "first")


def test_a_scope_that_names_no_source_is_refused() -> None:
    policy = PLAIN | {"accumulation": {"scope": ["wbe"]}}
    with pytest.raises(AccumulationError, match=r"names 'wbe', a source of neither manifest; did you mean 'web'\?"):
        GuardedDataset(policy, parent=held().manifest()).add_real(texts("real", 1), source="web").manifest()


def test_names_of_classes_stand_unchanged_in_what_is_said_of_a_set_without_real_rows() -> None:
    made = Dataset.from_dict({"text": ["a", "b"], "label": ["real row lost", "real row lost"]})
    with pytest.raises(AccumulationError, match="nothing but synthetic: 2 rows: bot/real row lost 2; ids "):
        GuardedDataset(LABELLED).add_synthetic(made, **BOT).training_set()


def test_a_tampered_index_is_a_manifest_error(tmp_path: Path) -> None:
    folder = held().save(tmp_path / "first")
    other = held(3).save(tmp_path / "other")
    (index,), (forged,) = folder.glob("*/*.parquet"), other.glob("*/*.parquet")
    index.write_bytes(forged.read_bytes())
    with pytest.raises(ManifestError, match=r"part of web#0 does not match its digest .*restore the folder"):
        GuardedDataset.load(folder, PLAIN)


def test_a_cut_index_a_missing_manifest_and_missing_rows_are_manifest_errors(tmp_path: Path) -> None:
    folder = held().save(tmp_path / "first")
    (index,) = folder.glob("*/*.parquet")
    data = index.read_bytes()
    index.write_bytes(data[: len(data) // 2])
    with pytest.raises(ManifestError):
        GuardedDataset.load(folder, PLAIN)
    index.write_bytes(data)
    shutil.rmtree(folder / "real")
    with pytest.raises(ManifestError, match="is not a saved dataset"):
        GuardedDataset.load(folder, PLAIN)
    (folder / MANIFEST_FILE).unlink()
    with pytest.raises(ManifestError, match="no such file"):
        GuardedDataset.load(folder, PLAIN)


def test_a_folder_without_the_cell_column_is_one_error_of_this_package(tmp_path: Path) -> None:
    folder = held().save(tmp_path / "first")
    with pytest.raises(InputError, match="label"):
        GuardedDataset.load(folder, LABELLED)


def test_a_generation_is_never_written_over_another(tmp_path: Path) -> None:
    folder = held().save(tmp_path / "first")
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with pytest.raises(ManifestError, match="already exists; a generation is written once"):
        held(2).save(folder)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_a_folder_of_somebody_else_and_a_file_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "file").write_text("mine")
    for name in ("mine", "file"):
        with pytest.raises(ManifestError, match="already exists"):
            held().save(tmp_path / name)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "mine"]
    assert (tmp_path / "file").read_text() == "mine"


def test_a_save_that_fails_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("collapse_guard.integrations.hugging_face.holder.write_manifest", full)
    with pytest.raises(OSError, match="No space left"):
        held().save(tmp_path / "first")
    assert list(tmp_path.iterdir()) == []
    monkeypatch.undo()
    assert held().save(tmp_path / "first").is_dir()


def test_a_set_that_may_not_be_is_not_saved(tmp_path: Path) -> None:
    with pytest.raises(AccumulationError):
        GuardedDataset(PLAIN).add_synthetic(texts("made", 3), **BOT).save(tmp_path / "first")
    assert list(tmp_path.iterdir()) == []


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("real"), st.integers(1, 4)),
        st.tuples(st.just("made"), st.integers(1, 9)),
        st.tuples(st.just("save and load"), st.just(0)),
    ),
    min_size=1,
    max_size=7,
)


@settings(max_examples=25, deadline=None)
@given(steps=STEPS, floor=st.sampled_from([0.0, 0.5, 0.9, 1.0]))
def test_the_set_of_real_ids_never_shrinks(steps: list[tuple[str, int]], floor: float) -> None:
    policy = PLAIN | {"mix": {"real_min_share": floor}}
    guarded = GuardedDataset(policy).add_real(texts("first", 2), source="web")
    ids: set[bytes] = set()
    with tempfile.TemporaryDirectory() as folder:
        for number, (step, n_rows) in enumerate(steps):
            if step == "real":
                guarded.add_real(texts(f"step {number}", n_rows), source="web")
            elif step == "made":
                guarded.add_synthetic(texts(f"made {number}", n_rows), **BOT)
            else:
                guarded = GuardedDataset.load(guarded.save(Path(folder) / str(number)), policy)
            data = guarded.training_set()
            now = {row["cg_id"] for row in data if row["cg_origin"] == Origin.REAL}
            assert ids <= now
            assert len(now) >= floor * len(data) - 1e-9
            ids = now
        n_added = 2 + sum(n_rows for step, n_rows in steps if step == "real")
        assert len(ids) == n_added


@pytest.mark.parametrize("name", [5, None, "", "  "])
def test_a_name_is_text(name: Any) -> None:
    with pytest.raises(InputError, match="the name of a manifest is text"):
        GuardedDataset(PLAIN, name=name)


@pytest.mark.parametrize("reference", [{"cat": -1}, {"cat": math.nan}, {"cat": math.inf}, {"cat": "many"}, {7: 1.0}])
def test_an_amount_that_is_none_is_no_reference(reference: dict[Any, Any]) -> None:
    with pytest.raises(InputError, match="reference gives an amount of 0 or more for each class"):
        GuardedDataset(LABELLED, reference=reference)


def test_a_reference_may_be_any_mapping_and_any_number() -> None:
    given_amounts: MappingProxyType[str, Any] = MappingProxyType({"cat": np.float32(3), "dog": 1.5})
    assert GuardedDataset(LABELLED, reference=given_amounts).reference == {"cat": 3, "dog": 1.5}
