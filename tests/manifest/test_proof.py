"""The accumulation proof against a plain set difference."""

from __future__ import annotations

import datetime as dt
import hashlib
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from collapse_guard.errors import ManifestError
from collapse_guard.manifest import (
    Level,
    Limits,
    Loss,
    Manifest,
    Takedowns,
    antijoin,
    build_manifest,
    load_manifest,
    lost_real_rows,
    manifest_of,
    new_rows_by_class,
    partition,
    prove_accumulation,
    shard_of,
    write_manifest,
)
from collapse_guard.manifest.index import index_of
from collapse_guard.manifest.loss import FILE_SCHEMA, MAX_IDS
from collapse_guard.manifest.takedowns import Takedown, digest_of
from collapse_guard.records import ID, SOURCE, Origin

if TYPE_CHECKING:
    from pathlib import Path

Entries = list[dict[str, Any]]
Rows = Callable[[Sequence[dict[str, Any]]], pa.Table]

ODD = ["'; DROP TABLE previous; --", "\U0001f408", "two\nlines", "", 'a "quoted" name', "\u00e9"]
NAMES = st.sampled_from(["web", "books", *ODD])
ENTRY = st.fixed_dictionaries(
    {
        "id": st.integers(0, 30),
        "label": st.one_of(st.none(), NAMES),
        "source": NAMES,
        "origin": st.sampled_from([0, 1, 1, 1, 2, 4, 9]),
    }
)
GENERATION = st.lists(ENTRY, min_size=1, max_size=40)


def of(rows: pa.Table) -> Manifest:
    return build_manifest(rows, name="n", generation=0, class_column="label")


def hex_id(number: int) -> str:
    return hashlib.sha256(str(number).encode()).hexdigest()[:32]


def plain_loss(
    before: list[dict[str, Any]], after: list[dict[str, Any]], scope: list[str] | None, exempt: list[str]
) -> set[tuple[str, str, str | None]]:
    """Return (id, source, class) of every lost row, by sets alone."""
    kept = {hex_id(entry["id"]) for entry in after if entry["origin"] == Origin.REAL}
    asked = {
        (hex_id(entry["id"]), entry["source"], entry["label"])
        for entry in before
        if entry["origin"] == Origin.REAL
        and (scope is None or entry["source"] in scope)
        and entry["source"] not in exempt
    }
    return {row for row in asked if row[0] not in kept}


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    before=GENERATION,
    after=GENERATION,
    kept=st.lists(st.booleans(), min_size=40, max_size=40),
    scope=st.one_of(st.none(), st.lists(NAMES, max_size=4)),
    exempt=st.lists(NAMES, max_size=3),
)
def test_the_proof_is_a_set_difference(
    tagged: Rows,
    before: list[dict[str, Any]],
    after: list[dict[str, Any]],
    kept: list[bool],
    scope: list[str] | None,
    exempt: list[str],
) -> None:
    child = after + [entry for entry, keep in zip(before, kept, strict=False) if keep]
    loss = lost_real_rows(of(tagged(before)), of(tagged(child)), scope=scope, exempt=exempt)
    expected = plain_loss(before, child, scope, exempt)
    assert loss.n_rows == len(expected)
    groups = Counter((source, label) for _, source, label in expected)
    assert {(source, label): rows for source, label, rows in loss.by_source_and_class} == groups
    ids = sorted({row[0] for row in expected})
    assert set(loss.ids) <= set(ids)
    assert len(loss.ids) <= MAX_IDS
    assert list(loss.ids) == sorted(loss.ids)
    if len(expected) == len(ids):
        assert list(loss.ids) == ids[:MAX_IDS]


@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(before=GENERATION, after=GENERATION, origin=st.sampled_from([Origin.REAL, Origin.SYNTHETIC]))
def test_new_rows_are_those_whose_id_the_parent_never_had(
    tagged: Rows, before: list[dict[str, Any]], after: list[dict[str, Any]], origin: Origin
) -> None:
    known = {entry["id"] for entry in before}
    expected = Counter(entry["label"] for entry in after if entry["origin"] == origin and entry["id"] not in known)
    assert new_rows_by_class(of(tagged(before)), of(tagged(after)), origin=origin) == expected


def test_a_generation_that_holds_every_real_row_lost_nothing(tagged: Rows) -> None:
    before: Entries = [{"id": n} for n in range(5)]
    after: Entries = [*before, {"id": 9, "origin": 2, "generator": "m"}]
    assert lost_real_rows(of(tagged(before)), of(tagged(after))) == Loss()


