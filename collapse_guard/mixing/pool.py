"""Rows that could enter a training set, as arrays: what the planner sees of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from collapse_guard.errors import InputError, ProvenanceError
from collapse_guard.kernels import class_names, id_words, not_amounts, sha256_hex
from collapse_guard.mixing.arguments import check_kind, check_vector
from collapse_guard.records import AMOUNT, GENERATION, GENERATOR, ID, SOURCE, UNKNOWN_GENERATION

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Codes:
    """One name per row, coded.

    Args:
        names: distinct names, sorted.
        of: number of each row's name, -1 for none, int64 of shape (rows,).

    >>> Codes.of_column(pa.chunked_array([["b", None, "a"]])).of.tolist()
    [1, -1, 0]
    """

    names: tuple[str, ...]
    of: NDArray[np.int64]

    @classmethod
    def of_column(cls, column: pa.Array | pa.ChunkedArray) -> Codes:
        """Return the codes of a column of names; null is no name. Raises InputError for what is no Arrow array."""
        if not isinstance(column, pa.Array | pa.ChunkedArray):
            raise InputError(f"a column must be an Arrow array, got {type(column).__name__}; make one with pa.array")
        names = pc.unique(column.cast(pa.string())).drop_null().sort()
        found = pc.index_in(column.cast(pa.string()), value_set=names).fill_null(-1)
        whole = found.combine_chunks() if isinstance(found, pa.ChunkedArray) else found
        return cls(tuple(names.to_pylist()), whole.to_numpy(zero_copy_only=False).astype(np.int64))

    def is_one(self, name: str) -> NDArray[np.bool_]:
        """Return which rows have this name, shape (rows,)."""
        return np.equal(self.of, self.names.index(name) if name in self.names else -2)

    def sums(self, amounts: NDArray[np.float64]) -> dict[str | None, float]:
        """Return the amount per name, without those that have none; None for rows without a name."""
        totals = np.bincount(self.of + 1, weights=amounts, minlength=len(self.names) + 1)
        return {name: float(total) for name, total in zip((None, *self.names), totals, strict=True) if total > 0}


def ids_digest(id_hi: NDArray[np.uint64], id_lo: NDArray[np.uint64]) -> str:
    """Return the digest over ids in their order."""
    return sha256_hex([part.astype("<u8").tobytes() for part in (id_hi, id_lo)])


@dataclass(frozen=True)
class Pool:
    """Rows that could enter; every array has shape (rows,), InputError is raised for others.

    Args:
        id_hi, id_lo: content ids, uint64.
        amount: how much each row is, in the unit of the policy, float64.
        source, generator, label: names; label is the class.
        generation: generation of each row, int64.
        keep: verdict of the filter.
    """

    id_hi: NDArray[np.uint64]
    id_lo: NDArray[np.uint64]
    amount: NDArray[np.float64]
    source: Codes
    generator: Codes
    label: Codes
    generation: NDArray[np.int64]
    keep: NDArray[np.bool_]

    def __post_init__(self) -> None:
        n_rows = len(self.id_hi)
        arrays = {name: getattr(self, name) for name in ("id_hi", "id_lo", "amount", "generation", "keep")}
        for name, values in arrays.items():
            check_vector(name, values, n_rows)
        for name in ("source", "generator", "label"):
            check_kind(name, getattr(self, name), Codes, "make it with Codes.of_column")
            check_vector(f"{name}.of", getattr(self, name).of, n_rows)

    @property
    def n_rows(self) -> int:
        """Rows of the pool."""
        return int(self.id_hi.size)

    @property
    def digest(self) -> str:
        """Digest over ids in their order: a plan fits the pool that it was made of, and no other."""
        return ids_digest(self.id_hi, self.id_lo)

    @classmethod
    def of_rows(cls, rows: pa.Table, *, class_column: str | None = None, keep: Any = None) -> Pool:
        """Return tagged rows as a pool: ``cg_amount`` says how much each is, 1 if it is not there.

        Raises ProvenanceError for rows without tags and for amounts that are negative or not finite, InputError for
        what is no table and for verdicts of other rows.
        """
        check_kind("rows", rows, pa.Table, "tag them first, and pass them as an Arrow table")
        missing = [name for name in (ID, SOURCE, GENERATOR, GENERATION) if name not in rows.schema.names]
        if missing:
            raise ProvenanceError(f"rows lack the provenance columns {', '.join(missing)}; tag them first")
        hi, lo = id_words(rows.column(ID))
        n_rows = rows.num_rows
        has_class = class_column is not None and class_column in rows.schema.names
        labels = class_names(rows.column(str(class_column))) if has_class else pa.nulls(n_rows, pa.string())
        amount = np.ones(n_rows)
        if AMOUNT in rows.schema.names:
            amount = np.asarray(rows.column(AMOUNT).to_numpy(), dtype=np.float64)
        if not_amounts(amount).size:
            raise ProvenanceError("amounts must be numbers from 0 to 2^53; mend the column that they are read from")
        return cls(
            hi,
            lo,
            amount,
            Codes.of_column(rows.column(SOURCE)),
            Codes.of_column(rows.column(GENERATOR)),
            Codes.of_column(labels),
            rows.column(GENERATION).fill_null(UNKNOWN_GENERATION).to_numpy().astype(np.int64),
            np.ones(n_rows, dtype=bool) if keep is None else np.asarray(keep, dtype=bool),
        )
