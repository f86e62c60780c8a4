"""Rows and amount per combination of tags and class: one grouping from which every question on the mix is answered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa

from collapse_guard.manifest.columns import array_of, is_valid, values_of
from collapse_guard.manifest.index import INDEX_SCHEMA, Histogram

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

#: The columns that rows are grouped by.
GROUPED: Final = ("source", "origin", "evidence", "generation", "class", "generator")
#: Groups that a census is held of; of more, questions go to the parts.
MAX_GROUPS: Final = 1 << 20
#: Groups of single shards that wait to be merged.
_WAITING_GROUPS: Final = 1 << 18
_HISTOGRAM: Final = ("source", "origin", "generation", "class", "generator")
_SUMS: Final = {"rows": pa.int64(), "trained_rows": pa.int64(), "amount": pa.float64()}
_SCHEMA: Final = pa.schema([*(INDEX_SCHEMA.field(name) for name in GROUPED), *_SUMS.items()])
#: Parts of an amount below one are counted in these, so that sums of them are exact.
_PIECES: Final = float(1 << 32)

Sums = tuple[int, int, float]


@dataclass(frozen=True)
class Census:
    """Rows, rows that train, and amount per combination of :data:`GROUPED`; a value that is folded, never mutated.

    Args:
        groups: one row per combination, with the columns ``rows``, ``trained_rows`` and ``amount``.

    >>> row = {"id_hi": 0, "id_lo": 0, "source": "web", "origin": 1, "evidence": 1, "generation": 0, "amount": 0.5}
    >>> rows = pa.Table.from_pylist([row, row | {"origin": 2, "amount": 0.0}], INDEX_SCHEMA)
    >>> census_of(rows).by("source")
    {('web',): (2, 1, 0.5)}
    """

    groups: pa.Table

    @property
    def n_groups(self) -> int:
        """How many combinations there are."""
        return int(self.groups.num_rows)

    def by(self, *names: str) -> dict[tuple[Any, ...], Sums]:
        """Return (rows, rows that train, amount) per combination of some of the columns."""
        found = _summed(self.groups, names).to_pydict()
        columns = [found[name] for name in (*names, *_SUMS)]
        return {tuple(row[: len(names)]): tuple(row[len(names) :]) for row in zip(*columns, strict=True)}

    def histogram(self) -> Histogram:
        """Return rows per (source, origin, generation, class, generator)."""
        return Histogram({group: rows for group, (rows, _, _) in self.by(*_HISTOGRAM).items()})


def census_of(rows: pa.Table) -> Census:
    """Return the census of index rows, shape (rows,); texts may come as dictionaries."""
    n_rows = array_of(np.ones(rows.num_rows, dtype=np.int64), pa.int64())
    trained = array_of((values_of(rows.column("amount")) > 0).astype(np.int64), pa.int64())
    columns = [*(rows.column(name) for name in GROUPED), n_rows, trained, rows.column("amount")]
    return Census(_summed(pa.table(columns, names=_SCHEMA.names), GROUPED))


def merged(censuses: Iterable[Census]) -> Census:
    """Return the census of all rows; order and grouping do not matter."""
    tables = [census.groups for census in censuses]
    return Census(_summed(pa.concat_tables(tables or [_SCHEMA.empty_table()]), GROUPED))


class RunningCensus:
    """Adds up the census of rows that come shard by shard."""

    def __init__(self) -> None:
        self._waiting: list[Census] = []
        self._most_groups = _WAITING_GROUPS

    def add(self, rows: pa.Table) -> None:
        """Count index rows."""
        self._waiting.append(census_of(rows))
        if sum(census.n_groups for census in self._waiting) > self._most_groups:
            self._waiting = [self.census()]
            self._most_groups = max(_WAITING_GROUPS, 2 * self._waiting[0].n_groups)

    def census(self) -> Census:
        """Return the census of all rows so far."""
        return merged(self._waiting)


def _summed(table: pa.Table, names: Sequence[str]) -> pa.Table:
    """Return the sums per combination of ``names``, in the order in which the combinations come first."""
    groups, first = _numbered([table.column(name) for name in names], table.num_rows)
    keys = [table.column(name).take(array_of(first, pa.int64())).cast(_SCHEMA.field(name).type) for name in names]
    sums = [_sums(groups, values_of(table.column(name)), first.size) for name in _SUMS]
    columns = [
        array_of(values.astype(kind.to_pandas_dtype()), kind) for values, kind in zip(sums, _SUMS.values(), strict=True)
    ]
    return pa.table([*keys, *columns], schema=pa.schema([_SCHEMA.field(name) for name in (*names, *_SUMS)]))


def _numbered(columns: Sequence[pa.ChunkedArray], n_rows: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the group of each row, and the first row of each group."""
    codes, size = np.zeros(n_rows, dtype=np.int64), 1
    for column in columns:
        values, n_values = _codes(column)
        if n_values > 1:
            codes, size = codes * n_values + values, size * n_values
        if size > max(n_rows, 1 << 16):
            codes, size = _compact(codes, size)
    codes, size = _compact(codes, size)
    first = np.zeros(size, dtype=np.int64)
    first[codes[::-1]] = np.arange(n_rows)[::-1]  # the last that is written is the first row
    return codes, first


def _compact(codes: NDArray[np.int64], size: int) -> tuple[NDArray[np.int64], int]:
    """Return codes without those that no row has, and how many are left."""
    if size > 16 * max(codes.size, 1 << 12):
        there, numbers = np.unique(codes, return_inverse=True)
        return numbers.astype(np.int64), there.size
    is_there = np.zeros(size, dtype=bool)
    is_there[codes] = True
    if is_there.all():
        return codes, size
    return (np.cumsum(is_there) - 1)[codes], int(is_there.sum())


def _codes(column: pa.ChunkedArray) -> tuple[NDArray[np.int64], int]:
    """Return a number per value of a column, null with one of its own, and how many numbers there may be."""
    if not (pa.types.is_string(column.type) or pa.types.is_dictionary(column.type)):
        values = values_of(column).astype(np.int64)
        return values, int(values.max(initial=0)) + 1
    coded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    whole = coded.unify_dictionaries().combine_chunks()
    if isinstance(whole, pa.ChunkedArray):
        whole = whole.chunk(0) if whole.num_chunks else pa.array([], coded.type)
    n_names, numbers = len(whole.dictionary), values_of(whole.indices).astype(np.int64)
    if not whole.null_count:
        return numbers, n_names
    return np.where(is_valid(whole.indices), numbers, n_names), n_names + 1


def _sums(groups: NDArray[np.int64], values: NDArray[Any], n_groups: int) -> NDArray[np.float64]:
    """Return the sum of each group; exact for whole numbers, and for others up to 2^-32 of their last digits.

    >>> _sums(np.zeros(10, dtype=np.int64), np.full(10, 0.1), 1).tolist()
    [1.0]
    """
    whole = np.floor(values)
    sums: NDArray[np.float64] = np.bincount(groups, whole, n_groups).astype(np.float64)
    if not np.array_equal(whole, values):
        pieces = (values - whole) * _PIECES
        counted = np.floor(pieces)
        below = np.bincount(groups, counted, n_groups) + np.bincount(groups, pieces - counted, n_groups)
        sums = sums + below / _PIECES
    return sums
