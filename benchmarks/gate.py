"""The whole ``collapse-guard check`` against DuckDB queries that give the same counts over the same Parquet parts.

1 M and 12 M rows of 5 000 classes, two sources and two origins, in one manifest without a parent; every rule runs, each
digest is recomputed. ``check_takedowns`` also looks for 100 ids that were taken down, of which there are only salted
digests: every id is hashed once more. ``headers`` shows the manifest, which reads no part.

``peer_groups`` is one query: rows and amount per source, origin, evidence, generation, class and generator.
``peer_groups_and_ids`` adds a second one, for ids that stand twice in a source. Neither recomputes a digest.

Each measurement is a process of its own, in turn; CPU seconds with start and imports, medians with quartiles, ratios
round by round; ``rss_mb`` is the peak of the process. Prints one line of JSON.
"""

from __future__ import annotations

# ruff: noqa: PLC0415 - the process that starts the others stays small
import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from accumulation import in_a_process, spread

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

THREADS = "2"
GROUPS = """
SELECT source, origin, evidence, generation, class, generator, count(*), sum(amount) FROM rows GROUP BY ALL
"""
REPEATED = "SELECT count(*) FROM (SELECT source, id_hi, id_lo FROM rows GROUP BY ALL HAVING count(*) > 1)"
PEER = """
import sys, duckdb
with duckdb.connect(config={"preserve_insertion_order": "false", "threads": sys.argv[2]}) as database:
    database.read_parquet(sys.argv[1]).create_view("rows")
    for query in sys.argv[3:]:
        database.execute(query).fetchall()
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


def generate(folder: Path, n_rows: int) -> None:
    """Write a manifest of four fifths of real rows, a policy that it keeps, and one with a list of takedowns."""
    import numpy as np
    from accumulation import write

    from collapse_guard.manifest import add_takedowns
    from collapse_guard.manifest.index import SHARD_ROWS

    n_real = n_rows * 4 // 5

    def parts() -> Iterator[tuple[str, str, int, NDArray[Any]]]:
        for source, origin, begin, end in (("web", 1, 0, n_real), ("made", 2, n_real, n_rows)):
            for number, first in enumerate(range(begin, end, SHARD_ROWS)):
                yield f"{source}#{number:05}", source, origin, np.arange(first, min(end, first + SHARD_ROWS))

    write(folder / "gen0.cgm.json", parts(), generation=0)
    ids = [f"{number:032x}" for number in range(1, 101)]
    add_takedowns(folder / "takedowns.jsonl", ids, reason="erasure 118", date="2026-01-02")
    (folder / "plain.yaml").write_text(POLICY)
    (folder / "takedowns.yaml").write_text(f"{POLICY}accumulation: {{takedowns: takedowns.jsonl}}\n")


def cost(code: str, *arguments: str) -> dict[str, float]:
    """Return CPU seconds and peak memory in MB of code in a process of its own; it must end well."""
    text = f"import sys, atexit\natexit.register(lambda: {PEAK})\n{code}"
    command = [sys.executable, "-c", text, *arguments]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as started:
        assert started.stderr is not None
        told = started.stderr.read().decode()
        _, status, used = os.wait4(started.pid, 0)
        started.returncode = os.waitstatus_to_exitcode(status)
    if started.returncode:
        raise SystemExit(f"{' '.join(arguments)}: {told}")
    return {"cpu_s": used.ru_utime + used.ru_stime, "rss_mb": int(told.split()[-1]) / 1024}


def arms(folder: Path) -> dict[str, tuple[str, ...]]:
    """Return the code and the arguments of each arm."""
    manifest, parts = str(folder / "gen0.cgm.json"), str(folder / "gen0.index" / "*.parquet")
    check = ("--threads", THREADS, "-m", manifest, "-p")
    return {
        "check": (OURS, "check", *check, str(folder / "plain.yaml")),
        "check_takedowns": (OURS, "check", *check, str(folder / "takedowns.yaml")),
        "headers": (OURS, "manifest", "show", manifest),
        "peer_groups": (PEER, parts, THREADS, GROUPS),
        "peer_groups_and_ids": (PEER, parts, THREADS, GROUPS, REPEATED),
    }


def compared(folder: Path, n_rounds: int) -> dict[str, Any]:
    """Return the figures of every arm over rounds in turn, and the ratios of the check to both peers."""
    runs: dict[str, list[dict[str, float]]] = {}
    for number in range(n_rounds):
        for name, work in sorted(arms(folder).items(), reverse=bool(number % 2)):
            runs.setdefault(name, []).append(cost(*work))
    figures: dict[str, Any] = {
        name: {"cpu_s": spread([run["cpu_s"] for run in found]), "rss_mb": round(max(run["rss_mb"] for run in found))}
        for name, found in runs.items()
    }
    for peer in ("peer_groups", "peer_groups_and_ids"):
        pairs = zip(runs["check"], runs[peer], strict=True)
        figures[f"ratio_to_{peer}"] = spread([ours["cpu_s"] / theirs["cpu_s"] for ours, theirs in pairs])
    return figures


def main() -> None:
    """Measure, or write the manifest of one size in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="1 M rows alone, fewer rounds")
    parser.add_argument("--make", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help="where to write the manifests; a temporary folder if left out")
    said = parser.parse_args()
    if said.make:
        generate(said.folder, said.make)
        return
    figures: dict[str, Any] = {"threads": int(THREADS)}
    for n_rows in (1_000_000,) if said.quick else (1_000_000, 12_000_000):
        with tempfile.TemporaryDirectory(dir=said.folder) as folder:
            in_a_process("--make", str(n_rows), "--folder", folder, file=__file__)
            figures[f"{n_rows // 1_000_000}M"] = compared(Path(folder), 3 if said.quick else 7)
    print(json.dumps({"name": "gate", "figures": figures}))


if __name__ == "__main__":
    main()
