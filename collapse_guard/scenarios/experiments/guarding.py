"""The guard as the experiments use it: a look per generation in, evidence and a halt out."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Self

from collapse_guard.cells import LabelCells
from collapse_guard.decision import log_e_limit
from collapse_guard.monitor import Anchor, Reference, Watch
from collapse_guard.policy import Coverage, Policy
from collapse_guard.stats import CellCounts

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Guard:
    """A watch over one chain of generations, one look each; a value, folded look by look.

    >>> import numpy as np
    >>> guard = Guard.over_cells(np.array([900, 60, 40]), planned_looks=5, look_rows=1000)
    >>> guard.look(np.array([990, 10, 0])).halted
    True
    """

    watch: Watch
    halted: bool = False

    @classmethod
    def over_cells(
        cls,
        reference: NDArray[np.int64],
        *,
        planned_looks: int,
        look_rows: int,
        n_unclaimed_rows: int = 0,
        **thresholds: Any,
    ) -> Self:
        """Return a guard with real rows per cell as reference, shape (cells,).

        ``thresholds`` are keys of a policy's coverage section; its defaults hold for the rest.
        """
        rows = tuple(reference.tolist())
        policy = _policy(planned_looks, look_rows, thresholds)
        return cls(_started(policy, rows, n_unclaimed_rows))

    @classmethod
    def over_score(cls, score: dict[str, Any], *, planned_looks: int, look_rows: int) -> Self:
        """Return a guard over the mean of one score per row, measured against the first model's look.

        ``score`` is an entry of ``coverage.scores`` of a policy.
        """
        policy = _policy(planned_looks, look_rows, {"cells": [], "scores": [score]})
        return cls(Watch.start(policy, Anchor(()), generation=1))

    def look(self, counts: NDArray[np.int64], *, n_unclaimed_rows: int = 0) -> Self:
        """Return the guard after one generation's rows per cell, shape (cells,); a halt stays a halt."""
        seen = CellCounts.of(counts, n_unclaimed_rows=n_unclaimed_rows)
        return self._after(self.watch.look(seen, epoch=1))

    def look_at_scores(self, scores: NDArray[np.float64]) -> Self:
        """Return the guard after the scores of one generation's rows, in [0, 1], shape (rows,)."""
        return self._after(self.watch.look(scores=(scores,), epoch=1))

    def _after(self, watch: Watch) -> Self:
        return replace(self, watch=watch.next_generation(), halted=self.halted or watch.halted)

    @property
    def log_e(self) -> float:
        """Evidence so far, in nats; nan while there is nothing to measure against."""
        found = self.watch.looks[-1].log_e if self.watch.looks else math.nan
        return found if math.isfinite(found) else math.nan

    @property
    def tail_mass_ratio(self) -> float:
        """Share of the tail in the last look, over its real share."""
        return self.watch.looks[-1].tail_mass_ratio

    @property
    def tail_coverage_ratio(self) -> float:
        """Tail cells seen in the last look, over those expected at its size."""
        last = self.watch.looks[-1]
        return last.tail_cells_alive / last.expected_tail_cells


def halting_log_e() -> float:
    """Return the log e at which the default policy halts."""
    return log_e_limit(Coverage())


@lru_cache(maxsize=256)
def _started(policy: Policy, rows: tuple[int, ...], n_unclaimed_rows: int) -> Watch:
    """Return a watch without evidence: policies share the real rows of a run, and its start is costly to work out."""
    cells = LabelCells("cell", tuple(map(str, range(len(rows)))))
    counts = CellCounts.of(rows, n_unclaimed_rows=n_unclaimed_rows)
    return Watch.start(policy, Reference(cells, counts), generation=1)


def _policy(planned_looks: int, look_rows: int, more: dict[str, Any]) -> Policy:
    coverage = {"planned_looks": planned_looks, "samples_per_look": look_rows, **more}
    return Policy.coerce({"version": 1, "coverage": coverage})
