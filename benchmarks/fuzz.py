"""Coverage-guided fuzzing of every loader of files that others write; needs ``pip install atheris`` (Linux, CPython).

The targets are those of ``tests/laws/fuzzing.py``: policy, header, result, takedowns, baseline, measurement, signature.
Each runs for ``--seconds`` in a process of its own, from files that its loader takes, changed by libFuzzer and by the
test suite's own mutations. Anything raised but an InputError with one line per fault is a crash: its input is left in
``--folder``, and named. Prints one line of JSON; ends with 1 if there was a crash.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, NoReturn

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

NAMES = ("policy", "header", "result", "takedowns", "baseline", "measurement", "signature")
#: A file in memory where there is such a place: it is written again in every run.
SCRATCH = "/dev/shm" if Path("/dev/shm").is_dir() else None
MAX_BYTES = 20_000
CRASHED = 77


def fuzz(name: str, arguments: list[str]) -> NoReturn:
    """Fuzz one loader in this process, which libFuzzer ends."""
    import atheris  # noqa: PLC0415 - an outside tool, and only here

    with atheris.instrument_imports(include=["collapse_guard", "yaml"]):
        from tests.laws.fuzzing import TARGETS, changed, refuses_well  # noqa: PLC0415 - instrumented
    load, files = TARGETS[name]
    files()  # the gate runs once, outside of what is measured
    with tempfile.TemporaryDirectory(dir=SCRATCH) as folder:
        path = Path(folder, "file")

        def mutated(data: bytes, max_size: int, seed: int) -> bytes:
            if random.Random(seed).random() < 0.5:
                return bytes(atheris.Mutate(data, max_size))
            return changed(data, seed)[:max_size]

        atheris.Setup([sys.argv[0], *arguments], lambda data: refuses_well(load, path, data), custom_mutator=mutated)
        atheris.Fuzz()
    raise SystemExit


def started(name: str, seconds: int, folder: Path) -> dict[str, Any]:
    """Fuzz one loader in a process of its own; returns what libFuzzer says of the run."""
    from tests.laws.fuzzing import TARGETS, TOKENS  # noqa: PLC0415 - not in the processes that fuzz

    corpus, crashes = folder / name / "corpus", folder / name / "crashes"
    for each in (corpus, crashes):
        each.mkdir(parents=True, exist_ok=True)
    for number, data in enumerate(TARGETS[name][1]()):
        (corpus / f"good-{number}").write_bytes(data)
    words = folder / name / "words.dict"
    tokens = [token for token in TOKENS if 0 < len(token) < 64]
    words.write_text("".join(f'"{quoted(token)}"\n' for token in tokens))
    options = [f"-max_total_time={seconds}", f"-artifact_prefix={crashes}/", f"-max_len={MAX_BYTES}", f"-dict={words}"]
    command = [sys.executable, __file__, "--target", name, "--", *options, "-timeout=20", str(corpus)]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, cwd=ROOT)
    return told(done.stdout.decode(errors="replace"), done.returncode, crashes)


def quoted(token: bytes) -> str:
    """Return bytes as a dictionary of libFuzzer holds them."""
    return "".join(f"\\x{byte:02x}" for byte in token)


def told(output: str, code: int, crashes: Path) -> dict[str, Any]:
    """Return runs, covered edges and crash files; what made a crash is printed."""
    found = sorted(str(path) for path in crashes.iterdir())
    runs, edges = re.findall(r"#(\d+)\s", output), re.findall(r"cov: (\d+)", output)
    if code or found:
        print("\n".join(line for line in output.splitlines() if not line.startswith("#"))[-3000:], file=sys.stderr)
    if code and not found:
        raise SystemExit(f"the run ended with {code} and left no input; see above")
    return {"runs": int(runs[-1]) if runs else 0, "edges": int(edges[-1]) if edges else 0, "crashes": found}


def main() -> None:
    """Fuzz every loader in turn, or one of them in this process."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help=f"loaders; all if left out: {', '.join(NAMES)}")
    parser.add_argument("--seconds", type=int, default=120, help="for each loader")
    parser.add_argument("--quick", action="store_true", help="10 seconds for each loader")
    parser.add_argument("--folder", type=Path, help="where inputs are kept from run to run; a new one if left out")
    parser.add_argument("--target", choices=NAMES, help=argparse.SUPPRESS)
    said = parser.parse_args()
    if said.target:
        fuzz(said.target, said.names)
    unknown = sorted({*said.names} - {*NAMES})
    if unknown:
        parser.error(f"no loader is called {unknown[0]!r}; there are {', '.join(NAMES)}")
    try:
        import atheris  # noqa: F401, PLC0415 - is it there?
    except ImportError:
        raise SystemExit("atheris is not installed: pip install atheris") from None
    folder = said.folder or Path(tempfile.mkdtemp(prefix="collapse-guard-fuzz-"))
    seconds = 10 if said.quick else said.seconds
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    figures: dict[str, Any] = {name: started(name, seconds, folder) for name in said.names or NAMES}
    print(json.dumps({"name": "fuzz", "figures": {"seconds": seconds, "folder": str(folder), **figures}}))
    raise SystemExit(1 if any(found["crashes"] for found in figures.values()) else 0)


if __name__ == "__main__":
    main()
