"""Every registered filter and statistic keeps the laws; every law catches a subject that breaks it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collapse_guard import testing
from collapse_guard.cells import LabelCells
from collapse_guard.filters import FILTERS, Filter, KeepBestWithinCells
from collapse_guard.stats import BatchCounts, CellCounts
from collapse_guard.stats.counts import STATISTICS

if TYPE_CHECKING:
    from collections.abc import Callable


FILTER_NAMES = [name for name, _ in FILTERS.items()]
STATISTIC_NAMES = [name for name, _ in STATISTICS.items()]

LABELS = ["cat", "dog", None, "emu", "dog", "cat", "cat", ""]
SCORES = [3.0, 1.0, 2.0, 5.0, 4.0, -1.0, 3.0, 0.0]
CELLS = LabelCells("label", ("cat", "dog"))

#: How a registered subject is made; a new one is added here, or its conformance test fails.
FILTER_EXAMPLES: dict[str, Callable[[pa.RecordBatch], Filter]] = {
    "keep_best_within_cells": lambda rows: KeepBestWithinCells.fit(rows, cells=CELLS, score="score", share=0.5),
}
STATISTIC_EXAMPLES: dict[str, tuple[testing.Mergeable, int, int]] = {
    "cell_counts": (CellCounts.zeros(4), -1, 3),
    "batch_counts": (BatchCounts(), -2, 8),
}


def batch() -> pa.RecordBatch:
    return pa.record_batch({"label": pa.array(LABELS), "score": pa.array(SCORES)})


def test_the_registries_hold_the_subjects_that_are_shipped() -> None:
    assert "keep_best_within_cells" in FILTER_NAMES
    assert {"cell_counts", "batch_counts"} <= set(STATISTIC_NAMES)


@pytest.mark.parametrize("name", FILTER_NAMES)
def test_every_registered_filter_keeps_the_laws(name: str) -> None:
    assert name in FILTER_EXAMPLES, f"add an example of the filter {name!r} to FILTER_EXAMPLES"
    subject = FILTER_EXAMPLES[name](batch())
    assert isinstance(subject, FILTERS.get(name))
    assert isinstance(subject, Filter)
    testing.check_filter(subject, batch())
    assert subject.spec.name == name


@pytest.mark.parametrize("name", STATISTIC_NAMES)
@settings(max_examples=25, derandomize=True, deadline=None)
@given(data=st.data())
def test_every_registered_statistic_keeps_the_laws(name: str, data: st.DataObject) -> None:
    assert name in STATISTIC_EXAMPLES, f"add an example of the statistic {name!r} to STATISTIC_EXAMPLES"
    empty, low, high = STATISTIC_EXAMPLES[name]
    assert isinstance(empty, STATISTICS.get(name))
    codes = st.lists(st.integers(low, high), max_size=12).map(lambda part: np.array(part, dtype=np.int64))
    parts = data.draw(st.lists(codes, min_size=1, max_size=5))
    testing.check_statistic(empty, parts)
    in_groups = empty.update(np.concatenate(parts))
    one_pass = empty
    for part in parts:
        one_pass = one_pass.update(part)
    assert in_groups == one_pass, "how rows are batched does not matter"


# --- subjects that break one law each, so that a law that cannot fail is noticed


@dataclass(frozen=True)
class Total:
    """A sound statistic; the broken ones differ from it in one thing."""

    total: int = 0

    def update(self, values: Any) -> Any:
        return replace(self, total=self.total + int(np.sum(values)))

    def merge(self, other: Any) -> Any:
        return replace(self, total=self.total + other.total)


class ForgetsOneStream(Total):
    def merge(self, other: Any) -> Any:
        return self


class DependsOnOrder(Total):
    def merge(self, other: Any) -> Any:
        return replace(self, total=2 * self.total + other.total)


class AddsOnMerge(Total):
    """Right for one pass of its own, but an empty one is not nothing."""

    def merge(self, other: Any) -> Any:
        return replace(self, total=max(self.total, other.total))


@dataclass
class Thawed:
    total: int = 0

    def update(self, values: Any) -> Any:
        return replace(self, total=self.total + int(np.sum(values)))

    def merge(self, other: Any) -> Any:
        return replace(self, total=self.total + other.total)


@dataclass(frozen=True)
class HoldsASet:
    """State that JSON turns into something else."""

    seen: frozenset[int] = frozenset()

    def update(self, values: Any) -> Any:
        return replace(self, seen=self.seen | set(np.asarray(values).tolist()))

    def merge(self, other: Any) -> Any:
        return replace(self, seen=self.seen | other.seen)


@dataclass(frozen=True)
class HoldsBytes:
    """State that JSON cannot hold at all."""

    seen: bytes = b""

    def update(self, values: Any) -> Any:
        return replace(self, seen=bytes(sorted(self.seen + bytes(np.asarray(values, dtype=np.uint8).tolist()))))

    def merge(self, other: Any) -> Any:
        return replace(self, seen=bytes(sorted(self.seen + other.seen)))


@dataclass(frozen=True)
class HoldsAFunction:
    """State that pickle cannot hold."""

    total: int = 0
    scale: Any = field(default_factory=lambda: lambda value: value)

    def update(self, values: Any) -> Any:
        return replace(self, total=self.total + int(np.sum(values)))

    def merge(self, other: Any) -> Any:
        return replace(self, total=self.total + other.total)


@dataclass(frozen=True)
class MutatesItself:
    """Frozen on the outside, but its state is a dict that an update changes in place."""

    state: dict[str, int] = field(default_factory=lambda: {"total": 0})

    def update(self, values: Any) -> Any:
        self.state["total"] += int(np.sum(values))
        return self

    def merge(self, other: Any) -> Any:
        self.state["total"] += other.state["total"]
        return self


class DependsOnTheProcess(Total):
    def update(self, values: Any) -> Any:
        return replace(self, total=self.total + sum(hash(str(value)) for value in np.asarray(values).tolist()))


PARTS = [np.array([1, 2]), np.array([3]), np.array([4, 5])]


def test_a_sound_statistic_keeps_the_laws() -> None:
    testing.check_statistic(Total(), PARTS)


@pytest.mark.parametrize(
    ("empty", "law"),
    [
        (ForgetsOneStream(), "merging in any order equals one pass"),
        (DependsOnOrder(), "merging in any order equals one pass"),
        (AddsOnMerge(), "merging in any order equals one pass"),
        (Total(total=7), "merging in any order equals one pass"),
        (Thawed(), "Thawed is not frozen"),
        (HoldsASet(), "JSON"),
        (HoldsBytes(), "JSON"),
        (HoldsAFunction(), "pickling"),
        (MutatesItself(), "."),
        (DependsOnTheProcess(), "another process gives another result"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_a_broken_statistic_breaks_a_law(empty: testing.Mergeable, law: str) -> None:
    with pytest.raises(AssertionError, match=law):
        testing.check_statistic(empty, PARTS)


def test_an_empty_statistic_that_changes_something_breaks_a_law() -> None:
    with pytest.raises(AssertionError, match="the empty statistic changes nothing"):
        testing.check_statistic(Total(total=7), [])


def test_a_value_that_is_no_dataclass_or_loses_itself_in_pickling_breaks_a_law() -> None:
    with pytest.raises(AssertionError, match="is not a dataclass"):
        testing.check_frozen(object())

    with pytest.raises(AssertionError, match="a value equals itself after pickling"):
        testing.check_frozen(NeverEqual(1))


@dataclass(frozen=True, eq=False)
class NeverEqual:
    number: int


SOUND = KeepBestWithinCells.fit(batch(), cells=CELLS, score="score", share=0.5)


@dataclass(frozen=True)
class Judge:
    """A sound filter; the broken ones differ from it in one thing."""

    version: int = 1

    @property
    def spec(self) -> Any:
        return SOUND.spec

    def __call__(self, rows: Any) -> Any:
        return SOUND(rows)


class DropsBadRows(Judge):
    def __call__(self, rows: Any) -> Any:
        verdicts = SOUND(rows)
        return verdicts.filter(verdicts.column("keep"))


class GivesNoReason(Judge):
    def __call__(self, rows: Any) -> Any:
        return SOUND(rows).select(["keep", "score"])


class KeepsByNumber(Judge):
    def __call__(self, rows: Any) -> Any:
        verdicts = SOUND(rows)
        return pa.record_batch({"keep": verdicts["keep"].cast(pa.int8()), "reason": verdicts["reason"]})


class LeavesRowsOpen(Judge):
    def __call__(self, rows: Any) -> Any:
        keep = pa.array([None] * rows.num_rows, pa.bool_())
        return pa.record_batch({"keep": keep, "reason": SOUND(rows)["reason"]})


class JudgesTheBatch(Judge):
    def __call__(self, rows: Any) -> Any:
        best = KeepBestWithinCells.fit(rows, cells=CELLS, score="score", share=0.5)
        return best(rows)


@dataclass(frozen=True)
class NewSpecEveryTime(Judge):
    @property
    def spec(self) -> Any:
        return replace(SOUND.spec, name=str(id(self)))


@dataclass
class ThawedJudge:
    version: int = 1

    @property
    def spec(self) -> Any:
        return SOUND.spec

    def __call__(self, rows: Any) -> Any:
        return SOUND(rows)


@dataclass(unsafe_hash=True)
class ThawedButHashable(ThawedJudge):
    pass


@dataclass(frozen=True)
class Unhashable(Judge):
    thresholds: list[float] = field(default_factory=list)


def test_a_sound_filter_keeps_the_laws() -> None:
    testing.check_filter(Judge(), batch())


@pytest.mark.parametrize(
    ("subject", "law"),
    [
        (DropsBadRows(), "a filter never drops rows"),
        (GivesNoReason(), "verdicts have keep and reason"),
        (KeepsByNumber(), "keep is a bool"),
        (LeavesRowsOpen(), "every row has a verdict"),
        (JudgesTheBatch(), "a row's verdict does not depend on its batch"),
        (NewSpecEveryTime(), "the spec survives pickling"),
        (ThawedButHashable(), "ThawedButHashable is not frozen"),
        (ThawedJudge(), "frozen|hashable"),
        (Unhashable(), "a filter is hashable"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_a_broken_filter_breaks_a_law(subject: Filter, law: str) -> None:
    with pytest.raises(AssertionError, match=law):
        testing.check_filter(subject, batch())


def test_a_filter_that_writes_into_its_rows_breaks_a_law() -> None:
    lengths = np.array(SCORES)

    @dataclass(frozen=True)
    class WritesBack(Judge):
        def __call__(self, rows: Any) -> Any:
            lengths[-1] += 1  # the batch shares this memory
            return SOUND(rows)

    rows = pa.record_batch({"label": pa.array(LABELS), "score": pa.array(SCORES), "length": pa.array(lengths)})
    with pytest.raises(AssertionError, match="a filter leaves the rows as they were"):
        testing.check_filter(WritesBack(), rows)
