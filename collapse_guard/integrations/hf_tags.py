"""Provenance tags on the four kinds of Hugging Face `datasets` objects; the kind stays what it was."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from datasets import Dataset, DatasetDict, Features, IterableDataset, IterableDatasetDict, Value, concatenate_datasets

from collapse_guard.curate import ARROW_TYPES, Tag, provenance_columns
from collapse_guard.errors import ProvenanceError
from collapse_guard.records import ID, PROVENANCE_COLUMNS, Evidence, Origin

if TYPE_CHECKING:
    import datetime as dt

    import pyarrow as pa

AnyDataset = TypeVar("AnyDataset", Dataset, DatasetDict, IterableDataset, IterableDatasetDict)

# `datasets` has no feature for fixed-size binary before 5.x: ids are stored as plain binary of 16 bytes there.
_FEATURES = Features({name: Value("binary" if name == ID else str(kind)) for name, kind in ARROW_TYPES.items()})


def tag(
    dataset: AnyDataset,
    *,
    origin: Origin | str,
    source: str,
    generator: str | None = None,
    generation: int | None = None,
    evidence: Evidence | str = Evidence.DECLARED,
    date: dt.date | None = None,
    overwrite: bool = False,
) -> AnyDataset:
    """Return ``dataset`` with the provenance columns; the kind stays what it was.

    Args:
        dataset: a Dataset, DatasetDict, IterableDataset or IterableDatasetDict.
        origin: unknown, real, synthetic, mixed, derived or simulated.
        source: name of where the rows come from.
        generator: ``model@revision`` for generated rows.
        generation: 0 for real rows, 1 + that of its model's data for generated ones; unknown if left out.
        evidence: how the origin is known.
        date: creation or collection day.
        overwrite: replace tags that are already there.

    Raises ProvenanceError for impossible tags, and for tagged rows without ``overwrite``.

    >>> tagged = tag(Dataset.from_dict({"text": ["a", "b"]}), origin="real", source="web")
    >>> tagged["cg_origin"][:]
    [1, 1]
    """
    tagged = Tag.of(
        origin=origin, source=source, generator=generator, generation=generation, evidence=evidence, date=date
    )
    if isinstance(dataset, (DatasetDict, IterableDatasetDict)):
        return type(dataset)({name: tag_one(part, tagged, overwrite=overwrite) for name, part in dataset.items()})
    if isinstance(dataset, (Dataset, IterableDataset)):
        return tag_one(dataset, tagged, overwrite=overwrite)
    raise ProvenanceError(f"tag takes a dataset of the `datasets` library, got {type(dataset).__name__}")


def tag_one(dataset: Any, tagged: Tag, *, overwrite: bool) -> Any:
    """Return one Dataset or IterableDataset with the columns of a checked tag."""
    present = [name for name in PROVENANCE_COLUMNS if name in (dataset.column_names or ())]
    if present and not overwrite:
        raise ProvenanceError(f"rows already have {', '.join(present)}; pass overwrite=True to replace the tags")
    if present:
        dataset = dataset.remove_columns(present)
    if isinstance(dataset, IterableDataset):
        return _tag_stream(dataset, tagged, overwrite=overwrite)
    if not dataset.column_names:
        raise ProvenanceError("rows have no content column to make an id from; add one before tagging")
    if len(dataset) == 0:  # concatenate_datasets leaves parts without rows out
        features = Features(dict(dataset.features) | dict(_FEATURES))
        return Dataset.from_dict({name: [] for name in features}, features=features)
    columns = Dataset(provenance_columns(arrow_rows(dataset), tagged).cast(_FEATURES.arrow_schema))
    joined = concatenate_datasets([dataset.with_format(None), columns], axis=1)
    return joined.with_format(dataset.format["type"], **dataset.format["format_kwargs"])


def _tag_stream(dataset: IterableDataset, tagged: Tag, *, overwrite: bool) -> IterableDataset:
    formatting = getattr(dataset, "_formatting", None)
    features = None if dataset.features is None else Features(dict(dataset.features) | dict(_FEATURES))
    stream = dataset.with_format("arrow").map(_TagBatch(tagged, overwrite=overwrite), batched=True, features=features)
    return stream.with_format(getattr(formatting, "format_type", None))


class _TagBatch:
    """Picklable mapper for streams: one Arrow batch in, the same batch with tags out."""

    def __init__(self, tagged: Tag, *, overwrite: bool) -> None:
        self.tagged, self.overwrite = tagged, overwrite

    def __call__(self, rows: pa.Table) -> pa.Table:
        present = [name for name in PROVENANCE_COLUMNS if name in rows.column_names]  # unknown before the first batch
        if present and not self.overwrite:
            raise ProvenanceError(f"rows already have {', '.join(present)}; pass overwrite=True to replace the tags")
        rows = rows.drop(present)
        added = provenance_columns(rows, self.tagged).cast(_FEATURES.arrow_schema)
        for name in added.column_names:
            rows = rows.append_column(name, added.column(name))
        return rows


def arrow_rows(dataset: Dataset, columns: list[str] | None = None) -> pa.Table:
    """Return rows as an Arrow table, in the order that the dataset shows them."""
    narrow = dataset if columns is None else dataset.select_columns(columns)
    return narrow.with_format("arrow")[:]
