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


def one_look(evidence: Any, look: Any) -> Any:
    """Return ``evidence`` after a look that it takes as its only argument."""
    return evidence.update(look)


def check_evidence(evidence: Sequential, looks: Sequence[Any], *, update: Callable[[Any, Any], Any] = one_look) -> None:
    """Evidence is a frozen value, the same in every process, that a checkpoint brings back; no look changes it.

    Args:
        evidence: before any look.
        looks: what it is updated with, in order.
        update: how, at the top level of a module so that another process finds it; by default ``evidence.update(look)``.
    """
    assert evidence.n_looks == 0, f"evidence starts before any look, got one after {evidence.n_looks}"
    first = evidence.compute()
    assert first[0] == -math.inf, f"before the first look there is no evidence (-inf), got {first[0]}"
    given = pickle.dumps(list(looks))
    folded = _folded(evidence, looks, update)
    assert pickle.dumps(list(looks)) == given, "an update leaves its look as it was"
    counted = folded.n_looks, folded.compute().n_looks
    assert counted == (len(looks), len(looks)), f"{len(looks)} looks are counted, got {counted}"
    for value in (evidence, folded):
        check_frozen(value)
        check_json_state(value)
    for n_looks in range(len(looks) + 1):
        _check_resumed(evidence, looks, n_looks, update)
    check_across_processes(_folded, evidence, list(looks), update)


def _folded(evidence: Any, looks: Sequence[Any], update: Callable[[Any, Any], Any]) -> Any:
    """Return the evidence after all looks; raises AssertionError where an update changes its subject."""
    for look in looks:
        before, subject = repr(evidence), evidence
        evidence = update(subject, look)
        assert repr(subject) == before, "an update leaves its subject as it was"
    return evidence


def _check_resumed(evidence: Any, looks: Sequence[Any], n_looks: int, update: Callable[[Any, Any], Any]) -> None:
    """Stop after ``n_looks``, go through a file, and go on."""
    stopped = _folded(evidence, looks[:n_looks], update)
    try:
        state = json.loads(json.dumps(folded_state(stopped), allow_nan=False))
    except (TypeError, ValueError) as error:
        raise AssertionError(f"what looks leave is plain JSON: {error}") from error
    try:
        resumed = with_folded(evidence, state)
    except StatisticError as error:
        raise AssertionError(f"evidence takes back what looks left in it: {error}") from error
    assert resumed == stopped, "evidence equals itself after its folded state went through a file"
    onwards = [_folded(each, looks[n_looks:], update) for each in (stopped, resumed)]
    assert onwards[0] == onwards[1], "evidence goes on from a file as if it had never stopped"
