"""The part of a `datasets` stream that mixes others: real rows all, synthetic ones as far as caps allow so far."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import datasets.iterable_dataset
from datasets.iterable_dataset import _BaseExamplesIterable

from collapse_guard.errors import InputError
from collapse_guard.integrations.hugging_face.stream_reader import StreamReader, known_rows
from collapse_guard.integrations.hugging_face.stream_run import MixRules, MixRun, MixState, StreamHead
from collapse_guard.mixing.prefix import empty_tally

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np
    from datasets import Features


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
        heads = [replace(head, n_rows=known_rows(part)) for head, part in zip(self.heads, parts, strict=True)]
        return MixExamples(parts, heads, rules, self.row_features, self.tokens)

    def reshard_data_sources(self) -> MixExamples:
        """Return the mix with each stream in more shards, where it has them."""
        return self._with([examples.reshard_data_sources() for examples in self.ex_iterables], self.rules)

    def _with(self, ex_iterables: list[Any], rules: MixRules) -> MixExamples:
        return MixExamples(ex_iterables, self.heads, rules, self.row_features, self.tokens)

    def _init_state_dict(self) -> dict[str, Any]:
        # One value, so that a state of another mix is seen as a whole and refused, not laid over this one.
        self._state_dict = {"mix": None, "type": type(self).__name__}
        return self._state_dict

    def __iter__(self) -> Iterator[tuple[str, dict[str, Any]]]:
        kept: dict[str, Any] = self._state_dict or self._init_state_dict()
        state: MixState = deepcopy(kept["mix"]) if kept["mix"] is not None else self.new_state()
        self._check_is_own(state)
        kept["mix"] = state
        readers = [
            StreamReader(examples, self.row_features, self.tokens, place)
            for examples, place in zip(self.ex_iterables, state["places"], strict=True)
        ]
        yield from MixRun(readers, self.heads, self.rules, state).rows()

    def new_state(self) -> MixState:
        """Return the state before the first row."""
        n = len(self.heads)
        return {
            "policy": self.rules.policy_digest,
            "streams": self.rules.streams_digest,
            "order": self._order,
            "step": 0,
            "rows": [0] * n,
            "too_deep": [0] * n,
            "ended": [],
            "tally": empty_tally(),
            "places": [{"before": None, "rows": 0} for _ in range(n)],
        }

    @property
    def _order(self) -> str:
        return f"seed {self.rules.seed}" + "".join(f", shard {index} of {n}" for n, index in self.rules.shards)

    def _check_is_own(self, state: MixState) -> None:
        """Raise InputError for a state of another mix: reading on would lose or repeat rows without a word."""
        own = self.new_state()
        if state["policy"] != own["policy"]:
            text = f"the state is of a mix under the policy {state['policy'][:19]}..., this is {own['policy'][:19]}..."
            raise InputError(f"{text}; load the policy that it was saved under, or begin anew")
        if state["streams"] != own["streams"]:
            text = "the state is of a mix of other streams: their number, first rows or sizes differ"
            raise InputError(
                f"{text}; pass the same ones in the same order, shuffled with the same seed, or begin anew"
            )
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


def mix_part(examples: Any) -> MixExamples | None:
    """Return the mix that a stream reads, through what was done to it afterwards; None if there is none.

    Raises InputError if it was shuffled afterwards: rows in the buffer have been read, and have not come.
    """
    while examples is not None and not isinstance(examples, MixExamples):
        is_buffer = type(examples).__name__ == "BufferShuffledExamplesIterable"
        examples = getattr(examples, "ex_iterable", None)
        if is_buffer and mix_part(examples) is not None:
            text = "the stream was shuffled after mixing, and its buffer hides what has come"
            raise InputError(f"{text}; shuffle the streams before mixing")
    return examples


def mix_state(state: Any) -> MixState | None:
    """Return the state of the mix within the state of a stream; None if there is none, or before the first row."""
    if not isinstance(state, dict):
        return None
    if state.get("type") == MixExamples.__name__:
        found: MixState | None = state["mix"]
        return found
    return next((found for value in state.values() if (found := mix_state(value)) is not None), None)
