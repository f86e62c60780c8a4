"""The whole ``collapse-guard check`` against DuckDB queries for the same counts, and against Great Expectations.

1 M and 12 M rows of 5 000 classes, two sources and two origins; every rule runs, and each digest is recomputed.

``headers``         ``check --headers-only``: policy and headers, no part
``check``           all rules on one manifest
``check_parent``    and with a parent whose shards were dealt anew: no digest decides, real ids are compared one by one
``check_takedowns`` also looks for 100 ids of which there are only salted digests: every id is hashed once more
``duckdb``          two queries by hand over the same parts: rows and amount per source, origin, evidence, generation,
                    class and generator; ids that stand twice in a source, exactly. No digest is recomputed
``duckdb_parent``   and the anti-join of the parent's real ids with the child's
``gx``              Great Expectations on pandas, on the same rows as one Parquet file: a column without nulls, one
                    that is unique (64 bits of the id), one within a set, two within ranges; no digest, histogram or
                    anti-join. Only with ``--peer-python``, a Python that has great_expectations 1.x and pyarrow:
                    python3 -m venv gx && gx/bin/pip install great_expectations pyarrow

Each measurement is a process of its own, arms in turn; CPU seconds (user and system) with start and imports, ratios
round by round; ``rss_mb`` is the peak of the process. ``targets`` says what holds of what the gate is meant to keep.
Prints one line of JSON.
"""

from __future__ import annotations

# ruff: noqa: PLC0415 - the process that starts the others stays small
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from accumulation import in_a_process

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

THREADS = "2"
GROUPS = """
SELECT source, origin, evidence, generation, class, generator, count(*), sum(amount) FROM rows GROUP BY ALL
"""
REPEATED = "SELECT count(*) FROM (SELECT source, id_hi, id_lo FROM rows GROUP BY ALL HAVING count(*) > 1)"
LOST = """
SELECT count(*) FROM (SELECT id_hi, id_lo FROM parent WHERE origin = 1)
ANTI JOIN (SELECT id_hi, id_lo FROM rows WHERE origin = 1) USING (id_hi, id_lo)
"""
PEER = """
import sys, duckdb
rows, parent, threads, *queries = sys.argv[1:]
with duckdb.connect(config={"preserve_insertion_order": "false", "threads": threads}) as database:
    for name, parts in (("rows", rows), ("parent", parent)):
        database.read_parquet(parts).create_view(name)
    for query in queries:
        database.execute(query).fetchall()
"""
GX = """
import logging, sys, warnings
warnings.simplefilter("ignore")
logging.disable(logging.CRITICAL)
import great_expectations as gx, pandas
context = gx.get_context(mode="ephemeral")
context.variables.progress_bars = {"globally": False}
source = context.data_sources.add_pandas("pandas")
batch = source.add_dataframe_asset("index").add_batch_definition_whole_dataframe("all")
expect = gx.expectations
suite = context.suites.add(gx.ExpectationSuite("index", expectations=[
    expect.ExpectColumnValuesToNotBeNull(column="source"),
    expect.ExpectColumnValuesToBeUnique(column="id_hi"),
    expect.ExpectColumnValuesToBeInSet(column="origin", value_set=[0, 1, 2, 3, 4, 5]),
    expect.ExpectColumnValuesToBeBetween(column="generation", min_value=0, max_value=254),
    expect.ExpectColumnValuesToBeBetween(column="amount", min_value=0, max_value=2.0**53),
]))
rows = pandas.read_parquet(sys.argv[1])
found = batch.get_batch(batch_parameters={"dataframe": rows}).validate(suite)
assert found.success and len(found.results) == 5, found
"""
OURS = "from collapse_guard.cli import main; main()"
#: Peak memory of the process itself; what the system counts for a child begins with the size of its parent.
PEAK = "print(open('/proc/self/status').read().split('VmHWM:')[1].split()[0], file=sys.stderr)"
POLICY = """version: 1
extends: preset:starter@1
sources:
  web: {origin: real}
  made: {origin: synthetic, generator: model@1, max_share: 0.3}
mix: {real_min_share: 0.5, per_generator_max_share: 0.5, per_class_max_synthetic_share: 0.9}
"""
#: Figure -> the most that it may be, by rows in millions.
TARGETS = {
    1: {"headers cpu_s": 0.5, "check cpu_s": 1.5, "gx/check": -5.0},
    12: {"check/duckdb": 2.0, "check_parent/duckdb_parent": 2.0, "check rss_mb": 1000, "check_parent rss_mb": 1000},
}
#: Arms whose CPU seconds are divided, round by round.
RATIOS = (
    ("check", "duckdb"),
    ("check_parent", "duckdb_parent"),
    ("gx", "check"),
    ("gx", "check_parent"),
)