def test_a_real_row_that_became_synthetic_is_lost(tagged: Rows) -> None:
    before: Entries = [{"id": 1}, {"id": 2}]
    after: Entries = [{"id": 1}, {"id": 2, "origin": 2, "generator": "m"}]
    loss = lost_real_rows(of(tagged(before)), of(tagged(after)))
    assert (loss.n_rows, loss.ids) == (1, (hex_id(2),))


def test_a_real_row_that_stands_beside_its_synthetic_twin_is_kept(tagged: Rows) -> None:
    before: Entries = [{"id": 1}]
    after: Entries = [{"id": 1, "origin": 2, "source": "made"}, {"id": 1}]
    assert lost_real_rows(of(tagged(before)), of(tagged(after))) == Loss()


def test_a_real_row_that_moved_to_another_source_or_class_is_kept(tagged: Rows) -> None:
    before: Entries = [{"id": 1, "source": "web", "label": "cat"}]
    after: Entries = [{"id": 1, "source": "books", "label": "dog"}]
    assert lost_real_rows(of(tagged(before)), of(tagged(after))) == Loss()


def test_rows_of_the_parent_that_are_not_real_may_go(tagged: Rows) -> None:
    before: Entries = [{"id": 1}, *({"id": 2 + code, "origin": code} for code in (0, 2, 3, 4, 5))]
    assert lost_real_rows(of(tagged(before)), of(tagged([{"id": 1}]))) == Loss()


def test_lost_rows_are_grouped_with_the_largest_group_first(tagged: Rows) -> None:
    before: Entries = [
        *({"id": n, "source": "web", "label": "cat"} for n in range(3)),
        *({"id": n, "source": "web", "label": None} for n in range(3, 5)),
        {"id": 5, "source": "books", "label": "owl"},
    ]
    loss = lost_real_rows(of(tagged(before)), of(tagged([{"id": 99}])))
    assert loss.by_source_and_class == (("web", "cat", 3), ("web", None, 2), ("books", "owl", 1))
    assert loss.n_rows == 6


def test_at_most_ten_ids_are_shown_and_all_are_counted(tagged: Rows) -> None:
    before: Entries = [{"id": n} for n in range(25)]
    loss = lost_real_rows(of(tagged(before)), of(tagged([{"id": 99}])))
    assert loss.n_rows == 25
    assert loss.ids == tuple(sorted(hex_id(n) for n in range(25))[:10])


def test_an_id_that_two_sources_lost_is_shown_once(tagged: Rows) -> None:
    before: Entries = [{"id": 1, "source": "web"}, {"id": 1, "source": "books"}, {"id": 2, "source": "web"}]
    loss = lost_real_rows(of(tagged(before)), of(tagged([{"id": 99}])))
    assert loss.ids == tuple(sorted([hex_id(1), hex_id(2)]))


def test_scope_and_exempt_name_sources_and_an_empty_scope_holds_none(tagged: Rows) -> None:
    before: Entries = [{"id": n, "source": name} for n, name in enumerate(ODD)]
    first, after = of(tagged(before)), of(tagged([{"id": 99}]))
    for n, name in enumerate(ODD):
        assert lost_real_rows(first, after, scope=[name]).ids == (hex_id(n),)
        assert lost_real_rows(first, after, exempt=[name]).n_rows == len(ODD) - 1
        assert lost_real_rows(first, after, scope=[name], exempt=[name]) == Loss()
    assert lost_real_rows(first, after, scope=[]) == Loss()
    assert lost_real_rows(first, after, scope=["nowhere"]) == Loss()


def test_a_loss_is_described_in_one_line_whatever_the_classes_are_called(tagged: Rows) -> None:
    before: Entries = [{"id": n, "label": f"class\n{n}"} for n in range(7)]
    text = lost_real_rows(of(tagged(before)), of(tagged([{"id": 99}]))).describe()
    assert text.startswith("7 real rows lost: ")
    assert " and 2 more groups; ids " in text
    assert "\n" not in text


def test_one_lost_row_is_a_row(tagged: Rows) -> None:
    loss = lost_real_rows(of(tagged([{"id": 1, "label": None}])), of(tagged([{"id": 99}])))
    assert loss.describe() == f"1 real row lost: web/(no class) 1; ids {hex_id(1)}"


# The ladder

DAY = dt.date(2026, 3, 31)
SALT = bytes(range(16))


def sharded(rows: Rows, shards: Sequence[Entries], **options: Any) -> Manifest:
    """Return a manifest with one shard per list of entries; entries of a shard have one source."""
    parts = [
        shard_of(index_of(rows(entries), class_column="label"), name=f"#{number:03}")
        for number, entries in enumerate(shards)
        if entries
    ]
    said: dict[str, Any] = {"name": "n", "generation": 0, "class_column": "label"}
    return manifest_of(parts, **(said | options))


