"""Which ids may stand more than once, told from their first words alone: cheap where none does, as it should be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from collapse_guard.manifest.columns import values_of
from collapse_guard.manifest.partition import groups_in_range, id_range, n_ranges
from collapse_guard.manifest.shard import broken_part

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from collapse_guard.manifest.shard import Shard

#: Words that are told; where more repeat, the question goes to all rows.
MAX_WORDS: Final = 1 << 16
#: Words in memory at a time, twice what a range is planned for: ids that someone made by hand are not spread evenly.
_MOST_WORDS: Final = 1 << 23
_MOST_RANGES: Final = 1 << 10
_WORD: Final = "id_hi"


def repeated_words(shards: Sequence[Shard]) -> NDArray[np.uint64] | None:
    """Return the first words of ids that stand in two rows or more, distinct and sorted, shape (words,).

    Ids that differ may share a first word (once in 2^64 pairs, where nobody made them by hand): the words are where to
    look, and not yet an answer. None where more than :data:`MAX_WORDS` repeat. Raises ManifestError for a part that
    cannot be read.
    """
    n = n_ranges(sum(shard.entry.rows for shard in shards), most=_MOST_RANGES)
    found: list[NDArray[np.uint64]] = []
    for number in range(n):
        words = _words(shards, *id_range(number, n))
        if words is None:
            return None
        words.sort(kind="stable")  # of runs that are sorted, as those of each part are, it is a merge
        found.append(np.unique(words[1:][words[1:] == words[:-1]]))
        if sum(each.size for each in found) > MAX_WORDS:
            return None
    return np.concatenate([np.empty(0, dtype=np.uint64), *found])


def _words(shards: Sequence[Shard], lo: int, hi: int) -> NDArray[np.uint64] | None:
    """Return the first words in a range, None for too many."""
    runs: list[NDArray[np.uint64]] = []
    n_words = 0
    for shard in shards:
        words = _column(shard, lo, hi)
        runs.append(words[(words >= np.uint64(lo)) & (words <= np.uint64(hi))])
        n_words += runs[-1].size
        if n_words > _MOST_WORDS:
            return None
    return np.concatenate([np.empty(0, dtype=np.uint64), *runs])


def _column(shard: Shard, lo: int, hi: int) -> NDArray[Any]:
    if shard.path is None:
        return values_of(shard.read().column(_WORD))
    try:
        with pq.ParquetFile(shard.path) as part:
            groups = list(groups_in_range(part, lo, hi))
            return values_of(part.read_row_groups(groups, columns=[_WORD], use_threads=False).column(_WORD))
    except (pa.ArrowException, OSError, ValueError) as error:
        raise broken_part(shard.path) from error
