"""Token ids by how frequent they are on real rows; a document stands for one of its tokens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np

from collapse_guard.cells.columns import column_of, token_ids
from collapse_guard.cells.contract import CELL_MAPS, digest_of, state_of
from collapse_guard.cells.declared import MAX_SEED, check_seed, check_whole
from collapse_guard.cells.state import Parts
from collapse_guard.errors import CellError
from collapse_guard.kernels import Ragged, mix64, seed_word

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from collapse_guard.cells.contract import Rows

MAX_BUCKETS: Final = 4096
_INT64: Final = 2**63


@CELL_MAPS.register("tokens")
@dataclass(frozen=True, slots=True)
class TokenCells:
    """Frequency buckets of token ids, from the most frequent tokens to the rarest.

    Buckets are geometric: each spans the same factor of real frequency. A document's cell is the bucket of ONE of its
    tokens, picked by a seeded hash of its own tokens, uniformly over positions. So documents stay the independent
    unit and their counts multinomial, with each bucket's mean share of a document as expectation. Equal documents
    pick the same token.

    Args:
        column: a column of lists of token ids.
        seed: seed of the pick.
        names: one per bucket, with how frequent its tokens are.
        buckets: the token ids of each bucket, sorted; a token that no real row has is in none.

    >>> import pyarrow as pa
    >>> rows = pa.table({"ids": [[1, 1, 1, 1], [1, 1, 1, 2]]})
    >>> cells = TokenCells.fit(rows, column="ids", n_buckets=2, seed=0)
    >>> cells.names
    ('bucket 1: 1 tokens, 875000 to 875000 per million', 'bucket 2: 1 tokens, 125000 to 125000 per million')
    >>> cells.cells(pa.table({"ids": [[1, 1], [2], [3], []]})).tolist()
    [0, 1, -1, -1]
    """

    column: str
    seed: int
    names: tuple[str, ...]
    buckets: tuple[tuple[int, ...], ...]

    @classmethod
    def fit(cls, rows: Rows, *, column: str, n_buckets: int, seed: int) -> Self:
        """Return the map over the tokens of real ``rows``; at most ``n_buckets`` buckets, none of them empty.

        Raises CellError without tokens, for another type of column, and for parameters out of range.
        """
        check_whole(n_buckets, "n_buckets", low=2, high=MAX_BUCKETS)
        check_seed(seed)
        values = token_ids(column_of(rows, column), column).values.to_numpy(zero_copy_only=False)
        if not values.size:
            raise CellError(f"column {column!r} holds no token in {rows.num_rows} rows; a reference needs tokens")
        tokens, counts = np.unique(values, return_counts=True)
        bucket_of = frequency_buckets(counts, n_buckets)
        held = [bucket_of == bucket for bucket in range(int(bucket_of.max()) + 1)]
        names = [_name(number, counts[inside], values.size) for number, inside in enumerate(held, start=1)]
        return cls(column, seed, tuple(names), tuple(tuple(tokens[inside].tolist()) for inside in held))

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """Return the map that wrote ``state``; raises CellError for anything malformed."""
        parts = Parts.of(state, "column", "seed", "names", "buckets")
        lists = [Parts.inside({"ids": ids}, "a bucket of tokens", "ids") for ids in parts.items("buckets")]
        buckets = tuple(each.wholes("ids", low=-_INT64, high=_INT64 - 1) for each in lists)
        names = parts.texts("names")
        if len(names) != len(buckets):
            raise parts.fail(f"{len(names)} names, {len(buckets)} buckets")
        if len({token for bucket in buckets for token in bucket}) < sum(map(len, buckets)):
            raise parts.fail("a token is in two buckets")
        return cls(parts.text("column"), parts.whole("seed", low=0, high=MAX_SEED), names, buckets)

    @property
    def n_cells(self) -> int:
        """Number of buckets."""
        return len(self.buckets)

    @property
    def columns(self) -> tuple[str, ...]:
        """The column of token ids."""
        return (self.column,)

    @property
    def digest(self) -> str:
        """Digest over the state."""
        return digest_of(self.state())

    def state(self) -> dict[str, Any]:
        """Return plain JSON values."""
        buckets = [list(bucket) for bucket in self.buckets]
        return state_of("tokens", column=self.column, seed=self.seed, names=list(self.names), buckets=buckets)

    def cells(self, rows: Rows) -> NDArray[np.int64]:
        """Return the bucket of the picked token of each row, -1 without tokens or if no real row has that token."""
        ids = token_ids(column_of(rows, self.column), self.column)
        values = ids.values.to_numpy(zero_copy_only=False)
        known = np.concatenate([np.asarray(bucket, dtype=np.int64) for bucket in self.buckets])
        cell_of = np.repeat(np.arange(self.n_cells), [len(bucket) for bucket in self.buckets])
        order = np.argsort(known, kind="stable")
        picked = values[picked_positions(Ragged(ids.lengths, values), seed=self.seed)]
        where = np.minimum(np.searchsorted(known[order], picked), known.size - 1)
        found = np.full(rows.num_rows, -1, dtype=np.int64)
        found[ids.lengths > 0] = np.where(known[order][where] == picked, cell_of[order][where], -1)
        return found


def frequency_buckets(counts: NDArray[np.int64], n_buckets: int) -> NDArray[np.int64]:
    """Return the bucket of each token, 0 for the most frequent ones, int64 of the shape of ``counts``.

    Every bucket spans the factor (largest count / smallest count) ** (1 / n_buckets); empty ones are left out.

    >>> frequency_buckets(np.array([1000, 100, 10, 1, 900]), 3).tolist()
    [0, 1, 2, 2, 0]
    """
    depth = np.log(counts.max() / counts)
    reach = float(depth.max())
    if reach == 0.0:
        return np.zeros(counts.size, dtype=np.int64)
    # The small step keeps a count that lies on an edge by definition from falling either way by rounding.
    bucket = np.minimum(np.floor(depth / reach * n_buckets + 1e-9), n_buckets - 1)
    return np.unique(bucket, return_inverse=True)[1].astype(np.int64)


def picked_positions(ids: Ragged, *, seed: int) -> NDArray[np.int64]:
    """Return where in ``ids.values`` the picked token of each row that has tokens stands.

    The pick is a function of the row's tokens, their order and the seed; it is uniform over positions.

    >>> picked_positions(Ragged(np.array([1, 0, 1]), np.array([7, 8])), seed=0).tolist()
    [0, 1]
    """
    filled = ids.lengths > 0
    starts, lengths = ids.starts[filled], ids.lengths[filled].astype(np.uint64)
    if not starts.size:
        return starts
    place = (np.arange(ids.values.size) - np.repeat(ids.starts, ids.lengths)).astype(np.uint64)
    mixed = mix64(ids.values.astype(np.uint64) + mix64(place + seed_word(seed)))
    content = mix64(np.add.reduceat(mixed, starts) + seed_word(seed + 1))
    return starts + (content % lengths).astype(np.int64)


def _name(number: int, counts: NDArray[np.int64], n_tokens: int) -> str:
    low, high = counts.min() / n_tokens * 1e6, counts.max() / n_tokens * 1e6
    return f"bucket {number}: {counts.size} tokens, {high:.6g} to {low:.6g} per million"