def real(first: int, stop: int, **tags: Any) -> Entries:
    return [{"id": n} | tags for n in range(first, stop)]


def made(first: int, stop: int) -> Entries:
    return [{"id": n, "source": "made", "origin": 2, "generator": "m"} for n in range(first, stop)]


def takedowns(*numbers: int, reason: str = "erasure 1") -> Takedowns:
    digests = [digest_of(SALT, bytes.fromhex(hex_id(number))) for number in numbers]
    return Takedowns(SALT, tuple(Takedown(digest, reason, DAY) for digest in digests))


def only_header(manifest: Manifest, path: Path) -> Manifest:
    """Return the manifest from disk with every part gone."""
    write_manifest(manifest, path)
    shutil.rmtree(path.parent / load_manifest(path).header.index.folder)
    return load_manifest(path)


def test_an_equal_root_proves_everything_without_opening_a_part(tagged: Rows, tmp_path: Path) -> None:
    before = only_header(sharded(tagged, [real(0, 5), real(5, 9)]), tmp_path / "a.cgm.json")
    after = only_header(sharded(tagged, [made(50, 60), real(5, 9), real(0, 5)]), tmp_path / "b.cgm.json")
    proof = prove_accumulation(before, after)
    assert (proof.level, proof.holds, proof.loss) == (Level.ROOT, True, Loss())
    assert (proof.n_real_rows_before, proof.n_changed_shards, proof.n_compared_rows) == (9, 0, 0)
    assert proof.describe() == "every real row is kept (of 9, by the root digest)"


def test_shards_that_are_found_again_prove_everything_without_opening_a_part(tagged: Rows, tmp_path: Path) -> None:
    before = only_header(sharded(tagged, [real(0, 5), real(5, 9)]), tmp_path / "a.cgm.json")
    after = only_header(sharded(tagged, [real(5, 9), real(20, 30), real(0, 5)]), tmp_path / "b.cgm.json")
    proof = prove_accumulation(before, after)
    assert (proof.level, proof.holds, proof.n_compared_rows) == (Level.SHARDS, True, 0)


def test_rows_are_compared_where_a_shard_changed_and_nowhere_else(tagged: Rows, tmp_path: Path) -> None:
    before = write_manifest(sharded(tagged, [real(0, 5), real(5, 9)]), tmp_path / "a.cgm.json")
    after = write_manifest(sharded(tagged, [real(5, 9), real(0, 6)]), tmp_path / "b.cgm.json")
    kept = [shard for shard in after.shards if shard.entry.real_digest == before.shards[1].entry.real_digest]
    for shard in (before.shards[1], *kept):
        assert shard.path is not None
        shard.path.unlink()
    proof = prove_accumulation(load_manifest(tmp_path / "a.cgm.json"), load_manifest(tmp_path / "b.cgm.json"))
    assert (proof.level, proof.holds) == (Level.ROWS, True)
    assert (proof.n_real_rows_before, proof.n_changed_shards, proof.n_compared_rows) == (9, 1, 5)


def test_a_row_that_only_an_unchanged_shard_holds_is_kept(tagged: Rows) -> None:
    before = sharded(tagged, [real(0, 5), real(4, 9, source="books")])
    after = sharded(tagged, [real(0, 4), real(4, 9, source="books")])
    proof = prove_accumulation(before, after)
    assert (proof.level, proof.holds, proof.n_compared_rows) == (Level.ROWS, True, 5)
    assert lost_real_rows(before, sharded(tagged, [real(0, 4), real(5, 9)])).ids == (hex_id(4),)


def test_a_row_that_moved_to_another_shard_is_kept(tagged: Rows) -> None:
    before = sharded(tagged, [real(0, 5), real(5, 10)])
    after = sharded(tagged, [real(0, 3), real(3, 10), made(40, 50)])
    assert prove_accumulation(before, after).holds


def test_synthetic_rows_in_a_shard_do_not_change_its_real_digest(tagged: Rows) -> None:
    before = sharded(tagged, [real(0, 5)])
    after = sharded(tagged, [[*real(0, 5), {"id": 9, "origin": 2, "generator": "m"}]])
    assert prove_accumulation(before, after).level is Level.ROOT


