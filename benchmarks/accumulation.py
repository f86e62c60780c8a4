"""The accumulation proof against a bare DuckDB anti-join of the same Parquet parts.

10 M rows against 12 M, 1 000 of them lost, ids of 128 bits, shards of 2^20 rows. Every shard of the parent has changed:
digests decide nothing, and all rows are compared. The peer counts the rows that are missing and does no more. The proof
also finds their source and class, and writes them to a file. ``limit_700MB`` is the same under that memory limit, and
``root_100M`` the path that digests decide, with headers of 100 M rows whose parts do not even exist.

Each measurement is a process of its own, peer and proof in turn; imports are told apart from ``cpu_s``. CPU seconds,
not wall time: others may share the machine. Figures are medians with quartiles, ratios are taken round by round, and
``rss_mb`` is the peak of the whole process, with Python and imports. ``--huge`` adds 100 M against 110 M, once, under
4 GB (8 GB of disk). Prints one line of JSON.
"""

from __future__ import annotations

# ruff: noqa: PLC0415 - the process that starts the others stays small, and imports are timed
import argparse
import importlib
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

N_CLASSES = 5_000
THREADS = 2
PEER = "SELECT count(*) FROM previous ANTI JOIN current USING (id_hi, id_lo)"


def index_rows(numbers: NDArray[Any], source: str, origin: int) -> Any:
    """Return index rows of made-up ids: a bijection of 64 bits for each word, the same in every run."""
    import numpy as np
    import pyarrow as pa

    from collapse_guard.kernels import mix64
    from collapse_guard.manifest.index import INDEX_SCHEMA

    words, n = numbers.astype(np.uint64), numbers.size
    hi, lo = mix64(words + np.uint64(0x9E3779B97F4A7C15)), mix64(words * np.uint64(2) + np.uint64(1))
    names = pa.array([f"class {number:04}" for number in range(N_CLASSES)])

    def same(value: Any, kind: pa.DataType) -> pa.Array:
        return pa.repeat(pa.scalar(value, kind), n)

    is_real = origin == 1
    columns = {
        "id_hi": pa.array(hi),
        "id_lo": pa.array(lo),
        "source": same(source, pa.string()),
        "origin": same(origin, pa.uint8()),
        "evidence": same(1 if is_real else 7, pa.uint8()),
        "generation": same(0 if is_real else 1, pa.uint8()),
        "class": names.take(pa.array((hi % np.uint64(N_CLASSES)).astype(np.int64))),
        "generator": same(None if is_real else "model@1", pa.string()),
        "amount": same(1.0, pa.float64()),
    }
    return pa.table([columns[name] for name in INDEX_SCHEMA.names], schema=INDEX_SCHEMA)


def write(path: Path, parts: Iterator[tuple[str, str, int, NDArray[Any]]], **options: Any) -> Any:
    """Write a manifest shard by shard; returns it."""
    from collapse_guard.manifest import index_folder, manifest_of, shard_of, write_manifest, write_shard

    shards = []
    for name, source, origin, numbers in parts:
        shard = write_shard(shard_of(index_rows(numbers, source, origin), name=name), index_folder(path))
        shards.append(replace(shard, table=None))
    return write_manifest(manifest_of(shards, name=path.stem, class_column="label", **options), path)


