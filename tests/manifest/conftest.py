"""Tagged rows, made by hand."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa
import pytest

from collapse_guard.records import DATE, EVIDENCE, GENERATION, GENERATOR, ID, ORIGIN, SOURCE, Evidence, Origin

Rows = Callable[[Sequence[dict[str, Any]]], pa.Table]


@pytest.fixture(scope="session")
def tagged() -> Rows:
    """Return tagged rows of entries with an ``id`` and, where it matters, other tags."""

    def table(entries: Sequence[dict[str, Any]]) -> pa.Table:
        def column(name: str, default: Any, kind: pa.DataType) -> pa.Array:
            return pa.array([entry.get(name, default) for entry in entries], kind)

        ids = [hashlib.sha256(str(entry["id"]).encode()).digest()[:16] for entry in entries]
        return pa.table(
            {
                "label": column("label", "cat", pa.string()),
                ORIGIN: column("origin", int(Origin.REAL), pa.uint8()),
                EVIDENCE: column("evidence", int(Evidence.DECLARED), pa.uint8()),
                GENERATION: column("generation", 0, pa.uint8()),
                SOURCE: column("source", "web", pa.string()),
                GENERATOR: column("generator", None, pa.string()),
                DATE: column("date", 65535, pa.uint16()),
                ID: pa.array(ids, pa.binary(16)),
            }
        )

    return table
