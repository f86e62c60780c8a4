"""The part of a `datasets` stream that mixes others: real rows all, synthetic ones as far as caps allow so far."""

from __future__ import annotations

from copy import copy, deepcopy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self, TypedDict

import datasets.iterable_dataset
from datasets.iterable_dataset import _BaseExamplesIterable

from collapse_guard.errors import InputError, ProvenanceError
from collapse_guard.integrations.hugging_face.stream_reader import Place, StreamReader
from collapse_guard.mixing.prefix import (
    PrefixCaps,
    PrefixTally,
    RowTags,
    count,
    draws,
    empty_tally,
    is_due,
    picked,
)
from collapse_guard.records import GENERATION, GENERATOR, ORIGIN, SOURCE, Origin

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np
    from datasets import Features

#: Rows too deep to enter that are stepped over in search of the next one; a stream of nothing else must not hang it.
_MOST_SKIPPED = 1000


@dataclass(frozen=True)
class StreamHead:
    """What is known of a stream before it is read.

    Args:
        is_real: which part it belongs to.
        source: of its first row.
        n_rows: None if it is not known.
    """

    is_real: bool
    source: str
    n_rows: int | None

    @property
    def part(self) -> str:
        """``real`` or ``synthetic``."""
        return "real" if self.is_real else "synthetic"


@dataclass(frozen=True)
class MixRules:
    """What decides the order and size of a mix; the same for all of its shards.

    Args:
        caps: of the policy.
        pace: synthetic rows per real row.
        seed: of the order; moved by epochs and workers.
        policy_digest: of the policy.
        streams_digest: over the first rows and known sizes of all streams.
        shards: (how many, which) of each time the mix was divided.
    """

    caps: PrefixCaps
    pace: float
    seed: int
    policy_digest: str
    streams_digest: str
    shards: tuple[tuple[int, int], ...] = ()


class MixState(TypedDict):
    """Where a mix stands, as plain values."""

    policy: str
    streams: str
    order: str
    step: int
    rows: list[int]
    too_deep: list[int]
    tally: PrefixTally
    places: list[Place]


