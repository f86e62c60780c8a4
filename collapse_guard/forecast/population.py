"""The real rows of each class, and which classes are the tail."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from typing import TYPE_CHECKING, Self, TypeAlias

import numpy as np

from collapse_guard.errors import CellError, ManifestError, StatisticError
from collapse_guard.manifest import Manifest, load_manifest
from collapse_guard.records import Origin
from collapse_guard.stats.counts import as_counts
from collapse_guard.stats.evalues import tail_cells

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    ClassCounts: TypeAlias = Manifest | str | PathLike[str] | Mapping[str, int] | ArrayLike


@dataclass(frozen=True, eq=False)
class Population:
    """Real rows per class, tail classes first and rarest first.

    Args:
        names: class names, shape (classes,).
        rows: real rows of each, 1 or more, ascending within the tail, int64.
        n_tail: how many of them are the tail.
        n_rows: all real rows, those without a class included.
        digest: digest of the manifest they came from, None for bare counts.
    """

    names: tuple[str, ...]
    rows: NDArray[np.int64]
    n_tail: int
    n_rows: int
    digest: str | None

    @classmethod
    def of(cls, counts: ClassCounts, *, tail_mass: float) -> Self:
        """Return the population of a manifest (or its path), of a mapping from names to rows, or of bare counts.

        Raises StatisticError for counts that are none, and for a tail that is empty; ManifestError and CellError for a
        manifest without real rows or without classes.
        """
        names, rows, n_rows, digest = _counted(counts)
        if not rows.any():
            raise StatisticError("counts are all zero; a forecast needs real rows")
        if np.count_nonzero(rows) == 1:
            raise StatisticError("counts hold one class only; a tail needs two or more, declare finer cells")
        tail = tail_cells(rows, tail_mass)
        if tail.size == 0:
            share = float(rows[rows > 0].min() / rows.sum())
            raise StatisticError(
                f"counts have no tail: the rarest class holds {share:.2%} of the rows, coverage.tail_mass is"
                f" {tail_mass:.2%}; raise tail_mass or declare finer cells"
            )
        tail = tail[np.argsort(rows[tail], kind="stable")]
        rest = np.setdiff1d(np.flatnonzero(rows), tail)
        order = np.concatenate([tail, rest[np.argsort(rows[rest], kind="stable")]])
        return cls(tuple(names[cell] for cell in order), rows[order], tail.size, n_rows, digest)

    @property
    def tail_shares(self) -> NDArray[np.float64]:
        """Share of each tail class among all real rows, shape (tail classes,)."""
        return self.rows[: self.n_tail] / self.n_rows

    def cells(self, *, every_class: bool) -> NDArray[np.int64]:
        """Return real rows per simulated cell, the tail first: every class, or the tail and one cell for the rest.

        Rows without a class, if any, are a last cell of their own.
        """
        if not every_class:
            tail = self.rows[: self.n_tail]
            return np.append(tail, self.n_rows - tail.sum())
        unclaimed = self.n_rows - int(self.rows.sum())
        return np.append(self.rows, unclaimed) if unclaimed else self.rows


def _counted(counts: ClassCounts) -> tuple[tuple[str, ...], NDArray[np.int64], int, str | None]:
    """Return class names, their rows, all real rows, and the digest of the manifest."""
    if isinstance(counts, (str, PathLike)):
        counts = load_manifest(counts)
    if isinstance(counts, Manifest):
        return _of_manifest(counts)
    named = counts if isinstance(counts, Mapping) else None
    rows = as_counts(list(named.values()) if named is not None else counts, name="counts")  # type: ignore[arg-type]  # a mapping was taken apart
    names = tuple(map(str, named)) if named is not None else tuple(map(str, range(rows.size)))
    return names, rows, int(rows.sum()), None


def _of_manifest(manifest: Manifest) -> tuple[tuple[str, ...], NDArray[np.int64], int, str | None]:
    n_rows = manifest.n_origin_rows(Origin.REAL)
    if n_rows == 0:
        raise ManifestError(f"{manifest.name}: it holds no real row; a forecast needs the real classes")
    counted = manifest.class_rows(Origin.REAL)
    if not counted:
        text = f"{manifest.name}: its real rows carry no class"
        raise CellError(f"{text}; write the manifest under a policy with coverage.cells.column")
    names = tuple(sorted(counted))
    return names, np.array([counted[name] for name in names], dtype=np.int64), n_rows, manifest.digest
