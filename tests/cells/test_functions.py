"""Cells by a function: what it may return, and that nothing read from a file is run by default."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest

from collapse_guard.cells import FunctionCells, cells_from_state, fit_cells
from collapse_guard.errors import CellError, InputError
from collapse_guard.plugins import load_code

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

ROWS = pa.table({"x": [0, 1, 5]})


def clipped(rows: pa.Table) -> NDArray[np.int64]:
    return np.array(rows.column("x")).clip(max=1)


def as_list(rows: pa.Table) -> list[int]:
    return [-1] * rows.num_rows


def fractions(rows: pa.Table) -> NDArray[np.float64]:
    return np.zeros(rows.num_rows)


def too_few(rows: pa.Table) -> list[int]:
    return [0]


def too_high(rows: pa.Table) -> NDArray[np.int64]:
    return np.array(rows.column("x"))


def too_low(rows: pa.Table) -> list[int]:
    return [-2] * rows.num_rows


def a_column(rows: pa.Table) -> list[list[int]]:
    return [[0]] * rows.num_rows


def uneven(rows: pa.Table) -> list[list[int]]:
    return [[0] * row for row in range(rows.num_rows)]


def none(rows: pa.Table) -> None:
    return None


def fitted(function: Any, names: Any = ("low", "high")) -> FunctionCells:
    return FunctionCells.fit(ROWS, function=function, names=names)


def test_what_the_function_says_is_the_cell() -> None:
    cells = fitted(clipped)
    assert cells.cells(ROWS).tolist() == [0, 1, 1]
    assert cells.cells(ROWS.to_batches()[0]).dtype == np.int64
    assert fitted(as_list).cells(ROWS).tolist() == [-1, -1, -1]
    assert cells.cells(ROWS.slice(0, 0)).tolist() == []
    assert cells.columns == ()


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (fractions, r":fractions returned float64 of shape \(3,\) for 3 rows; return one integer per row, -1 for rows"),
        (too_few, r":too_few returned int64 of shape \(1,\) for 3 rows"),
        (too_high, r":too_high returned cells from 0 to 5; there are 2 names, so cells lie in \[-1, 1\]"),
        (too_low, ":too_low returned cells from -2 to -2"),
        (a_column, r":a_column returned int64 of shape \(3, 1\) for 3 rows"),
        (uneven, ":uneven returned no array of one integer per row"),
        (none, r":none returned object of shape \(\) for 3 rows"),
    ],
)
def test_anything_else_is_one_clear_line(function: Any, message: str) -> None:
    with pytest.raises(CellError, match=message) as caught:
        fitted(function).cells(ROWS)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("names", [[], ["a", "a"], "ab", [1, 2], None])
def test_names_are_distinct_texts(names: Any) -> None:
    with pytest.raises(CellError, match="callable cells must have a list of distinct texts, one or more in 'names'"):
        fitted(clipped, names)


def test_functions_without_a_name_are_refused() -> None:
    def local(rows: pa.Table) -> list[int]:
        return []

    for function in (local, lambda rows: rows, max([1, 2], key=abs), None):
        with pytest.raises(CellError, match="cannot be found again by name; pass a function that stands at the top"):
            fitted(function)


@pytest.fixture
def trap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A module that leaves a mark when it is imported."""
    mark = tmp_path / "imported"
    (tmp_path / "trapped.py").write_text(
        f"open({str(mark)!r}, 'w').close()\ndef cells(rows):\n    return [0] * len(rows)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    yield mark
    sys.modules.pop("trapped", None)


def test_code_that_a_file_names_runs_only_when_told(trap: Path) -> None:
    declared: dict[str, Any] = {"function": "trapped:cells", "names": ["a"]}
    state = {"kind": "callable", "version": 1, **declared}
    clusters: dict[str, Any] = {"column": "x", "embed": "trapped:cells", "n_cells": 2, "seed": 0, "outlier_share": 0.1}
    of_clusters = {"kind": "clusters", "version": 1, "column": "x", "embed": "trapped:cells", "centres": 0}
    refused = r"'trapped:cells'.* not run by default; pass allow_code=True if you trust it"
    for each in (state, of_clusters):
        with pytest.raises(CellError, match=refused):
            cells_from_state(each)
    for kind, keys in (("callable", declared), ("clusters", clusters)):
        with pytest.raises(CellError, match=refused):
            fit_cells(kind, ROWS, **keys)
    assert not trap.exists()
    assert cells_from_state(state, allow_code=True) == fit_cells("callable", ROWS, allow_code=True, **declared)
    assert trap.exists()


def test_a_state_is_refused_before_its_code_runs_if_its_kind_takes_none(trap: Path) -> None:
    with pytest.raises(CellError, match="labels cells must have column, names, rarity"):
        cells_from_state({"kind": "labels", "version": 1, "function": "trapped:cells"}, allow_code=True)
    assert not trap.exists()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("json", "code is named as 'module:function', got 'json'"),
        ("json:", "code is named as 'module:function'"),
        (":dumps", "code is named as 'module:function'"),
        ("json:dumps()", "code is named as 'module:function'"),
        ("../json:dumps", "code is named as 'module:function'"),
        ("json:dumpss", r"'json:dumpss' cannot be loaded: no 'dumpss' there; did you mean 'dumps'\?"),
        ("no_such_module:f", "'no_such_module:f' cannot be loaded .*is its folder on the Python path"),
        ("json:__doc__", "'json:__doc__' is str, not a function"),
    ],
)
def test_names_of_code_that_lead_nowhere_are_explained(name: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_code(name)


def test_code_inside_a_class_is_found() -> None:
    assert load_code("json:JSONDecoder.decode").__name__ == "decode"
