"""Before training: what may enter? Tag -> filter -> keep all real rows -> cap the rest -> manifest."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from collapse_guard.cells import CellMap, fit_cells
from collapse_guard.errors import AccumulationError, FilterError, ProvenanceError
from collapse_guard.filters import KeepBestWithinCells, row_scores
from collapse_guard.kernels import content_ids, id_hex, id_words
from collapse_guard.manifest import FilterReceipt, Manifest, ParentLink, build_manifest, listed
from collapse_guard.manifest.header import CellReceipt
from collapse_guard.manifest.index import index_of
from collapse_guard.mixing import MixPlan, SyntheticPool, plan_mix
from collapse_guard.records import (
    DATE,
    EVIDENCE,
    GENERATION,
    GENERATOR,
    ID,
    ORIGIN,
    PROVENANCE_COLUMNS,
    SCORE,
    SOURCE,
    UNKNOWN_DATE,
    UNKNOWN_GENERATION,
    Evidence,
    Origin,
)
from collapse_guard.rules.loss import proven_loss, unknown_scope

if TYPE_CHECKING:
    from collapse_guard.filters import Score
    from collapse_guard.policy import Policy

#: Column that holds the name of a row's cell while a manifest is made.
CELL: Final = "cg_cell"

ARROW_TYPES: Final[dict[str, pa.DataType]] = {
    ORIGIN: pa.uint8(),
    EVIDENCE: pa.uint8(),
    GENERATION: pa.uint8(),
    SOURCE: pa.string(),
    GENERATOR: pa.string(),
    DATE: pa.uint16(),
    ID: pa.binary(16),
}


E = TypeVar("E", Origin, Evidence)


@dataclass(frozen=True, slots=True)
class Tag:
    """The provenance that a whole set of rows shares.

    >>> Tag.of(origin="real", source="web").generation
    0
    """

    origin: Origin
    source: str
    generator: str | None
    generation: int
    evidence: Evidence
    date: int

    @classmethod
    def of(
        cls,
        *,
        origin: Origin | str,
        source: str,
        generator: str | None = None,
        generation: int | None = None,
        evidence: Evidence | str = Evidence.DECLARED,
        date: dt.date | None = None,
    ) -> Tag:
        """Return a checked tag; raises ProvenanceError for a combination that cannot be."""
        who, how = _member(Origin, origin, "origin"), _member(Evidence, evidence, "evidence")
        depth = generation if generation is not None else (0 if who is Origin.REAL else UNKNOWN_GENERATION)
        if not isinstance(source, str) or not source:
            raise ProvenanceError(f"source must be a name, got {source!r}")
        if generator is not None and (not isinstance(generator, str) or not generator):
            raise ProvenanceError(f"generator must be text such as 'model@revision', got {generator!r}")
        if not isinstance(depth, int) or isinstance(depth, bool) or not 0 <= depth <= UNKNOWN_GENERATION:
            raise ProvenanceError(f"generation must be 0 to 254, or 255 for unknown, got {generation!r}")
        if who is not Origin.UNKNOWN and how is Evidence.NONE:
            raise ProvenanceError(f"origin {who.name.lower()} needs evidence; pass evidence='declared' or better")
        if who is Origin.REAL and how is Evidence.STATISTICAL:
            raise ProvenanceError("statistics alone cannot make a row real; pass origin='unknown'")
        if who is Origin.REAL and (depth != 0 or generator is not None):
            raise ProvenanceError(f"real rows have generation 0 and no generator, got {generation!r} and {generator!r}")
        if who is Origin.SYNTHETIC and depth == 0:
            raise ProvenanceError("synthetic rows have generation 1 or more: 1 + that of the data their model saw")
        days = UNKNOWN_DATE if date is None else (date - dt.date(1970, 1, 1)).days
        if not 0 <= days <= UNKNOWN_DATE:
            raise ProvenanceError(f"date must lie in 1970-01-01 to 2149-06-05, got {date}")
        return cls(who, source, generator, depth, how, days)


def _member(kind: type[E], value: E | str, name: str) -> E:
    if isinstance(value, str):
        if value.upper() not in kind.__members__:
            raise ProvenanceError(f"{name} must be one of {_names(kind)}, got {value!r}")
        return kind[value.upper()]
    try:
        return kind(value)
    except ValueError:
        raise ProvenanceError(f"{name} must be one of {_names(kind)}, got {value!r}") from None


def _names(kind: type[Origin | Evidence]) -> str:
    return ", ".join(member.name.lower() for member in kind)


def provenance_columns(content: pa.Table, tag: Tag) -> pa.Table:
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
    columns[ID] = content_ids(content)
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
    """A training set as row numbers, and its manifest."""

    plan: MixPlan
    manifest: Manifest
    receipts: tuple[FilterReceipt, ...]

    def view(self) -> dict[str, Any]:
        """Return plain figures: rows by kind, why synthetic rows stayed out, keep-rate per cell."""
        plan = self.plan
        return {
            "n_real_rows": plan.n_real_rows,
            "n_synthetic_rows": int(plan.chosen.size),
            "real_share": plan.real_share,
            "n_filtered_rows": plan.n_filtered_rows,
            "n_too_deep_rows": plan.n_too_deep_rows,
            "n_capped_rows": plan.n_capped_rows,
            "keep_share_by_cell": {
                receipt.source: {cell.cell: cell.kept_rows / cell.rows for cell in receipt.cells if cell.rows}
                for receipt in self.receipts
            },
        }


def curate(
    real: pa.Table,
    synthetic: pa.Table,
    policy: Policy,
    *,
    name: str,
    parent: Manifest | None = None,
    cells: CellMap | None = None,
) -> Curated:
    """Decide which rows train.

    Args:
        real: tagged real rows: provenance columns, and the columns that the policy's cells read.
        synthetic: tagged synthetic rows, with ``cg_score`` if the policy filters by quality.
        name: name of the manifest.
        parent: manifest of the generation before.
        cells: the policy's first cell map as earlier generations fitted it; fitted on ``real`` if left out.

    Raises AccumulationError if there is no real row, or if a real row of the parent is missing.
    """
    if real.num_rows == 0:
        column = None if policy.coverage is None else policy.coverage.class_column
        raise AccumulationError(_nothing_real(synthetic, column, parent))
    if cells is None:
        cells = cell_map(real, policy)
    keep, receipts = filter_synthetic(synthetic, policy, cells)
    plan = plan_mix(real.num_rows, _pool(synthetic, keep), policy)
    real, column = with_classes(real, policy, cells)
    columns = [*PROVENANCE_COLUMNS, *([column] if column is not None else [])]
    parts = [real.select(columns)]
    if plan.chosen.size:
        parts.append(with_classes(synthetic, policy, cells)[0].select(columns).take(plan.chosen))
    manifest = build_manifest(
        pa.concat_tables(parts, promote_options="permissive"),
        name=name,
        generation=0 if parent is None else parent.header.generation + 1,
        class_column=column,
        parents=() if parent is None else (ParentLink(name=parent.header.name, digest=parent.digest),),
        filters=receipts,
        policy_digest=policy.digest,
    )
    if parent is not None:
        wrong = unknown_scope(policy, parent, manifest)
        if wrong is not None:
            raise AccumulationError(wrong)
        loss = proven_loss(policy, parent, manifest)
        if loss.n_rows > policy.accumulation.allow_loss:
            text = f"{loss.describe()}; put them back (allowed: {policy.accumulation.allow_loss})"
            raise AccumulationError(text)
    return Curated(plan, manifest, receipts)


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


def _pool(synthetic: pa.Table, keep: np.ndarray) -> SyntheticPool:
    hi, lo = id_words(synthetic.column(ID))
    return SyntheticPool(
        keep,
        np.asarray(synthetic.column(SOURCE).to_pylist(), dtype=np.str_),
        np.asarray(synthetic.column(GENERATOR).fill_null("").to_pylist(), dtype=np.str_),
        synthetic.column(GENERATION).fill_null(UNKNOWN_GENERATION).to_numpy().astype(np.int64),
        hi,
        lo,
    )
