"""Data files become a manifest in one pass; whatever stops it, the old manifest stays and the next run goes on."""

from __future__ import annotations

import json
import subprocess
import sys
import wave
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from filelock import FileLock
from PIL import Image

from collapse_guard.errors import InputError, ManifestError, ProvenanceError
from collapse_guard.identity import IdRule, content_ids
from collapse_guard.manifest import (
    Manifest,
    add_takedowns,
    build_manifest,
    file_rows,
    inventory,
    load_manifest,
    load_takedowns,
)
from collapse_guard.manifest.inventory import Progress, take_inventory
from collapse_guard.records import AMOUNT, DATE, EVIDENCE, GENERATION, GENERATOR, ID, ORIGIN, SOURCE, Origin
from collapse_guard.sources import Tag

if TYPE_CHECKING:
    from pathlib import Path

Take = Callable[..., Manifest]


def rows_of(start: int, stop: int) -> pa.Table:
    labels = [None if number % 7 == 0 else f"class {number % 3}" for number in range(start, stop)]
    texts = [f"row {number} \u00e9" for number in range(start, stop)]
    tokens = [[1] * (number % 4) for number in range(start, stop)]
    schema = pa.schema([("text", pa.string()), ("label", pa.string()), ("input_ids", pa.list_(pa.int64()))])
    return pa.table({"text": texts, "label": labels, "input_ids": tokens}, schema)


