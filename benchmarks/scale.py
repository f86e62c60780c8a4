"""A cost model up to 10^12 rows: measured constants -> bytes, CPU, memory, machines and wall time of every door.

The constants stand in one table at the top of ``docs/scale.md``, and everything below its marker is what this file
prints for them (``--write`` puts it there). ``--figures`` takes the JSON lines of ``manifest.py``, ``accumulation.py``
and of this file, and replaces the constants that they measured.

``--measure`` measures what those two do not: reading a header, planning a mix, counting shares of a stream; it prints
one line of JSON, CPU seconds and bytes per shard or row.
"""

from __future__ import annotations

# ruff: noqa: PLC0415 - printing the model needs none of what measuring needs
import argparse
import json
import math
import re
import subprocess
import sys
import tempfile
import textwrap
import time
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Final

PAGE: Final = Path(__file__).parents[1] / "docs" / "scale.md"
START, END = "<!-- model: printed by benchmarks/scale.py --write -->", "<!-- end of model -->"
PARTS: Final = ("merge", "header", "plan", "shares")
SIZES: Final = tuple(10**power for power in range(6, 13))
HOUR: Final = 3600


@dataclass(frozen=True)
class Constants:
    """What the model is made of; names, values and units are those of the page."""

    row_bytes: float
    index_bytes: float
    tag_bytes: float
    shard_rows: float
    inventory_cpu_us: float
    inventory_mb: float
    merge_cpu_us: float
    header_bytes: float
    header_cpu_us: float
    header_memory_bytes: float
    compare_cpu_us: float
    compare_mb: float
    gate_cpu_us: float
    gate_mb: float
    gate_serial_share: float
    plan_cpu_us: float
    plan_memory_bytes: float
    shares_cpu_us: float
    cores: float
    memory_gb: float
    read_gb_s: float
    patience_h: float


@dataclass(frozen=True)
class Cost:
    """What one door takes for one size.

    Args:
        n_bytes: read and written.
        cpu_s: over all cores.
        memory_bytes: of the largest process.
        serial_s: the part of ``cpu_s`` that one core does alone.
        spreads: whether the work can be cut over several machines today.
    """

    n_bytes: float
    cpu_s: float
    memory_bytes: float
    serial_s: float = 0.0
    spreads: bool = True

    def machines(self, constants: Constants) -> int | None:
        """Return how many machines do it within the patience, None if it does not fit or cannot be cut so far."""
        if self.memory_bytes > constants.memory_gb * 1e9:
            return None
        patience = constants.patience_h * HOUR
        needed = max(1, math.ceil(self._shared_s(constants) / patience))
        return needed if self.spreads or self.wall_s(constants, 1) <= patience else None

    def wall_s(self, constants: Constants, machines: int) -> float:
        """Return the wall time on so many machines: what one core does alone, and the rest on all."""
        return self.serial_s + self._shared_s(constants) / machines

    def _shared_s(self, constants: Constants) -> float:
        cpu = (self.cpu_s - self.serial_s) / constants.cores
        return max(cpu, self.n_bytes / (constants.read_gb_s * 1e9))


def shards(n_rows: float, constants: Constants) -> int:
    """Return how many shards so many rows have, if files are at least a shard long."""
    return math.ceil(n_rows / constants.shard_rows)


def inventory(n_rows: float, c: Constants) -> Cost:
    """Return the cost of reading all data once and writing the index."""
    return Cost(n_rows * (c.row_bytes + c.index_bytes), n_rows * c.inventory_cpu_us / 1e6, c.inventory_mb * 1e6)


def merge(n_rows: float, c: Constants) -> Cost:
    """Return the cost of merging manifests of so many rows: classes are counted again, shard by shard on one core."""
    headers = by_digest(n_rows / 2, c)
    cpu_s = n_rows * c.merge_cpu_us / 1e6 + headers.cpu_s
    return Cost(n_rows * c.index_bytes + headers.n_bytes, cpu_s, 5e8 + headers.memory_bytes, cpu_s, spreads=False)


def by_digest(n_rows: float, c: Constants) -> Cost:
    """Return the cost of a proof that root or shard digests decide: two headers on one core."""
    n_shards = 2 * shards(n_rows, c)
    cpu_s = n_shards * c.header_cpu_us / 1e6
    return Cost(n_shards * c.header_bytes, cpu_s, n_shards * c.header_memory_bytes, cpu_s, spreads=False)


