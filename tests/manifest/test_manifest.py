"""A manifest is written and read whole; whatever happens to its files is one clear fault."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from collapse_guard._atomic import write_bytes
from collapse_guard.errors import CollapseGuardError, ManifestError, ProvenanceError
from collapse_guard.manifest import (
    FilterReceipt,
    Manifest,
    ParentLink,
    Shard,
    build_manifest,
    load_manifest,
    manifest_of,
    write_manifest,
)
from collapse_guard.manifest.header import SCHEMA, CellReceipt
from collapse_guard.manifest.index import INDEX_SCHEMA
from collapse_guard.records import EVIDENCE, GENERATION, GENERATOR, ID, ORIGIN, SOURCE, UNKNOWN_GENERATION, Origin

if TYPE_CHECKING:
    from pathlib import Path

Rows = Callable[[Sequence[dict[str, Any]]], pa.Table]
ODD_NAMES = ["'; DROP TABLE x; --", "\U0001f408", "two\nlines", "", 'quote " and \\', "\u00e9"]

ENTRIES: list[dict[str, Any]] = [
    {"id": 0, "label": "cat"},
    {"id": 1, "label": "dog"},
    {"id": 2, "label": None},
    {"id": 3, "label": "cat", "source": "books", "evidence": 2},
    *({"id": 4 + n, "label": name, "source": f"odd {name}"} for n, name in enumerate(ODD_NAMES)),
    {"id": 20, "label": "dog", "source": "made", "origin": 2, "generation": 1, "generator": "m@1", "evidence": 7},
    {"id": 21, "label": "owl", "source": "made", "origin": 2, "generation": 1, "generator": "m@2", "evidence": 7},
    {"id": 22, "label": "owl", "source": "lost tags", "origin": None, "evidence": None, "generation": None},
]


@pytest.fixture
def built(tagged: Rows) -> Manifest:
    return of(tagged(ENTRIES))


@pytest.fixture
def written(built: Manifest, tmp_path: Path) -> Manifest:
    return write_manifest(built, tmp_path / "manifest.cgm.json")


@pytest.fixture
def header_file(written: Manifest) -> Path:
    assert written.path is not None
    return written.path


@pytest.fixture
def index_file(header_file: Path, written: Manifest) -> Path:
    """Return the part of the source ``web``, three rows."""
    assert header_file.is_file()
    (shard,) = [shard for shard in written.shards if shard.entry.source == "web"]
    assert shard.path is not None
    return shard.path


def of(rows: pa.Table, **options: Any) -> Manifest:
    said: dict[str, Any] = {"name": "gen0", "generation": 0, "class_column": "label"}
    return build_manifest(rows, **(said | options))


def edited(path: Path, *keys: str | int, value: Any) -> Path:
    """Set one value of the header file."""
    header = json.loads(path.read_bytes())
    place = header
    for key in keys[:-1]:
        place = place[key]
    place[keys[-1]] = value
    path.write_text(json.dumps(header), encoding="utf-8")
    return path


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def outcome(path: Path) -> str:
    """Return the fault that reading and verifying gives, '' for none; anything but a clear fault is raised."""
    try:
        found = load_manifest(path).verify()
    except ManifestError as error:
        fault = error
    else:
        return ", ".join(mismatch.part for mismatch in found)
    assert fault.path is not None
    assert "\n" not in str(fault)
    return str(fault)


def test_a_manifest_in_memory_holds_together_and_counts_its_rows(built: Manifest) -> None:
    assert built.verify() == ()
    assert built.n_rows == len(ENTRIES)
    assert built.index.schema == INDEX_SCHEMA
    assert built.n_origin_rows(Origin.REAL) == 10
    assert built.n_origin_rows(Origin.SYNTHETIC) == 2
    assert built.class_rows()["cat"] == 2
    assert built.class_rows(Origin.SYNTHETIC) == {"dog": 1, "owl": 1}
    assert built.rows_by("source")["made",] == 2


def test_the_header_lists_each_source_with_its_origin_generators_and_rows(tagged: Rows) -> None:
    header = of(tagged([*ENTRIES, {"id": 30, "source": "web", "origin": 2, "generator": "z"}])).header
    found = {source.name: (source.origin, source.generators, source.rows) for source in header.sources}
    assert found["books"] == ("real", (), 1)
    assert found["made"] == ("synthetic", ("m@1", "m@2"), 2)
    assert found["web"] == ("mixed", ("z",), 4)
    assert found["lost tags"] == ("unknown", (), 1)
    assert list(found) == sorted(found)
    assert [(shard.name, shard.source) for shard in header.shards] == [(f"{name}#0", name) for name in found]


def test_null_tags_become_unknown(built: Manifest) -> None:
    (row,) = [row for row in built.index.to_pylist() if row["source"] == "lost tags"]
    assert (row["origin"], row["evidence"], row["generation"]) == (0, 0, UNKNOWN_GENERATION)


def test_a_manifest_survives_writing_and_reading(written: Manifest, header_file: Path) -> None:
    read = load_manifest(header_file)
    assert read.header == written.header
    assert read.digest == written.digest
    assert read.index.equals(written.index)
    assert read.verify() == ()
    assert read.class_rows().keys() >= set(ODD_NAMES)
    assert sorted(path.name for path in header_file.parent.iterdir()) == ["manifest.cgm.json", "manifest.index"]
    parts = sorted(path.name for path in (header_file.parent / "manifest.index").iterdir())
    assert parts == sorted(shard.part for shard in read.header.shards)


def test_parents_filters_and_policy_survive_writing_and_reading(tagged: Rows, tmp_path: Path) -> None:
    receipt = FilterReceipt(
        source="made",
        filter="quality",
        spec_id=f"sha256:{'1' * 64}",
        cells=(CellReceipt(cell="two\nlines", rows=3, kept_rows=2),),
    )
    made = of(
        tagged(ENTRIES),
        generation=4,
        parents=[ParentLink(name="gen3", digest=f"sha256:{'2' * 64}")],
        filters=[receipt],
        policy_digest=f"sha256:{'3' * 64}",
    )
    write_manifest(made, tmp_path / "m.cgm.json")
    header = load_manifest(tmp_path / "m.cgm.json").header
    assert (header.generation, header.parents, header.filters) == (4, made.header.parents, (receipt,))
    assert header.policy_digest == made.header.policy_digest
    assert header.digest == made.digest


@settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(order=st.permutations(range(len(ENTRIES))))
def test_the_digest_does_not_depend_on_the_order_of_rows(tagged: Rows, built: Manifest, order: list[int]) -> None:
    assert of(tagged(ENTRIES).take(order)).digest == built.digest


def test_the_digest_does_not_depend_on_chunks_or_dictionaries(tagged: Rows, built: Manifest) -> None:
    rows = tagged(ENTRIES)
    chunked = pa.concat_tables([rows.slice(5), rows.slice(0, 5)])
    coded = chunked.set_column(
        chunked.schema.get_field_index(SOURCE), SOURCE, chunked.column(SOURCE).dictionary_encode()
    )
    assert of(coded).digest == built.digest


def test_the_digest_does_not_depend_on_where_when_or_by_what_it_is_written(built: Manifest, tmp_path: Path) -> None:
    first = write_manifest(built, tmp_path / "one" / "a.cgm.json")
    again = write_manifest(load_manifest(tmp_path / "one" / "a.cgm.json"), tmp_path / "two" / "b.json")
    assert (first.header.index.folder, again.header.index.folder) == ("a.index", "b.index")
    assert first.digest == again.digest == built.digest
    later = built.header.model_copy(update={"created": "2099-01-01T00:00:00+00:00", "tool": "collapse-guard 99"})
    assert later.digest == built.digest


def test_the_digest_does_not_depend_on_the_parquet_writer(
    header_file: Path, index_file: Path, built: Manifest, written: Manifest
) -> None:
    """An older writer's part stays as it is: an older header names its bytes."""
    pq.write_table(pq.read_table(index_file), index_file, compression="none", use_dictionary=False, row_group_size=2)
    before = index_file.read_bytes()
    assert outcome(header_file) == "part of web#0"
    again = write_manifest(built, header_file)
    assert index_file.read_bytes() == before
    assert outcome(header_file) == ""
    assert load_manifest(header_file).digest == written.digest == again.digest


