"""What the batches of a run carried: folded check by check, and decided on. No framework here."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, Self

from collapse_guard.decision import BatchView, decide_batches
from collapse_guard.errors import InputError
from collapse_guard.records import Action, Decision, Origin
from collapse_guard.stats import BatchCounts
from collapse_guard.stats.batches import N_CODES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from collapse_guard.manifest import Manifest
    from collapse_guard.policy import Policy


#: What gives batches their provenance.
REMEDIES: Final = (
    "tag the data (collapse_guard.tag) and keep cg_origin in the batch, use GuardedDataLoader, or pass provenance_from="
)


@dataclass(frozen=True)
class BatchWatch:
    """Counts of the batches of a run, over all ranks; a value, every check returns a new one.

    >>> from collapse_guard.policy import Policy
    >>> watch = BatchWatch.start(Policy(version=1), None)
    >>> watch.check(BatchCounts.of_rows((0, 100, 900, 0, 0, 0))).decision.reason.value
    'batch_mix'
    """

    policy: Policy
    held: frozenset[Origin] | None = None
    counts: BatchCounts = field(default_factory=BatchCounts)
    cell_rows: tuple[int, ...] = ()
    n_checks: int = 0
    decision: Decision | None = None

    @classmethod
    def start(cls, policy: Policy, manifest: Manifest | None) -> Self:
        """Return a watch that has seen nothing; ``manifest`` says which origins may come."""
        held = None if manifest is None else frozenset(Origin(code) for (code,) in manifest.rows_by("origin"))
        return cls(policy, held)

    def check(self, latest: BatchCounts, cell_rows: tuple[int, ...] = (), *, whole: bool = False) -> Self:
        """Return the watch after the batches since the check before, and the decision on them.

        Args:
            latest: their provenance, summed over ranks.
            cell_rows: their rows per cell, those of no cell last; empty if labels are not counted.
            whole: whether they end an epoch.
        """
        if latest.n_batches == 0 and latest.n_rows == 0 and self.policy.batches.order == "random":
            return self
        counts, number = self.counts.merge(latest), self.n_checks + 1
        before = self.cell_rows or (0,) * len(cell_rows)
        added = replace(self, counts=counts, cell_rows=tuple(map(sum, zip(before, cell_rows, strict=True))))
        is_silent = not counts.n_rows and self.policy.batches.missing != "error"
        if is_silent or self.halted:  # what is left of the batches after a halt does not undo it
            return added
        decision = decide_batches(self.policy, BatchView(counts, latest, number, self.held, whole))
        return replace(added, n_checks=number, decision=decision)

    @property
    def halted(self) -> bool:
        """Whether the last decision was to halt."""
        return self.decision is not None and self.decision.action is Action.HALT

    def state(self) -> dict[str, Any]:
        """Return plain values for a checkpoint."""
        return {
            "counts": self.counts.vector(),
            "cells": list(self.cell_rows),
            "n_checks": self.n_checks,
            "decision": None if self.decision is None else self.decision.as_dict(),
        }

    def resumed(self, state: Mapping[str, Any] | None) -> Self:
        """Return the watch with the counts of a checkpoint; those of older versions hold origins only.

        Raises InputError for anything else.
        """
        if not state:
            return self
        try:
            if "counts" not in state:
                return replace(self, counts=BatchCounts.of_rows(tuple(int(rows) for rows in state["origins"])))
            vector = [int(count) for count in state["counts"]]
            if len(vector) != N_CODES + 2:
                raise ValueError(f"{len(vector)} counts")  # noqa: TRY301 - one message for all of it
            recorded = state["decision"]
            return replace(
                self,
                counts=BatchCounts.of_vector(vector),
                cell_rows=tuple(int(rows) for rows in state["cells"]),
                n_checks=int(state["n_checks"]),
                decision=None if recorded is None else Decision.from_dict(recorded),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"not counts of batches ({error}); start from an older checkpoint or anew") from None

    def view(self, *, n_ranks: int) -> dict[str, Any]:
        """Return plain values for the report of a run."""
        counts = self.counts
        return {
            "origins": counts.by_origin() if counts.n_rows else None,
            "generations": {str(depth): rows for depth, rows in enumerate(counts.generations) if rows} or None,
            "cells": list(self.cell_rows) or None,
            "n_batches": counts.n_batches,
            "n_untagged_batches": counts.n_untagged_batches,
            "n_checks": self.n_checks,
            "n_ranks": n_ranks,
            "decision": None if self.decision is None else self.decision.as_dict(),
        }


def only_warning(policy: Policy) -> Policy:
    """Return the policy of batches that halt nothing."""
    return policy.model_copy(update={"batches": policy.batches.model_copy(update={"on_violation": "warn"})})


def untagged_text(manifest: Manifest | None) -> str:
    """Return what is said of batches that carry no provenance."""
    checked = "the manifest alone is checked" if manifest is not None else "their mix is not watched"
    return f"batches do not say where their rows come from, so {checked}; {REMEDIES}"
