"""Data files: found under stable names, read in batches, refused with one line that names the file."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
from pathlib import Path
from typing import Any

import datasets
import fsspec  # it ships no types
import numpy as np
import pyarrow as pa
import pyarrow.feather as pf
import pyarrow.parquet as pq
import pytest
from PIL import Image

from collapse_guard.errors import InputError
from collapse_guard.identity import content_ids
from collapse_guard.readers import DataFile, data_files
from collapse_guard.readers import tables as reading

ROWS = pa.table({"text": ["a", 'b "c"\nd', None, "é"], "n": [1, 2, 3, 4], "x": [0.5, None, 1.5, 2.0]})


def read(files: list[DataFile] | DataFile, columns: list[str] | None = None) -> pa.Table:
    listed = [files] if isinstance(files, DataFile) else files
    return pa.Table.from_batches([batch for file in listed for batch in file.batches(columns)])


def write(rows: pa.Table, path: Path) -> Path:
    """Write rows in the form that the name of the file says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    name = path.name.removesuffix(".gz")
    match Path(name).suffix:
        case ".parquet" | ".pq":
            pq.write_table(rows, path, row_group_size=2)
        case ".feather":
            pf.write_feather(rows, path)
        case ".arrow":
            with pa.ipc.new_stream(path, rows.schema) as writer:
                writer.write_table(rows, max_chunksize=3)
        case ".ipc":
            with pa.ipc.new_file(path, rows.schema) as writer:
                writer.write_table(rows, max_chunksize=3)
        case ".csv" | ".tsv":
            text = rows.to_pandas().to_csv(index=False, sep="," if name.endswith("csv") else "\t")
            path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
        case _:
            text = "".join(json.dumps(row) + "\n" for row in rows.to_pylist())
            path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


NAMES = ["a.parquet", "a.pq", "a.feather", "a.arrow", "a.ipc", "a.csv", "a.csv.gz", "a.tsv", "a.jsonl", "a.ndjson.gz"]


@pytest.mark.parametrize("name", NAMES)
def test_every_form_gives_the_same_rows(name: str, tmp_path: Path) -> None:
    path = write(ROWS, tmp_path / name)
    (file,) = data_files(path)
    assert read(file).equals(ROWS)
    assert read(file, ["n"]).equals(ROWS.select(["n"]))
    assert (file.path, file.n_bytes) == (name, path.stat().st_size)
    assert file.digest() == f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"
    with pytest.raises(InputError, match=rf"{name}: no column 'texts'; did you mean 'text'"):
        read(file, ["texts"])


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.parquet"])
def test_ids_are_those_of_rows_that_datasets_loads(name: str, tmp_path: Path) -> None:
    rows = pa.table(
        {
            "text": ["a", 'b, "c"\nd', "NA", "", "2020-01-01", "é"],
            "n": [1, 2, 3, 4, 5, 6],
            "x": [0.1, 2e20, -1.0, 1 / 3, 0.0, 5.0],
            "ok": [True, False, True, True, False, True],
        }
    )
    path = write(rows, tmp_path / name)
    form = {"a.csv": "csv", "a.jsonl": "json", "a.parquet": "parquet"}[name]
    loaded = datasets.load_dataset(form, data_files=str(path), split="train", cache_dir=str(tmp_path / "cache"))
    assert content_ids(read(data_files(path))) == content_ids(loaded.with_format("arrow")[:])