def test_a_damaged_part_is_written_again(header_file: Path, index_file: Path, built: Manifest) -> None:
    index_file.write_bytes(index_file.read_bytes()[:-9])
    write_manifest(built, header_file)
    assert outcome(header_file) == ""


CHANGES: dict[str, dict[str, Any]] = {
    "class": {"label": "owl"},
    "no class": {"label": None},
    "origin": {"origin": 2},
    "evidence": {"evidence": 3},
    "generation": {"generation": 1},
    "source": {"source": "books"},
    "generator": {"generator": "m"},
    "an empty generator": {"generator": ""},
    "id": {"id": "another"},
}


@pytest.mark.parametrize("row", [0, 3, len(ENTRIES) - 1])
@pytest.mark.parametrize("what", CHANGES)
def test_the_digest_changes_with_every_value_of_every_row(tagged: Rows, built: Manifest, what: str, row: int) -> None:
    changed = [entry | CHANGES[what] if n == row else entry for n, entry in enumerate(ENTRIES)]
    if changed == ENTRIES:
        changed[row] = changed[row] | {"source": "papers"}
    assert of(tagged(changed)).digest != built.digest


@pytest.mark.parametrize(
    "options",
    [
        {"name": "other"},
        {"generation": 1},
        {"class_column": None},
        {"parents": [ParentLink(name="p", digest=f"sha256:{'2' * 64}")]},
        {"policy_digest": f"sha256:{'3' * 64}"},
    ],
    ids=lambda options: next(iter(options)),
)
def test_the_digest_changes_with_what_the_header_says(tagged: Rows, built: Manifest, options: dict[str, Any]) -> None:
    assert of(tagged(ENTRIES), **options).digest != built.digest


