"""Counts: right sums, no mutation, and refusals that say what to do."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collapse_guard.errors import StatisticError
from collapse_guard.records import Origin
from collapse_guard.stats import BatchCounts, CellCounts

CELLS = st.lists(st.integers(-1, 4), max_size=40)


@settings(max_examples=60, derandomize=True, deadline=None)
@given(batches=st.lists(CELLS, max_size=4))
def test_cell_counts_are_those_of_a_plain_counter(batches: list[list[int]]) -> None:
    counts = CellCounts.zeros(5)
    for batch in batches:
        counts = counts.update(np.array(batch, dtype=np.int64))
    expected = Counter(cell for batch in batches for cell in batch)
    assert counts.rows == tuple(expected[cell] for cell in range(5))
    assert counts.n_unclaimed_rows == expected[-1]
    assert counts.n_rows == sum(map(len, batches))
    assert counts.compute().tolist() == list(counts.rows)
    assert counts.compute().dtype == np.int64


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.uint32, np.int64, np.uint64])
def test_cells_of_every_integer_type_are_counted(dtype: type[np.integer]) -> None:
    assert CellCounts.zeros(3).update(np.array([2, 0, 2], dtype=dtype)).rows == (1, 0, 2)


def test_an_update_or_merge_mutates_nothing() -> None:
    before, cells = CellCounts.of([1, 2], n_unclaimed_rows=3), np.array([1, -1])
    assert before.update(cells) == CellCounts((1, 3), 4)
    assert before.merge(before) == CellCounts((2, 4), 6)
    assert before == CellCounts((1, 2), 3)
    assert cells.tolist() == [1, -1]
    origins = BatchCounts()
    assert origins.update(np.array([1])) != origins
    assert origins == BatchCounts()


def test_counts_far_beyond_32_bits_add_up() -> None:
    big = CellCounts.of([10**12, 1])
    assert big.merge(big).update(np.array([0])).rows == (2 * 10**12 + 1, 2)


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ([[0, 1]], "cells must be a 1-D integer array, got shape"),
        ([0.0, 1.0], "cells must be a 1-D integer array.*float64"),
        ([True], "cells must be a 1-D integer array.*bool"),
        ([0, 3], r"cells\[1\] is 3; allowed are -1 to 2"),
        ([-2], r"cells\[0\] is -2; allowed are -1 to 2"),
        ([2**63], r"cells\[0\] is 9223372036854775808; allowed"),
    ],
)
def test_cells_out_of_place_are_refused_with_what_is_allowed(cells: Any, message: str) -> None:
    with pytest.raises(StatisticError, match=message):
        CellCounts.zeros(3).update(np.array(cells))


def test_given_counts_are_checked() -> None:
    with pytest.raises(StatisticError, match=r"counts\[0\] is -1"):
        CellCounts.of([-1, 3])
    with pytest.raises(StatisticError, match="n_unclaimed_rows must be a whole number of rows"):
        CellCounts.of([1, 3], n_unclaimed_rows=-1)


def test_counts_over_other_cells_do_not_merge() -> None:
    with pytest.raises(StatisticError, match="cannot merge counts over 2 and 3 cells"):
        CellCounts.zeros(2).merge(CellCounts.zeros(3))


def test_origins_are_counted_by_name_and_unknown_codes_fail_closed() -> None:
    counts = BatchCounts().update(np.array([0, 1, 1, 2, 5, 6, 255, -3]))
    assert counts.by_origin() == {"unknown": 4, "real": 2, "synthetic": 1, "mixed": 0, "derived": 0, "simulated": 1}
    assert list(counts.by_origin()) == [origin.name.lower() for origin in Origin]
    assert BatchCounts().update(np.array([], dtype=np.uint8)) == BatchCounts()


def test_origins_that_are_no_codes_are_refused_and_never_count_as_real() -> None:
    for origins in ([1.9, 0.6], [np.nan], ["real"], [True]):
        with pytest.raises(StatisticError, match=r"origins must be .*integer"):
            BatchCounts().update(np.array(origins))
