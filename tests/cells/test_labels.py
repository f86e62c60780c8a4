"""Label cells: which label is which cell, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collapse_guard.cells import CELL_MAPS, CellMap, LabelCells, cells_from_state, fit_cells
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
        pa.array([[[1]], [[2]]]),
        pa.array([{"a": 1}]),
        pa.array([b"\xff"]),
        pa.array([b"\xff"], pa.large_binary()),
        pa.array([b"\xff"], pa.binary(1)),
    ],
    ids=["lists of lists", "struct", "binary", "large_binary", "fixed_size_binary"],
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


# --- rows with several labels


def tagged(rows: Any) -> pa.Table:
    return pa.table({"tags": rows})


TAG_ROWS = st.lists(
    st.one_of(st.none(), st.lists(st.one_of(st.none(), st.sampled_from("abcdef")), max_size=4)), min_size=1, max_size=25
).filter(lambda rows: any(tag is not None for row in rows for tag in row or []))


@settings(max_examples=80, derandomize=True, deadline=None)
@given(real=TAG_ROWS, later=TAG_ROWS)
def test_a_row_stands_for_the_rarest_of_its_labels(real: list[Any], later: list[Any]) -> None:
    cells = LabelCells.fit(tagged(pa.array(real, pa.list_(pa.string()))), column="tags")
    holders = {name: sum(name in (row or []) for row in real) for name in cells.names}
    rank = {name: (holders[name], name) for name in cells.names}
    expected = [min((rank[tag] for tag in row or [] if tag in rank), default=(0, ""))[1] for row in later]
    found = cells.cells(tagged(pa.array(later, pa.list_(pa.string()))))
    assert [cells.names[cell] if cell >= 0 else "" for cell in found] == expected


@settings(max_examples=60, derandomize=True, deadline=None)
@given(real=TAG_ROWS, k=st.integers(1, 6))
def test_rows_of_the_k_rarest_cells_are_the_rows_that_hold_one_of_the_k_rarest_labels(real: list[Any], k: int) -> None:
    rows = tagged(pa.array(real, pa.list_(pa.string())))
    cells = LabelCells.fit(rows, column="tags")
    rarest = list((cells.rarity or ())[:k])
    names = {cells.names[cell] for cell in rarest}
    assert np.isin(cells.cells(rows), rarest).tolist() == [bool(names & set(row or [])) for row in real]


@pytest.mark.parametrize(
    "kind", [pa.list_(pa.string()), pa.large_list(pa.large_string()), pa.list_(pa.string(), 2)], ids=str
)
def test_every_kind_of_list_holds_labels(kind: Any) -> None:
    rows = [["a", "b"], ["a", "c"], None, ["a", "b"]]
    cells = LabelCells.fit(tagged(pa.array(rows, kind)), column="tags")
    assert (cells.names, cells.rarity) == (("a", "b", "c"), (2, 1, 0))
    assert cells.cells(tagged(pa.array(rows, kind)).slice(1)).tolist() == [2, -1, 1]


def test_a_label_that_a_row_repeats_counts_once() -> None:
    cells = LabelCells.fit(tagged([["a", "a", "a"], ["b"], ["b"]]), column="tags")
    assert cells.rarity == (0, 1)


def test_numbers_in_lists_are_labels_as_single_ones_are() -> None:
    rows = tagged([[3, 7], [7], [7, None]])
    cells = LabelCells.fit(rows, column="tags")
    assert cells.names == ("3", "7")
    assert cells.cells(rows).tolist() == [0, 1, 1]


def test_a_single_label_counts_as_a_list_of_one_and_not_the_reverse() -> None:
    several = LabelCells.fit(tagged([["a", "b"], ["a"]]), column="tags")
    assert several.cells(tagged(["a", "b", "c"])).tolist() == [0, 1, -1]
    single = LabelCells.fit(tagged(["a", "b"]), column="tags")
    with pytest.raises(CellError, match=r"column 'tags' holds lists, its real rows held one label each; fit"):
        single.cells(tagged([["a"]]))


def test_the_digest_of_several_labels_covers_their_rarity() -> None:
    base = LabelCells("tags", ("a", "b"), (0, 1))
    assert len({base.digest, LabelCells("tags", ("a", "b"), (1, 0)).digest, LabelCells("tags", ("a", "b")).digest}) == 3


def test_rows_without_any_label_are_refused() -> None:
    with pytest.raises(CellError, match="column 'tags' holds no label in 3 rows"):
        LabelCells.fit(tagged(pa.array([[], None, [None]], pa.list_(pa.string()))), column="tags")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"names": []}, r"labels cells must have a list of distinct texts, one or more in 'names', got \[\]"),
        ({"names": ["a", "a"]}, "distinct texts"),
        ({"names": ["a", "\ud800"]}, "distinct texts"),
        ({"column": 3}, "must have text in 'column', got 3"),
        ({"rarity": [0]}, "does not hold together: 2 names, 1 in their order"),
        ({"rarity": [0, 2]}, "distinct whole numbers from 0 to 1"),
        ({"rarity": [0, True]}, "distinct whole numbers from 0 to 1"),
        ({"version": 2}, "has version 2, this version reads 1"),
        ({"version": True}, "has version True, this version reads 1"),
        ({"kind": "label"}, r"unknown kind 'label'; did you mean 'labels'\?"),
        ({"kind": None}, "names its kind in 'kind', got None"),
        ({"extra": 1}, "must have column, names, rarity; got 'column', 'extra'"),
    ],
)
def test_a_malformed_state_is_one_clear_error(change: dict[str, Any], message: str) -> None:
    state = LabelCells("tags", ("a", "b"), (0, 1)).state()
    with pytest.raises(CellError, match=message):
        cells_from_state(state | change)


@pytest.mark.parametrize("state", [None, [], "labels", 3])
def test_what_is_no_mapping_is_no_state(state: Any) -> None:
    with pytest.raises(CellError, match="a state of cells is a mapping with 'kind' and 'version', got"):
        cells_from_state(state)


def test_keys_that_a_kind_is_not_declared_by_are_named() -> None:
    with pytest.raises(CellError, match=r"cells of kind 'labels' are declared by column; got columns"):
        fit_cells("labels", labelled(["a"]), columns=["label"])
    with pytest.raises(CellError, match="declared by column, first_words, n_buckets, size; got nothing"):
        fit_cells("ngrams", labelled(["a"]))
