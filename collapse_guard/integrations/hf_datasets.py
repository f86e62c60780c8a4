"""Hugging Face `datasets`: hold a training set under a policy."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import pyarrow as pa
import pyarrow.compute as pc
from datasets import (
    Dataset,
    DatasetDict,
    IterableDatasetDict,
    concatenate_datasets,
    load_from_disk,
)

from collapse_guard.curate import (
    ARROW_TYPES,
    Curated,
    Tag,
    check_tags,
    curate,
    is_nested,
    quality_scores,
    with_classes,
)
from collapse_guard.errors import AccumulationError, CellError, ManifestError, ProvenanceError
from collapse_guard.integrations.hf_tags import arrow_rows, tag_one
from collapse_guard.manifest import Manifest, load_manifest, lost_real_rows, write_manifest
from collapse_guard.manifest.index import index_of
from collapse_guard.monitor import Anchor, coverage_of, read_anchor, write_anchor
from collapse_guard.plugins import nearest
from collapse_guard.policy import Policy
from collapse_guard.records import GENERATION, GENERATOR, PROVENANCE_COLUMNS, SCORE, SOURCE, Evidence, Origin

if TYPE_CHECKING:
    from collections.abc import Mapping
    from os import PathLike

    from collapse_guard.cells import CellMap
    from collapse_guard.filters import Score

MANIFEST_FILE = "manifest.cgm.json"


class GuardedDataset:
    """Holder of a training set under a policy: every real row is in, synthetic rows are filtered and capped.

    It is not a Dataset; :meth:`training_set` returns one.

    Args:
        policy: a Policy, a mapping, or the path of a YAML file.
        name: name of the manifest.
        parent: manifest of the generation before, or its path; every real row of it must be added again.

    >>> data = GuardedDataset({"version": 1}).add_real(Dataset.from_dict({"text": ["a", "b", "c"]}), source="web")
    >>> made = Dataset.from_dict({"text": ["x", "y", "z", "w"]})
    >>> data = data.add_synthetic(made, source="bot", generator="bot@1", generation=1)
    >>> len(data.training_set())
    6
    """

    def __init__(
        self,
        policy: Policy | Mapping[str, Any] | str | PathLike[str],
        *,
        name: str = "training-set",
        parent: Manifest | str | PathLike[str] | None = None,
    ) -> None:
        self.policy = Policy.coerce(policy)
        self.name = name
        self.parent = parent if isinstance(parent, Manifest) or parent is None else load_manifest(parent)
        self.real: tuple[Dataset, ...] = ()
        self.synthetic: tuple[Dataset, ...] = ()
        self._curated: Curated | None = None

    def add_real(self, dataset: Dataset, *, source: str, evidence: Evidence | str = Evidence.DECLARED) -> Self:
        """Add real rows, all of them, and return the holder.

        Raises ProvenanceError for no rows and for rows that are tagged otherwise; CellError without the cell column.
        """
        added = self._accepted(dataset, source, Tag.of(origin=Origin.REAL, source=source, evidence=evidence))
        self.real = (*self.real, added)
        self._curated = None
        return self

    def add_synthetic(
        self,
        dataset: Dataset,
        *,
        source: str,
        generator: str,
        generation: int,
        evidence: Evidence | str = Evidence.DECLARED,
        score: Score | None = None,
    ) -> Self:
        """Add generated rows to the pool that the policy filters and caps, and return the holder.

        Args:
            generator: ``model@revision``.
            generation: 1 + the generation of the data that the generator was trained on.
            score: for ``filters.quality``: a column or a callable from an Arrow table to one score per row;
                the policy's own column if left out.

        Raises ProvenanceError as :meth:`add_real`, FilterError for scores that are missing or not numbers.
        """
        tagged = Tag.of(
            origin=Origin.SYNTHETIC, source=source, generator=generator, generation=generation, evidence=evidence
        )
        added = self._accepted(dataset, source, tagged)
        scores = quality_scores(arrow_rows(added), score, self.policy)
        kept = added.remove_columns(SCORE) if SCORE in added.column_names else added
        narrow = Dataset(pa.table({SCORE: scores}))
        self.synthetic = (*self.synthetic, concatenate_datasets([kept, narrow], axis=1))
        self._curated = None
        return self

    def _accepted(self, dataset: Dataset, source: str, tagged: Tag) -> Dataset:
        if not isinstance(dataset, Dataset):
            hint = (
                "pass one split" if isinstance(dataset, (DatasetDict, IterableDatasetDict)) else "materialise it first"
            )
            raise ProvenanceError(
                f"source {source!r}: a datasets.Dataset is needed, got {type(dataset).__name__}; {hint}"
            )
        if len(dataset) == 0:
            raise ProvenanceError(f"source {source!r} has no rows; leave it out, or look at how it was read")
        self._check_cell_column(dataset, f"source {source!r}")
        self._check_columns_fit(dataset, source)
        if not set(PROVENANCE_COLUMNS) & set(dataset.column_names):
            return tag_one(dataset.with_format(None), tagged, overwrite=False)
        return _already_tagged(dataset.with_format(None), tagged)

    def _check_cell_column(self, dataset: Dataset, what: str) -> None:
        coverage = self.policy.coverage
        for column in () if coverage is None else coverage.columns or ():
            if column not in dataset.column_names:
                hint = nearest(column, dataset.column_names)
                raise CellError(f"{what} has no column {column!r} (coverage.cells); {hint}")

    def _check_columns_fit(self, dataset: Dataset, source: str) -> None:
        """Raise ProvenanceError if a column has another type than in the rows that are held."""
        for part in (*self.real[:1], *self.synthetic[:1]):
            try:
                concatenate_datasets(
                    [part.with_format(None).select(range(1)), dataset.with_format(None).select(range(1))]
                )
            except ValueError as error:
                reason = str(error).splitlines()[0]
                raise ProvenanceError(
                    f"source {source!r} has other column types than the rows before: {reason}"
                ) from None

    def training_set(self) -> Dataset:
        """Return the training set: all real rows, then the chosen synthetic ones, with provenance columns.

        Raises AccumulationError if nothing real was added, or if a real row of the parent is missing.
        """
        plan = self._curate().plan
        real = concatenate_datasets(list(self.real))
        if plan.chosen.size == 0:
            return real
        pool = concatenate_datasets(list(self.synthetic)).remove_columns(SCORE)
        return concatenate_datasets([real, pool.select(plan.chosen)])

    def manifest(self) -> Manifest:
        """Return the manifest of the training set, in memory; raises as :meth:`training_set`."""
        return self._curate().manifest

    def report(self) -> dict[str, Any]:
        """Return plain figures: rows by kind, why synthetic rows stayed out, keep-rate per cell."""
        return self._curate().view()

    def _curate(self) -> Curated:
        if self._curated is None:
            real, pool = (self._narrow(parts) for parts in (self.real, self.synthetic))
            self._curated = curate(real, pool, self.policy, name=self.name, parent=self.parent, cells=self._cells())
        return self._curated

    def anchor(self) -> Anchor:
        """Return what a run is measured against, for ``CollapseGuard(reference=...)``: the policy's cells on real rows.

        Cells are those of the parent generation, if it left them beside its manifest; else fitted on the real rows.
        Raises PolicyError without coverage, CellError for rows that cannot be mapped.
        """
        coverage = coverage_of(self.policy)
        before = self._anchor_before()
        maps = () if before is None else tuple(each.cells for each in before.maps)
        return Anchor.fit(self._narrow(self.real), coverage, maps=maps)

    def _anchor_before(self) -> Anchor | None:
        """Return what the parent generation left beside its manifest, for the cells of this policy."""
        if self.parent is None or self.policy.coverage is None:
            return None
        return read_anchor(self.parent.path, self.policy.coverage)

    def _cells(self) -> CellMap | None:
        before = self._anchor_before()
        return before.maps[0].cells if before is not None and before.maps else None

    def _narrow(self, parts: tuple[Dataset, ...]) -> pa.Table:
        """Return only the columns that decide, of all parts."""
        columns = () if self.policy.coverage is None else self.policy.coverage.columns
        names = [*PROVENANCE_COLUMNS, *(columns or ())]
        tables = [
            arrow_rows(
                part, None if columns is None else [name for name in part.column_names if name in {*names, SCORE}]
            )
            for part in parts
        ]
        if not tables:
            return pa.schema([(name, ARROW_TYPES[name]) for name in PROVENANCE_COLUMNS]).empty_table()
        return pa.concat_tables(tables, promote_options="permissive").combine_chunks()

    def _needs_anchor(self) -> bool:
        """Return whether the classes of the manifest alone do not give the cells of the policy."""
        coverage = self.policy.coverage
        if coverage is None or not coverage.cells:
            return False
        label = coverage.class_column
        is_plain = label is not None and not is_nested(arrow_rows(self.real[0].select(range(1))), label)
        return not is_plain or len(coverage.cells) > 1 or any(score.against == "real" for score in coverage.scores)

    def save(self, path: str | PathLike[str]) -> Path:
        """Write rows and manifest to a new folder; the folder appears whole or not at all.

        Raises ManifestError if something is already there: a generation is written once.
        """
        target = Path(path)
        if target.exists():
            raise ManifestError(
                f"{target} already exists; a generation is written once, name a new folder", path=target
            )
        manifest = self.manifest()
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            text = f"{target}: its folder cannot be made ({error.strerror or error}); name another"
            raise ManifestError(text, path=target) from None
        draft = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}."))
        try:
            concatenate_datasets(list(self.real)).save_to_disk(draft / "real")
            if self.synthetic:
                concatenate_datasets(list(self.synthetic)).save_to_disk(draft / "synthetic")
            write_manifest(manifest, draft / MANIFEST_FILE)
            if self._needs_anchor():
                write_anchor(draft / MANIFEST_FILE, self.anchor(), coverage_of(self.policy))
            draft.chmod(0o755)
            draft.rename(target)
        except BaseException:
            shutil.rmtree(draft, ignore_errors=True)
            raise
        return target

    @classmethod
    def load(cls, path: str | PathLike[str], policy: Policy | Mapping[str, Any] | str | PathLike[str]) -> Self:
        """Return a holder for the next generation: the rows of ``path``, with its manifest as parent.

        Raises ManifestError if the folder does not hold together, AccumulationError if real rows left it.
        """
        folder = Path(path)
        parent = load_manifest(folder / MANIFEST_FILE)
        mismatches = parent.verify()
        if mismatches:
            first = mismatches[0]
            text = f"{folder}: {first.part} does not match its digest ({first.expected[:19]}..., {first.found[:19]}...)"
            raise ManifestError(f"{text}; restore the folder", path=folder)
        held = cls(policy, name=parent.header.name, parent=parent)
        held.real = (_from_disk(folder / "real"),)
        held._check_cell_column(held.real[0], str(folder))
        held.synthetic = (_from_disk(folder / "synthetic"),) if (folder / "synthetic").is_dir() else ()
        held._check_nothing_left(folder)
        return held

    def _check_nothing_left(self, folder: Path) -> None:
        """Raise AccumulationError if real rows of the parent are not in the folder any more."""
        assert self.parent is not None
        is_same = self.parent.header.policy_digest == self.policy.digest  # else the classes may be of another column
        rows, column = self._narrow(self.real), None
        if is_same:
            rows, column = with_classes(rows, self.policy, self._cells())
        index = index_of(rows, class_column=column)
        loss = lost_real_rows(self.parent, Manifest(self.parent.header, None, index))
        if loss.n_rows:
            raise AccumulationError(f"{folder}: {loss.describe()}; restore the folder")
        recorded = self.parent.index.filter(pc.equal(self.parent.index.column("origin"), int(Origin.REAL)))
        names = [name for name in index.column_names if name != "class" or column is not None]
        if not index.select(names).equals(recorded.select(names).combine_chunks()):
            text = f"{folder}: the real rows are not those of the manifest (rows added, tags or classes changed)"
            raise ManifestError(f"{text}; restore the folder", path=folder)


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


def _from_disk(folder: Path) -> Dataset:
    try:
        loaded = load_from_disk(str(folder))
    except (OSError, pa.ArrowException, ValueError) as error:
        reason = str(error).splitlines()[0][:160]
        raise ManifestError(f"{folder} is not a saved dataset ({reason}); restore the folder", path=folder) from None
    if not isinstance(loaded, Dataset):
        raise ManifestError(f"{folder} holds splits; one dataset is expected", path=folder)
    return loaded