class MixExamples(_BaseExamplesIterable):  # type: ignore[misc] # datasets has no types
    """Rows of several streams as one.

    It is part of the private side of `datasets`, like every stream of it; ``tests/integrations/test_streams.py`` says
    loudly which of the names it needs is gone.

    Args:
        ex_iterables: what the streams read; the name is that of `datasets`, which looks for it.
        heads: of the streams.
        rules: of the mix.
        row_features: types of the rows.
        tokens: for pictures and sounds that lie elsewhere.
    """

    def __init__(
        self,
        ex_iterables: list[Any],
        heads: Sequence[StreamHead],
        rules: MixRules,
        row_features: Features,
        tokens: dict[str, Any],
    ) -> None:
        super().__init__()
        self.ex_iterables = ex_iterables
        self.heads, self.rules, self.row_features, self.tokens = tuple(heads), rules, row_features, tokens

    @property
    def is_typed(self) -> bool:
        """Rows come in the types of :attr:`features`; nothing need be cast or decoded again."""
        return True

    @property
    def features(self) -> Features:
        """Types of the rows."""
        return self.row_features

    @property
    def num_shards(self) -> int:
        """Into how many the mix can be divided: as many as every stream can, so that each shard is such a mix."""
        return min((examples.num_shards for examples in self.ex_iterables), default=0)

    def shuffle_data_sources(self, generator: np.random.Generator) -> MixExamples:
        """Return the mix with the files of each stream in another order, and another order of streams."""
        seed = int(deepcopy(generator).integers(2**62))
        shuffled = [_shuffled(examples, generator) for examples in self.ex_iterables]
        return self._with(shuffled, replace(self.rules, seed=self.rules.seed ^ seed))

    def shift_rngs(self, value: int) -> MixExamples:
        """Return the mix with another order of streams, for an epoch or a worker."""
        return self._with(self.ex_iterables, replace(self.rules, seed=self.rules.seed + value))

    def shard_data_sources(self, num_shards: int, index: int, contiguous: bool = True) -> MixExamples:  # noqa: FBT001, FBT002 - as datasets has it
        """Return one shard: a mix of a shard of every stream."""
        n_shards = min(num_shards, self.num_shards)
        rules = replace(self.rules, shards=(*self.rules.shards, (num_shards, index)))
        if index >= n_shards:
            return MixExamples([], (), rules, self.row_features, self.tokens)
        parts = [part.shard_data_sources(n_shards, index, contiguous=contiguous) for part in self.ex_iterables]
        return self._with(parts, rules)

    def reshard_data_sources(self) -> MixExamples:
        """Return the mix with each stream in more shards, where it has them."""
        return self._with([examples.reshard_data_sources() for examples in self.ex_iterables], self.rules)

    def _with(self, ex_iterables: list[Any], rules: MixRules) -> MixExamples:
        return MixExamples(ex_iterables, self.heads, rules, self.row_features, self.tokens)

    def _init_state_dict(self) -> dict[str, Any]:
        for examples in self.ex_iterables:
            examples._init_state_dict()  # noqa: SLF001 - the protocol of datasets
        # One value, so that a state of another mix is seen as a whole and refused, not laid over this one.
        self._state_dict = {"mix": None, "type": type(self).__name__}
        return self._state_dict

    def __iter__(self) -> Iterator[tuple[str, dict[str, Any]]]:
        kept = self._state_dict
        if kept is None:
            kept = self._init_state_dict()
        state = deepcopy(kept["mix"]) if kept["mix"] is not None else self._new_state()
        self._check_is_own(state)
        kept["mix"] = state
        yield from _Run(self, state).rows()

    def _new_state(self) -> MixState:
        n = len(self.heads)
        return {
            "policy": self.rules.policy_digest,
            "streams": self.rules.streams_digest,
            "order": self._order,
            "step": 0,
            "rows": [0] * n,
            "too_deep": [0] * n,
            "tally": empty_tally(),
            "places": [{"before": None, "rows": 0} for _ in range(n)],
        }

    @property
    def _order(self) -> str:
        return f"seed {self.rules.seed}" + "".join(f", shard {index} of {n}" for n, index in self.rules.shards)

    def _check_is_own(self, state: MixState) -> None:
        """Raise InputError for a state of another mix: reading on would lose or repeat rows without a word."""
        own = self._new_state()
        if state["policy"] != own["policy"]:
            text = f"the state is of a mix under the policy {state['policy'][:19]}..., this is {own['policy'][:19]}..."
            raise InputError(f"{text}; load the policy that it was saved under, or begin anew")
        if state["streams"] != own["streams"]:
            text = "the state is of a mix of other streams: their number, first rows or sizes differ"
            raise InputError(f"{text}; pass the same ones in the same order, shuffled with the same seed, or begin anew")
        if state["order"] != own["order"]:
            text = f"the state is of a mix in another order ({state['order']}), this is {own['order']}"
            raise InputError(f"{text}; use the same seed, ranks and workers, or begin anew")


def _shuffled(examples: Any, generator: np.random.Generator) -> Any:
    """Return a stream with its files in another order, or as it is where `skip` or `take` fixed it."""
    refused = getattr(datasets.iterable_dataset, "DataSourcesShufflingDisallowed", ())
    try:
        return examples.shuffle_data_sources(generator)
    except refused:
        return examples


