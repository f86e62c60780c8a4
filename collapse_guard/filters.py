"""Is this row good? Verdicts over Arrow batches; nothing is dropped here and nothing is read or written.

A global quality cut removes the tail first. The filter here keeps the best share *within each cell*.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol, Self, TypeAlias, runtime_checkable

import numpy as np
import pyarrow as pa

from collapse_guard.errors import FilterError
from collapse_guard.kernels import canonical_bytes, sha256_hex
from collapse_guard.plugins import Registry, nearest
from collapse_guard.records import RowReason

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from collapse_guard.cells import CellMap

    Rows: TypeAlias = pa.Table | pa.RecordBatch

#: A score column's name, or a function from rows to one score per row; higher is better.
Score = str | Callable[[Any], "ArrayLike"]

VERDICT_SCHEMA: Final = pa.schema([("keep", pa.bool_()), ("reason", pa.string()), ("score", pa.float64())])

#: Filters by name; the conformance tests find them here.
FILTERS: Registry[type] = Registry("filter")


@dataclass(frozen=True, slots=True)
class FilterSpec:
    """What a filter is: equal specs give equal verdicts on equal rows."""

    name: str
    version: int
    parameters: tuple[tuple[str, Any], ...]
    input_columns: tuple[str, ...]
    output_fields: tuple[str, ...] = ("keep", "reason", "score")

    @property
    def spec_id(self) -> str:
        """Digest over all of it."""
        record = {"name": self.name, "version": self.version, "parameters": self.parameters, "in": self.input_columns}
        return sha256_hex([canonical_bytes(record)])


@runtime_checkable
class Filter(Protocol):
    """A frozen, hashable object that gives one verdict per row."""

    @property
    def spec(self) -> FilterSpec:
        """Name, version, parameters and columns."""

    def __call__(self, rows: pa.RecordBatch) -> pa.RecordBatch:
        """Return ``keep``, ``reason`` and scores, row by row as they came."""


@dataclass(frozen=True, slots=True)
class CellKeep:
    """Keep-rate of one cell: the receipt that a filter leaves."""

    cell: str
    n_rows: int
    n_kept_rows: int

    @property
    def keep_share(self) -> float:
        """Share of the cell's rows that were kept; 1 for an empty cell."""
        return self.n_kept_rows / self.n_rows if self.n_rows else 1.0


def row_scores(score: Score, rows: Rows) -> NDArray[np.float64]:
    """Return one finite score per row, float64 of shape (rows,).

    Raises FilterError for a missing column, another length, and for null, NaN or infinite scores.
    """
    name = score if isinstance(score, str) else getattr(score, "__qualname__", repr(score))
    if isinstance(score, str):
        if score not in rows.schema.names:
            raise FilterError(f"rows have no score column {score!r}; {nearest(score, rows.schema.names)}")
        column = rows.column(score)
        if not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
            raise FilterError(f"score column {score!r} is {column.type}; scores must be numbers")
        values = column.to_numpy() if isinstance(column, pa.ChunkedArray) else column.to_numpy(zero_copy_only=False)
        scores = np.asarray(values, dtype=np.float64)
    else:
        try:
            scores = np.asarray(score(rows), dtype=np.float64)
        except (TypeError, ValueError):
            raise FilterError(f"score {name!r} must return one number per row, 1-D") from None
    if scores.shape != (rows.num_rows,):
        raise FilterError(f"score {name!r} gave shape {scores.shape} for {rows.num_rows} rows; give one score per row")
    bad = np.flatnonzero(~np.isfinite(scores))
    if bad.size:
        raise FilterError(
            f"score {name!r} is null, NaN or infinite for {bad.size} of {rows.num_rows} rows"
            f" (first: row {bad[0]}); score every row or remove those rows first"
        )
    return scores