def tagged_rows(rows: pa.Table, **options: Any) -> pa.Table:
    tag = Tag.of(**{"origin": "real", "source": "web", **options})
    columns = {
        ORIGIN: pa.array([int(tag.origin)] * rows.num_rows, pa.uint8()),
        EVIDENCE: pa.array([int(tag.evidence)] * rows.num_rows, pa.uint8()),
        GENERATION: pa.array([tag.generation] * rows.num_rows, pa.uint8()),
        SOURCE: pa.array([tag.source] * rows.num_rows, pa.string()),
        GENERATOR: pa.array([tag.generator] * rows.num_rows, pa.string()),
        DATE: pa.array([tag.date] * rows.num_rows, pa.uint16()),
        ID: content_ids(rows),
    }
    for name, column in columns.items():
        rows = rows.append_column(name, column)
    return rows


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder of four Parquet files of five rows each."""
    folder = tmp_path / "data"
    folder.mkdir()
    for number in range(4):
        pq.write_table(rows_of(5 * number, 5 * number + 5), folder / f"{number}.parquet")
    return folder


@pytest.fixture
def take(data: Path, tmp_path: Path) -> Take:
    def taken(rows: Any = data, **options: Any) -> Manifest:
        return take_inventory(rows, **{"to": tmp_path / "gen0.cgm.json", "source": "web", "origin": "real", **options})

    return taken


def sorted_rows(manifest: Manifest) -> list[dict[str, Any]]:
    return sorted(manifest.index.to_pylist(), key=str)


def test_the_index_is_that_of_the_same_rows_in_memory(take: Take, tmp_path: Path) -> None:
    found = take(class_column="label", unit="tokens")
    amounts = pa.array([float(number % 4) for number in range(20)])
    rows = tagged_rows(rows_of(0, 20)).append_column(AMOUNT, amounts)
    built = build_manifest(rows, name="gen0", generation=0, class_column="label", unit="tokens")
    assert sorted_rows(found) == sorted_rows(built)
    assert found.header.class_histogram_digest == built.header.class_histogram_digest
    assert (found.header.name, found.header.unit, found.amount) == ("gen0", "tokens", 30.0)
    assert found.class_rows() == {"class 0": 6, "class 1": 6, "class 2": 5}
    again = load_manifest(tmp_path / "gen0.cgm.json")
    assert again.header == found.header
    assert again.verify() == ()


def test_every_shard_names_its_file(take: Take, data: Path) -> None:
    import hashlib

    entries = take().header.shards
    assert [entry.name for entry in entries] == [f"web/{number}.parquet#0" for number in range(4)]
    for entry in entries:
        assert entry.file is not None
        content = (data / entry.file.path).read_bytes()
        assert entry.file.bytes == len(content)
        assert entry.file.digest == f"sha256:{hashlib.sha256(content).hexdigest()}"


def test_processes_give_the_same_manifest(take: Take, tmp_path: Path) -> None:
    one = take(class_column="label")
    two = take(class_column="label", jobs=3, to=tmp_path / "other.cgm.json", name="gen0")
    assert two.digest == one.digest


def test_shards_are_full_and_say_where_they_begin(
    take: Take, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_rows, "SHARD_ROWS", 8)
    pq.write_table(rows_of(0, 20), tmp_path / "one.parquet")
    shards = take(tmp_path / "one.parquet").header.shards
    assert [(each.rows, each.file and each.file.first_row) for each in shards] == [(8, 0), (8, 8), (4, 16)]


def test_rows_that_carry_tags_keep_them(take: Take, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_rows, "SHARD_ROWS", 4)
    monkeypatch.setattr(file_rows, "_WAITING_ROWS", 5)
    made = {"origin": "synthetic", "source": "model", "generator": "m@1", "generation": 1}
    parts = [tagged_rows(rows_of(n, n + 1), **(made if n % 3 == 0 else {"source": f"s{n % 3}"})) for n in range(20)]
    pq.write_table(pa.concat_tables(parts), tmp_path / "mixed.parquet")
    found = take(tmp_path / "mixed.parquet", source="else")
    assert found.rows_by("source", "origin") == {("model", 2): 7, ("s1", 1): 7, ("s2", 1): 6}
    assert sorted_rows(found) == sorted_rows(build_manifest(pa.concat_tables(parts), name="x", generation=0))
    assert all(entry.rows <= 4 for entry in found.header.shards)


def test_tags_that_are_not_whole_are_refused(take: Take, tmp_path: Path) -> None:
    rows = tagged_rows(rows_of(0, 3)).drop_columns([SOURCE])
    pq.write_table(rows, tmp_path / "half.parquet")
    with pytest.raises(
        ProvenanceError, match=r"half.parquet: rows carry cg_origin.* and lack cg_source; tag them whole"
    ):
        take(tmp_path / "half.parquet")


def test_tags_of_another_type_are_refused(take: Take, tmp_path: Path) -> None:
    rows = tagged_rows(rows_of(0, 3))
    pq.write_table(rows.set_column(rows.column_names.index(ORIGIN), ORIGIN, [["real"] * 3]), tmp_path / "text.parquet")
    with pytest.raises(ProvenanceError, match=r"text.parquet: Failed to parse string: 'real'"):
        take(tmp_path / "text.parquet")


def test_ids_are_compared_with_the_content(take: Take, tmp_path: Path) -> None:
    rows = tagged_rows(rows_of(0, 6))
    changed = rows.set_column(0, "text", [[*rows.column("text").to_pylist()[:4], "edited", "too"]])
    pq.write_table(changed, tmp_path / "edited.parquet")
    with pytest.raises(
        ProvenanceError, match=r"edited.parquet: 2 of 6 rows whose cg_id is not the id of their content"
    ):
        take(tmp_path / "edited.parquet")
    kept = take(tmp_path / "edited.parquet", keep_ids=True)
    assert sorted_rows(kept) == sorted_rows(build_manifest(rows, name="x", generation=0))
    only_id = rows.select(["text", "label", "input_ids", ID])
    pq.write_table(only_id.set_column(3, ID, only_id.column(ID).cast(pa.binary())), tmp_path / "plain.parquet")
    assert sorted_rows(take(tmp_path / "plain.parquet")) == sorted_rows(kept)


def test_another_id_rule_reads_what_it_needs(take: Take, data: Path) -> None:
    rule = IdRule("text", ("text",))
    found = take(id_rule=rule, class_column="label", unit="tokens")
    assert found.header.id_rule == rule.name
    ids = {value.hex() for value in content_ids(rows_of(0, 20), rule).to_pylist()}
    assert {f"{row['id_hi']:016x}{row['id_lo']:016x}" for row in found.index.to_pylist()} == ids
    assert found.amount == 30
    with pytest.raises(ManifestError, match=r"the parent .* counts rows by 'sha256-128/text-nfc/1\[text\]', not by"):
        take(parent=found)


def test_a_parent_and_takedowns_are_linked(take: Take, tmp_path: Path) -> None:
    parent = take()
    add_takedowns(tmp_path / "gone.jsonl", ["00" * 16], reason="request 1", date="2026-01-02")
    child = take(parent=parent, to=tmp_path / "gen1.cgm.json", takedowns=tmp_path / "gone.jsonl", name="next")
    assert (child.header.name, child.header.generation) == ("next", 1)
    assert child.header.parents[0].digest == parent.digest
    assert child.header.takedowns == load_takedowns(tmp_path / "gone.jsonl").entry


def test_a_broken_picture_is_named(take: Take, tmp_path: Path) -> None:
    for name in ("cat/a.png", "cat/b.png", "dog/a.png"):
        (tmp_path / "set" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (9, 9), (len(name), 0, 0)).save(tmp_path / "set" / name)
    broken = tmp_path / "set/cat/b.png"
    broken.write_bytes(broken.read_bytes()[:-30])
    with pytest.raises(ProvenanceError, match=r"^cat/b\.png is a broken picture \(.*\); drop it, or use .* 'bytes'$"):
        take(tmp_path / "set", id_rule=IdRule("pixels", ("image",)))
    with pytest.raises(ProvenanceError, match=r"^cat: no class column 'labl'; did you mean 'label'\?$"):
        take(tmp_path / "set", id_rule=IdRule("bytes", ("image",)), class_column="labl")


def test_a_broken_recording_is_named_in_whichever_batch_it_stands(
    take: Take, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("collapse_guard.readers.files.BATCH_ROWS", 2)
    folder = tmp_path / "speech"
    folder.mkdir()
    for number in range(5):
        with wave.open(str(folder / f"{number}.wav"), "wb") as sound:
            sound.setparams((1, 2, 8000, 0, "NONE", ""))
            sound.writeframes(bytes([number, 0] * 20))
    (folder / "3.wav").write_bytes(b"no sound")
    with pytest.raises(ProvenanceError, match=r"3\.wav is no recording of a known format; drop it"):
        take(folder, id_rule=IdRule("samples", ("audio",)))


def test_pictures_are_counted_by_folder(take: Take, tmp_path: Path) -> None:
    for name in ("cat/a.png", "cat/b.png", "dog/a.png"):
        (tmp_path / "set" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (2, 2), (len(name), name.count("b"), 0)).save(tmp_path / "set" / name)
    rule = IdRule("pixels", ("image",))
    found = take(tmp_path / "set", class_column="label", id_rule=rule, unit="bytes", unit_column="image")
    assert found.class_rows() == {"cat": 2, "dog": 1}
    assert found.amount == sum(path.stat().st_size for path in (tmp_path / "set").rglob("*.png"))
    Image.open(tmp_path / "set/cat/a.png").save(tmp_path / "set/cat/a.bmp")
    (tmp_path / "set/cat/a.png").unlink()
    again = take(tmp_path / "set", class_column="label", id_rule=rule, to=tmp_path / "bmp.cgm.json")
    assert again.header.real_root_digest == found.header.real_root_digest, "the same pixels"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"class_column": "labl"}, r"0.parquet: no class column 'labl'; did you mean 'label'"),
        ({"id_rule": IdRule("text", ("body",))}, r"0.parquet: .* reads column 'body', which the rows lack"),
        ({"unit": "tokens", "unit_column": "ids"}, r"0.parquet: unit 'tokens' reads column 'ids'"),
        (
            {"unit": "weight"},
            r"0.parquet: unit 'weight' reads column 'weight', which the rows lack; name it with unit_col",
        ),
        ({"origin": "human"}, r"origin must be one of"),
        ({"jobs": 0}, r"jobs must be 1 or more"),
        ({"to": "s3://bucket/m.cgm.json"}, r"manifests are written to a disk of this machine"),
        ({"to": "."}, r"is a directory; name a file"),
        ({"rows": "nowhere"}, r"nowhere: no such file"),
    ],
)
def test_what_cannot_be_done_is_one_line(take: Take, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        take(**options)
    assert "\n" not in str(caught.value)


def test_files_must_agree_in_what_their_columns_hold(take: Take, data: Path) -> None:
    other = rows_of(20, 25)
    pq.write_table(other.cast(pa.schema([("text", pa.large_string()), *list(other.schema)[1:]])), data / "4.parquet")
    pq.write_table(other.set_column(1, "label", pa.nulls(5)).append_column("new", [[1] * 5]), data / "5.parquet")
    assert take().n_rows == 30, "another storage, nulls and a new column are no conflict"
    pq.write_table(other.set_column(2, "input_ids", pa.array([["1"]] * 5)), data / "6.parquet")
    with pytest.raises(ManifestError, match=r"column 'input_ids' is list<text> in 6.parquet and list<integer> in 5"):
        take()


def test_no_rows_are_no_manifest(take: Take, tmp_path: Path) -> None:
    pq.write_table(rows_of(0, 0), tmp_path / "empty.parquet")
    with pytest.raises(ManifestError, match="no rows in 1 data file; name others"):
        take(tmp_path / "empty.parquet")
    assert not (tmp_path / "gen0.cgm.json").exists()


def test_a_cut_file_is_named_and_nothing_is_written(take: Take, data: Path, tmp_path: Path) -> None:
    path = data / "2.parquet"
    path.write_bytes(path.read_bytes()[:-20])
    for jobs in (1, 2):
        with pytest.raises(InputError, match=r"2.parquet: cannot be read"):
            take(jobs=jobs)
    assert not (tmp_path / "gen0.cgm.json").exists()


def test_progress_ends_with_everything(take: Take) -> None:
    told: list[Progress] = []
    take(progress=told.append)
    assert [step.rows for step in told] == sorted(step.rows for step in told)
    last = told[-1]
    assert (last.files, last.n_files, last.rows) == (4, 4, 20)
    assert last.bytes == last.n_bytes > 0


KILLED = """
import os, signal, sys
from collapse_guard.manifest.inventory import take_inventory

