"""Label cells: which label is which cell, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collapse_guard.cells import CELL_MAPS, CellMap, LabelCells, fit_cells
from collapse_guard.errors import CellError, InputError


def labelled(values: Any, column: str = "label") -> pa.Table:
    return pa.table({column: values})


@settings(max_examples=60, derandomize=True, deadline=None)
@given(
    real=st.lists(st.one_of(st.none(), st.text(max_size=4)), min_size=1, max_size=20).filter(
        lambda labels: any(label is not None for label in labels)
    ),
    later=st.lists(st.one_of(st.none(), st.text(max_size=4)), max_size=20),
)
def test_a_row_is_in_the_cell_of_its_label(real: list[str | None], later: list[str | None]) -> None:
    cells = LabelCells.fit(labelled(pa.array(real, pa.string())), column="label")
    known = sorted({label for label in real if label is not None})
    assert list(cells.names) == known
    expected = [known.index(label) if label in known else -1 for label in later]
    found = cells.cells(labelled(pa.array(later, pa.string())))
    assert found.tolist() == expected
    assert found.dtype == np.int64


@pytest.mark.parametrize(
    "values",
    [
        pa.array([7, 3, 7, None], pa.int64()),
        pa.array([7, 3, 7, None], pa.uint8()),
        pa.array([7.0, 3.0, 7.0, float("nan")]),
        pa.array(["7", "3", "7", None], pa.large_string()),
        pa.array(["7", "3", "7", None]).dictionary_encode(),
        pa.chunked_array([["7", "3"], ["7", None]]),
        pa.chunked_array([pa.array(["7"]).dictionary_encode(), pa.array(["3", "7", None]).dictionary_encode()]),
    ],
    ids=["int64", "uint8", "float64", "large_string", "dictionary", "chunked", "dictionaries"],
)
def test_the_type_of_a_label_does_not_decide_its_cell(values: Any) -> None:
    cells = LabelCells.fit(labelled(["3", "7"]), column="label")
    assert cells.cells(labelled(values)).tolist() == [1, 0, 1, -1]
    assert LabelCells.fit(labelled(values), column="label") == cells


def test_bool_labels_have_cells() -> None:
    cells = LabelCells.fit(labelled([True, False, None]), column="label")
    assert cells.names == ("false", "true")
    assert cells.cells(labelled([True, None])).tolist() == [1, -1]


def test_tables_and_batches_and_no_rows_at_all_are_mapped_alike() -> None:
    cells = LabelCells.fit(pa.record_batch({"label": ["a", "b"]}), column="label")
    assert cells.cells(pa.record_batch({"label": ["b"]})).tolist() == [1]
    assert cells.cells(labelled(pa.array([], pa.string()))).shape == (0,)


def test_the_digest_changes_with_everything_that_decides_a_cell() -> None:
    base = LabelCells("label", ("a", "b"))
    assert base.digest == LabelCells.fit(labelled(["b", "a", "b"]), column="label").digest
    others = [LabelCells("class", ("a", "b")), LabelCells("label", ("b", "a")), LabelCells("label", ("a", "b", "c"))]
    assert len({base.digest, *(other.digest for other in others)}) == 4


def test_a_missing_label_column_is_named_with_the_nearest_one() -> None:
    cells = LabelCells("label", ("a", "b"))
    with pytest.raises(CellError, match=r"no column 'label' .*did you mean 'labels'\?"):
        cells.cells(labelled(["a"], column="labels"))
    with pytest.raises(CellError, match=r"no column 'label' .*no columns at all"):
        cells.cells(pa.table({}))
    with pytest.raises(CellError, match=r"no column 'label' .*allowed: text"):
        LabelCells.fit(labelled(["a"], column="text"), column="label")


@pytest.mark.parametrize("values", [pa.array([None, None]), pa.array([], pa.string()), pa.array([float("nan")])])
def test_a_reference_without_labels_is_refused_with_a_remedy(values: Any) -> None:
    with pytest.raises(CellError, match=r"column 'label' holds no label in . rows; a reference needs labelled rows"):
        LabelCells.fit(labelled(values), column="label")


@pytest.mark.parametrize(
    "values",
    [
        pa.array([[1], [2]]),
        pa.array([{"a": 1}]),
        pa.array([b"\xff"]),
        pa.array([b"\xff"], pa.large_binary()),
        pa.array([b"\xff"], pa.binary(1)),
    ],
    ids=["list", "struct", "binary", "large_binary", "fixed_size_binary"],
)
def test_labels_that_are_no_text_are_refused_with_a_remedy(values: Any) -> None:
    with pytest.raises(CellError, match=r"a label must be text, a number or a bool, got .*; name another column"):
        LabelCells.fit(labelled(values), column="label")


def test_a_declared_kind_is_fitted_and_an_unknown_one_gets_a_hint() -> None:
    cells = fit_cells("labels", labelled(["x", "y"]), column="label")
    assert isinstance(cells, CellMap)
    assert cells == LabelCells("label", ("x", "y"))
    with pytest.raises(InputError, match=r"no cell_map is called 'label'; did you mean 'labels'\?"):
        fit_cells("label", labelled(["x"]), column="label")


def test_label_cells_are_registered() -> None:
    assert CELL_MAPS.get("labels") is LabelCells
