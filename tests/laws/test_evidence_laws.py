"""Every evidence keeps the laws, found by its name; every law catches an evidence that breaks it."""

from __future__ import annotations

import importlib
import inspect
import math
import pkgutil
from dataclasses import dataclass, replace
from typing import Any, ClassVar, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collapse_guard import stats, testing
from collapse_guard.stats import (
    ClaimedEvidence,
    ClassEvidence,
    FixedSetEvidence,
    ReferenceRows,
    ScoreEvidence,
    TailEvidence,
)

EXACT = ReferenceRows.of([900, 60, 0, 40], n_unclaimed_rows=20)
SAMPLED = ReferenceRows.of(
    [900, 60, 0, 40],
    n_unclaimed_rows=20,
    error=0.001,
    min_alone_rows=50,
    max_alone=2,
    false_shares=[0.0, 0.006, 0.0, 0.016],
    enough=[0.9, 0.05, 0.0, 0.04],
    guarded=(0, 1, 3),
)
FIXED: dict[str, Any] = {"tail_mass": 0.1, "max_mass_drop": 0.1, "max_class_drop": 0.5, "alpha": 0.01}
COVERAGE: dict[str, Any] = {"tail_mass": 0.1, "max_mass_drop": 0.1, "max_coverage_drop": 0.5, "planned_looks": 3}

COUNTS = st.lists(st.one_of(st.integers(0, 40), st.integers(0, 2_000)), min_size=4, max_size=4).filter(any)
LOOK_OF_ROWS = st.tuples(COUNTS, st.integers(0, 500))
LOOK_OF_FEW_ROWS = st.tuples(st.lists(st.integers(0, 9), min_size=4, max_size=4).filter(any), st.integers(0, 5))
LOOK_OF_SHARES = st.integers(1, 5_000).flatmap(lambda n_rows: st.tuples(st.just(n_rows), st.integers(0, n_rows)))
LOOK_OF_SCORES = st.lists(st.floats(0, 1), min_size=1, max_size=20).map(np.array)


def with_rows(evidence: Any, look: tuple[list[int], int]) -> Any:
    return evidence.update(look[0], n_unclaimed_rows=look[1])


def with_unclaimed(evidence: Any, look: tuple[int, int]) -> Any:
    return evidence.update(look[0], n_unclaimed_rows=look[1])


def with_scores(evidence: Any, look: Any) -> Any:
    return evidence.update(look)


#: (starts, what a look is, how it is folded); a new evidence is added here, or its conformance test fails.
EXAMPLES: dict[str, tuple[list[Any], Any, Any]] = {
    "ClaimedEvidence": (
        [ClaimedEvidence.start(reference, max_rise=0.1, planned_looks=3) for reference in (EXACT, SAMPLED)],
        LOOK_OF_SHARES,
        with_unclaimed,
    ),
    "ClassEvidence": (
        [ClassEvidence.start(reference, max_class_drop=0.5, planned_looks=3) for reference in (EXACT, SAMPLED)],
        LOOK_OF_ROWS,
        with_rows,
    ),
    "FixedSetEvidence": (
        [
            FixedSetEvidence.start(EXACT, **FIXED),
            FixedSetEvidence.start(SAMPLED, **FIXED),
            FixedSetEvidence.start(EXACT, **FIXED, baseline="peak", tail=(1, 3)),
        ],
        LOOK_OF_FEW_ROWS,  # the bounds of a peak are found by bisection
        with_rows,
    ),
    "ScoreEvidence": (
        [ScoreEvidence.start(0.4, max_drop=0.1, planned_looks=3)],
        LOOK_OF_SCORES,
        with_scores,
    ),
    "TailEvidence": (
        [TailEvidence.start(EXACT, **COVERAGE), TailEvidence.start(SAMPLED, **COVERAGE, tail=(1, 3))],
        LOOK_OF_ROWS,
        with_rows,
    ),
}


def evidence_classes() -> dict[str, type[Any]]:
    """Classes of the room whose name says that they are evidence."""
    modules = [
        importlib.import_module(f"collapse_guard.stats.{each.name}") for each in pkgutil.iter_modules(stats.__path__)
    ]
    return {
        name: kind
        for module in modules
        for name, kind in inspect.getmembers(module, inspect.isclass)
        if name.endswith("Evidence") and kind.__module__ == module.__name__
    }


EVIDENCE_CLASSES = evidence_classes()


def test_the_room_holds_the_evidence_that_is_shipped() -> None:
    assert set(EVIDENCE_CLASSES) >= {"ClaimedEvidence", "ClassEvidence", "FixedSetEvidence", "TailEvidence"}
    assert set(EXAMPLES) <= set(EVIDENCE_CLASSES)


@pytest.mark.parametrize("name", sorted(EVIDENCE_CLASSES))
@settings(max_examples=6, derandomize=True, deadline=None)
@given(data=st.data())
def test_every_evidence_keeps_the_laws(name: str, data: st.DataObject) -> None:
    assert name in EXAMPLES, f"add an example of {name} to EXAMPLES"
    assert getattr(stats, name) is EVIDENCE_CLASSES[name]
    starts, look, update = EXAMPLES[name]
    looks = data.draw(st.lists(look, min_size=2, max_size=3))
    for start in starts:
        assert isinstance(start, EVIDENCE_CLASSES[name])
        testing.check_evidence(start, looks, update=update)


