"""Loaders of what others write, files that they take, and how these are changed; also what benchmarks/fuzz.py runs."""

from __future__ import annotations

import json
import random
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa

from collapse_guard import gate
from collapse_guard.errors import InputError, ManifestError, PolicyError
from collapse_guard.manifest import build_manifest, load_takedowns, write_manifest
from collapse_guard.manifest.header import Header
from collapse_guard.manifest.measurement import Measurement
from collapse_guard.manifest.signing.envelope import Envelope
from collapse_guard.manifest.signing.statement import summary
from collapse_guard.policy import load_policy
from collapse_guard.records import DATE, EVIDENCE, GENERATION, GENERATOR, ID, ORIGIN, SOURCE
from collapse_guard.report.result import load_result
from collapse_guard.rules.baseline import Baseline, entries_of, load_baseline

ROOT = Path(__file__).parents[2]
DIGEST = f"sha256:{'0' * 64}"
Load = Callable[[Path], Any]

MEASUREMENT = {
    "schema": "collapse-guard/measurement/1",
    "manifest": DIGEST,
    "made_by": "audit 1.0",
    "created": "2026-11-26",
    "figures": [
        {
            "name": "near_duplicate_share",
            "value": 0.1,
            "n": 400,
            "interval": [0.07, 0.13],
            "level": 0.95,
            "method": "m",
        },
        {"name": "vendi", "value": 3, "n": 9, "interval": [2, 4], "level": 0.9, "method": "m", "at": "2026-03-31"},
    ],
}
ENVELOPE = {"payload": "e30=", "payloadType": "application/vnd.in-toto+json", "signatures": [{"sig": "AA=="}]}
TAKEDOWN = {"digest": "1" * 64, "reason": "erasure request 118", "date": "2026-03-31"}
POLICY = """version: 1
extends: preset:starter@1
unit: rows
sources:
  web: {origin: real, min_share: 0.3}
  made: {origin: synthetic, generator: "m@1", max_share: 0.2}
mix: {real_min_share: 0.5, synthetic_to_real_max: 1.0, drift: {warn: 0.05, error: 0.1}}
coverage: {cells: [{kind: labels, column: label}], reference: real.cgm.json}
accumulation: {mode: superset, allow_loss: 0}
severity: {CG104: error}
waivers:
  - {id: W, rule: CG102, where: {source: made}, reason: r, owner: us, expires: 2026-12-31, limit: {max_share: 0.3}}
"""
STRICT = (
    "version: 1\nextends: preset:starter@1\nsources: {web: {origin: real, max_share: 0.5}, made: {max_share: 0.9}}\n"
)


def load_header(path: Path) -> Header:
    """Return a header whose figures, digest and file can be made."""
    header = Header.from_json(path.read_bytes(), path=str(path))
    summary(header)
    assert Header.from_json(header.as_json(), path=str(path)).digest == header.digest
    return header


def load_checked_policy(path: Path) -> Any:
    """Return a policy whose digest can be made."""
    policy = load_policy(path)
    return policy.digest, policy.unenforced()


def tagged() -> pa.Table:
    """Return ten tagged rows: seven real ones and three made."""
    n = 10
    made = [number >= 7 for number in range(n)]
    return pa.table(
        {
            "label": pa.array(["cat", "dog"] * 5),
            ORIGIN: pa.array([2 if each else 1 for each in made], pa.uint8()),
            EVIDENCE: pa.array([7 if each else 1 for each in made], pa.uint8()),
            GENERATION: pa.array([1 if each else 0 for each in made], pa.uint8()),
            SOURCE: pa.array(["made" if each else "web" for each in made]),
            GENERATOR: pa.array(["m@1" if each else None for each in made], pa.string()),
            DATE: pa.array([65535] * n, pa.uint16()),
            ID: pa.array([bytes([number]) * 16 for number in range(n)], pa.binary(16)),
        }
    )


