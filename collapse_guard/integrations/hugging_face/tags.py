"""Provenance tags on the four kinds of Hugging Face `datasets` objects; the kind stays what it was."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar

import numpy as np
import pyarrow as pa
from datasets import Dataset, DatasetDict, Features, IterableDataset, IterableDatasetDict, Value, concatenate_datasets

from collapse_guard.curate import ARROW_TYPES, provenance_columns
from collapse_guard.errors import ProvenanceError
from collapse_guard.identity import RECORD_IDS, IdRule
from collapse_guard.records import ID, PROVENANCE_COLUMNS, Evidence, Origin
from collapse_guard.sources import Tag

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

AnyDataset = TypeVar("AnyDataset", Dataset, DatasetDict, IterableDataset, IterableDatasetDict)

# `datasets` has no feature for fixed-size binary before 5.x: ids are stored as plain binary of 16 bytes there.
TAG_FEATURES: Final = Features(
    {name: Value("binary" if name == ID else str(kind)) for name, kind in ARROW_TYPES.items()}
)

#: A part of the stored rows below one in so many is taken as it lies.
_FEW: Final = 8


def tag(  # noqa: PLR0913 - every tag is named
    dataset: AnyDataset,
    *,
    origin: Origin | str,
    source: str,
    generator: str | None = None,
    generation: int | None = None,
    evidence: Evidence | str = Evidence.DECLARED,
    date: dt.date | None = None,
    identity: IdRule | None = None,
    overwrite: bool = False,
) -> AnyDataset:
    """Return ``dataset`` with the provenance columns; the kind stays what it was, and no other column is written again.

    Args:
        dataset: a Dataset, DatasetDict, IterableDataset or IterableDatasetDict.
        origin: unknown, real, synthetic, mixed, derived or simulated.
        source: name of where the rows come from.
        generator: ``model@revision`` for generated rows.
        generation: 0 for real rows, 1 + that of its model's data for generated ones; unknown if left out.
        evidence: how the origin is known.
        date: creation or collection day.
        identity: what makes two rows the same, as ``policy.identity.id_rule()``; the whole record if left out.
        overwrite: replace tags that are already there.

    Raises ProvenanceError for impossible tags, for tagged rows without ``overwrite``, and for rows that the id rule
    cannot read; MissingExtraError without the decoder that it needs. For streams at their first row.

    >>> tagged = tag(Dataset.from_dict({"text": ["a", "b"]}), origin="real", source="web")
    >>> tagged["cg_origin"][:]
    [1, 1]
    """
    tagged = Tag.of(
        origin=origin, source=source, generator=generator, generation=generation, evidence=evidence, date=date
    )
    rule = RECORD_IDS if identity is None else identity
    if not isinstance(rule, IdRule):
        raise ProvenanceError(f"identity must be an IdRule such as IdRule('text', ('body',)), got {identity!r}")
    if isinstance(dataset, (DatasetDict, IterableDatasetDict)):
        parts = {name: tag_one(part, tagged, overwrite=overwrite, rule=rule) for name, part in dataset.items()}
        return type(dataset)(parts)
    if isinstance(dataset, (Dataset, IterableDataset)):
        return tag_one(dataset, tagged, overwrite=overwrite, rule=rule)
    raise ProvenanceError(f"tag takes a dataset of the `datasets` library, got {type(dataset).__name__}")


def tag_one(dataset: Any, tagged: Tag, *, overwrite: bool, rule: IdRule = RECORD_IDS) -> Any:
    """Return one Dataset or IterableDataset with the columns of a checked tag."""
    present = [name for name in PROVENANCE_COLUMNS if name in (dataset.column_names or ())]
    if present and not overwrite:
        raise ProvenanceError(f"rows already have {', '.join(present)}; pass overwrite=True to replace the tags")
    if present:
        dataset = dataset.remove_columns(present)
    if isinstance(dataset, IterableDataset):
        return _tag_stream(dataset, TagBatch(tagged, rule, overwrite=overwrite))
    if not dataset.column_names:
        raise ProvenanceError("rows have no content column to make an id from; add one before tagging")
    if len(dataset) == 0:  # concatenate_datasets leaves parts without rows out
        features = Features(dict(dataset.features) | dict(TAG_FEATURES))
        return Dataset.from_dict({name: [] for name in features}, features=features)
    joined = _with_columns(dataset.with_format(None), tagged, rule)
    return joined.with_format(dataset.format["type"], **dataset.format["format_kwargs"])


def _with_columns(dataset: Dataset, tagged: Tag, rule: IdRule) -> Dataset:
    """Return rows with tags; an indices mapping stays one, joining columns would write all content again."""
    order = row_order(dataset) if has_order(dataset) else None
    if order is None:
        columns = provenance_columns(arrow_rows(dataset), tagged, rule).cast(TAG_FEATURES.arrow_schema)
        return concatenate_datasets([dataset, Dataset(columns)], axis=1)
    stored = Dataset(dataset.data, info=dataset.info, split=dataset.split)
    shown, places = _shown(order, len(stored))
    content = arrow_rows(stored) if len(shown) == len(stored) else dataset.data.table.take(pa.array(shown))
    columns = provenance_columns(content, tagged, rule).cast(TAG_FEATURES.arrow_schema)
    if len(shown) < len(stored):  # rows that are stored and not shown have no tags
        columns = columns.take(pa.array(places, mask=places < 0))
    joined = concatenate_datasets([stored, Dataset(columns)], axis=1)
    return Dataset(joined.data, info=joined.info, split=joined.split, indices_table=dataset._indices)  # noqa: SLF001 - see row_order


def _shown(order: NDArray[np.int64], n_stored: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the stored rows that are shown, ascending, and where each stored row is among them, -1 if it is not."""
    is_shown = np.zeros(n_stored, dtype=np.bool_)
    is_shown[order] = True
    return np.flatnonzero(is_shown), np.where(is_shown, np.cumsum(is_shown) - 1, -1)


