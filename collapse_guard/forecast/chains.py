"""Simulated chains of generations: many at once, whole rows, with the biases that a closed form cannot have."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Real
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from collapse_guard.errors import StatisticError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from collapse_guard.forecast.loops import Loop

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]


#: Cells of one block of chains: its arrays stay within a few megabytes, whatever the number of classes.
_BLOCK_CELLS: Final = 1_000_000
#: Part of the seed: an arm's chains do not depend on which other arms run.
_STREAMS: Final = {"policy": 0, "replace": 1, "accumulate": 2}


@dataclass(frozen=True, slots=True)
class Biases:
    """What is known to bend the generated rows away from what the model learnt; none by default.

    Args:
        temperature: shares are raised to 1 / temperature; above 0, 1 is no bias.
        top_p: only the commonest classes that hold this share are drawn; in (0, 1], 1 is no bias. Of equally common
            classes the one with more real rows goes first.
        tail_removal: share of the tail's rows that a filter drops, in [0, 1).

    >>> Biases(temperature=0.0)
    Traceback (most recent call last):
    ...
    collapse_guard.errors.StatisticError: temperature must be a finite number above 0, got 0.0
    """

    temperature: float = 1.0
    top_p: float = 1.0
    tail_removal: float = 0.0

    def __post_init__(self) -> None:
        """Raise StatisticError for a value out of range."""
        if not (_is_number(self.temperature) and 0 < self.temperature < np.inf):
            raise StatisticError(f"temperature must be a finite number above 0, got {self.temperature!r}")
        if not (_is_number(self.top_p) and 0 < self.top_p <= 1):
            raise StatisticError(f"top_p must lie in (0, 1], got {self.top_p!r}")
        if not (_is_number(self.tail_removal) and 0 <= self.tail_removal < 1):
            raise StatisticError(f"tail_removal must lie in [0, 1), got {self.tail_removal!r}")

    @property
    def need_every_class(self) -> bool:
        """Say whether the common classes must be simulated one by one."""
        return self.temperature != 1 or self.top_p != 1

    @property
    def any(self) -> bool:
        """Say whether there is a bias at all."""
        return self.need_every_class or self.tail_removal != 0

    def bend(self, model: Floats, n_tail: int) -> Floats:
        """Return what is drawn from ``model``, shape (chains, cells), the tail's cells first; rows sum to 1."""
        if self.temperature != 1:
            model = _cooled(model, self.temperature)
        if self.top_p < 1:
            model = _nucleus(model, self.top_p)
        if self.tail_removal > 0:
            model = model.copy()
            model[:, :n_tail] *= 1 - self.tail_removal
        return np.asarray(model / model.sum(axis=1, keepdims=True)) if self.any else model


class Chains(NamedTuple):
    """Tail classes alive, int64 of shape (reported generations, chains), and how often each was at the end, (tail,)."""

    n_alive: Ints
    alive_share: Floats


def simulate(
    loop: Loop, cells: Ints, *, n_tail: int, reported: Sequence[int], n_chains: int, seed: int, biases: Biases
) -> Chains:
    """Return ``n_chains`` chains of generations 1 to ``reported[-1]``.

    A class is alive in a generation if a look of ``loop.n_rows`` rows of that generation's model holds it. The
    generated rows that enter the next mix are part of that look.

    Args:
        loop: how each mix is made.
        cells: real rows per cell, the ``n_tail`` cells of the tail first.
        n_tail: 1 or more.
        reported: generations to keep, ascending.
        n_chains: 1 or more; each block of chains has its own stream of ``seed``.
        seed: 0 or more.
        biases: applied to every model before rows are drawn.
    """
    size = max(1, _BLOCK_CELLS // cells.size)
    starts = range(0, n_chains, size)
    blocks = [
        _block(
            loop,
            cells,
            n_tail,
            reported,
            min(size, n_chains - start),
            np.random.default_rng([seed, _STREAMS[loop.name], start]),
            biases,
        )
        for start in starts
    ]
    n_alive = np.concatenate([block.n_alive for block in blocks], axis=1)
    weights = np.array([block.n_alive.shape[1] for block in blocks]) / n_chains
    return Chains(n_alive, weights @ np.stack([block.alive_share for block in blocks]))


def _block(
    loop: Loop,
    cells: Ints,
    n_tail: int,
    reported: Sequence[int],
    n_chains: int,
    rng: np.random.Generator,
    biases: Biases,
) -> Chains:
    real = np.broadcast_to(cells / cells.sum(), (n_chains, cells.size))
    kept = np.broadcast_to(cells.astype(np.float64), real.shape)
    model: Floats = real
    wanted, found = set(reported), []
    for generation in range(1, reported[-1] + 1):
        drawn = biases.bend(model, n_tail)
        rows = rng.multinomial(loop.n_synthetic_rows, drawn)
        alive = _look(rows, drawn, loop, rng)[:, :n_tail] > 0
        if generation in wanted:
            found.append(alive.sum(axis=1))
        if loop.keeps_everything:
            kept = kept + rows
            model = kept / kept.sum(axis=1, keepdims=True)
        elif loop.n_synthetic_rows:
            model = loop.real_share * real + (1 - loop.real_share) / loop.n_synthetic_rows * rows
    return Chains(np.stack(found).astype(np.int64), alive.mean(axis=0))


def _look(rows: Ints, drawn: Floats, loop: Loop, rng: np.random.Generator) -> Ints:
    """Return the rows of a look: those that enter the next mix, and as many more as it takes."""
    more = loop.n_rows - loop.n_synthetic_rows
    return rows + rng.multinomial(more, drawn) if more else rows


def _cooled(model: Floats, temperature: float) -> Floats:
    """Return shares raised to ``1 / temperature``, scaled so that the largest is 1."""
    with np.errstate(divide="ignore", over="ignore"):
        logs = np.log(model / model.max(axis=1, keepdims=True)) / temperature
    return np.asarray(np.exp(logs))


def _nucleus(model: Floats, top_p: float) -> Floats:
    """Return the shares of the commonest cells that together hold ``top_p``, 0 elsewhere; ties go to later cells."""
    shares = model / model.sum(axis=1, keepdims=True)
    ranked = np.sort(shares, axis=1)[:, ::-1]
    n_kept = (np.cumsum(ranked, axis=1) - ranked < top_p).sum(axis=1, keepdims=True)
    least = np.take_along_axis(ranked, n_kept - 1, axis=1)
    above, tied = shares > least, shares == least
    place = np.cumsum(tied[:, ::-1], axis=1, dtype=np.int32)[:, ::-1]
    kept = above | (tied & (place <= n_kept - above.sum(axis=1, keepdims=True)))
    return np.asarray(np.where(kept, shares, 0.0))


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)