def test_the_digest_tells_texts_apart_that_join_to_the_same(tagged: Rows) -> None:
    first = of(tagged([{"id": 0, "label": "ab"}, {"id": 1, "label": "c"}]))
    second = of(tagged([{"id": 0, "label": "a"}, {"id": 1, "label": "bc"}]))
    assert first.header.root_digest != second.header.root_digest


def test_an_added_or_removed_row_changes_the_digest(tagged: Rows, built: Manifest) -> None:
    assert len({of(tagged(ENTRIES[:-1])).digest, built.digest, of(tagged([*ENTRIES, {"id": 99}])).digest}) == 3


def test_rows_that_are_not_tagged_are_refused_by_the_names_of_the_columns(tagged: Rows) -> None:
    for name in (SOURCE, ID, ORIGIN, EVIDENCE, GENERATION, GENERATOR):
        with pytest.raises(ProvenanceError, match=f"rows lack the provenance columns {name}; tag them first"):
            of(tagged(ENTRIES).drop([name]))


def test_a_row_without_id_is_refused(tagged: Rows) -> None:
    rows = tagged(ENTRIES[:2])
    empty = rows.set_column(rows.schema.get_field_index(ID), ID, pa.array([None, bytes(16)], pa.binary(16)))
    with pytest.raises(ProvenanceError, match="1 of 2 rows have no cg_id"):
        of(empty)


def test_no_rows_are_no_manifest(tagged: Rows) -> None:
    with pytest.raises(ManifestError, match="a manifest needs rows, got none"):
        of(tagged([]))


@pytest.mark.parametrize("generation", [-1, 255])
def test_a_generation_out_of_range_is_an_error_of_this_package(tagged: Rows, generation: int) -> None:
    with pytest.raises(CollapseGuardError, match="generation"):
        of(tagged(ENTRIES), generation=generation)


def test_a_missing_header_and_a_directory_are_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"nowhere\.json: no such file; write the manifest first") as missing:
        load_manifest(tmp_path / "nowhere.json")
    assert missing.value.path == str(tmp_path / "nowhere.json")
    with pytest.raises(ManifestError, match=r"is a directory; name the manifest file \(\*\.cgm\.json\) in it"):
        load_manifest(tmp_path)


HEADERS: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "not a manifest header: not JSON"),
    "half of one": (b'{"schema": "collapse-guard/manifest/2", "name', "not a manifest header: not JSON"),
    "not text": (b"\xff\xfe\x00", "not a manifest header: not JSON"),
    "nested without end": (b"[" * 100_000, "not a manifest header: not JSON"),
    "a list": (b"[]", "/schema is None, this version reads 'collapse-guard/manifest/2'"),
    "null": (b"null", "/schema is None"),
    "no schema": (b"{}", "/schema is None"),
    "another schema": (
        b'{"schema": "collapse-guard/manifest/1"}',
        "/schema is 'collapse-guard/manifest/1', this version reads 'collapse-guard/manifest/2'; write the manifest",
    ),
    "schema alone": (b'{"schema": "collapse-guard/manifest/2"}', "/name: Field required"),
}


