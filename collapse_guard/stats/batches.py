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
#: Sizes of units are counted in powers of two, up to 2^32 tokens.
N_SIZES: Final = 33
#: Entries of a vector before the two counts of batches.
N_CODES: Final = N_ORIGINS + N_GENERATIONS + N_SIZES


@STATISTICS.register("batch_counts")
@dataclass(frozen=True, slots=True)
class BatchCounts:
    """Rows (or tokens) per origin and per generation; folded, never mutated.

    Args:
        origins: rows per origin, in the order of :class:`~collapse_guard.records.Origin`.
        generations: rows per generation 0 to 255, of the rows whose batch said it.
        sizes: units by size: entry k counts those of more than 2^(k-1) and at most 2^k rows or tokens. A plain row is a
            unit of size 1; the tokens of a packed row came together, so that they are one draw and not many.
        n_batches: batches seen.
        n_untagged_batches: those of them that carried no provenance.

    >>> BatchCounts().update(np.array([1, 1, 2])).by_origin()["real"]
    2
    >>> BatchCounts().update(np.array([[1, 0], [2, 3]])).deepest()
    3
    """

    origins: tuple[int, ...] = (0,) * N_ORIGINS
    generations: tuple[int, ...] = (0,) * N_GENERATIONS
    sizes: tuple[int, ...] = (0,) * N_SIZES
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
        if given.ndim > 2 or (given.ndim == 2 and given.shape[1] not in {PAIR, N_ORIGINS}):  # noqa: PLR2004 - axes
            raise StatisticError(f"provenance of a batch has shape {given.shape}; {SHAPES}")
        if given.ndim == 2 and given.shape[1] == N_ORIGINS:  # noqa: PLR2004 - rows of counts
            packed = np.bincount(size_classes(given.sum(axis=1)), minlength=N_SIZES)
            return replace(self, origins=_plus(self.origins, given.sum(axis=0)), sizes=_plus(self.sizes, packed))
        pairs = given.reshape(given.shape[0] if given.ndim else 1, -1)
        generations = pairs[:, 1] if pairs.shape[1] == PAIR else pairs[:0, 0]
        single = np.bincount(np.zeros(len(pairs), dtype=np.int64), minlength=N_SIZES)
        return replace(
            self,
            origins=_plus(self.origins, _counted(pairs[:, 0], N_ORIGINS, Origin.UNKNOWN)),
            generations=_plus(self.generations, _counted(generations, N_GENERATIONS, UNKNOWN_GENERATION)),
            sizes=_plus(self.sizes, single),
        )

    def merge(self, other: Self) -> Self:
        """Return the counts of both streams; order and grouping do not matter."""
        return self.of_vector([a + b for a, b in zip(self.vector(), other.vector(), strict=True)])

    def vector(self) -> list[int]:
        """Return all counts as one list: ranks merge by adding it up."""
        return [*self.origins, *self.generations, *self.sizes, self.n_batches, self.n_untagged_batches]

    @classmethod
    def of_vector(cls, vector: list[int]) -> Self:
        """Return the counts that :meth:`vector` wrote."""
        cut = N_ORIGINS + N_GENERATIONS
        origins, generations, sizes = vector[:N_ORIGINS], vector[N_ORIGINS:cut], vector[cut:N_CODES]
        return cls(tuple(origins), tuple(generations), tuple(sizes), *vector[N_CODES:])

    @classmethod
    def of_rows(cls, origins: tuple[int, ...], *, n_batches: int = 0) -> Self:
        """Return the counts of plain rows per origin."""
        return cls(origins, sizes=(sum(origins), *(0,) * (N_SIZES - 1)), n_batches=n_batches)

    @property
    def n_units(self) -> int:
        """Rows, or packed rows: what is drawn as a whole."""
        return sum(self.sizes)

    @property
    def largest(self) -> int:
        """Upper bound of the rows or tokens of one unit; 1 if all are plain rows."""
        return 1 << max((size for size in range(N_SIZES) if self.sizes[size]), default=0)

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


def size_classes(sizes: NDArray[np.integer]) -> NDArray[np.int64]:
    """Return the entry of ``BatchCounts.sizes`` of each size.

    >>> size_classes(np.array([0, 1, 2, 3, 4, 5]))
    array([0, 0, 1, 2, 2, 3])
    """
    classes: NDArray[np.int64] = np.ceil(np.log2(np.maximum(sizes, 1).astype(np.float64))).astype(np.int64)
    return np.minimum(classes, N_SIZES - 1)


def _counted(codes: NDArray[np.integer], n_codes: int, unknown: int) -> NDArray[np.int64]:
    wide = codes.astype(np.int64)
    return np.bincount(np.where((wide < 0) | (wide >= n_codes), int(unknown), wide), minlength=n_codes)


def _plus(before: tuple[int, ...], added: NDArray[np.int64]) -> tuple[int, ...]:
    return tuple(a + b for a, b in zip(before, added.tolist(), strict=True))
