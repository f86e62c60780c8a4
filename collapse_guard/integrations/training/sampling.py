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
        with torch.random.fork_rng(devices=_cuda_devices()), torch.no_grad():
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


def _cuda_devices() -> list[int]:
    """Return all CUDA devices that are in use: seeding reaches every one of them."""
    return list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []  # type: ignore[no-untyped-call]