def generate(folder: Path, n_rows: int) -> None:
    """Write a manifest of four fifths of real rows, a parent, the same rows as its child, policies, and one file."""
    import numpy as np
    import pyarrow.parquet as pq
    from accumulation import write

    from collapse_guard.manifest import ParentLink, add_takedowns
    from collapse_guard.manifest.index import SHARD_ROWS

    n_real = n_rows * 4 // 5
    n_dealt = -(-n_real // SHARD_ROWS) + 1

    def parts() -> Iterator[tuple[str, str, int, NDArray[Any]]]:
        for source, origin, begin, end in (("web", 1, 0, n_real), ("made", 2, n_real, n_rows)):
            for number, first in enumerate(range(begin, end, SHARD_ROWS)):
                yield f"{source}#{number:05}", source, origin, np.arange(first, min(end, first + SHARD_ROWS))

    def dealt() -> Iterator[tuple[str, str, int, NDArray[Any]]]:
        for number in range(n_dealt):
            yield f"web#{number:05}", "web", 1, np.arange(number, n_real, n_dealt)

    write(folder / "gen0.cgm.json", parts(), generation=0)
    parent = write(folder / "parent.cgm.json", dealt(), generation=0)
    link = ParentLink(name=parent.header.name, digest=parent.digest)
    write(folder / "child.cgm.json", parts(), generation=1, parents=(link,))
    ids = [f"{number:032x}" for number in range(1, 101)]
    add_takedowns(folder / "takedowns.jsonl", ids, reason="erasure 118", date="2026-01-02")
    (folder / "plain.yaml").write_text(POLICY)
    (folder / "takedowns.yaml").write_text(f"{POLICY}accumulation: {{takedowns: takedowns.jsonl}}\n")
    rows = [pq.ParquetFile(part) for part in sorted((folder / "gen0.index").glob("*.parquet"))]
    with pq.ParquetWriter(folder / "rows.parquet", rows[0].schema_arrow) as whole:
        for part in rows:
            whole.write_table(part.read())


def cost(python: str, code: str, *arguments: str, cache: Path) -> dict[str, float]:
    """Return CPU seconds and peak memory in MB of code in a process of its own; it must end well.

    Modules are compiled into ``cache`` once, whatever the environment says: who checks twice does not compile twice.
    """
    text = f"import sys, atexit\natexit.register(lambda: {PEAK})\n{code}"
    told = os.environ | {"PYTHONPYCACHEPREFIX": str(cache)}
    told.pop("PYTHONDONTWRITEBYTECODE", None)
    with subprocess.Popen(
        [python, "-c", text, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=told
    ) as started:
        assert started.stderr is not None
        said = started.stderr.read().decode()
        _, status, used = os.wait4(started.pid, 0)
        started.returncode = os.waitstatus_to_exitcode(status)
    if started.returncode:
        raise SystemExit(f"{' '.join(arguments)}: {said[-3000:]}")
    return {"cpu_s": used.ru_utime + used.ru_stime, "rss_mb": int(said.split()[-1]) / 1024}


def arms(folder: Path, peer_python: str | None) -> dict[str, tuple[str, ...]]:
    """Return the Python, the code and the arguments of each arm."""
    manifests = {name: str(folder / f"{name}.cgm.json") for name in ("gen0", "parent", "child")}
    parts = {name: str(folder / f"{name}.index" / "*.parquet") for name in manifests}
    plain, takedowns = (str(folder / f"{name}.yaml") for name in ("plain", "takedowns"))
    check, alone = (sys.executable, OURS, "check", "--threads", THREADS), ("-m", manifests["gen0"])
    peer = (sys.executable, PEER)
    found = {
        "headers": (*check, "--headers-only", *alone, "-p", plain),
        "check": (*check, *alone, "-p", plain),
        "check_parent": (*check, "-m", manifests["child"], "--against", manifests["parent"], "-p", plain),
        "check_takedowns": (*check, *alone, "-p", takedowns),
        "duckdb": (*peer, parts["gen0"], parts["parent"], THREADS, GROUPS, REPEATED),
        "duckdb_parent": (*peer, parts["child"], parts["parent"], THREADS, GROUPS, REPEATED, LOST),
    }
    return found if peer_python is None else found | {"gx": (peer_python, GX, str(folder / "rows.parquet"))}


def spread(values: list[float]) -> dict[str, Any]:
    """Return the least value, the median and the quartiles."""
    quartiles = statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else values * 3
    rounded = [round(each, 2) for each in (min(values), statistics.median(values), quartiles[0], quartiles[2])]
    return {"min": rounded[0], "median": rounded[1], "quartiles": rounded[2:], "n": len(values)}


def measured(folder: Path, n_rounds: int, peer_python: str | None) -> dict[str, Any]:
    """Return the figures of every arm over rounds in turn, and the ratios; one run before them compiles."""
    works, cache = arms(folder, peer_python), folder / "compiled"
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in works}
    cost(*works["check_parent"], cache=cache)
    for number in range(n_rounds):
        for name, work in sorted(works.items(), reverse=bool(number % 2)):
            if name != "gx" or number < max(3, n_rounds // 2):  # minutes of it tell no more than three runs
                runs[name].append(cost(*work, cache=cache))
    figures: dict[str, Any] = {
        name: {"cpu_s": spread([run["cpu_s"] for run in found]), "rss_mb": round(max(run["rss_mb"] for run in found))}
        for name, found in runs.items()
    }
    for one, other in RATIOS:
        pairs = zip(runs.get(one, []), runs[other], strict=False)
        ratios = [first["cpu_s"] / second["cpu_s"] for first, second in pairs]
        figures |= {f"{one}/{other}": spread(ratios)} if ratios else {}
    return figures


def kept(figures: dict[str, Any], targets: dict[str, float]) -> dict[str, bool]:
    """Return which targets hold by the median; a negative one is the least that a figure may be."""
    found = {}
    for name, limit in targets.items():
        arm, _, key = name.partition(" ")
        if arm in figures:
            value = figures[arm][key] if key else figures[arm]
            value = value["median"] if isinstance(value, dict) else value
            found[f"{name} {'<' if limit > 0 else '>='} {abs(limit):g}"] = (
                value < limit if limit > 0 else value >= -limit
            )
    return found


def main() -> None:
    """Measure, or write the manifests of one size in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="1 M rows alone, fewer rounds")
    parser.add_argument("--peer-python", help="a Python with great_expectations 1.x and pyarrow; without it, no gx")
    parser.add_argument("--folder", type=Path, help="where to write the manifests; a temporary folder if left out")
    parser.add_argument("--make", type=int, help=argparse.SUPPRESS)
    said = parser.parse_args()
    if said.make:
        generate(said.folder, said.make)
        return
    figures: dict[str, Any] = {"threads": int(THREADS), "targets": {}}
    for millions in (1,) if said.quick else (1, 12):
        with tempfile.TemporaryDirectory(dir=said.folder) as folder:
            in_a_process("--make", str(millions * 1_000_000), "--folder", folder, file=__file__)
            found = measured(Path(folder), 3 if said.quick else 7, said.peer_python)
            figures[f"{millions}M"] = found
            figures["targets"] |= {
                f"{millions}M {name}": holds for name, holds in kept(found, TARGETS[millions]).items()
            }
    print(json.dumps({"name": "gate", "figures": figures}))


if __name__ == "__main__":
    main()
