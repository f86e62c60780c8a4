"""Parts that no manifest names, and index folders that are links."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest
from filelock import FileLock
from typer.testing import CliRunner, Result

from collapse_guard.cli import app
from collapse_guard.errors import ManifestError
from collapse_guard.gate import check
from collapse_guard.manifest import load_manifest, write_manifest
from collapse_guard.manifest.inventory import take_inventory
from collapse_guard.manifest.parts import remove_unnamed_parts, unnamed_parts
from collapse_guard.manifest.verifying import verify_manifest
from collapse_guard.records import Status
from tests.manifest.test_repeated import of

if TYPE_CHECKING:
    from pathlib import Path

    from collapse_guard.manifest import Manifest


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


@pytest.fixture
def twice(tmp_path: Path) -> Manifest:
    """A manifest that was written over another one: its folder holds a part of each."""
    path = tmp_path / "gen0.cgm.json"
    write_manifest(of([("web", [(1, 1, 1)])]), path)
    write_manifest(of([("web", [(2, 2, 1)])]), path)
    return load_manifest(path)


def names(paths: tuple[Path, ...]) -> list[str]:
    return [path.name for path in paths]


def left(manifest: Manifest) -> tuple[Path, ...]:
    assert manifest.path is not None
    return unnamed_parts(manifest.path, manifest.folder)


def test_a_part_of_a_header_that_was_replaced_is_told_and_removed(twice: Manifest) -> None:
    old = of([("web", [(1, 1, 1)])]).shards[0].entry.part
    assert names(left(twice)) == [old]
    assert verify_manifest(twice).unnamed_parts == (old,)
    assert verify_manifest(twice).holds
    assert twice.path is not None
    assert names(remove_unnamed_parts(twice.path, twice.folder)) == [old]
    assert left(twice) == ()
    assert twice.verify() == ()


@pytest.mark.parametrize("name", ["gen0.json", "gen0", "kept.bak", ".hidden"])
def test_a_part_of_another_header_stays_whatever_it_is_called(tmp_path: Path, name: str) -> None:
    path = tmp_path / "gen0.cgm.json"
    first = write_manifest(of([("web", [(1, 1, 1)])]), path)
    shutil.copy(path, tmp_path / name)
    second = write_manifest(of([("web", [(2, 2, 1)])]), path)
    assert remove_unnamed_parts(path, second.folder) == ()
    assert load_manifest(tmp_path / name).verify() == load_manifest(path).verify() == ()
    assert first.shards[0].path is not None
    assert first.shards[0].path.exists()


def test_a_part_of_a_header_of_another_version_stays(twice: Manifest, tmp_path: Path) -> None:
    old = names(left(twice))[0].removesuffix(".parquet")
    (tmp_path / "later.cgm.json").write_text(json.dumps({"schema": "collapse-guard/manifest/9", "parts": {old: 1}}))
    assert left(twice) == ()


def test_a_digest_across_two_reads_is_found(twice: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = names(left(twice))[0].removesuffix(".parquet")
    (tmp_path / "other.json").write_text(f'{{"a": "{"x" * 57}{old}"}}')
    for n_bytes in (64, 65, 80, 100, 127, 128):
        monkeypatch.setattr("collapse_guard.manifest.parts._READ_BYTES", n_bytes)
        assert left(twice) == (), n_bytes


def test_finished_files_of_a_write_that_was_stopped_stay(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    for name in "ab":
        (tmp_path / "data" / f"{name}.jsonl").write_text(f'{{"text": "{name}"}}\n')
    path = tmp_path / "gen0.cgm.json"
    made = take_inventory(tmp_path / "data", to=path, source="web", origin="real")
    (tmp_path / "data" / "a.jsonl").write_text('{"text": "new"}\n')
    (tmp_path / "data" / "b.jsonl").write_text("broken")
    with pytest.raises(ValueError, match=r"b\.jsonl"):
        take_inventory(tmp_path / "data", to=path, source="web", origin="real")
    assert len(list(made.folder.glob("*.parquet"))) == 3
    assert left(load_manifest(path)) == ()


def test_nothing_is_removed_while_another_process_writes(twice: Manifest) -> None:
    assert twice.path is not None
    with (
        FileLock(twice.folder.with_name(".gen0.index.lock")),
        pytest.raises(ManifestError, match="another process is writing"),
    ):
        remove_unnamed_parts(twice.path, twice.folder)
    assert len(left(twice)) == 1


def test_the_command_lists_and_removes(twice: Manifest) -> None:
    path, old = str(twice.path), names(left(twice))[0]
    assert f"collapse-guard manifest prune {path}" in run("manifest", "verify", path).output
    listed = run("manifest", "prune", path)
    assert (listed.exit_code, listed.output.splitlines()) == (
        0,
        ["1 part named by no manifest; --remove removes them", old],
    )
    gone = json.loads(run("manifest", "prune", path, "--remove", "--output-format", "json").output)
    assert (gone["removed"], gone["parts"]) == (True, [old])
    assert run("manifest", "prune", path).output == f"{path}: every part is named by a manifest\n"
    assert "prune" not in run("manifest", "verify", path).output


@pytest.fixture
def linked(tmp_path: Path) -> Path:
    """A manifest whose index folder is a link to a folder elsewhere."""
    path = tmp_path / "repo" / "gen0.cgm.json"
    written = write_manifest(of([("web", [(1, 1, 1)])]), path)
    shutil.move(written.folder, tmp_path / "elsewhere")
    written.folder.symlink_to(tmp_path / "elsewhere")
    return path


def test_an_index_folder_that_is_a_link_to_elsewhere_is_refused(linked: Path, tmp_path: Path) -> None:
    message = r"gen0\.index: a link that leaves the folder of its manifest; put the index folder itself there"
    with pytest.raises(ManifestError, match=message):
        load_manifest(linked)
    with pytest.raises(ManifestError, match=message):
        write_manifest(of([("web", [(2, 2, 1)])]), linked)
    (tmp_path / "rows.csv").write_text("text\na\n")
    with pytest.raises(ManifestError, match=message):
        take_inventory(tmp_path / "rows.csv", to=linked, source="web", origin="real")
    (tmp_path / "policy.yaml").write_text("version: 1\nextends: preset:starter@1\n")
    result = check(tmp_path / "policy.yaml", linked)
    failed = [finding.code for finding in result.findings if finding.status is Status.FAIL]
    assert (result.exit_code, failed) == (2, ["CG003"])


def test_links_of_single_parts_are_followed_as_dvc_makes_them(linked: Path) -> None:
    folder = linked.with_name("gen0.index")
    cache = folder.resolve()
    folder.unlink()
    folder.mkdir()
    for part in cache.iterdir():
        (folder / part.name).symlink_to(part)
    loaded = load_manifest(linked)
    assert loaded.verify() == ()
    assert loaded.rows_by("origin") == {(1,): 1}
    assert unnamed_parts(linked, folder) == ()


def test_a_link_within_the_folder_and_a_folder_behind_a_link_are_followed(linked: Path, tmp_path: Path) -> None:
    folder = linked.with_name("gen0.index")
    shutil.move(folder.resolve(), linked.parent / "..data")
    folder.unlink()
    folder.symlink_to("..data")
    assert load_manifest(linked).verify() == ()
    (tmp_path / "short").symlink_to(linked.parent)
    assert load_manifest(tmp_path / "short" / linked.name).verify() == ()
    (tmp_path / "alone.cgm.json").symlink_to(linked)
    assert load_manifest(linked).digest == load_manifest(tmp_path / "alone.cgm.json").digest
