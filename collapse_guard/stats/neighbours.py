"""Do two sets of feature rows cover each other? Shares of k-nearest-neighbour balls.

Definitions: precision and recall of Kynkaanniemi et al., arXiv 1904.06991; density and coverage of Naeem et al.,
arXiv 2002.09797. The ball of a row reaches to its k-th nearest other row of its own set, border excluded.
All four depend on the numbers of rows: compare looks of one size.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from collapse_guard.errors import StatisticError
from collapse_guard.stats.arguments import as_features, as_whole

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import ArrayLike, NDArray

#: Rows of one side that are compared at a time: memory is this times the rows of the other side.
_CHUNK_ROWS: Final = 256

#: Squared distances below this share of the squared norms are rounding: such rows are equal.
_ROUNDING: Final = 64 * float(np.finfo(np.float64).eps)


class NeighbourShares(NamedTuple):
    """The four figures of one comparison; density alone may pass 1."""

    precision: float
    recall: float
    density: float
    ball_coverage: float


def neighbour_shares(real: ArrayLike, made: ArrayLike, *, k: int, n_most: int, seed: int) -> NeighbourShares:
    """Return precision, recall, density and coverage of ``made`` against ``real``.

    Args:
        real: real rows, floats of shape (rows, columns).
        made: generated rows, floats of shape (other rows, columns).
        k: the neighbour that a ball reaches to, 1 or more, below the rows of each set.
        n_most: rows used of each set at most; of more rows a random subset, chosen by ``seed``.
        seed: whole number, 0 or more.

    Cost O(n_most^2 columns), memory O(256 n_most). Raises StatisticError for values that are not finite (with the
    row), unequal columns, and too few rows.

    Blind: see :func:`precision`, :func:`recall`, :func:`density` and :func:`ball_coverage`.

    >>> square = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    >>> neighbour_shares(square, square + [0.1, 0.0], k=1, n_most=100, seed=0).recall
    1.0
    """
    first, second = _prepared(real, made, n_most=n_most, seed=seed)
    reach = as_whole(k, name="k", least=1)
    for name, rows in (("real", first), ("made", second)):
        if rows.shape[0] <= reach:
            raise StatisticError(f"k is {reach}, {name} has {rows.shape[0]} rows in use; k must be smaller")
    real_radii, made_radii = _squared_radii(first, reach), _squared_radii(second, reach)
    return _shares(first, second, real_radii, made_radii, reach)


def _shares(
    real: NDArray[np.float64],
    made: NDArray[np.float64],
    real_radii: NDArray[np.float64],
    made_radii: NDArray[np.float64],
    k: int,
) -> NeighbourShares:
    n_balls = np.zeros(len(made), dtype=np.int64)
    recalled = np.zeros(len(real), dtype=bool)
    nearest = np.full(len(real), np.inf)
    for rows, squares in _squared_distances(made, real):
        n_balls[rows] = (squares < real_radii).sum(axis=1)
        recalled |= (squares < made_radii[rows, None]).any(axis=0)
        nearest = np.minimum(nearest, squares.min(axis=0))
    return NeighbourShares(
        precision=float((n_balls > 0).mean()),
        recall=float(recalled.mean()),
        density=float(n_balls.mean()) / k,
        ball_coverage=float((nearest < real_radii).mean()),
    )


def _prepared(
    real: ArrayLike, made: ArrayLike, *, n_most: int, seed: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return both sets, checked, thinned, and moved and scaled as one, so that squares neither cancel nor overflow."""
    whole = as_features(real, name="real")
    other = as_features(made, name="made", n_columns=whole.shape[1])
    whole, other = subset(whole, n_most=n_most, seed=seed), subset(other, n_most=n_most, seed=seed)
    unit = max(float(np.abs(whole).max()), float(np.abs(other).max())) or 1.0
    centre = (whole / unit).mean(axis=0)
    return whole / unit - centre, other / unit - centre


