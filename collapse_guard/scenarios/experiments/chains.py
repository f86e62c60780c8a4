"""What an experiment is asked and what it returns; which rows the next generation learns from, policy by policy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from collapse_guard.errors import InputError
from collapse_guard.policy import Policy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

Floats = NDArray[np.float64]

#: What the next generation learns from. ``fresh`` is the null, and always runs: real rows only, no loop.
FRESH: Final = "fresh"
GUARDED: Final = "guarded"
POLICIES: Final = ("replace", "accumulate", "accumulate-subsample", "anchor", GUARDED)
#: Also in the experiments with closed forms: new real rows in every generation, pooled or optimally weighted.
FRESH_SHARE: Final = "fresh-share"
GOLDEN: Final = "golden"


@dataclass(frozen=True)
class Setting:
    """One policy of one experiment: everything that decides the result.

    Args:
        policy: ``fresh`` or one of the experiment's policies.
        generations: models per chain, 1 or more.
        runs: independent chains, 1 or more.
        seed: of everything random.
        real_share: share of real rows under ``anchor``, ``fresh-share`` and ``golden``, in (0, 1).
        text: file with one document per line, for experiments on text.
    """

    policy: str
    generations: int
    runs: int
    seed: int
    real_share: float
    text: Path | None = None

    def rng(self, run: int) -> np.random.Generator:
        """Return the generator of one run; runs do not share numbers, policies share the run's real rows."""
        return np.random.default_rng([self.seed, run])


class Step(NamedTuple):
    """One generation of one run: its figures, and what the guard says (nan where nothing is watched)."""

    figures: Mapping[str, float]
    log_e: float = float("nan")
    halted: bool = False


@dataclass(frozen=True)
class Chains:
    """All runs of one policy.

    Args:
        policy: what the next generation learned from.
        variant: mechanism of the loop, where an experiment has several; else empty.
        figures: name -> values of shape (runs, generations); nan after a guarded run was halted.
        log_e: evidence in nats, same shape; nan where nothing is watched.
        halts: generation that the guard halted (or would have), 0 for never, shape (runs,).
    """

    policy: str
    variant: str
    figures: Mapping[str, Floats]
    log_e: Floats
    halts: NDArray[np.int64]

    @classmethod
    def of(cls, policy: str, runs: Sequence[Sequence[Step]], *, generations: int, variant: str = "") -> Self:
        """Return runs of steps as arrays; a run that ended early is filled with nan."""

        def column(value: Callable[[Step], float]) -> Floats:
            table = np.full((len(runs), generations), np.nan)
            for row, steps in zip(table, runs, strict=True):
                row[: len(steps)] = [value(step) for step in steps]
            return table

        names = tuple(runs[0][0].figures)
        figures = {name: column(lambda step, name=name: step.figures[name]) for name in names}  # type: ignore[misc]  # mypy does not take a default for a bound name
        halts = [next((number for number, step in enumerate(steps, 1) if step.halted), 0) for steps in runs]
        return cls(policy, variant, figures, column(lambda step: step.log_e), np.array(halts, dtype=np.int64))


def until_halt(policy: str, steps: Iterable[Step]) -> list[Step]:
    """Return the steps of a run; ``guarded`` ends with the step that was halted, other policies run on."""
    taken: list[Step] = []
    for step in steps:
        taken.append(step)
        if step.halted and policy == GUARDED:
            break
    return taken


class Rows(Protocol):
    """Rows of any kind that can be picked and joined."""

    def __len__(self) -> int: ...

    def take(self, rows: NDArray[np.int64], /) -> Self:
        """Return the rows with these numbers."""

    def joined(self, other: Self, /) -> Self:
        """Return the rows of both."""


R = TypeVar("R", bound=Rows)


@dataclass(frozen=True)
class Table:
    """Arrays whose first axis is the row.

    >>> len(Table((np.zeros((3, 2)),)).take(np.array([0, 2])))
    2
    """

    columns: tuple[NDArray[Any], ...]

    def __len__(self) -> int:
        return len(self.columns[0])

    def take(self, rows: NDArray[np.int64]) -> Table:
        """Return the rows with these numbers."""
        return Table(tuple(column[rows] for column in self.columns))

    def joined(self, other: Table) -> Table:
        """Return the rows of both."""
        return Table(tuple(np.concatenate(pair) for pair in zip(self.columns, other.columns, strict=True)))


def guarded_real_share() -> float:
    """Return the floor of the real share that ``guarded`` keeps: the default of the policy language."""
    return Policy(version=1).mix.real_min_share


def synthetic_budget(n_real: int) -> int:
    """Return how many synthetic rows may stand beside ``n_real`` real ones under ``guarded``."""
    share = guarded_real_share()
    return int(n_real * (1 - share) / share)


def training_rows(
    setting: Setting, real: R, made: Sequence[R], rng: np.random.Generator, *, filtered: Callable[[R], R] | None = None
) -> R:
    """Return what the next generation learns from.

    Args:
        setting: its policy; ``anchor`` keeps the size of ``real``, ``real_share`` of it real rows drawn anew.
        real: the retained real rows.
        made: output of each generation so far, oldest first; empty for the first generation.
        rng: draws rows, never with replacement.
        filtered: what ``guarded`` makes of one output before it may enter; everything, if left out.

    ``guarded`` keeps every real row and takes synthetic ones of all generations up to the policy's cap.
    """
    n_rows = len(real)
    if not made or setting.policy == FRESH:
        return real
    match setting.policy:
        case "replace":
            return made[-1]
        case "accumulate":
            return _pooled([real, *made])
        case "accumulate-subsample":
            return _some(_pooled([real, *made]), n_rows, rng)
        case "anchor":
            n_real = round(setting.real_share * n_rows)
            return _some(real, n_real, rng).joined(_some(made[-1], n_rows - n_real, rng))
        case "guarded":
            pool = _pooled([part if filtered is None else filtered(part) for part in made])
            return real.joined(_some(pool, min(synthetic_budget(n_rows), len(pool)), rng))
        case other:
            raise InputError(f"policy {other!r} is none of {', '.join((FRESH, *POLICIES))}")


def _pooled(parts: Sequence[R]) -> R:
    whole = parts[0]
    for part in parts[1:]:
        whole = whole.joined(part)
    return whole


def _some(rows: R, n_rows: int, rng: np.random.Generator) -> R:
    return rows.take(np.sort(rng.permutation(len(rows))[:n_rows]))
