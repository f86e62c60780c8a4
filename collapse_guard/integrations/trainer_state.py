"""What the guard asks of a Lightning trainer, and what it does to it; the semi-private parts stand here alone."""

from __future__ import annotations

import random
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import torch

from collapse_guard.stats import CellCounts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytorch_lightning import LightningModule, Trainer

    from collapse_guard.monitor import Sample


def is_dry(trainer: Trainer) -> bool:
    """Return whether this is a ``fast_dev_run``, whose model is no model."""
    return bool(getattr(trainer, "fast_dev_run", False))


def is_last_epoch(trainer: Trainer) -> bool:
    """Return whether no further epoch will come, as far as can be told before the other callbacks ran."""
    epochs, steps = trainer.max_epochs, trainer.max_steps
    by_epochs = epochs is not None and 0 <= epochs <= trainer.current_epoch + 1
    return by_epochs or trainer.should_stop or 0 <= steps <= trainer.global_step


@contextmanager
def sampling(pl_module: LightningModule, *, seed: int) -> Iterator[None]:
    """Eval mode, no gradients, random states of their own; everything is as before afterwards."""
    modes = {module: module.training for module in pl_module.modules()}
    python_state, numpy_state = random.getstate(), np.random.get_state()  # noqa: NPY002 - the global state is what is kept
    try:
        devices = [pl_module.device] if pl_module.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices), torch.no_grad():
            torch.manual_seed(seed)
            np.random.seed(seed)  # noqa: NPY002 - a user's sampler may draw from it
            random.seed(seed)
            pl_module.eval()
            yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)  # noqa: NPY002
        for module, training in modes.items():
            module.training = training


def summed(trainer: Trainer, sample: Sample) -> Sample:
    """Return the look of all ranks: sums of whole numbers, so that every rank decides on the same ones."""
    if trainer.world_size == 1:
        return sample
    return replace(sample, counts=tuple(_summed(trainer, each) for each in sample.counts))


def all_rows(trainer: Trainer, rows: pa.Table) -> pa.Table:
    """Return the rows of all ranks: a score that looks at the other rows of its look must see all of them."""
    parts: list[pa.Table] = [rows] * trainer.world_size
    torch.distributed.all_gather_object(parts, rows)
    return pa.concat_tables(parts, promote_options="permissive")


def _summed(trainer: Trainer, counts: CellCounts) -> CellCounts:
    local = torch.tensor(
        [*counts.rows, counts.n_unclaimed_rows], dtype=torch.int64, device=trainer.strategy.root_device
    )
    total = trainer.strategy.reduce(local, reduce_op="sum").tolist()
    return CellCounts(tuple(total[:-1]), total[-1])


def stop(trainer: Trainer) -> None:
    """Stop after this hook; ``min_epochs`` and ``min_steps`` would silently defeat ``should_stop``."""
    trainer.fit_loop.min_epochs = 0
    trainer.fit_loop.epoch_loop.min_steps = None
    trainer.should_stop = True
