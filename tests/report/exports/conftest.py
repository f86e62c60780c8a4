"""A generation on disk: two sources, a parent, a data file that one shard was read from."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from collapse_guard.manifest import Manifest, ParentLink, manifest_of, shard_of, write_manifest
from collapse_guard.manifest.header import FileEntry
from collapse_guard.manifest.index import INDEX_SCHEMA

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

PARENT = ParentLink(name="gen0", digest=f"sha256:{'3' * 64}")
GENERATOR = "my model@1"


def index_rows(entries: Sequence[dict[str, Any]]) -> pa.Table:
    """Return index rows of entries with an ``id`` and, where it matters, other columns."""
    usual = {"source": "web", "origin": 1, "evidence": 1, "generation": 0, "class": "cat", "generator": None}
    rows = []
    for entry in entries:
        digest = hashlib.sha256(str(entry["id"]).encode()).digest()
        words = {"id_hi": int.from_bytes(digest[:8]), "id_lo": int.from_bytes(digest[8:16])}
        rows.append(usual | {"amount": 1.0} | words | {key: entry[key] for key in entry if key != "id"})
    return pa.Table.from_pylist(rows, INDEX_SCHEMA)


def made(name: str, file: FileEntry | None = None) -> Manifest:
    """Return a manifest in memory: five real rows of ``web``, three synthetic ones."""
    real = shard_of(index_rows([{"id": n} for n in range(5)]), name="web#0", file=file)
    tags = {"source": "own, odd \u00e9", "origin": 2, "evidence": 7, "generation": 1, "generator": GENERATOR}
    synthetic = shard_of(index_rows([{"id": f"s{n}", "class": None} | tags for n in range(3)]), name="own#0")
    manifest = manifest_of([real, synthetic], name=name, generation=1, class_column="label", parents=[PARENT])
    header = manifest.header.model_copy(update={"created": "2026-01-02T03:04:05+00:00", "tool": "collapse-guard 0.0"})
    return Manifest(header, None, manifest.shards)


@pytest.fixture
def on_disk(tmp_path: Path) -> Manifest:
    """A manifest on disk, with a name that is no plain word."""
    file = FileEntry(path="a b/x[1].parquet", bytes=10, digest=f"sha256:{'0' * 64}")
    return write_manifest(made("gen1 \u00fc", file), tmp_path / "gen 1 [x].cgm.json")
