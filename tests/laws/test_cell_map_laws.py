"""Every registered cell map keeps the laws; every law catches a map that breaks it."""

from __future__ import annotations

import io
import wave
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collapse_guard import testing
from collapse_guard.cells import CELL_MAPS, CellMap, LabelCells, cells_from_state, fit_cells
from collapse_guard.cells.contract import state_of
from collapse_guard.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

CELL_MAP_NAMES = [name for name, _ in CELL_MAPS.items()]
RNG = np.random.default_rng(20_240_601)


def text_lengths(rows: pa.Table) -> NDArray[np.float64]:
    """Two numbers per row: an embedding that tests can name."""
    lengths = [len(text or "") for text in rows.column("text").to_pylist()]
    return np.array([[length, length % 3] for length in lengths], dtype=np.float64)


def parity(rows: pa.Table) -> NDArray[np.int64]:
    """Odd or even, -1 for null."""
    return np.array([-1 if value is None else value % 2 for value in rows.column("n").to_pylist()])


def tone(frequency: float, *, rate: int = 8000) -> bytes:
    """A WAV file of a quarter of a second."""
    samples = np.sin(2 * np.pi * frequency * np.arange(rate // 4) / rate) * 20_000
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(rate)
        sound.writeframes(samples.astype("<i2").tobytes())
    return file.getvalue()


TEXTS = ["the cat sat", "the cat ran", "a dog", None, "", "the dog sat on the cat", "Über Äpfel, über"]

#: (real rows, later rows, what the kind is declared with); a new kind is added here, or its conformance test fails.
EXAMPLES: dict[str, Callable[[], tuple[pa.Table, pa.Table, dict[str, Any]]]] = {
    "labels": lambda: (
        pa.table({"label": ["cat", "dog", None, "emu", "dog", ""]}),
        pa.table({"label": ["emu", "never seen", None]}),
        {"column": "label"},
    ),
    "ngrams": lambda: (
        pa.table({"text": pa.array(TEXTS)}),
        pa.table({"text": ["the cat", "cat the", None]}),
        {"column": "text", "size": 2, "n_buckets": 64, "first_words": 5},
    ),
    "tokens": lambda: (
        pa.table({"ids": [[1, 1, 1, 1, 2], [1, 1, 3, None], [], None, [1, 2, 2]]}),
        pa.table({"ids": [[1], [99], [2, 3, 1], None]}),
        {"column": "ids", "n_buckets": 3, "seed": 5},
    ),
    "clusters": lambda: (
        pa.table({"text": [text or "" for text in TEXTS * 4] + ["x" * n for n in range(12)]}),
        pa.table({"text": ["y" * 500, "abc", ""]}),
        {"column": "text", "embed": text_lengths, "n_cells": 3, "seed": 1, "outlier_share": 0.1},
    ),
    "images": lambda: (
        pa.table({"image": RNG.integers(0, 256, (24, 16)).tolist()}),
        pa.table({"image": [[0] * 16, [1, 2, 3], None]}),
        {"column": "image", "n_cells": 2, "seed": 0, "outlier_share": 0.1},
    ),
    "audio": lambda: (
        pa.table({"wav": [tone(200 + 7 * n) for n in range(12)] + [tone(2000 + 7 * n) for n in range(12)]}),
        pa.table({"wav": [tone(210), b"broken", None]}),
        {"column": "wav", "n_cells": 2, "seed": 0, "outlier_share": 0.1},
    ),
    "bins": lambda: (
        pa.table({"age": [20, 31, None, 47, 52, 60], "sex": ["f", "m", "f", None, "f", "x"]}),
        pa.table({"age": [-5.0, 1e9, None], "sex": ["f", "never seen", None]}),
        {"columns": ["age", "sex"], "n_bins": 3, "max_categories": 2},
    ),
    "callable": lambda: (
        pa.table({"n": [1, 2, 3, None]}),
        pa.table({"n": [7, None]}),
        {"function": parity, "names": ["even", "odd"]},
    ),
}


@pytest.mark.parametrize("name", CELL_MAP_NAMES)
def test_every_registered_cell_map_keeps_the_laws(name: str) -> None:
    assert name in EXAMPLES, f"add an example of the cell map {name!r} to EXAMPLES"
    real, later, declared = EXAMPLES[name]()
    fitted = fit_cells(name, real, **declared)
    assert isinstance(fitted, CellMap)
    assert isinstance(fitted, CELL_MAPS.get(name))
    assert fitted.state()["kind"] == name
    testing.check_cell_map(fitted, real)
    testing.check_cell_map(fitted, later)
    assert (fitted.cells(real) >= 0).any()
    as_batch = real.combine_chunks().to_batches()[0]
    assert fit_cells(name, as_batch, **declared) == fitted, "tables and batches are fitted alike"


def test_every_example_is_registered() -> None:
    assert sorted(EXAMPLES) == CELL_MAP_NAMES


@pytest.mark.parametrize("name", CELL_MAP_NAMES)
@settings(max_examples=8, derandomize=True, deadline=None)
@given(data=st.data())
def test_the_order_of_real_rows_changes_no_map(name: str, data: st.DataObject) -> None:
    real, _, declared = EXAMPLES[name]()
    order = data.draw(st.permutations(range(real.num_rows)))
    assert fit_cells(name, real.take(pa.array(order)), **declared) == fit_cells(name, real, **declared)


# --- maps that break one law each, so that a law that cannot fail is noticed

CELLS = LabelCells("label", ("cat", "dog"))
LABELS = pa.table({"label": ["cat", "dog", None, "emu", "dog", "cat", "cat", ""]})


@dataclass(frozen=True)
class Cells:
    """A sound cell map; the broken ones differ from it in one thing."""

    column: str = "label"
    names: tuple[str, ...] = ("cat", "dog")

    @classmethod
    def from_state(cls, state: Any) -> Self:
        return cls(state["column"], tuple(state["names"]))

    @property
    def n_cells(self) -> int:
        return 2

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.column,)

    @property
    def digest(self) -> str:
        return "sha256:0"

    def state(self) -> dict[str, Any]:
        return state_of(type(self).__name__, column=self.column, names=list(self.names))

    def cells(self, rows: Any) -> NDArray[np.int64]:
        return CELLS.cells(rows)


class NarrowCells(Cells):
    def cells(self, rows: Any) -> Any:
        return CELLS.cells(rows).astype(np.int32)


class DropsRows(Cells):
    def cells(self, rows: Any) -> NDArray[np.int64]:
        found = CELLS.cells(rows)
        return found[found >= 0]


class OutOfRange(Cells):
    def cells(self, rows: Any) -> NDArray[np.int64]:
        return CELLS.cells(rows) + 1


class DependsOnBatch(Cells):
    def cells(self, rows: Any) -> NDArray[np.int64]:
        return np.where(np.arange(rows.num_rows) > 0, CELLS.cells(rows), -1)


class DependsOnTheSizeOfABatch(Cells):
    """Right row by row and for the whole, wrong for three rows at a time."""

    def cells(self, rows: Any) -> NDArray[np.int64]:
        return np.full(3, -1) if rows.num_rows == 3 else CELLS.cells(rows)


class NeedsRows(Cells):
    def cells(self, rows: Any) -> NDArray[np.int64]:
        return CELLS.cells(rows) if rows.num_rows else np.zeros(1, dtype=np.int64)


class ReturnsAList(Cells):
    def cells(self, rows: Any) -> Any:
        return CELLS.cells(rows).tolist()


class NewDigestEveryTime(Cells):
    @property
    def digest(self) -> str:
        return f"sha256:{id(self)}"


class HoldsATuple(Cells):
    def state(self) -> dict[str, Any]:
        return super().state() | {"names": self.names}


class HoldsBytes(Cells):
    def state(self) -> dict[str, Any]:
        return super().state() | {"names": b"cat"}


class ForgetsItsColumn(Cells):
    @classmethod
    def from_state(cls, state: Any) -> Self:
        return cls("another", tuple(state["names"]))


class DependsOnTheProcess(Cells):
    def cells(self, rows: Any) -> NDArray[np.int64]:
        labels = rows.column("label").to_pylist()
        return np.array([hash(label) % 2 for label in labels], dtype=np.int64)


class DigestOfTheProcess(Cells):
    @property
    def digest(self) -> str:
        return f"sha256:{hash('label')}"


@dataclass
class ThawedCells:
    column: str = "label"
    names: tuple[str, ...] = ("cat", "dog")
    columns: tuple[str, ...] = ("label",)
    n_cells: int = 2
    digest: str = "sha256:0"

    def state(self) -> dict[str, Any]:
        return {}

    def cells(self, rows: Any) -> NDArray[np.int64]:
        return CELLS.cells(rows)


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], None]:
    """Register a map by the name of its class, for one test."""

    def register(cells: Any) -> None:
        monkeypatch.setitem(CELL_MAPS._known, type(cells).__name__, type(cells))

    return register


