"""N-gram cells against a plain reading of their definition; what real text says of them."""

from __future__ import annotations

import os
import re
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collapse_guard.cells import NgramCells, cells_from_state
from collapse_guard.errors import CellError
from collapse_guard.kernels import first_words

FOLDER = os.environ.get("COLLAPSE_GUARD_DATA")
WORDS = ["ab", "cd", "ef"]


def documents(texts: Any) -> pa.Table:
    return pa.table({"text": texts})


def fitted(texts: Any, *, size: int = 1, n_buckets: int = 2**20, first_words: int = 64) -> NgramCells:
    rows = documents(pa.array(texts, pa.string()))
    return NgramCells.fit(rows, column="text", size=size, n_buckets=n_buckets, first_words=first_words)


def grams(text: str | None, size: int, n_words: int) -> set[str]:
    words = (text or "").split()[:n_words]
    return {" ".join(words[start : start + size]) for start in range(len(words) - size + 1)}


TEXTS = st.lists(st.one_of(st.none(), st.lists(st.sampled_from(WORDS), max_size=7).map(" ".join)), max_size=12)


@settings(max_examples=80, derandomize=True, deadline=None)
@given(real=TEXTS, later=TEXTS, size=st.integers(1, 3), n_words=st.integers(3, 6))
def test_a_document_is_in_the_cell_of_its_rarest_ngram(
    real: list[str | None], later: list[str | None], size: int, n_words: int
) -> None:
    held = [grams(text, size, n_words) for text in real]
    n_holders = {gram: sum(gram in each for each in held) for each in held for gram in each}
    if not n_holders:
        with pytest.raises(CellError, match=r"no document in column 'text' has . words or more among"):
            fitted(real, size=size, first_words=n_words)
        return
    cells = fitted(real, size=size, first_words=n_words)
    names = [name.rsplit(" #", 1)[0] for name in cells.names]
    assert sorted(names) == sorted(n_holders), "with a million buckets, no two n-grams of these meet"
    assert [n_holders[name] for name in names] == sorted(n_holders.values()), "cells go from the rarest"
    rank = {name: cell for cell, name in enumerate(names)}
    expected = [min((rank[gram] for gram in grams(text, size, n_words) if gram in rank), default=-1) for text in later]
    assert cells.cells(documents(pa.array(later, pa.string()))).tolist() == expected


def test_words_follow_the_stated_rule() -> None:
    def by_definition(text: str) -> list[str]:
        plain = unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).lower())
        return re.findall(r"[^\W_]+", plain)

    texts = [
        "Naïve CAFÉ",
        "nai\u0308ve cafe\u0301!",
        "don't  stop--now",
        "x_y 10,000",
        " …«ÉTÉ»… ",
        "",
        "ΑΒΓ абв",
        "...a",
    ]
    found = first_words(pa.array(texts), n_words=10)
    assert found.values.to_pylist() == [word for text in texts for word in by_definition(text)]
    assert found.lengths.tolist() == [len(by_definition(text)) for text in texts]


def test_characters_of_scripts_without_spaces_are_words() -> None:
    found = first_words(pa.array(["今日は rain ありがとう", "한국어 말"]), n_words=20)
    assert found.values.to_pylist() == [*"今日は", "rain", *"ありがとう", "한국어", "말"]


def test_length_is_no_signal() -> None:
    cells = fitted(["a b c", "a b d", "a b e"], first_words=3)
    short, long = cells.cells(documents(["a b c", "a b c " + "never seen here " * 50 + "d e"]))
    assert short == long


def test_ids_are_units_as_words_are() -> None:
    rows = pa.table({"ids": [[1, 2, 3], [1, 2, 4], None, [1], [2, None, 3]]})
    cells = NgramCells.fit(rows, column="ids", size=2, n_buckets=1024, first_words=8)
    assert {name.split(" #")[0] for name in cells.names} == {"1 2", "2 3", "2 4"}
    assert cells.cells(rows)[[2, 3]].tolist() == [-1, -1]
    assert cells.cells(pa.table({"ids": pa.array([[2, 4, 9]], pa.list_(pa.int32()))})).tolist() == [
        cells.cells(rows)[1]
    ]
    with pytest.raises(CellError, match=r"column 'ids' holds units 'nfc-lower.*', its real rows held 'ids/1'"):
        cells.cells(pa.table({"ids": ["1 2"]}))


