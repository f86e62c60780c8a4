"""What a sampler returns -> counts over the cells of every map, and scores."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from collapse_guard.cells import LabelCells
from collapse_guard.errors import CellError, StatisticError
from collapse_guard.kernels import class_names
from collapse_guard.monitor.scoring import column_values, score_rows
from collapse_guard.stats import CellCounts
from collapse_guard.stats.advisory import advise_documents

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from collapse_guard.cells import CellMap
    from collapse_guard.monitor.anchor import Anchor
    from collapse_guard.policy import Coverage


log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Sample:
    """One look, as the watch takes it.

    Args:
        counts: rows per cell, one for each cell map.
        scores: one array of shape (rows,) for each score.
        advisory: figures of the text that nothing is decided on.
    """

    counts: tuple[CellCounts, ...]
    scores: tuple[NDArray[np.float64], ...] = ()
    advisory: dict[str, float] = field(default_factory=dict)


def read_sample(sample: Any, anchor: Anchor, coverage: Coverage, *, n_rows: int | None = None) -> Sample:
    """Return what a sampler gave, counted and scored.

    Args:
        sample: rows as a mapping of columns or an Arrow table; under a policy with one cell map and no scores also
            cells, as a 1-D integer array in [-1, n_cells). Labels that no real row has are unclaimed.
        n_rows: rows that were asked for; None to take any number.

    Raises CellError, which names the sampler, for anything else, StatisticError for scores out of [0, 1].
    """
    if sample is None:
        raise CellError("the sampler returned nothing; return cells (1-D integers) or rows (a mapping of columns)")
    if isinstance(sample, (pa.Table, pa.RecordBatch, dict)):
        rows = sampled_rows(sample)
        _check_length(rows.num_rows, n_rows)
        counts = tuple(_counted(_mapped(rows, each.cells), each.cells) for each in anchor.maps)
        scores = () if coverage.looks == "fixed_set" else tuple(score_rows(score, rows) for score in coverage.scores)
        return Sample(counts, scores, text_advice(rows, coverage))
    if len(anchor.maps) != 1 or coverage.scores:
        wanted = f"{len(anchor.maps)} cell maps and {len(coverage.scores)} scores are declared"
        raise CellError(f"{wanted}: the sampler must return rows (a mapping of columns), got {type(sample).__name__}")
    found = _as_array(sample)
    counted = _counted(found, anchor.maps[0].cells)
    _check_length(found.size, n_rows)
    return Sample((counted,))


def summed_sample(sample: Sample, summed: Callable[[list[int]], list[int]]) -> Sample:
    """Return the look of all ranks: ``summed`` adds whole numbers up, so that every rank decides on the same ones."""
    totals = [summed([*each.rows, each.n_unclaimed_rows]) for each in sample.counts]
    return replace(sample, counts=tuple(CellCounts(tuple(total[:-1]), total[-1]) for total in totals))


def sampled_rows(sample: Any) -> pa.Table:
    """Return rows that a sampler gave as a table; raises CellError for anything but a mapping of columns or a table."""
    if isinstance(sample, pa.RecordBatch):
        return pa.Table.from_batches([sample])
    if isinstance(sample, pa.Table):
        return sample
    if not isinstance(sample, dict):
        raise CellError(f"the sampler must return rows (a mapping of columns), got {type(sample).__name__}")
    return _as_table(sample)


def text_advice(rows: pa.Table | pa.RecordBatch, coverage: Coverage) -> dict[str, float]:
    """Return advisory figures of the first declared text column; none if there is no text, or too little of it."""
    columns = [score.column for score in coverage.scores if score.kind in {"hapax", "novelty"}]
    columns += [cells.column for cells in coverage.cells if cells.kind == "ngrams"]
    if not columns:
        return {}
    try:
        return advise_documents(column_values(rows, columns[0]), n_tokens=coverage.advisory_tokens)
    except StatisticError as error:
        log.info("collapse_guard: no advisory text statistics of this look: %s", error)
        return {}


def _counted(found: NDArray[Any], cells: CellMap) -> CellCounts:
    if found.ndim != 1 or found.size == 0 or not np.issubdtype(found.dtype, np.integer):
        text = f"the sampler returned {found.dtype} of shape {found.shape}"
        raise CellError(f"{text}; return a non-empty 1-D array of integer cells, -1 for rows that no class claims")
    outside = np.flatnonzero((found < -1) | (found >= cells.n_cells))
    if outside.size:
        text = f"the sampler returned cell {int(found[outside[0]])} for {outside.size} of {found.size} rows"
        raise CellError(
            f"{text}; the reference has cells 0 to {cells.n_cells - 1}, and -1 for rows that no class claims"
        )
    return CellCounts.zeros(cells.n_cells).update(found)


def _check_length(found: int, wanted: int | None) -> None:
    if wanted is not None and found != wanted:
        raise CellError(f"the sampler returned {found} rows, {wanted} were asked for; return exactly as many")


def _mapped(rows: pa.Table | pa.RecordBatch, cells: CellMap) -> NDArray[np.int64]:
    """Return the cells of rows, and log the labels that no real row has."""
    found = cells.cells(rows)
    if isinstance(cells, LabelCells) and (found < 0).any() and not pa.types.is_nested(rows.column(cells.column).type):
        labels = class_names(rows.column(cells.column)).filter(pa.array(found < 0)).drop_null().unique().to_pylist()
        if labels:
            shown = ", ".join(map(repr, labels[:5]))
            log.warning("%d of %d sampled rows carry labels that no real row has (%s): they count for no class",
                        int((found < 0).sum()), found.size, shown)  # fmt: skip
    return found


def _as_table(sample: dict[str, Any]) -> pa.Table:
    columns = {name: column.cpu().numpy() if hasattr(column, "cpu") else column for name, column in sample.items()}
    try:
        return pa.table({name: _column(values) for name, values in columns.items()})
    except (pa.ArrowInvalid, pa.ArrowTypeError, TypeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise CellError(f"the sampler returned columns that are no table ({reason}); give equal columns") from None


def _column(values: Any) -> Any:
    """Return an array of several axes, such as embeddings or pixels, as nested lists; anything else as it is."""
    return list(values) if isinstance(values, np.ndarray) and values.ndim == 2 else values  # noqa: PLR2004 - rows of vectors


def _as_array(sample: Any) -> NDArray[Any]:
    try:
        return np.asarray(sample.cpu() if hasattr(sample, "cpu") else sample)
    except (TypeError, ValueError):
        raise CellError(
            "the sampler returned ragged lists, or numbers that numpy does not know;"
            " return a non-empty 1-D array of integer cells"
        ) from None
