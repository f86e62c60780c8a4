"""Provenance of rows on their way into a batch: out of the rows before they are collated, beside the batch after."""

from __future__ import annotations

import copy
import importlib
from collections.abc import Callable, Mapping, MutableMapping
from itertools import repeat
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch

from collapse_guard.errors import InputError, ProvenanceError
from collapse_guard.integrations.loading.row_provenance import provenance_codes
from collapse_guard.records import BATCH_KEY, GENERATION, ORIGIN, UNKNOWN_GENERATION, Origin
from collapse_guard.stats.batches import N_ORIGINS, PAIR

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Codes = NDArray[np.int64]

_PREFIX: Final = "cg_"
_ROW_SHAPES: Final = "one origin, a pair of origin and generation, or 6 counts per origin, all integers"
_REMEDIES: Final = (
    "tag the dataset with collapse_guard.tag, pass provenance= (one integer per row), "
    "or pass provenance_from= (a function of a row)"
)


class CountingCollate:
    """Collate function around another one, which gets rows without columns of provenance and knows nothing of it.

    Runs where the inner one runs, in a worker too, and returns the inner one's batch and the codes of its rows.

    Args:
        inner: the collate function of the loader.
        source: function of a row to its provenance; columns of the row if left out.
        is_counted: False only takes the columns out, as the loader knows the provenance from elsewhere.
        is_batched: whether rows come as a list; else what comes is one row, or a whole batch as columns.
        missing: ``error`` or ``ignore`` for rows that carry nothing.

    >>> rows = [{"x": 1, "cg_origin": 1, "cg_generation": 0, "cg_source": "web"}, {"x": 2, "cg_origin": None}]
    >>> CountingCollate(list)(rows)
    ([{'x': 1}, {'x': 2}], array([[  1,   0],
           [  0, 255]]))
    """

    def __init__(
        self,
        inner: Callable[[Any], Any],
        *,
        source: Callable[[Any], Any] | None = None,
        is_counted: bool = True,
        is_batched: bool = True,
        missing: str = "error",
    ) -> None:
        self.inner = inner
        self.source = source
        self.is_counted = is_counted
        self.is_batched = is_batched
        self.missing = missing

    def __call__(self, rows: Any) -> tuple[Any, Codes | None]:
        """Return the inner batch, and integers of shape (rows,), (rows, 2) or (rows, 6); None if nothing is counted."""
        is_list = self.is_batched and isinstance(rows, (list, tuple))
        codes = self._codes(rows if is_list else [rows], is_list=is_list) if self.is_counted else None
        if not is_list:
            return self.inner(bare(rows)), codes
        is_tagged = any(isinstance(row, Mapping) for row in rows)
        return self.inner([bare(row) for row in rows] if is_tagged else rows), codes

    def _codes(self, rows: Sequence[Any], *, is_list: bool) -> Codes | None:
        if self.source is not None:
            return stacked([self.source(row) for row in rows])
        if any(isinstance(row, Mapping) and BATCH_KEY in row for row in rows):
            return stacked([row.get(BATCH_KEY) for row in rows])
        found = provenance_codes(rows if is_list else _as_rows(rows[0]))
        if found is not None:
            return found.numpy()
        if self.missing == "error":
            raise ProvenanceError(f"rows carry no provenance (no column {ORIGIN!r}); {_REMEDIES}")
        return None


def bare(row: Any) -> Any:
    """Return a row without its columns of provenance; the row itself if it has none.

    >>> bare({"x": 1, "cg_origin": 2})
    {'x': 1}
    """
    tags = [key for key in row if _is_tag(key)] if isinstance(row, Mapping) else []
    if not tags:
        return row
    if not isinstance(row, MutableMapping):
        return type(row)({key: value for key, value in row.items() if key not in tags})
    clean = copy.copy(row)
    for key in tags:
        del clean[key]
    return clean