def generate(folder: Path, n_before: int, n_after: int, n_lost: int) -> None:
    """Write a parent of ``n_before`` real rows, and a child that dealt them to other shards, lost some and grew."""
    import numpy as np

    from collapse_guard.manifest import ParentLink
    from collapse_guard.manifest.index import SHARD_ROWS

    n_shards = -(-n_before // SHARD_ROWS)
    gone = np.sort(np.random.default_rng(0).choice(n_before, n_lost, replace=False))
    new = np.arange(n_before, n_after + n_lost)

    def before() -> Iterator[tuple[str, str, int, NDArray[Any]]]:
        for number in range(n_shards):
            first = number * SHARD_ROWS
            yield f"web#{number:05}", "web", 1, np.arange(first, min(n_before, first + SHARD_ROWS))

    def after() -> Iterator[tuple[str, str, int, NDArray[Any]]]:
        for number in range(n_shards):
            dealt = np.arange(number, n_before, n_shards)
            yield f"web#{number:05}", "web", 1, dealt[~np.isin(dealt, gone)]
        for number, first in enumerate(range(0, new.size, SHARD_ROWS)):
            source, origin = (("fresh", 1), ("made", 2))[number % 2]
            yield f"{source}#{number:05}", source, origin, new[first : first + SHARD_ROWS]

    parent = write(folder / "before.cgm.json", before(), generation=0)
    link = ParentLink(name=parent.header.name, digest=parent.digest)
    write(folder / "after.cgm.json", after(), generation=1, parents=(link,))


def generate_headers(folder: Path, n_rows: int) -> None:
    """Write two headers of the same ``n_rows`` real rows, the child's with a synthetic shard more, and no part."""
    import numpy as np

    from collapse_guard.kernels import sha256_hex
    from collapse_guard.manifest import manifest_of, shard_of
    from collapse_guard.manifest.index import SHARD_ROWS

    real, made = (shard_of(index_rows(np.arange(9), name, code), name=name) for name, code in (("web", 1), ("made", 2)))
    shards = []
    for number in range(-(-n_rows // SHARD_ROWS)):
        rows = min(SHARD_ROWS, n_rows - number * SHARD_ROWS)
        digests = {key: sha256_hex([f"{key} {number}".encode()]) for key in ("digest", "real_digest")}
        update = {"name": f"web#{number:05}", "rows": rows, "real_rows": rows, **digests}
        shards.append(replace(real, entry=real.entry.model_copy(update=update)))
    for name, parts in (("before", shards), ("after", [*shards, made])):
        header = manifest_of(parts, name=name, generation=0).header
        (folder / f"{name}.cgm.json").write_bytes(header.as_json())


def peer(folder: Path, memory: str | None) -> int:
    """Count missing ids with one query; returns how many."""
    import duckdb

    config = {"preserve_insertion_order": "false", "threads": THREADS, "temp_directory": str(folder / "spill")}
    with duckdb.connect(":memory:", config=config | ({} if memory is None else {"memory_limit": memory})) as database:
        for view, name in (("previous", "before"), ("current", "after")):
            parts = [str(path) for path in sorted((folder / f"{name}.index").glob("*.parquet"))]
            database.read_parquet(parts).create_view(view)
        return int(database.execute(PEER).fetchall()[0][0])


def proof(folder: Path, memory: str | None) -> int:
    """Prove accumulation and write the lost rows; returns how many."""
    from collapse_guard.manifest import Limits, load_manifest, prove_accumulation

    before, after = (load_manifest(folder / f"{name}.cgm.json") for name in ("before", "after"))
    limits = Limits(memory, THREADS, folder / "spill")
    return prove_accumulation(before, after, limits=limits, lost_to=folder / "lost.parquet").loss.n_rows


def peak_mb() -> float:
    """Return the peak memory of this process alone: ``ru_maxrss`` would hold that of its parent too."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def measured(arm: str, folder: Path, memory: str | None) -> dict[str, float]:
    """Return what one run of an arm takes; runs in a process of its own."""
    start = time.process_time()
    for module in ("duckdb", *(["collapse_guard.manifest"] if arm == "proof" else [])):
        importlib.import_module(module)
    work = {"peer": peer, "proof": proof}[arm]
    middle, wall = time.process_time(), time.perf_counter()
    n_lost = work(folder, memory)
    took = {"cpu_s": time.process_time() - middle, "wall_s": time.perf_counter() - wall, "import_s": middle - start}
    return took | {"rss_mb": peak_mb(), "n_lost": n_lost}


def in_a_process(*arguments: str, file: str = __file__) -> dict[str, Any]:
    """Run a file, this one if none is named, with arguments; returns the JSON that it prints, {} for none."""
    done = subprocess.run([sys.executable, file, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(arguments)}: {done.stderr}")
    value: dict[str, Any] = json.loads(done.stdout or "{}")
    return value


def spread(values: list[float], digits: int = 2) -> dict[str, Any]:
    """Return the median and the quartiles."""
    quartiles = statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else values * 3
    return {
        "median": round(statistics.median(values), digits),
        "quartiles": [round(each, digits) for each in (quartiles[0], quartiles[2])],
    }


def compared(folder: Path, memory: str | None, *, n_rounds: int, n_lost: int) -> dict[str, Any]:
    """Return peer and proof in turn over rounds, and their ratio round by round."""
    runs: dict[str, list[dict[str, Any]]] = {"peer": [], "proof": []}
    for number in range(n_rounds):
        for arm in sorted(runs, reverse=bool(number % 2)):
            found = in_a_process("--arm", arm, "--folder", str(folder), *(["--memory", memory] if memory else []))
            assert found["n_lost"] == n_lost, f"{arm} found {found['n_lost']} lost rows of {n_lost}"
            runs[arm].append(found)
    figures: dict[str, Any] = {
        arm: {key: spread([run[key] for run in found]) for key in ("cpu_s", "wall_s")}
        | {"rss_mb": round(max(run["rss_mb"] for run in found))}
        for arm, found in runs.items()
    }
    pairs = zip(runs["proof"], runs["peer"], strict=True)
    return figures | {"cpu_ratio": spread([ours["cpu_s"] / theirs["cpu_s"] for ours, theirs in pairs])}


def by_root(folder: Path, n_rows: int, n_rounds: int) -> dict[str, Any]:
    """Return what the digests' path takes on headers of ``n_rows`` rows."""
    headers = folder / "headers"
    headers.mkdir()
    in_a_process("--make-headers", str(n_rows), "--folder", str(headers))
    runs = [in_a_process("--arm", "proof", "--folder", str(headers)) for _ in range(n_rounds)]
    return {key: spread([run[key] for run in runs], 3) for key in ("cpu_s", "import_s", "wall_s")} | {
        "header_kb": round((headers / "before.cgm.json").stat().st_size / 1024)
    }


def pair(folder: Path, sizes: tuple[int, int, int]) -> Path:
    """Write a pair of manifests in a process of its own, so that this one stays small; returns their folder."""
    made = folder / f"{sizes[0]}"
    made.mkdir()
    in_a_process("--make", *map(str, sizes), "--folder", str(made))
    return made


def figures_of(folder: Path, *, is_quick: bool, is_huge: bool) -> dict[str, Any]:
    """Return every figure."""
    sizes = (1_000_000, 1_200_000, 100) if is_quick else (10_000_000, 12_000_000, 1_000)
    n_rounds = 3 if is_quick else 9
    made = pair(folder, sizes)
    figures: dict[str, Any] = {"rows": list(sizes), "threads": THREADS, "n_rounds": n_rounds}
    figures["free"] = compared(made, None, n_rounds=n_rounds, n_lost=sizes[2])
    figures["limit_700MB"] = compared(made, "700MB", n_rounds=n_rounds, n_lost=sizes[2])
    figures["root_100M"] = by_root(folder, 100_000_000, n_rounds)
    shutil.rmtree(made)
    if is_huge:
        huge = (100_000_000, 110_000_000, 1_000)
        figures["huge_4GB"] = {"rows": list(huge)} | compared(pair(folder, huge), "4GB", n_rounds=1, n_lost=huge[2])
    return figures


def main() -> None:
    """Measure, or do one part of it in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="1 M against 1.2 M rows, fewer rounds")
    parser.add_argument("--huge", action="store_true", help="also 100 M against 110 M rows, once")
    parser.add_argument("--folder", type=Path, help="where to write the manifests; a temporary folder if left out")
    parser.add_argument("--arm", choices=("peer", "proof"), help=argparse.SUPPRESS)
    parser.add_argument("--memory", help=argparse.SUPPRESS)
    parser.add_argument("--make", nargs=3, type=int, help=argparse.SUPPRESS)
    parser.add_argument("--make-headers", type=int, help=argparse.SUPPRESS)
    said = parser.parse_args()
    if said.arm:
        print(json.dumps(measured(said.arm, said.folder, said.memory)))
    elif said.make:
        generate(said.folder, *said.make)
    elif said.make_headers:
        generate_headers(said.folder, said.make_headers)
    else:
        with tempfile.TemporaryDirectory(dir=said.folder) as folder:
            if said.huge and shutil.disk_usage(folder).free < 8 * 2**30:
                raise SystemExit(f"--huge needs 8 GB in {folder}; name another --folder")
            figures = figures_of(Path(folder), is_quick=said.quick, is_huge=said.huge)
        print(json.dumps({"name": "accumulation", "figures": figures}))


if __name__ == "__main__":
    main()
