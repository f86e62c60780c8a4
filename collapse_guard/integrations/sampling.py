"""Asking a model for samples so that training never notices."""

from __future__ import annotations

import random
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import nn


@contextmanager
def sampling(model: nn.Module, *, seed: int) -> Iterator[None]:
    """Eval mode, no gradients, random states of their own; everything is as before afterwards."""
    modes = {module: module.training for module in model.modules()}
    python_state, numpy_state = random.getstate(), np.random.get_state()  # noqa: NPY002 - the global state is what is kept
    try:
        with torch.random.fork_rng(devices=_cuda_devices(model)), torch.no_grad():
            torch.manual_seed(seed)
            np.random.seed(seed)  # noqa: NPY002 - a user's sampler may draw from it
            random.seed(seed)
            model.eval()
            yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)  # noqa: NPY002
        for module, training in modes.items():
            module.training = training


def _cuda_devices(model: nn.Module) -> list[torch.device]:
    """Return the CUDA devices that hold the model."""
    held = {tensor.device for tensor in (*model.parameters(), *model.buffers())}
    return sorted((device for device in held if device.type == "cuda"), key=str)
