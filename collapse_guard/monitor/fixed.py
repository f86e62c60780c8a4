"""Looks at one fixed validation set: which baseline, and how the error level is spent along a chain."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

from collapse_guard.monitor.anchor import counts_of, counts_state
from collapse_guard.monitor.panel import healthy_rows
from collapse_guard.stats import CellCounts, FixedSetEvidence, FixedSetResult
from collapse_guard.stats.fixed_set import look_share
from collapse_guard.stats.folding import folded_state, with_folded

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
    parent: tuple[CellCounts, ...] = ()
    n_parent_looks: int = 0
    latest: tuple[CellCounts, ...] = ()

    @classmethod
    def start(cls, coverage: Coverage, maps: tuple[Reference, ...], generation: int) -> Self:
        """Return the tests of a chain's first generation; without a parent they are measured against real rows."""
        return cls(coverage, maps, generation, generation, _tests(coverage, maps, (), number=1, n_parent_looks=0))

    @property
    def tail(self) -> tuple[int, ...]:
        """Cells of the tail of the first cell map."""
        return tuple(self.tests[0].plan().tail.tolist())

    @property
    def said(self) -> str:
        """The baseline in words."""
        if self.coverage.baseline == "peak":
            return "the run's own peak"
        return "the parent" if self.parent else "real"

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
        if self.coverage.baseline == "peak":
            return self._restarted(generation, (), 0)
        if self.tests[0].n_looks == 0:  # no look since the parent's: it stays the baseline
            return self._restarted(generation, self.parent, self.n_parent_looks)
        return self._restarted(generation, self.latest, self.tests[0].n_looks)

    def _restarted(self, generation: int, parent: tuple[CellCounts, ...], n_looks: int) -> Self:
        """Return the tests of a generation without looks; ``n_looks`` were taken before the parent's last one."""
        number = generation - self.first_generation + 1
        tests = _tests(self.coverage, self.maps, parent, number=number, n_parent_looks=n_looks)
        return replace(self, generation=generation, tests=tests, parent=parent, n_parent_looks=n_looks)

    def state(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "first_generation": self.first_generation,
            "generation": self.generation,
            "tests": [folded_state(test) for test in self.tests],
            "parent": [counts_state(each) for each in self.parent],
            "n_parent_looks": self.n_parent_looks,
            "latest": [counts_state(each) for each in self.latest],
        }

    def resumed(self, state: dict[str, Any]) -> Self:
        """Return the tests with the evidence of ``state``, at its generation; raises on anything else."""
        first, generation = int(state["first_generation"]), int(state["generation"])
        parent, latest = (tuple(counts_of(each) for each in state[key]) for key in ("parent", "latest"))
        if first > generation:
            raise ValueError(f"generation {generation} is before the first one, {first}")
        began = replace(self, first_generation=first)
        if self.coverage.baseline != "real":
            began = began._restarted(generation, parent, int(state["n_parent_looks"]))  # noqa: SLF001 - of this very class
        tests = tuple(with_folded(test, part) for test, part in zip(began.tests, state["tests"], strict=True))
        return replace(began, generation=generation, tests=tests, latest=latest)


def _tests(
    coverage: Coverage,
    maps: Sequence[Reference],
    parent: Sequence[CellCounts],
    *,
    number: int,
    n_parent_looks: int,
) -> tuple[FixedSetEvidence, ...]:
    """Return the tests of a chain's ``number``-th generation; against real rows without a ``parent``."""
    level = coverage.false_halt_rate / len(maps)
    level *= 1.0 if coverage.baseline == "real" else look_share(number)
    error = level * coverage.reference_error if parent or coverage.real_is == "sample" else 0.0
    error *= look_share(n_parent_looks) if parent else 1.0  # which look was the parent's last may depend on what it saw
    counts = parent or [each.counts for each in maps]
    return tuple(
        _test(coverage, each, rows, against="parent" if parent else "real", level=level, error=error)
        for each, rows in zip(maps, counts, strict=True)
    )


def _test(
    coverage: Coverage, real: Reference, counts: CellCounts, *, against: str, level: float, error: float
) -> FixedSetEvidence:
    rows, tail = healthy_rows(coverage, real, counts, against=against, error=error)
    least = coverage.min_alone_sampled_rows if error else coverage.min_alone_rows
    return FixedSetEvidence.start(
        replace(rows, min_alone_rows=least, max_alone=coverage.max_alone),
        tail_mass=coverage.tail_mass,
        max_mass_drop=coverage.max_mass_drop,
        max_class_drop=coverage.max_class_drop,
        alpha=level - error,
        baseline="peak" if coverage.baseline == "peak" else "reference",
        tail=tail,
    )