def test_names_are_escaped_and_the_most_frequent_ngram_of_their_bucket() -> None:
    cells = fitted(["x y", "x y", "x z"], n_buckets=2)
    assert min(name.split(" #")[0] for name in cells.names) == "x"
    assert all(name.isprintable() for name in fitted(["a\u0301\u0489 b"]).names)


@pytest.mark.parametrize("values", [pa.array([1, 2]), pa.array([[0.5]]), pa.array([["a"]]), pa.array([b"x"])], ids=str)
def test_other_columns_are_refused(values: Any) -> None:
    with pytest.raises(CellError, match=r"column 'text' must hold lists of token ids \(integers\), got"):
        NgramCells.fit(pa.table({"text": values}), column="text", size=1, n_buckets=8, first_words=8)


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        ({"size": 0}, "size must be a whole number from 1 to 4, got 0"),
        ({"size": 5}, "size must be a whole number from 1 to 4, got 5"),
        ({"size": 2.0}, r"size must be a whole number from 1 to 4, got 2\.0"),
        ({"n_buckets": 1}, "n_buckets must be a whole number from 2 to 1048576, got 1"),
        ({"n_buckets": 10**9}, "n_buckets must be"),
        ({"size": 3, "first_words": 2}, "first_words must be a whole number from 3"),
        ({"first_words": True}, "first_words must be .* got True"),
    ],
)
def test_parameters_out_of_range_are_named(declared: dict[str, Any], message: str) -> None:
    with pytest.raises(CellError, match=message):
        fitted(["a b c d e"], **declared)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"buckets": [0, 0]}, "distinct whole numbers"),
        ({"buckets": [1]}, "2 names, 1 buckets|names, 1 buckets"),
        ({"unit": "letters"}, "unit 'letters' is not"),
        ({"size": 9}, "a whole number from 1 to 4"),
        ({"first_words": 0}, "a whole number from 1"),
    ],
)
def test_a_malformed_state_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(CellError, match=message):
        cells_from_state(fitted(["a b", "a"]).state() | change)


@pytest.mark.skipif(FOLDER is None, reason="COLLAPSE_GUARD_DATA is not set: no real data here")
def test_on_real_text_fresh_rows_keep_the_tail_and_too_many_buckets_hide_its_loss() -> None:
    rows = pq.read_table(Path(str(FOLDER)) / "text" / "human-machine.parquet").to_pylist()
    human = np.array(sorted({row["text"] for row in rows if row["origin"] == "human"}), dtype=object)
    human = human[np.random.default_rng(0).permutation(human.size)]
    made = [row["text"][row["shared_prompt_chars"] :] for row in rows if row["generator"] == "gpt2-xl"]
    real, fresh = human[: human.size // 2].tolist(), human[human.size // 2 :].tolist()

    def tail_ratio(n_buckets: int, texts: list[str]) -> float:
        cells = fitted(real, size=2, n_buckets=n_buckets)
        counts = np.bincount(cells.cells(documents(real)), minlength=cells.n_cells)
        order = np.argsort(counts, kind="stable")
        tail = order[np.cumsum(counts[order]) <= 0.1 * counts.sum()]
        tail = tail[counts[tail] > 0]
        return float(
            np.isin(cells.cells(documents(texts)), tail).mean() / np.isin(cells.cells(documents(real)), tail).mean()
        )

    sound, made_ratio, too_many = tail_ratio(1024, fresh), tail_ratio(1024, made), tail_ratio(65_536, fresh)
    assert 0.85 < sound < 1.15, sound
    assert made_ratio < 0.85, made_ratio
    assert too_many > 1.5, too_many
