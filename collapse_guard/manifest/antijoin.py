"""The anti-join in DuckDB: rows of changed shards that the child lacks, range of ids by range of ids."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from collapse_guard.manifest.engine import add_view
from collapse_guard.manifest.loss import LOST_SCHEMA
from collapse_guard.manifest.partition import id_range, n_ranges

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import duckdb
    import pyarrow as pa

    from collapse_guard.manifest.ladder import Step
    from collapse_guard.manifest.shard import Shard

#: A shard has eight row groups; more ranges would read each of them over and over.
_MOST_RANGES: Final = 16
#: A shard of fewer rows has one or two row groups: to read a range of it is to read most of it.
_SMALL_ROWS: Final = 1 << 18
_BATCH_ROWS: Final = 1 << 17
_MADE: Final = "CREATE TEMP TABLE missing (id_hi UBIGINT, id_lo UBIGINT, source VARCHAR, class VARCHAR)"
# A hash table of one range at a time: the memory of the join does not grow with the manifests.
_MISSING: Final = """
INSERT INTO missing SELECT DISTINCT id_hi, id_lo, source, class
FROM (SELECT id_hi, id_lo, source, class FROM previous WHERE origin = 1 AND id_hi BETWEEN $lo AND $hi {only})
ANTI JOIN (SELECT {keys} FROM changed WHERE origin = 1 AND id_hi BETWEEN $lo AND $hi) USING ({keys})
"""
# The few that are missing are the hash table here, not the many that are asked.
_FOUND: Final = """
CREATE TEMP TABLE found AS SELECT DISTINCT {keys} FROM unchanged SEMI JOIN missing USING ({keys}) WHERE origin = 1
"""
_NO_ROWS: Final = "CREATE TEMP VIEW {name} AS SELECT * FROM previous WHERE false"
_ANY: Final = "SELECT count(*) FROM missing"
_LOST: Final = "CREATE TEMP VIEW lost AS SELECT * FROM missing ANTI JOIN found USING ({keys})"
_IN_ORDER: Final = "SELECT id_hi, id_lo, source, class FROM {name} ORDER BY id_hi, id_lo, source, class NULLS LAST"


def anti_joined(database: duckdb.DuckDBPyConnection, step: Step, *, with_class: bool = False) -> None:
    """Make the view ``lost``: distinct real rows of the step's parent shards that the child's shards lack.

    Args:
        database: a connection of :func:`~collapse_guard.manifest.engine.connected`.
        step: which shards to compare.
        with_class: compare id and class, and leave out rows without a class; compare ids alone if not.

    Raises ManifestError for a part that cannot be read.
    """
    words = {
        "keys": "id_hi, id_lo, class" if with_class else "id_hi, id_lo",
        "only": "AND class IS NOT NULL" if with_class else "",
    }
    import duckdb  # noqa: PLC0415 - 0.1 s that reading a header need not pay

    try:
        _make_views(database, step, words)
    except duckdb.OutOfMemoryException:
        raise
    except duckdb.Error:
        for shard in (*step.previous, *step.changed, *step.unchanged):
            shard.read()  # the one that is damaged says so, by its name
        raise


def _make_views(database: duckdb.DuckDBPyConnection, step: Step, words: dict[str, str]) -> None:
    _readable(database, "previous", step.previous)
    _readable(database, "changed", step.changed)
    database.execute(_MADE)
    n_rows = max(step.n_rows, sum(shard.entry.real_rows for shard in step.changed))
    for lo, hi in id_ranges((*step.previous, *step.changed), n_rows):
        database.execute(_MISSING.format(**words), {"lo": lo, "hi": hi})
    any_missing = database.execute(_ANY).fetchall() != [(0,)]
    _readable(database, "unchanged", step.unchanged if any_missing else ())
    database.execute(_FOUND.format(**words))
    database.execute(_LOST.format(**words))


def id_ranges(shards: Sequence[Shard], n_rows: int) -> list[tuple[int, int]]:
    """Return the ranges of ids, (first, last) high word each, in which DuckDB compares ``n_rows`` rows of ``shards``.

    They are fewer and larger where shards are small: there, each range would read every shard whole.
    """
    is_small = sum(shard.entry.rows for shard in shards) < _SMALL_ROWS * len(shards)
    n = n_ranges(n_rows // 4, most=_MOST_RANGES // 4) if is_small else n_ranges(n_rows, most=_MOST_RANGES)
    return [id_range(number, n) for number in range(n)]


def _readable(database: duckdb.DuckDBPyConnection, name: str, shards: Sequence[Shard]) -> None:
    """Make the rows of ``shards`` a view, once each is known to be whole."""
    if not shards:
        # Not an empty Arrow table: to register one, DuckDB imports pandas where it is installed (0.4 s).
        database.execute(_NO_ROWS.format(name=name))
        return
    for shard in shards:
        shard.check_readable()
    add_view(database, name, shards)


def lost_batches(database: duckdb.DuckDBPyConnection) -> Iterator[pa.RecordBatch]:
    """Yield the rows of the view ``lost`` in the order of their ids, in batches."""
    return batches_of(database, "lost")


def batches_of(database: duckdb.DuckDBPyConnection, name: str) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a table of ids, sources and classes in the order of their ids, in batches."""
    relation: Any = database.sql(_IN_ORDER.format(name=name))
    read = getattr(relation, "to_arrow_reader", None) or relation.fetch_arrow_reader  # as DuckDB before 2 calls it
    for batch in read(_BATCH_ROWS):
        yield batch.cast(LOST_SCHEMA)
