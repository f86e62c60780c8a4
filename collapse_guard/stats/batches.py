"""What training batches carried: rows per origin and per generation, and batches that carried nothing."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Self

import numpy as np

from collapse_guard.errors import StatisticError
from collapse_guard.records import UNKNOWN_GENERATION, Origin
from collapse_guard.stats.counts import STATISTICS

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

N_ORIGINS: Final = len(Origin)
N_GENERATIONS: Final = UNKNOWN_GENERATION + 1
#: Columns of codes of shape (rows, 2): origin, generation.
PAIR: Final = 2


@STATISTICS.register("batch_counts")
@dataclass(frozen=True, slots=True)
class BatchCounts:
    """Rows (or tokens) per origin and per generation; folded, never mutated.

    Args:
        origins: rows per origin, in the order of :class:`~collapse_guard.records.Origin`.
        generations: rows per generation 0 to 255, of the rows whose batch said it.
        n_batches: batches seen.
        n_untagged_batches: those of them that carried no provenance.

    >>> BatchCounts().update(np.array([1, 1, 2])).by_origin()["real"]
    2
    >>> BatchCounts().update(np.array([[1, 0], [2, 3]])).deepest()
    3
    """

    origins: tuple[int, ...] = (0,) * N_ORIGINS
    generations: tuple[int, ...] = (0,) * N_GENERATIONS
    n_batches: int = 0
    n_untagged_batches: int = 0

    def update(self, codes: ArrayLike) -> Self:
        """Return the counts after ``codes``.

        Args:
            codes: integers of shape (rows,): origins; (rows, 2): origin and generation; or (rows, 6): rows or tokens
                per origin, for packed rows. Origins out of range are unknown, and so are generations.

        Raises StatisticError for other shapes, and for anything but integers.
        """
        given = np.asarray(codes)
        if given.size == 0:
            return self
        if not np.issubdtype(given.dtype, np.integer):
            raise StatisticError(f"origins must be integer codes, got {given.dtype}; see collapse_guard.Origin")
        if given.ndim == 2 and given.shape[1] == N_ORIGINS:  # noqa: PLR2004 - rows of counts
            return replace(self, origins=_plus(self.origins, given.sum(axis=0)))
        if given.ndim == 2 and given.shape[1] == PAIR:  # noqa: PLR2004 - rows of pairs
            return replace(
                self,
                origins=_plus(self.origins, _counted(given[:, 0], N_ORIGINS, Origin.UNKNOWN)),
                generations=_plus(self.generations, _counted(given[:, 1], N_GENERATIONS, UNKNOWN_GENERATION)),
            )
        if given.ndim > 1:
            raise StatisticError(f"provenance of a batch has shape {given.shape}; {SHAPES}")
        return replace(self, origins=_plus(self.origins, _counted(given.ravel(), N_ORIGINS, Origin.UNKNOWN)))

    def merge(self, other: Self) -> Self:
        """Return the counts of both streams; order and grouping do not matter."""
        return self.of_vector([a + b for a, b in zip(self.vector(), other.vector(), strict=True)])

    def vector(self) -> list[int]:
        """Return all counts as one list: ranks merge by adding it up."""
        return [*self.origins, *self.generations, self.n_batches, self.n_untagged_batches]

    @classmethod
    def of_vector(cls, vector: list[int]) -> Self:
        """Return the counts that :meth:`vector` wrote."""
        cut = N_ORIGINS + N_GENERATIONS
        return cls(tuple(vector[:N_ORIGINS]), tuple(vector[N_ORIGINS:cut]), *vector[cut:])

    @property
    def n_rows(self) -> int:
        """Rows whose origin was said, even if as unknown."""
        return sum(self.origins)

    def by_origin(self) -> dict[str, int]:
        """Return the rows per origin, by its lower-case name."""
        return {origin.name.lower(): self.origins[origin] for origin in Origin}

    def deepest(self) -> int | None:
        """Return the largest known generation that was seen; None if no batch said any."""
        seen = [generation for generation in range(UNKNOWN_GENERATION) if self.generations[generation]]
        return max(seen, default=None)


#: What provenance of a batch may look like, for messages.
SHAPES: Final = "give integers of shape (rows,): origins; (rows, 2): origin, generation; (rows, 6): counts per origin"


def _counted(codes: NDArray[np.integer], n_codes: int, unknown: int) -> NDArray[np.int64]:
    wide = codes.astype(np.int64)
    return np.bincount(np.where((wide < 0) | (wide >= n_codes), int(unknown), wide), minlength=n_codes)


def _plus(before: tuple[int, ...], added: NDArray[np.int64]) -> tuple[int, ...]:
    return tuple(a + b for a, b in zip(before, added.tolist(), strict=True))