@cache
def small_project() -> dict[str, bytes]:
    """Return the header of a small manifest, what the gate says of it as JSON, and the baseline of that."""
    with tempfile.TemporaryDirectory() as folder:
        policy, path, baseline = (Path(folder, name) for name in ("policy.yaml", "m.cgm.json", "baseline.jsonl"))
        write_manifest(build_manifest(tagged(), name="m", generation=0, class_column="label"), path)
        policy.write_text(STRICT, encoding="utf-8")
        found = gate.check(policy, path)
        entries = entries_of(found.findings, found.parent_digest)
        assert entries, "a baseline without a finding is no file to change"
        Baseline(found.parent_digest, entries).write(baseline)
        result = json.dumps(found.as_dict(figures=True), indent=1, default=str).encode()
        return {"header": path.read_bytes(), "result": result, "baseline": baseline.read_bytes()}


def lines(*plain: Any) -> bytes:
    """Return JSON lines."""
    return "".join(json.dumps(line) + "\n" for line in plain).encode()


def presets() -> list[bytes]:
    """Return the policies that ship."""
    return [path.read_bytes() for path in sorted((ROOT / "configs").glob("*.yaml"))]


#: Name -> what loads a file, and files that it takes.
TARGETS: dict[str, tuple[Load, Callable[[], list[bytes]]]] = {
    "policy": (load_checked_policy, lambda: [POLICY.encode(), *presets()]),
    "header": (load_header, lambda: [small_project()["header"]]),
    "result": (load_result, lambda: [small_project()["result"]]),
    "takedowns": (
        load_takedowns,
        lambda: [lines({"schema": "collapse-guard/takedowns/1", "salt": "0" * 32}, TAKEDOWN)],
    ),
    "baseline": (load_baseline, lambda: [small_project()["baseline"]]),
    "measurement": (
        lambda path: Measurement.from_json(path.read_bytes(), path=str(path)).as_json(),
        lambda: [json.dumps(MEASUREMENT, indent=1).encode()],
    ),
    "signature": (
        lambda path: Envelope.from_json(path.read_bytes(), path=str(path)).as_dict(),
        lambda: [json.dumps(ENVELOPE, indent=1).encode()],
    ),
}
#: What is put in place of parts of a file.
TOKENS = (
    b"",
    b"\0",
    b"\xff",
    b"\xef\xbb\xbf",
    b"\xed\xa0\x80",
    b'"\\ud800"',
    b"NaN",
    b"-Infinity",
    b"1e999",
    b"-1",
    b"9" * 400,
    b"1" + b"0" * 5000,
    b"null",
    b"true",
    b"[]",
    b"{}",
    b"[" * 300,
    b'{"a":' * 300,
    b'"a": 1, "a": 1,',
    b"\r",
    b"\t",
    "\u2028".encode(),
    "\u202e".encode(),
    b": ",
    b"- ",
    b"&a [*a, *a]",
    b"<<: ",
    b"!!python/name:os.system",
    b"---\n",
    b"%YAML 1.1\n",
    b"? ",
    b"|\n",
    b"12:30:45",
    b"0x10",
    b"1_0",
    b"2026-02-30",
    b"2026-01-01T00:00:00+99:99",
    b"preset:starter@1",
    b"sha256:",
    b"..",
    b"/",
)


def refuses_well(load: Load, path: Path, data: bytes) -> None:
    """Load bytes: whatever is raised but an InputError, of a line per fault, is a fault of the loader."""
    path.write_bytes(data)
    told: InputError | None = None
    try:
        load(path)
    except InputError as error:
        told = error
    if told is not None:
        _check_told(told)


def _check_told(error: InputError) -> None:
    said = str(error).splitlines()
    assert said, "an error without a message"
    assert all(said), "an empty line"
    if isinstance(error, PolicyError):
        assert len(said) == len(error.problems), "a fault of several lines"
    elif isinstance(error, ManifestError):
        assert len(said) == 1, "a fault of several lines"


def changed(data: bytes, seed: int) -> bytes:
    """Return a file after a few changes: parts that are left out, doubled, swapped, or made something else."""
    chance = random.Random(seed)
    for _ in range(chance.randint(1, 4)):
        first = chance.randrange(len(data) + 1)
        last = min(len(data), first + chance.choice((0, 1, 1, 3, 10, 60)))
        other = chance.randrange(len(data) + 1)
        part = chance.choice(
            (chance.choice(TOKENS), chance.choice(TOKENS), data[first:last] * 2, data[other : other + 40])
        )
        data = data[:first] + part + data[last:]
    return data
