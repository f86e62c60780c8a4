"""What a holder takes in: one dataset at a time, checked against the policy and the rows that are held."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from datasets import Dataset, DatasetDict, IterableDataset, IterableDatasetDict, concatenate_datasets

from collapse_guard.curate import check_tags
from collapse_guard.errors import CellError, ManifestError, ProvenanceError
from collapse_guard.integrations.hugging_face.tags import arrow_rows, tag_one
from collapse_guard.manifest import Manifest, load_manifest
from collapse_guard.mixing.arguments import check_reference
from collapse_guard.plugins import nearest
from collapse_guard.records import GENERATION, GENERATOR, PROVENANCE_COLUMNS, SOURCE, Origin

if TYPE_CHECKING:
    from collections.abc import Sequence

    from collapse_guard.integrations.hugging_face.stream_part import Part
    from collapse_guard.policy import Policy
    from collapse_guard.sources import Tag


def accepted(dataset: Dataset, tagged: Tag, policy: Policy, *, held: Sequence[Part]) -> Dataset:
    """Return the rows of a source with their tags: new ones, or those that they bring if they agree.

    Args:
        held: parts whose columns the rows must fit.

    Raises ProvenanceError for no rows, other tags or other column types; CellError without a cell column.
    """
    what = f"source {tagged.source!r}"
    if len(dataset) == 0:
        raise ProvenanceError(f"{what} has no rows; leave it out, or look at how it was read")
    check_cell_columns(dataset, policy, what)
    for part in held:
        if isinstance(part, Dataset):  # the types of a stream show when the training set is read
            _check_columns_fit(dataset, part, what)
    plain = dataset.with_format(None)
    if not set(PROVENANCE_COLUMNS) & set(dataset.column_names):
        return tag_one(plain, tagged, overwrite=False, rule=policy.identity.id_rule())
    return _already_tagged(plain, tagged)


def check_cell_columns(dataset: Dataset, policy: Policy, what: str) -> None:
    """Raise CellError if rows lack a column that the policy's cells read."""
    coverage = policy.coverage
    for column in () if coverage is None else coverage.columns or ():
        if column not in dataset.column_names:
            hint = nearest(column, dataset.column_names)
            raise CellError(f"{what} has no column {column!r} (coverage.cells); {hint}")


def _check_columns_fit(dataset: Dataset, part: Dataset, what: str) -> None:
    """Raise ProvenanceError if a column has another type than in the rows that are held."""
    try:
        concatenate_datasets([part.with_format(None).select(range(1)), dataset.with_format(None).select(range(1))])
    except ValueError as error:
        reason = str(error).splitlines()[0]
        raise ProvenanceError(f"{what} has other column types than the rows before: {reason}") from None


def _already_tagged(dataset: Dataset, tagged: Tag) -> Dataset:
    """Return rows that bring their own tags, if those agree with how they are added."""
    what = f"source {tagged.source!r}"
    absent = [name for name in PROVENANCE_COLUMNS if name not in dataset.column_names]
    if absent:
        raise ProvenanceError(f"{what}: tags {', '.join(absent)} are missing; tag the rows again with overwrite=True")
    rows = arrow_rows(dataset, list(PROVENANCE_COLUMNS))
    check_tags(rows, origin=tagged.origin, what=what)
    said = {SOURCE: tagged.source, GENERATOR: tagged.generator, GENERATION: tagged.generation}
    for column, value in said.items():
        other = [found for found in rows.column(column).unique().to_pylist() if found != value]
        if other:
            name = column.removeprefix("cg_")
            raise ProvenanceError(f"{what}: rows carry the {name} {other[0]!r}; add them under that {name}")
    return dataset


def one_part(dataset: Any, split: str | None, source: str) -> Any:
    """Return one Dataset or IterableDataset: that, or a split of a dict of them."""
    what = f"source {source!r}"
    if isinstance(dataset, (DatasetDict, IterableDatasetDict)):
        if split is None:
            raise ProvenanceError(f"{what}: it has the splits {', '.join(dataset)}; name one with split=")
        if split not in dataset:
            raise ProvenanceError(f"{what}: there is no split {split!r}; {nearest(split, dataset)}")
        return dataset[split]
    if not isinstance(dataset, (Dataset, IterableDataset)):
        raise ProvenanceError(f"{what}: an object of `datasets` is needed, got {type(dataset).__name__}")
    if split is not None:
        raise ProvenanceError(f"{what}: split={split!r} was named, and one dataset has none; leave it out")
    return dataset


def check_id_rule(policy: Policy, parent: Manifest | None) -> None:
    """Raise ManifestError if the parent counts rows by another rule than the policy."""
    rule = policy.identity.id_rule().name
    if parent is not None and parent.header.id_rule != rule:
        text = (
            f"{parent.name} counts rows by {parent.header.id_rule!r}, the policy by {rule!r}: they are not comparable"
        )
        raise ManifestError(f"{text}; set identity of the policy to the rule of the chain", path=parent.path)


def amounts_per_class(reference: Any) -> Mapping[str, float] | None:
    """Return the real amount per class of a manifest, or a mapping as it is; raises InputError for other amounts."""
    if reference is None:
        return None
    if isinstance(reference, Mapping):
        check_reference(reference)
        return reference
    manifest = reference if isinstance(reference, Manifest) else load_manifest(reference)
    found = manifest.amount_by("class", "origin").items()
    return {label: amount for (label, code), amount in found if label is not None and code == Origin.REAL}
