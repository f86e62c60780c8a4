"""What keeps rows from entering at all: rows that count for nothing, taken-down ones, lost ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from collapse_guard.errors import AccumulationError, ContractError, ProvenanceError
from collapse_guard.kernels import id_hex, id_words
from collapse_guard.manifest import Manifest, listed
from collapse_guard.manifest.index import index_of
from collapse_guard.records import (
    AMOUNT,
    ID,
    Origin,
)
from collapse_guard.rules.loss import proven_loss, unknown_scope

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa

    from collapse_guard.manifest import Takedowns
    from collapse_guard.policy import Policy


def check_amounts(parts: Sequence[pa.Table], policy: Policy) -> None:
    """Raise ProvenanceError for rows that do not say how much they are, where the policy does not count rows."""
    for rows in parts:
        if policy.unit != "rows" and rows.num_rows and AMOUNT not in rows.schema.names:
            text = f"the policy counts {policy.unit}, and the rows have no {AMOUNT}"
            raise ProvenanceError(f"{text}; add it (collapse_guard.readers.amounts), or set unit: rows")


def check_takedowns(rows: pa.Table, takedowns: Takedowns | None, kind: str) -> None:
    """Raise ContractError for rows that were taken down; a generator that repeats one word for word counts as well."""
    if takedowns is None or rows.num_rows == 0:
        return
    hi, lo = id_words(rows.column(ID))
    back = np.flatnonzero(takedowns.covers(hi, lo))
    if back.size:
        ids = ", ".join(id_hex(int(hi[row]), int(lo[row])) for row in back[:10])
        row = "row was" if back.size == 1 else "rows were"
        raise ContractError(f"{back.size} {kind} {row} taken down, and must not come back: ids {ids}; leave them out")


def check_nothing_lost(policy: Policy, parent: Manifest, manifest: Manifest, takedowns: Takedowns | None) -> None:
    """Raise AccumulationError if real rows of the parent are missing beyond what the policy allows."""
    wrong = unknown_scope(policy, parent, manifest)
    if wrong is not None:
        raise AccumulationError(wrong)
    loss = proven_loss(policy, parent, manifest, takedowns=takedowns)
    if loss.n_rows > policy.accumulation.allow_loss:
        text = f"{loss.describe()}; put them back (allowed: {policy.accumulation.allow_loss})"
        raise AccumulationError(text)


def nothing_real(synthetic: pa.Table, column: str | None, parent: Manifest | None) -> str:
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