def by_rows(n_rows: float, c: Constants) -> Cost:
    """Return the cost of a proof in which every shard has changed: all rows of both manifests are compared."""
    headers = by_digest(n_rows, c)
    return Cost(
        2 * n_rows * c.index_bytes + headers.n_bytes,
        2 * n_rows * c.compare_cpu_us / 1e6 + headers.cpu_s,
        c.compare_mb * 1e6 + headers.memory_bytes,
        headers.cpu_s,
    )


def plan(n_rows: float, c: Constants) -> Cost:
    """Return the cost of planning a mix over so many rows, real and generated together: in memory, on one core."""
    cpu_s = n_rows * c.plan_cpu_us / 1e6
    return Cost(n_rows * c.index_bytes, cpu_s, n_rows * c.plan_memory_bytes, cpu_s, spreads=False)


def gate(n_rows: float, c: Constants) -> Cost:
    """Return the cost of the whole gate against a parent of the same size: digests recomputed, all rules."""
    headers = by_digest(n_rows, c)
    cpu_s = 2 * n_rows * c.gate_cpu_us / 1e6
    return Cost(
        2 * n_rows * c.index_bytes + headers.n_bytes,
        cpu_s + headers.cpu_s,
        c.gate_mb * 1e6 + headers.memory_bytes,
        cpu_s * c.gate_serial_share + headers.cpu_s,
        spreads=False,
    )


def stream(n_rows: float, c: Constants) -> Cost:
    """Return what tags add to one pass of a loader over the rows: their bytes, and counting shares."""
    return Cost(n_rows * c.tag_bytes, n_rows * c.shares_cpu_us / 1e6, 0.0)


DOORS: Final = {
    "Inventory (`manifest write`)": inventory,
    "Merge of the machines' manifests (`manifest merge`)": merge,
    "Proof by root or shard digests": by_digest,
    "Proof row by row, every shard changed": by_rows,
    "Mix planning": plan,
    "Gate (`check --against`), digests recomputed": gate,
    "Streams and loading: what tags add to one pass": stream,
}


def breaks(c: Constants) -> list[tuple[str, float, str]]:
    """Return what breaks, from how many rows on, and what to do; the smallest size first."""
    patience = c.patience_h * HOUR
    per_gate_row = 2e-6 * c.gate_cpu_us * (c.gate_serial_share + (1 - c.gate_serial_share) / c.cores)
    found = [
        (
            "a mix plan outgrows the memory of one machine",
            c.memory_gb * 1e9 / c.plan_memory_bytes,
            "plan source by source, or parts of the data by ranges of ids, each under the same caps",
        ),
        (
            f"the whole gate takes more than {number(c.patience_h)} h on one machine",
            patience / per_gate_row,
            "verify where the parts are written (`manifest verify`), per machine; prove by digests, or rows with Ray",
        ),
        (
            "the header is more than a reviewer's tool shows (5 MB)",
            5e6 / c.header_bytes * c.shard_rows,
            "review `manifest show` and `manifest diff`; merge per-source manifests last",
        ),
        (
            f"an inventory takes more than {number(c.patience_h)} h on one machine",
            patience * c.cores / c.inventory_cpu_us * 1e6,
            "one manifest per machine, then `manifest merge`",
        ),
        (
            "the header passes 100 MB, which hosts of git refuse",
            1e8 / c.header_bytes * c.shard_rows,
            "keep headers with the data (`export --to dvc`), and only digests in git",
        ),
        (
            "one folder holds a million index parts",
            1e6 * c.shard_rows,
            "an object store; on file systems, a manifest per source",
        ),
        (
            "two headers outgrow the memory of one machine",
            c.memory_gb * 1e9 / (2 * c.header_memory_bytes) * c.shard_rows,
            "a manifest per source",
        ),
        (
            f"merging takes more than {number(c.patience_h)} h, on one core",
            patience * 1e6 / c.merge_cpu_us,
            "keep a manifest per source or machine, and check each against its parent",
        ),
        (
            "two different rows share an id with probability 1e-9",
            math.sqrt(2e-9 * 2.0**128),
            "nothing: 128 bits are enough",
        ),
    ]
    return sorted(found, key=lambda each: each[1])


