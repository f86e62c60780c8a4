"""Validation batches -> predicted and true classes; kept where they lie until the pass is over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from collapse_guard.errors import ContractError
from collapse_guard.monitor import PredictionCounts

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray


class ValidationTally:
    """Predictions, and labels if they are known, of one validation pass of this rank.

    Args:
        outputs_from: key or index into what the validation step returned, or ``f(model, batch, outputs) -> classes``.
        labels_from: key or index into the batch, or ``f(batch) -> classes``; None if labels are not known.
    """

    def __init__(
        self, outputs_from: str | int | Callable[..., Any], labels_from: str | int | Callable[..., Any] | None
    ) -> None:
        self._outputs_from, self._labels_from = outputs_from, labels_from
        self._predicted: list[Any] = []
        self._labels: list[Any] = []

    def add(self, model: Any, batch: Any, outputs: Any) -> None:
        """Add one batch; raises ContractError for anything but one class per row."""
        given = self._outputs_from
        if callable(given):
            with torch.no_grad():
                predicted = given(model, batch, outputs)
        else:
            predicted = _picked(outputs, given, "outputs_from", "the validation step returned")
        predicted = _checked(predicted, "predictions (outputs_from=)")
        if self._labels_from is not None:
            pick = self._labels_from
            labels = pick(batch) if callable(pick) else _picked(batch, pick, "labels_from", "the validation batch is")
            labels = _checked(labels, "labels (labels_from=)")
            if len(labels) != len(predicted):
                text = f"{len(predicted)} predictions for {len(labels)} labels in one validation batch"
                raise ContractError(f"{text}; outputs_from= and labels_from= must speak of the same rows")
            self._labels.append(labels)
        self._predicted.append(predicted)

    def taken(self) -> PredictionCounts:
        """Return the counts of the pass, which reads them from the device, and start anew."""
        predicted, labels = self._predicted, self._labels
        self._predicted, self._labels = [], []
        if not predicted:
            return PredictionCounts()
        return PredictionCounts().update(_joined(predicted), _joined(labels) if labels else None)


def _picked(holder: Any, key: Any, argument: str, what: str) -> Any:
    """Return an entry of a mapping, sequence or object; raises ContractError that says what is there."""
    if holder is None:
        text = f"{argument}={key!r}: {what} nothing"
        raise ContractError(f"{text}; return it from validation_step, or pass a function of (model, batch, outputs)")
    if isinstance(holder, Mapping) and key in holder:
        return holder[key]
    if isinstance(holder, Sequence) and isinstance(key, int) and -len(holder) <= key < len(holder):
        return holder[key]
    if isinstance(key, str) and not isinstance(holder, Mapping) and hasattr(holder, key):
        return getattr(holder, key)
    held = f"a mapping of {', '.join(map(str, holder))}" if isinstance(holder, Mapping) else type(holder).__name__
    raise ContractError(f"{argument}={key!r}: {what} {held}; name an entry that is there, or pass a function")


def _checked(values: Any, what: str) -> Any:
    """Return classes of shape (rows,); raises ContractError for logits, one-hot rows and the like."""
    remedy = "give one class per row, integers or text of shape (rows,): .argmax(-1) of logits, in a function"
    if isinstance(values, torch.Tensor):
        if values.is_floating_point() or values.ndim != 1:
            hint = ", which look like logits" if values.is_floating_point() and values.ndim > 1 else ""
            raise ContractError(f"{what} are {values.dtype} of shape {tuple(values.shape)}{hint}; {remedy}")
        return values.detach()
    array = np.asarray(values)
    if array.ndim != 1 or array.dtype.kind not in "iuUOb":
        raise ContractError(f"{what} are {array.dtype} of shape {array.shape}; {remedy}")
    return array


def _joined(parts: list[Any]) -> NDArray[Any]:
    if isinstance(parts[0], torch.Tensor):
        joined: NDArray[Any] = torch.cat(parts).cpu().numpy()
        return joined
    return np.concatenate(parts)
