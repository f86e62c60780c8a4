"""Several manifests become one: every shard once, nothing lost, nothing that cannot be counted together."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from collapse_guard.errors import ManifestError
from collapse_guard.manifest import Manifest, ParentLink, build_manifest, load_manifest, write_manifest
from collapse_guard.manifest.header import CellReceipt, FilterReceipt, TakedownEntry
from collapse_guard.manifest.merging import merge_manifests

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

FACTS: dict[str, Any] = {"generation": 0, "class_column": "label"}


def entries(*ids: object, **tags: Any) -> list[dict[str, Any]]:
    return [{"id": each} | tags for each in ids]


@pytest.fixture
def build(tagged: Any) -> Any:
    def made(rows: Sequence[dict[str, Any]], name: str = "gen0", **facts: Any) -> Manifest:
        return build_manifest(tagged(rows), name=name, **(FACTS | facts))

    return made


def rows_of(manifest: Manifest) -> Counter[tuple[Any, ...]]:
    return Counter(tuple(row.values()) for row in manifest.index.to_pylist())


def test_the_rows_are_those_of_all(build: Any) -> None:
    web = build(entries(1, 2, 3))
    own = build(entries(4, 5, source="own", origin=2, generation=1, generator="m@1"), "own", generation=1)
    merged = merge_manifests([web, own], name="gen1")
    assert rows_of(merged) == rows_of(web) + rows_of(own)
    assert (merged.header.generation, merged.header.name) == (1, "gen1")
    assert [source.name for source in merged.header.sources] == ["own", "web"]
    assert merged.verify() == ()


def test_a_merge_under_a_parent_is_the_generation_after_it(build: Any) -> None:
    before = build(entries(1, 2), generation=3)
    own = build(entries(3, source="own", origin=2, generation=1, generator="m@1"), "own")
    merged = merge_manifests([before, own], name="gen4", parent=before)
    assert merged.header.generation == 4
    assert merged.header.parents == (ParentLink(name="gen0", digest=before.digest),)
    with pytest.raises(ManifestError, match="name one of the two"):
        merge_manifests([before, own], name="gen4", parent=before, generation=7)
    with pytest.raises(ManifestError, match="they are not comparable"):
        merge_manifests([own], name="x", parent=build(entries(1), id_rule="sha256-128/text-nfc/1[text]"))


def test_the_order_of_manifests_does_not_matter(build: Any) -> None:
    web, own = build(entries(1, 2)), build(entries(3, source="own"))
    one, two = (merge_manifests(order, name="m") for order in ([web, own], [own, web]))
    assert one.digest == two.digest


def test_an_equal_shard_is_counted_once(build: Any) -> None:
    both = entries(1, 2)
    left = build([*both, *entries(3, source="a")])
    right = build([*both, *entries(4, source="b")])
    merged = merge_manifests([left, right, left], name="m")
    assert merged.n_rows == 4
    assert len(merged.shards) == 3


def test_merging_with_itself_changes_nothing(build: Any) -> None:
    manifest = build(entries(1, 2, 3))
    assert merge_manifests([manifest, manifest], name=manifest.header.name).digest == manifest.digest


def test_a_shard_that_is_repeated_on_purpose_stays_repeated(build: Any) -> None:
    manifest = build(entries(1, 2))
    (shard,) = manifest.shards
    twice = [
        type(shard)(shard.entry.model_copy(update={"name": name}), shard.table) for name in ("web#0", "web#0 again")
    ]
    repeated = Manifest(manifest.header, None, tuple(twice))
    assert merge_manifests([repeated, manifest], name="m").n_rows == 4
    assert merge_manifests([manifest, repeated], name="m").n_rows == 4


def test_shards_of_one_name_are_told_apart(build: Any) -> None:
    parts = [build(entries(number), "part") for number in range(3)]
    names = [shard.entry.name for shard in merge_manifests(parts, name="m").shards]
    assert names == ["part/web#0", "part/web#0 (2)", "part/web#0 (3)"]


def test_written_parts_are_linked(build: Any, tmp_path: Path) -> None:
    paths = [tmp_path / "a" / "one.cgm.json", tmp_path / "b" / "two.cgm.json"]
    for number, path in enumerate(paths):
        write_manifest(build(entries(number), path.name), path)
    merged = write_manifest(merge_manifests([load_manifest(path) for path in paths], name="m"), tmp_path / "m.cgm.json")
    assert load_manifest(tmp_path / "m.cgm.json").verify() == ()
    for shard in merged.shards:
        assert shard.path is not None
        assert shard.path.stat().st_nlink == 2


def test_parents_and_receipts_are_those_of_all(build: Any) -> None:
    parents = [ParentLink(name=name, digest=f"sha256:{name * 64}") for name in "ab"]
    receipts = [
        FilterReceipt(
            source=name, filter="f", spec_id=f"sha256:{'0' * 64}", cells=(CellReceipt(cell="c", rows=2, kept_rows=1),)
        )
        for name in "ab"
    ]
    one = build(entries(1), parents=parents[:1], filters=receipts[:1], policy_digest=f"sha256:{'1' * 64}")
    two = build(entries(2), parents=parents, filters=receipts, policy_digest=f"sha256:{'2' * 64}")
    merged = merge_manifests([one, two], name="m").header
    assert merged.parents == tuple(parents)
    assert merged.filters == tuple(receipts)
    assert merged.policy_digest is None
    assert merge_manifests([one, one], name="m").header.policy_digest == one.header.policy_digest


@pytest.mark.parametrize(
    ("facts", "key"),
    [
        ({"id_rule": "sha256-128/text-nfc/1[text]"}, "id_rule"),
        ({"unit": "tokens"}, "unit"),
        ({"class_column": None}, "class_column"),
    ],
)
def test_what_cannot_be_counted_together_is_refused(build: Any, facts: dict[str, Any], key: str) -> None:
    with pytest.raises(ManifestError, match=f"{key} is "):
        merge_manifests([build(entries(1)), build(entries(2), **facts)], name="m")


def test_lists_of_takedowns_must_agree(build: Any) -> None:
    lists = [TakedownEntry(digest=f"sha256:{digit * 64}", rows=1) for digit in "12"]
    one, two = (build(entries(number), takedowns=each) for number, each in enumerate(lists))
    with pytest.raises(ManifestError, match="different lists of takedowns"):
        merge_manifests([one, two], name="m")
    assert merge_manifests([one, build(entries(3))], name="m").header.takedowns == lists[0]


def test_nothing_to_merge_is_refused() -> None:
    with pytest.raises(ManifestError, match="at least one"):
        merge_manifests([], name="m")
