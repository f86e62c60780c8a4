"""Laws of a statistic: merging in any order equals one pass."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from collapse_guard.testing.processes import check_across_processes
from collapse_guard.testing.values import check_frozen, check_json_state

if TYPE_CHECKING:
    from collections.abc import Sequence


class Mergeable(Protocol):
    """What every statistic can do."""

    def update(self, values: Any) -> Any:
        """Return the statistic after ``values``."""

    def merge(self, other: Any) -> Any:
        """Return the statistic of both streams."""


def check_statistic(empty: Mergeable, parts: Sequence[Any]) -> None:
    """Merging in any order equals one pass, in every process; the empty statistic changes nothing."""
    check_frozen(empty)
    before = repr(empty)
    one_pass = empty
    for part in parts:
        one_pass = one_pass.update(part)
    alone = [empty.update(part) for part in parts]
    for order in (alone, alone[::-1]):
        merged: Mergeable = empty
        for statistic in order:
            merged = merged.merge(statistic)
        assert merged == one_pass, "merging in any order equals one pass"
    if len(alone) > 2:  # noqa: PLR2004 - grouping needs three
        first, second, third = alone[:3]
        assert first.merge(second.merge(third)) == first.merge(second).merge(third), "merges may be grouped in any way"
    assert empty.merge(one_pass) == one_pass, "the empty statistic changes nothing"
    assert repr(empty) == before, "update and merge leave their subject as it was"
    check_frozen(one_pass)
    check_json_state(one_pass)
    check_across_processes(_folded, empty, list(parts))


def _folded(empty: Mergeable, parts: Sequence[Any]) -> Mergeable:
    """Return what another process must find as well."""
    folded = empty
    for part in parts:
        folded = folded.update(part)
    return folded
