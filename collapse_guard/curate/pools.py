"""Tagged rows as the planner sees them, and planned rows as the manifest does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from collapse_guard.curate.classes import with_classes
from collapse_guard.errors import FilterError, ProvenanceError
from collapse_guard.filters import KeepBestWithinCells
from collapse_guard.kernels import class_names
from collapse_guard.manifest import FilterReceipt, Manifest
from collapse_guard.manifest.header import CellReceipt
from collapse_guard.mixing import MixPlan, Pool, WindowShares, measured_shares
from collapse_guard.plugins import nearest
from collapse_guard.records import (
    AMOUNT,
    GENERATION,
    GENERATOR,
    ORIGIN,
    PROVENANCE_COLUMNS,
    SCORE,
    SOURCE,
    Origin,
)

if TYPE_CHECKING:
    from collapse_guard.cells import CellMap
    from collapse_guard.policy import Policy


@dataclass(frozen=True)
class Pools:
    """Real and synthetic rows as the planner sees them, and as the manifest will.

    Args:
        real, synthetic: arrays.
        real_rows, synthetic_rows: tagged rows with their class.
        class_column: the column that holds it, None without classes.
        receipts: what the filter kept of each cell.
    """

    real: Pool
    synthetic: Pool
    real_rows: pa.Table
    synthetic_rows: pa.Table
    class_column: str | None
    receipts: tuple[FilterReceipt, ...]


def pools_of(real: pa.Table, synthetic: pa.Table, policy: Policy, cells: CellMap | None) -> Pools:
    """Return tagged rows as pools: filtered, each row with its class."""
    if policy.unit == "rows":  # a row is one, whatever an earlier manifest in other units said
        real, synthetic = (rows.drop_columns([AMOUNT] * (AMOUNT in rows.column_names)) for rows in (real, synthetic))
    keep, receipts = filter_synthetic(synthetic, policy, cells)
    real, column = with_classes(real, policy, cells)
    made = with_classes(synthetic, policy, cells)[0]
    if column is not None:
        real, made = (_named_classes(rows, column) for rows in (real, made))
    first, second = Pool.of_rows(real, class_column=column), Pool.of_rows(made, class_column=column, keep=keep)
    return Pools(first, second, real, made, column, receipts)


def anchor_amounts(pools: Pools, parent: Manifest | None) -> dict[str, float] | None:
    """Return what ``mix.balance`` measures against: per class the larger of the parent's real amount and that now."""
    if parent is None or pools.class_column is None:
        return None
    now = {name: amount for name, amount in pools.real.label.sums(pools.real.amount).items() if name is not None}
    before = parent.amount_by("class", "origin").items()
    held = {label: amount for (label, code), amount in before if label is not None and code == Origin.REAL}
    return {name: max(held.get(name, 0.0), now.get(name, 0.0)) for name in sorted({*held, *now})}


def _named_classes(rows: pa.Table, column: str) -> pa.Table:
    """Return rows whose class is text as manifests have it, whatever type it came as."""
    if column not in rows.column_names:
        if rows.num_rows:
            raise ProvenanceError(f"rows have no class column {column!r}; {nearest(column, rows.column_names)}")
        return rows.append_column(column, pa.nulls(0, pa.string()))
    return rows.set_column(rows.column_names.index(column), column, class_names(rows.column(column)))


def planned_rows(pools: Pools, plan: MixPlan) -> pa.Table:
    """Return the rows of the manifest with ``cg_amount``: how much of each trains.

    All real rows are there, those that a budget leaves out with amount 0; a row that is repeated counts as often.
    """
    column = pools.class_column
    columns = [*PROVENANCE_COLUMNS, *([column] if column is not None else [])]
    amounts = np.zeros(pools.real.n_rows)
    amounts[plan.real] = pools.real.amount[plan.real]
    parts = [pools.real_rows.select(columns).append_column(AMOUNT, pa.array(amounts))]
    if plan.chosen.size:
        rows, times = np.unique(plan.chosen, return_counts=True)
        chosen = pools.synthetic_rows.select(columns).take(pa.array(rows))
        parts.append(chosen.append_column(AMOUNT, pa.array(pools.synthetic.amount[rows] * times)))
    return pa.concat_tables(parts, promote_options="permissive")


def plan_shares(pools: Pools, plan: MixPlan, policy: Policy) -> dict[str, WindowShares]:
    """Return the shares of the rows of a plan in the order of :meth:`MixPlan.order`, by kind of group."""
    if plan.n_rows == 0:  # a budget below the smallest row
        return {}
    column = pools.class_column
    names = [ORIGIN, SOURCE, GENERATOR, GENERATION, *([column] if column is not None else [])]
    parts = ((pools.real_rows, pools.real, plan.real), (pools.synthetic_rows, pools.synthetic, plan.chosen))
    tables = [
        rows.select(names).take(pa.array(which)).append_column(AMOUNT, pa.array(pool.amount[which]))
        for rows, pool, which in parts
        if which.size
    ]
    joined = pa.concat_tables(tables, promote_options="permissive").take(pa.array(plan.order()))
    return measured_shares(joined, class_column=column, window_rows=policy.mix.window_rows)


def filter_synthetic(
    synthetic: pa.Table, policy: Policy, cells: CellMap | None
) -> tuple[np.ndarray, tuple[FilterReceipt, ...]]:
    """Return a keep mask of shape (synthetic rows,), and one receipt per source and generation."""
    keep = np.ones(synthetic.num_rows, dtype=bool)
    quality = policy.filters.quality
    if quality is None or synthetic.num_rows == 0:
        return keep, ()
    if cells is None:
        raise FilterError("filters.quality keeps a share of each cell; add a coverage section with cells to the policy")
    receipts: list[FilterReceipt] = []
    groups = (
        synthetic.group_by([SOURCE, GENERATION])
        .aggregate([])
        .sort_by([(SOURCE, "ascending"), (GENERATION, "ascending")])
    )
    for group in groups.to_pylist():
        same = pc.and_(
            pc.equal(synthetic.column(SOURCE), group[SOURCE]), pc.equal(synthetic.column(GENERATION), group[GENERATION])
        )
        where = np.flatnonzero(same.to_numpy())
        rows = synthetic.take(where).combine_chunks().to_batches()[0]
        best = KeepBestWithinCells.fit(rows, cells=cells, score=SCORE, share=quality.keep_share)
        verdicts = best(rows)
        keep[where] = verdicts.column("keep").to_numpy(zero_copy_only=False)
        kept = [CellReceipt(cell=c.cell, rows=c.n_rows, kept_rows=c.n_kept_rows) for c in best.receipt(rows, verdicts)]
        label = f"{group[SOURCE]}, generation {group[GENERATION]}"
        receipts.append(
            FilterReceipt(source=label, filter=best.spec.name, spec_id=best.spec.spec_id, cells=tuple(kept))
        )
    return keep, tuple(receipts)
