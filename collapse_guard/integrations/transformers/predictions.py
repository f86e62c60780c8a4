"""Predictions of a Hugging Face classifier on its evaluation set, row by row."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from collapse_guard.errors import InputError


def predicted_classes(model: Any, batch: Any, outputs: Any) -> torch.Tensor:  # noqa: ARG001 - what a session calls
    """Return the most likely class of each row, shape (rows,).

    Args:
        model: not asked.
        batch: not asked.
        outputs: logits of shape (rows, classes), or a tuple that begins with them, as ``prediction_step`` returns it.

    Raises InputError for logits of any other shape: those of a language model say nothing about classes.

    >>> predicted_classes(None, {}, (torch.tensor([[0.1, 0.9], [3.0, 1.0]]), None))
    tensor([1, 0])
    """
    logits = outputs
    while isinstance(logits, (tuple, list)) and logits:
        logits = logits[0]
    shape = tuple(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
    if not isinstance(logits, torch.Tensor) or logits.ndim != 2 or logits.shape[1] < 2:  # noqa: PLR2004 - rows, classes
        remedy = "watch samples instead (sampler=), or pass outputs_from= a function (model, batch, outputs) -> labels"
        raise InputError(f"predictions must be logits of shape (rows, classes), got {shape}; {remedy}")
    return logits.argmax(dim=-1)


def own_rows(accelerator: Any, batch: Any, outputs: Any) -> tuple[Any, Any]:
    """Return a batch and what was predicted for it, without rows that only fill up the last batch of several ranks.

    ``accelerate`` repeats rows of the beginning so that all ranks have as many; they must not count twice.
    """
    place = accelerator.gradient_state
    if accelerator.num_processes == 1 or not place.end_of_dataloader or place.remainder <= 0:
        return batch, outputs
    n_rows = _n_rows(outputs)
    n_own = min(max(place.remainder - accelerator.process_index * n_rows, 0), n_rows)
    return _cut(batch, n_own, n_rows), _cut(outputs, n_own, n_rows)


def _n_rows(value: Any) -> int:
    if isinstance(value, torch.Tensor):
        return value.shape[0] if value.ndim else 0
    parts = list(value.values()) if isinstance(value, Mapping) else value
    return next((n for n in map(_n_rows, parts) if n), 0) if isinstance(parts, (tuple, list)) else 0


def _cut(value: Any, n_own: int, n_rows: int) -> Any:
    """Return the first ``n_own`` rows of every tensor that has ``n_rows`` of them."""
    if isinstance(value, torch.Tensor):
        return value[:n_own] if value.ndim and value.shape[0] == n_rows else value
    if isinstance(value, Mapping):
        return {key: _cut(each, n_own, n_rows) for key, each in value.items()}
    if isinstance(value, (tuple, list)):
        return type(value)(_cut(each, n_own, n_rows) for each in value)
    return value