# --- evidence that breaks one law each, so that a law that cannot fail is noticed


class Found(NamedTuple):
    log_e: float
    n_looks: int


@dataclass(frozen=True)
class Sum:
    """Sound evidence; the broken ones differ from it in one thing."""

    scale: float = 2.0
    n_looks: int = 0
    totals: tuple[float, ...] = ()

    def update(self, look: Any) -> Any:
        before = self.totals or (0.0, 0.0)
        totals = tuple(self.scale * total + float(value) for total, value in zip(before, look, strict=True))
        return replace(self, n_looks=self.n_looks + 1, totals=totals)

    def sizes(self) -> dict[str, int]:
        return {"totals": 2}

    def compute(self) -> Found:
        return Found(sum(self.totals) if self.n_looks else -math.inf, self.n_looks)


class StartsWithEvidence(Sum):
    def compute(self) -> Found:
        return Found(sum(self.totals), self.n_looks)


class CountsNoLooks(Sum):
    def update(self, look: Any) -> Any:
        return replace(super().update(look), n_looks=1)


class ReportsOtherLooks(Sum):
    def compute(self) -> Found:
        return super().compute()._replace(n_looks=0)


@dataclass(frozen=True)
class RemembersInPlace(Sum):
    """An update writes into a list that its subject holds as well."""

    totals: Any = ()

    def update(self, look: Any) -> Any:
        totals = self.totals if isinstance(self.totals, list) else [0.0, 0.0]
        totals[0] += float(look[0])
        return replace(self, n_looks=self.n_looks + 1, totals=totals)


class WritesIntoTheLook(Sum):
    def update(self, look: Any) -> Any:
        after = super().update(look)
        look[0] = 0.0
        return after


@dataclass
class Thawed:
    n_looks: int = 0

    def update(self, look: Any) -> Any:
        return replace(self, n_looks=self.n_looks + 1)

    def sizes(self) -> dict[str, int]:
        return {}

    def compute(self) -> Found:
        return Found(-math.inf, self.n_looks)


@dataclass(frozen=True, eq=False)
class HidesItsState(Sum):
    """What the last look left is in no field, and no checkpoint holds it."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, HidesItsState) and (self.n_looks, self.totals) == (other.n_looks, other.totals)

    def __hash__(self) -> int:
        return hash(self.totals)

    def update(self, look: Any) -> Any:
        hidden = self.__dict__.get("hidden", 0.0)
        after = super().update([value + hidden for value in look])
        after.__dict__["hidden"] = float(look[0])
        return after


class LosesALook(Sum):
    """The state is whole, and what it says of its own size is not."""

    def sizes(self) -> dict[str, int]:
        return {"totals": 3}


@dataclass(frozen=True)
class KeepsWhatItSaw(Sum):
    """A look leaves something that no checkpoint holds."""

    last: float = 0.0

    def update(self, look: Any) -> Any:
        return replace(super().update(look), last=math.inf)


@dataclass(frozen=True)
class HoldsASet(Sum):
    seen: frozenset[float] = frozenset()

    def update(self, look: Any) -> Any:
        return replace(super().update(look), seen=self.seen | {float(look[0])})


class DependsOnTheProcess(Sum):
    def update(self, look: Any) -> Any:
        return super().update([hash(str(value)) % 97 for value in look])


@dataclass(frozen=True)
class DependsOnTheCall(Sum):
    """Two updates with one look differ."""

    calls: ClassVar[list[int]] = []

    def update(self, look: Any) -> Any:
        self.calls.append(1)
        return super().update([value + len(self.calls) for value in look])


def two_looks() -> list[list[float]]:
    return [[1.0, 2.0], [3.0, 5.0]]


def test_sound_evidence_keeps_the_laws() -> None:
    testing.check_evidence(Sum(), two_looks())


@pytest.mark.parametrize(
    ("evidence", "law"),
    [
        (Sum(n_looks=1, totals=(1.0, 1.0)), "evidence starts before any look"),
        (StartsWithEvidence(), "before the first look there is no evidence"),
        (CountsNoLooks(), "2 looks are counted"),
        (ReportsOtherLooks(), "2 looks are counted"),
        (RemembersInPlace(), "an update leaves its subject as it was"),
        (WritesIntoTheLook(), "an update leaves its look as it was"),
        (Thawed(), "Thawed is not frozen"),
        (HoldsASet(), "equals itself after a JSON round trip"),
        (KeepsWhatItSaw(), "what looks leave is plain JSON"),
        (LosesALook(), "evidence takes back what looks left in it: totals has 2 entries after 1 looks, expected 3"),
        (HidesItsState(), "evidence goes on from a file as if it had never stopped"),
        (DependsOnTheCall(), "evidence equals itself|evidence goes on"),
        (DependsOnTheProcess(), "another process gives another result"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_broken_evidence_breaks_a_law(evidence: Any, law: str) -> None:
    with pytest.raises(AssertionError, match=law):
        testing.check_evidence(evidence, two_looks())
