"""Laws of sequential evidence: a value that is folded look by look, and that a file brings back whole."""

from __future__ import annotations

import json
import math
import pickle
from typing import TYPE_CHECKING, Any, Protocol

from collapse_guard.errors import StatisticError
from collapse_guard.stats.folding import Folded, folded_state, with_folded
from collapse_guard.testing.processes import check_across_processes
from collapse_guard.testing.values import check_frozen, check_json_state

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class Sequential(Folded, Protocol):
    """What every evidence can do."""

    def update(self, look: Any) -> Any:
        """Return the evidence after one look."""

    def compute(self) -> Any:
        """Return a named tuple: what halts a run first, and ``n_looks``."""


def _one_look(evidence: Any, look: Any) -> Any:
    """Return ``evidence`` after a look that it takes as its only argument."""
    return evidence.update(look)


def check_evidence(
    evidence: Sequential, looks: Sequence[Any], *, update: Callable[[Any, Any], Any] = _one_look
) -> None:
    """Evidence is a frozen value, the same in every process, that a checkpoint brings back; no look changes it.

    Args:
        evidence: before any look.
        looks: what it is updated with, in order.
        update: how, at the top level of a module so that another process finds it; ``evidence.update(look)`` otherwise.
    """
    assert evidence.n_looks == 0, f"evidence starts before any look, got one after {evidence.n_looks}"
    first = evidence.compute()
    assert first[0] == -math.inf, f"before the first look there is no evidence (-inf), got {first[0]}"
    given = pickle.dumps(list(looks))
    stages = _stages(evidence, looks, update)
    assert pickle.dumps(list(looks)) == given, "an update leaves its look as it was"
    counted = stages[-1].n_looks, stages[-1].compute().n_looks
    assert counted == (len(looks), len(looks)), f"{len(looks)} looks are counted, got {counted}"
    for value in (evidence, stages[-1]):
        check_frozen(value)
        check_json_state(value)
    for n_looks, stopped in enumerate(stages):
        onwards = _stages(_resumed(evidence, stopped), looks[n_looks:], update)[-1]
        assert onwards == stages[-1], "evidence goes on from a file as if it had never stopped"
    check_across_processes(_stages, evidence, list(looks), update)


def _stages(evidence: Any, looks: Sequence[Any], update: Callable[[Any, Any], Any]) -> list[Any]:
    """Return the evidence before, between and after the looks; AssertionError where an update changes its subject."""
    stages = [evidence]
    for look in looks:
        before = repr(stages[-1])
        after = update(stages[-1], look)
        assert repr(stages[-1]) == before, "an update leaves its subject as it was"
        stages.append(after)
    return stages


def _resumed(evidence: Any, stopped: Any) -> Any:
    """Return ``evidence`` with what looks left in ``stopped``, which went through a file."""
    try:
        state = json.loads(json.dumps(folded_state(stopped), allow_nan=False))
    except (TypeError, ValueError) as error:
        raise AssertionError(f"what looks leave is plain JSON: {error}") from error
    try:
        resumed = with_folded(evidence, state)
    except StatisticError as error:
        raise AssertionError(f"evidence takes back what looks left in it: {error}") from error
    assert resumed == stopped, "evidence equals itself after its folded state went through a file"
    return resumed