def _tag_stream(dataset: IterableDataset, tagging: TagBatch) -> IterableDataset:
    features = None if dataset.features is None else Features(dict(dataset.features) | dict(TAG_FEATURES))
    return mapped_as_arrow(dataset, tagging, features)


def mapped_as_arrow(
    stream: IterableDataset, function: Callable[[pa.Table], pa.Table], features: Features | None
) -> IterableDataset:
    """Return a stream with ``function`` applied to its batches as Arrow tables; its format stays what it was."""
    formatting = getattr(stream, "_formatting", None)
    mapped = stream.with_format("arrow").map(function, batched=True)
    mapped._formatting = formatting  # noqa: SLF001 - with_format(None) would be a format of its own
    # Said afterwards: datasets takes the features that map is told for those of rows that are decoded already.
    return mapped if features is None else mapped.cast(features)


class TagBatch:
    """Picklable mapper for streams: one Arrow batch in, the same batch with tags out."""

    def __init__(self, tagged: Tag, rule: IdRule, *, overwrite: bool) -> None:
        self.tagged, self.rule, self.overwrite = tagged, rule, overwrite

    def __call__(self, rows: pa.Table) -> pa.Table:
        """Return a batch with its tags; raises ProvenanceError if it has some already."""
        present = [name for name in PROVENANCE_COLUMNS if name in rows.column_names]  # unknown before the first batch
        if present and not self.overwrite:
            raise ProvenanceError(f"rows already have {', '.join(present)}; pass overwrite=True to replace the tags")
        rows = rows.drop(present)
        added = provenance_columns(rows, self.tagged, self.rule).cast(TAG_FEATURES.arrow_schema)
        for name in added.column_names:
            rows = rows.append_column(name, added.column(name))
        return rows


def has_order(dataset: Dataset) -> bool:
    """Return whether :func:`row_order` can tell: `datasets` has no public name for it, and may move the private one.

    Rows are then read through the public way, which gives the same and takes longer.
    """
    return hasattr(dataset, "_indices")


def row_order(dataset: Dataset) -> NDArray[np.int64] | None:
    """Return the stored row that each row of ``dataset`` shows, shape (rows,); None if in their stored order."""
    indices = dataset._indices  # noqa: SLF001 - see has_order
    return None if indices is None else indices.column(0).to_numpy().astype(np.int64)


def arrow_rows(dataset: Dataset, columns: Sequence[str] | None = None) -> pa.Table:
    """Return rows as an Arrow table, in the order that the dataset shows them."""
    narrow = dataset if columns is None else dataset.select_columns(list(columns))
    order = row_order(narrow) if has_order(narrow) else None
    if order is None:
        return narrow.with_format("arrow")[:]
    stored = narrow.data.table
    # Many rows are taken from one chunk many times faster than one by one, as datasets does; a few need no copy of all.
    return (stored.combine_chunks() if order.size * _FEW > len(stored) else stored).take(pa.array(order))
