"""Real rows that stayed under their id and changed their class: content that the id does not cover.

Where the id is made of a text or a picture, a label can change and the id stays. A class can die that way without one
lost row. Amounts may change from generation to generation (a budget sets them) and are not compared.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from collapse_guard.kernels import id_hex
from collapse_guard.manifest.antijoin import anti_joined
from collapse_guard.manifest.engine import connected
from collapse_guard.manifest.ladder import Level, Step, in_scope, real_shards, refuse_other_rules
from collapse_guard.manifest.loss import MAX_IDS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from collapse_guard.manifest.engine import Limits
    from collapse_guard.manifest.manifest import Manifest

# "lost" holds (id, class) pairs of the parent that the child lacks: rows that left, and rows that were relabelled.
_NOW: Final = """
CREATE TEMP TABLE now AS SELECT DISTINCT id_hi, id_lo, class AS label FROM (
  SELECT id_hi, id_lo, class FROM changed WHERE origin = 1
  UNION ALL SELECT id_hi, id_lo, class FROM unchanged WHERE origin = 1
) SEMI JOIN lost USING (id_hi, id_lo)
"""
_RELABELLED: Final = "CREATE TEMP TABLE relabelled AS SELECT * FROM lost JOIN now USING (id_hi, id_lo)"
_COUNT: Final = "SELECT count(*) FROM (SELECT DISTINCT id_hi, id_lo, source, class FROM relabelled)"
_GROUPS: Final = """
SELECT source, class, label, count(*) FROM relabelled GROUP BY ALL ORDER BY 4 DESC, source, class, label NULLS LAST
"""
_IDS: Final = "SELECT DISTINCT id_hi, id_lo FROM relabelled ORDER BY id_hi, id_lo LIMIT ?"


@dataclass(frozen=True, slots=True)
class Relabelled:
    """Real rows whose class changed.

    Args:
        n_rows: how many.
        by: (source, class before, class now or None, rows), largest first.
        ids: at most ten of them, as 32 hexadecimal digits.
    """

    n_rows: int = 0
    by: tuple[tuple[str, str, str | None, int], ...] = ()
    ids: tuple[str, ...] = ()


def relabelled(
    previous: Manifest,
    current: Manifest,
    *,
    scope: Sequence[str] | None = None,
    exempt: Sequence[str] = (),
    limits: Limits | None = None,
) -> Relabelled:
    """Return the real rows of ``previous`` that ``current`` has under the same id and never under the same class.

    A row that had no class and has one now is no change; one that lost its class is. Shards that the child has as they
    are (by digest) are not opened.

    Args:
        scope: sources that must accumulate; None for all.
        exempt: sources that need not.
        limits: memory, threads and spill folder.

    Raises ManifestError if the ids follow different rules, or for a part that cannot be read.
    """
    refuse_other_rules(previous, current)
    step = _step(previous, current, scope, exempt)
    if not step.previous:
        return Relabelled()
    with connected(limits) as database:
        anti_joined(database, step, with_class=True)
        database.execute(_NOW)
        database.execute(_RELABELLED)
        ((n_rows,),) = database.execute(_COUNT).fetchall()
        groups = database.execute(_GROUPS).fetchall()
        ids = database.execute(_IDS, [MAX_IDS]).fetchall()
    by = tuple((str(source), str(before), label, int(rows)) for source, before, label, rows in groups)
    return Relabelled(int(n_rows), by, tuple(id_hex(hi, lo) for hi, lo in ids))


def _step(previous: Manifest, current: Manifest, scope: Sequence[str] | None, exempt: Sequence[str]) -> Step:
    held = {shard.entry.digest for shard in current.shards}
    known = {shard.entry.digest for shard in previous.shards}
    asked = [shard for shard in real_shards(previous) if in_scope(shard, scope, exempt)]
    here = real_shards(current)
    return Step(
        Level.ROWS,
        tuple(shard for shard in asked if shard.entry.digest not in held),
        tuple(shard for shard in here if shard.entry.digest not in known),
        tuple(shard for shard in here if shard.entry.digest in known),
    )