def stacked(said: Sequence[Any]) -> Codes:
    """Return what was said of each row as one array; None stands for unknown.

    Raises ProvenanceError unless all rows are told in the same way: see the message.

    >>> stacked([(1, 0), None, (2, 1)]).tolist()
    [[1, 0], [0, 255], [2, 1]]
    """
    parts = [None if each is None else _integers(each) for each in said]
    shapes = {part.shape for part in parts if part is not None} or {()}
    if len(shapes) > 1:
        raise ProvenanceError(f"provenance of rows has shapes {sorted(shapes)} in one batch; give {_ROW_SHAPES}")
    shape = shapes.pop()
    if len(shape) > 1 and len(parts) == 1 and parts[0] is not None:
        return parts[0]  # a whole batch that was told at once
    if shape not in {(), (PAIR,), (N_ORIGINS,)}:
        raise ProvenanceError(f"provenance of a row has shape {shape}; give {_ROW_SHAPES}")
    return np.stack([_unknown(shape) if part is None else part for part in parts])


def checked(provenance: Any, n_rows: int) -> Codes:
    """Return ``provenance`` of a whole dataset as an array of ``n_rows``.

    Raises ProvenanceError for another length, another shape than (rows,), (rows, 2) or (rows, 6), and for what is not
    integers.

    >>> checked([1, 1, 2], 3).tolist()
    [1, 1, 2]
    """
    codes = np.asarray(provenance.cpu() if isinstance(provenance, torch.Tensor) else provenance)
    if codes.size and codes.dtype.kind not in "iu":
        text = f"provenance= must be integers (see collapse_guard.Origin), got {codes.dtype}"
        raise ProvenanceError(f"{text}; write 0 for rows of unknown origin")
    if codes.ndim not in {1, PAIR} or (codes.ndim == PAIR and codes.shape[1] not in {PAIR, N_ORIGINS}):
        raise ProvenanceError(f"provenance= has shape {codes.shape}; give {_ROW_SHAPES}, for each of {n_rows} rows")
    if len(codes) != n_rows:
        text = f"provenance= has {len(codes)} rows and the dataset {n_rows}"
        raise ProvenanceError(f"{text}; give one entry per row, in the order of the dataset")
    return codes.astype(np.int64)


def function_of(given: Callable[[Any], Any] | str | None) -> Callable[[Any], Any] | None:
    """Return a function, loaded from ``module:function`` if it is named; raises InputError if there is none.

    >>> function_of("json:dumps")([1])
    '[1]'
    """
    if not isinstance(given, str):
        return given
    module, _, path = given.partition(":")
    try:
        found: Any = importlib.import_module(module)
        for part in path.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError, ValueError) as error:
        text = f"{given!r} cannot be loaded ({error}); name it as 'module:function'"
        raise InputError(text) from None
    return found  # type: ignore[no-any-return]


def _integers(said: Any) -> Codes:
    codes = np.asarray(said.cpu() if isinstance(said, torch.Tensor) else said)
    if codes.dtype.kind not in "iu":
        raise ProvenanceError(f"provenance of a row is {said!r}; give {_ROW_SHAPES}")
    return codes.astype(np.int64)


def _unknown(shape: tuple[int, ...]) -> Codes:
    if shape == (PAIR,):
        return np.asarray([Origin.UNKNOWN, UNKNOWN_GENERATION], dtype=np.int64)
    return np.eye(N_ORIGINS, dtype=np.int64)[Origin.UNKNOWN] if shape else np.asarray(int(Origin.UNKNOWN))


def _as_rows(whole: Any) -> list[Any]:
    """Return one row, or a batch given as columns, as rows."""
    origins = whole.get(ORIGIN) if isinstance(whole, Mapping) else None
    if not isinstance(origins, (list, tuple, np.ndarray, torch.Tensor)) or np.ndim(origins) == 0:
        return [whole]
    generations = whole.get(GENERATION)
    is_aligned = np.ndim(generations) and len(generations) == len(origins)
    pairs = zip(origins, generations if is_aligned else repeat(None), strict=False)
    return [{ORIGIN: origin, GENERATION: generation} for origin, generation in pairs]


def _is_tag(key: Any) -> bool:
    return isinstance(key, str) and (key.startswith(_PREFIX) or key == BATCH_KEY)
