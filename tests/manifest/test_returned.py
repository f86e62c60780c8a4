"""Rows that were taken down and are back: both ways to look for them find the same."""

from __future__ import annotations

import datetime as dt
import secrets
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collapse_guard.kernels import id_hex
from collapse_guard.manifest import (
    Limits,
    Loss,
    Manifest,
    Takedowns,
    load_manifest,
    returned,
    taken_down_rows,
    write_manifest,
)
from tests.manifest.test_repeated import SHARDS, Shards, of

if TYPE_CHECKING:
    from pathlib import Path

WORDS = st.tuples(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))


def listed(ids: list[tuple[int, int]], salt: bytes = b"\x00\xff" * 8) -> Takedowns:
    return Takedowns(salt).adding([id_hex(hi, lo) for hi, lo in ids], reason="118", date=dt.date(2026, 1, 2))


@settings(max_examples=40, deadline=None, derandomize=True)
@given(SHARDS, st.data(), st.binary(min_size=16, max_size=16))
def test_a_query_finds_what_hashing_row_by_row_finds(shards: Shards, data: st.DataObject, salt: bytes) -> None:
    here = sorted({(hi, lo) for _, ids in shards for hi, lo, _ in ids})
    gone = data.draw(st.lists(st.sampled_from(here) | WORDS, min_size=1, max_size=6))
    manifest, taken = of(shards), listed(gone, salt)
    by_shard, by_query = returned._by_shard(manifest, taken), returned._by_query(manifest, taken, None)
    assert by_shard == by_query
    assert by_shard.n_rows == sum((hi, lo) in gone for _, ids in shards for hi, lo, _ in ids)


def written(path: Path) -> Manifest:
    write_manifest(of([("web", [(n, n, 1) for n in range(50)]), ("books", [(7, 7, 2)])]), path)
    return load_manifest(path)


@pytest.mark.parametrize("bulk_rows", [1, 1 << 30])
def test_rows_of_a_written_manifest_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bulk_rows: int) -> None:
    monkeypatch.setattr(returned, "BULK_ROWS", bulk_rows)
    manifest = written(tmp_path / "gen0.cgm.json")
    salt = secrets.token_bytes(16)
    found = taken_down_rows(manifest, listed([(7, 7), (9, 9), (9, 8)], salt), limits=Limits("200MB", 1))
    assert found.n_rows == 3
    assert found.by_source_and_class == (("web", None, 2), ("books", None, 1))
    assert found.ids == (id_hex(7, 7), id_hex(9, 9))
    assert taken_down_rows(manifest, listed([(9, 8)], salt)) == Loss()
    assert taken_down_rows(manifest, Takedowns(salt)) == Loss()


def test_another_salt_finds_nothing() -> None:
    manifest = of([("web", [(7, 7, 1)])])
    taken = listed([(7, 7)])
    other = Takedowns(bytes(16), taken.records)
    assert returned._by_query(manifest, taken, None).n_rows == 1
    assert returned._by_query(manifest, other, None) == returned._by_shard(manifest, other) == Loss()