def number(value: float) -> str:
    """Return a number with three digits at most, without an exponent where it is short.

    >>> [number(value) for value in (0.0312, 8.0, 1234.0)]
    ['0.0312', '8', '1230']
    """
    rounded = float(f"{value:.3g}")
    return f"{rounded:.0f}" if rounded.is_integer() else f"{rounded:g}"


def scaled(value: float, units: tuple[tuple[float, str], ...]) -> str:
    """Return a value in the largest unit that leaves it at 1 or more."""
    size, name = next((each for each in units if value >= each[0]), units[-1])
    return f"{number(value / size)} {name}"


BYTES: Final = ((1e15, "PB"), (1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1.0, "B"))
SECONDS: Final = ((48.0 * HOUR, "2 d"), (HOUR, "h"), (60.0, "min"), (1.0, "s"), (1e-3, "ms"))


def seconds(value: float) -> str:
    """Return a time in days, hours, minutes, seconds or milliseconds."""
    return f"{number(value / (24 * HOUR))} d" if value >= SECONDS[0][0] else scaled(value, SECONDS[1:])


def door_table(name: str, n_costs: dict[int, Cost], constants: Constants) -> list[str]:
    """Return the table of one door."""
    lines = [
        f"### {name}",
        "",
        "| rows | bytes | CPU | memory | machines | wall |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for n_rows, cost in n_costs.items():
        machines = cost.machines(constants)
        wall = cost.wall_s(constants, machines or 1)
        fits = cost.memory_bytes <= constants.memory_gb * 1e9
        cells = (
            f"10^{round(math.log10(n_rows))}",
            scaled(cost.n_bytes, BYTES),
            seconds(cost.cpu_s),
            scaled(cost.memory_bytes, BYTES) if cost.memory_bytes else "-",
            str(machines) if machines else "1, too slow" if fits else "does not fit",
            seconds(wall) if machines or fits else "-",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return [*lines, ""]


def model(constants: Constants) -> str:
    """Return everything that the page shows between its markers."""
    lines = [""]
    for name, door in DOORS.items():
        lines += door_table(name, {size: door(size, constants) for size in SIZES}, constants)
    lines += ["## What breaks first", "", "| what | from rows on | what to do |", "| --- | --- | --- |"]
    lines += [f"| {what} | {size:.1e} | {remedy} |" for what, size, remedy in breaks(constants)]
    return "\n".join([*lines, ""])


def constants_of(page: str) -> Constants:
    """Return the constants of the page's table; raises ValueError for one that is missing or unknown."""
    found = {name: float(value) for name, value in re.findall(r"^\| `(\w+)` \| ([\d.eE+-]+) \|", page, re.MULTILINE)}
    names = {field.name for field in fields(Constants)}
    if set(found) != names:
        raise ValueError(f"constants of the page differ from those of the model: {sorted(set(found) ^ names)}")
    return Constants(**found)


def with_model(page: str, constants: Constants) -> str:
    """Return the page with its constants and its model set."""
    for field in fields(Constants):
        value = number(getattr(constants, field.name)) if field.name != "shard_rows" else f"{constants.shard_rows:.0f}"
        page = re.sub(rf"^(\| `{field.name}` \| )[\d.eE+-]+( \|)", rf"\g<1>{value}\g<2>", page, flags=re.MULTILINE)
    head, _, rest = page.partition(START)
    return f"{head}{START}\n{model(constants_of(page))}{END}{rest.partition(END)[2]}"


def updated(constants: Constants, lines: list[str]) -> Constants:
    """Return the constants with those that benchmarks measured."""
    for line in lines:
        said = json.loads(line)
        figures: dict[str, Any] = said["figures"]
        if said["name"] in MEASURED:
            constants = replace(constants, **MEASURED[said["name"]](figures))
    return constants


def _of_manifest(figures: dict[str, Any]) -> dict[str, float]:
    taken, start = figures["manifest_text_ids"], figures["start_alone"]["cpu_s"]
    return {
        "row_bytes": figures["file_mb"] * 1e6 / figures["rows"],
        "inventory_cpu_us": (taken["cpu_s"] - start) * 1e6 / figures["rows"],
        "inventory_mb": taken["peak_mb"],
    }


def _of_accumulation(figures: dict[str, Any]) -> dict[str, float]:
    found = figures.get("huge_4GB", figures["free"])
    rows = found.get("rows", figures["rows"])
    return {
        "compare_cpu_us": found["proof"]["cpu_s"]["median"] * 1e6 / (rows[0] + rows[1]),
        "compare_mb": found["proof"]["rss_mb"],
    }


def _of_scale(figures: dict[str, Any]) -> dict[str, float]:
    return {name: float(value) for name, value in figures.items()}


MEASURED: Final = {"manifest": _of_manifest, "accumulation": _of_accumulation, "scale": _of_scale}


def peak_bytes() -> int:
    """Return the peak memory of this process."""
    return int(Path("/proc/self/status").read_text(encoding="utf-8").split("VmHWM:")[1].split()[0]) * 1024


def measure(*, is_quick: bool) -> dict[str, float]:
    """Return the constants that no other benchmark measures, each part in a process of its own: peaks do not mix."""
    figures: dict[str, float] = {}
    for part in PARTS:
        command = [sys.executable, __file__, "--measure", "--part", part, *(["--quick"] if is_quick else [])]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        figures |= json.loads(done.stdout)
    return figures


def measured(part: str, *, is_quick: bool) -> dict[str, float]:
    """Return the constants of one part, measured in this process."""
    n_shards, n_rows = (2_000, 100_000) if is_quick else (20_000, 2_000_000)
    if part == "merge":
        return measured_merge()
    if part == "header":
        return measured_header(n_shards)
    return measured_plan(n_rows) if part == "plan" else measured_shares_cost(n_rows)


def measured_merge() -> dict[str, float]:
    """Return CPU per row of merging two manifests on disk, a shard of 2^20 rows each."""
    import numpy as np
    import pyarrow as pa

    from collapse_guard.manifest import load_manifest, manifest_of, shard_of, write_manifest
    from collapse_guard.manifest.index import INDEX_SCHEMA, SHARD_ROWS
    from collapse_guard.manifest.merging import merge_manifests

    rng = np.random.default_rng(0)
    usual: dict[str, Any] = {"source": "web", "origin": 1, "evidence": 1, "generation": 0, "amount": 1.0}
    paths = []
    with tempfile.TemporaryDirectory() as folder:
        for name in "ab":
            columns = {key: pa.array(rng.integers(0, 1 << 63, SHARD_ROWS, np.uint64)) for key in ("id_hi", "id_lo")}
            columns |= {key: pa.repeat(value, SHARD_ROWS) for key, value in usual.items()}
            columns["class"] = pa.array(rng.integers(0, 1000, SHARD_ROWS)).cast(pa.string())
            columns["generator"] = pa.nulls(SHARD_ROWS, pa.string())
            arrays = [columns[field.name].cast(field.type) for field in INDEX_SCHEMA]
            shard = shard_of(pa.table(arrays, schema=INDEX_SCHEMA), name=name)
            paths.append(Path(folder) / f"{name}.cgm.json")
            write_manifest(manifest_of([shard], name=name, generation=0), paths[-1])
        loaded, start = [load_manifest(path) for path in paths], time.process_time()
        assert merge_manifests(loaded, name="both").n_rows == 2 * SHARD_ROWS
        cpu_s = time.process_time() - start
    return {"merge_cpu_us": cpu_s * 1e6 / (2 * SHARD_ROWS)}


def measured_header(n_shards: int) -> dict[str, float]:
    """Return bytes, CPU and memory per shard of reading a header and its digest; every shard names a data file."""
    import pyarrow as pa

    from collapse_guard.kernels import sha256_hex
    from collapse_guard.manifest import load_manifest, manifest_of, shard_of
    from collapse_guard.manifest.header import FileEntry
    from collapse_guard.manifest.index import INDEX_SCHEMA

    row = (1, 1, "web", 1, 1, 0, None, None, 1.0)
    table = pa.Table.from_pylist([dict(zip(INDEX_SCHEMA.names, row, strict=True))], INDEX_SCHEMA)
    one = manifest_of([shard_of(table, name="web")], name="big", generation=0)

    def entry(number: int) -> str:
        digests = {key: sha256_hex([f"{key} {number}".encode()]) for key in ("digest", "real_digest", "part_digest")}
        path = f"corpus/part-{number:07}.parquet"
        file = FileEntry(path=path, bytes=300 << 20, digest=digests["digest"])
        made = one.shards[0].entry.model_copy(update={"name": f"{path}#0", "file": file, **digests})
        return textwrap.indent(json.dumps(made.model_dump(mode="json"), indent=2, sort_keys=True), "    ")

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "big.cgm.json"
        before_shards, after_shards = re.split(
            r"(?<=\"shards\": \[\n).*?(?=\n  \],)", one.header.as_json().decode(), flags=re.DOTALL
        )
        with path.open("w", encoding="utf-8") as file:  # piece by piece: the peak is to be that of reading
            file.write(before_shards)
            for number in range(n_shards):
                file.write(("" if number == 0 else ",\n") + entry(number))
            file.write(after_shards)
        size, before, start = path.stat().st_size, peak_bytes(), time.process_time()
        loaded = load_manifest(path)
        assert loaded.digest
        cpu_s = time.process_time() - start
        assert len(loaded.shards) == n_shards
    return {
        "header_bytes": size / n_shards,
        "header_cpu_us": cpu_s * 1e6 / n_shards,
        "header_memory_bytes": (peak_bytes() - before) / n_shards,
    }


def measured_plan(n_rows: int) -> dict[str, float]:
    """Return CPU and memory per row of pools and plan; half of the rows are real."""
    from collapse_guard.mixing import Pool, plan_mix
    from collapse_guard.policy import policy_from_mapping

    real, made = tagged(n_rows, 1, 0), tagged(n_rows, 2, 1)
    policy = policy_from_mapping({"version": 1, "mix": {"real_min_share": 0.6}})
    before, start = peak_bytes(), time.process_time()
    chosen = plan_mix(Pool.of_rows(real), Pool.of_rows(made), policy).chosen
    cpu_s = time.process_time() - start
    assert len(chosen)
    return {
        "plan_cpu_us": cpu_s * 1e6 / (2 * n_rows),
        "plan_memory_bytes": (peak_bytes() - before) / (2 * n_rows),
    }


def measured_shares_cost(n_rows: int) -> dict[str, float]:
    """Return CPU per row of measuring the shares of a training set in windows."""
    from collapse_guard.mixing import measured_shares

    rows = tagged(n_rows, 3, 1)
    start = time.process_time()
    assert measured_shares(rows, class_column=None, window_rows=4096)
    return {"shares_cpu_us": (time.process_time() - start) * 1e6 / n_rows}


def tagged(n_rows: int, seed: int, origin_of_model: int) -> Any:
    """Return tagged rows of two sources."""
    import numpy as np
    import pyarrow as pa

    rng = np.random.default_rng(seed)
    ids = pa.FixedSizeBinaryArray.from_buffers(pa.binary(16), n_rows, [None, pa.py_buffer(rng.bytes(16 * n_rows))])
    generator = "m@1" if origin_of_model else None
    return pa.table(
        {
            "cg_id": ids,
            "cg_origin": pa.array(np.full(n_rows, 1 + origin_of_model, np.uint8)),
            "cg_source": pa.array(np.array(["a", "b"])[rng.integers(0, 2, n_rows)]),
            "cg_generation": pa.array(np.full(n_rows, origin_of_model, np.uint8)),
            "cg_generator": pa.array([generator] * n_rows, pa.string()),
        }
    )


def main() -> None:
    """Print the model of the page's constants, or measure some of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--page", type=Path, default=PAGE, help="the page that holds the constants")
    parser.add_argument("--figures", type=Path, help="JSON lines of benchmarks, whose constants replace the page's")
    parser.add_argument("--write", action="store_true", help="write constants and model into the page")
    parser.add_argument("--measure", action="store_true", help="measure headers, plans and shares; one line of JSON")
    parser.add_argument("--quick", action="store_true", help="measure on a tenth and less")
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.part:
        print(json.dumps(measured(asked.part, is_quick=asked.quick)))
        return
    if asked.measure:
        figures = {name: float(f"{value:.3g}") for name, value in measure(is_quick=asked.quick).items()}
        print(json.dumps({"name": "scale", "figures": figures}))
        return
    page = asked.page.read_text(encoding="utf-8")
    constants = constants_of(page)
    if asked.figures is not None:
        constants = updated(constants, asked.figures.read_text(encoding="utf-8").splitlines())
    if asked.write:
        asked.page.write_text(with_model(page, constants), encoding="utf-8")
    else:
        print(model(constants))


if __name__ == "__main__":
    main()