@pytest.mark.parametrize("what", HEADERS)
def test_a_header_that_is_none_is_one_clear_error(tmp_path: Path, what: str) -> None:
    data, message = HEADERS[what]
    path = tmp_path / "m.cgm.json"
    path.write_bytes(data)
    with pytest.raises(ManifestError, match=re.escape(f"{path}: {message}")) as caught:
        load_manifest(path)
    assert caught.value.path == str(path)


@pytest.mark.parametrize(
    ("keys", "value", "message"),
    [
        (("extra",), 1, "/extra: Extra inputs are not permitted"),
        (("index", "extra"), 1, "/index/extra: Extra inputs are not permitted"),
        (("index", "folder"), "a/b.index", "/index/folder: must be the name of a folder beside the header"),
        (("index", "folder"), "../../etc.index", "/index/folder: must be the name of a folder beside the header"),
        (("index", "folder"), "a\\b.index", "/index/folder: must be the name of a folder beside the header"),
        (("index", "folder"), "index", "/index/folder: must be the name of a folder beside the header"),
        (
            ("shards", 0, "digest"),
            "sha256:00",
            "/shards/0/digest: must be 'sha256:' and 64 hexadecimal",
        ),
        *(
            (
                ("shards", 0, "file"),
                {"path": path, "bytes": 1, "digest": f"sha256:{'0' * 64}"},
                f"/shards/0/file/path: path {path!r} leaves its folder",
            )
            for path in ("../rows.parquet", "/etc/passwd", "a/../../b", "C:/rows.csv", "a\\..\\b", "s3://bucket/x", "")
        ),
        (("index", "rows"), -1, "/index/rows: Input should be greater"),
        (("generation",), 255, "/generation: Input should be less"),
        (("generation",), "0", "/generation: Input should be a valid integer"),
        (("sources", 0, "rows"), "1", "/sources/0/rows: Input should be a valid integer"),
        (("parents",), [{"name": "p"}], "/parents/0/digest: Field required"),
        (("unit",), "bananas", "/unit: Input should be 'rows', 'tokens'"),
        (("shards", 0, "amount"), -1.0, "/shards/0/amount: Input should be greater"),
    ],
)
def test_a_header_with_a_wrong_value_is_an_error_that_points_at_it(
    header_file: Path, keys: tuple[str | int, ...], value: Any, message: str
) -> None:
    with pytest.raises(ManifestError, match=re.escape(f"{header_file}: {message}")):
        load_manifest(edited(header_file, *keys, value=value))


@pytest.mark.parametrize("name", ["a" * 300 + ".index", "not there.index"], ids=["too long", "absent"])
def test_an_index_folder_that_is_not_there_is_one_clear_error(header_file: Path, name: str) -> None:
    assert "no such part of the index" in outcome(edited(header_file, "index", "folder", value=name))


@pytest.mark.parametrize(
    ("keys", "value", "part"),
    [
        (("index", "rows"), 0, "index rows"),
        (("shards", 0, "part_digest"), f"sha256:{'0' * 64}", "part of books#0"),
        (("shards", 0, "real_digest"), f"sha256:{'0' * 64}", "shard books#0 real_digest"),
        (("shards", 0, "amount"), 7.0, "shard books#0 amount"),
        (("real_root_digest",), f"sha256:{'0' * 64}", "real root"),
        (("class_histogram_digest",), f"sha256:{'0' * 64}", "class histogram"),
        (("root_digest",), f"sha256:{'0' * 64}", "root"),
        (("shards", 0, "digest"), f"sha256:{'0' * 64}", "no such part of the index"),
        (("shards", 0, "source"), "papers", "shard books#0 source"),
        (("shards", 0, "rows"), 77, "shard books#0 rows"),
        (("sources", 0, "rows"), 77, "books"),
        (("sources", 0, "origin"), "synthetic", "books"),
        (("sources", 0, "generators"), ["m"], "books"),
        (("sources", 0, "root_digest"), f"sha256:{'0' * 64}", "books"),
        (("sources",), [], "books"),
    ],
)
def test_a_header_that_its_rows_do_not_bear_out_is_a_mismatch(
    header_file: Path, keys: tuple[str | int, ...], value: Any, part: str
) -> None:
    assert part in outcome(edited(header_file, *keys, value=value))