def test_a_shard_out_of_scope_may_go_and_does_not_ask_for_rows(tagged: Rows, tmp_path: Path) -> None:
    before = only_header(sharded(tagged, [real(0, 5), real(5, 9, source="cache")]), tmp_path / "a.cgm.json")
    after = only_header(sharded(tagged, [real(0, 5)]), tmp_path / "b.cgm.json")
    for scope, exempt in ((["web"], ()), (None, ["cache"])):
        proof = prove_accumulation(before, after, scope=scope, exempt=exempt)
        assert (proof.level, proof.n_real_rows_before) == (Level.SHARDS, 5)
    with pytest.raises(ManifestError, match="no such part"):
        prove_accumulation(before, after)


def test_ids_of_another_rule_are_refused_with_both_rules(tagged: Rows) -> None:
    before = sharded(tagged, [real(0, 5)], id_rule="sha256-128/text-nfc/1[body]")
    after = sharded(tagged, [real(0, 5)])
    for compare in (
        lambda: prove_accumulation(before, after),
        lambda: new_rows_by_class(before, after, origin=Origin.REAL),
    ):
        with pytest.raises(ManifestError, match=r"text-nfc/1\[body\]' in n and .*record-json-nfc/1' in n") as caught:
            compare()
        assert "\n" not in str(caught.value)


SHARDS = st.lists(st.tuples(NAMES, st.lists(ENTRY, min_size=1, max_size=8)), min_size=1, max_size=6)


def laid_out(shards: list[tuple[str, Entries]]) -> list[Entries]:
    return [[entry | {"source": source} for entry in entries] for source, entries in shards]


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    before=SHARDS,
    after=SHARDS,
    kept=st.lists(st.sampled_from(["whole", "but one", "gone", "other source"]), min_size=6, max_size=6),
    scope=st.one_of(st.none(), st.lists(NAMES, max_size=4)),
    exempt=st.lists(NAMES, max_size=2),
    taken=st.sets(st.integers(0, 30), max_size=8),
    cut=st.tuples(st.integers(1, 40), st.sampled_from([0, 1 << 18])),
)
def test_the_ladder_is_a_set_difference_whatever_the_shards(
    tagged: Rows,
    before: list[tuple[str, Entries]],
    after: list[tuple[str, Entries]],
    kept: list[str],
    scope: list[str] | None,
    exempt: list[str],
    taken: set[int],
    cut: tuple[int, int],
) -> None:
    first = laid_out(before)
    fate: dict[str, Callable[[Entries], Entries]] = {
        "whole": lambda entries: entries,
        "but one": lambda entries: entries[1:],
        "gone": lambda _: [],
        "other source": lambda entries: [entry | {"source": "moved", "label": "other"} for entry in entries],
    }
    second = laid_out(after) + [fate[how](entries) for how, entries in zip(kept, first, strict=False)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(partition, "RANGE_ROWS", cut[0])
        patch.setattr(antijoin, "_SMALL_ROWS", cut[1])
        proof = prove_accumulation(
            sharded(tagged, first), sharded(tagged, second), scope=scope, exempt=exempt, takedowns=takedowns(*taken)
        )
    flat, child = ([entry for entries in shards for entry in entries] for shards in (first, second))
    expected = plain_loss(flat, child, scope, exempt)
    covered = {row for row in expected if row[0] in {hex_id(number) for number in taken}}
    for loss, rows in ((proof.loss, expected - covered), (proof.taken_down, covered)):
        assert loss.n_rows == len(rows)
        groups = Counter((source, label) for _, source, label in rows)
        assert {(source, label): n_rows for source, label, n_rows in loss.by_source_and_class} == groups
    assert proof.loss.ids == tuple(sorted({row[0] for row in expected - covered})[:MAX_IDS])
    assert proof.taken_down.ids == ()
    assert proof.holds == (not expected - covered)
    assert proof.level is Level.ROWS or not expected


# Takedowns, the file of lost rows, limits


def test_a_takedown_excuses_a_loss_and_is_counted_by_reason_and_date(tagged: Rows) -> None:
    listed = takedowns(1, 2)
    other = takedowns(3, reason="court order 7").records
    taken = Takedowns(SALT, (*listed.records, *other))
    before = sharded(tagged, [real(0, 10)])
    proof = prove_accumulation(before, sharded(tagged, [[{"id": 0}, *real(4, 10)]]), takedowns=taken)
    assert proof.holds
    assert proof.taken_down == Loss(3, (("web", "cat", 3),))
    assert proof.by_takedown == (("erasure 1", "2026-03-31", 2), ("court order 7", "2026-03-31", 1))
    assert (
        proof.describe()
        == "every real row is kept; 3 rows left under takedowns (of 10, by 10 rows of 1 changed shards)"
    )
    short = prove_accumulation(before, sharded(tagged, [real(5, 10)]), takedowns=taken)
    assert (short.holds, short.loss.n_rows, short.taken_down.n_rows) == (False, 2, 3)
    assert short.loss.ids == tuple(sorted([hex_id(0), hex_id(4)]))


def test_every_lost_row_is_in_the_file_and_ids_are_as_data_sets_carry_them(tagged: Rows, tmp_path: Path) -> None:
    before = sharded(tagged, [real(0, 300), real(300, 303, source=ODD[0], label=None)])
    path = tmp_path / "new" / "lost.parquet"
    proof = prove_accumulation(before, sharded(tagged, [real(280, 300)]), takedowns=takedowns(0), lost_to=path)
    lost = pq.read_table(path)
    assert lost.schema.equals(FILE_SCHEMA)
    assert lost.num_rows == proof.loss.n_rows == 282
    ids = [value.hex() for value in lost.column(ID).to_pylist()]
    assert ids == sorted(ids)
    assert set(ids) == {hex_id(n) for n in (*range(1, 280), 300, 301, 302)}
    assert tuple(ids[:MAX_IDS]) == proof.loss.ids
    odd = [row for row in lost.to_pylist() if row["class"] is None]
    assert {row[SOURCE] for row in odd} == {ODD[0]}
    assert [name.name for name in path.parent.iterdir()] == ["lost.parquet"]


def test_the_file_of_lost_rows_is_empty_if_nothing_was_lost(tagged: Rows, tmp_path: Path) -> None:
    before = sharded(tagged, [real(0, 3)])
    prove_accumulation(before, before, lost_to=tmp_path / "lost.parquet")
    assert pq.read_table(tmp_path / "lost.parquet").num_rows == 0


def test_a_proof_that_fails_leaves_the_older_file(tagged: Rows, tmp_path: Path) -> None:
    before = write_manifest(sharded(tagged, [real(0, 3)]), tmp_path / "a.cgm.json")
    assert before.shards[0].path is not None
    before.shards[0].path.unlink()
    (tmp_path / "lost.parquet").write_bytes(b"old")
    with pytest.raises(ManifestError, match="no such part"):
        prove_accumulation(before, sharded(tagged, [real(1, 3)]), lost_to=tmp_path / "lost.parquet")
    assert (tmp_path / "lost.parquet").read_bytes() == b"old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.cgm.json", "a.index", "lost.parquet"]