@pytest.mark.parametrize("name", NAMES)
def test_a_cut_file_is_named(name: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = pa.table({"text": [f"{number:x}" for number in rng.integers(0, 2**60, 3000)], "n": range(3000)})
    path = write(rows, tmp_path / name)
    path.write_bytes(path.read_bytes()[: -path.stat().st_size // 3])
    if name in {"a.csv", "a.tsv", "a.jsonl"}:
        path.write_bytes(
            path.read_bytes().rsplit(b"\n", 2)[0] + (b'\n{"text":' if name == "a.jsonl" else b"\n1,2,3,4\t5\t6")
        )
    with pytest.raises(InputError, match=rf"^{name}: .*; (restore it|mend the row|types are)"):
        read(data_files(path))


@pytest.mark.parametrize("name", ["a.parquet", "a.arrow", "a.csv.gz"])
def test_a_file_of_another_form_is_named(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"\x00no such thing" * 20)
    with pytest.raises(InputError, match=rf"^{name}: cannot be read"):
        read(data_files(tmp_path / name))


@pytest.mark.parametrize("name", NAMES)
def test_a_file_without_rows_has_no_batches(name: str, tmp_path: Path) -> None:
    path = write(ROWS.slice(0, 0), tmp_path / name)
    assert [batch for batch in data_files(path)[0].batches() if batch.num_rows] == []


def test_batches_are_bounded_in_rows_and_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "BATCH_ROWS", 100)
    monkeypatch.setattr(reading, "BATCH_BYTES", 10_000)
    rows = pa.table({"text": ["x" * 1000] * 50 + ["y"] * 950})
    for name in ("a.parquet", "a.ipc", "a.arrow", "a.csv"):
        path = tmp_path / name
        pq.write_table(rows, path) if name == "a.parquet" else write(rows, path)
        batches = list(data_files(path)[0].batches())
        assert max(batch.num_rows for batch in batches) <= 100
        assert max(batch.nbytes for batch in batches) <= 110_000
        assert pa.Table.from_batches(batches).equals(rows)


@pytest.mark.parametrize("name", ["a.parquet", "a.ipc", "a.arrow", "a.csv", "a.jsonl"])
def test_memory_holds_a_batch_and_not_the_file(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "BATCH_BYTES", 1 << 18)
    monkeypatch.setattr(reading, "_BLOCK_BYTES", 1 << 18)
    monkeypatch.setattr(reading, "_CSV_BLOCK_BYTES", 1 << 18)
    monkeypatch.setattr(reading, "_PAGE_BYTES", 1 << 16)
    rng = np.random.default_rng(0)
    rows = pa.table({"text": [rng.bytes(500).hex() for _ in range(20_000)]})
    path = tmp_path / name
    if name == "a.parquet":
        pq.write_table(rows, path, compression="none", use_dictionary=False)
    else:
        write(rows, path)
    n_bytes = path.stat().st_size
    del rows
    before, most = pa.total_allocated_bytes(), 0
    for batch in data_files(path)[0].batches():
        most = max(most, pa.total_allocated_bytes() - before, batch.nbytes)
    assert n_bytes > 18_000_000
    assert most < 12_000_000, "a CSV file is read some forty blocks ahead"


def test_json_lines_have_the_types_of_the_whole_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "_BLOCK_BYTES", 64)
    rows: list[dict[str, Any]] = [{"n": number, "m": {"a": 1}} for number in range(20)]
    rows += [{"n": 0.5, "m": {"b": "x"}, "late": "2020-01-01"}, {"n": None, "long": "y" * 500}]
    path = tmp_path / "a.jsonl"
    path.write_text("\n\n".join(json.dumps(row) for row in rows))
    table = read(data_files(path))
    assert table.schema.field("n").type == pa.float64()
    assert table.schema.field("late").type == pa.string(), "JSON has no dates"
    assert [row["n"] for row in table.to_pylist()] == [row["n"] for row in rows]
    assert table.column("m").to_pylist()[0] == {"a": 1, "b": None}
    path.write_text('{"n": 1}\n' * 20 + '{"n": "x"}\n' * 20)
    with pytest.raises(InputError, match=r"a.jsonl: a column changes its type"):
        read(data_files(path))


def test_an_array_is_no_json_lines_and_a_csv_is_utf8(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("[1, 2]")
    with pytest.raises(InputError, match=r"a.jsonl: .*one object a line"):
        read(data_files(tmp_path / "a.jsonl"))
    (tmp_path / "a.csv").write_bytes("text\né\n".encode("latin-1"))
    with pytest.raises(InputError, match=r"a.csv: column 'text' is not UTF-8"):
        read(data_files(tmp_path / "a.csv"))


def test_folders_are_read_with_subfolders_in_the_order_of_names(tmp_path: Path) -> None:
    for name in ("b/2.parquet", "a.parquet", "b/1.parquet", "_draft/x.parquet", ".cache/x.parquet", "b/_SUCCESS"):
        write(ROWS, tmp_path / "set" / name)
    (tmp_path / "set" / "README.md").write_text("# rows")
    assert [file.path for file in data_files(tmp_path / "set")] == ["a.parquet", "b/1.parquet", "b/2.parquet"]
    assert [file.path for file in data_files(f"{tmp_path}/set/")] == ["a.parquet", "b/1.parquet", "b/2.parquet"]
    assert [file.path for file in data_files(tmp_path / "set/b/*.parquet")] == ["1.parquet", "2.parquet"]
    assert [file.path for file in data_files(tmp_path / "set/*/*.parquet")][-1] == "b/2.parquet"
    both = [tmp_path / "set/a.parquet", tmp_path / "set/b"]
    assert [file.path for file in data_files(both)] == ["a.parquet", "b/1.parquet", "b/2.parquet"]


def test_names_that_look_like_patterns_or_leave_their_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(ROWS, tmp_path / "a[1].parquet")
    assert data_files(tmp_path / "a[1].parquet")[0].path == "a[1].parquet"
    write(ROWS, tmp_path / "odd" / "c:50%\\x.parquet")
    (file,) = data_files(tmp_path / "odd")
    assert file.path == "c%3A50%25%5Cx.parquet"
    assert read(file).equals(ROWS)
    monkeypatch.chdir(tmp_path)
    assert data_files("a[1].parquet")[0].path == "a[1].parquet"


@pytest.mark.parametrize(
    ("names", "asked", "message"),
    [
        ([], "", r"no data files \(found nothing\); known: .parquet"),
        (["a.txt", "LICENSE"], "", r"no data files \(found .txt, LICENSE\)"),
        (["a.parquet"], "*.csv", r"\*.csv: no data files"),
        (["a.parquet"], "b.parquet", r"b.parquet: no such file or folder"),
        (["a.txt"], "a.txt", r"a.txt: not a kind of file that is read"),
        (["a.parquet", "a.csv"], "", r"holds files of kind csv and parquet; name one kind"),
        (["dataset_dict.json"], "", r"a DatasetDict of splits; name those that train, such as .*/train"),
        (["state.json"], "", r"state.json is not that of a saved dataset"),
    ],
)
def test_what_is_not_there_or_not_clear_is_refused(names: list[str], asked: str, message: str, tmp_path: Path) -> None:
    for name in names:
        (tmp_path / name).write_text('{"splits": ["train", "test"]}')
    with pytest.raises(InputError, match=message):
        data_files(f"{tmp_path}/{asked}")


def test_a_file_named_twice_and_no_file_at_all(tmp_path: Path) -> None:
    path = write(ROWS, tmp_path / "a.parquet")
    with pytest.raises(InputError, match=r"a.parquet: named twice"):
        data_files([path, tmp_path])
    with pytest.raises(InputError, match="name at least one"):
        data_files([])
    with pytest.raises(InputError, match="chained URLs"):
        data_files("zip://a.csv::b.zip")
    with pytest.raises(InputError, match="nosuch://x: cannot be opened"):
        data_files("nosuch://x")


def test_a_file_that_goes_away_is_named(tmp_path: Path) -> None:
    path = write(ROWS, tmp_path / "a.parquet")
    (file,) = data_files(path)
    path.unlink()
    with pytest.raises(InputError, match=r"a.parquet: no such file"):
        read(file)


def test_urls_of_fsspec(tmp_path: Path) -> None:
    memory = fsspec.filesystem("memory")
    for name in NAMES:
        memory.pipe(f"/readers/{name.replace('.', '/a.', 1)}", write(ROWS, tmp_path / name).read_bytes())
    try:
        for name in NAMES:
            (file,) = data_files(f"memory://readers/{name.replace('.', '/a.', 1)}")
            assert read(file).equals(ROWS)
            local = file.fetched(tmp_path)
            assert local.is_local
            assert not file.is_local
            assert (local.digest(), read(local)) == (file.digest(), read(file))
        (tmp_path / "only").mkdir()
        write(ROWS, tmp_path / "only" / "b.parquet")
        mixed = data_files(["memory://readers/a/a.parquet", f"file://{tmp_path}/only"])
        assert [file.path for file in mixed] == ["file/b.parquet", "memory/a.parquet"]
    finally:
        memory.rm("/readers", recursive=True)


def test_a_folder_that_datasets_saved(tmp_path: Path) -> None:
    rows = datasets.Dataset(ROWS)
    rows.select([3, 1]).save_to_disk(str(tmp_path / "one"))
    assert read(data_files(tmp_path / "one")).to_pylist() == [ROWS.to_pylist()[3], ROWS.to_pylist()[1]]
    rows.save_to_disk(str(tmp_path / "two"), num_shards=2)
    files = data_files(tmp_path / "two")
    assert [file.path for file in files] == ["data-00000-of-00002.arrow", "data-00001-of-00002.arrow"]
    assert read(files).to_pylist() == ROWS.to_pylist()
    datasets.DatasetDict({"train": rows, "test": rows}).save_to_disk(str(tmp_path / "splits"))
    with pytest.raises(InputError, match=r"DatasetDict of splits; .*/train"):
        data_files(tmp_path / "splits")
    (tmp_path / "two" / "data-00001-of-00002.arrow").unlink()
    with pytest.raises(InputError, match=r"state.json names data-00001-of-00002.arrow, which is not there"):
        data_files(tmp_path / "two")


def test_a_folder_of_pictures_is_what_datasets_makes_of_it(tmp_path: Path) -> None:
    for number, name in enumerate(("cat/b.png", "cat/a.png", "dog/a.png")):
        (tmp_path / "set" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (3, 3), (number, 0, 0)).save(tmp_path / "set" / name)
    files = data_files(tmp_path / "set")
    assert [(file.path, file.label, len(file.members)) for file in files] == [("cat", "cat", 2), ("dog", "dog", 1)]
    ours = read(files).to_pylist()
    loaded = datasets.load_dataset("imagefolder", data_dir=str(tmp_path / "set"), cache_dir=str(tmp_path / "c"))[
        "train"
    ]
    names = loaded.features["label"].names
    theirs = [
        (Path(row["image"]["path"]).name, names[row["label"]], Path(row["image"]["path"]).read_bytes())
        for row in loaded.cast_column("image", datasets.Image(decode=False))
    ]
    assert [(row["image"]["path"], row["label"], row["image"]["bytes"]) for row in ours] == theirs
    assert read(files, ["label"]).column_names == ["label"]
    before = files[0].digest()
    (tmp_path / "set/cat/a.png").write_bytes((tmp_path / "set/cat/b.png").read_bytes())
    assert data_files(tmp_path / "set")[0].digest() != before


def test_recordings_without_folders_have_no_class(tmp_path: Path) -> None:
    import wave

    sink = io.BytesIO()
    with wave.open(sink, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes(bytes(20))
    for name in ("b.wav", "a.wav"):
        (tmp_path / name).write_bytes(sink.getvalue())
    (file,) = data_files(tmp_path)
    assert (file.path, file.kind, file.label) == (".", "audio", None)
    assert [(row["audio"]["path"], row["label"]) for row in read(file).to_pylist()] == [
        ("a.wav", None),
        ("b.wav", None),
    ]


@pytest.mark.parametrize("name", ["b.jsonl.zst", "b.csv.bz2", "b.json.xz"])
def test_data_that_is_packed_otherwise_is_not_left_out_silently(name: str, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"n": 1}\n')
    (tmp_path / name).write_bytes(b"packed")
    with pytest.raises(InputError, match=f"{name} is packed in a way that is not read; unpack it"):
        data_files(str(tmp_path))


def test_a_line_without_end_is_refused_before_it_fills_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "_BLOCK_BYTES", 1 << 10)
    monkeypatch.setattr(reading, "_LINE_BYTES", 1 << 14)
    path = tmp_path / "rows.jsonl"
    path.write_text('{"text": "' + "a" * (1 << 13) + '"}\n{"text": "b"}\n')
    assert read(data_files(str(path))).num_rows == 2
    path.write_text('{"text": "' + "a" * (1 << 16) + '"}\n')
    with pytest.raises(InputError, match="a line is longer than"):
        read(data_files(str(path)))
