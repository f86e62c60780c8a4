"""Hugging Face `datasets`: hold a training set under a policy, generation after generation."""

from __future__ import annotations

import datetime as dt
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import pyarrow as pa
from datasets import Dataset, DatasetDict, IterableDataset, IterableDatasetDict, concatenate_datasets

from collapse_guard.curate import Curated, curate, is_nested, quality_scores, with_classes
from collapse_guard.errors import InputError, ProvenanceError
from collapse_guard.integrations.hugging_face.intake import (
    accepted,
    amounts_per_class,
    check_cell_columns,
    check_id_rule,
    one_part,
)
from collapse_guard.integrations.hugging_face.rows import narrow_rows, planned_dataset, rows_without
from collapse_guard.integrations.hugging_face.saved import (
    MANIFEST_FILE,
    REAL,
    SYNTHETIC,
    TAKEDOWNS_FILE,
    check_rows,
    checked_manifest,
    new_folder,
    saved_pool,
    saved_rows,
    saved_takedowns,
)
from collapse_guard.integrations.hugging_face.stream_part import StreamPart, planned_stream, read_stream
from collapse_guard.integrations.hugging_face.tags import arrow_rows
from collapse_guard.manifest import Manifest, Takedowns, load_manifest, load_takedowns, write_manifest
from collapse_guard.manifest.index import index_of
from collapse_guard.monitor import Anchor, coverage_of, read_anchor, write_anchor
from collapse_guard.policy import Policy
from collapse_guard.records import ID, SCORE, Evidence, Origin
from collapse_guard.sources import Tag

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from collapse_guard.cells import CellMap
    from collapse_guard.filters import Score
    from collapse_guard.integrations.hugging_face.stream_part import Part
    from collapse_guard.mixing import MixPlan


