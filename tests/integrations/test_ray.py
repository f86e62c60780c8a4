"""The proof on Ray Data: the same answer as DuckDB on the same manifests."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from collapse_guard.errors import InputError, ManifestError
from collapse_guard.integrations.ray import _compared, prove_accumulation_on_ray, running
from collapse_guard.manifest import (
    Level,
    Manifest,
    add_takedowns,
    load_manifest,
    manifest_of,
    prove_accumulation,
    shard_of,
    write_manifest,
)
from collapse_guard.manifest.index import INDEX_SCHEMA
from collapse_guard.manifest.loss import LOST_SCHEMA

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def index_rows(numbers: np.ndarray, *, source: str = "web", origin: int = 1) -> pa.Table:
    raw = [hashlib.sha256(str(n).encode()).digest()[:16] for n in numbers.tolist()]
    words = np.frombuffer(b"".join(raw), dtype=">u8").reshape(-1, 2).astype(np.uint64)
    plain = {"source": source, "origin": origin, "evidence": 1, "generation": 0, "generator": None, "amount": 1.0}
    entries = [
        plain | {"id_hi": hi, "id_lo": lo, "class": ["cat", "dog", None][n % 3]}
        for n, (hi, lo) in zip(numbers.tolist(), words.tolist(), strict=True)
    ]
    return pa.Table.from_pylist(entries, INDEX_SCHEMA)


def written(path: Path, *tables: pa.Table) -> Manifest:
    parts = [shard_of(table, name=f"#{n}") for n, table in enumerate(tables)]
    write_manifest(manifest_of(parts, name=path.name, generation=0, class_column="label"), path)
    return load_manifest(path)


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Manifest, Manifest]:
    """A parent, and a child that lost 60 rows, moved 40 to an unchanged shard's source and took in new ones."""
    rng = np.random.default_rng(0)
    first, second = np.arange(2000), np.arange(1960, 3000)
    before = written(tmp_path / "a.cgm.json", index_rows(first), index_rows(second, source="books"))
    left = rng.permutation(first)
    left = left[(left >= 60) & (left < 1960)]
    after = written(
        tmp_path / "b.cgm.json",
        index_rows(left[:900]),
        index_rows(left[900:]),
        index_rows(second, source="books"),
        index_rows(np.arange(9000, 9500), source="made", origin=2),
    )
    return before, after


@pytest.fixture(scope="module")
def ray_runs() -> Iterator[None]:
    pytest.importorskip("ray.data")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_MODE", "disabled")
        patch.setenv("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        with running(num_cpus=2, object_store_memory=100 * 2**20):
            yield


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # Ray's own
@pytest.mark.parametrize("n_partitions", [None, 1, 5])
def test_ray_and_duckdb_give_the_same_proof(
    ray_runs: None, pair: tuple[Manifest, Manifest], tmp_path: Path, n_partitions: int | None
) -> None:
    taken = [hashlib.sha256(str(n).encode()).hexdigest()[:32] for n in range(10, 20)]
    options: dict[str, Any] = {"takedowns": add_takedowns(tmp_path / "t.jsonl", taken, reason="r", date="2026-01-01")}
    duck = prove_accumulation(*pair, **options, lost_to=tmp_path / "duck.parquet")
    spread = prove_accumulation_on_ray(*pair, **options, lost_to=tmp_path / "ray.parquet", n_partitions=n_partitions)
    assert spread == duck
    assert (duck.level, duck.loss.n_rows, duck.taken_down.n_rows) == (Level.ROWS, 50, 10)
    assert pq.read_table(tmp_path / "ray.parquet").equals(pq.read_table(tmp_path / "duck.parquet"))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_scope_holds_on_ray_too(ray_runs: None, pair: tuple[Manifest, Manifest]) -> None:
    for options in ({"scope": ["books"]}, {"exempt": ["web"]}, {"scope": ["web"]}):
        assert prove_accumulation_on_ray(*pair, **options) == prove_accumulation(*pair, **options)  # type: ignore[arg-type]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_part_that_a_worker_cannot_read_is_one_clear_error(ray_runs: None, pair: tuple[Manifest, Manifest]) -> None:
    path = pair[0].shards[0].path
    assert path is not None
    data = bytearray(path.read_bytes())
    data[4:30_000] = b"\xff" * 29_996
    path.write_bytes(data)
    with pytest.raises(ManifestError, match="not a readable Parquet file") as caught:
        prove_accumulation_on_ray(*pair)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_a_ray_that_was_started_here_ends_with_the_proof(pair: tuple[Manifest, Manifest]) -> None:
    pytest.importorskip("ray.data")
    code = (
        "import sys, ray\n"
        "from collapse_guard.integrations.ray import prove_accumulation_on_ray\n"
        "from collapse_guard.manifest import load_manifest\n"
        "proof = prove_accumulation_on_ray(*map(load_manifest, sys.argv[1:]))\n"
        "print(proof.loss.n_rows, ray.is_initialized())\n"
    )
    paths = [str(manifest.path) for manifest in pair]
    done = subprocess.run(
        [sys.executable, "-c", code, *paths],
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
        env=os.environ | {"RAY_AUTH_MODE": "disabled"},
    )
    assert done.stdout == "60 False\n"


@pytest.mark.parametrize("n", [1, 3, 16])
def test_the_function_of_the_workers_is_pure_and_gives_every_lost_row_once(
    pair: tuple[Manifest, Manifest], n: int
) -> None:
    before, after = pair
    known = before.shards[1].entry.real_digest
    parts = {
        "previous": [str(before.shards[0].path)],
        "changed": [str(shard.path) for shard in after.shards if shard.entry.real_digest != known],
        "unchanged": [str(shard.path) for shard in after.shards if shard.entry.real_digest == known],
    }
    tables = [_compared(pa.table({"id": [number]}), parts=parts, n=n) for number in range(n)]
    lost = pa.concat_tables(tables)
    assert lost.schema.names == [*LOST_SCHEMA.names, "fault"]
    assert (lost.num_rows, lost.column("fault").null_count) == (60, 60)
    assert len(set(lost.column("id_hi").to_pylist())) == 60
    (fault,) = _compared(pa.table({"id": [0]}), parts=parts | {"changed": ["gone.parquet"]}, n=n).to_pylist()
    assert fault["fault"].startswith("gone.parquet: no such part of the index")


def test_digests_decide_without_ray_and_without_a_part(pair: tuple[Manifest, Manifest], tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "a.index")
    code = (
        "import sys\n"
        "from collapse_guard.integrations.ray import prove_accumulation_on_ray\n"
        "from collapse_guard.manifest import load_manifest\n"
        "before = load_manifest(sys.argv[1])\n"
        "print(prove_accumulation_on_ray(before, before).level.value, 'ray' in sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(pair[0].path)], capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout == "root False\n"


def test_a_manifest_in_memory_is_refused_with_what_to_do(pair: tuple[Manifest, Manifest]) -> None:
    held = manifest_of([shard_of(index_rows(np.arange(5)), name="#0")], name="m", generation=0)
    with pytest.raises(ManifestError, match="shard '#0' is in memory; write the manifest where all workers see it"):
        prove_accumulation_on_ray(held, pair[1])


def test_no_partition_is_no_proof(pair: tuple[Manifest, Manifest]) -> None:
    with pytest.raises(InputError, match="n_partitions must be at least 1, got 0"):
        prove_accumulation_on_ray(*pair, n_partitions=0)
