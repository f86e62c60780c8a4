"""Dataset objects -> the narrow Arrow tables that the conductor reads: tags, the columns of cells, scores, amounts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from datasets import Dataset, concatenate_datasets

from collapse_guard.curate import ARROW_TYPES
from collapse_guard.integrations.hugging_face.stream_part import StreamPart
from collapse_guard.integrations.hugging_face.tags import arrow_rows
from collapse_guard.kernels import id_words
from collapse_guard.readers import amounts
from collapse_guard.records import AMOUNT, ID, PROVENANCE_COLUMNS, SCORE, WEIGHT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from collapse_guard.integrations.hugging_face.stream_part import Part
    from collapse_guard.manifest import Takedowns
    from collapse_guard.mixing import MixPlan
    from collapse_guard.policy import Policy

#: Rows whose content is in memory while amounts are read.
_BATCH_ROWS = 10_000


def narrow_rows(parts: Sequence[Part], policy: Policy) -> pa.Table:
    """Return only the columns that decide, of all parts; ``cg_amount`` if the policy counts another unit than rows."""
    columns = () if policy.coverage is None else policy.coverage.columns
    names = {*PROVENANCE_COLUMNS, SCORE, *(columns or ())}
    tables = []
    for part in parts:
        if isinstance(part, StreamPart):
            tables.append(part.rows)
            continue
        wanted = None if columns is None else [name for name in part.column_names if name in names]
        table = arrow_rows(part, wanted)
        if policy.unit != "rows":
            table = table.append_column(AMOUNT, pa.array(part_amounts(part, policy)))
        tables.append(table)
    if not tables:
        return pa.schema([(name, ARROW_TYPES[name]) for name in PROVENANCE_COLUMNS]).empty_table()
    return pa.concat_tables(tables, promote_options="permissive").combine_chunks()


def part_amounts(part: Dataset, policy: Policy) -> NDArray[np.float64]:
    """Return how much each row is in the unit of the policy, read batch by batch."""
    column = policy.unit_column
    plain = part.with_format(None)
    if column is not None and column in part.column_names:
        plain = plain.select_columns([column])
    batches = plain.with_format("arrow").iter(batch_size=_BATCH_ROWS)
    return np.concatenate([np.empty(0), *(amounts(batch, policy.unit, column) for batch in batches)])


def planned_dataset(plan: MixPlan, real: Sequence[Dataset], synthetic: Sequence[Dataset], *, shuffle: bool) -> Dataset:
    """Return the rows of a plan, real ones first or interleaved at random; weights that are not 1 as ``cg_weight``."""
    parts = [concatenate_datasets(list(real))]
    if plan.n_retained_rows:
        parts[0] = parts[0].select(plan.real)
    if plan.chosen.size:
        pool = concatenate_datasets(list(synthetic))
        pool = pool.remove_columns([SCORE]) if SCORE in pool.column_names else pool
        parts.append(pool.select(plan.chosen))
    if (plan.real_weight, plan.synthetic_weight) != (1.0, 1.0):
        weights = (plan.real_weight, plan.synthetic_weight)
        parts = [weighted(part, weight) for part, weight in zip(parts, weights, strict=False)]
    joined = concatenate_datasets(parts)
    return joined.select(plan.order()) if shuffle else joined


def weighted(part: Dataset, weight: float) -> Dataset:
    """Return ``part`` with the weight of each row in ``cg_weight``."""
    part = part.remove_columns([WEIGHT]) if WEIGHT in part.column_names else part
    column = Dataset(pa.table({WEIGHT: pa.array(np.full(len(part), weight))}))
    return concatenate_datasets([part, column], axis=1)


def rows_without(parts: tuple[Part, ...], taken: Takedowns) -> tuple[Part, ...]:
    """Return the parts less the rows that were taken down; parts without rows are left out."""
    kept = []
    for part in parts:
        rows = part.rows if isinstance(part, StreamPart) else arrow_rows(part, [ID])
        hi, lo = id_words(rows.column(ID))
        stays = np.flatnonzero(~taken.covers(hi, lo))
        kept.append(part if stays.size == len(part) else part.select(stays))
    return tuple(part for part in kept if len(part))
