"""Kernels against their definitions, written again with the standard library."""

from __future__ import annotations

import datetime as dt
import hashlib
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collapse_guard.errors import CellError, ProvenanceError
from collapse_guard.kernels import (
    canonical_bytes,
    class_names,
    hash_order,
    id_hex,
    id_words,
    sha256_hex,
)

WORDS = st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=30, unique=True)
MASK = 2**64 - 1


def mixed(word: int) -> int:
    """SplitMix64's finaliser on Python integers."""
    word = (word ^ (word >> 30)) * 0xBF58476D1CE4E5B9 & MASK
    word = (word ^ (word >> 27)) * 0x94D049BB133111EB & MASK
    return word ^ (word >> 31)


def test_the_finaliser_used_here_is_that_of_splitmix64() -> None:
    assert mixed(0x9E3779B97F4A7C15) == 0xE220A8397B1DCDAF, "first output of SplitMix64 for seed 0"


@settings(max_examples=60, derandomize=True, deadline=None)
@given(words=WORDS, seed=st.integers(-(2**70), 2**70))
def test_the_order_of_rows_is_that_of_their_seeded_hashes(words: list[int], seed: int) -> None:
    high, low = np.array(words, dtype=np.uint64), np.array(words[::-1], dtype=np.uint64)
    salt = mixed(((seed & MASK) + 0x9E3779B97F4A7C15) & MASK)

    def key(row: int) -> int:
        return mixed((mixed(words[row] ^ salt) + words[len(words) - 1 - row]) & MASK)

    assert hash_order(high, low, seed=seed).tolist() == sorted(range(len(words)), key=key)


@settings(max_examples=60, derandomize=True, deadline=None)
@given(words=WORDS, data=st.data())
def test_added_rows_never_change_the_order_of_those_before(words: list[int], data: st.DataObject) -> None:
    n_before = data.draw(st.integers(1, len(words)))
    ids = np.array(words, dtype=np.uint64)
    whole = hash_order(ids, ids, seed=4).tolist()
    assert [row for row in whole if row < n_before] == hash_order(ids[:n_before], ids[:n_before], seed=4).tolist()


def test_another_seed_gives_another_order() -> None:
    ids = np.arange(200, dtype=np.uint64)
    orders = {tuple(hash_order(ids, ids, seed=seed).tolist()) for seed in range(5)}
    assert len(orders) == 5


def test_values_of_another_type_have_another_form() -> None:
    day = dt.date(2024, 1, 2)
    values: list[Any] = [1, 1.0, "1", True, None, b"1", Decimal(1), [1], {"a": 1}, day, dt.datetime(2024, 1, 2)]  # noqa: DTZ001 - a naive stamp is another type on purpose
    assert len({canonical_bytes(value) for value in values}) == len(values)


@settings(max_examples=40, derandomize=True, deadline=None)
@given(ids=st.lists(st.binary(min_size=16, max_size=16), max_size=10))
def test_the_words_of_an_id_are_its_halves(ids: list[bytes]) -> None:
    for column in (pa.array(ids, pa.binary(16)), pa.chunked_array([pa.array(ids, pa.binary(16))] * 2)):
        whole = ids * (len(column) // max(len(ids), 1))
        high, low = id_words(column)
        assert high.tolist() == [int.from_bytes(one[:8], "big") for one in whole]
        assert low.tolist() == [int.from_bytes(one[8:], "big") for one in whole]
        assert [id_hex(*pair) for pair in zip(high.tolist(), low.tolist(), strict=True)] == [one.hex() for one in whole]


def test_rows_without_an_id_are_counted_in_the_refusal() -> None:
    with pytest.raises(ProvenanceError, match="2 of 3 rows have no cg_id; tag them first"):
        id_words(pa.array([bytes(16), None, None], pa.binary(16)))


@pytest.mark.parametrize("ids", [[bytes(15)], [bytes(15), bytes(17)], [b"", bytes(32)]])
def test_ids_of_another_length_are_refused_with_a_remedy(ids: list[bytes]) -> None:
    with pytest.raises(ProvenanceError, match="cg_id must hold 16 bytes per row; tag the rows again"):
        id_words(pa.array(ids, pa.binary()))


def test_a_digest_is_that_of_the_concatenation() -> None:
    assert sha256_hex([b"col", b"lapse"]) == "sha256:" + hashlib.sha256(b"collapse").hexdigest()
    assert sha256_hex([]) == "sha256:" + hashlib.sha256().hexdigest()


def test_labels_become_text_and_missing_ones_stay_missing() -> None:
    cases: list[tuple[Any, list[str | None]]] = [
        (pa.array(["a", None]), ["a", None]),
        (pa.array([1, None]), ["1", None]),
        (pa.array([1.0, 2.5, float("nan"), None]), ["1", "2.5", None, None]),
        (pa.array([1.0, float("nan")]).dictionary_encode(), ["1", None]),
        (pa.array([True, None]), ["true", None]),
        (pa.array([None, None]), [None, None]),
        (pa.array([], pa.int64()), []),
    ]
    for column, expected in cases:
        names = class_names(column)
        assert names.type == pa.string()
        assert names.to_pylist() == expected


def test_a_nested_label_is_refused() -> None:
    with pytest.raises(CellError, match=r"a label must be text, a number or a bool, got list.*name another column"):
        class_names(pa.array([["a"]]))
