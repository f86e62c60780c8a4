"""Provenance columns of rows, and the checks that they are what they are added as."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pyarrow as pa
import pyarrow.compute as pc

from collapse_guard.errors import ProvenanceError
from collapse_guard.identity import RECORD_IDS, content_ids
from collapse_guard.records import (
    DATE,
    EVIDENCE,
    GENERATION,
    GENERATOR,
    ID,
    ORIGIN,
    PROVENANCE_COLUMNS,
    SOURCE,
    Origin,
)

if TYPE_CHECKING:
    from collapse_guard.identity import IdRule
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
