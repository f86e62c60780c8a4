"""Ids that stand more than once in a source, and whether the rows that carry them agree."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from collapse_guard.kernels import id_hex
from collapse_guard.manifest.antijoin import id_ranges
from collapse_guard.manifest.engine import connected
from collapse_guard.manifest.loss import MAX_IDS
from collapse_guard.manifest.partition import id_range

if TYPE_CHECKING:
    from collections.abc import Iterator

    import duckdb

    from collapse_guard.manifest.engine import Limits
    from collapse_guard.manifest.manifest import Manifest

_MADE: Final = "CREATE TEMP TABLE twice (id_hi UBIGINT, id_lo UBIGINT)"
_WORDS: Final = "CREATE TEMP TABLE words AS SELECT unnest($words::UBIGINT[]) AS id_hi"
_AMONG: Final = "CREATE TEMP TABLE repeating AS SELECT * FROM rows SEMI JOIN words USING (id_hi)"
_ALL: Final = "CREATE TEMP VIEW repeating AS SELECT * FROM rows"
# Ids alone first: names are only looked at for the few that stand twice somewhere.
_TWICE: Final = """
INSERT INTO twice SELECT id_hi, id_lo FROM repeating WHERE id_hi BETWEEN $lo AND $hi GROUP BY ALL HAVING count(*) > 1
"""
_REPEATED: Final = """
CREATE TEMP TABLE repeated AS
SELECT source, id_hi, id_lo, count(*) AS n,
  min(origin) <> max(origin) OR coalesce(min(class) <> max(class), false) OR count(class) NOT IN (0, count(*))
    AS differs
FROM repeating SEMI JOIN twice USING (id_hi, id_lo) GROUP BY source, id_hi, id_lo HAVING count(*) > 1
"""
_BY_SOURCE: Final = """
SELECT source, count(*), sum(n - 1), count(*) FILTER (differs) FROM repeated GROUP BY source ORDER BY source
"""
_IDS: Final = "SELECT id_hi, id_lo FROM repeated WHERE source = ? ORDER BY differs DESC, id_hi, id_lo LIMIT ?"


@dataclass(frozen=True, slots=True)
class Duplicates:
    """Ids of one source that stand more than once.

    Args:
        source: its name.
        n_ids: how many ids.
        n_extra_rows: rows beyond the first of each id.
        n_differing: ids whose rows differ in class or origin.
        ids: at most ten, those that differ first, as 32 hexadecimal digits.
    """

    source: str
    n_ids: int
    n_extra_rows: int
    n_differing: int
    ids: tuple[str, ...]


_BOTH: Final = """
CREATE TEMP TABLE both_ids AS
SELECT DISTINCT id_hi, id_lo FROM (SELECT id_hi, id_lo FROM repeating WHERE origin <> 1)
SEMI JOIN (SELECT id_hi, id_lo FROM repeating WHERE origin = 1) USING (id_hi, id_lo)
"""


def real_and_generated_ids(manifest: Manifest, *, limits: Limits | None = None) -> tuple[int, tuple[str, ...]]:
    """Return how many ids stand for a real row and for one of another origin, and at most ten of them.

    Raises ManifestError for a part that cannot be read.
    """
    with _repeating(manifest, limits) as (database, _):
        if database is None:
            return 0, ()
        database.execute(_BOTH)
        ((n_ids,),) = database.execute("SELECT count(*) FROM both_ids").fetchall()
        first = database.execute("SELECT id_hi, id_lo FROM both_ids ORDER BY ALL LIMIT ?", [MAX_IDS]).fetchall()
    return int(n_ids), tuple(id_hex(hi, lo) for hi, lo in first)


def duplicate_ids(manifest: Manifest, *, limits: Limits | None = None) -> tuple[Duplicates, ...]:
    """Return the repeated ids of each source that has any, by source name.

    Raises ManifestError for a part that cannot be read.
    """
    with _repeating(manifest, limits) as (database, ranges):
        if database is None:
            return ()
        database.execute(_MADE)
        for lo, hi in ranges:
            database.execute(_TWICE, {"lo": lo, "hi": hi})
        database.execute(_REPEATED)
        found = database.execute(_BY_SOURCE).fetchall()
        ids = {source: database.execute(_IDS, [source, MAX_IDS]).fetchall() for source, *_ in found}
    return tuple(
        Duplicates(source, int(n_ids), int(extra), int(differing), tuple(id_hex(hi, lo) for hi, lo in ids[source]))
        for source, n_ids, extra, differing in found
    )


@contextmanager
def _repeating(
    manifest: Manifest, limits: Limits | None
) -> Iterator[tuple[duckdb.DuckDBPyConnection | None, list[tuple[int, int]]]]:
    """Give a connection with the rows whose ids may repeat, and ranges of ids to ask for; None where no id repeats."""
    manifest.check_readable()
    words = manifest.repeated_words
    if words is not None and not words.size:
        yield None, []
        return
    with connected(limits, rows=manifest) as database:
        if words is None:
            database.execute(_ALL)
            yield database, id_ranges(manifest.shards, manifest.n_rows)
        else:
            database.execute(_WORDS, {"words": words.tolist()})
            database.execute(_AMONG)
            yield database, [id_range(0, 1)]