class _Run:
    """One pass over a mix; all that must outlive it stands in ``state``."""

    def __init__(self, mix: MixExamples, state: MixState) -> None:
        self.rules, self.heads, self.state = mix.rules, mix.heads, state
        self.readers = [
            StreamReader(copy(examples), mix.row_features, mix.tokens, place)
            for examples, place in zip(mix.ex_iterables, state["places"], strict=True)
        ]
        self.open = {is_real: [n for n, h in enumerate(mix.heads) if h.is_real is is_real] for is_real in (True, False)}

    def rows(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield keys and rows; a step never waits for synthetic rows, and ends only when no real row is left."""
        state, tally = self.state, self.state["tally"]
        while True:
            which, among = draws(self.rules.seed, state["step"])
            found = self._synthetic(among) if is_due(tally, self.rules.pace, which) else None
            found = found or self._real(among) or self._synthetic(among)
            if found is None:
                return
            number, row, tags = found
            count(tally, tags)
            self.readers[number].take()
            state["rows"][number] += 1
            state["step"] += 1
            yield f"{number}_{state['rows'][number]}", row

    def _real(self, draw: float) -> tuple[int, dict[str, Any], RowTags] | None:
        while numbers := self.open[True]:
            number = numbers[picked(self._weights(numbers), draw)]
            row = self.readers[number].head()
            if row is not None:
                return number, row, self._tags(number, row)
            numbers.remove(number)
        return None

    def _synthetic(self, draw: float) -> tuple[int, dict[str, Any], RowTags] | None:
        """Return the next row of the drawn stream, or of another one if no cap has room for it."""
        numbers = list(self.open[False])
        while numbers:
            number = numbers.pop(picked(self._weights(numbers), draw))
            row = self._shallow(number)
            if row is None:
                self.open[False].remove(number)
                continue
            tags = self._tags(number, row)
            if not self.rules.caps.is_too_deep(tags) and self.rules.caps.admit(tags, self.state["tally"]):
                return number, row, tags
        return None

    def _shallow(self, number: int) -> dict[str, Any] | None:
        """Return the next row that is not too deep, or one that is after many of them; None at the end."""
        reader, row = self.readers[number], self.readers[number].head()
        for _ in range(_MOST_SKIPPED):
            if row is None or not self.rules.caps.is_too_deep(self._tags(number, row)):
                break
            reader.take()
            self.state["too_deep"][number] += 1
            row = reader.head()
        return row

    def _weights(self, numbers: Sequence[int]) -> list[float]:
        """Return the chances of streams: their sizes, so that they end together; equal ones if a size is not known."""
        sizes = [self.heads[number].n_rows for number in numbers]
        return [1.0] * len(sizes) if None in sizes else [float(max(size or 0, 1)) for size in sizes]

    def _tags(self, number: int, row: dict[str, Any]) -> RowTags:
        n_before = self.state["rows"][number] + self.state["too_deep"][number]
        return row_tags(row, is_real=self.heads[number].is_real, where=f"row {n_before} of {self._name(number)}")

    def _name(self, number: int) -> str:
        head = self.heads[number]
        place = sum(other.is_real is head.is_real for other in self.heads[:number])
        return f"{head.part} stream {place} ({head.source})"


def row_tags(row: dict[str, Any], *, is_real: bool, where: str) -> RowTags:
    """Return what caps ask of a row; raises ProvenanceError unless it is tagged, and belongs to its part."""
    origin, source, generation = row.get(ORIGIN), row.get(SOURCE), row.get(GENERATION)
    if origin is None or source is None or generation is None:
        raise ProvenanceError(f"{where} has no tags; tag its stream (collapse_guard.tag) before mixing")
    if (origin == Origin.REAL) is not is_real:
        kind = Origin(origin).name.lower() if 0 <= origin < len(Origin) else f"with the origin {origin}"
        raise ProvenanceError(f"{where} is tagged {kind}; pass it in the other list, or tag it")
    return RowTags(is_real, str(source), row.get(GENERATOR), int(generation))


def mix_part(examples: Any) -> MixExamples | None:
    """Return the mix that a stream reads, through what was done to it afterwards; None if there is none."""
    while examples is not None and not isinstance(examples, MixExamples):
        examples = getattr(examples, "ex_iterable", None)
    return examples


def mix_state(state: Any) -> MixState | None:
    """Return the state of the mix within the state of a stream; None if there is none, or before the first row."""
    if not isinstance(state, dict):
        return None
    if state.get("type") == MixExamples.__name__:
        found: MixState | None = state["mix"]
        return found
    return next((found for value in state.values() if (found := mix_state(value)) is not None), None)
