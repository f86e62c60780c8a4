"""A manifest of a million texts, against reading the file and hashing each row, and against peers on the same file.

Peers run in interpreters of their own (``--peer-python``, else this one): ``dvc add``, a profile of whylogs, and a
validation by great_expectations. They do other work than a manifest; one that cannot run is reported with its reason.

Prints one line of JSON; figures are CPU seconds of whole processes, medians of rounds in a shuffled order with their
range (of tagging also inside of it, without start and reading), ratios to the bare loop, and peak memory in MB from
/proc.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

#: Mean length of a text, bytes.
N_BYTES = 300
BATCH_ROWS = 50_000

BARE = """
import hashlib, sys
import pyarrow.parquet as pq
digests = []
for batch in pq.ParquetFile(sys.argv[1]).iter_batches(columns=["text"]):
    digests += [hashlib.sha256(text.encode()).digest() for text in batch.column(0).to_pylist()]
assert len(digests) == int(sys.argv[3])
"""
MANIFEST = """
import sys
from collapse_guard.identity import IdRule
from collapse_guard.manifest.inventory import take_inventory
if __name__ == "__main__":
    rule = IdRule("text", ("text",)) if sys.argv[4] == "text" else IdRule()
    made = take_inventory(sys.argv[1], to=sys.argv[2], source="web", origin="real", class_column="label", id_rule=rule)
    assert made.n_rows == int(sys.argv[3])
"""
TAG = """
import sys, time
import pyarrow as pa, pyarrow.parquet as pq
from collapse_guard.curate import provenance_columns
from collapse_guard.sources import Tag
tag, n_rows, seconds = Tag.of(origin="real", source="web"), 0, 0.0
for batch in pq.ParquetFile(sys.argv[1]).iter_batches():
    start = time.process_time()
    n_rows += provenance_columns(pa.Table.from_batches([batch]), tag).num_rows
    seconds += time.process_time() - start
assert n_rows == int(sys.argv[3])
print(seconds)
"""
READ = """
import sys
import pyarrow.parquet as pq
n_rows = sum(batch.num_rows for batch in pq.ParquetFile(sys.argv[1]).iter_batches())
assert n_rows == int(sys.argv[3])
"""
START = "import collapse_guard.manifest.inventory, pyarrow.parquet"
DVC = """
import os, shutil, sys
from pathlib import Path
from dvc.cli import main
folder = Path(sys.argv[2]).parent
folder.mkdir(parents=True)
shutil.copy(sys.argv[1], folder / "rows.parquet")
os.chdir(folder)
assert main(["init", "-q", "--no-scm"]) == 0
assert main(["add", "-q", "rows.parquet"]) == 0
"""
WHYLOGS = """
import sys
import pandas as pd, whylogs as why
profile = why.log(pd.read_parquet(sys.argv[1])).profile()
profile.view().to_pandas()
"""
EXPECTATIONS = """
import sys
import pandas as pd, great_expectations as gx
context = gx.get_context(mode="ephemeral")
source = context.data_sources.add_pandas("rows").add_dataframe_asset("rows")
batch = source.add_batch_definition_whole_dataframe("all").get_batch({"dataframe": pd.read_parquet(sys.argv[1])})
for name in ("text", "label"):
    assert batch.validate(gx.expectations.ExpectColumnValuesToNotBeNull(column=name)).success
