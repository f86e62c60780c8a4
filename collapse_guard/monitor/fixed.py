"""Looks at one fixed validation set: which baseline, and how the error level is spent along a chain."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

from collapse_guard.monitor.anchor import counts_of, counts_state
from collapse_guard.stats import CellCounts, FixedSetEvidence, FixedSetResult, ReferenceRows
from collapse_guard.stats.folding import folded_state, with_folded
from collapse_guard.stats.tail import rarest_cells

if TYPE_CHECKING:
    from collections.abc import Sequence

    from collapse_guard.monitor.anchor import Reference
    from collapse_guard.policy import Coverage


@dataclass(frozen=True)
class FixedLooks:
    """One exact test per cell map, of predictions on a fixed set.

    Against real rows the level is spent over the looks of the whole chain. Against the parent or the run's own peak
    every generation starts anew, with 6 a / (pi^2 g^2) in the g-th one, so that the chain keeps the level as well.
    """

    coverage: Coverage
    maps: tuple[Reference, ...]
    first_generation: int
    generation: int
    tests: tuple[FixedSetEvidence, ...]
    latest: tuple[CellCounts, ...] = ()

    @classmethod
    def start(cls, coverage: Coverage, maps: tuple[Reference, ...], generation: int) -> Self:
        """Return the tests of a chain's first generation; without a parent they are measured against real rows."""
        return cls(coverage, maps, generation, generation, _tests(coverage, maps, (), 1))

    @property
    def tail(self) -> tuple[int, ...]:
        """Cells of the tail of the first cell map."""
        return tuple(self.tests[0].plan().tail.tolist())

    @property
    def said(self) -> str:
        """The baseline in words."""
        if self.coverage.baseline == "peak":
            return "the run's own peak"
        is_child = self.coverage.baseline == "parent" and self.generation > self.first_generation
        return "the parent" if is_child else "real"

    def look(self, counts: Sequence[CellCounts]) -> Self:
        """Return the tests after one look."""
        tests = tuple(
            test.update(rows.compute(), n_unclaimed_rows=rows.n_unclaimed_rows)
            for test, rows in zip(self.tests, counts, strict=True)
        )
        return replace(self, tests=tests, latest=tuple(counts))

    def results(self) -> list[tuple[str, tuple[str, ...], FixedSetResult]]:
        """Return name, cell names and result of each cell map."""
        return [(each.name, each.cells.names, test.compute()) for each, test in zip(self.maps, self.tests, strict=True)]

    def at_generation(self, generation: int) -> Self:
        """Return the tests of a later generation, whose parent is the latest look."""
        if generation == self.generation or self.coverage.baseline == "real":
            return replace(self, generation=generation)
        number = generation - self.first_generation + 1
        parent = self.latest if self.coverage.baseline == "parent" else ()
        return replace(self, generation=generation, tests=_tests(self.coverage, self.maps, parent, number))

    def state(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "first_generation": self.first_generation,
            "generation": self.generation,
            "tests": [folded_state(test) for test in self.tests],
            "parent": [
                {"rows": list(test.reference.rows), "n_unclaimed_rows": test.reference.n_unclaimed_rows}
                for test in self.tests
            ],
            "latest": [counts_state(each) for each in self.latest],
        }

    def resumed(self, state: dict[str, Any]) -> Self:
        """Return the tests with the evidence of ``state``, at its generation; raises on anything else."""
        first, generation = int(state["first_generation"]), int(state["generation"])
        parent, latest = (tuple(counts_of(each) for each in state[key]) for key in ("parent", "latest"))
        number = max(generation - first + 1, 1)
        fresh = _tests(self.coverage, self.maps, parent if self.coverage.baseline == "parent" else (), number)
        tests = tuple(with_folded(test, part) for test, part in zip(fresh, state["tests"], strict=True))
        return replace(self, first_generation=first, generation=generation, tests=tests, latest=latest)


def _tests(
    coverage: Coverage, maps: Sequence[Reference], parent: Sequence[CellCounts], number: int
) -> tuple[FixedSetEvidence, ...]:
    """Return the tests of a chain's ``number``-th generation; against real rows without a ``parent``."""
    level = coverage.false_halt_rate / len(maps)
    level *= 1.0 if coverage.baseline == "real" else 6 / (math.pi * number) ** 2
    is_sample = number > 1 and bool(parent)
    error = level * coverage.reference_error if is_sample or coverage.real_is == "sample" else 0.0
    return tuple(
        FixedSetEvidence.start(
            ReferenceRows.of(
                rows.rows,
                n_unclaimed_rows=rows.n_unclaimed_rows,
                error=error,
                min_alone_rows=coverage.min_alone_sampled_rows if error else coverage.min_alone_rows,
                max_alone=coverage.max_alone,
                visible=each.visible,
            ),
            tail_mass=coverage.tail_mass,
            max_mass_drop=coverage.max_mass_drop,
            max_class_drop=coverage.max_class_drop,
            alpha=level - error,
            baseline="peak" if coverage.baseline == "peak" else "reference",
            tail=tuple(rarest_cells(each.counts.compute(), coverage.tail_mass).tolist()),
        )
        for each, rows in zip(maps, parent or [each.counts for each in maps], strict=True)
    )