def subset(rows: NDArray[np.float64], *, n_most: int, seed: int) -> NDArray[np.float64]:
    """Return at most ``n_most`` of ``rows`` in their order, chosen by ``seed``; all of them when they are fewer.

    >>> subset(np.arange(8.0).reshape(4, 2), n_most=9, seed=0).shape
    (4, 2)
    """
    most, salt = as_whole(n_most, name="n_most", least=1), as_whole(seed, name="seed", least=0)
    if len(rows) <= most:
        return rows
    chosen = np.random.default_rng(salt).choice(len(rows), size=most, replace=False)
    return rows[np.sort(chosen)]


def _squared_distances(
    rows: NDArray[np.float64], others: NDArray[np.float64]
) -> Iterator[tuple[slice, NDArray[np.float64]]]:
    """Yield a slice of ``rows`` and its squared distances to all ``others``, shape (chunk, others)."""
    norms = (others**2).sum(axis=1)
    for start in range(0, len(rows), _CHUNK_ROWS):
        part = slice(start, min(start + _CHUNK_ROWS, len(rows)))
        sums = (rows[part] ** 2).sum(axis=1)[:, None] + norms
        squares = sums - 2 * (rows[part] @ others.T)
        yield part, np.where(squares <= _ROUNDING * sums, 0.0, squares)


def _squared_radii(rows: NDArray[np.float64], k: int) -> NDArray[np.float64]:
    radii = np.empty(len(rows))
    for part, squares in _squared_distances(rows, rows):
        radii[part] = np.partition(squares, k, axis=1)[:, k]  # the nearest of all is the row itself
    return radii


def precision(real: ArrayLike, made: ArrayLike, *, k: int, n_most: int, seed: int) -> float:
    """Return the share of made rows inside the ball of a real row, in [0, 1].

    Arguments and errors of :func:`neighbour_shares`. Source: Kynkaanniemi et al., arXiv 1904.06991.

    Blind: to lost modes; it RISES when a model keeps to the densest part, the commonest collapse.

    >>> rows = np.arange(6.0).reshape(6, 1)
    >>> precision(rows, rows[:2] + 0.25, k=1, n_most=10, seed=0), recall(rows, rows[:2] + 0.25, k=1, n_most=10, seed=0)
    (1.0, 0.5)
    """
    return neighbour_shares(real, made, k=k, n_most=n_most, seed=seed).precision


def recall(real: ArrayLike, made: ArrayLike, *, k: int, n_most: int, seed: int) -> float:
    """Return the share of real rows inside the ball of a made row, in [0, 1].

    Arguments and errors of :func:`neighbour_shares`. Source: Kynkaanniemi et al., arXiv 1904.06991.

    Blind: to widening and to outliers among the made rows, whose wide balls raise it.

    >>> rows = np.arange(6.0).reshape(6, 1)
    >>> recall(rows, rows, k=1, n_most=10, seed=0)
    1.0
    """
    return neighbour_shares(real, made, k=k, n_most=n_most, seed=seed).recall


def density(real: ArrayLike, made: ArrayLike, *, k: int, n_most: int, seed: int) -> float:
    """Return the mean number of real balls around a made row, per k: 0 or more, about 1 when healthy.

    Arguments and errors of :func:`neighbour_shares`. Source: Naeem et al., arXiv 2002.09797.

    Blind: to lost modes; like precision it RISES when a model keeps to the densest part.

    >>> rows = np.arange(6.0).reshape(6, 1)
    >>> density(rows, rows, k=1, n_most=10, seed=0)
    1.0
    """
    return neighbour_shares(real, made, k=k, n_most=n_most, seed=seed).density


def ball_coverage(real: ArrayLike, made: ArrayLike, *, k: int, n_most: int, seed: int) -> float:
    """Return the share of real rows with a made row inside their ball, in [0, 1].

    Arguments and errors of :func:`neighbour_shares`. Source: Naeem et al., arXiv 2002.09797.

    Blind: to mode seeking; local averaging keeps a row in nearly every ball while the spread shrinks.

    >>> rows = np.arange(6.0).reshape(6, 1)
    >>> ball_coverage(rows, rows[:3], k=1, n_most=10, seed=0)
    0.5
    """
    return neighbour_shares(real, made, k=k, n_most=n_most, seed=seed).ball_coverage
