"""Joint cells of table columns: quantile bins, categories, nulls, and what no real row has."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collapse_guard.cells import BinCells, cells_from_state
from collapse_guard.errors import CellError


def fitted(table: pa.Table, *, n_bins: int = 4, max_categories: int = 3) -> BinCells:
    return BinCells.fit(table, columns=table.schema.names, n_bins=n_bins, max_categories=max_categories)


NUMBERS = st.lists(st.one_of(st.none(), st.floats(allow_nan=False, width=32)), min_size=1, max_size=40)


@settings(max_examples=100, derandomize=True, deadline=None)
@given(values=NUMBERS, n_bins=st.integers(2, 8))
def test_bins_are_ordered_hold_every_real_row_and_share_it_out(values: list[float | None], n_bins: int) -> None:
    table = pa.table({"x": pa.array(values, pa.float64())})
    numbers = np.array([value for value in values if value is not None])
    if not numbers.size:
        with pytest.raises(CellError, match="column 'x' holds no number"):
            fitted(table, n_bins=n_bins)
        return
    cells = fitted(table, n_bins=n_bins)
    found = cells.cells(table)
    assert (found >= 0).all()
    assert cells.n_cells <= n_bins + 1
    pairs = sorted((value, cell) for value, cell in zip(values, found.tolist(), strict=True) if value is not None)
    assert [cell for _, cell in pairs] == sorted(cell for _, cell in pairs), "a larger number is in no lower bin"
    if len(set(numbers.tolist())) == numbers.size and np.isfinite(numbers).all():
        counts = np.bincount([cell for _, cell in pairs])
        assert counts.max() <= -(-numbers.size // n_bins) + 1, "quantile bins hold equal shares"


def test_edges_belong_to_the_upper_bin_and_values_out_of_range_to_the_outer_bins() -> None:
    cells = fitted(pa.table({"age": [10, 20, 30, 40]}))
    assert cells.names == ("age < 20", "age [20, 30)", "age [30, 40)", "age >= 40")
    later = pa.table({"age": [20.0, 19.999, -1e300, 1e300, float("inf"), float("nan"), None]})
    assert cells.cells(later).tolist() == [1, 0, 0, 3, 3, -1, -1]


def test_equal_edges_are_one_and_a_constant_column_is_one_cell() -> None:
    assert fitted(pa.table({"x": [0] * 90 + [1] * 10})).names == ("x any number",)
    assert fitted(pa.table({"x": [0] * 60 + [1] * 40})).names == ("x < 1", "x >= 1")
    constant = fitted(pa.table({"x": [7, 7]}))
    assert constant.names == ("x any number",)
    assert constant.cells(pa.table({"x": [7, 8]})).tolist() == [0, 0]


def test_edges_that_look_alike_are_told_apart() -> None:
    names = fitted(pa.table({"x": [1.0, 1.00000001, 1.00000002, 1.00000003]})).names
    assert len(set(names)) == 4


def test_nulls_are_a_category_if_real_rows_have_them() -> None:
    with_null = fitted(pa.table({"x": [1, None, 3], "s": ["a", None, None]}))
    assert with_null.names == ("x < 3 x s=a", "x >= 3 x s null", "x null x s null")
    without = fitted(pa.table({"x": [1, 3], "s": ["a", "a"]}))
    assert without.cells(pa.table({"x": [1, None], "s": ["a", "a"]})).tolist() == [0, -1]
    assert without.cells(pa.table({"x": [1, 1], "s": ["a", None]})).tolist() == [0, -1]


def test_rare_categories_share_a_cell_only_if_real_rows_have_some() -> None:
    table = pa.table({"s": ["a"] * 5 + ["b"] * 4 + ["c"] * 3 + ["d", "e"]})
    cells = fitted(table)
    assert cells.names == ("s=a", "s=b", "s=c", "s=(other)")
    assert cells.cells(pa.table({"s": ["e", "never seen"]})).tolist() == [3, 3]
    few = fitted(pa.table({"s": ["a", "b"]}))
    assert few.cells(pa.table({"s": ["never seen"]})).tolist() == [-1]


def test_ties_between_categories_go_by_name_whatever_their_order() -> None:
    assert fitted(pa.table({"s": list("dcba")}), max_categories=2).names == ("s=a", "s=b", "s=(other)")


def test_a_category_that_reads_like_another_part_is_quoted() -> None:
    names = fitted(pa.table({"s": ["(other)", "'(other)'", "x", "y", "two\nlines"]}), max_categories=4).names
    assert len(set(names)) == len(names) == 5
    assert all(name.isprintable() for name in names)


def test_combinations_that_no_real_row_has_are_in_no_cell() -> None:
    cells = fitted(pa.table({"x": [1, 1, 2, 2], "s": ["a", "b", "a", "a"], "t": [True, True, False, True]}), n_bins=2)
    assert cells.n_cells == 4
    assert cells.columns == ("x", "s", "t")
    later = pa.table({"t": [False, True], "s": ["b", "b"], "x": [2, 1]})
    assert cells.cells(later).tolist() == [-1, cells.names.index("x < 2 x s=b x t=true")]


@pytest.mark.parametrize(
    ("values", "names"),
    [
        (pa.array([Decimal("1.5"), Decimal("2.5")]), ("x < 2.5", "x >= 2.5")),
        (pa.array([1, 2], pa.uint8()), ("x < 2", "x >= 2")),
        (pa.array([1.0, 2.0], pa.float16()), ("x < 2", "x >= 2")),
        (pa.array([0, 2**64 - 1], pa.uint64()), ("x < 1.84467e+19", "x >= 1.84467e+19")),
        (pa.array([True, False]), ("x=false", "x=true")),
        (pa.array([1, 2]).dictionary_encode(), ("x=1", "x=2")),
        (pa.array([dt.date(2020, 1, 1), None]), ("x=2020-01-01", "x null")),
        (pa.array(["a", "b"], pa.large_string()), ("x=a", "x=b")),
        (pa.chunked_array([pa.array(["a"]).dictionary_encode(), pa.array(["b"]).dictionary_encode()]), ("x=a", "x=b")),
        (pa.array([float("-inf"), 0.0, float("inf")]), ("x < 0", "x >= 0")),
    ],
    ids=lambda value: "" if isinstance(value, tuple) else str(value.type),
)
def test_every_flat_type_is_cut(values: Any, names: tuple[str, ...]) -> None:
    cells = fitted(pa.table({"x": values}), n_bins=2)
    assert cells.names == names
    assert (cells.cells(pa.table({"x": values})) >= 0).all()


def test_whole_numbers_fitted_and_fractions_later_are_one_column() -> None:
    cells = fitted(pa.table({"x": [1, 2, 3, 4]}))
    assert cells.cells(pa.table({"x": [2.5]})).tolist() == [1]
    assert cells.cells(pa.table({"x": pa.nulls(2)})).tolist() == [-1, -1]
    with pytest.raises(CellError, match="column 'x' must hold numbers as its real rows did, got string"):
        cells.cells(pa.table({"x": ["2"]}))


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ([], r"columns must be 1 to 3 different names of columns, got \[\]"),
        (["x", "x"], "columns must be 1 to 3 different names"),
        (["a", "b", "c", "d"], "columns must be 1 to 3 different names"),
        ("x", "columns must be 1 to 3 different names of columns, got 'x'"),
        ([1], "columns must be 1 to 3 different names"),
        (["y"], r"rows have no column 'y' to take the cell from; allowed: x"),
    ],
)
def test_columns_are_checked(columns: Any, message: str) -> None:
    with pytest.raises(CellError, match=message):
        BinCells.fit(pa.table({"x": [1]}), columns=columns, n_bins=2, max_categories=2)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (pa.table({"x": pa.array([], pa.int64())}), "column 'x' holds no number in 0 rows"),
        (pa.table({"x": pa.array([None, float("nan")])}), "column 'x' holds no number in 2 rows"),
        (pa.table({"x": pa.nulls(2)}), "column 'x' holds no value in 2 rows"),
        (pa.table({"x": [[1]]}), "a label must be text, a number or a bool, got list"),
    ],
)
def test_columns_without_values_are_refused(table: pa.Table, message: str) -> None:
    with pytest.raises(CellError, match=message):
        fitted(table)


@pytest.mark.parametrize(("key", "value"), [("n_bins", 1), ("n_bins", 2.5), ("max_categories", 0)])
def test_parameters_out_of_range_are_named(key: str, value: Any) -> None:
    declared = {"n_bins": 2, "max_categories": 2} | {key: value}
    with pytest.raises(CellError, match=f"{key} must be a whole number from . to 10000, got {value}"):
        BinCells.fit(pa.table({"x": [1]}), columns=["x"], **declared)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"combinations": [0, 4]}, "distinct whole numbers from 0 to 3"),
        ({"combinations": [2, 0]}, "its combinations do not ascend"),
        ({"axes": []}, "a list, not empty in 'axes'"),
        ({"axes": ["x"]}, "an axis of categories must have .*; got str"),
        ({"axes": [{"column": "x", "edges": [2.0, 1.0], "has_null": False}]}, "its edges do not ascend"),
        ({"axes": [{"column": "x", "edges": [float("nan")], "has_null": False}]}, "a list of finite numbers"),
        ({"axes": [{"column": "x", "edges": [10**400], "has_null": False}]}, "a list of finite numbers"),
        ({"axes": [{"column": "x", "edges": [1.0], "has_null": 0}]}, "true or false in 'has_null', got 0"),
        ({"axes": [{"column": "x", "edges": [1.0], "has_null": False}] * 2}, "different names of columns"),
    ],
)
def test_a_malformed_state_is_refused(change: dict[str, Any], message: str) -> None:
    state = fitted(pa.table({"x": [1, 2], "s": ["a", "b"]}), n_bins=2).state()
    with pytest.raises(CellError, match=message):
        cells_from_state(state | change)
