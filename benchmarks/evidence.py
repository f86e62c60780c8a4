"""One look over many cells: evidence, and a whole look of a watch, against a chi-square test of the same counts.

Prints one line of JSON; figures are medians in milliseconds with the 10-90 % range, and the ratio to the peer.
"""

from __future__ import annotations

import argparse
import json
import time
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.stats import chisquare

from collapse_guard.cells import LabelCells
from collapse_guard.monitor import Reference, Watch
from collapse_guard.policy import Policy
from collapse_guard.stats import CellCounts, ClassEvidence, TailEvidence

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray


def milliseconds(work: Callable[[], Any], repeats: int) -> list[float]:
    """Return the time of each of ``repeats`` calls."""
    found = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        found.append(1000 * (time.perf_counter() - start))
    return found


def started(reference: NDArray[np.int64]) -> Watch:
    """Return a watch in its second generation: against the real rows and against the first model."""
    names = tuple(f"{cell:06}" for cell in range(reference.size))
    real = Reference(LabelCells("label", names), CellCounts.of(reference))
    policy = Policy.coerce({"version": 1, "coverage": {"samples_per_look": int(reference.sum()) // 10}})
    first = Watch.start(policy, real, generation=1).look(CellCounts.of(reference // 10), epoch=1)
    return first.next_generation()


def main() -> None:
    """Time one update and compute over 1 000 and 100 000 cells."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer repeats")
    repeats = 30 if parser.parse_args().quick else 300
    figures: dict[str, Any] = {}
    for n_cells in (1_000, 100_000):
        shares = 1 / np.arange(1, n_cells + 1)
        shares /= shares.sum()
        rng = np.random.default_rng(0)
        reference, look = rng.multinomial(100 * n_cells, shares), rng.multinomial(10 * n_cells, shares)
        expected = (reference + 1) / (reference + 1).sum() * look.sum()
        drops = {"max_mass_drop": 0.1, "max_coverage_drop": 0.5}
        tail = TailEvidence.start(reference, tail_mass=0.1, planned_looks=50, **drops)
        classes = ClassEvidence.start(reference, max_class_drop=0.5, planned_looks=50)
        watch, counts = started(reference), CellCounts.of(look)
        works: dict[str, Callable[[], Any]] = {
            "whole_look": lambda w=watch, c=counts: w.look(c, epoch=1),  # type: ignore[misc]
            "tail": lambda e=tail, c=look: e.update(c).compute(),  # type: ignore[misc]
            "classes": lambda e=classes, c=look: e.update(c).compute(),  # type: ignore[misc]
            "scipy_chisquare": lambda c=look, x=expected: chisquare(c, x),  # type: ignore[misc]
        }
        times = {
            name: milliseconds(work, repeats if n_cells < 10_000 else repeats // 10) for name, work in works.items()
        }
        peer = float(np.median(times["scipy_chisquare"]))
        for name, values in times.items():
            low, middle, high = np.quantile(values, [0.1, 0.5, 0.9])
            entry = {"ms": round(float(middle), 3), "ms_10_90": [round(float(low), 3), round(float(high), 3)]}
            figures[f"{name}_{n_cells}_cells"] = entry | {"ratio_to_chisquare": round(float(middle) / peer, 2)}
        state = watch.look(counts, epoch=1).state()
        sizes = {"evidence": state["panels"], "reference": state["anchor"], "first_model": state["first_model"]}
        figures[f"state_{n_cells}_cells_bytes"] = {name: len(json.dumps(part)) for name, part in sizes.items()}
    print(json.dumps({"name": "evidence", "figures": figures}))


if __name__ == "__main__":
    main()
