"""What a sampler may return, and what is refused by name."""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from collapse_guard.cells import LabelCells
from collapse_guard.errors import CellError
from collapse_guard.monitor import count_sample
from collapse_guard.stats import CellCounts

CELLS = LabelCells("label", ("0", "1", "2"))
EXPECTED = CellCounts((1, 0, 2), 1)


class OnDevice:
    """A stand-in for a tensor: its values come with ``cpu()`` and ``numpy()``."""

    def __init__(self, values: list[int]) -> None:
        self.values = values

    def cpu(self) -> OnDevice:
        return self

    def numpy(self) -> Any:
        return np.array(self.values)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        return np.array(self.values, dtype=dtype)


@pytest.mark.parametrize(
    "sample",
    [
        [2, -1, 0, 2],
        (2, -1, 0, 2),
        np.array([2, -1, 0, 2], dtype=np.int8),
        OnDevice([2, -1, 0, 2]),
        {"label": [2, 9, 0, 2]},
        {"label": ["2", None, "0", "2"], "text": ["w", "x", "y", "z"]},
        {"label": np.array([2, 9, 0, 2])},
        {"label": OnDevice([2, 9, 0, 2])},
        pa.table({"label": ["2", "emu", "0", "2"]}),
        pa.record_batch({"label": [2, 9, 0, 2]}),
        pa.array([2, -1, 0, 2]),
    ],
    ids=["list", "tuple", "int8", "tensor", "ints", "columns", "array", "tensors", "table", "batch", "arrow"],
)
def test_cells_and_rows_are_counted_alike(sample: Any) -> None:
    assert count_sample(sample, CELLS) == EXPECTED


def test_unsigned_cells_are_counted() -> None:
    assert count_sample(np.array([2, 0], dtype=np.uint8), CELLS) == CellCounts((1, 0, 1))


def test_a_sampler_that_returns_nothing_is_told_what_to_return() -> None:
    with pytest.raises(CellError, match=r"the sampler returned nothing; return cells \(1-D integers\) or rows"):
        count_sample(None, CELLS)


@pytest.mark.parametrize(
    ("sample", "what"),
    [
        ([0.0, 1.0], r"float64 of shape \(2,\)"),
        (np.array([np.nan]), r"float64 of shape \(1,\)"),
        ([[0, 1], [1, 2]], r"int64 of shape \(2, 2\)"),
        (np.zeros((4, 1), dtype=np.int64), r"int64 of shape \(4, 1\)"),
        ([], r"float64 of shape \(0,\)"),
        (np.array([], dtype=np.int64), r"int64 of shape \(0,\)"),
        ({"label": []}, r"int64 of shape \(0,\)"),
        (pa.table({"label": pa.array([], pa.string())}), r"int64 of shape \(0,\)"),
        (1, r"int64 of shape \(\)"),
        ([True, False], r"bool of shape \(2,\)"),
        (["0", "1"], r"<U1 of shape \(2,\)"),
        ("0", r"<U1 of shape \(\)"),
        ([{"label": 0}], r"object of shape \(1,\)"),
        (deque([None]), r"object of shape \(1,\)"),
    ],
)
def test_a_sample_of_another_shape_or_type_is_refused_with_a_remedy(sample: Any, what: str) -> None:
    message = rf"the sampler returned {what}; return a non-empty 1-D array of integer cells, -1 for rows"
    with pytest.raises(CellError, match=message):
        count_sample(sample, CELLS)


@pytest.mark.parametrize(
    ("sample", "message"),
    [
        ([0, 3, 4, 1], "returned cell 3 for 2 of 4 rows; the reference has cells 0 to 2, and -1"),
        ([-2, 0], "returned cell -2 for 1 of 2 rows"),
        (np.array([2**64 - 1], dtype=np.uint64), "returned cell 18446744073709551615 for 1 of 1 rows"),
    ],
)
def test_cells_out_of_range_are_refused_with_what_is_allowed(sample: Any, message: str) -> None:
    with pytest.raises(CellError, match=message):
        count_sample(sample, CELLS)


def test_rows_without_the_label_column_are_refused_by_its_name() -> None:
    for sample in ({"lable": [0]}, pa.table({"lable": [0]}), {}):
        with pytest.raises(CellError, match="no column 'label' to take the cell from"):
            count_sample(sample, CELLS)


@pytest.mark.parametrize(
    "sample",
    [
        {"label": [0, 1], "text": ["x"]},
        {"label": 3},
        {"label": np.zeros((2, 2))},
        [[0], [0, 1]],
    ],
    ids=["unequal columns", "a number as a column", "a matrix as a column", "ragged lists"],
)
def test_a_sample_that_is_neither_cells_nor_rows_is_refused_in_the_samplers_name(sample: Any) -> None:
    with pytest.raises(CellError, match="the sampler returned"):
        count_sample(sample, CELLS)