def stop(step):
    if step.files == 2:
        os.kill(os.getpid(), signal.SIGKILL)

if __name__ == "__main__":
    jobs = int(sys.argv[3])
    take_inventory(sys.argv[1], to=sys.argv[2], source="web", origin="real", progress=stop, jobs=jobs)
"""


def killed(data: Path, target: Path, *, jobs: int) -> None:
    """Run an inventory that is killed after two files; its processes end with it, or the pipes would stay open."""
    script = data.parent / "killed.py"
    script.write_text(KILLED)
    command = [sys.executable, str(script), str(data), str(target), str(jobs)]
    assert subprocess.run(command, check=False, capture_output=True, timeout=60).returncode == -9


def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list that gets the path of each file that is read from now on."""
    read: list[str] = []
    original = file_rows.file_shards

    def counting(file: Any, *rest: Any) -> Any:
        read.append(file.path)
        return original(file, *rest)

    monkeypatch.setattr(inventory, "file_shards", counting)
    return read


def test_a_killed_run_leaves_the_old_manifest_and_goes_on(
    take: Take, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "gen0.cgm.json"
    pq.write_table(rows_of(90, 95), tmp_path / "old.parquet")
    old = take(tmp_path / "old.parquet")
    killed(data, target, jobs=1)
    assert load_manifest(target).digest == old.digest
    assert load_manifest(target).verify() == ()
    (tmp_path / "gen0.index" / f".{'0' * 64}.parquet.x1.tmp").write_bytes(b"half")
    read = counted(monkeypatch)
    found = take()
    assert read == ["2.parquet", "3.parquet"]
    assert found.digest == take(to=tmp_path / "fresh" / "gen0.cgm.json").digest
    assert load_manifest(target).verify() == ()
    assert not [path for path in (tmp_path / "gen0.index").iterdir() if path.name.startswith(".")]


def test_processes_end_with_a_killed_run(take: Take, data: Path, tmp_path: Path) -> None:
    killed(data, tmp_path / "gen0.cgm.json", jobs=2)
    assert take().verify() == ()


def interrupted(take: Take, after: int) -> None:
    def stop(step: Progress) -> None:
        if step.files == after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        take(progress=stop)


def test_what_changed_since_is_read_again(
    take: Take, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupted(take, 3)
    pq.write_table(rows_of(50, 56), data / "1.parquet")
    journal = tmp_path / "gen0.index" / ".inventory.jsonl"
    first = json.loads(journal.read_bytes().splitlines()[0])
    (tmp_path / "gen0.index" / f"{first['shards'][0]['digest'].removeprefix('sha256:')}.parquet").unlink()
    journal.write_bytes(journal.read_bytes()[:-10])
    read = counted(monkeypatch)
    found = take()
    assert read == ["0.parquet", "1.parquet", "2.parquet", "3.parquet"], "lost part, new file, cut line, never read"
    assert found.n_rows == 21
    assert found.verify() == ()


def test_other_options_read_everything_again(take: Take, monkeypatch: pytest.MonkeyPatch) -> None:
    interrupted(take, 3)
    read = counted(monkeypatch)
    assert take(origin="synthetic", generation=1).n_origin_rows(Origin.SYNTHETIC) == 20
    assert len(read) == 4


def test_a_second_writer_is_told_at_once(take: Take, tmp_path: Path) -> None:
    with (
        FileLock(tmp_path / ".gen0.index.lock"),
        pytest.raises(ManifestError, match=r"gen0.cgm.json: another process is writing it; wait for it"),
    ):
        take()
    assert take().n_rows == 20


FULL = """
import resource, sys
from collapse_guard.manifest.inventory import take_inventory

resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), resource.RLIM_INFINITY))
try:
    take_inventory(sys.argv[1], to=sys.argv[2], source="web", origin="real")
except Exception as error:
    print(type(error).__name__, error)
"""


@pytest.mark.parametrize("n_bytes", [0, 1000, 5200])
def test_a_full_disk_is_one_line_and_leaves_nothing_half(n_bytes: int, take: Take, data: Path, tmp_path: Path) -> None:
    target = tmp_path / "full" / "gen0.cgm.json"
    pq.write_table(rows_of(0, 200), data / "3.parquet")
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(data), str(target), str(n_bytes)],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout.startswith("ManifestError ")
    assert done.stdout.rstrip().endswith("make room and run again, finished files are kept")
    assert len(done.stdout.splitlines()) == 1
    assert not target.exists()
    index = tmp_path / "full" / "gen0.index"
    left = [path for path in index.iterdir() if path.name != ".inventory.jsonl"]
    assert all(path.name.endswith(".parquet") and not path.name.startswith(".") for path in left)
    for path in left:
        pq.read_table(path)
    assert take(to=target).verify() == ()


def test_rows_in_memory_file_systems_are_read_in_this_process(take: Take) -> None:
    import fsspec  # it ships no types

    memory = fsspec.filesystem("memory")
    for number in range(2):
        memory.pipe(f"/inventory/{number}.jsonl", b"".join(json.dumps({"n": row}).encode() + b"\n" for row in range(3)))
    try:
        assert take("memory://inventory", jobs=2).n_rows == 6
    finally:
        memory.rm("/inventory", recursive=True)


def test_every_tag_arrives_in_the_index(take: Take) -> None:
    found = take(origin="synthetic", generator="m@1", generation=2, evidence="generated_here").index.to_pylist()[0]
    assert (found["origin"], found["evidence"], found["generation"], found["generator"]) == (2, 7, 2, "m@1")
    assert ORIGIN not in found
