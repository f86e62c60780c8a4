"""One stream, read row by row from any place: the state of `datasets` where that is exact, else from its beginning."""

from __future__ import annotations

from copy import deepcopy
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, TypedDict

import datasets
import pyarrow as pa
from datasets import Dataset, Features
from datasets.formatting import PythonFormatter
from datasets.table import table_cast

from collapse_guard.integrations.hugging_face.tags import TagBatch

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Rows that are decoded at a time: pictures and sounds are in memory meanwhile.
_BLOCK_ROWS: Final = 64

#: Parts of a stream whose own state leads back to the very row. Any other part, such as a shuffle buffer, forgets
#: what it holds: a stream with one is read from its beginning again.
_EXACT: Final = frozenset(
    {
        "ArrowExamplesIterable",
        "ExamplesIterable",
        "SelectColumnsIterable",
        "VerticallyConcatenatedMultiSourcesExamplesIterable",
    }
)
#: The same from `datasets` 5.1 on; before, they lose or repeat rows where a batch of theirs spans two that they read.
_EXACT_LATER: Final = frozenset(
    {
        "FilteredExamplesIterable",
        "FormattedExamplesIterable",
        "MappedExamplesIterable",
        "RebatchedArrowExamplesIterable",
    }
)
#: Parts that give as many rows as they read.
_SAME_SIZE: Final = frozenset(
    {
        "BufferShuffledExamplesIterable",
        "FormattedExamplesIterable",
        "InterleavedShardsExamplesIterable",
        "RebatchedArrowExamplesIterable",
        "SelectColumnsIterable",
    }
)


class Place(TypedDict):
    """Where a reader stands, as plain values.

    Args:
        before: state of the stream before what is being read; None: its beginning.
        rows: rows given since then.
    """

    before: dict[str, Any] | None
    rows: int


class StreamReader:
    """Rows of a stream in the types of ``features``; the next one can be looked at before it is taken.

    Args:
        examples: what a `datasets` stream reads.
        features: of the rows it gives; columns that the stream lacks are null.
        token_per_repo_id: for pictures and sounds that lie elsewhere.
        place: where to begin; it is kept up to date.
    """

    def __init__(
        self, examples: Any, features: Features, token_per_repo_id: dict[str, Any], place: Place | None
    ) -> None:
        # A copy: the state of what is read is then its own, whoever else reads the same stream.
        self._examples, self._features, self._tokens = deepcopy(examples), features, token_per_repo_id
        self._examples._init_state_dict()  # noqa: SLF001 - the protocol of datasets
        self._formatter = PythonFormatter(features=features, token_per_repo_id=token_per_repo_id)
        self._is_exact = is_exact(self._examples)
        self.place: Place = {"before": None, "rows": 0} if place is None else place
        if self.place["before"] is not None:
            self._examples.load_state_dict(self.place["before"])
        self._blocks = self._read(self.place["rows"])
        self._rows: list[dict[str, Any]] = []
        self._next = 0

    def head(self) -> dict[str, Any] | None:
        """Return the next row without taking it, None at the end."""
        while self._next >= len(self._rows):
            block = next(self._blocks, None)
            if block is None:
                return None
            self._rows, self._next = block, 0
        return self._rows[self._next]

    def take(self) -> None:
        """Step over the row that :meth:`head` showed."""
        self._next += 1
        self.place["rows"] += 1

    def _read(self, n_skipped: int) -> Iterator[list[dict[str, Any]]]:
        """Yield rows in blocks, without the first ones."""
        chunks = self._arrow_chunks() if self._examples.iter_arrow else self._plain_chunks()
        n_before = n_skipped
        while True:
            state = self._examples.state_dict() if self._is_exact and not n_before else None
            chunk = next(chunks, None)
            if chunk is None:
                return
            if state is not None:
                self.place["before"], self.place["rows"] = state, 0
            n_over = min(n_before, len(chunk))
            n_before -= n_over
            for start in range(n_over, len(chunk), _BLOCK_ROWS):
                yield self._typed(chunk[start : start + _BLOCK_ROWS])

    def _arrow_chunks(self) -> Iterator[pa.Table]:
        for _, table in self._examples.iter_arrow():
            yield table

    def _plain_chunks(self) -> Iterator[list[dict[str, Any]]]:
        examples = iter(self._examples)
        while chunk := [example for _, example in islice(examples, _BLOCK_ROWS)]:
            yield chunk

    def _typed(self, block: pa.Table | list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return rows as `datasets` gives them without a format."""
        if isinstance(block, list):
            return [self._decoded(row) for row in block]
        missing = [name for name in self._features if name not in block.column_names]
        for name in missing:
            block = block.append_column(name, pa.nulls(block.num_rows))
        block = block.select(list(self._features))
        schema = self._features.arrow_schema
        batch = self._formatter.format_batch(block if block.schema.equals(schema) else table_cast(block, schema))
        return [dict(zip(batch, values, strict=True)) for values in zip(*batch.values(), strict=True)]

    def _decoded(self, row: dict[str, Any]) -> dict[str, Any]:
        whole = {name: row.get(name) for name in self._features}
        encoded = self._features.encode_example(whole)
        decoded: dict[str, Any] = self._features.decode_example(encoded, token_per_repo_id=self._tokens)
        return decoded


def is_exact(examples: Any) -> bool:
    """Return whether the state of every part of a stream leads back to the very row."""
    release = tuple(int(number) for number in datasets.__version__.split(".")[:2])
    kinds = _EXACT | _EXACT_LATER if release >= (5, 1) else _EXACT
    return type(examples).__name__ in kinds and all(is_exact(part) for part in parts_of(examples))


def parts_of(examples: Any) -> list[Any]:
    """Return what a part of a stream reads itself."""
    inner = getattr(examples, "ex_iterable", None)
    return list(getattr(examples, "ex_iterables", ())) if inner is None else [inner]


def known_rows(examples: Any, n_leaf_rows: int | None = None) -> int | None:
    """Return the number of rows of a stream, None if it cannot be known without reading it.

    Args:
        examples: what a `datasets` stream reads.
        n_leaf_rows: rows of its innermost part, where its description says so.
    """
    kind, parts = type(examples).__name__, parts_of(examples)
    if not parts:
        n_rows_held = _rows_of_datasets(examples)
        return n_leaf_rows if n_rows_held is None else n_rows_held
    sizes = [known_rows(part, n_leaf_rows if len(parts) == 1 else None) for part in parts]
    if None in sizes:
        return None
    n_rows = sum(size for size in sizes if size is not None)
    if kind in _SAME_SIZE or kind == "VerticallyConcatenatedMultiSourcesExamplesIterable":
        return n_rows
    if kind == "MappedExamplesIterable":
        keeps_rows = not examples.batched or isinstance(examples.function, TagBatch)
        return n_rows if keeps_rows else None
    if kind == "TakeExamplesIterable":
        return min(n_rows, int(examples.n))
    return max(n_rows - int(examples.n), 0) if kind == "SkipExamplesIterable" else None


def _rows_of_datasets(leaf: Any) -> int | None:
    """Return the rows of a stream over datasets in memory or on disk."""
    given = getattr(leaf, "kwargs", {}).values()
    held = [part for value in given if isinstance(value, list) for part in value if isinstance(part, Dataset)]
    return sum(len(part) for part in held) if held else None
