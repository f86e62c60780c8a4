"""Manifests made by hand, and the results of a gate as the page is given them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from collapse_guard.gate import check
from collapse_guard.manifest import FilterReceipt, Manifest, ParentLink, build_manifest, write_manifest
from collapse_guard.manifest.header import CellReceipt
from collapse_guard.records import AMOUNT, DATE, EVIDENCE, GENERATION, GENERATOR, ID, ORIGIN, SOURCE

if TYPE_CHECKING:
    from pathlib import Path

Entries = list[dict[str, Any]]
Make = Callable[..., Manifest]

#: Names that break what does not escape: markup, ends of elements, lines, control characters, signs of other planes.
HOSTILE = (
    "<script>alert(1)</script>",
    "</script><img src=x onerror=alert(1)>",
    "</style></table>",
    "two\nlines %s $x^2$ ::error:: ]]>",
    "\x00\x1b[31m\u202e",
    "\U0001f408 {{ 7 * 7 }} {% raw %}",
    "'; DROP TABLE x; --\"&amp;",
)

KINDS: dict[str, pa.DataType] = {
    "label": pa.string(),
    ORIGIN: pa.uint8(),
    EVIDENCE: pa.uint8(),
    GENERATION: pa.uint8(),
    SOURCE: pa.string(),
    GENERATOR: pa.string(),
    DATE: pa.uint16(),
    AMOUNT: pa.float64(),
}
USUAL: dict[str, Any] = {
    "label": "cat",
    ORIGIN: 1,
    EVIDENCE: 1,
    GENERATION: 0,
    SOURCE: "web",
    GENERATOR: None,
    DATE: 65535,
    AMOUNT: 1.0,
}


def real(n_rows: int, *, first: int = 0, **tags: Any) -> Entries:
    return [{"id": first + n} | tags for n in range(n_rows)]


def made(n_rows: int, *, first: int = 100_000, **tags: Any) -> Entries:
    own = {ORIGIN: 2, EVIDENCE: 7, GENERATION: 1, SOURCE: "made", GENERATOR: "m@1"}
    return [{"id": first + n} | own | tags for n in range(n_rows)]


def tagged(entries: Sequence[dict[str, Any]]) -> pa.Table:
    ids = [hashlib.sha256(str(entry["id"]).encode()).digest()[:16] for entry in entries]
    columns = {
        name: pa.array([entry.get(name, USUAL[name]) for entry in entries], kind) for name, kind in KINDS.items()
    }
    return pa.table(columns | {ID: pa.array(ids, pa.binary(16))})


def build(entries: Sequence[dict[str, Any]], *, parent: Manifest | None = None, **options: Any) -> Manifest:
    links = [] if parent is None else [ParentLink(name=parent.header.name, digest=parent.digest)]
    generation = 0 if parent is None else parent.header.generation + 1
    said: dict[str, Any] = {"name": f"gen{generation}", "generation": generation, "class_column": "label"}
    manifest = build_manifest(tagged(entries), parents=links, **(said | options))
    header = manifest.header.model_copy(update={"created": "2026-01-02T03:04:05+00:00", "tool": "collapse-guard 0"})
    return Manifest(header, None, manifest.shards)


def receipt(source: str, cells: dict[str, tuple[int, int]]) -> FilterReceipt:
    held = tuple(CellReceipt(cell=cell, rows=rows, kept_rows=kept) for cell, (rows, kept) in sorted(cells.items()))
    return FilterReceipt(source=source, filter="quality", spec_id=f"sha256:{'5' * 64}", cells=held)


@pytest.fixture(scope="session")
def make() -> Make:
    """Return a function that makes a manifest of entries; ``parent`` is recorded."""
    return build


@pytest.fixture(scope="session")
def people() -> dict[str, Callable[..., Any]]:
    """Return functions that make entries and receipts: ``real``, ``made``, ``receipt``."""
    return {"real": real, "made": made, "receipt": receipt}


@pytest.fixture(scope="session")
def hostile() -> tuple[str, ...]:
    """Return names that break what does not escape them."""
    return HOSTILE


POLICY = """\
version: 1
name: "<b>policy</b>"
manifests: {current: gen2.cgm.json, previous: gen1.cgm.json}
sources:
  web: {origin: real, min_share: 0.60}
  made: {origin: synthetic, max_share: 0.30}
mix: {real_min_share: 0.60, per_generator_max_share: 0.2}
provenance: {max_generation_depth: 1}
coverage: {reference: gen0.cgm.json}
waivers:
  - {id: W-1, rule: CG102, where: {source: made}, reason: agreed, owner: us, expires: 2999-12-31, limit: {max: 1}}
"""


def chain(folder: Path) -> None:
    """Write three generations under names that break what does not escape, and a policy that the last one breaks."""
    first = real(60) + [
        entry for n, name in enumerate(HOSTILE) for entry in real(n + 1, first=1000 * (n + 1), label=name)
    ]
    gen0 = write_manifest(build(first), folder / "gen0.cgm.json")
    gen1 = write_manifest(build(first + made(30), parent=gen0), folder / "gen1.cgm.json")
    kept = [entry for entry in first if entry.get("label") != HOSTILE[0]][:-2]
    deep = made(9, first=200_000, **{GENERATION: 3, SOURCE: HOSTILE[1], GENERATOR: HOSTILE[2]})
    receipts = (receipt("made", {"cat": (50, 40), HOSTILE[3]: (4, 1)}), receipt("web", {"cat": (60, 60)}))
    last = build([*kept, *made(60), *deep], parent=gen1, filters=receipts)
    write_manifest(last, folder / "gen2.cgm.json")
    (folder / "policy.yaml").write_text(POLICY, encoding="utf-8")


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a chain of three generations and a policy."""
    folder = tmp_path_factory.mktemp("chain")
    chain(folder)
    return folder


@pytest.fixture(scope="session")
def view(written: Path) -> dict[str, Any]:
    """Return a result with figures: findings, a waiver, a chain, receipts, and hostile names."""
    return check(written / "policy.yaml").as_dict(figures=True)
