"""What the tags of a dataset say, and whether they can be trusted: missing and null tags are unknown rows."""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
import pyarrow.compute as pc
from datasets import Dataset, DatasetDict, IterableDataset, IterableDatasetDict

from collapse_guard.curate import ARROW_TYPES
from collapse_guard.errors import InputError, ProvenanceError
from collapse_guard.integrations.hugging_face.tag_report import TagReport, tag_report
from collapse_guard.integrations.hugging_face.tags import arrow_rows, mapped_as_arrow
from collapse_guard.policy import Policy
from collapse_guard.records import (
    DATE,
    EVIDENCE,
    GENERATION,
    ORIGIN,
    PROVENANCE_COLUMNS,
    UNKNOWN_DATE,
    UNKNOWN_GENERATION,
    Evidence,
    Origin,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from os import PathLike

    from collapse_guard.integrations.hugging_face.tags import AnyDataset

_PREFIX: Final = "cg_"
#: Rows of a stream that are looked at if nothing is said: it may have no end to wait for.
_PEEKED_ROWS: Final = 1000
_KINDS: Final = list(ARROW_TYPES.items())
#: What a null means, column by column; a row without a source, a generator or an id has none.
_UNKNOWN: Final[Mapping[str, int]] = {
    ORIGIN: Origin.UNKNOWN,
    EVIDENCE: Evidence.NONE,
    GENERATION: UNKNOWN_GENERATION,
    DATE: UNKNOWN_DATE,
}


def validate(
    dataset: Dataset | DatasetDict | IterableDataset | IterableDatasetDict,
    policy: Policy | Mapping[str, Any] | str | PathLike[str],
    *,
    sample: int | None = None,
) -> TagReport:
    """Return what is wrong with the tags of a dataset; nothing is changed, and only the tags are read.

    Args:
        dataset: any of the four kinds; for splits the report is their sum, and ``splits`` holds one for each.
        policy: a Policy, a mapping, or the path of a YAML file; it says how deep generations may be.
        sample: look at the first so many rows; all rows, or 1000 of a stream, if left out.

    Raises InputError for a sample below 1 and for anything but a dataset.

    >>> report = validate(Dataset.from_dict({"text": ["a", "b"]}), {"version": 1})
    >>> report.ok, report.unknown
    (False, 2)
    """
    rules = Policy.coerce(policy)
    if sample is not None and sample < 1:
        raise InputError(f"sample must be 1 row or more, got {sample}")
    if isinstance(dataset, (DatasetDict, IterableDatasetDict)):
        return TagReport.of_splits({str(name): _validated(part, rules, sample) for name, part in dataset.items()})
    return _validated(dataset, rules, sample)


def strip(dataset: AnyDataset) -> AnyDataset:
    """Return ``dataset`` without the columns whose name begins with ``cg_``; the kind stays what it was.

    Raises InputError for anything but a dataset.

    >>> from collapse_guard.integrations.hugging_face.tags import tag
    >>> strip(tag(Dataset.from_dict({"text": ["a"]}), origin="real", source="web")).column_names
    ['text']
    """
    if isinstance(dataset, (DatasetDict, IterableDatasetDict)):
        return type(dataset)({name: strip(part) for name, part in dataset.items()})
    if isinstance(dataset, Dataset):
        return dataset.remove_columns([name for name in dataset.column_names if name.startswith(_PREFIX)])
    if not isinstance(dataset, IterableDataset):
        raise InputError(f"strip takes a dataset of the `datasets` library, got {type(dataset).__name__}")
    if dataset.column_names is not None:
        return dataset.select_columns([name for name in dataset.column_names if not name.startswith(_PREFIX)])
    return mapped_as_arrow(dataset, _without_tags, None)


def provenance_table(dataset: Dataset) -> pa.Table:
    """Return the provenance columns of a dataset in the order in which it shows its rows, shape (rows, 7).

    No content is read, whatever the order of the rows. Tags that are missing or null are those of an unknown row:
    origin 0, evidence 0, generation 255, date 65535, no source, generator and id.

    Raises InputError for anything but a Dataset, ProvenanceError for tags that their column cannot hold.

    >>> provenance_table(Dataset.from_dict({"text": ["a"]})).to_pylist()[0]["cg_generation"]
    255
    """
    if not isinstance(dataset, Dataset):
        text = f"provenance_table takes a datasets.Dataset, got {type(dataset).__name__}"
        raise InputError(f"{text}; name a split, or use validate for streams")
    there, n_rows = tag_columns(dataset), len(dataset)
    columns = [_known(name, there[name] if name in there else pa.nulls(n_rows, kind)) for name, kind in _KINDS]
    return pa.table(columns, schema=pa.schema(_KINDS))


def _known(name: str, column: pa.ChunkedArray | pa.Array) -> pa.ChunkedArray:
    """Return a column in its type, nulls as what they mean."""
    try:
        column = column.cast(ARROW_TYPES[name])
    except (pa.ArrowException, ValueError) as error:
        reason = str(error).splitlines()[0][:120]
        text = f"{name} is {column.type} and does not fit {ARROW_TYPES[name]} ({reason})"
        raise ProvenanceError(f"{text}; tag the rows again with overwrite=True") from None
    return pc.fill_null(column, _UNKNOWN[name]) if name in _UNKNOWN else column


def tag_columns(dataset: Dataset) -> dict[str, pa.ChunkedArray]:
    """Return the provenance columns that are there, as they are, in the order in which a dataset shows its rows."""
    names = [name for name in PROVENANCE_COLUMNS if name in dataset.column_names]
    if not names or len(dataset) == 0:
        return {name: pa.chunked_array([], dataset.features[name].pa_type) for name in names}
    shown = arrow_rows(dataset.with_format(None), names)
    return {name: shown.column(name) for name in names}


def _validated(dataset: Any, policy: Policy, sample: int | None) -> TagReport:
    """Return the report of one dataset without splits."""
    if isinstance(dataset, Dataset):
        n_rows = len(dataset) if sample is None else min(sample, len(dataset))
        columns = tag_columns(dataset if n_rows == len(dataset) else dataset.select(range(n_rows)))
        return tag_report(columns, n_rows, policy, complete=n_rows == len(dataset))
    if not isinstance(dataset, IterableDataset):
        raise InputError(f"validate takes a dataset of the `datasets` library, got {type(dataset).__name__}")
    n_peeked = _PEEKED_ROWS if sample is None else sample
    rows = _peeked(dataset, n_peeked)
    columns = {name: rows.column(name) for name in PROVENANCE_COLUMNS if name in rows.column_names}
    return tag_report(columns, rows.num_rows, policy, complete=rows.num_rows < n_peeked)


def _peeked(stream: IterableDataset, n_rows: int) -> pa.Table:
    """Return the first rows of a stream as they are; its own place is not moved."""
    # One by one: datasets cannot join rows of parts that have other columns, which is what is looked for.
    batches = list(deepcopy(stream).take(n_rows).with_format("arrow").iter(batch_size=1))
    return pa.concat_tables(batches, promote_options="permissive") if batches else pa.table({})


def _without_tags(rows: pa.Table) -> pa.Table:
    return rows.select([name for name in rows.column_names if not name.startswith(_PREFIX)])
