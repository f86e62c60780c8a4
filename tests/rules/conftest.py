"""Manifests of tagged rows, made by hand."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa
import pytest

from collapse_guard.manifest import Manifest, ParentLink, build_manifest
from collapse_guard.records import AMOUNT, DATE, EVIDENCE, GENERATION, GENERATOR, ID, ORIGIN, SOURCE, Evidence, Origin

Make = Callable[..., Manifest]


def tagged(entries: Sequence[dict[str, Any]]) -> pa.Table:
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
            AMOUNT: column("amount", 1.0, pa.float64()),
        }
    )


@pytest.fixture(scope="session")
def make() -> Make:
    """Return the manifest of entries with an ``id`` and, where it matters, other tags; ``parent`` is recorded."""

    def build(entries: Sequence[dict[str, Any]], *, parent: Manifest | None = None, **options: Any) -> Manifest:
        links = [] if parent is None else [ParentLink(name=parent.header.name, digest=parent.digest)]
        generation = 0 if parent is None else parent.header.generation + 1
        said: dict[str, Any] = {
            "name": f"gen{generation}",
            "generation": generation,
            "class_column": "label",
            "parents": links,
        }
        return build_manifest(tagged(entries), **(said | options))

    return build
