"""The filter within cells: the same share of every cell, and scores that are refused."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collapse_guard.cells import LabelCells
from collapse_guard.errors import FilterError
from collapse_guard.filters import FILTERS, VERDICT_SCHEMA, CellKeep, KeepBestWithinCells, row_scores

CELLS = LabelCells("label", ("a", "b", "c"))
ROW = st.tuples(st.sampled_from(["a", "b", "c", "other", None]), st.integers(-3, 3))


def batch(labels: list[str | None], scores: list[float]) -> pa.RecordBatch:
    columns = {"label": pa.array(labels, pa.string()), "score": pa.array(scores, pa.float64())}
    return pa.record_batch(columns)


def length(rows: Any) -> Any:
    return rows.column("score")


@settings(max_examples=80, derandomize=True, deadline=None)
@given(rows=st.lists(ROW, min_size=1, max_size=25), twentieths=st.integers(1, 20))
def test_every_cell_keeps_its_best_rows(rows: list[tuple[str | None, int]], twentieths: int) -> None:
    share = twentieths / 20
    given_rows = batch([label for label, _ in rows], [float(score) for _, score in rows])
    subject = KeepBestWithinCells.fit(given_rows, cells=CELLS, score="score", share=share)
    verdicts = subject(given_rows)
    for position, (label, score) in enumerate(rows):
        peers = sorted((other for name, other in rows if name == label), reverse=True)
        expected = label in CELLS.names and score >= peers[-(-twentieths * len(peers) // 20) - 1]
        reason = "kept" if expected else "below_cell_share" if label in CELLS.names else "no_cell"
        assert verdicts["keep"][position].as_py() is expected
        assert verdicts["reason"][position].as_py() == reason
        assert verdicts["score"][position].as_py() == score
    assert verdicts.schema == VERDICT_SCHEMA


def test_a_global_cut_would_take_the_tail_and_this_filter_does_not() -> None:
    rng = np.random.default_rng(3)
    labels = ["a"] * 900 + ["b"] * 90 + ["c"] * 10
    scores = rng.normal(size=1_000) - np.repeat([0.0, 2.0, 9.0], [900, 90, 10])
    rows = batch([*labels], scores.tolist())
    subject = KeepBestWithinCells.fit(rows, cells=CELLS, score="score", share=0.8)
    receipt = subject.receipt(rows, subject(rows))
    assert [(cell.cell, cell.n_rows, cell.n_kept_rows) for cell in receipt] == [
        ("a", 900, 720),
        ("b", 90, 72),
        ("c", 10, 8),
    ]
    assert {cell.keep_share for cell in receipt} == {0.8}
    globally_kept = scores >= np.sort(scores)[200]
    assert globally_kept[990:].sum() == 0, "the example must be one that a global cut ruins"


def test_thresholds_stay_when_later_rows_are_judged() -> None:
    subject = KeepBestWithinCells.fit(batch(["a", "a"], [1.0, 3.0]), cells=CELLS, score="score", share=0.5)
    verdicts = subject(batch(["a", "a", "b", "other"], [2.9, 3.0, -9.0, 9.0]))
    assert verdicts["keep"].to_pylist() == [False, True, True, False]
    assert verdicts["reason"].to_pylist() == ["below_cell_share", "kept", "kept", "no_cell"]


def test_the_receipt_counts_rows_that_no_cell_claims() -> None:
    rows = batch(["a", "other", None], [1.0, 2.0, 3.0])
    subject = KeepBestWithinCells.fit(rows, cells=CELLS, score="score", share=1)
    receipt = subject.receipt(pa.Table.from_batches([rows]), subject(rows))
    assert receipt[-1] == CellKeep("(no cell)", 2, 0)
    assert [cell.cell for cell in receipt] == ["a", "b", "c", "(no cell)"]
    assert receipt[1].keep_share == 1.0
    assert "(no cell)" not in [cell.cell for cell in subject.receipt(rows.slice(0, 1), subject(rows.slice(0, 1)))]


def test_a_score_may_be_a_function_of_the_rows() -> None:
    rows = batch(["a", "a"], [1.0, 2.0])
    subject = KeepBestWithinCells.fit(rows, cells=CELLS, score=length, share=0.5)
    assert subject(rows)["keep"].to_pylist() == [False, True]
    assert dict(subject.spec.parameters)["score"].endswith(":length")
    assert subject.spec.input_columns == ("label",)


def test_the_smallest_share_still_keeps_the_best_row_of_a_cell() -> None:
    rows = batch(["a", "a", "b"], [1.0, 2.0, 3.0])
    for share in (1e-3, 1e-10):
        subject = KeepBestWithinCells.fit(rows, cells=CELLS, score="score", share=share)
        assert subject(rows)["keep"].to_pylist() == [False, True, True]


def test_the_spec_names_everything_that_decides_a_verdict() -> None:
    rows = batch(["a", "a", "b"], [1.0, 2.0, 3.0])
    other_rows = batch(["a", "a", "b"], [1.0, 2.5, 3.0])
    base = KeepBestWithinCells.fit(rows, cells=CELLS, score="score", share=0.5)
    variants = [
        KeepBestWithinCells.fit(rows, cells=CELLS, score="score", share=0.6),
        KeepBestWithinCells.fit(other_rows, cells=CELLS, score="score", share=0.5),
        KeepBestWithinCells.fit(rows, cells=LabelCells("label", ("a", "b")), score="score", share=0.5),
        KeepBestWithinCells.fit(rows, cells=CELLS, score=length, share=0.5),
    ]
    again = KeepBestWithinCells.fit(rows, cells=CELLS, score="score", share=0.5)
    assert base.spec == again.spec
    assert base.spec.input_columns == ("label", "score")
    assert len({base.spec.spec_id, *(variant.spec.spec_id for variant in variants)}) == 5


@pytest.mark.parametrize("share", [0, -0.5, 1.0001, math.nan, math.inf])
def test_a_share_out_of_range_is_refused(share: float) -> None:
    with pytest.raises(FilterError, match=r"share must lie in \(0, 1\], got"):
        KeepBestWithinCells.fit(batch(["a"], [1.0]), cells=CELLS, score="score", share=share)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, None])
@pytest.mark.parametrize("chunked", [True, False])
def test_scores_that_are_no_numbers_are_refused_with_their_place(bad: float | None, chunked: bool) -> None:
    rows: Any = pa.record_batch({"score": pa.array([1.0, bad, 2.0, bad], pa.float64())})
    rows = pa.Table.from_batches([rows.slice(0, 2), rows.slice(2)]) if chunked else rows
    with pytest.raises(FilterError, match=r"score 'score' is null, NaN or infinite for 2 of 4 rows \(first: row 1\)"):
        row_scores("score", rows)


def test_a_null_in_a_column_of_whole_numbers_is_refused_too() -> None:
    for rows in (pa.record_batch({"score": [1, None]}), pa.table({"score": [1, None]})):
        with pytest.raises(FilterError, match=r"null, NaN or infinite for 1 of 2 rows.*remove those rows first"):
            row_scores("score", rows)


def test_a_missing_score_column_is_named_with_the_nearest_one() -> None:
    with pytest.raises(FilterError, match=r"no score column 'score'; did you mean 'scores'\?"):
        row_scores("score", pa.table({"scores": [1.0]}))


@pytest.mark.parametrize("values", [["1", "2"], [True, False], [[1.0], [2.0]], [None, None]])
def test_a_score_column_of_another_type_is_refused(values: Any) -> None:
    with pytest.raises(FilterError, match=r"score column 'score' is .*; scores must be numbers"):
        row_scores("score", pa.table({"score": values}))


@pytest.mark.parametrize("returned", [[1.0], [1.0, 2.0, 3.0], [[1.0, 2.0]], 1.0, None, []])
def test_a_score_function_must_give_one_score_per_row(returned: Any) -> None:
    def quality(rows: Any) -> Any:
        return returned

    with pytest.raises(FilterError, match=r"quality.* gave shape .* for 2 rows; give one score per row"):
        row_scores(quality, pa.table({"text": ["x", "y"]}))


@pytest.mark.parametrize("returned", [["good", "bad"], [[1.0], [1.0, 2.0]], [{}, {}]], ids=["text", "ragged", "dicts"])
def test_a_score_function_that_gives_no_numbers_is_refused_by_name(returned: Any) -> None:
    def quality(rows: Any) -> Any:
        return returned

    with pytest.raises(FilterError, match="quality"):
        row_scores(quality, pa.table({"text": ["x", "y"]}))


def test_whole_numbers_and_narrow_floats_are_scores() -> None:
    for kind in (pa.int8(), pa.uint64(), pa.float32()):
        assert row_scores("score", pa.table({"score": pa.array([1, 2], kind)})).tolist() == [1.0, 2.0]
    assert row_scores(functools.partial(length), batch(["a"], [4.0])).tolist() == [4.0]


def test_the_filter_is_registered() -> None:
    assert FILTERS.get("keep_best_within_cells") is KeepBestWithinCells
