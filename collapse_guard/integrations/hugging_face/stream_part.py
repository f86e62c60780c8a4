"""Streams in the holder: read once for what decides, read again when the training set is."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pyarrow as pa
from datasets import Dataset, IterableDataset, concatenate_datasets

from collapse_guard.curate import quality_scores
from collapse_guard.errors import CellError, InputError, ProvenanceError
from collapse_guard.integrations.hugging_face.streams import mix_streams
from collapse_guard.integrations.hugging_face.tags import tag_one
from collapse_guard.kernels import id_words
from collapse_guard.plugins import nearest
from collapse_guard.readers import amounts
from collapse_guard.records import AMOUNT, ID, PROVENANCE_COLUMNS, SCORE, WEIGHT, Origin

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from collapse_guard.filters import Score
    from collapse_guard.mixing import MixPlan
    from collapse_guard.policy import Policy
    from collapse_guard.sources import Tag

    Part: TypeAlias = "Dataset | StreamPart"

#: Rows whose content is in memory while a stream is read.
_BATCH_ROWS = 10_000


@dataclass(frozen=True)
class StreamPart:
    """A tagged stream, and the columns of it that decide.

    Args:
        stream: gives the same rows in the same order whenever it is read.
        rows: tags, columns of cells, scores and amounts of all its rows.
        stays: which rows of the stream are held, None for all.
    """

    stream: IterableDataset
    rows: pa.Table
    stays: NDArray[np.bool_] | None = None

    def __len__(self) -> int:
        return int(self.rows.num_rows)

    def select(self, which: NDArray[np.int64]) -> StreamPart:
        """Return the part with only some of its rows, ascending numbers."""
        held = np.arange(len(self)) if self.stays is None else np.flatnonzero(self.stays)
        size = len(self) if self.stays is None else self.stays.size
        stays = np.zeros(size, dtype=bool)
        stays[held[which]] = True
        return replace(self, rows=self.rows.take(pa.array(which)), stays=stays)

    def as_stream(self) -> IterableDataset:
        """Return the rows that are held, as a stream that notes other rows, more or fewer than were read at first.

        It goes on at its place by reading again what was read before.
        """
        return IterableDataset.from_generator(_held_rows, features=self.stream.features, gen_kwargs={"part": self})


def _held_rows(part: StreamPart) -> Iterator[dict[str, Any]]:
    """Yield the rows of a part that are held, each compared with what was read when the stream was added."""
    stays = np.ones(len(part), dtype=bool) if part.stays is None else part.stays
    hi, lo = np.zeros(stays.size, dtype=np.uint64), np.zeros(stays.size, dtype=np.uint64)
    hi[stays], lo[stays] = id_words(part.rows.column(ID))
    start = 0
    for batch in part.stream.with_format("arrow").iter(batch_size=_BATCH_ROWS // 10):
        end = start + batch.num_rows
        if end > stays.size:
            raise ProvenanceError(f"a stream gives more than the {stays.size} rows that it had; add it again")
        own = np.flatnonzero(stays[start:end])
        found_hi, found_lo = id_words(batch.column(ID))
        other = own[(found_hi[own] != hi[start:end][own]) | (found_lo[own] != lo[start:end][own])]
        if other.size:
            text = f"row {start + int(other[0])} of a stream is not the row that it was when the stream was added"
            raise ProvenanceError(f"{text}; add streams that give the same rows in the same order each time")
        yield from batch.take(pa.array(own)).to_pylist()
        start = end
    if start < stays.size:
        text = f"a stream ended after {start} of the {stays.size} rows that it had when it was added"
        raise ProvenanceError(f"{text}; add streams that give the same rows each time")


class _Weigh:
    """Picklable mapper: add the weight of a row."""

    def __init__(self, real: float, synthetic: float) -> None:
        self.real, self.synthetic = real, synthetic

    def __call__(self, row: dict[str, Any]) -> dict[str, float]:
        return {WEIGHT: self.real if row["cg_origin"] == Origin.REAL else self.synthetic}


def read_stream(stream: IterableDataset, tagged: Tag, policy: Policy, *, score: Score | None = None) -> StreamPart:
    """Return a stream as a part of a holder; it is read to its end here, batch by batch.

    Args:
        score: of synthetic rows, as :func:`~collapse_guard.curate.quality_scores` takes it.

    Raises ProvenanceError for no rows and for rows that are tagged already, CellError without the cell column.
    """
    what = f"source {tagged.source!r}"
    if set(PROVENANCE_COLUMNS) & set(stream.column_names or ()):
        raise ProvenanceError(f"{what}: the stream is tagged already; pass it without its tags (collapse_guard.strip)")
    made = tag_one(stream.with_format(None), tagged, overwrite=False, rule=policy.identity.id_rule())
    narrow = [
        _narrow_batch(batch, tagged, policy, score, what)
        for batch in made.with_format("arrow").iter(batch_size=_BATCH_ROWS)
    ]
    if not narrow:
        raise ProvenanceError(f"{what} has no rows; leave it out, or look at how it was read")
    return StreamPart(made, pa.concat_tables(narrow, promote_options="permissive").combine_chunks())


def _narrow_batch(batch: pa.Table, tagged: Tag, policy: Policy, score: Score | None, what: str) -> pa.Table:
    """Return the columns of a batch that decide."""
    columns = () if policy.coverage is None else policy.coverage.columns
    for name in columns or ():
        if name not in batch.column_names:
            hint = nearest(name, batch.column_names)
            raise CellError(f"{what} has no column {name!r} (coverage.cells); {hint}")
    wanted = [*PROVENANCE_COLUMNS, *(columns or ())] if columns is not None else batch.column_names
    rows = batch.select([name for name in batch.column_names if name in wanted and name != SCORE])
    if tagged.origin is not Origin.REAL:
        rows = rows.append_column(SCORE, quality_scores(batch, score, policy))
    if policy.unit != "rows":
        rows = rows.append_column(AMOUNT, pa.array(amounts(batch, policy.unit, policy.unit_column)))
    return rows


def planned_stream(plan: MixPlan, real: Sequence[Part], synthetic: Sequence[Part], *, shuffle: bool) -> IterableDataset:
    """Return the rows of a plan as a stream: real ones first, or interleaved so that every prefix keeps the real share.

    Raises InputError for a plan that repeats rows: a stream is read once.
    """
    if plan.n_repeated_rows:
        text = f"the plan repeats {plan.n_repeated_rows} rows, and a stream gives each of its rows once"
        raise InputError(f"{text}; pass a Dataset, or another mix.when_short")
    streams = [_chosen(parts, which) for parts, which in ((real, plan.real), (synthetic, plan.chosen))]
    if not shuffle or not streams[1]:
        mixed = concatenate_datasets([*streams[0], *streams[1]])
    else:
        share = plan.real.size / plan.n_rows  # of rows, which a stream counts
        rules = {"version": 1, "mix": {"real_min_share": share * (1 - 1e-12), "seed": plan.seed}}
        mixed = mix_streams(streams[0], streams[1], rules | {"provenance": {"max_generation_depth": 254}})
    if (plan.real_weight, plan.synthetic_weight) == (1.0, 1.0):
        return mixed
    return mixed.map(_Weigh(plan.real_weight, plan.synthetic_weight))


def _chosen(parts: Sequence[Part], which: NDArray[np.int64]) -> list[IterableDataset]:
    """Return streams of the rows ``which`` of all ``parts``, part by part; parts without one are left out."""
    streams, start = [], 0
    for part in parts:
        own = which[(which >= start) & (which < start + len(part))] - start
        start += len(part)
        if own.size == 0:
            continue
        if isinstance(part, StreamPart):
            streams.append(part.select(own).as_stream())
        else:
            kept = part.remove_columns([SCORE]) if SCORE in part.column_names else part
            streams.append((kept if own.size == len(part) else kept.select(own)).to_iterable_dataset())
    return streams
