"""A reader sees the old file or the new one, and nothing is left behind."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from collapse_guard._atomic import whole_file, write_bytes


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_written_with_its_folders(tmp_path: Path) -> None:
    target = tmp_path / "a" / "b" / "c.json"
    assert write_bytes(target, b"{}") == target
    assert target.read_bytes() == b"{}"
    assert names(target.parent) == ["c.json"]


def test_a_path_may_be_text(tmp_path: Path) -> None:
    assert write_bytes(str(tmp_path / "a"), b"x") == tmp_path / "a"


def test_an_older_file_is_replaced_whole(tmp_path: Path) -> None:
    target = tmp_path / "a"
    write_bytes(target, b"a long text")
    write_bytes(target, b"short")
    assert target.read_bytes() == b"short"
    assert names(tmp_path) == ["a"]


def test_an_open_reader_keeps_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "a"
    write_bytes(target, b"old")
    with target.open("rb") as reader:
        write_bytes(target, b"new")
        assert reader.read() == b"old"
    assert target.read_bytes() == b"new"


def test_others_may_read_the_file(tmp_path: Path) -> None:
    assert write_bytes(tmp_path / "a", b"x").stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("step", ["fsync", "replace", "chmod"])
def test_a_failure_at_any_step_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    target = tmp_path / "a"
    write_bytes(target, b"old")

    def broken(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os if step == "fsync" else Path, step, broken)
    with pytest.raises(OSError, match="No space left"):
        write_bytes(target, b"new")
    assert target.read_bytes() == b"old"
    assert names(tmp_path) == ["a"]


def test_an_interrupt_leaves_the_old_file_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "a"
    write_bytes(target, b"old")

    def interrupted(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_bytes(target, b"new")
    assert target.read_bytes() == b"old"
    assert names(tmp_path) == ["a"]


def test_the_data_is_on_disk_before_the_name_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[str] = []
    real_fsync, real_replace = os.fsync, Path.replace

    def fsync(handle: int) -> None:
        steps.append("fsync")
        real_fsync(handle)

    def replace(source: Path, target: Path) -> Path:
        steps.append("replace")
        assert source.parent == target.parent
        assert source.read_bytes() == b"new"
        return real_replace(source, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Path, "replace", replace)
    write_bytes(tmp_path / "a", b"new")
    assert steps == ["fsync", "replace"]


def test_a_directory_is_not_replaced_and_is_named(tmp_path: Path) -> None:
    target = tmp_path / "a"
    target.mkdir()
    with pytest.raises(IsADirectoryError) as caught:
        write_bytes(target, b"x")
    assert caught.value.filename == str(target)
    assert names(tmp_path) == ["a"]


def test_a_file_in_place_of_the_folder_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x")
    with pytest.raises((FileExistsError, NotADirectoryError)):
        write_bytes(tmp_path / "a" / "b", b"x")
    assert (tmp_path / "a").read_bytes() == b"x"


def test_a_file_that_is_written_piece_by_piece_takes_its_name_at_the_end(tmp_path: Path) -> None:
    target = tmp_path / "new" / "a"
    with whole_file(target) as draft:
        draft.write_bytes(b"one")
        with draft.open("ab") as file:
            file.write(b" two")
        assert draft.parent == target.parent
        assert not target.exists()
    assert target.read_bytes() == b"one two"
    assert target.stat().st_mode & 0o777 == 0o644
    assert names(target.parent) == ["a"]


def test_a_block_that_raises_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "a"
    write_bytes(target, b"old")

    def broken() -> None:
        with whole_file(target) as draft:
            draft.write_bytes(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        broken()
    assert target.read_bytes() == b"old"
    assert names(tmp_path) == ["a"]