batch.validate(gx.expectations.ExpectColumnValuesToBeUnique(column="text"))
"""
#: Peak memory of the process itself in KiB; what the system counts for a child begins with the size of its parent.
PEAK = """
import re
print(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1])
"""
PEERS = {
    "dvc_add": ("dvc", DVC),
    "whylogs_profile": ("whylogs", WHYLOGS),
    "great_expectations": ("great_expectations", EXPECTATIONS),
}
#: Code and further arguments of each arm; starting up is timed by itself, as every arm pays it.
ARMS = {
    "start_alone": (START, ()),
    "read_alone": (READ, ()),
    "bare_loop": (BARE, ()),
    "manifest_text_ids": (MANIFEST, ("text",)),
    "manifest_record_ids": (MANIFEST, ("record",)),
    "tagging_record_ids": (TAG, ()),
}


def texts(path: Path, n_rows: int) -> None:
    """Write rows of a text of about 300 bytes, some with quotes, lines and letters outside ASCII, and a class."""
    rng = np.random.default_rng(0)
    rare = ["model's", '"data"', "naïve", "“quoted”", "end.\n"]
    words = np.array([*rare, *("".join(map(chr, rng.integers(97, 123, rng.integers(2, 9)))) for _ in range(3_000))])
    schema = pa.schema([("text", pa.string()), ("label", pa.int64())])
    with pq.ParquetWriter(path, schema) as writer:
        for start in range(0, n_rows, BATCH_ROWS):
            count = min(BATCH_ROWS, n_rows - start)
            chosen = rng.integers(0, len(words), (count, N_BYTES // 6))
            columns = [[" ".join(words[row]) for row in chosen], rng.integers(0, 10, count)]
            writer.write_table(pa.table(columns, schema=schema))


def cost(python: str, code: str, path: Path, n_rows: int, *more: str) -> dict[str, float]:
    """Return CPU seconds and peak memory in MB of code in an interpreter of its own, and the seconds that it tells."""
    with tempfile.TemporaryDirectory() as folder:
        script, faults = Path(folder) / "work.py", Path(folder) / "faults"
        script.write_text(code + PEAK)
        target = Path(folder) / "out" / "manifest.cgm.json"
        command = [python, str(script), str(path), str(target), str(n_rows), *more]
        with faults.open("wb") as sink:
            started = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=sink)
            assert started.stdout is not None
            told = started.stdout.read().split()
            _, status, used = os.wait4(started.pid, 0)
            started.returncode = os.waitstatus_to_exitcode(status)
        if started.returncode:
            raise RuntimeError((faults.read_text().strip().splitlines() or [f"exit code {started.returncode}"])[-1])
    found = {"cpu_s": used.ru_utime + used.ru_stime, "peak_mb": int(told[-1]) / 1024}
    return found | ({"inside_cpu_s": float(told[-2])} if len(told) > 1 else {})


def summary(found: list[dict[str, float]], bare: float) -> dict[str, Any]:
    """Return the figures of one arm."""
    figures: dict[str, Any] = {}
    for key in ("cpu_s", "inside_cpu_s"):
        if key in found[0]:
            seconds = [each[key] for each in found]
            figures[key] = round(statistics.median(seconds), 2)
            figures[f"{key}_range"] = [round(min(seconds), 2), round(max(seconds), 2)]
    figures["ratio_to_bare_loop"] = round(statistics.median(each["cpu_s"] for each in found) / bare, 2)
    return figures | {"peak_mb": round(max(each["peak_mb"] for each in found))}


def peers(python: str, path: Path, n_rows: int, bare: float) -> dict[str, Any]:
    """Return the figures of each peer that runs, the reason of each that does not."""
    figures: dict[str, Any] = {}
    for name, (module, code) in PEERS.items():
        try:
            cost(python, f"import {module}", path, n_rows)
            figures[name] = summary([cost(python, code, path, n_rows)], bare)
        except RuntimeError as error:
            figures[name] = {"not_run": str(error)[:200]}
    return figures


def main() -> None:
    """Time the bare loop, the manifest under both rules, tagging, reading alone, and the peers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one round of a tenth of the rows")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--peer-python", nargs="*", default=[sys.executable], help="interpreters that have the peers")
    asked = parser.parse_args()
    n_rows, rounds = (asked.rows // 10, 1) if asked.quick else (asked.rows, 5)
    found: dict[str, list[dict[str, float]]] = {name: [] for name in ARMS}
    order = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.parquet"
        texts(path, n_rows)
        for _ in range(rounds):
            for name in order.permutation(list(ARMS)).tolist():
                code, more = ARMS[name]
                found[name].append(cost(sys.executable, code, path, n_rows, *more))
        bare = statistics.median(each["cpu_s"] for each in found["bare_loop"])
        figures: dict[str, Any] = {"rows": n_rows, "rounds": rounds, "file_mb": round(path.stat().st_size / 1e6)}
        figures |= {name: summary(each, bare) for name, each in found.items()}
        figures["peers"] = [peers(python, path, n_rows, bare) for python in asked.peer_python]
    print(json.dumps({"name": "manifest", "figures": figures}))


if __name__ == "__main__":
    main()
