"""Before training: what may enter? Tag -> filter -> keep all real rows -> cap the rest -> manifest."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from collapse_guard.cells import CellMap, fit_cells
from collapse_guard.errors import AccumulationError, ContractError, FilterError, ProvenanceError
from collapse_guard.filters import KeepBestWithinCells, row_scores
from collapse_guard.identity import RECORD_IDS, content_ids
from collapse_guard.kernels import class_names, id_hex, id_words
from collapse_guard.manifest import FilterReceipt, Manifest, ParentLink, build_manifest, listed
from collapse_guard.manifest.header import CellReceipt
from collapse_guard.manifest.index import index_of
from collapse_guard.mixing import Breach, MixPlan, Pool, WindowShares, broken, measured_shares, plan_mix
from collapse_guard.plugins import nearest
from collapse_guard.records import (
    AMOUNT,
    CELL,
    DATE,
    EVIDENCE,
    GENERATION,
    GENERATOR,
    ID,
    ORIGIN,
    PROVENANCE_COLUMNS,
    SCORE,
    SOURCE,
    Origin,
)
from collapse_guard.rules.loss import proven_loss, unknown_scope

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from collapse_guard.filters import Score
    from collapse_guard.identity import IdRule
    from collapse_guard.manifest import Takedowns
    from collapse_guard.policy import Policy
    from collapse_guard.sources import Tag

ARROW_TYPES: Final[dict[str, pa.DataType]] = {
    ORIGIN: pa.uint8(),
    EVIDENCE: pa.uint8(),
    GENERATION: pa.uint8(),
    SOURCE: pa.string(),
    GENERATOR: pa.string(),
    DATE: pa.uint16(),
    ID: pa.binary(16),
}


def provenance_columns(content: pa.Table, tag: Tag, rule: IdRule = RECORD_IDS) -> pa.Table:
    """Return the provenance columns of ``content``, in their order, shape (rows, 7); ``cg_`` columns are no content."""
    n_rows = content.num_rows
    content = content.select([name for name in content.column_names if not name.startswith("cg_")])
    values = {
        ORIGIN: int(tag.origin),
        EVIDENCE: int(tag.evidence),
        GENERATION: tag.generation,
        SOURCE: tag.source,
        GENERATOR: tag.generator,
        DATE: tag.date,
    }
    columns = {name: pa.repeat(pa.scalar(value, ARROW_TYPES[name]), n_rows) for name, value in values.items()}
    columns[ID] = content_ids(content, rule)
    return pa.table({name: columns[name] for name in PROVENANCE_COLUMNS})


def check_tags(rows: pa.Table, *, origin: Origin, what: str) -> None:
    """Raise ProvenanceError unless every row of ``rows`` is tagged with ``origin``."""
    column = rows.column(ORIGIN)
    if column.null_count:
        raise ProvenanceError(f"{what}: {column.null_count} of {len(column)} rows have a null origin; tag them first")
    other = pc.sum(pc.not_equal(column, int(origin))).as_py() or 0
    if other:
        raise ProvenanceError(
            f"{what}: {other} of {len(column)} rows are not tagged {origin.name.lower()}; add them apart"
        )


@dataclass(frozen=True)
class Curated:
    """A training set as row numbers, its manifest, and what it really holds.

    Args:
        plan: which rows train.
        manifest: of all real rows and the chosen synthetic ones; real rows that a budget leaves out have amount 0.
        receipts: what the filter kept of each cell.
        shares: shares of the output, over windows of it as well, by kind of group: origin, source, ...
        breaches: shares that break the policy.
    """

    plan: MixPlan
    manifest: Manifest
    receipts: tuple[FilterReceipt, ...]
    shares: dict[str, WindowShares]
    breaches: tuple[Breach, ...]

    def view(self) -> dict[str, Any]:
        """Return plain figures: rows by kind, why synthetic rows stayed out, keep-rate per cell, shares in windows."""
        plan = self.plan
        return {
            "unit": plan.unit,
            "n_real_rows": int(plan.real.size),
            "n_synthetic_rows": int(plan.chosen.size),
            "n_retained_rows": plan.n_retained_rows,
            "real_amount": plan.real_amount,
            "synthetic_amount": plan.synthetic_amount,
            "real_share": plan.real_share,
            **asdict(plan.left),
            "n_topped_up_rows": plan.n_topped_up_rows,
            "n_repeated_rows": plan.n_repeated_rows,
            "short": [shortage.describe(plan.unit) for shortage in plan.short],
            "weights": {"real": plan.real_weight, "synthetic": plan.synthetic_weight},
            "keep_share_by_cell": {
                receipt.source: {cell.cell: cell.kept_rows / cell.rows for cell in receipt.cells if cell.rows}
                for receipt in self.receipts
            },
            "shares": {kind: found.as_dict() for kind, found in self.shares.items()},
            "breaches": [breach.describe() for breach in self.breaches],
        }


def curate(
    real: pa.Table,
    synthetic: pa.Table,
    policy: Policy,
    *,
    name: str,
    parent: Manifest | None = None,
    cells: CellMap | None = None,
    takedowns: Takedowns | None = None,
    reference: Mapping[str, float] | None = None,
) -> Curated:
    """Decide which rows train.

    Args:
        real: tagged real rows: provenance columns, the columns that the policy's cells read, and ``cg_amount`` if the
            policy counts another unit than rows.
        synthetic: tagged synthetic rows, with ``cg_score`` if the policy filters by quality.
        name: name of the manifest.
        parent: manifest of the generation before.
        cells: the policy's first cell map as earlier generations fitted it; fitted on ``real`` if left out.
        takedowns: lawful deletions: their rows may be missing, and must be.
        reference: real amount per class that ``mix.balance`` and ``mix.budget`` measure against; for balance the
            larger of the parent's and that of ``real``, class by class, if left out.

    Raises AccumulationError if there is no real row, or if a real row of the parent is missing; ContractError for rows
    that were taken down and for plans that the policy refuses; ManifestError for a parent of another id rule.
    """
    if real.num_rows == 0:
        column = None if policy.coverage is None else policy.coverage.class_column
        raise AccumulationError(_nothing_real(synthetic, column, parent))
    check_origins(real, synthetic, policy)
    _check_amounts((real, synthetic), policy)
    _check_takedowns(real, takedowns, "real")
    _check_takedowns(synthetic, takedowns, "synthetic")
    if cells is None:
        cells = cell_map(real, policy)
    pools = pools_of(real, synthetic, policy, cells)
    if reference is None and policy.mix.budget is None:
        reference = _anchor_amounts(pools, parent)
    plan = plan_mix(pools.real, pools.synthetic, policy, reference=reference)
    manifest = build_manifest(
        planned_rows(pools, plan),
        name=name,
        generation=0 if parent is None else parent.header.generation + 1,
        class_column=pools.class_column,
        parents=() if parent is None else (ParentLink(name=parent.header.name, digest=parent.digest),),
        filters=pools.receipts,
        policy_digest=policy.digest,
        unit=policy.unit,
        unit_column=policy.unit_column,
        id_rule=policy.identity.id_rule().name,
        takedowns=None if takedowns is None else takedowns.entry,
    )
    if parent is not None:
        _check_nothing_lost(policy, parent, manifest, takedowns)
    shares = plan_shares(pools, plan, policy)
    return Curated(plan, manifest, pools.receipts, shares, broken(shares, policy))


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


def _anchor_amounts(pools: Pools, parent: Manifest | None) -> dict[str, float] | None:
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


def unknown_sources(policy: Policy) -> frozenset[str]:
    """Return the sources that the policy declares to be of unknown origin; rows of others must say who made them."""
    return frozenset(name for name, source in policy.sources.items() if source.origin == "unknown")


def check_origins(real: pa.Table, synthetic: pa.Table, policy: Policy) -> None:
    """Raise ProvenanceError for rows that stand on the wrong side, or of which nothing is known."""
    check_tags(real, origin=Origin.REAL, what="real rows")
    origins = synthetic.column(ORIGIN).fill_null(int(Origin.UNKNOWN)).to_numpy()
    among = int((origins == Origin.REAL).sum())
    if among:
        raise ProvenanceError(f"synthetic rows: {among} of {synthetic.num_rows} are tagged real; add them apart")
    declared = pc.is_in(synthetic.column(SOURCE), value_set=pa.array(sorted(unknown_sources(policy)), pa.string()))
    unknown = int(((origins == Origin.UNKNOWN) & ~declared.to_numpy().astype(bool)).sum())
    if unknown:
        text = f"synthetic rows: {unknown} of {synthetic.num_rows} are of unknown origin; tag them"
        raise ProvenanceError(f"{text}, or declare their source as origin: unknown in the policy")


def _check_amounts(parts: Sequence[pa.Table], policy: Policy) -> None:
    """Raise ProvenanceError for rows that do not say how much they are, where the policy does not count rows."""
    for rows in parts:
        if policy.unit != "rows" and rows.num_rows and AMOUNT not in rows.schema.names:
            text = f"the policy counts {policy.unit}, and the rows have no {AMOUNT}"
            raise ProvenanceError(f"{text}; add it (collapse_guard.readers.amounts), or set unit: rows")


def _check_takedowns(rows: pa.Table, takedowns: Takedowns | None, kind: str) -> None:
    """Raise ContractError for rows that were taken down; a generator that repeats one word for word counts as well."""
    if takedowns is None or rows.num_rows == 0:
        return
    hi, lo = id_words(rows.column(ID))
    back = np.flatnonzero(takedowns.covers(hi, lo))
    if back.size:
        ids = ", ".join(id_hex(int(hi[row]), int(lo[row])) for row in back[:10])
        row = "row was" if back.size == 1 else "rows were"
        raise ContractError(f"{back.size} {kind} {row} taken down, and must not come back: ids {ids}; leave them out")


def _check_nothing_lost(policy: Policy, parent: Manifest, manifest: Manifest, takedowns: Takedowns | None) -> None:
    wrong = unknown_scope(policy, parent, manifest)
    if wrong is not None:
        raise AccumulationError(wrong)
    loss = proven_loss(policy, parent, manifest, takedowns=takedowns)
    if loss.n_rows > policy.accumulation.allow_loss:
        text = f"{loss.describe()}; put them back (allowed: {policy.accumulation.allow_loss})"
        raise AccumulationError(text)


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


def _nothing_real(synthetic: pa.Table, column: str | None, parent: Manifest | None) -> str:
    """Return the message for a set without any real row: what there is instead, by source and class."""
    if synthetic.num_rows == 0:
        return "there is no row at all; add real rows first"
    index = index_of(synthetic, class_column=column)
    grouped = index.group_by(["source", "class"]).aggregate([([], "count_all")]).to_pylist()
    groups = sorted(((g["source"], g["class"], g["count_all"]) for g in grouped), key=lambda g: (-g[2], str(g)))
    ids = tuple(id_hex(row["id_hi"], row["id_lo"]) for row in index.slice(0, 10).to_pylist())
    before = "" if parent is None else f"; the parent generation held {parent.n_origin_rows(Origin.REAL)} real rows"
    made = f"{synthetic.num_rows} rows: {listed(groups, ids)}"
    return f"nothing but synthetic: {made}{before}; add the real rows, they are never replaced"


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


def cell_map(real: pa.Table, policy: Policy) -> CellMap | None:
    """Return the policy's first cell map, fitted on real rows; None if it declares none."""
    if policy.coverage is None or not policy.coverage.cells:
        return None
    first = policy.coverage.cells[0]  # whether its code may run was asked when the policy was loaded
    return fit_cells(first.kind, real, allow_code=True, **first.declared())


