"""What one look leaves: its line in the report, and, in a chain's first generation, what the first model made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collapse_guard.stats import CellCounts

#: A report shows the counts of every look up to so many cells.
MAX_CELLS_SHOWN: Final = 1_000

#: Advisory figures of counts take longer than the tests themselves beyond it.
MAX_CELLS_ADVISED: Final = 10_000


@dataclass(frozen=True, slots=True)
class Look:
    """Figures of one look; the table that people read. Tail figures are of the first cell map against real rows.

    ``step`` is the optimizer step of the look, None where the trainer did not say it.
    """

    generation: int
    epoch: int
    n_rows: int
    n_unclaimed_rows: int
    tail_cells_alive: int
    expected_tail_cells: float
    tail_mass_ratio: float
    log_e: float
    parts: dict[str, float]
    advisory: dict[str, float]
    action: str
    counts: tuple[int, ...]
    step: int | None = None


@dataclass(frozen=True, slots=True)
class FirstModel:
    """What the first model of a chain made: the last look of its generation.

    Args:
        n_looks: looks of its generation, the last of which this is.
        counts: rows per cell, of each cell map.
        score_means: the mean that is sure of each score; None for scores that are measured against real rows.
    """

    generation: int
    n_looks: int
    counts: tuple[CellCounts, ...]
    score_means: tuple[float | None, ...]
