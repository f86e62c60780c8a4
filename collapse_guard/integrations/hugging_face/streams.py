"""Mixes of streams: every real row, synthetic rows as far as the caps allow at any moment, and an exact place."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from datasets import DatasetInfo, Features, IterableDataset, Value

from collapse_guard.curate import unknown_sources
from collapse_guard.errors import InputError, ProvenanceError
from collapse_guard.integrations.hugging_face.stream_mix import MixExamples, mix_part, mix_state
from collapse_guard.integrations.hugging_face.stream_reader import StreamReader, known_rows
from collapse_guard.integrations.hugging_face.stream_run import MixRules, MixState, StreamHead, row_tags
from collapse_guard.integrations.hugging_face.tags import TAG_FEATURES
from collapse_guard.kernels import canonical_bytes, sha256_hex
from collapse_guard.mixing.prefix import PrefixCaps
from collapse_guard.policy import Policy
from collapse_guard.records import ID, PROVENANCE_COLUMNS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from os import PathLike

#: Rows that are read to see the columns of a stream that does not say them.
_PEEKED_ROWS: Final = 100
_NO_ROWS: Final = "{} has no rows; leave it out, or look at how it was read"


def mix_streams(
    real: IterableDataset | Sequence[IterableDataset],
    synthetic: IterableDataset | Sequence[IterableDataset],
    policy: Policy | Mapping[str, Any] | str | PathLike[str],
    *,
    seed: int | None = None,
) -> IterableDataset:
    """Return one stream of every real row, once, and of synthetic rows as far as the caps allow.

    Each cap holds at every moment, on the rows given so far: the real share is never below ``mix.real_min_share``.
    Real rows never wait for synthetic ones, and the stream does not end before they do. Which stream is read next
    comes from a hash of the seed and the step; sizes that are known spread the rows evenly. The first row of each
    stream is read here.

    The stream is an ordinary one: ``state_dict`` and ``load_state_dict`` lead back to the very row, also over a shuffle
    buffer of a stream that was mixed, which is then read from its beginning again. Shuffle the streams before mixing:
    a buffer after it blurs the caps and its place. Split by node after mixing; ranks and workers share out the shards
    of the streams if all have enough of them, and each of these mixes keeps the caps. Else ranks take turns at the
    rows of one mix, and only one worker reads.

    Args:
        real, synthetic: tagged streams (:func:`collapse_guard.tag`).
        policy: a Policy, a mapping, or the path of a YAML file; ``mix``, ``sources`` and ``provenance`` decide.
        seed: instead of ``mix.seed``.

    Raises ProvenanceError for streams that have no rows, are not tagged, or are tagged otherwise (here for the first
    row, else when the row comes); InputError for a policy that asks for what only a plan over all rows can keep, and
    when a state of other streams or of another policy is loaded and read.

    >>> from datasets import Dataset
    >>> from collapse_guard import tag
    >>> web = tag(Dataset.from_dict({"text": list("abcd")}), origin="real", source="web").to_iterable_dataset()
    >>> bot = tag(Dataset.from_dict({"text": list("wxyz")}), origin="synthetic", source="bot", generation=1)
    >>> mixed = mix_streams(web, bot.to_iterable_dataset(), {"version": 1, "mix": {"real_min_share": 0.8}})
    >>> sorted(row["text"] for row in mixed)
    ['a', 'b', 'c', 'd', 'w']
    """
    rules = Policy.coerce(policy)
    caps = PrefixCaps.of_policy(rules)
    streams = [*_opened(real, is_real=True), *_opened(synthetic, is_real=False)]
    if not streams or not streams[0].is_real:
        raise ProvenanceError("a mix needs a real stream; add one, generated rows never stand alone")
    features = _joined_features(streams)
    tokens = {repo: token for one in streams for repo, token in getattr(one.stream, "_token_per_repo_id", {}).items()}
    unknown = unknown_sources(rules)
    firsts = [_first(one, features, tokens, unknown) for one in streams]
    heads = [head for head, _ in firsts]
    sizes = [[head.n_rows for head in heads if head.is_real is is_real] for is_real in (True, False)]
    mix = MixRules(
        caps,
        caps.pace(*(None if None in part else sum(size or 0 for size in part) for part in sizes)),
        rules.mix.seed if seed is None else seed,
        rules.digest,
        sha256_hex([canonical_bytes([[head.part, head.source, head.n_rows, found] for head, found in firsts])]),
        unknown_sources=unknown,
    )
    examples = MixExamples([deepcopy(one.examples) for one in streams], heads, mix, features, tokens)
    return IterableDataset(ex_iterable=examples, info=DatasetInfo(features=features), token_per_repo_id=tokens)


@dataclass(frozen=True)
class _Opened:
    """A stream that is to be mixed."""

    stream: IterableDataset
    is_real: bool
    name: str

    @property
    def examples(self) -> Any:
        """What it reads; its format is left behind, as `interleave_datasets` does."""
        return self.stream._ex_iterable  # noqa: SLF001 - `datasets` has no public name for it

    @property
    def features(self) -> Features:
        """Types of its rows; those of its first rows if it does not say them."""
        if self.stream.features is not None:
            return self.stream.features
        peeked = next(iter(deepcopy(self.stream).with_format("arrow").iter(batch_size=_PEEKED_ROWS)), None)
        if peeked is None:
            raise ProvenanceError(_NO_ROWS.format(self.name))
        return Features.from_arrow_schema(peeked.schema)


def _opened(streams: IterableDataset | Sequence[IterableDataset], *, is_real: bool) -> list[_Opened]:
    """Return one part of a mix; raises for what is no stream, and for one that is divided already."""
    listed = list(streams) if isinstance(streams, (list, tuple)) else [streams]
    opened = []
    for number, stream in enumerate(listed):
        name = f"{'real' if is_real else 'synthetic'} stream {number}"
        if not isinstance(stream, IterableDataset):
            text = f"{name}: a datasets.IterableDataset is needed, got {type(stream).__name__}"
            raise ProvenanceError(f"{text}; name a split, call to_iterable_dataset, or use plan_mix for datasets")
        if getattr(stream, "_distributed", None) is not None:
            raise InputError(f"{name} is split by node; mix first, then split, so that every node has the same mix")
        opened.append(_Opened(stream, is_real, name))
    return opened


def _joined_features(streams: Sequence[_Opened]) -> Features:
    """Return the columns of all streams; raises ProvenanceError if one has no tags, or two differ in a type."""
    joined: dict[str, Any] = {}
    for one in streams:
        features = one.features
        absent = [name for name in PROVENANCE_COLUMNS if name not in features]
        if absent:
            raise ProvenanceError(f"{one.name} lacks {', '.join(absent)}; tag it (collapse_guard.tag) before mixing")
        for name, kind in (dict(features) | dict(TAG_FEATURES)).items():
            there = joined.setdefault(name, kind)
            if there == Value("null"):
                joined[name] = kind
            elif kind not in (there, Value("null")):
                text = f"{one.name} has {name!r} as {kind}, streams before it as {there}"
                raise ProvenanceError(f"{text}; cast one (stream.cast_column)")
    return Features(joined)


def _first(one: _Opened, features: Features, tokens: dict[str, Any], unknown: frozenset[str]) -> tuple[StreamHead, str]:
    """Return what is known of a stream, and the id of its first row."""
    row = StreamReader(one.examples, features, tokens, None).head()
    if row is None:
        raise ProvenanceError(_NO_ROWS.format(one.name))
    tags = row_tags(row, is_real=one.is_real, where=f"row 0 of {one.name}", unknown_sources=unknown)
    return StreamHead(one.is_real, tags.source, known_rows(one.examples, _described_rows(one.stream))), bytes(
        row[ID] or b""
    ).hex()


def _described_rows(stream: IterableDataset) -> int | None:
    """Return the rows of the split that a stream was loaded from, where its card says so."""
    splits, split = stream.info.splits, stream.split
    described = None if splits is None or split is None else splits.get(str(split))
    return None if described is None else described.num_examples or None


@dataclass(frozen=True)
class EpochReport:
    """What a mix of streams has given so far in this epoch, on this process.

    Args:
        n_real_rows, n_synthetic_rows: rows given.
        rows_by_source: the same by the source that the rows name.
        unseen_real: source -> real rows that have not come yet, of the sources whose size is known.
        n_too_deep_rows: synthetic rows that were left out for their generation.
    """

    n_real_rows: int
    n_synthetic_rows: int
    rows_by_source: Mapping[str, int]
    unseen_real: Mapping[str, int]
    n_too_deep_rows: int

    @property
    def real_share(self) -> float:
        """Share of real rows among those given; 1 before the first."""
        n_rows = self.n_real_rows + self.n_synthetic_rows
        return self.n_real_rows / n_rows if n_rows else 1.0


def epoch_report(stream: IterableDataset) -> EpochReport:
    """Return what a mix has given so far in this epoch.

    Args:
        stream: made by :func:`mix_streams`, as it is or after map, filter and the like. The process counts that
            reads: with workers, each has its own count, and the main process has none.

    Raises InputError for another stream.

    >>> from datasets import Dataset
    >>> from collapse_guard import tag
    >>> web = tag(Dataset.from_dict({"text": list("abc")}), origin="real", source="web").to_iterable_dataset()
    >>> mixed = mix_streams(web, [], {"version": 1})
    >>> _ = next(iter(mixed))
    >>> epoch_report(mixed).unseen_real
    {'web': 2}
    """
    mix, state = _found(stream)
    rows, tally = state["rows"], state["tally"]
    return EpochReport(
        tally["real"], tally["synthetic"], dict(tally["sources"]), _unseen(mix, rows), sum(state["too_deep"])
    )


def unseen_real(stream: IterableDataset) -> dict[str, int]:
    """Return source -> real rows that have not come yet in this epoch, of the sources whose size is known.

    Raises InputError for a stream that :func:`mix_streams` did not make.
    """
    mix, state = _found(stream)
    return _unseen(mix, state["rows"])


def _found(stream: IterableDataset) -> tuple[MixExamples, MixState]:
    """Return the mix within a stream, and its state."""
    mix = mix_part(getattr(stream, "_ex_iterable", None))
    if mix is None:
        raise InputError(f"a stream of mix_streams is needed, got {type(stream).__name__} without a mix in it")
    distributed = getattr(stream, "_distributed", None)
    if distributed is not None and _divides(mix, distributed):
        mix = mix.shard_data_sources(distributed.world_size, distributed.rank, contiguous=False)
    return mix, mix_state(stream.state_dict()) or mix.new_state()


def _divides(mix: MixExamples, distributed: Any) -> bool:
    """Return whether ranks share out the shards of a mix, and do not take turns at its rows."""
    strategy = getattr(distributed, "strategy", "auto")
    return strategy == "shards" or (strategy == "auto" and mix.num_shards % distributed.world_size == 0)


def _unseen(mix: MixExamples, rows: Sequence[int]) -> dict[str, int]:
    left: dict[str, int] = {}
    unknown = {head.source for head in mix.heads if head.n_rows is None}
    for head, n_seen in zip(mix.heads, rows, strict=True):
        if head.is_real and head.n_rows is not None and head.source not in unknown:
            left[head.source] = left.get(head.source, 0) + head.n_rows - n_seen
    return left
