"""Data files that went missing, were cut, changed, renamed or added, and parts that no longer hold."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from collapse_guard.cli import app
from collapse_guard.errors import InputError, ManifestError
from collapse_guard.manifest import Manifest, build_manifest, load_manifest, write_manifest
from collapse_guard.manifest.inventory import take_inventory
from collapse_guard.manifest.merging import merge_manifests
from collapse_guard.manifest.verifying import Fault, verify_manifest

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    folder = tmp_path / "corpus"
    folder.mkdir()
    for name in "abc":
        (folder / f"{name}.csv").write_text(f"text\n{name} one\n{name} two\n")
    return folder


@pytest.fixture
def manifest(corpus: Path, tmp_path: Path) -> Manifest:
    return take_inventory(corpus, to=tmp_path / "gen0.cgm.json", source="web", origin="real")


def faults(manifest: Manifest, corpus: Path) -> list[tuple[str, Fault]]:
    return [(each.path, each.fault) for each in verify_manifest(manifest, corpus).files]


def test_untouched_data_holds(manifest: Manifest, corpus: Path) -> None:
    seen: list[int] = []
    found = verify_manifest(manifest, corpus, seen=seen.append)
    assert found.holds
    assert (found.n_files, found.n_bytes) == (3, sum(path.stat().st_size for path in corpus.iterdir()))
    assert sum(seen) == found.n_bytes


def test_a_file_that_is_gone(manifest: Manifest, corpus: Path) -> None:
    (corpus / "b.csv").unlink()
    assert faults(manifest, corpus) == [("b.csv", Fault.MISSING)]


def test_a_file_that_was_cut_is_not_read(manifest: Manifest, corpus: Path) -> None:
    (corpus / "b.csv").write_text("text\nb one\n")
    found = verify_manifest(manifest, corpus)
    assert [(each.path, each.fault) for each in found.files] == [("b.csv", Fault.TRUNCATED)]
    assert "11 bytes, 17 when" in found.files[0].detail
    assert found.n_bytes == 2 * 17


@pytest.mark.parametrize("text", ["text\nb one\nb TWO\n", "text\nb one\nb two\nb three\n"])
def test_a_file_with_other_bytes(manifest: Manifest, corpus: Path, text: str) -> None:
    (corpus / "b.csv").write_text(text)
    assert faults(manifest, corpus) == [("b.csv", Fault.CHANGED)]


def test_a_file_under_another_name(manifest: Manifest, corpus: Path) -> None:
    (corpus / "b.csv").rename(corpus / "z.csv")
    found = verify_manifest(manifest, corpus)
    assert [(each.path, each.fault, each.detail) for each in found.files] == [("b.csv", Fault.RENAMED, "now z.csv")]


def test_two_files_that_changed_places_changed(manifest: Manifest, corpus: Path) -> None:
    one, two = (corpus / "a.csv").read_bytes(), (corpus / "b.csv").read_bytes()
    (corpus / "a.csv").write_bytes(two)
    (corpus / "b.csv").write_bytes(one)
    assert faults(manifest, corpus) == [("a.csv", Fault.CHANGED), ("b.csv", Fault.CHANGED)]


def test_a_file_that_no_shard_names(manifest: Manifest, corpus: Path) -> None:
    (corpus / "d.csv").write_text("text\nd\n")
    found = verify_manifest(manifest, corpus)
    assert [(each.path, each.fault) for each in found.files] == [("d.csv", Fault.EXTRA)]
    assert found.n_bytes == 3 * 17  # the new file is not read


def test_one_of_two_missing_files_is_found_again_once(manifest: Manifest, corpus: Path) -> None:
    (corpus / "a.csv").unlink()
    (corpus / "b.csv").rename(corpus / "y.csv")
    (corpus / "z.csv").write_bytes((corpus / "y.csv").read_bytes())
    assert faults(manifest, corpus) == [
        ("a.csv", Fault.MISSING),
        ("b.csv", Fault.RENAMED),
        ("z.csv", Fault.EXTRA),
    ]


def test_without_data_the_parts_are_verified(manifest: Manifest) -> None:
    assert verify_manifest(manifest).holds
    header = manifest.header.model_copy(update={"root_digest": f"sha256:{'0' * 64}"})
    changed = verify_manifest(Manifest(header, manifest.path, manifest.shards))
    assert [each.part for each in changed.mismatches] == ["root"]
    assert not changed.holds


def test_a_manifest_of_no_files_cannot_be_held_against_data(tagged: object, corpus: Path) -> None:
    made = build_manifest(tagged([{"id": 1}]), name="gen0", generation=0)  # type: ignore[operator]
    with pytest.raises(ManifestError, match="names no data files"):
        verify_manifest(made, corpus)


def test_data_that_is_not_there_is_refused(manifest: Manifest, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        verify_manifest(manifest, tmp_path / "nowhere")


@pytest.fixture
def merged(manifest: Manifest, tmp_path: Path) -> Manifest:
    """The manifest of two inventories, of folders that both hold a file ``a.csv``, and one each of their own."""
    other = tmp_path / "other"
    other.mkdir()
    (other / "a.csv").write_text("text\nelse\n")
    (other / "z.csv").write_text("text\nzett\n")
    second = take_inventory(other, to=tmp_path / "second.cgm.json", source="own", origin="real")
    path = tmp_path / "m.cgm.json"
    write_manifest(merge_manifests([manifest, second], name="m"), path)
    return load_manifest(path)


def test_one_path_for_two_contents_needs_both_folders(merged: Manifest, tmp_path: Path) -> None:
    with pytest.raises(
        ManifestError, match=r"two data files 'a\.csv', of manifests that were merged; give every folder"
    ):
        verify_manifest(merged, tmp_path / "other")


@pytest.mark.parametrize("order", [1, -1])
def test_merged_manifests_are_verified_over_all_their_folders(merged: Manifest, tmp_path: Path, order: int) -> None:
    folders = [tmp_path / "corpus", tmp_path / "other"][::order]
    found = verify_manifest(merged, folders)
    assert (found.holds, found.n_files, found.files) == (True, 5, ())
    assert found.n_bytes == sum(path.stat().st_size for folder in folders for path in folder.iterdir())


def test_what_changed_in_one_of_several_folders_is_told(merged: Manifest, tmp_path: Path) -> None:
    folders = [tmp_path / "other", tmp_path / "corpus"]
    (tmp_path / "corpus" / "a.csv").write_text("text\na ONE\na two\n")
    (tmp_path / "other" / "z.csv").rename(tmp_path / "corpus" / "y.csv")
    (tmp_path / "other" / "new.csv").write_text("text\nnew\n")
    found = verify_manifest(merged, folders)
    assert [(each.path, each.fault, each.detail) for each in found.files] == [
        ("a.csv", Fault.CHANGED, "other bytes, same size"),
        ("z.csv", Fault.RENAMED, "now y.csv"),
        ("new.csv", Fault.EXTRA, "9 bytes"),
    ]


def test_one_inventory_of_several_folders_is_verified_as_it_was_taken(corpus: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "a.csv").write_text("text\nelse\n")
    made = take_inventory([corpus, other], to=tmp_path / "both.cgm.json", source="web", origin="real")
    assert verify_manifest(made, [other, corpus]).holds
    (other / "a.csv").unlink()
    (other / "b.csv").write_text("text\nb\n")
    found = verify_manifest(made, [other, corpus])
    assert [(each.path, each.fault) for each in found.files] == [
        ("other/a.csv", Fault.MISSING),
        ("other/b.csv", Fault.EXTRA),
    ]


def test_files_without_a_row_are_no_fault(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    rows = pa.table({"text": ["one"]})
    pq.write_table(rows, folder / "a.parquet")
    pq.write_table(rows.slice(0, 0), folder / "b.parquet")
    made = take_inventory(folder, to=tmp_path / "gen0.cgm.json", source="web", origin="real")
    found = verify_manifest(made, folder)
    assert (found.holds, found.empty_files, found.n_files) == (True, ("b.parquet",), 1)
    done = CliRunner().invoke(app, ["manifest", "verify", str(made.path), "--data", str(folder)])
    assert (done.exit_code, done.output.splitlines()[1:]) == (0, ["1 data file has no row: b.parquet"])
    (folder / "b.parquet").write_bytes((folder / "b.parquet").read_bytes()[:-9])
    assert faults(made, folder) == [("b.parquet", Fault.EXTRA)]


def test_a_new_file_of_rows_is_extra_beside_an_empty_one(manifest: Manifest, corpus: Path) -> None:
    (corpus / "d.csv").write_text("text\n")
    (corpus / "e.csv").write_text("text\ne\n")
    found = verify_manifest(manifest, corpus)
    assert [(each.path, each.fault) for each in found.files] == [("e.csv", Fault.EXTRA)]
    assert found.empty_files == ("d.csv",)
    assert found.as_dict()["empty_files"] == ["d.csv"]
