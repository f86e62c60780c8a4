"""Data files that went missing, were cut, changed, renamed or added, and parts that no longer hold."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

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


def test_one_path_for_two_contents_is_refused(manifest: Manifest, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "a.csv").write_text("text\nelse\n")
    second = take_inventory(other, to=tmp_path / "second.cgm.json", source="own", origin="real")
    merged = write_manifest(merge_manifests([manifest, second], name="m"), tmp_path / "m.cgm.json")
    with pytest.raises(ManifestError, match=r"two data files 'a\.csv'"):
        verify_manifest(load_manifest(merged.path or ""), other)