def with_classes(rows: pa.Table, policy: Policy, cells: CellMap | None) -> tuple[pa.Table, str | None]:
    """Return rows and the column that holds their class: the label, or the name of the cell for other kinds."""
    label = None if policy.coverage is None else policy.coverage.class_column
    if cells is None or (label is not None and not is_nested(rows, label)):
        return rows, label
    if rows.num_rows == 0:  # without content columns, too
        return rows.append_column(CELL, pa.array([], pa.string())), CELL
    found = cells.cells(rows)
    names = pa.array([*cells.names, None], pa.string()).take(pa.array(np.where(found < 0, cells.n_cells, found)))
    return rows.append_column(CELL, names), CELL


def is_nested(rows: pa.Table, column: str) -> bool:
    """Return whether a column holds lists: several labels per row."""
    return column in rows.schema.names and pa.types.is_nested(rows.schema.field(column).type)


def quality_scores(rows: pa.Table, score: Score | None, policy: Policy) -> pa.Array:
    """Return ``cg_score`` of synthetic rows: null without a quality filter in the policy, checked otherwise."""
    quality = policy.filters.quality
    if quality is None:
        if score is not None:
            raise FilterError("a score was given, and the policy has no filters.quality; add it with a keep_share")
        return pa.nulls(rows.num_rows, pa.float64())
    return pa.array(row_scores(quality.score if score is None else score, rows), pa.float64())
