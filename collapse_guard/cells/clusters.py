"""Clusters of embeddings: vectors that rows hold, or that a function of the user's makes of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from collapse_guard.cells.centres import Centres, fit_centres
from collapse_guard.cells.columns import column_of, vectors
from collapse_guard.cells.contract import CELL_MAPS, digest_of, state_of
from collapse_guard.cells.functions import as_table, code_name
from collapse_guard.cells.state import Parts
from collapse_guard.errors import CellError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from collapse_guard.cells.contract import Rows


@CELL_MAPS.register("clusters")
@dataclass(frozen=True, slots=True)
class ClusterCells:
    """k-means cells of embeddings; a row that lies farther out than real rows do is in cell -1.

    Each column is standardised with the mean and spread of real rows. Choose an encoder that is frozen: cells that move
    are no cells. The digest covers the name of ``embed``, not what it does.

    Args:
        column: a column of lists of numbers, all of one length; or what ``embed`` reads.
        embed: None, or ``pa.Table -> numbers of shape (rows, d)``, a pure function of each row, at the top level of a
            module.
        centres: the clusters.

    >>> import pyarrow as pa
    >>> rows = pa.table({"x": [[0.0], [0.1], [0.2], [9.0], [9.1], [9.2], [0.3], [9.3], [0.4], [9.4]]})
    >>> cells = ClusterCells.fit(rows, column="x", embed=None, n_cells=2, seed=0, outlier_share=0.1)
    >>> len({*cells.cells(rows.slice(0, 3)).tolist()}), cells.cells(pa.table({"x": [[99.0], None]})).tolist()
    (1, [-1, -1])
    """

    column: str
    embed: Callable[..., Any] | None
    centres: Centres

    code_keys: ClassVar[tuple[str, ...]] = ("embed",)

    @classmethod
    def fit(
        cls,
        rows: Rows,
        *,
        column: str,
        embed: Callable[..., Any] | None,
        n_cells: int,
        seed: int,
        outlier_share: float,
    ) -> Self:
        """Return the map over real ``rows``.

        Args:
            rows: real rows; null and NaN rows are left out.
            column: the column.
            embed: a function from rows to vectors, or None if the column holds them.
            n_cells: number of clusters, 2 to 256; fewer if some would be empty.
            seed: seed of the clustering, 0 or more.
            outlier_share: share of fresh real rows that may count as outliers, in [0, 1); 0 sets no limit.

        Raises CellError if most rows are unusable, if there are fewer distinct rows than cells, and for parameters.
        """
        found = _embedded(rows, column, embed)
        what = f"column {column!r}"
        centres = fit_centres(found, n_cells=n_cells, seed=seed, outlier_share=outlier_share, what=what)
        return cls(column, embed, centres)

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """Return the map that wrote ``state``, in which ``embed`` is loaded by now; raises CellError."""
        parts = Parts.of(state, "column", "embed", "centres")
        embed = parts.values["embed"]
        if embed is not None:
            code_name(embed)
        return cls(parts.text("column"), embed, Centres.from_state(parts.values["centres"]))

    @property
    def n_cells(self) -> int:
        """Number of clusters."""
        return self.centres.n_cells

    @property
    def names(self) -> tuple[str, ...]:
        """One name per cluster, from the one with the most real rows."""
        return self.centres.names

    @property
    def columns(self) -> tuple[str, ...]:
        """The column of vectors, or of what is embedded."""
        return (self.column,)

    @property
    def digest(self) -> str:
        """Digest over the state."""
        return digest_of(self.state())

    def state(self) -> dict[str, Any]:
        """Return plain JSON values; a function goes by its name."""
        embed = None if self.embed is None else code_name(self.embed)
        return state_of("clusters", column=self.column, embed=embed, centres=self.centres.state())

    def cells(self, rows: Rows) -> NDArray[np.int64]:
        """Return the nearest cluster of each row, -1 for outliers and for rows without finite numbers.

        Raises CellError without the column and for vectors of another length than real rows have.
        """
        found = _embedded(rows, self.column, self.embed)
        width = len(self.centres.mean)
        if not found.shape[1]:  # no row holds a vector
            return np.full(rows.num_rows, -1, dtype=np.int64)
        if found.shape[1] != width:
            raise CellError(f"column {self.column!r} gives vectors of {found.shape[1]} numbers, real rows gave {width}")
        return self.centres.cells(found)


def _embedded(rows: Rows, column: str, embed: Callable[..., Any] | None) -> NDArray[np.float64]:
    array = column_of(rows, column)
    if embed is None:
        return vectors(array, column)
    name = code_name(embed)
    if not rows.num_rows:
        return np.zeros((0, 0))
    try:
        found = np.asarray(embed(as_table(rows)), dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise CellError(f"{name} returned no array of numbers of shape (rows, d): {error}") from error
    if found.ndim != 2 or len(found) != rows.num_rows:  # noqa: PLR2004 - rows and columns
        raise CellError(f"{name} returned shape {found.shape} for {rows.num_rows} rows; return (rows, d)")
    return found
