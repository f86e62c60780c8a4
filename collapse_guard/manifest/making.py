"""New manifests: of shards, or of tagged rows."""

from __future__ import annotations

import datetime as dt
import itertools
from importlib.metadata import version
from typing import TYPE_CHECKING, Final, Required, TypedDict, Unpack

from collapse_guard.errors import ManifestError
from collapse_guard.kernels import sha256_hex
from collapse_guard.manifest.describing import described
from collapse_guard.manifest.header import SCHEMA, Header, IndexEntry
from collapse_guard.manifest.index import Histogram, cut, index_of
from collapse_guard.manifest.manifest import Manifest
from collapse_guard.manifest.shard import shard_of
from collapse_guard.records import UNKNOWN_GENERATION

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa

    from collapse_guard.manifest.header import FilterReceipt, ParentLink, TakedownEntry, Unit
    from collapse_guard.manifest.shard import Shard

MAX_GENERATION: Final = UNKNOWN_GENERATION - 1


class Facts(TypedDict, total=False):
    """What a manifest says beside its rows; all but ``name`` and ``generation`` may be left out."""

    name: Required[str]
    generation: Required[int]
    class_column: str | None
    parents: Sequence[ParentLink]
    filters: Sequence[FilterReceipt]
    policy_digest: str | None
    unit: Unit
    unit_column: str | None
    id_rule: str
    takedowns: TakedownEntry | None


def manifest_of(shards: Sequence[Shard], **facts: Unpack[Facts]) -> Manifest:
    """Return the manifest of ``shards``, in the order of their names; ``facts`` are those of :class:`Facts`.

    Raises ManifestError for no shard, for two of one name, and for a generation out of range.
    """
    if not shards:
        raise ManifestError("a manifest needs rows, got none; add a source first")
    if not 0 <= facts["generation"] <= MAX_GENERATION:
        raise ManifestError(f"generation must be 0 to {MAX_GENERATION}, got {facts['generation']}")
    ordered = sorted(shards, key=lambda shard: shard.entry.name)
    twice = [a.entry.name for a, b in itertools.pairwise(ordered) if a.entry.name == b.entry.name]
    if twice:
        raise ManifestError(f"two shards are called {twice[0]!r}; give their files or sources names of their own")
    counts: Histogram = Histogram()
    for shard in ordered:
        counts += shard.histogram()
    lists = {"parents": tuple(facts.get("parents", ())), "filters": tuple(facts.get("filters", ()))}
    nothing = sha256_hex([])
    unfilled = Header.model_validate(
        {
            **facts,
            **lists,
            "schema": SCHEMA,
            "created": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
            "tool": f"collapse-guard {version('collapse-guard')}",
            "sources": (),
            "shards": (),
            "root_digest": nothing,
            "real_root_digest": nothing,
            "class_histogram_digest": nothing,
            "index": IndexEntry(folder="unwritten.index", rows=0),
        }
    )
    return Manifest(described(unfilled, ordered, counts), None, tuple(ordered))


def build_manifest(rows: pa.Table, **facts: Unpack[Facts]) -> Manifest:
    """Return the manifest of tagged training ``rows``, in memory; ``cg_amount`` is read if it is there.

    Raises as :func:`manifest_of`, and ProvenanceError for rows that are not tagged.
    """
    index = index_of(rows, class_column=facts.get("class_column"))
    return manifest_of([shard_of(part, name=f"{source}#{number}") for source, number, part in cut(index)], **facts)
