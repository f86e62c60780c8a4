"""Declared scores of rows: one number in [0, 1] per row, higher while the model is healthy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from collapse_guard.errors import CellError
from collapse_guard.plugins import nearest
from collapse_guard.stats.documents import hapax_shares, novel_ngram_shares
from collapse_guard.stats.score import as_scores

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

    from collapse_guard.policy import Score


def score_rows(score: Score, rows: pa.Table | pa.RecordBatch) -> NDArray[np.float64]:
    """Return the declared score of each row of one look, float64 of shape (rows,).

    Raises CellError without the column, StatisticError for numbers outside [0, 1].
    """
    values = column_values(rows, score.column)
    match score.kind:
        case "hapax":
            return hapax_shares(values)
        case "novelty":
            return novel_ngram_shares(values, size=score.size)
        case _:
            return as_scores(values, name=f"column {score.column!r}")


def column_values(rows: pa.Table | pa.RecordBatch, column: str) -> list[Any]:
    """Return a column as a list without nulls in it; raises CellError that names the column."""
    if column not in rows.schema.names:
        raise CellError(f"rows have no column {column!r} to score; {nearest(column, rows.schema.names)}")
    array = rows.column(column)
    if array.null_count:
        raise CellError(f"column {column!r} holds {array.null_count} nulls; a score needs every row")
    values: list[Any] = array.to_pylist()
    return values
