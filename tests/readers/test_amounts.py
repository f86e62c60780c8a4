"""How much of each row trains, against counting by hand."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collapse_guard.errors import ProvenanceError
from collapse_guard.readers import amounts

ROWS = pa.table(
    {
        "text": ["é", "", None],
        "input_ids": [[1, 2], [], [3]],
        "n_tokens": [5, 0, 7],
        "weight": [0.5, 0.0, 2.0],
        "messages": [[{"role": "user", "content": "hi"}], [], None],
        "image": [{"bytes": b"123", "path": "long name.png"}, None, {"bytes": b"", "path": None}],
        "cg_source": ["not content"] * 3,
    }
)


@pytest.mark.parametrize(
    ("unit", "column", "expected"),
    [
        ("rows", None, [1, 1, 1]),
        ("tokens", None, [2, 0, 1]),
        ("tokens", "n_tokens", [5, 0, 7]),
        ("bytes", "n_tokens", [5, 0, 7]),
        ("bytes", "text", [2, 0, 0]),
        ("bytes", "messages", [6, 0, 0]),
        ("bytes", "image", [3, 0, 0]),
        ("bytes", None, [11, 0, 0]),
        ("weight", "weight", [0.5, 0, 2]),
        ("weight", None, [0.5, 0, 2]),
    ],
)
def test_each_unit_counts_what_it_says(unit: str, column: str | None, expected: list[float]) -> None:
    assert amounts(ROWS, unit, column).tolist() == expected
    assert amounts(ROWS.combine_chunks().to_batches()[0].slice(1), unit, column).tolist() == expected[1:]
    assert amounts(ROWS.slice(0, 0), unit, column).tolist() == []


@settings(max_examples=60, derandomize=True, deadline=None)
@given(texts=st.lists(st.none() | st.lists(st.none() | st.text(st.characters(codec="utf-8")), max_size=3), max_size=6))
def test_bytes_are_utf8_at_any_depth(texts: list[list[str | None] | None]) -> None:
    expected = [sum(len((text or "").encode()) for text in row or ()) for row in texts]
    for kind in (pa.list_(pa.string()), pa.large_list(pa.string_view())):
        assert amounts(pa.table({"t": pa.array(texts, kind)}), "bytes").tolist() == expected


@pytest.mark.parametrize(
    ("unit", "column", "message"),
    [
        ("token", None, "unknown unit 'token'; did you mean 'tokens'"),
        ("rows", "text", "unit 'rows' reads no column, got 'text'"),
        ("tokens", "input_idz", "reads column 'input_idz', which the rows lack; .*did you mean 'input_ids'"),
        ("tokens", "text", "column 'text' is string; unit 'tokens' reads a list of token ids or a count"),
        ("weight", "text", "unit 'weight' reads numbers"),
    ],
)
def test_what_cannot_be_counted_says_what_to_do(unit: str, column: str | None, message: str) -> None:
    with pytest.raises(ProvenanceError, match=message):
        amounts(ROWS, unit, column)


@pytest.mark.parametrize("value", [None, -1.0, np.nan, np.inf])
def test_an_amount_is_finite_and_not_negative(value: float | None) -> None:
    with pytest.raises(ProvenanceError, match=r"1 of 2 rows have no amount from 0 to 2\^53 weight \(first: row 1"):
        amounts(pa.table({"w": [1.0, value]}), "weight", "w")
    with pytest.raises(ProvenanceError, match="1 of 1 rows"):
        amounts(pa.table({"input_ids": pa.array([None], pa.list_(pa.int32()))}), "tokens")


def test_rows_that_hold_numbers_alone_have_no_bytes() -> None:
    with pytest.raises(ProvenanceError, match="no text and no bytes to count in 'bytes'"):
        amounts(pa.table({"n": [1]}), "bytes")
