"""Formats that others read: the header of a manifest and the result of the gate, byte for byte.

After a change of a format that is meant, write the files again and review their diff:

    COLLAPSE_GUARD_WRITE_GOLDEN=1 pytest tests/golden
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from collapse_guard.gate import check
from collapse_guard.manifest import FilterReceipt, Manifest, ParentLink, build_manifest, load_manifest, write_manifest
from collapse_guard.manifest.header import CellReceipt
from collapse_guard.records import DATE, EVIDENCE, GENERATION, GENERATOR, ID, ORIGIN, SOURCE
from collapse_guard.report import as_json

HERE = Path(__file__).parent
WRITE = os.environ.get("COLLAPSE_GUARD_WRITE_GOLDEN") == "1"

# id, label, origin, evidence, generation, source, generator
PARENT = [
    ("a", "cat", 1, 1, 0, "web", None),
    ("b", "cat", 1, 1, 0, "web", None),
    ("c", "dog", 1, 2, 0, "books", None),
    ("d", "owl \U0001f989", 1, 1, 0, "web", None),
]
CHILD = [
    *PARENT[:3],
    ("e", "cat", 2, 7, 1, "made", "m@1"),
    ("f", None, 2, 7, 1, "made", None),
    ("g", "dog", 0, 0, 255, "scraped", None),
]
POLICY = """\
version: 1
extends: preset:starter@1
name: golden
mix: {real_min_share: 0.6, synthetic_to_real_max: 0.5}
provenance: {forbid_reentry_of: [m@0]}
"""


def tagged(rows: list[tuple[Any, ...]]) -> pa.Table:
    names, label, origin, evidence, generation, source, generator = zip(*rows, strict=True)
    return pa.table(
        {
            "label": pa.array(label, pa.string()),
            ORIGIN: pa.array(origin, pa.uint8()),
            EVIDENCE: pa.array(evidence, pa.uint8()),
            GENERATION: pa.array(generation, pa.uint8()),
            SOURCE: pa.array(source, pa.string()),
            GENERATOR: pa.array(generator, pa.string()),
            DATE: pa.array([65535] * len(rows), pa.uint16()),
            ID: pa.array([hashlib.sha256(name.encode()).digest()[:16] for name in names], pa.binary(16)),
        }
    )


@pytest.fixture
def child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Manifest:
    """A child on disk, beside its parent and a policy that it breaks; paths are relative."""
    monkeypatch.chdir(tmp_path)
    Path("policy.yaml").write_text(POLICY, encoding="utf-8")
    parent = build_manifest(tagged(PARENT), name="gen0", generation=0, class_column="label")
    write_manifest(parent, "gen0.cgm.json")
    receipt = FilterReceipt(
        source="made",
        filter="quality",
        spec_id=f"sha256:{'1' * 64}",
        cells=(CellReceipt(cell="cat", rows=4, kept_rows=1), CellReceipt(cell="dog", rows=2, kept_rows=1)),
    )
    built = build_manifest(
        tagged(CHILD),
        name="gen1",
        generation=1,
        class_column="label",
        parents=[ParentLink(name="gen0", digest=parent.digest)],
        filters=[receipt],
        policy_digest=f"sha256:{'2' * 64}",
    )
    return write_manifest(built, "gen1.cgm.json")


def compare(name: str, found: bytes) -> None:
    path = HERE / name
    if WRITE:
        path.write_bytes(found)
    assert found.decode() == path.read_text(encoding="utf-8"), f"{name} differs; see the head of {Path(__file__).name}"


def test_the_header_of_a_manifest_is_as_it_was(child: Manifest) -> None:
    assert child.path is not None
    header = json.loads(child.path.read_bytes())
    header["created"], header["tool"] = "(a time)", "(a version)"
    for shard in header["shards"]:
        shard["part_digest"] = "(depends on the Parquet writer)"
    text = json.dumps(header, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    compare("manifest_header.json", text.encode())


def test_the_digest_of_a_manifest_is_as_it_was(child: Manifest) -> None:
    assert load_manifest("gen1.cgm.json").digest == child.digest
    digests = {"manifest": child.digest, "parent": load_manifest("gen0.cgm.json").digest}
    compare("manifest_digests.json", (json.dumps(digests, indent=2) + "\n").encode())


def test_the_result_of_the_gate_is_as_it_was(child: Manifest) -> None:
    assert child.path is not None
    result = check("policy.yaml", "gen1.cgm.json", against="gen0.cgm.json")
    assert result.exit_code == 1
    compare("gate_result.json", as_json(result.as_dict(), Path("result.json")).read_bytes())
