"""What the guard asks of a Lightning trainer, and what it does to it; the semi-private parts stand here alone."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datetime import timedelta

    from pytorch_lightning import Trainer


def is_dry(trainer: Trainer) -> bool:
    """Return whether this is a ``fast_dev_run``, whose model is no model."""
    return bool(getattr(trainer, "fast_dev_run", False))


def is_last_epoch(trainer: Trainer) -> bool:
    """Return whether no further epoch will come, as far as can be told before the other callbacks ran."""
    epochs, steps = trainer.max_epochs, trainer.max_steps
    by_epochs = epochs is not None and 0 <= epochs <= trainer.current_epoch + 1
    return by_epochs or trainer.should_stop or 0 <= steps <= trainer.global_step


def n_whole_epochs(trainer: Trainer) -> int:
    """Return the epochs that are done, with the one whose last batch was trained."""
    return trainer.current_epoch + int(trainer.fit_loop.epoch_loop.batch_progress.is_last_batch)


def planned(trainer: Trainer) -> tuple[int | None, int | None]:
    """Return the epochs and optimizer steps that are planned; None where that is open."""
    epochs, steps = trainer.max_epochs, trainer.max_steps
    return (epochs if epochs is not None and epochs > 0 else None), (steps if steps > 0 else None)


def group_timeout(trainer: Trainer) -> timedelta | None:
    """Return how long the trainer's own processes wait for each other; None if it does not say."""
    return getattr(trainer.strategy, "_timeout", None)


def live_loaders(trainer: Trainer) -> list[Any]:
    """Return the training loaders that are really iterated: Lightning may have built them anew.

    A guarded loader is told how many of its batches make an epoch, which ``limit_train_batches`` may have cut.
    """
    combined = getattr(trainer.fit_loop, "_combined_loader", None)
    loaders = [] if combined is None else list(combined.flattened)
    n_batches = trainer.num_training_batches
    for loader in loaders:
        if hasattr(loader, "epoch_batches") and n_batches != float("inf"):
            loader.epoch_batches = int(n_batches)
    return loaders


def log_to(loggers: list[Any], metrics: dict[str, float], *, step: int) -> None:
    """Give figures to every logger; one that fails is warned of and never ends a run."""
    for logger in loggers:
        try:
            logger.log_metrics(metrics, step=step)
        except Exception as error:  # noqa: BLE001 - a logger may raise anything
            warnings.warn(f"{type(logger).__name__} did not take figures of collapse_guard: {error}", stacklevel=2)


def save_halted(trainer: Trainer, name: str, *, is_new: bool) -> None:
    """Save the model as it was halted, beside the other checkpoints, so that the newest of them carries the verdict.

    Does nothing where checkpointing is off, or where the trainer has saved at this very step after the halt.

    Args:
        name: name of the guard.
        is_new: whether the halt was decided after the trainer's last chance to save.
    """
    savers = [each for each in trainer.checkpoint_callbacks if getattr(each, "dirpath", None)]
    if not savers:
        return
    saved_at = max(getattr(each, "_last_global_step_saved", -1) for each in savers)
    if is_new or saved_at != trainer.global_step:
        trainer.save_checkpoint(Path(str(savers[0].dirpath)) / f"collapse_guard.{name}.halted.ckpt")  # type: ignore[attr-defined]


def stop(trainer: Trainer) -> None:
    """Stop after this hook; ``min_epochs`` and ``min_steps`` would silently defeat ``should_stop``."""
    trainer.fit_loop.min_epochs = 0
    trainer.fit_loop.epoch_loop.min_steps = None
    trainer.should_stop = True
