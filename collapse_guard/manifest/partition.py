"""The proof for one range of ids: a pure function of Parquet parts, for engines that spread ranges over machines.

Parts are sorted by id, so that a range reads the row groups that meet it and no others. Nothing here uses DuckDB: it is
also the second opinion on what DuckDB says.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from collapse_guard.manifest.loss import LOST_SCHEMA
from collapse_guard.manifest.shard import broken_part, missing_part
from collapse_guard.records import Origin

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

#: Ids are compared by range, so many rows at a time: a hash table of about 250 MB.
RANGE_ROWS: Final = 1 << 22
_WORDS: Final = 1 << 64
_IDS: Final = ["id_hi", "id_lo"]
_ORDER: Final = [(name, "ascending") for name in LOST_SCHEMA.names]


def n_ranges(n_rows: int, *, most: int) -> int:
    """Return into how many ranges to cut ids so that each has about :data:`RANGE_ROWS` rows, 1 to ``most``.

    A range reads whole row groups. More ranges than row groups of a shard read the same group again and again.

    >>> n_ranges(12_000_000, most=16), n_ranges(10**10, most=16)
    (3, 16)
    """
    return max(1, min(most, -(-n_rows // RANGE_ROWS)))


def id_range(number: int, n: int) -> tuple[int, int]:
    """Return the first and last high word of range ``number`` of ``n`` of one size.

    >>> id_range(0, 1) == (0, 2**64 - 1)
    True
    >>> id_range(1, 2)[0] == id_range(0, 2)[1] + 1 == 2**63
    True
    """
    return number * _WORDS // n, (number + 1) * _WORDS // n - 1


def lost_in_range(previous_parts: Sequence[str], current_parts: Sequence[str], lo: int, hi: int) -> pa.Table:
    """Return the distinct real rows of ``previous_parts`` that are no real rows of ``current_parts``.

    Args:
        previous_parts: paths of Parquet parts of the parent.
        current_parts: paths of Parquet parts of the child.
        lo: first high word of an id that is looked at.
        hi: last one.

    Returns rows of :data:`~collapse_guard.manifest.loss.LOST_SCHEMA` in the order of their ids. Raises ManifestError
    for a part that cannot be read.
    """
    tables = [_real_rows(path, lo, hi, LOST_SCHEMA.names) for path in previous_parts]
    return without(pa.concat_tables([LOST_SCHEMA.empty_table(), *tables]), current_parts, lo, hi)


def without(rows: pa.Table, parts: Sequence[str], lo: int, hi: int) -> pa.Table:
    """Return the distinct ``rows``, all in the range, whose id no real row of ``parts`` has."""
    known = [_real_rows(path, lo, hi, _IDS) for path in parts] if rows.num_rows else []
    lost = rows
    if known:
        ids = pa.concat_tables(known)
        lost = rows.filter(pa.array(absent(*_words(rows), *_words(ids))))
    return lost.group_by(LOST_SCHEMA.names, use_threads=False).aggregate([]).sort_by(_ORDER).cast(LOST_SCHEMA)


def absent(
    hi: NDArray[np.uint64], lo: NDArray[np.uint64], known_hi: NDArray[np.uint64], known_lo: NDArray[np.uint64]
) -> NDArray[np.bool_]:
    """Return which ids (hi, lo) are not among the known ones, shape (rows,).

    >>> words = [np.array(values, dtype=np.uint64) for values in ([1, 1, 2], [5, 6, 5], [2, 1, 1], [7, 6, 6])]
    >>> absent(*words).tolist()
    [True, False, True]
    """
    first, second = _distinct(known_hi, known_lo)
    missing = np.ones(hi.size, dtype=bool)
    place, asked = np.searchsorted(first, hi), np.arange(hi.size)
    # Distinct ids share a high word once in 2^64 pairs: this is one round, unless someone made the ids by hand.
    while asked.size:
        asked = asked[place[asked] < first.size]
        asked = asked[first[place[asked]] == hi[asked]]
        missing[asked] = second[place[asked]] != lo[asked]
        asked = asked[missing[asked]]
        place[asked] += 1
    return missing


def _distinct(hi: NDArray[np.uint64], lo: NDArray[np.uint64]) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """Return distinct ids in their order."""
    order = np.argsort(hi)
    first = hi[order]
    if not (first[1:] == first[:-1]).any():
        return first, lo[order]
    order = np.lexsort((lo, hi))
    first, second = hi[order], lo[order]
    is_new = np.ones(first.size, dtype=bool)
    is_new[1:] = (first[1:] != first[:-1]) | (second[1:] != second[:-1])
    return first[is_new], second[is_new]


def _words(rows: pa.Table) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    return rows.column("id_hi").to_numpy(), rows.column("id_lo").to_numpy()


def _real_rows(path: str, lo: int, hi: int, columns: Sequence[str]) -> pa.Table:
    """Return the columns of the real rows of a part whose high word is in the range."""
    try:
        with pq.ParquetFile(path) as part:
            rows = part.read_row_groups(
                list(groups_in_range(part, lo, hi)), columns=[*columns, "origin"], use_threads=False
            )
    except FileNotFoundError:
        raise missing_part(path) from None
    except (pa.ArrowException, OSError, ValueError) as error:
        raise broken_part(path) from error
    high = rows.column("id_hi").to_numpy()
    keep = (high >= lo) & (high <= hi) & (rows.column("origin").to_numpy() == Origin.REAL)
    plain = pa.schema([LOST_SCHEMA.field(name) for name in columns])
    return rows.filter(pa.array(keep)).select(columns).cast(plain)


def groups_in_range(part: pq.ParquetFile, lo: int, hi: int) -> Iterator[int]:
    """Yield the numbers of the row groups that may hold an id of the range."""
    column = part.schema_arrow.names.index("id_hi")
    for number in range(part.num_row_groups):
        found = part.metadata.row_group(number).column(column).statistics
        if found is None or not found.has_min_max or (found.max >= lo and found.min <= hi):
            yield number
