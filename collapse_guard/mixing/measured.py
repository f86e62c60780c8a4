"""Tagged rows -> what they really hold, by origin, source, generator, generation and class; what breaks the policy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from collapse_guard.errors import ProvenanceError
from collapse_guard.kernels import class_names
from collapse_guard.mixing.arguments import check_kind, check_policy, check_whole
from collapse_guard.mixing.pool import Codes
from collapse_guard.mixing.shares import Breach, WindowShares, bounds_of, broken_shares, window_shares
from collapse_guard.records import AMOUNT, GENERATION, GENERATOR, ORIGIN, SOURCE, UNKNOWN_GENERATION, Origin

if TYPE_CHECKING:
    from collapse_guard.policy import Policy


def measured_shares(rows: pa.Table, *, class_column: str | None, window_rows: int) -> dict[str, WindowShares]:
    """Return the shares of tagged rows in the order in which they are read, by kind of group.

    Args:
        rows: tagged rows; ``cg_amount`` says how much each is, 1 if it is not there.
        class_column: the column of the class, None for no shares of classes.
        window_rows: rows of a window.

    Kinds are origin, source, generator, generation and class; rows without a name count for none. Raises
    ProvenanceError for rows without tags or class, InputError for arguments of other types.
    """
    check_kind("rows", rows, pa.Table, "tag them first, and pass them as an Arrow table")
    check_whole("window_rows", window_rows, least=1)
    named = [ORIGIN, SOURCE, GENERATOR, GENERATION, *([] if class_column is None else [class_column])]
    absent = [name for name in named if name not in rows.column_names]
    if absent:
        raise ProvenanceError(f"rows lack the columns {', '.join(map(str, absent))}; tag them, or name another class")
    if rows.num_rows == 0:
        return {}
    amount = rows.column(AMOUNT).to_numpy() if AMOUNT in rows.column_names else np.ones(rows.num_rows)
    origins = pa.array([origin.name.lower() for origin in Origin])
    kinds = {
        "origin": origins.take(rows.column(ORIGIN).cast(pa.int64()).fill_null(0)),
        "source": rows.column(SOURCE),
        "generator": rows.column(GENERATOR),
        "generation": rows.column(GENERATION).fill_null(UNKNOWN_GENERATION).cast(pa.string()),
    }
    if class_column is not None:
        kinds["class"] = class_names(rows.column(class_column))
    coded = {kind: Codes.of_column(column) for kind, column in kinds.items()}
    return {
        kind: window_shares(codes.of, codes.names, amount, window_rows=window_rows)
        for kind, codes in coded.items()
        if codes.names
    }


def broken(shares: Mapping[str, WindowShares], policy: Policy) -> tuple[Breach, ...]:
    """Return the shares that break the policy, exact for the whole output, beyond chance for windows.

    Chance is ``batches.false_halt_rate`` over everything that is asked. Raises InputError for other types.
    """
    check_policy(policy)
    check_kind("shares", shares, Mapping, "take those of measured_shares")
    alpha = policy.batches.false_halt_rate / max(1, len(shares))
    found: list[Breach] = []
    for kind, each in shares.items():
        found += broken_shares(each, bounds_of(kind, each.names, policy), alpha=alpha)
    return tuple(found)
