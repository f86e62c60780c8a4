"""What a header says because its shards do: sources, digests, rows."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from collapse_guard.manifest.header import Header, SourceEntry
from collapse_guard.manifest.index import Histogram, histogram_digest, origin_name, root_digest
from collapse_guard.records import Origin

if TYPE_CHECKING:
    from collections.abc import Sequence

    from collapse_guard.manifest.shard import Shard


def described(header: Header, shards: Sequence[Shard], counts: Histogram) -> Header:
    """Return ``header`` with everything that its shards decide."""
    n_rows = sum(shard.entry.rows for shard in shards)
    return header.model_copy(
        update={
            "sources": _sources(shards, counts),
            "shards": tuple(shard.entry for shard in shards),
            "root_digest": root_digest(shard.entry.digest for shard in shards),
            "real_root_digest": root_digest(shard.entry.real_digest for shard in shards if shard.entry.real_rows),
            "class_histogram_digest": histogram_digest(counts),
            "index": header.index.model_copy(update={"rows": n_rows}),
        }
    )


def _sources(shards: Sequence[Shard], counts: Histogram) -> tuple[SourceEntry, ...]:
    entries = []
    for name in sorted({shard.entry.source for shard in shards}):
        parts = [shard.entry for shard in shards if shard.entry.source == name]
        origins = {origin_name(origin) for source, origin, *_ in counts if source == name}
        generators = {generator for source, *_, generator in counts if source == name and generator is not None}
        entries.append(
            SourceEntry(
                name=name,
                origin=origins.pop() if len(origins) == 1 else Origin.MIXED.name.lower(),
                generators=tuple(sorted(generators)),
                rows=sum(part.rows for part in parts),
                real_rows=sum(part.real_rows for part in parts),
                amount=math.fsum(part.amount for part in parts),
                root_digest=root_digest(part.digest for part in parts),
            )
        )
    return tuple(entries)
