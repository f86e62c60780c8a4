"""The DVC export; its digests are those that ``dvc add`` wrote for the same files (DVC 3.67)."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest

from collapse_guard.errors import InputError
from collapse_guard.policy.yaml_text import yaml_text
from collapse_guard.report.exports import as_dvc, recorded_md5
from collapse_guard.report.exports.dvc import folder_md5

if TYPE_CHECKING:
    from pathlib import Path

    from collapse_guard.manifest import Manifest


def test_a_folder_has_the_digest_that_dvc_gives_it() -> None:
    listed = [{"md5": hashlib.md5(b"foo\n").hexdigest(), "relpath": "foo"}]
    assert folder_md5(listed) == "aa5f690fab1a8e34ad009d3de2ad38cb.dir"


def test_files_are_ordered_by_the_parts_of_their_paths() -> None:
    names = ["a/b", "a!", "a"]
    one, two = ([{"md5": "0" * 32, "relpath": name} for name in order] for order in (names, names[::-1]))
    assert folder_md5(one) == folder_md5(two)


def test_header_and_index_are_tracked_as_they_lie_there(on_disk: Manifest) -> None:
    assert on_disk.path is not None
    header, folder = as_dvc(on_disk)["outs"]
    assert header["md5"] == hashlib.md5(on_disk.path.read_bytes()).hexdigest()
    assert (header["path"], header["cache"]) == (on_disk.path.name, False)
    parts = list((on_disk.path.parent / folder["path"]).iterdir())
    assert folder["nfiles"] == len(parts) == 2
    assert folder["size"] == sum(path.stat().st_size for path in parts)
    assert folder["md5"].endswith(".dir")


def test_another_file_in_the_folder_counts(on_disk: Manifest) -> None:
    assert on_disk.path is not None
    before = as_dvc(on_disk)["outs"][1]
    (on_disk.path.parent / before["path"] / "older.parquet").write_bytes(b"x")
    after = as_dvc(on_disk)["outs"][1]
    assert after["nfiles"] == 3
    assert after["md5"] != before["md5"]


def test_recorded_digests_are_read_back(on_disk: Manifest, tmp_path: Path) -> None:
    found = as_dvc(on_disk)
    path = tmp_path / "gen.dvc"
    path.write_text(yaml_text(found))
    assert recorded_md5(path) == {out["path"]: out["md5"] for out in found["outs"]}


def test_a_lock_file_is_read_stage_by_stage(tmp_path: Path) -> None:
    path = tmp_path / "dvc.lock"
    path.write_text(
        "schema: '2.0'\nstages:\n  train:\n    cmd: python train.py\n    deps:\n    - {path: rows.csv, md5: aa}\n"
        "    outs:\n    - {path: model.pt, md5: bb}\n    - {path: remote, etag: cc}\n"
    )
    assert recorded_md5(path) == {"rows.csv": "aa", "model.pt": "bb"}


@pytest.mark.parametrize("text", ["a: 1\n", "[1, 2]\n", "a: [\n"])
def test_another_file_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.dvc"
    path.write_text(text)
    with pytest.raises(InputError, match=r"x\.dvc"):
        recorded_md5(path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        recorded_md5(tmp_path / "none.dvc")
