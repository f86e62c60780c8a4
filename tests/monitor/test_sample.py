"""What a sampler may return, and what is refused by name."""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from collapse_guard.cells import LabelCells
from collapse_guard.errors import CellError, InputError
from collapse_guard.monitor import Anchor, Reference, Sample, read_sample
from collapse_guard.policy import Coverage, Policy
from collapse_guard.stats import CellCounts

CELLS = LabelCells("label", ("0", "1", "2"))
EXPECTED = CellCounts((1, 0, 2), 1)


def coverage(**changes: Any) -> Coverage:
    found = Policy.coerce({"version": 1, "coverage": changes}).coverage
    assert found is not None
    return found


def counted(sample: Any) -> CellCounts:
    anchor = Anchor((Reference(CELLS, CellCounts((5, 3, 2))),))
    return read_sample(sample, anchor, coverage()).counts[0]


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
    assert counted(sample) == EXPECTED


def test_unsigned_cells_are_counted() -> None:
    assert counted(np.array([2, 0], dtype=np.uint8)) == CellCounts((1, 0, 1))


def test_a_sampler_that_returns_nothing_is_told_what_to_return() -> None:
    with pytest.raises(CellError, match=r"the sampler returned nothing; return cells \(1-D integers\) or rows"):
        counted(None)


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
        counted(sample)


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
        counted(sample)


def test_rows_without_the_label_column_are_refused_by_its_name() -> None:
    for sample in ({"lable": [0]}, pa.table({"lable": [0]}), {}):
        with pytest.raises(CellError, match="no column 'label' to take the cell from"):
            counted(sample)


@pytest.mark.parametrize(
    "sample",
    [
        {"label": [0, 1], "text": ["x"]},
        {"label": 3},
        {"label": np.zeros((2, 2, 2))},
        [[0], [0, 1]],
    ],
    ids=["unequal columns", "a number as a column", "a block as a column", "ragged lists"],
)
def test_a_sample_that_is_neither_cells_nor_rows_is_refused_in_the_samplers_name(sample: Any) -> None:
    with pytest.raises(CellError, match="the sampler returned"):
        counted(sample)


TEXT = ["the cat sat", "the dog ran", "a bird flew over", "the cat sat"]
SEVERAL = {
    "cells": [{"column": "label"}, {"kind": "bins", "columns": ["size"], "n_bins": 2}],
    "scores": [{"kind": "hapax"}, {"kind": "column", "column": "quality"}],
}
ROWS: dict[str, list[Any]] = {
    "label": ["0", "1", "2", "9"],
    "size": [1.0, 2.0, 3.0, 4.0],
    "text": TEXT,
    "quality": [0.0, 0.5, 1.0, 0.5],
}


def read_several(rows: Any, n_rows: int | None = None) -> Sample:
    asked = coverage(**SEVERAL)
    real = pa.table({"label": ["0", "1", "2"], "size": [1.0, 2.0, 3.0]})
    return read_sample(rows, Anchor.fit(real, asked), asked, n_rows=n_rows)


def test_rows_are_counted_in_every_cell_map_and_scored_by_every_score() -> None:
    sample = read_several(ROWS, 4)
    assert [counts.rows for counts in sample.counts] == [(1, 1, 1), (1, 3)]
    assert [counts.n_unclaimed_rows for counts in sample.counts] == [1, 0]
    assert sample.scores[0].tolist() == [0.0, pytest.approx(2 / 3), 1.0, 0.0]
    assert sample.scores[1].tolist() == [0.0, 0.5, 1.0, 0.5]


def test_several_cell_maps_need_rows_and_not_cells() -> None:
    with pytest.raises(CellError, match=r"2 cell maps and 2 scores are declared: the sampler must return rows"):
        read_several([0, 1])


@pytest.mark.parametrize("sample", [[0, 1, 2], {"label": ["0", "1", "2"]}])
def test_another_number_of_rows_than_asked_for_is_refused(sample: Any) -> None:
    anchor = Anchor((Reference(CELLS, CellCounts((5, 3, 2))),))
    with pytest.raises(CellError, match="returned 3 rows, 4 were asked for; return exactly as many"):
        read_sample(sample, anchor, coverage(), n_rows=4)


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        ("quality", [0.0, 2.0, 0.0, 0.0], r"column 'quality'\[1\] is 2.0; scores lie in \[0, 1\], rescale them"),
        ("quality", [0.0, float("nan"), 0.0, 0.0], r"column 'quality'\[1\] is nan"),
        ("quality", [0.0, None, 0.0, 0.0], "column 'quality' holds 1 nulls; a score needs every row"),
        ("text", ["a", None, "b", "c"], "column 'text' holds 1 nulls"),
    ],
)
def test_scores_that_cannot_be_used_are_refused_by_column_and_row(column: str, values: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_several(ROWS | {column: values})


def test_a_score_without_its_column_is_refused_with_the_nearest_name() -> None:
    rows = {name: values for name, values in ROWS.items() if name != "text"} | {"texts": TEXT}
    with pytest.raises(CellError, match="no column 'text' to score; did you mean 'texts'"):
        read_several(rows)


def test_enough_text_gives_advisory_figures_and_too_little_gives_none() -> None:
    asked = coverage(**SEVERAL, advisory_tokens=100)
    real = pa.table({"label": ["0", "1", "2"], "size": [1.0, 2.0, 3.0]})
    rows = {name: values * 20 for name, values in ROWS.items()}
    assert "distinct_3" in read_sample(rows, Anchor.fit(real, asked), asked).advisory
    assert read_several(rows).advisory == {}
