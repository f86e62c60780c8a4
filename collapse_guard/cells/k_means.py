"""k-means of our own: float64, seeded, and the same whatever the order of rows or the size of a batch.

Sources: k-means++ (Arthur & Vassilvitskii 2007), mini-batch k-means (Sculley 2010), Lloyd (1982).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from collapse_guard.kernels import mix64, seed_word

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    Vectors = NDArray[np.float64]

_BATCH_ROWS: Final = 1024
_SEED_ROWS: Final = 8192
_LLOYD_ROWS: Final = 32_768
_LLOYD_PASSES: Final = 20
#: Entries of a table of distances that is held at once: 32 MB.
_TABLE: Final = 4_000_000


def content_keys(vectors: Vectors, *, seed: int) -> NDArray[np.uint64]:
    """Return one seeded 64-bit key per row that depends on what the row holds alone, shape (rows,).

    >>> keys = content_keys(np.array([[1.0, 2.0], [2.0, 1.0], [1.0, 2.0]]), seed=0)
    >>> bool(keys[0] == keys[2] != keys[1])
    True
    """
    keys = np.repeat(seed_word(seed), len(vectors))
    for column in np.ascontiguousarray(vectors.T).view(np.uint64):
        keys = mix64(keys + mix64(column))
    return keys


def nearest_points(vectors: Vectors, points: Vectors) -> NDArray[np.int64]:
    """Return the nearest point of each row, shape (rows,); ties go to the first point.

    A matrix product finds the candidates, and rows with two or more of them are measured one by one: the rounding of
    a product depends on how many rows come at once, and a row's cell must not.

    >>> nearest_points(np.array([[0.0], [5.0]]), np.array([[1.0], [9.0]])).tolist()
    [0, 0]
    """
    nearest = np.zeros(len(vectors), dtype=np.int64)
    norms = (points**2).sum(axis=1)
    for part in _parts(len(vectors), max(1, _TABLE // len(points))):
        rows = vectors[part]
        rough = norms - 2 * (rows @ points.T)
        slack = 1e-9 * ((rows**2).sum(axis=1) + norms.max())
        nearest[part] = rough.argmin(axis=1)
        for row in np.flatnonzero((rough <= (rough.min(axis=1) + slack)[:, None]).sum(axis=1) > 1):
            nearest[part.start + row] = ((rows[row] - points) ** 2).sum(axis=1).argmin()
    return nearest


def distances(vectors: Vectors, points: Vectors, nearest: NDArray[np.int64]) -> Vectors:
    """Return the distance of each row to its point, shape (rows,); the same whatever the batch.

    >>> distances(np.array([[3.0, 4.0]]), np.array([[0.0, 0.0]]), np.array([0])).tolist()
    [5.0]
    """
    return np.asarray(np.sqrt(((vectors - points[nearest]) ** 2).sum(axis=1)))


def k_means(vectors: Vectors, distinct: Vectors, n_points: int, *, seed: int) -> Vectors:
    """Return at most ``n_points`` centres, the one with the most rows first, shape (n_points, d).

    k-means++ seeds, one pass of mini-batches, then full passes over the first 32,768 rows until nothing moves, 20 at
    most. A centre without rows takes the row that lies farthest from its own; one that still has none is left out.

    Args:
        vectors: rows in random order, shape (rows, d).
        distinct: the same without repeats, in random order; seeds are taken from them.
        n_points: number of centres, at most the number of distinct rows.
        seed: seed of the seeds.

    >>> rows = np.array([[0.0], [9.0], [0.2], [9.2], [0.1]])
    >>> k_means(rows, rows, 2, seed=0).round(1).tolist()
    [[0.1], [9.1]]
    """
    points = _seeds(distinct[:_SEED_ROWS], n_points, np.random.default_rng(seed))
    counts = np.zeros(len(points))
    for part in _parts(len(vectors), _BATCH_ROWS):
        counts, points = _towards(vectors[part], counts, points)
    points = _settled(vectors[:_LLOYD_ROWS], points)
    n_rows = np.bincount(nearest_points(vectors, points), minlength=len(points))
    order = np.lexsort((*points.T[::-1], -n_rows))
    return np.asarray(points[order[n_rows[order] > 0]])


def _seeds(vectors: Vectors, n_points: int, rng: np.random.Generator) -> Vectors:
    """Return greedy k-means++ seeds.

    Some rows are drawn with chances in proportion to their squared distance to the seeds so far; the one that brings
    all rows nearest becomes the next seed.
    """
    n_drawn = 2 + int(np.log(n_points))
    lengths = (vectors**2).sum(axis=1)
    chosen: list[int] = []
    squared = np.ones(len(vectors))  # before the first seed all rows are alike
    while len(chosen) < n_points and squared.any():
        reach = np.cumsum(squared)
        drawn = np.searchsorted(reach, rng.random(n_drawn) * reach[-1], side="right")
        after = lengths[:, None] + lengths[drawn] - 2 * (vectors @ vectors[drawn].T)
        after[drawn, np.arange(n_drawn)] = 0.0
        after = np.maximum(np.minimum(after, squared[:, None]) if chosen else after, 0.0)
        best = int(after.sum(axis=0).argmin())
        chosen.append(int(drawn[best]))
        squared = after[:, best]
    return np.asarray(vectors[chosen])


def _towards(batch: Vectors, counts: Vectors, points: Vectors) -> tuple[Vectors, Vectors]:
    """Return (counts, centres) after one mini-batch: a centre is the mean of all rows that it ever took."""
    sums, n_rows = _sums(batch, nearest_points(batch, points), len(points))
    total = counts + n_rows
    return total, points + (sums - n_rows[:, None] * points) / np.maximum(total, 1)[:, None]


def _settled(vectors: Vectors, points: Vectors) -> Vectors:
    """Return centres after full passes."""
    before = None
    for _ in range(_LLOYD_PASSES):
        nearest = nearest_points(vectors, points)
        if before is not None and np.array_equal(nearest, before):
            break
        sums, n_rows = _sums(vectors, nearest, len(points))
        points = np.where(n_rows[:, None] > 0, sums / np.maximum(n_rows, 1)[:, None], points)
        empty = np.flatnonzero(n_rows == 0)
        if empty.size:
            farthest = np.argsort(-distances(vectors, points, nearest), kind="stable")
            points[empty] = vectors[farthest[: empty.size]]
        before = nearest
    return points


def _sums(vectors: Vectors, nearest: NDArray[np.int64], n_points: int) -> tuple[Vectors, Vectors]:
    """Return (sum of the rows, number of rows) of each centre."""
    order = np.argsort(nearest, kind="stable")
    n_rows = np.bincount(nearest, minlength=n_points)
    sums = np.zeros((n_points, vectors.shape[1]))
    sums[n_rows > 0] = np.add.reduceat(vectors[order], (np.cumsum(n_rows) - n_rows)[n_rows > 0], axis=0)
    return sums, n_rows.astype(np.float64)


def _parts(n_rows: int, size: int) -> Iterator[slice]:
    return (slice(start, min(start + size, n_rows)) for start in range(0, n_rows, size))
