"""Laws of a filter: one verdict per row, whatever the batches."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from collapse_guard.testing.values import check_frozen, repickled

if TYPE_CHECKING:
    from collapse_guard.filters import Filter


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
    assert subject.spec.spec_id == repickled(subject).spec.spec_id, "the spec survives pickling"
