"""Cells of vectors: the nearest of some centres, or none for a row that lies too far from all of them.

The radius is a split-conformal quantile (Vovk, Gammerman & Shafer 2005): of rows like the real ones, at most the
declared share lies beyond it, in expectation.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np

from collapse_guard.cells.declared import check_outlier_share, check_seed, check_whole
from collapse_guard.cells.k_means import content_keys, distances, k_means, nearest_points
from collapse_guard.cells.state import Parts
from collapse_guard.errors import CellError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Vectors = NDArray[np.float64]

MAX_CELLS: Final = 256
#: One distinct row in five is held out, to measure distances that the centres have not seen.
_HELD_OUT: Final = 5
#: Numbers above it would overflow when they are squared and added.
_TOO_LARGE: Final = 1e100


@dataclass(frozen=True, slots=True)
class Centres:
    """Centres in a standardised space, and how far from its centre a row may lie.

    Args:
        mean: subtracted from each column, shape (d,).
        scale: divides each column after that, shape (d,), positive.
        points: the centres, shape (n_cells, d), the one with the most real rows first.
        radius: largest distance to the nearest centre; None for no limit.

    >>> centres = Centres((0.0,), (1.0,), ((0.0,), (10.0,)), 2.0)
    >>> centres.cells(np.array([[1.0], [9.0], [5.0], [np.nan]])).tolist()
    [0, 1, -1, -1]
    """

    mean: tuple[float, ...]
    scale: tuple[float, ...]
    points: tuple[tuple[float, ...], ...]
    radius: float | None

    @property
    def n_cells(self) -> int:
        """Number of centres."""
        return len(self.points)

    @property
    def names(self) -> tuple[str, ...]:
        """One name per centre, from the one with the most real rows."""
        return tuple(f"cluster {number}" for number in range(1, self.n_cells + 1))

    def cells(self, vectors: Vectors) -> NDArray[np.int64]:
        """Return the nearest centre of each row, -1 beyond the radius or for values that are not finite; (rows,)."""
        with np.errstate(over="ignore", invalid="ignore"):
            standard = (vectors - np.asarray(self.mean)) / np.asarray(self.scale)
        usable = usable_rows(standard)
        rows, points = standard[usable], np.asarray(self.points)
        nearest = nearest_points(rows, points)
        if self.radius is not None:
            nearest = np.where(distances(rows, points, nearest) <= self.radius, nearest, -1)
        found = np.full(len(vectors), -1, dtype=np.int64)
        found[usable] = nearest
        return found

    def state(self) -> dict[str, Any]:
        """Return plain JSON values."""
        points = [list(point) for point in self.points]
        return {"mean": list(self.mean), "scale": list(self.scale), "points": points, "radius": self.radius}

    @classmethod
    def from_state(cls, state: Any) -> Self:
        """Return the centres that wrote ``state``; raises CellError for anything malformed."""
        parts = Parts.inside(state, "centres", "mean", "scale", "points", "radius")
        mean, scale, radius = parts.floats("mean"), parts.floats("scale"), parts.limit("radius")
        listed = [Parts.inside({"point": point}, "centres", "point") for point in parts.items("points")]
        points = tuple(each.floats("point") for each in listed)
        widths = {len(mean), len(scale), *map(len, points)}
        if len(widths) > 1 or 0 in widths or len(points) > MAX_CELLS:
            raise parts.fail(f"{len(points)} points in {sorted(widths)} columns")
        if min(scale) <= 0:
            raise parts.fail("a scale is not positive")
        return cls(mean, scale, points, radius)


def fit_centres(vectors: Vectors, *, n_cells: int, seed: int, outlier_share: float, what: str) -> Centres:
    """Return centres of real ``vectors``, shape (rows, d); which row comes first does not matter.

    One row in five is held out: its distances give the radius. Distances of the rows that the centres were fitted to
    are too small, and more fresh real rows than ``outlier_share`` would fall outside. A share of 0 sets no limit.

    Raises CellError if most rows are unusable, if there are fewer distinct rows than cells, and for parameters.
    """
    check_whole(n_cells, "n_cells", low=2, high=MAX_CELLS)
    check_seed(seed)
    share = check_outlier_share(outlier_share)
    rows = _usable(vectors, what) + 0.0  # -0.0 becomes 0.0
    keys = content_keys(rows, seed=seed)
    order = np.argsort(keys, kind="stable")
    held_out, fitted = np.split(order, [max(1, order.size // _HELD_OUT)])
    first = np.unique(keys[fitted], return_index=True)[1]
    _check_enough(first.size, n_cells, what)
    mean, scale = standard_units(rows[fitted])
    with np.errstate(over="ignore"):
        standard = np.clip((rows - mean) / scale, -_TOO_LARGE, _TOO_LARGE)
    points = k_means(standard[fitted], standard[fitted[first]], n_cells, seed=seed)
    outside = standard[held_out]
    radius = conformal_quantile(distances(outside, points, nearest_points(outside, points)), share) if share else None
    return Centres(tuple(mean.tolist()), tuple(scale.tolist()), tuple(map(tuple, points.tolist())), radius)


def usable_rows(vectors: Vectors) -> NDArray[np.bool_]:
    """Return which rows hold finite numbers alone, shape (rows,).

    >>> usable_rows(np.array([[1.0, 2.0], [np.inf, 0.0]])).tolist()
    [True, False]
    """
    return np.asarray((np.abs(vectors) < _TOO_LARGE).all(axis=1))


def standard_units(vectors: Vectors) -> tuple[Vectors, Vectors]:
    """Return (mean, standard deviation) of each column; 1 for a constant column, which then keeps its own unit.

    >>> standard_units(np.array([[0.0, 5.0], [4.0, 5.0]]))[1].tolist()
    [2.0, 1.0]
    """
    spread = vectors.std(axis=0)
    is_constant = spread <= 1e-12 * np.abs(vectors).max(axis=0)  # the rounding of the mean, and no more
    return vectors.mean(axis=0), np.where(is_constant, 1.0, spread)


def conformal_quantile(distances: Vectors, share: float) -> float:
    """Return the distance beyond which a fresh row lies with probability ``share`` at most.

    The ceil((n + 1)(1 - share))-th smallest of n distances, or the largest if n is too small for the share.

    >>> conformal_quantile(np.arange(1.0, 20.0), 0.1)
    18.0
    """
    rank = min(math.ceil((distances.size + 1) * (1 - share) - 1e-9), distances.size)
    return float(np.sort(distances)[rank - 1])


def _usable(vectors: Vectors, what: str) -> Vectors:
    usable = usable_rows(vectors)
    n_bad = len(vectors) - int(usable.sum()) if vectors.shape[1] else len(vectors)
    if not len(vectors) or 2 * n_bad > len(vectors):
        raise CellError(
            f"{what}: {n_bad} of {len(vectors)} real rows cannot be used (null, empty, not finite or unreadable);"
            " fit cells on rows that hold something"
        )
    return np.asarray(vectors[usable])


def _check_enough(n_distinct: int, n_cells: int, what: str) -> None:
    if n_distinct < n_cells:
        remedy = f"declare n_cells: {n_distinct} or fewer" if n_distinct > 1 else "there is nothing to tell apart"
        text = f"{what}: {n_distinct} distinct real rows are left to fit {n_cells} cells to, one in five is held out"
        raise CellError(f"{text}; {remedy}")