def test_an_index_that_was_cut_is_one_clear_error(header_file: Path, index_file: Path) -> None:
    data = index_file.read_bytes()
    for length in (0, 3, 8, len(data) // 2, len(data) - 1):
        index_file.write_bytes(data[:length])
        found = outcome(header_file)
        assert found.startswith(f"{index_file}: not a readable Parquet")
        assert "it was cut or changed" in found


def test_a_deleted_index_is_one_clear_error(header_file: Path, index_file: Path) -> None:
    index_file.unlink()
    assert outcome(header_file) == f"{index_file}: no such part of the index; restore it, or write the manifest again"


def test_a_directory_in_place_of_the_index_is_one_clear_error(header_file: Path, index_file: Path) -> None:
    index_file.unlink()
    index_file.mkdir()
    assert "no such part of the index" in outcome(header_file)


@pytest.mark.slow
def test_every_changed_byte_of_the_index_is_a_clear_fault(header_file: Path, index_file: Path) -> None:
    good = index_file.read_bytes()
    for place in range(0, len(good), 3):
        changed = bytearray(good)
        changed[place] ^= 0xA5
        index_file.write_bytes(changed)
        assert outcome(header_file), f"byte {place} was changed and nobody noticed"


def _with(index: pa.Table, name: str, values: pa.Array) -> pa.Table:
    return index.set_column(index.schema.get_field_index(name), name, values)


INDEXES: dict[str, Callable[[pa.Table], pa.Table]] = {
    "a column less": lambda index: index.drop(["class"]),
    "a column more": lambda index: index.append_column("score", index.column("id_hi")),
    "a column twice": lambda index: index.append_column("class", index.column("class")),
    "codes too large": lambda index: _with(index, "origin", pa.array([300] * len(index))),
    "null codes": lambda index: _with(index, "origin", pa.array([None] * len(index), pa.uint8())),
    "null sources": lambda index: _with(index, "source", pa.array([None] * len(index), pa.string())),
    "lists for names": lambda index: _with(index, "class", pa.array([["a"]] * len(index))),
    "bytes that are no text": lambda index: _with(index, "class", pa.array([b"\xff"] * len(index))),
    "no rows": lambda index: index.slice(0, 0),
    "a row less": lambda index: index.slice(1),
    "a row twice": lambda index: pa.concat_tables([index, index.slice(0, 1)]),
    "rows in another order": lambda index: index.take(list(range(len(index)))[::-1]),
    "another class": lambda index: _with(index, "class", pa.array(["owl"] * len(index))),
}


@pytest.mark.parametrize("what", INDEXES)
def test_another_table_in_place_of_the_index_is_a_clear_fault(header_file: Path, index_file: Path, what: str) -> None:
    pq.write_table(INDEXES[what](pq.read_table(index_file)), index_file)
    assert outcome(header_file)


@pytest.mark.parametrize("fails_at", ["index", "header"])
def test_a_write_that_fails_leaves_the_earlier_files_as_they_were(
    tagged: Rows, header_file: Path, monkeypatch: pytest.MonkeyPatch, fails_at: str
) -> None:
    before = files_of(header_file.parent)

    def failing_write(path: Path, data: bytes) -> Path:
        if path.name.endswith(".parquet") == (fails_at == "index"):
            raise OSError(28, "No space left on device")
        return write_bytes(path, data)

    module = "shard" if fails_at == "index" else "manifest"
    monkeypatch.setattr(f"collapse_guard.manifest.{module}.write_bytes", failing_write)
    with pytest.raises(OSError, match="No space left"):
        write_manifest(of(tagged([*ENTRIES[:3], {"id": 50}])), header_file)
    after = files_of(header_file.parent)
    assert {name: after[name] for name in before} == before
    assert outcome(header_file) == ""
    assert load_manifest(header_file).n_rows == len(ENTRIES)


def test_an_older_header_keeps_its_own_index(tagged: Rows, header_file: Path) -> None:
    kept = header_file.with_name("kept.cgm.json")
    kept.write_bytes(header_file.read_bytes())
    write_manifest(of(tagged(ENTRIES[:3])), header_file)
    assert load_manifest(header_file).n_rows == 3
    assert outcome(header_file) == ""
    assert load_manifest(kept).n_rows == len(ENTRIES)
    assert outcome(kept) == ""


def test_writing_twice_gives_the_same_files(built: Manifest, header_file: Path) -> None:
    before = files_of(header_file.parent)
    write_manifest(built, header_file)
    assert files_of(header_file.parent) == before


def test_a_manifest_is_not_written_over_a_directory(built: Manifest, tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="is a directory; name a file such as"):
        write_manifest(built, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_whatever_is_written_can_be_read_again(built: Manifest, tmp_path: Path) -> None:
    for name in ("plain.json", "two words.cgm.json", "no-suffix", "\U0001f408.cgm.json"):
        write_manifest(built, tmp_path / name)
        assert load_manifest(tmp_path / name).verify() == ()


def test_a_name_that_no_index_can_have_is_refused_before_anything_is_written(built: Manifest, tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="slash"):
        write_manifest(built, tmp_path / "back\\slash.cgm.json")
    assert list(tmp_path.iterdir()) == []


def test_a_shard_without_rows_or_file_says_so(built: Manifest) -> None:
    with pytest.raises(ManifestError, match="shard 'books#0' has neither rows nor a file"):
        Shard(built.header.shards[0]).read()


def test_rows_of_one_id_are_ordered_by_their_other_columns(tagged: Rows) -> None:
    twice = [{"id": 7, "label": label} for label in ("owl", "ant", None, "cat")] + [{"id": n} for n in range(6)]
    assert of(tagged(twice)).digest == of(tagged(twice[::-1])).digest
    assert of(tagged(twice)).n_origin_rows(Origin.REAL) == 10


def test_amounts_are_summed_and_rows_that_are_only_retained_do_not_train(tagged: Rows) -> None:
    rows = tagged(ENTRIES[:4]).append_column("cg_amount", pa.array([2.0, 0.0, 1.5, 1.0]))
    made = of(rows, unit="weight")
    assert (made.amount, made.n_rows, made.origin_amount(Origin.REAL)) == (4.5, 4, 4.5)
    assert made.amount_by("class") == {(None,): 1.5, ("cat",): 3.0, ("dog",): 0.0}
    assert made.class_rows() == {"cat": 2, "dog": 1}
    assert made.class_rows(trained=True) == {"cat": 2}


@pytest.mark.parametrize("amount", [-1.0, float("nan"), float("inf"), 2.0**54, None])
def test_an_amount_that_is_none_is_refused(tagged: Rows, amount: float | None) -> None:
    rows = tagged(ENTRIES[:2]).append_column("cg_amount", pa.array([1.0, amount], pa.float64()))
    with pytest.raises(ProvenanceError, match=r"1 rows have no amount from 0 to 2\^53 \(first: row 1\)"):
        of(rows)


@pytest.mark.parametrize("amount", [-1.0, float("nan"), float("inf"), 1e308])
def test_an_amount_that_was_changed_to_none_is_a_clear_fault(tagged: Rows, tmp_path: Path, amount: float) -> None:
    write_manifest(of(tagged(ENTRIES[:3])), tmp_path / "m.cgm.json")
    part = next((tmp_path / "m.index").glob("*.parquet"))
    rows = pq.read_table(part)
    place = rows.schema.get_field_index("amount")
    pq.write_table(rows.set_column(place, rows.schema.field(place), pa.array([amount] * rows.num_rows)), part)
    with pytest.raises(ManifestError, match=r"\.parquet: an amount is no number from 0 to 2\^53, it was changed"):
        load_manifest(tmp_path / "m.cgm.json").verify()


def test_large_sources_are_cut_into_shards(tagged: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("collapse_guard.manifest.index.SHARD_ROWS", 4)
    made = of(tagged([{"id": n, "source": "web"} for n in range(10)]))
    assert [(shard.name, shard.rows) for shard in made.header.shards] == [("web#0", 4), ("web#1", 4), ("web#2", 2)]
    assert made.verify() == ()
    grown = of(tagged([{"id": n, "source": "web"} for n in range(12)]))
    assert [shard.digest for shard in grown.header.shards[:2]] == [shard.digest for shard in made.header.shards[:2]]


def test_two_shards_of_one_name_are_refused(built: Manifest) -> None:
    with pytest.raises(ManifestError, match="two shards are called 'books#0'"):
        manifest_of([built.shards[0], built.shards[0]], name="x", generation=0)


def test_a_question_about_a_column_that_is_none_is_refused(built: Manifest) -> None:
    with pytest.raises(ManifestError, match="an index has no column 'x'; it has id_hi"):
        built.rows_by('x"; DROP TABLE rows; --'[:1])


def test_the_header_file_is_sorted_json_that_ends_in_one_newline(header_file: Path) -> None:
    text = header_file.read_text(encoding="utf-8")
    plain = json.loads(text)
    assert text == json.dumps(plain, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    assert plain["schema"] == SCHEMA
