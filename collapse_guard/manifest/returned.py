"""Rows that were taken down and are in a manifest all the same.

A list of takedowns holds salted digests and no ids, so that every id of the manifest must be hashed once to be looked
up. Many rows are hashed by DuckDB, in threads and under its limits; few by Python, which need not be loaded for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pyarrow as pa

from collapse_guard.manifest.antijoin import batches_of
from collapse_guard.manifest.columns import values_of
from collapse_guard.manifest.engine import connected
from collapse_guard.manifest.loss import NO_LOSS, Loss, tallied

if TYPE_CHECKING:
    from collapse_guard.manifest.engine import Limits
    from collapse_guard.manifest.manifest import Manifest
    from collapse_guard.manifest.takedowns import Takedowns

#: From so many rows on, what DuckDB saves is more than it takes to load it.
BULK_ROWS: Final = 1 << 19
_KNOWN: Final = "CREATE TEMP TABLE known AS SELECT unnest($digests::VARCHAR[]) AS digest"
_ID: Final = "((id_hi::UHUGEINT << 64) | id_lo)::BIT::BLOB"  # 16 bytes, big-endian
_RETURNED: Final = f"""
CREATE TEMP TABLE returned AS SELECT id_hi, id_lo, source, class FROM rows
WHERE sha256($salt::BLOB || {_ID}) IN (SELECT digest FROM known)
"""  # noqa: S608 - of our own names
_ANY: Final = "SELECT count(*) FROM returned"


def taken_down_rows(manifest: Manifest, takedowns: Takedowns, *, limits: Limits | None = None) -> Loss:
    """Return the rows of ``manifest``, of any origin, that should be gone.

    Args:
        manifest: whose ids are hashed under the salt of the list.
        takedowns: the list.
        limits: memory, threads and spill folder.

    Raises ManifestError for a part that cannot be read.
    """
    if not takedowns.records:
        return NO_LOSS
    if manifest.n_rows >= BULK_ROWS:
        return _by_query(manifest, takedowns, limits)
    return _by_shard(manifest, takedowns)


def _by_shard(manifest: Manifest, takedowns: Takedowns) -> Loss:
    """Return them by hashing id by id, one shard in memory at a time."""
    return tallied(_covered(shard.read(), takedowns) for shard in manifest.shards).loss


def _covered(rows: pa.Table, takedowns: Takedowns) -> pa.Table:
    is_covered = takedowns.covers(values_of(rows.column("id_hi")), values_of(rows.column("id_lo")))
    return rows.filter(pa.array(is_covered))


def _by_query(manifest: Manifest, takedowns: Takedowns, limits: Limits | None) -> Loss:
    """Return them by a query that hashes all ids."""
    with connected(limits, rows=manifest) as database:
        database.execute(_KNOWN, {"digests": [record.digest.hex() for record in takedowns.records]})
        database.execute(_RETURNED, {"salt": takedowns.salt})
        if database.execute(_ANY).fetchall() == [(0,)]:
            return NO_LOSS
        return tallied(batches_of(database, "returned")).loss