def test_limits_do_not_change_the_answer(tagged: Rows, tmp_path: Path) -> None:
    before, after = sharded(tagged, [real(0, 3000)]), sharded(tagged, [real(100, 3000)])
    free = prove_accumulation(before, after)
    held = prove_accumulation(before, after, limits=Limits("50MB", 1, tmp_path / "spill"))
    assert held == free
    assert held.loss.n_rows == 100


@pytest.mark.parametrize("damage", ["missing", "cut", "noise", "renamed", "other columns"])
def test_a_damaged_part_is_one_clear_error_that_names_it(tagged: Rows, tmp_path: Path, damage: str) -> None:
    before = write_manifest(sharded(tagged, [real(0, 2000), real(2000, 2100)]), tmp_path / "a.cgm.json")
    after = write_manifest(sharded(tagged, [real(1, 2000)]), tmp_path / "b.cgm.json")
    path, other = (shard.path for shard in before.shards)
    assert path is not None
    assert other is not None
    if damage == "missing":
        path.unlink()
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:-100])
    elif damage == "noise":
        data = bytearray(path.read_bytes())
        data[4:2000] = b"\xff" * 1996
        path.write_bytes(data)
    elif damage == "renamed":
        path.write_bytes(other.read_bytes())
    else:
        pq.write_table(pa.table({"id": [1]}), path)
    with pytest.raises(ManifestError) as caught:
        prove_accumulation(load_manifest(tmp_path / "a.cgm.json"), after)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_proof_tells_itself_in_plain_values(tagged: Rows) -> None:
    before = sharded(tagged, [real(0, 3, label=None)])
    assert prove_accumulation(before, sharded(tagged, [real(1, 3)])).as_dict() == {
        "level": "rows",
        "holds": False,
        "summary": "1 real row lost (of 3, by 3 rows of 1 changed shards)",
        "n_real_rows_before": 3,
        "n_changed_shards": 1,
        "n_compared_rows": 3,
        "n_lost_rows": 1,
        "lost_by": [["web", None, 1]],
        "lost_ids": [hex_id(0)],
        "n_taken_down_rows": 0,
        "taken_down_by": [],
    }
