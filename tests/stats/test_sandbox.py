"""The integrated check of the halting rule (science.md 3.8), and false halts on populations of other shapes.

Two detectors watch the same looks: the tail alone, as in the note, and the decision that ships: tail, classes and
unclaimed rows, against the real rows and against the first model, on one look per generation.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pytest
from scipy.stats import beta

from collapse_guard.cells import LabelCells
from collapse_guard.decision import decide, reference_error
from collapse_guard.monitor import Reference
from collapse_guard.monitor.panel import Panel
from collapse_guard.policy import Coverage, Policy
from collapse_guard.records import Action
from collapse_guard.stats import CellCounts, ClassEvidence, TailEvidence

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Shares = NDArray[np.float64]

pytestmark = pytest.mark.science

N_CELLS, N_ROWS, N_LOOKS, N_RUNS = 1_000, 10_000, 50, 40
LIMIT = math.log(100)


def default_coverage() -> Coverage:
    found = Policy.coerce({"version": 1, "coverage": {}}).coverage
    assert found is not None
    return found


COVERAGE = default_coverage()


@dataclass(frozen=True)
class Shipped:
    """The decision of the default policy, one look per generation, without the report that a watch writes."""

    real: Reference
    panels: tuple[Panel, ...]
    halted: bool = False

    @classmethod
    def start(cls, anchor: NDArray[np.int64]) -> Self:
        names = tuple(f"{cell:04}" for cell in range(anchor.size))
        real = Reference(LabelCells("label", names), CellCounts.of(anchor))
        return cls(real, (Panel.start(COVERAGE, real, real.counts, against="real", error=0.0),))

    def look(self, sample: NDArray[np.int64]) -> Self:
        panels = tuple(panel.look(sample, n_unclaimed_rows=0) for panel in self.panels)
        decision = decide(COVERAGE, [panel.result() for panel in panels], [], n_planned=2)
        if len(panels) == 1:  # this was the first model; from the next generation on it is a reference
            error = reference_error(COVERAGE) * COVERAGE.false_halt_rate
            counts = CellCounts.of(sample)
            panels = (*panels, Panel.start(COVERAGE, self.real, counts, against="first_model", error=error))
        return replace(self, panels=panels, halted=decision.action is Action.HALT)


@dataclass(frozen=True)
class Outcome:
    """One run: the generations that halted it (0 for none) and the figures at the halt by the tail alone."""

    generation: int
    shipped: int
    coverage_ratio: float
    mass_ratio: float
    mass_fired: bool


def normalised(weights: NDArray[np.floating[Any]]) -> Shares:
    return np.asarray(weights / weights.sum(), dtype=np.float64)


def unbiased(model: Shares, tail: NDArray[np.int64]) -> Shares:
    return model


def cooled(model: Shares, tail: NDArray[np.int64]) -> Shares:
    return normalised(model ** (1 / 0.95))


def nucleus(model: Shares, tail: NDArray[np.int64]) -> Shares:
    order = np.argsort(-model)
    kept = order[: np.searchsorted(np.cumsum(model[order]), 0.98) + 1]
    cut = np.zeros_like(model)
    cut[kept] = model[kept]
    return normalised(cut)


def filtered(model: Shares, tail: NDArray[np.int64]) -> Shares:
    thinned = model.copy()
    thinned[tail] *= 0.8
    return normalised(thinned)


def halves(first: float, second: float) -> float:
    return float(np.logaddexp(first, second) - math.log(2))


BIASES: dict[str, Callable[[Shares, NDArray[np.int64]], Shares]] = {
    "": unbiased,
    "temperature .95": cooled,
    "top-p .98": nucleus,
    "filter -20 % of tail": filtered,
}


def refit(policy: str, rng: np.random.Generator, real: Shares, total: Shares, sample: NDArray[np.int64]) -> Shares:
    """Return the next model; ``total`` holds all rows so far, the last sample included."""
    match policy:
        case "fresh samples of the anchor":
            return real
        case "replace":
            return normalised(sample.astype(np.float64))
        case "accumulate":
            return normalised(total)
        case "accumulate-subsample":
            return np.asarray(rng.multinomial(N_ROWS, normalised(total)) / N_ROWS)
        case _:
            share = float(policy.removesuffix(" % anchor")) / 100
            mixed = share * real + (1 - share) * sample / N_ROWS
            return np.asarray(rng.multinomial(N_ROWS, normalised(mixed)) / N_ROWS)


def run(policy: str, bias: str, seed: int, *, shipped: bool = True) -> Outcome:
    rng = np.random.default_rng([seed, 20240])
    anchor = rng.multinomial(N_ROWS, normalised(1 / np.arange(1, N_CELLS + 1)))
    evidence = TailEvidence.start(
        anchor, tail_mass=0.10, max_mass_drop=0.10, max_coverage_drop=0.50, planned_looks=N_LOOKS
    )
    real, tail = anchor / N_ROWS, np.array(evidence.tail)
    model, total, halted, watched = real, anchor.astype(np.float64), 0, 0
    guard, last = Shipped.start(anchor), evidence.compute()
    for generation in range(1, N_LOOKS + 1):
        sample = rng.multinomial(N_ROWS, BIASES[bias](model, tail))
        if not halted:
            evidence = evidence.update(sample)
            last = evidence.compute()
            halted = generation if last.log_e >= LIMIT else 0
        if shipped and not watched:
            guard = guard.look(sample)
            watched = generation if guard.halted else 0
        if halted and (watched or not shipped):
            break
        total = total + sample
        model = refit(policy, rng, real, total, sample)
    ratio = last.tail_coverage / last.expected_tail_coverage
    return Outcome(halted, watched, ratio, last.tail_mass_ratio, last.log_e_mass > last.log_e_coverage)


def print_row(policy: str, bias: str, runs: list[Outcome]) -> None:
    def halted(name: str) -> str:
        halts = [getattr(outcome, name) for outcome in runs if getattr(outcome, name)]
        return f"P(halt) {len(halts) / len(runs):.2f} generation {f'{np.median(halts):g}' if halts else '-':>4}"

    figures = [np.median([getattr(outcome, name) for outcome in runs]) for name in ("coverage_ratio", "mass_ratio")]
    print(  # noqa: T201 - the table of science.md 3.8, shown with -s
        f"\n{policy:28} {bias:21} tail alone: {halted('generation')}  shipped: {halted('shipped')}"
        f"  coverage {figures[0]:.2f}  mass {figures[1]:.2f}",
        end="",
    )


def test_fresh_samples_of_the_anchor_never_halt_in_300_runs_of_50_looks() -> None:
    runs = [run("fresh samples of the anchor", "", seed, shipped=False) for seed in range(300)]
    print_row("fresh samples of the anchor", "", runs)
    assert sum(outcome.generation > 0 for outcome in runs) == 0
    assert np.median([outcome.coverage_ratio for outcome in runs]) == pytest.approx(1.0, abs=0.03)
    assert np.median([outcome.mass_ratio for outcome in runs]) == pytest.approx(1.0, abs=0.03)


@pytest.mark.parametrize("policy", ["accumulate", "accumulate-subsample", "50 % anchor"])
def test_a_healthy_policy_never_halts_within_50_looks(policy: str) -> None:
    runs = [run(policy, "", seed, shipped=seed < N_RUNS // 4) for seed in range(N_RUNS)]
    print_row(policy, "", runs)
    assert [outcome.generation for outcome in runs] == [0] * N_RUNS
    assert [outcome.shipped for outcome in runs] == [0] * N_RUNS
    assert np.median([outcome.mass_ratio for outcome in runs]) == pytest.approx(1.0, abs=0.05)


@pytest.mark.parametrize(
    ("policy", "bias", "generation", "mass_fires"),
    [
        ("replace", "", 6, False),
        ("10 % anchor", "", 5, False),
        ("replace", "temperature .95", 2, True),
        ("replace", "top-p .98", 2, None),
        ("replace", "filter -20 % of tail", 2, True),
        ("accumulate", "temperature .95", 2, True),
        ("accumulate", "top-p .98", 3, None),
        ("accumulate", "filter -20 % of tail", 2, True),
        ("50 % anchor", "filter -20 % of tail", 2, True),
    ],
)
def test_a_collapsing_policy_halts_at_its_generation(
    policy: str, bias: str, generation: int, mass_fires: bool | None
) -> None:
    runs = [run(policy, bias, seed) for seed in range(N_RUNS)]
    print_row(policy, bias, runs)
    assert all(outcome.generation and outcome.shipped for outcome in runs), "every run must halt"
    assert abs(np.median([outcome.generation for outcome in runs]) - generation) <= 1
    assert abs(np.median([outcome.shipped for outcome in runs]) - generation) <= 2
    if mass_fires is not None:
        assert np.mean([outcome.mass_fired for outcome in runs]) == pytest.approx(float(mass_fires), abs=0.2)


def geometric(n_cells: int, imbalance: float) -> Shares:
    return normalised(imbalance ** -(np.arange(n_cells) / (n_cells - 1)))


SHAPES: dict[str, tuple[Shares, int]] = {
    "Zipf 1.0, 1,000 classes": (normalised(1 / np.arange(1, 1_001)), 10_000),
    "10 classes, imbalance 100": (geometric(10, 100), 2_000),
    "100 classes, imbalance 100": (geometric(100, 100), 5_000),
    "Zipf 0.7, 1,000 classes": (normalised(np.arange(1, 1_001) ** -0.7), 10_000),
    "Zipf 1.5, 1,000 classes": (normalised(np.arange(1, 1_001) ** -1.5), 10_000),
}


@pytest.mark.slow
@pytest.mark.parametrize("shape", SHAPES)
def test_the_shipped_decision_halts_healthy_runs_at_most_as_often_as_stated_on_every_shape(shape: str) -> None:
    """300 runs of 50 looks each; with none halted, the 95 % upper bound of the rate is 1 - 0.05 ** (1 / 300)."""
    shares, n_rows = SHAPES[shape]
    n_runs, n_halted = 300, 0
    for seed in range(n_runs):
        rng = np.random.default_rng([seed, 77])
        anchor = rng.multinomial(n_rows, shares)
        guard = Shipped.start(anchor)
        for _ in range(N_LOOKS):
            guard = guard.look(rng.multinomial(n_rows, anchor / n_rows))
            if guard.halted:
                n_halted += 1
                break
    bound = upper_bound(n_halted, n_runs)
    print(f"\n{shape:28} false halts {n_halted} of {n_runs}, 95 % upper bound {bound:.2%}", end="")  # noqa: T201
    assert n_halted / n_runs <= 0.01
    assert bound <= 0.0258, "as with 3 of 300"


def upper_bound(n_halted: int, n_runs: int) -> float:
    """Clopper-Pearson, one-sided 95 %."""
    return float(beta.ppf(0.95, n_halted + 1, n_runs - n_halted))


@pytest.mark.parametrize("case", ["tail mass at its bound", "one class at its bound", "every tail cell at its bound"])
def test_a_run_on_the_edge_of_health_halts_in_at_most_one_of_a_hundred_runs(case: str) -> None:
    reference, n_runs, n_rows = np.array([118, 91, 67, 55, 41, 30, 26, 19, 14, 11]), 200, 2_000
    start_tail = TailEvidence.start(
        reference, tail_mass=0.10, max_mass_drop=0.10, max_coverage_drop=0.50, planned_looks=20
    )
    start_classes = ClassEvidence.start(reference, max_class_drop=0.50, planned_looks=20)
    tail, shares = list(start_tail.tail), reference / reference.sum()
    match case:
        case "tail mass at its bound":
            shares[tail] *= 0.9
        case "one class at its bound":
            shares[0] *= 0.5
        case _:  # all but one tail cell at half of its share, and that one holds the mass
            mass = 0.9 * shares[tail].sum()
            shares[tail] *= 0.5
            shares[tail[0]] += mass - shares[tail].sum()
    shares[1] += 1 - shares.sum()
    rng = np.random.default_rng(1)
    n_halted = 0
    for _ in range(n_runs):
        evidence, classes = start_tail, start_classes
        for _ in range(20):
            counts = rng.multinomial(n_rows, shares)
            evidence, classes = evidence.update(counts), classes.update(counts)
            if halves(evidence.compute().log_e, classes.compute().log_e) >= LIMIT:
                n_halted += 1
                break
    print(f"\n{case:50} P(halt) {n_halted / n_runs:.3f}, allowed .01", end="")  # noqa: T201 - shown with -s
    assert n_halted <= 0.01 * n_runs
