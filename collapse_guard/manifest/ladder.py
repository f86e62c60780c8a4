"""The accumulation proof as a ladder: root digest, shard digests, and only then rows, of changed shards alone.

Every step is exact. An equal root means that the same real shards stand in both manifests; a shard of the parent whose
real digest the child has too lost nothing; what is left is compared row by row.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from collapse_guard.errors import ManifestError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from collapse_guard.manifest.manifest import Manifest
    from collapse_guard.manifest.shard import Shard


class Level(StrEnum):
    """What decided: the cheapest step that could."""

    ROOT = "root"
    SHARDS = "shards"
    ROWS = "rows"


@dataclass(frozen=True, slots=True)
class Step:
    """Where on the ladder two manifests meet, and what is left to compare there.

    Args:
        level: the step that decides; at ``ROOT`` and ``SHARDS`` nothing is left.
        previous: shards of the parent with real rows in scope that the child does not have as they are.
        changed: shards of the child with real rows that the parent does not have; the likely home of those rows.
        unchanged: other shards of the child with real rows; asked only about rows that ``changed`` lacks.
        n_real_rows_before: real rows of the parent in scope.
    """

    level: Level
    previous: tuple[Shard, ...] = ()
    changed: tuple[Shard, ...] = ()
    unchanged: tuple[Shard, ...] = ()
    n_real_rows_before: int = 0

    @property
    def n_rows(self) -> int:
        """Real rows of the parent that are compared one by one."""
        return sum(shard.entry.real_rows for shard in self.previous)


def step_of(
    previous: Manifest, current: Manifest, *, scope: Sequence[str] | None = None, exempt: Sequence[str] = ()
) -> Step:
    """Return the step of the ladder that decides; reads headers alone, whose digests are taken as they are.

    Args:
        scope: sources that must accumulate; None for all.
        exempt: sources that need not.

    Raises ManifestError if the ids of both follow different rules: they are never compared.
    """
    refuse_other_rules(previous, current)
    asked = [shard for shard in real_shards(previous) if in_scope(shard, scope, exempt)]
    n_before = sum(shard.entry.real_rows for shard in asked)
    if previous.header.real_root_digest == current.header.real_root_digest:
        return Step(Level.ROOT, n_real_rows_before=n_before)
    held = {shard.entry.real_digest for shard in real_shards(current)}
    left = tuple(shard for shard in asked if shard.entry.real_digest not in held)
    if not left:
        return Step(Level.SHARDS, n_real_rows_before=n_before)
    known = {shard.entry.real_digest for shard in real_shards(previous)}
    parts: dict[bool, list[Shard]] = {True: [], False: []}
    for shard in real_shards(current):
        parts[shard.entry.real_digest in known].append(shard)
    return Step(Level.ROWS, left, tuple(parts[False]), tuple(parts[True]), n_before)


def real_shards(manifest: Manifest) -> list[Shard]:
    """Return the shards that hold a real row."""
    return [shard for shard in manifest.shards if shard.entry.real_rows]


def in_scope(shard: Shard, scope: Sequence[str] | None, exempt: Sequence[str]) -> bool:
    """Return whether the rows of a shard must accumulate."""
    source = shard.entry.source
    return (scope is None or source in scope) and source not in exempt


def refuse_other_rules(previous: Manifest, current: Manifest) -> None:
    """Raise ManifestError unless the ids of both manifests follow one rule."""
    before, now = previous.header.id_rule, current.header.id_rule
    if before != now:
        text = f"ids follow {before!r} in {previous.name} and {now!r} in {current.name}: they are not comparable"
        raise ManifestError(f"{text}; write one of the manifests again under the rule of the other")
