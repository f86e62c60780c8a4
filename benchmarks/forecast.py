"""A forecast of a thousand classes over 20 generations, against a naive loop over chains, in one run.

The peer simulates one chain of "replace" at a time, row counts in a dictionary and one draw per row.
Prints one line of JSON; figures are medians in seconds with their range, and the ratio per chain to the peer.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from collapse_guard import forecast
from collapse_guard.forecast import Biases

if TYPE_CHECKING:
    from collections.abc import Callable

N_CLASSES, N_ROWS, GENERATIONS, N_CHAINS = 1_000, 10_000, 20, 1_000


def seconds(work: Callable[[], Any], repeats: int) -> list[float]:
    """Return the time of each of ``repeats`` calls."""
    found = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        found.append(time.perf_counter() - start)
    return found


def one_naive_chain(counts: list[int]) -> None:
    """Replace the data by its own draws, generation after generation."""
    rows = Counter(dict(enumerate(counts)))
    for _ in range(GENERATIONS):
        rows = Counter(random.choices(list(rows), weights=list(rows.values()), k=N_ROWS))


def main() -> None:
    """Time the closed form, the simulated forecast of all arms, two biases, and the naive loop."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one repeat and a tenth of the chains")
    quick = parser.parse_args().quick
    repeats, n_chains = (1, N_CHAINS // 10) if quick else (3, N_CHAINS)
    shares = 1 / np.arange(1, N_CLASSES + 1)
    counts = np.random.default_rng(0).multinomial(N_ROWS, shares / shares.sum())

    def ask(n_chains: int, biases: Biases | None = None) -> None:
        policy = {"version": 1, "coverage": {}}
        asked = {"generations": GENERATIONS, "n_chains": n_chains, "seed": 0}
        forecast(policy, counts, **asked, keep=0.9, probability=0.9, biases=biases)

    works: dict[str, Callable[[], Any]] = {
        "closed_form": lambda: ask(0),
        "all_arms": lambda: ask(n_chains),
        "all_arms_tail_removal": lambda: ask(n_chains, Biases(tail_removal=0.2)),
        "all_arms_temperature": lambda: ask(n_chains, Biases(temperature=0.95)),
        "all_arms_top_p": lambda: ask(n_chains, Biases(top_p=0.98)),
    }
    peer = float(np.median(seconds(lambda: one_naive_chain(counts.tolist()), 3 if quick else 10)))
    figures: dict[str, Any] = {"naive_chain_of_one_arm": {"s": round(peer, 4)}, "chains": n_chains}
    for name, work in works.items():
        times = seconds(work, repeats)
        middle = float(np.median(times))
        figures[name] = {"s": round(middle, 3), "s_range": [round(min(times), 3), round(max(times), 3)]}
        if name != "closed_form":
            figures[name]["ratio_to_naive"] = round(middle / (3 * n_chains * peer), 4)
    print(json.dumps({"name": "forecast", "figures": figures}))


if __name__ == "__main__":
    main()
