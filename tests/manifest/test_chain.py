"""The generations behind a manifest, found by the digests that headers name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from collapse_guard.errors import ManifestError
from collapse_guard.manifest import Manifest, ParentLink, build_manifest, write_manifest
from collapse_guard.manifest.chain import ancestry, chain_of

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def write(tagged: Any, tmp_path: Path) -> Any:
    def made(folder: str, sources: dict[str, int], *parents: Manifest) -> Manifest:
        rows: list[dict[str, Any]] = [
            {"id": f"{name}{n}", "source": name} for name, size in sources.items() for n in range(size)
        ]
        rows += [{"id": f"{folder}{n}", "source": "own", "origin": 2, "generation": 1} for n in range(len(parents))]
        links = [ParentLink(name=parent.header.name, digest=parent.digest) for parent in parents]
        generation = 1 + max((parent.header.generation for parent in parents), default=-1)
        built = build_manifest(tagged(rows), name=folder, generation=generation, parents=links)
        return write_manifest(built, tmp_path / folder / "manifest.cgm.json")

    return made


def test_a_chain_is_found_in_folders_side_by_side(write: Any) -> None:
    first = write("gen0", {"web": 3})
    second = write("gen1", {"web": 3, "books": 1}, first)
    third = write("gen2", {"web": 3}, second)
    links = chain_of(third.path)
    assert [link.header.name for link in links] == ["gen0", "gen1", "gen2"]
    assert [link.new_real_sources for link in links] == [("web",), ("books",), ()]
    assert [link.lost_real_sources for link in links] == [(), (), ("books",)]
    assert not any(link.missing for link in links)
    figures = links[2].as_dict()
    assert (figures["origin_rows"], figures["real_share"]) == ({"real": 3, "synthetic": 1}, 0.75)


def test_a_parent_that_is_nowhere_is_said(write: Any, tmp_path: Path) -> None:
    first = write("gen0", {"web": 3})
    second = write("gen1", {"web": 3}, first)
    first.path.rename(first.path.with_name("away.json"))
    (only,) = chain_of(second.path)
    assert [parent.digest for parent in only.missing] == [first.digest]
    assert only.new_real_sources == ()
    archive = tmp_path / "deep" / "archive"
    archive.mkdir(parents=True)
    first.path.with_name("away.json").rename(archive / "old.cgm.json")
    assert [link.header.name for link in chain_of(second.path, [archive])] == ["gen0", "gen1"]


def test_two_parents_come_before_their_child_and_a_shared_one_once(write: Any) -> None:
    root = write("root", {"web": 1})
    left, right = write("left", {"web": 1, "a": 1}, root), write("right", {"web": 1, "b": 1}, root)
    both = write("both", {"web": 1, "a": 1, "b": 1}, left, right)
    names = [link.header.name for link in chain_of(both.path)]
    assert names == ["root", "left", "right", "both"]


def test_files_that_are_no_headers_are_passed_by(write: Any) -> None:
    first = write("gen0", {"web": 1})
    first.path.with_name("broken.cgm.json").write_text("{")
    first.path.with_name("older.cgm.json").write_text('{"schema": "collapse-guard/manifest/1"}')
    assert len(chain_of(first.path)) == 1


def test_a_copy_of_a_parent_counts_once(write: Any, tmp_path: Path) -> None:
    first = write("gen0", {"web": 1})
    second = write("gen1", {"web": 1}, first)
    (tmp_path / "gen1" / "parent.cgm.json").write_bytes(first.path.read_bytes())
    assert len(chain_of(second.path)) == 2


def test_a_circle_is_refused() -> None:
    with pytest.raises(ManifestError, match="a is its own ancestor"):
        ancestry("a", {"a": ["b"], "b": ["c"], "c": ["a"]})


def test_a_long_chain_needs_no_recursion() -> None:
    size = 20_000
    order = ancestry(str(size), {str(n): [str(n - 1)] for n in range(1, size + 1)} | {"0": []})
    assert order == [str(n) for n in range(size + 1)]


def test_a_folder_that_is_not_there_is_refused(write: Any, tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="no such folder"):
        chain_of(write("gen0", {"web": 1}).path, [tmp_path / "none"])


def test_a_manifest_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="no such file"):
        chain_of(tmp_path / "none.cgm.json")
