"""One cell per bucket of n-grams; a document stands for the rarest of its buckets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np
import pyarrow as pa

from collapse_guard.cells.columns import column_of, is_text, token_ids
from collapse_guard.cells.contract import CELL_MAPS, digest_of, state_of
from collapse_guard.cells.declared import check_whole
from collapse_guard.cells.state import Parts
from collapse_guard.errors import CellError
from collapse_guard.kernels import (
    WORD_RULE,
    Ragged,
    distinct,
    first_words,
    mix64,
    one_line,
    row_minimum,
    run_hashes,
    text_hashes,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from collapse_guard.cells.contract import Rows

MAX_SIZE: Final = 4
MAX_BUCKETS: Final = 2**20
MAX_FIRST_WORDS: Final = 2**20
#: What the ids of a column of lists are hashed by.
ID_RULE: Final = "ids/1"

_SHOWN_LETTERS: Final = 40


@CELL_MAPS.register("ngrams")
@dataclass(frozen=True, slots=True)
class NgramCells:
    """One cell per bucket of hashed n-grams that real documents hold, from the rarest bucket to the most common.

    The document is the unit. Its n-grams are those of its first ``first_words`` words alone, so that its length is no
    signal; each is hashed into one of ``n_buckets``; its cell is its rarest bucket, by how many real documents hold it.
    As a rule take no more buckets than there are real documents, and ``size`` 2: of buckets that one document holds the
    tail would be made of chance, fresh real text holds more of it, and its loss is not seen. Single words show a change
    of topic before they show a loss.

    Args:
        column: a column of text, or of lists of token ids.
        size: words per n-gram, 1 to 4.
        n_buckets: number of buckets before those that real documents leave empty are dropped.
        first_words: words (or ids) of a document that count.
        unit: the rule by which a document falls into units; text and ids do not mix.
        names: an n-gram of each bucket, the most frequent one on real rows.
        buckets: number of each cell's bucket.

    >>> rows = pa.table({"text": ["the cat sat", "the cat ran", "the dog sat"]})
    >>> cells = NgramCells.fit(rows, column="text", size=2, n_buckets=1024, first_words=64)
    >>> [cells.names[cell].split(" #")[0] for cell in cells.cells(rows)]
    ['cat sat', 'cat ran', 'the dog']
    >>> cells.cells(pa.table({"text": ["never seen here", "cat", None]})).tolist()
    [-1, -1, -1]
    """

    column: str
    size: int
    n_buckets: int
    first_words: int
    unit: str
    names: tuple[str, ...]
    buckets: tuple[int, ...]

    @classmethod
    def fit(cls, rows: Rows, *, column: str, size: int, n_buckets: int, first_words: int) -> Self:
        """Return the map over the n-grams of real ``rows``.

        Holds every word that counts in memory at once. Raises CellError if no document has an n-gram, for another
        type of column, and for parameters out of range.
        """
        check_whole(size, "size", low=1, high=MAX_SIZE)
        check_whole(n_buckets, "n_buckets", low=2, high=MAX_BUCKETS)
        check_whole(first_words, "first_words", low=size, high=MAX_FIRST_WORDS)
        units, unit = _units(column_of(rows, column), column, first_words)
        hashes, starts = run_hashes(_unit_hashes(units), units.lengths, size=size)
        if not hashes.size:
            raise CellError(f"no document in column {column!r} has {size} words or more among {rows.num_rows} rows")
        buckets = _from_rarest(units.rows[starts], _bucket(hashes, n_buckets), n_buckets)
        names = _examples(units.values, hashes, starts, buckets, size, n_buckets)
        return cls(column, size, n_buckets, first_words, unit, names, tuple(buckets.tolist()))

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """Return the map that wrote ``state``; raises CellError for anything malformed."""
        parts = Parts.of(state, "column", "size", "n_buckets", "first_words", "unit", "names", "buckets")
        size = parts.whole("size", low=1, high=MAX_SIZE)
        n_buckets = parts.whole("n_buckets", low=2, high=MAX_BUCKETS)
        unit, names, buckets = (
            parts.text("unit"),
            parts.texts("names"),
            parts.wholes("buckets", low=0, high=n_buckets - 1),
        )
        if unit not in {WORD_RULE, ID_RULE}:
            raise parts.fail(f"unit {unit!r} is not {WORD_RULE!r} or {ID_RULE!r}")
        if len(names) != len(buckets):
            raise parts.fail(f"{len(names)} names, {len(buckets)} buckets")
        first_words = parts.whole("first_words", low=size, high=MAX_FIRST_WORDS)
        return cls(parts.text("column"), size, n_buckets, first_words, unit, names, buckets)

    @property
    def n_cells(self) -> int:
        """Number of buckets that real documents hold."""
        return len(self.buckets)

    @property
    def columns(self) -> tuple[str, ...]:
        """The column of documents."""
        return (self.column,)

    @property
    def digest(self) -> str:
        """Digest over the state."""
        return digest_of(self.state())

    def state(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return state_of(
            "ngrams",
            column=self.column,
            size=self.size,
            n_buckets=self.n_buckets,
            first_words=self.first_words,
            unit=self.unit,
            names=list(self.names),
            buckets=list(self.buckets),
        )

    def cells(self, rows: Rows) -> NDArray[np.int64]:
        """Return the cell of each document's rarest bucket, -1 if it has no n-gram that real documents hold.

        Raises CellError without the column, and for text where real rows held ids or the reverse.
        """
        units, unit = _units(column_of(rows, self.column), self.column, self.first_words)
        if unit != self.unit and len(units.values):
            raise CellError(f"column {self.column!r} holds units {unit!r}, its real rows held {self.unit!r}")
        hashes, _ = run_hashes(_unit_hashes(units), units.lengths, size=self.size)
        cell_of = np.full(self.n_buckets, self.n_cells, dtype=np.int64)
        cell_of[np.asarray(self.buckets)] = np.arange(self.n_cells)
        n_runs = np.maximum(units.lengths - self.size + 1, 0)
        rarest = row_minimum(cell_of[_bucket(hashes, self.n_buckets)], n_runs, empty=self.n_cells)
        return np.where(rarest == self.n_cells, -1, rarest)


def _units(array: Any, column: str, first_units: int) -> tuple[Ragged, str]:
    """Return the units of each document that count, and by which rule they were found."""
    if is_text(array.type) or pa.types.is_null(array.type):
        return first_words(array.cast(pa.large_string()), n_words=first_units), WORD_RULE
    ids = token_ids(array, column)
    within = np.arange(len(ids.values)) - np.repeat(ids.starts, ids.lengths)
    return Ragged(np.minimum(ids.lengths, first_units), ids.values.filter(pa.array(within < first_units))), ID_RULE


def _unit_hashes(units: Ragged) -> NDArray[np.uint64]:
    if pa.types.is_integer(units.values.type):
        return mix64(units.values.to_numpy(zero_copy_only=False).astype(np.uint64))
    return text_hashes(units.values)


def _bucket(hashes: NDArray[np.uint64], n_buckets: int) -> NDArray[np.int64]:
    return (hashes % np.uint64(n_buckets)).astype(np.int64)


def _from_rarest(documents: NDArray[np.int64], buckets: NDArray[np.int64], n_buckets: int) -> NDArray[np.int64]:
    """Return the buckets that documents hold, those that the fewest hold first; a document counts once per bucket."""
    held = distinct(documents * n_buckets + buckets)
    n_documents = np.bincount(held % n_buckets, minlength=n_buckets)
    order = np.argsort(n_documents, kind="stable")
    return order[n_documents[order] > 0]


def _examples(
    units: Any,
    hashes: NDArray[np.uint64],
    starts: NDArray[np.int64],
    buckets: NDArray[np.int64],
    size: int,
    n_buckets: int,
) -> tuple[str, ...]:
    """Return the most frequent n-gram of each bucket, in any order of rows the same one."""
    known, counts = np.unique(hashes, return_counts=True)
    by_count = known[np.argsort(counts, kind="stable")]
    winner = np.zeros(n_buckets, dtype=np.uint64)
    winner[_bucket(by_count, n_buckets)] = by_count  # the last one written stays: the largest hash of the most frequent
    of_winners = np.flatnonzero(hashes == winner[_bucket(hashes, n_buckets)])
    begin = np.zeros(n_buckets, dtype=np.int64)
    begin[_bucket(hashes[of_winners], n_buckets)] = starts[of_winners]
    runs = [units.take(pa.array(begin[buckets] + step)).to_pylist() for step in range(size)]
    texts = [one_line(" ".join(map(str, run)))[:_SHOWN_LETTERS] for run in zip(*runs, strict=True)]
    return tuple(f"{text} #{bucket}" for text, bucket in zip(texts, buckets.tolist(), strict=True))
