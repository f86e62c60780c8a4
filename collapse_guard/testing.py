"""Laws that a filter, a cell map, a statistic or a rule must keep; used by our tests and by plug-in authors.

Each function raises AssertionError that names the law, and returns nothing.
"""

from __future__ import annotations

import json
import pickle
from dataclasses import FrozenInstanceError, asdict, fields, is_dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Sequence

    from collapse_guard.cells import CellMap
    from collapse_guard.filters import Filter


class Mergeable(Protocol):
    """What every statistic can do."""

    def update(self, values: Any) -> Any:
        """Return the statistic after ``values``."""

    def merge(self, other: Any) -> Any:
        """Return the statistic of both streams."""


def check_frozen(value: Any) -> None:
    """A value cannot be changed, survives pickling, and its state is plain enough for JSON."""
    assert is_dataclass(value), f"{type(value).__name__} is not a dataclass"
    first = fields(value)[0].name
    try:
        setattr(value, first, getattr(value, first))
    except (FrozenInstanceError, AttributeError):
        pass
    else:
        raise AssertionError(f"{type(value).__name__} is not frozen")
    assert _repickled(value) == value, "a value equals itself after pickling"


def check_json_state(value: Any) -> None:
    """``asdict`` of a statistic survives JSON."""
    state = json.loads(json.dumps(asdict(value), default=list))
    rebuilt = type(value)(**{name: _tuples(item) for name, item in state.items()})
    assert rebuilt == value, "a statistic equals itself after a JSON round trip"


def check_statistic(empty: Mergeable, parts: Sequence[Any]) -> None:
    """Merging in any order equals one pass; the empty statistic changes nothing."""
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


def check_cell_map(cells: CellMap, rows: pa.Table) -> None:
    """Cells lie in [-1, n_cells), row by row, whatever the batches; the digest is stable; the map is frozen."""
    found = cells.cells(rows)
    kind = getattr(found, "dtype", type(found).__name__)
    assert kind == np.int64, f"cells are int64, got {kind}"
    assert found.shape == (rows.num_rows,), f"one cell per row, got {found.shape} for {rows.num_rows} rows"
    assert ((found >= -1) & (found < cells.n_cells)).all(), "cells lie in [-1, n_cells)"
    single = [int(cells.cells(rows.slice(row, 1))[0]) for row in range(rows.num_rows)]
    assert single == found.tolist(), "a row's cell does not depend on its batch"
    assert len(cells.names) == cells.n_cells, "one name per cell"
    check_frozen(cells)
    assert _repickled(cells).digest == cells.digest, "the digest survives pickling"


def check_filter(subject: Filter, rows: pa.RecordBatch) -> None:
    """One verdict per row, in order, whatever the batches; rows stay; the filter is frozen and hashable."""
    before = rows.to_pylist()
    verdicts = subject(rows)
    assert verdicts.num_rows == rows.num_rows, "a filter never drops rows"
    assert {"keep", "reason"} <= set(verdicts.schema.names), "verdicts have keep and reason"
    assert verdicts.column("keep").type == pa.bool_(), "keep is a bool"
    assert verdicts.column("keep").null_count == 0, "every row has a verdict"
    single = [subject(rows.slice(row, 1)).to_pylist()[0] for row in range(rows.num_rows)]
    assert single == verdicts.to_pylist(), "a row's verdict does not depend on its batch"
    assert rows.to_pylist() == before, "a filter leaves the rows as they were"
    check_frozen(subject)
    try:
        hash(subject)
    except TypeError as error:
        raise AssertionError("a filter is hashable") from error
    assert subject.spec.spec_id == _repickled(subject).spec.spec_id, "the spec survives pickling"


def _repickled(value: Any) -> Any:
    try:
        return pickle.loads(pickle.dumps(value))  # noqa: S301 - our own bytes
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise AssertionError(f"a value equals itself after pickling; {type(value).__name__} cannot be") from error


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value
