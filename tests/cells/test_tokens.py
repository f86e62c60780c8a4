"""Token cells: which bucket, which token, and that a document's pick is fair."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collapse_guard.cells import TokenCells, cells_from_state
from collapse_guard.cells.tokens import frequency_buckets
from collapse_guard.errors import CellError


def tokenised(rows: Any, kind: Any = None) -> pa.Table:
    return pa.table({"ids": pa.array(rows, kind or pa.list_(pa.int64()))})


def fitted(rows: pa.Table, *, n_buckets: int = 4, seed: int = 0) -> TokenCells:
    return TokenCells.fit(rows, column="ids", n_buckets=n_buckets, seed=seed)


@settings(max_examples=80, derandomize=True, deadline=None)
@given(counts=st.lists(st.integers(1, 10**6), min_size=1, max_size=30), n_buckets=st.integers(2, 9))
def test_buckets_are_geometric_in_frequency(counts: list[int], n_buckets: int) -> None:
    found = frequency_buckets(np.array(counts), n_buckets)
    factor = (max(counts) / min(counts)) ** (1 / n_buckets)
    assert sorted(set(found.tolist())) == list(range(found.max() + 1)), "no bucket is empty"
    assert found.max() < n_buckets
    for bucket in range(found.max() + 1):
        inside = np.array(counts)[found == bucket]
        assert inside.max() / inside.min() <= factor * (1 + 1e-6)
    order = np.argsort(counts)
    assert (np.diff(found[order]) <= 0).all(), "the last bucket is the rarest"


def test_equally_frequent_tokens_are_one_bucket() -> None:
    cells = fitted(tokenised([[1, 2], [3]]))
    assert cells.buckets == ((1, 2, 3),)


def test_a_document_of_one_token_is_in_its_bucket_and_an_unseen_one_in_none() -> None:
    cells = fitted(tokenised([[7] * 90 + [8] * 9 + [9]]), n_buckets=3)
    assert cells.cells(tokenised([[7], [8], [9], [10], [], None])).tolist() == [0, 1, 2, -1, -1, -1]


@pytest.mark.science
def test_a_pick_is_uniform_over_positions_whatever_the_seed() -> None:
    rng = np.random.default_rng(3)
    tails = rng.integers(100, 10_000, (20_000, 7))
    rows = tokenised(np.column_stack([np.zeros(20_000, dtype=np.int64), tails]).tolist())
    for seed in (0, 1, 2**62):
        cells = fitted(rows, n_buckets=2, seed=seed)
        first = float((cells.cells(rows) == 0).mean())
        print(f"seed {seed}: the first of 8 tokens is picked in {first:.4f} of documents")  # noqa: T201 - shown with -s
        assert abs(first - 1 / 8) < 5.5 * np.sqrt(1 / 8 * 7 / 8 / 20_000)  # fails once in 25 million


def test_counts_have_the_mean_share_of_each_bucket_as_expectation() -> None:
    rng = np.random.default_rng(5)
    shares = 1 / np.arange(1, 201)
    lengths = rng.integers(1, 30, 20_000)
    rows = [rng.choice(200, size=length, p=shares / shares.sum()).tolist() for length in lengths]
    cells = fitted(tokenised(rows), n_buckets=5, seed=9)
    bucket_of = {token: bucket for bucket, tokens in enumerate(cells.buckets) for token in tokens}
    mean_share = np.mean([np.bincount([bucket_of[t] for t in row], minlength=5) / len(row) for row in rows], axis=0)
    found = np.bincount(cells.cells(tokenised(rows)), minlength=5) / len(rows)
    assert (np.abs(found - mean_share) < 5.5 * np.sqrt(mean_share / len(rows))).all(), (found, mean_share)


def test_equal_documents_pick_alike_and_order_within_one_matters() -> None:
    cells = fitted(tokenised([[1] * 50 + [2] * 3]), n_buckets=2)
    many = cells.cells(tokenised([[1, 2, 1, 2, 2, 1]] * 5))
    assert len(set(many.tolist())) == 1
    orders = cells.cells(
        tokenised([[*np.roll([1, 2, 2, 1], shift).tolist(), n] for shift in range(4) for n in range(9)])
    )
    assert {0, 1} <= set(orders.tolist())


@pytest.mark.parametrize("kind", [pa.list_(pa.int32()), pa.large_list(pa.uint16()), pa.list_(pa.uint64(), 3)], ids=str)
def test_the_type_of_ids_does_not_decide_their_cell(kind: Any) -> None:
    rows = [[1, 2, 1], [1, 1, 1], [2, 3, 1]]
    cells = fitted(tokenised(rows))
    assert fitted(tokenised(rows, kind)) == cells
    assert cells.cells(tokenised(rows, kind)).tolist() == cells.cells(tokenised(rows)).tolist()


@pytest.mark.parametrize("values", [pa.array(["a"]), pa.array([1]), pa.array([[1.5]]), pa.array([["a"]])], ids=str)
def test_other_columns_are_refused(values: Any) -> None:
    with pytest.raises(CellError, match=r"column 'ids' must hold lists of token ids \(integers\), got"):
        fitted(pa.table({"ids": values}))


def test_huge_ids_are_refused_and_negative_ones_are_ids() -> None:
    with pytest.raises(CellError, match="column 'ids' holds token ids beyond 64 signed bits"):
        fitted(tokenised([[2**64 - 1]], pa.list_(pa.uint64())))
    cells = fitted(tokenised([[-(2**63), 2**63 - 1, 2**63 - 1]]), n_buckets=2)
    assert cells.cells(tokenised([[-(2**63)], [2**63 - 1]])).tolist() == [1, 0]


@pytest.mark.parametrize("rows", [[], [None], [[], [None]]], ids=str)
def test_rows_without_tokens_are_refused(rows: Any) -> None:
    with pytest.raises(CellError, match=r"column 'ids' holds no token in . rows; a reference needs tokens"):
        fitted(tokenised(rows))


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        ({"n_buckets": 1}, "n_buckets must be a whole number from 2 to 4096, got 1"),
        ({"seed": -1}, "seed must be a whole number from 0 to"),
        ({"seed": 10**30}, "seed must be a whole number from 0 to"),
    ],
)
def test_parameters_out_of_range_are_named(declared: dict[str, Any], message: str) -> None:
    with pytest.raises(CellError, match=message):
        fitted(tokenised([[1, 2]]), **declared)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"buckets": [[1], [1]]}, "a token is in two buckets"),
        ({"buckets": [[1]]}, "2 names, 1 buckets"),
        ({"buckets": [[1], []]}, "a bucket of tokens must have a list of distinct whole numbers"),
        ({"buckets": [[1], ["2"]]}, "a bucket of tokens must have a list of distinct whole numbers"),
        ({"seed": 0.5}, "'seed', got 0.5"),
    ],
)
def test_a_malformed_state_is_refused(change: dict[str, Any], message: str) -> None:
    state = fitted(tokenised([[1, 1, 2]]), n_buckets=2).state()
    with pytest.raises(CellError, match=message):
        cells_from_state(state | change)
