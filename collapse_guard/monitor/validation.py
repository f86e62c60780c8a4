"""Predictions on validation over a run: the first whole pass sets what is measured against, later ones are looks."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from collapse_guard.errors import ContractError, StatisticError
from collapse_guard.monitor.chain import begin_watch, is_due, last_look
from collapse_guard.monitor.predictions import (
    as_cell_counts,
    blind_text,
    label_anchor,
    prediction_anchor,
    prediction_policy,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from collapse_guard.manifest import Manifest
    from collapse_guard.monitor.anchor import Anchor
    from collapse_guard.monitor.predictions import PredictionCounts
    from collapse_guard.monitor.traces import Traces
    from collapse_guard.monitor.watch import Watch
    from collapse_guard.policy import Policy

log = logging.getLogger(__name__)


class Validation:
    """Looks at the predictions on one validation set.

    Args:
        policy: the policy of the run.
        anchor: real rows, None if the labels of the set say what is true.
        manifest: manifest of the training data.
        parent: manifest of the generation before.
        adopt: measure against the real rows that the chain began with.
        name: name of the guard.
        share: part of the false-halt rate that is theirs.
        traces: warnings that were given already.
    """

    def __init__(
        self,
        policy: Policy,
        anchor: Anchor | None,
        *,
        manifest: Manifest | None,
        parent: Manifest | None,
        adopt: bool,
        name: str,
        share: float,
        traces: Traces,
    ) -> None:
        self.watch: Watch | None = None
        self.looked: tuple[int, int] | None = None
        self._policy, self._anchor, self._share = policy, anchor, share
        self._manifest, self._parent, self._adopt, self._name = manifest, parent, adopt, name
        self._traces = traces
        self._left: Mapping[str, Any] | None = None
        self._is_resumed = False

    def open(self) -> None:
        """Begin a run; raises InputError if the policy declares no classes that could be predicted."""
        prediction_policy(self._policy, share=self._share)
        self.looked, self._is_resumed = None, False

    def look(self, counts: PredictionCounts, *, epoch: int, step: int) -> bool:
        """Take the predictions of one whole pass, of all ranks; return whether it counted as a look.

        Raises ContractError if the validation set cannot show the tail.
        """
        watch = self._begun(counts) if self.watch is None else self.watch
        self.watch = watch
        self._check_same_set(watch, counts)
        if self.looked is not None and self.looked[1] == step:
            return False
        last = self.looked or (last_look(watch) if self._is_resumed else None)
        if not is_due(self._policy, n_epochs=epoch, n_steps=step, last=last):
            return False
        self.looked = (epoch, step)
        rows = as_cell_counts(counts.predicted, watch.reference.cells.names)
        if rows.n_unclaimed_rows == rows.n_rows and set(counts.predicted) - {"-1", None}:
            shown = ", ".join(sorted(map(str, counts.predicted))[:5])
            text = f"predictions carry names that no label has ({shown})"
            raise ContractError(f"{text}; let outputs_from= give the labels' own names")
        self.watch = watch.look(rows, epoch=epoch, step=step, advisory=_recall(watch, counts))
        return True

    def _begun(self, counts: PredictionCounts) -> Watch:
        policy = prediction_policy(self._policy, share=self._share)
        anchor = prediction_anchor(policy, counts, label_anchor(self._policy, self._anchor))
        try:
            begun = begin_watch(
                policy, anchor, self._manifest, self._parent, adopt=self._adopt, name=self._name, of="predictions"
            )
        except StatisticError as error:
            remedy = "pass reference= real rows, whose tail is then meant, or raise coverage.tail_mass"
            raise ContractError(f"the validation set cannot show a tail: {error}; {remedy}") from None
        watch = begun if self._left is None else begun.resumed(self._left)
        self._left = None
        blind = blind_text(watch)
        if blind:
            log.warning("collapse_guard: %s", blind)
        if watch.note:
            log.warning("collapse_guard: predictions: %s", watch.note)
        return watch

    def _check_same_set(self, watch: Watch, counts: PredictionCounts) -> None:
        own = watch.reference
        if counts.true and as_cell_counts(counts.true, own.cells.names) != own.counts:
            text = "the validation set is not the one of the first look; looks at a fixed set need the same rows"
            self._traces.warn_once("validation", text)

    def renew(self) -> None:
        """Forget all evidence."""
        self.watch, self._left = None, None

    def state(self) -> Mapping[str, Any] | None:
        """Return plain values; None before the first pass of a chain."""
        return self._left if self.watch is None else self.watch.state()

    def restore(self, state: Mapping[str, Any] | None) -> None:
        """Go on from the state of a checkpoint at the next pass."""
        self.watch, self._left, self._is_resumed = None, state, True


def _recall(watch: Watch, counts: PredictionCounts) -> dict[str, float]:
    """Return the recall of the tail and of all classes, where labels are known."""
    names = watch.reference.cells.names
    tail = tuple(names[cell] for cell in watch.tail)
    found = {"tail_recall": counts.recall_of(tail), "recall": counts.recall_of(names)}
    return {key: value for key, value in found.items() if value is not None}
