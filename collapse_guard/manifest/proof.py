"""The accumulation proof: is every real row of the parent a real row of the child?"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from collapse_guard.manifest.antijoin import anti_joined, id_ranges, lost_batches
from collapse_guard.manifest.engine import connected
from collapse_guard.manifest.ladder import Level, Step, refuse_other_rules, step_of
from collapse_guard.manifest.loss import NO_LOSS, Loss, Tally, tallied
from collapse_guard.manifest.manifest import Manifest, load_manifest

if TYPE_CHECKING:
    from collections.abc import Sequence
    from os import PathLike

    from collapse_guard.manifest.engine import Limits
    from collapse_guard.manifest.takedowns import Takedowns
    from collapse_guard.records import Origin


@dataclass(frozen=True, slots=True)
class Proof:
    """What the accumulation proof found.

    Args:
        level: the step of the ladder that decided.
        loss: real rows of the parent that the child lacks and no takedown covers.
        taken_down: those that a takedown covers; without ids.
        by_takedown: (reason, date, rows) of the takedowns that cover them.
        n_real_rows_before: real rows of the parent in scope.
        n_changed_shards: shards of the parent that had to be compared row by row.
        n_compared_rows: real rows in them.
    """

    level: Level
    loss: Loss = NO_LOSS
    taken_down: Loss = NO_LOSS
    by_takedown: tuple[tuple[str, str, int], ...] = ()
    n_real_rows_before: int = 0
    n_changed_shards: int = 0
    n_compared_rows: int = 0

    @property
    def holds(self) -> bool:
        """Whether nothing real was lost but by takedowns."""
        return self.loss.n_rows == 0

    def describe(self) -> str:
        """Return one line: what was compared, at which step, and what came of it.

        >>> Proof(Level.ROOT, n_real_rows_before=5).describe()
        'every real row is kept (of 5, by the root digest)'
        """
        by = {
            Level.ROOT: "the root digest",
            Level.SHARDS: "the digests of shards",
            Level.ROWS: f"{self.n_compared_rows} rows of {self.n_changed_shards} changed shards",
        }[self.level]
        lost = f"{self.loss.n_rows} real {'row' if self.loss.n_rows == 1 else 'rows'} lost"
        n_taken = self.taken_down.n_rows
        covered = f"; {n_taken} {'row' if n_taken == 1 else 'rows'} left under takedowns" if n_taken else ""
        return f"{'every real row is kept' if self.holds else lost}{covered} (of {self.n_real_rows_before}, by {by})"

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "level": self.level.value,
            "holds": self.holds,
            "summary": self.describe(),
            "n_real_rows_before": self.n_real_rows_before,
            "n_changed_shards": self.n_changed_shards,
            "n_compared_rows": self.n_compared_rows,
            "n_lost_rows": self.loss.n_rows,
            "lost_by": [list(group) for group in self.loss.by_source_and_class],
            "lost_ids": list(self.loss.ids),
            "n_taken_down_rows": self.taken_down.n_rows,
            "taken_down_by": [list(group) for group in self.by_takedown],
        }


def prove_accumulation(
    previous: Manifest | str | PathLike[str],
    current: Manifest | str | PathLike[str],
    *,
    scope: Sequence[str] | None = None,
    exempt: Sequence[str] = (),
    takedowns: Takedowns | None = None,
    limits: Limits | None = None,
    lost_to: str | PathLike[str] | None = None,
) -> Proof:
    """Prove that ``current`` holds every real row of ``previous``, by the cheapest step that can.

    Equal root digests decide without opening a part; so do shard digests. What is left is an exact anti-join of ids in
    DuckDB, range by range, of changed shards first and of all others for what those lack. A row that moved to another
    source, class or shard is kept; one that is no longer real is lost.

    Args:
        previous: manifest of the parent generation, or its path.
        current: manifest of the generation that is checked, or its path.
        scope: sources that must accumulate; None for all.
        exempt: sources that need not.
        takedowns: lawful deletions, which are no loss.
        limits: memory, threads and spill folder.
        lost_to: Parquet file that gets every lost row: id, source and class; empty if nothing was lost.

    The digests in both headers are taken as they are: ``manifest.verify()`` recomputes them (CG004), and only then
    does an equal digest say something about the parts on disk.

    Raises ManifestError if the ids follow different rules, or for a part that cannot be read.
    """
    before, now = (each if isinstance(each, Manifest) else load_manifest(each) for each in (previous, current))
    step = step_of(before, now, scope=scope, exempt=exempt)
    if step.level is not Level.ROWS:
        return proof_of(step, tallied([], takedowns=takedowns, lost_to=lost_to))
    with connected(limits) as database:
        anti_joined(database, step)
        return proof_of(step, tallied(lost_batches(database), takedowns=takedowns, lost_to=lost_to))


def proof_of(step: Step, tally: Tally) -> Proof:
    """Return the proof that a step of the ladder and the rows lost there make."""
    return Proof(
        step.level,
        tally.loss,
        tally.taken_down,
        tally.by_takedown,
        step.n_real_rows_before,
        len(step.previous),
        step.n_rows,
    )


def lost_real_rows(
    previous: Manifest,
    current: Manifest,
    *,
    scope: Sequence[str] | None = None,
    exempt: Sequence[str] = (),
    limits: Limits | None = None,
) -> Loss:
    """Return the distinct real rows of ``previous`` that are not real rows of ``current``.

    Args:
        scope: sources that must accumulate; None for all.
        exempt: sources that need not.
        limits: memory, threads and spill folder.
    """
    return prove_accumulation(previous, current, scope=scope, exempt=exempt, limits=limits).loss


_NEW: Final = """
SELECT class, count(*)
FROM (SELECT id_hi, id_lo, class FROM current WHERE origin = $origin AND id_hi BETWEEN $lo AND $hi)
ANTI JOIN (SELECT id_hi, id_lo FROM previous WHERE id_hi BETWEEN $lo AND $hi) USING (id_hi, id_lo)
GROUP BY class
"""


def new_rows_by_class(
    previous: Manifest, current: Manifest, *, origin: Origin, limits: Limits | None = None
) -> dict[str | None, int]:
    """Return rows of ``origin`` that only ``current`` holds, per class."""
    refuse_other_rules(previous, current)
    found: Counter[str | None] = Counter()
    ranges = id_ranges((*previous.shards, *current.shards), max(previous.n_rows, current.n_rows))
    with connected(limits, previous=previous, current=current) as database:
        for lo, hi in ranges:
            rows = database.execute(_NEW, {"origin": int(origin), "lo": lo, "hi": hi}).fetchall()
            found.update({label: int(n_rows) for label, n_rows in rows})
    return dict(sorted(found.items(), key=lambda item: (item[0] is None, item[0] or "")))