def test_a_sound_cell_map_keeps_the_laws(registered: Callable[[Any], None]) -> None:
    registered(Cells())
    testing.check_cell_map(Cells(), LABELS)


@pytest.mark.parametrize(
    ("cells", "law"),
    [
        (NarrowCells(), "cells are int64, got int32"),
        (DropsRows(), "one cell per row"),
        (OutOfRange(), "cells lie in"),
        (DependsOnBatch(), "a row's cell does not depend on its batch"),
        (DependsOnTheSizeOfABatch(), "a row's cell does not depend on its batch"),
        (NeedsRows(), "no rows have no cells"),
        (Cells(names=("cat",)), "one name per cell"),
        (Cells(names=("cat", "cat")), "no two cells have one name"),
        (Cells(column="text"), "the columns of the map are in the rows"),
        (NewDigestEveryTime(), "the digest survives pickling"),
        (ThawedCells(), "ThawedCells is not frozen"),
        (ReturnsAList(), "cells are int64"),
        (HoldsATuple(), "a state equals itself after a trip through JSON"),
        (HoldsBytes(), "a state is plain JSON"),
        (ForgetsItsColumn(), "a map equals itself after a trip through JSON"),
        (DigestOfTheProcess(), "another process gives another result"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_a_broken_cell_map_breaks_a_law(cells: CellMap, law: str, registered: Callable[[Any], None]) -> None:
    registered(cells)
    with pytest.raises(AssertionError, match=law):
        testing.check_cell_map(cells, LABELS)


def test_a_map_that_leans_on_the_hash_seed_breaks_a_law(registered: Callable[[Any], None]) -> None:
    registered(DependsOnTheProcess())
    many = pa.table({"label": [f"label {number}" for number in range(80)]})  # by chance equal: once in 2 ** 80
    with pytest.raises(AssertionError, match="another process gives another result"):
        testing.check_cell_map(DependsOnTheProcess(), many)


def test_a_map_of_an_unknown_kind_does_not_come_back() -> None:
    with pytest.raises(AssertionError, match=r"a map comes back from its state: .*unknown kind 'Cells'"):
        testing.check_cell_map(Cells(), LABELS)


def test_what_another_process_cannot_do_is_said() -> None:
    with pytest.raises(AssertionError, match=r"another process cannot do len: TypeError: object of type 'int'"):
        testing.check_across_processes(len, 3)
    testing.check_across_processes(len, "the worker is still there")


def test_what_the_other_process_prints_does_not_disturb_it() -> None:
    testing.check_across_processes(print, "to standard error")


@pytest.mark.parametrize("name", CELL_MAP_NAMES)
@settings(max_examples=25, derandomize=True, deadline=None)
@given(data=st.data())
def test_a_damaged_state_is_one_clear_error_or_a_map(name: str, data: st.DataObject) -> None:
    real, _, declared = EXAMPLES[name]()
    state = fit_cells(name, real, **declared).state()
    key = data.draw(st.sampled_from(sorted(state)))
    junk = st.one_of(
        st.none(), st.booleans(), st.integers(-3, 3), st.floats(), st.text(max_size=3), st.lists(st.integers(-3, 3)),
        st.lists(st.text(max_size=2)), st.dictionaries(st.text(max_size=3), st.integers()), st.just([[]]),
    )  # fmt: skip
    damaged = data.draw(
        st.sampled_from([{**state, key: data.draw(junk)}, {k: v for k, v in state.items() if k != key}])
    )
    try:
        rebuilt = cells_from_state(damaged, allow_code=True)
    except InputError as error:
        message = str(error)
    else:
        assert cells_from_state(rebuilt.state(), allow_code=True) == rebuilt
        message = ""
    assert "\n" not in message
