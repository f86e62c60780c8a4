"""Provenance of rows before they are collated -> integers, one row of them per row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from collapse_guard.records import GENERATION, ORIGIN, UNKNOWN_GENERATION, Origin


def provenance_codes(rows: Sequence[Any]) -> torch.Tensor | None:
    """Return the provenance of rows as integers, None if no row speaks of it.

    Shape (rows, 2), origin and generation; or (rows, 6), tokens per origin, if an origin is a list with an entry for
    each token, as in rows that were packed. What is null, not a number or no code is unknown.

    >>> provenance_codes([{"cg_origin": [1, 1, 2]}, {"cg_origin": [2]}])
    tensor([[0, 2, 1, 0, 0, 0],
            [0, 0, 1, 0, 0, 0]])
    """
    origins = [row.get(ORIGIN) if isinstance(row, Mapping) else None for row in rows]
    if not any(isinstance(row, Mapping) and ORIGIN in row for row in rows):
        return None
    if any(_is_list(origin) for origin in origins):
        return torch.from_numpy(np.stack([_token_counts(origin) for origin in origins]))
    generations = [row.get(GENERATION) if isinstance(row, Mapping) else None for row in rows]
    pairs = [
        (_code(origin, len(Origin), Origin.UNKNOWN), _code(generation, UNKNOWN_GENERATION, UNKNOWN_GENERATION))
        for origin, generation in zip(origins, generations, strict=True)
    ]
    return torch.tensor(pairs, dtype=torch.int64)


def _is_list(value: Any) -> bool:
    if isinstance(value, (np.ndarray, torch.Tensor)):
        return value.ndim > 0
    return isinstance(value, Sequence) and not isinstance(value, (str, bytes))


def _token_counts(origins: Any) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Return tokens per origin, shape (6,); a row with one origin counts as one token."""
    codes = [_code(origin, len(Origin), Origin.UNKNOWN) for origin in (origins if _is_list(origins) else [origins])]
    return np.bincount(np.asarray(codes, dtype=np.int64), minlength=len(Origin))


def _code(value: Any, n_codes: int, unknown: int) -> int:
    """Return a whole number in [0, n_codes); ``unknown`` for null, for not-a-number and for everything else."""
    try:
        code = int(value)
    except (TypeError, ValueError, OverflowError):
        return int(unknown)
    return code if code == value and 0 <= code < n_codes else int(unknown)