class GuardedDataset:
    """Holder of a training set under a policy: every real row is in, synthetic rows are filtered and capped.

    It is not a Dataset; :meth:`training_set` returns one.

    Args:
        policy: a Policy, a mapping, or the path of a YAML file.
        name: name of the manifest.
        parent: manifest of the generation before, or its path; every real row of it must be added again.
        takedowns: lawful deletions, or the path of their list: their rows may be missing, and must be; the list that
            ``accumulation.takedowns`` names if left out.
        reference: real amount per class that ``mix.balance`` and ``mix.budget`` measure against, or a manifest, or the
            path of one; the real rows that are held, and for balance those of the parent, if left out.

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
        takedowns: Takedowns | str | PathLike[str] | None = None,
        reference: Mapping[str, float] | Manifest | str | PathLike[str] | None = None,
    ) -> None:
        self.policy = Policy.coerce(policy)
        if not isinstance(name, str) or not name.strip():
            raise InputError(f"the name of a manifest is text, got {name!r}")
        self.name = name
        self.parent = parent if isinstance(parent, Manifest) or parent is None else load_manifest(parent)
        self.takedowns: Takedowns | None = None
        named = self.policy.accumulation.takedowns
        if takedowns is None and named is not None:  # as in the gate: relative to the policy file
            takedowns = (Path(policy).parent if isinstance(policy, (str, PathLike)) else Path()) / named
        if takedowns is not None:
            self.takedowns = takedowns if isinstance(takedowns, Takedowns) else load_takedowns(takedowns)
        self.reference = amounts_per_class(reference)
        self.real: tuple[Part, ...] = ()
        self.synthetic: tuple[Part, ...] = ()
        self._curated: Curated | None = None
        self.anchor_of_parent: Anchor | None = None
        check_id_rule(self.policy, self.parent)

    def add_real(
        self,
        dataset: Dataset | DatasetDict | IterableDataset | IterableDatasetDict,
        *,
        source: str,
        evidence: Evidence | str = Evidence.DECLARED,
        date: dt.date | None = None,
        split: str | None = None,
    ) -> Self:
        """Add real rows, all of them, and return the holder.

        Args:
            dataset: a Dataset or IterableDataset, or a dict of them and the name of its ``split``. A stream is read to
                its end here, and must give the same rows again: :meth:`training_set` is then a stream.
            source: name of where the rows come from.
            evidence: how the origin is known.
            date: creation or collection day.
            split: which part of a dict.

        Raises ProvenanceError for no rows and for rows that are tagged otherwise; CellError without the cell column.
        """
        tagged = Tag.of(origin=Origin.REAL, source=source, evidence=evidence, date=date)
        given = one_part(dataset, split, source)
        is_stream = isinstance(given, IterableDataset)
        added = (
            read_stream(given, tagged, self.policy)
            if is_stream
            else accepted(given, tagged, self.policy, held=self._first_parts())
        )
        self.real = (*self.real, added)
        self._curated = None
        return self

    def add_synthetic(
        self,
        dataset: Dataset | DatasetDict | IterableDataset | IterableDatasetDict,
        *,
        source: str,
        generator: str,
        generation: int,
        evidence: Evidence | str = Evidence.DECLARED,
        score: Score | None = None,
        split: str | None = None,
    ) -> Self:
        """Add generated rows to the pool that the policy filters and caps, and return the holder.

        Args:
            generator: ``model@revision``.
            generation: 1 + the generation of the data that the generator was trained on.
            score: for ``filters.quality``: a column or a callable from an Arrow table to one score per row;
                the policy's own column if left out.
            split: which part of a dict.

        Raises ProvenanceError as :meth:`add_real`, FilterError for scores that are missing or not numbers.
        """
        tagged = Tag.of(
            origin=Origin.SYNTHETIC, source=source, generator=generator, generation=generation, evidence=evidence
        )
        given = one_part(dataset, split, source)
        if isinstance(given, IterableDataset):
            self.synthetic = (*self.synthetic, read_stream(given, tagged, self.policy, score=score))
            self._curated = None
            return self
        added = accepted(given, tagged, self.policy, held=self._first_parts())
        scores = quality_scores(arrow_rows(added), score, self.policy)
        kept = added.remove_columns(SCORE) if SCORE in added.column_names else added
        narrow = Dataset(pa.table({SCORE: scores}))
        self.synthetic = (*self.synthetic, concatenate_datasets([kept, narrow], axis=1))
        self._curated = None
        return self

    def _first_parts(self) -> tuple[Part, ...]:
        return (*self.real[:1], *self.synthetic[:1])

    def training_set(self, *, shuffle: bool = False, streaming: bool = False) -> Dataset | IterableDataset:
        """Return the training set with provenance columns: all real rows, then the chosen synthetic ones.

        Args:
            shuffle: rows interleaved at random, so that any stretch of them is a sample of the mix.
            streaming: return an IterableDataset over the same rows; needed where a stream was added. Shuffled streams
                are interleaved so that every prefix keeps the real share.

        Under ``mix.budget`` some real rows are left out here; the manifest retains them. Under ``mix.weights: golden``
        rows carry ``cg_weight``.

        Raises AccumulationError if nothing real was added, or if a real row of the parent is missing.
        """
        real, synthetic = self._datasets(self.real), self._datasets(self.synthetic)
        if real is None or synthetic is None:
            if not streaming:
                raise InputError("streams were added: pass streaming=True, or add datasets instead")
            return planned_stream(self.plan(), self.real, self.synthetic, shuffle=shuffle)
        made = planned_dataset(self.plan(), real, synthetic, shuffle=shuffle)
        return made.to_iterable_dataset() if streaming else made

    @staticmethod
    def _datasets(parts: tuple[Part, ...]) -> list[Dataset] | None:
        """Return the parts if none of them is a stream."""
        found = [part for part in parts if isinstance(part, Dataset)]
        return found if len(found) == len(parts) else None

    def plan(self) -> MixPlan:
        """Return which rows train, as data: numbers of the real and of the synthetic rows that are held."""
        return self._curate().plan

    def manifest(self) -> Manifest:
        """Return the manifest of the training set, in memory; raises as :meth:`training_set`."""
        return self._curate().manifest

    def report(self) -> dict[str, Any]:
        """Return plain figures: rows by kind, why synthetic rows stayed out, keep-rate per cell, shares in windows."""
        return self._curate().view()

    def next_generation(self, name: str | None = None) -> Self:
        """Return the holder of the next generation: this one's rows, with this one's manifest as parent.

        It needs no :meth:`save` in between, and a saved generation has the same digest. Add the new synthetic rows to
        it, and new real rows if there are any; every real row that is held stays.
        """
        manifest = self.manifest()
        held = type(self)(self.policy, name=name or self.name, parent=manifest, takedowns=self.takedowns)
        held.real, held.synthetic, held.reference = self.real, self.synthetic, self.reference
        held.anchor_of_parent = self.anchor() if self._needs_anchor() else None
        return held

    def take_down(
        self, rows: str | bytes | Iterable[str | bytes] | Dataset, *, reason: str, date: dt.date | str | None = None
    ) -> Self:
        """Remove rows that must go by law, and record that: they may be missing from now on, and must be.

        Args:
            rows: ids as findings print them or as ``cg_id`` holds them, or the tagged rows themselves.
            reason: why, one line, such as the number of a request.
            date: the day of the deletion, today if left out.

        Ids that are not held are recorded as well. Raises InputError for ids that are none or an empty reason;
        ProvenanceError for rows without ids.
        """
        if isinstance(rows, (str, bytes)):
            rows = [rows]
        if isinstance(rows, Dataset):
            if ID not in rows.column_names:
                raise ProvenanceError(f"the rows have no {ID}; tag them first, or name their ids")
            rows = arrow_rows(rows, [ID]).column(ID).to_pylist()
        held = Takedowns.empty() if self.takedowns is None else self.takedowns
        taken = held.adding(rows, reason=reason, date=dt.datetime.now(dt.UTC).date() if date is None else date)
        self.real = rows_without(self.real, taken)
        self.synthetic = rows_without(self.synthetic, taken)
        self.takedowns = taken
        self._curated = None
        return self

    def _curate(self) -> Curated:
        if self._curated is None:
            real, pool = (self._narrow(parts) for parts in (self.real, self.synthetic))
            self._curated = curate(
                real,
                pool,
                self.policy,
                name=self.name,
                parent=self.parent,
                cells=self._cells(),
                takedowns=self.takedowns,
                reference=self.reference,
            )
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
        if self.anchor_of_parent is not None:
            return self.anchor_of_parent
        return read_anchor(self.parent.path, self.policy.coverage)

    def _cells(self) -> CellMap | None:
        before = self._anchor_before()
        return before.maps[0].cells if before is not None and before.maps else None

    def _narrow(self, parts: tuple[Part, ...]) -> pa.Table:
        """Return only the columns that decide, of all parts."""
        return narrow_rows(parts, self.policy)

    def _needs_anchor(self) -> bool:
        """Return whether the classes of the manifest alone do not give the cells of the policy."""
        coverage = self.policy.coverage
        if coverage is None or not coverage.cells:
            return False
        label = coverage.class_column
        one = self.real[0]
        first = one.rows if isinstance(one, StreamPart) else arrow_rows(one.select(range(1)))
        is_plain = label is not None and not is_nested(first, label)
        return not is_plain or len(coverage.cells) > 1 or any(score.against == "real" for score in coverage.scores)

    def save(self, path: str | PathLike[str]) -> Path:
        """Write rows, manifest and takedowns to a new folder; the folder appears whole or not at all.

        Raises ManifestError if something is already there: a generation is written once; InputError for streams.
        """
        target = Path(path)
        manifest = self.manifest()
        real, synthetic = self._datasets(self.real), self._datasets(self.synthetic)
        if real is None or synthetic is None:
            text = "streams are not saved; write the manifest alone with write_manifest(data.manifest(), path)"
            raise InputError(f"{text}, or add datasets instead")
        with new_folder(target) as draft:
            concatenate_datasets(real).save_to_disk(str(draft / REAL))
            if synthetic:
                concatenate_datasets(synthetic).save_to_disk(str(draft / SYNTHETIC))
            if self.takedowns is not None:
                self.takedowns.write(draft / TAKEDOWNS_FILE)
            write_manifest(manifest, draft / MANIFEST_FILE)
            if self._needs_anchor():
                write_anchor(draft / MANIFEST_FILE, self.anchor(), coverage_of(self.policy))
        return target

    @classmethod
    def load(
        cls,
        path: str | PathLike[str],
        policy: Policy | Mapping[str, Any] | str | PathLike[str],
        *,
        name: str | None = None,
        reference: Mapping[str, float] | Manifest | str | PathLike[str] | None = None,
    ) -> Self:
        """Return a holder for the next generation: the rows of ``path``, with its manifest as parent.

        Args:
            name: of the next manifest; that of the parent if left out.
            reference: as for a new holder; it is not saved with the rows.

        Raises ManifestError if the folder does not hold together or counts ids by another rule than the policy,
        AccumulationError if real rows left it.
        """
        folder = Path(path)
        parent = checked_manifest(folder)
        taken = saved_takedowns(folder, parent)
        held = cls(policy, name=name or parent.header.name, parent=parent, takedowns=taken, reference=reference)
        held.real = (saved_rows(folder / REAL),)
        check_cell_columns(held.real[0], held.policy, str(folder))
        held.synthetic = saved_pool(folder, parent)
        held._check_nothing_left(folder)
        return held

    def _check_nothing_left(self, folder: Path) -> None:
        """Raise unless the real rows of the folder are those of its manifest."""
        assert self.parent is not None
        is_same = self.parent.header.policy_digest == self.policy.digest  # else the classes may be of another column
        rows, column = self._narrow(self.real), None
        if is_same:
            rows, column = with_classes(rows, self.policy, self._cells())
        check_rows(folder, self.parent, index_of(rows, class_column=column), with_classes=column is not None)