@FILTERS.register("keep_best_within_cells")
@dataclass(frozen=True, slots=True)
class KeepBestWithinCells:
    """Keep the best share of each cell by a score; every cell keeps the same share, so the tail keeps its mass.

    Build it with :meth:`fit`, which sets one threshold per cell; ties with the threshold are kept. Rows that no
    cell claims are not kept, with a reason of their own.

    >>> from collapse_guard.cells import LabelCells
    >>> rows = pa.record_batch({"label": ["a", "a", "b", "b"], "score": [9.0, 8.0, 2.0, 1.0]})
    >>> best = KeepBestWithinCells.fit(rows, cells=LabelCells.fit(rows, column="label"), score="score", share=0.5)
    >>> best(rows)["keep"].to_pylist()
    [True, False, True, False]
    """

    cells: CellMap
    score: Score
    share: float
    thresholds: tuple[float, ...]

    @classmethod
    def fit(cls, rows: Rows, *, cells: CellMap, score: Score, share: float) -> Self:
        """Return the filter that keeps the best ``share``, in (0, 1], of each cell of ``rows``.

        A cell with n rows keeps ceil(share * n), ties included; a cell without rows keeps whatever comes later.
        """
        if not 0 < share <= 1:
            raise FilterError(f"share must lie in (0, 1], got {share!r}")
        scores = row_scores(score, rows)
        where = cells.cells(rows)
        thresholds = [_threshold(scores[where == cell], share) for cell in range(cells.n_cells)]
        return cls(cells, score, float(share), tuple(thresholds))

    @property
    def spec(self) -> FilterSpec:
        """Name, version, parameters and columns; a callable score goes by module and name."""
        named = self.score if isinstance(self.score, str) else _callable_name(self.score)
        parameters = (
            ("cells", self.cells.digest),
            ("score", named),
            ("share", self.share),
            ("thresholds", tuple(map(repr, self.thresholds))),
        )
        columns = (*self.cells.columns, *((self.score,) if isinstance(self.score, str) else ()))
        return FilterSpec("keep_best_within_cells", 1, parameters, columns)

    def __call__(self, rows: pa.RecordBatch) -> pa.RecordBatch:
        """Return the verdicts, one per row."""
        where = self.cells.cells(rows)
        scores = row_scores(self.score, rows)
        limits = np.append(np.asarray(self.thresholds), np.inf)  # cell -1 takes the last entry
        keep = scores >= limits[where]
        reason = np.where(keep, RowReason.KEPT.value, RowReason.BELOW_CELL_SHARE.value)
        reason = np.where(where < 0, RowReason.NO_CELL.value, reason)
        return pa.record_batch([pa.array(keep), pa.array(reason, pa.string()), pa.array(scores)], schema=VERDICT_SCHEMA)

    def receipt(self, rows: Rows, verdicts: pa.RecordBatch) -> tuple[CellKeep, ...]:
        """Return the keep-rate of each cell, and of the unclaimed rows last if there are any."""
        where = self.cells.cells(rows)
        keep = np.asarray(verdicts.column("keep").to_numpy(zero_copy_only=False), dtype=bool)
        n_rows = np.bincount(where + 1, minlength=self.cells.n_cells + 1)
        n_kept = np.bincount(where[keep] + 1, minlength=self.cells.n_cells + 1)
        named = [
            CellKeep(name, int(n), int(k)) for name, n, k in zip(self.cells.names, n_rows[1:], n_kept[1:], strict=True)
        ]
        return (*named, *((CellKeep("(no cell)", int(n_rows[0]), int(n_kept[0])),) if n_rows[0] else ()))


def _threshold(scores: NDArray[np.float64], share: float) -> float:
    if scores.size == 0:
        return -np.inf
    n_kept = max(1, int(np.ceil(share * scores.size - 1e-9)))
    return float(np.sort(scores)[scores.size - n_kept])


def _callable_name(function: Callable[..., Any]) -> str:
    qualname = getattr(function, "__qualname__", "")
    if not qualname or "<lambda>" in qualname:
        raise FilterError("a score function needs a name, so that two of them can be told apart; write it with def")
    return f"{getattr(function, '__module__', '?')}:{qualname}"
