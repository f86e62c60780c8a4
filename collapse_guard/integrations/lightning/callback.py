"""PyTorch Lightning: one callback for both of its namespaces. It translates; the monitor decides."""

from __future__ import annotations

import importlib
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from collapse_guard._optional import need
from collapse_guard.errors import ContractError
from collapse_guard.integrations.lightning.trainer_state import (
    group_timeout,
    is_dry,
    is_last_epoch,
    live_loaders,
    log_to,
    n_whole_epochs,
    planned,
    save_halted,
    stop,
)
from collapse_guard.integrations.training.session import GuardSession

rank_zero_info = need("lightning_utilities.core.rank_zero", extra="lightning").rank_zero_info

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from os import PathLike

    import pyarrow as pa
    from pytorch_lightning import Callback as _Callback
    from pytorch_lightning import LightningModule, Trainer

    from collapse_guard.manifest import Manifest
    from collapse_guard.monitor import Anchor, Reference, Watch
    from collapse_guard.policy import Policy

    Code = str | Callable[..., Any]


def _bases() -> tuple[type, ...]:
    """Return the Callback class of each namespace that is installed; a trainer accepts its own only."""
    names = [name for name in ("lightning.pytorch", "pytorch_lightning") if find_spec(name.split(".")[0]) is not None]
    if not names:
        need("pytorch_lightning", extra="lightning")
    return tuple(importlib.import_module(name).Callback for name in names)


if not TYPE_CHECKING:
    _Callback = type("_Callback", _bases(), {"__module__": __name__})


class CollapseGuard(_Callback):
    """Stops a training run when the tail of what it makes dies, and before it starts if its data breaks the policy.

    Three things can be watched, together or alone: what the batches carry, predictions on validation
    (``outputs_from``), and generated samples (``sampler``).

    Args:
        policy: a Policy, a mapping, or the path of a YAML file.
        manifest: manifest of the training data (or its path); checked in ``setup`` and named in checkpoints. The
            policy's ``manifests.current`` if left out.
        parent: manifest of the generation before; evidence goes on from the state beside it. The
            policy's ``manifests.previous`` if left out.
        sampler: ``(pl_module, n) -> cells or rows``: n fresh rows of the model, as integer cells (-1: no class
            claims the row) or as a mapping of columns. Called in eval mode without gradients, seeded apart.
        labels_from: where the true labels of a validation batch are: a key, an index, or ``f(batch)``.
        outputs_from: where the predicted classes are: a key or index into what ``validation_step`` returned, or
            ``f(pl_module, batch, outputs)``, called without gradients.
        provenance_from: ``f(batch) -> integers`` of shape (rows,), (rows, 2) or (rows, 6), for batches that are not
            mappings with ``cg_origin``.
        reference: what the tail is measured against: real rows as a mapping of columns, an Anchor, or a Reference. If
            left out: those of ``coverage.reference``, or of the real rows that the chain of generations began with; for
            predictions the labels of the validation set.
        mode: ``raise`` stops cleanly, then raises CollapseHalt from ``on_fit_end``; ``stop`` only stops;
            ``warn`` goes on.
        contract: False skips the data contract, and batches that break it only warn; the report says so.
        report: where the JSON report goes; ``collapse_guard.<name>.json`` in the trainer's log folder if left out.
        name: tells several guards of one trainer apart.
        allow_resume_after_halt: go on after a halt, of a checkpoint or of the parent; evidence starts anew.

    Functions may be named as ``module:function``, so that a command line can say them.

    Example: ``Trainer(callbacks=CollapseGuard("policy.yaml", manifest="gen1/manifest.cgm.json", sampler=sample))``
    """

    # LightningCLI reads these types: a plain Path among them keeps it from opening a named file as its own
    # configuration, and Mapping first leaves an inline policy as it was written, so that it can be saved again.
    def __init__(  # noqa: PLR0913 - keyword-only, and each is one thing a user may say
        self,
        policy: Mapping[str, Any] | Policy | str | Path | PathLike[str],
        *,
        manifest: Manifest | str | Path | PathLike[str] | None = None,
        parent: Manifest | str | Path | PathLike[str] | None = None,
        sampler: Code | None = None,
        labels_from: Code | int | None = None,
        outputs_from: Code | int | None = None,
        provenance_from: Code | None = None,
        reference: Mapping[str, Any] | Reference | Anchor | pa.Table | None = None,
        mode: Literal["raise", "stop", "warn"] = "raise",
        contract: bool = True,
        report: str | PathLike[str] | None = None,
        name: str = "default",
        allow_resume_after_halt: bool = False,
    ) -> None:
        self.session = GuardSession(
            policy,
            manifest=manifest,
            parent=parent,
            sampler=sampler,
            labels_from=labels_from,
            outputs_from=outputs_from,
            provenance_from=provenance_from,
            reference=reference,
            mode=mode,
            contract=contract,
            report=report,
            name=name,
            allow_resume_after_halt=allow_resume_after_halt,
        )
        self._is_unlogged = False  # figures of this epoch that callback_metrics does not hold yet

    # ------------------------------------------------------------------ what it holds

    @property
    def policy(self) -> Policy:
        """The policy."""
        return self.session.policy

    @property
    def manifest(self) -> Manifest | None:
        """Manifest of the training data."""
        return self.session.manifest

    @property
    def mode(self) -> str:
        """``raise``, ``stop`` or ``warn``."""
        return self.session.mode

    @property
    def watch(self) -> Watch | None:
        """Looks at generated samples."""
        return self.session.watch

    @property
    def predictions(self) -> Watch | None:
        """Looks at predictions on validation; None before the first whole pass."""
        return self.session.predictions

    @property
    def state_key(self) -> str:
        """Key of this guard in a checkpoint, the same in both namespaces."""
        return f"collapse_guard.{self.session.name}"

    # ------------------------------------------------------------------ life cycle

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:  # noqa: ARG002 - hook signature
        """Check the data contract and pick up the evidence of the parent generation."""
        if stage != "fit":
            return
        n_epochs, n_steps = planned(trainer)
        folder = Path(trainer.log_dir or trainer.default_root_dir)  # asks all ranks, so it is asked here
        timeout = group_timeout(trainer)
        for line in self.session.open(folder, n_epochs=n_epochs, n_steps=n_steps, timeout=timeout):
            rank_zero_info(f"collapse_guard: {line}")

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002 - hook signature
        """Refuse to go on on other data than the checkpoint's, or after a halt (of it, of this data, of the parent)."""
        if self.session.run.watched.predictions and not trainer.enable_validation:
            text = "outputs_from= watches predictions on validation, and this trainer has none"
            raise ContractError(f"{text}; give it a validation loader, or leave outputs_from= out")
        self.session.begin(live_loaders(trainer))

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002 - hook signature
        """Read the loaders of this epoch, which may be new ones."""
        self.session.read_loaders(live_loaders(trainer))

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:  # noqa: ARG002 - hook signature
        """Count the provenance and the cells of a batch, without reading anything back from the device."""
        self.session.observe(batch)

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,  # noqa: ARG002 - hook signature
        batch: Any,  # noqa: ARG002 - hook signature
        batch_idx: int,  # noqa: ARG002 - hook signature
    ) -> None:
        """Look, if the policy counts steps; stop, if what the batches carried says so."""
        session = self.session
        if (session.looks_by_steps or session.has_news) and not is_dry(trainer):
            session.after_step(pl_module, step=trainer.global_step, epoch=n_whole_epochs(trainer))
            self._tell(trainer, pl_module, in_epoch=True)

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,  # noqa: ARG002 - hook signature
        dataloader_idx: int = 0,  # noqa: ARG002 - hook signature
    ) -> None:
        """Keep the predictions of a validation batch while a model is being trained."""
        if trainer.state.fn == "fit":
            self.session.predicted(pl_module, batch, outputs)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Look at the predictions of the whole validation pass."""
        if trainer.state.fn != "fit":
            return
        rehearsal = trainer.sanity_checking or is_dry(trainer)
        self.session.validated(epoch=n_whole_epochs(trainer), step=trainer.global_step, rehearsal=rehearsal)
        if not rehearsal:
            self._tell(trainer, pl_module)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Look, if the policy's interval says so or if this is the last epoch."""
        if is_dry(trainer):
            return
        done, last = trainer.current_epoch + 1, is_last_epoch(trainer)
        whole = n_whole_epochs(trainer) == done
        self.session.end_epoch(pl_module, epoch=done, step=trainer.global_step, last=last, whole=whole)
        self.session.has_news = self.session.has_news or self._is_unlogged
        self._is_unlogged = False
        self._tell(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Look once more if training went on since the last look, write report and evidence, keep what was halted."""
        if is_dry(trainer):
            return
        was_stopped = self.session.should_stop
        self.session.end(pl_module, epoch=trainer.current_epoch, step=trainer.global_step)
        if self.session.should_stop:
            save_halted(trainer, self.session.name, is_new=not was_stopped)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002 - hook signature
        """Raise CollapseHalt if the run was halted."""
        self.session.close(rehearsal=is_dry(trainer))
        if self.mode == "raise":
            self.session.raise_if_halted()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:  # noqa: ARG002 - hook signature
        """Write the report of a run that failed."""
        self.session.close(rehearsal=is_dry(trainer))

    def raise_if_halted(self) -> None:
        """Raise CollapseHalt if the last decision was to halt."""
        self.session.raise_if_halted()

    def _tell(self, trainer: Trainer, pl_module: LightningModule, *, in_epoch: bool = False) -> None:
        """Stop the trainer on a halt, and log new figures; the same on all ranks.

        In the middle of an epoch they go to the loggers themselves: ``log_dict`` would only pass on steps that
        ``log_every_n_steps`` picks, or a mean over the epoch.
        """
        if self.session.should_stop:
            stop(trainer)
        if not self.session.has_news or trainer.barebones:
            return
        self.session.has_news = False
        if in_epoch:
            log_to(trainer.loggers, self.session.metrics(), step=trainer.global_step)
            self._is_unlogged = True
        else:
            pl_module.log_dict(self.session.metrics(), batch_size=1, on_epoch=True)

    # ------------------------------------------------------------------ state

    def state_dict(self) -> dict[str, Any]:
        """Return plain values only, so that a checkpoint loads with ``weights_only=True``."""
        return self.session.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a checkpoint; whether its data is this run's is asked when training starts."""
        self.session.load_state_dict(state_dict)

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:  # noqa: ARG002 - hook signature
        """Read the note of whichever guard wrote the checkpoint: a halt is one under any name."""
        self.session.run.read_note(checkpoint.get("collapse_guard") or {})

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:  # noqa: ARG002 - hook signature
        """Leave a note for tools that read checkpoints without this callback."""
        before = checkpoint.get("collapse_guard", {})
        checkpoint["collapse_guard"] = before if before.get("halted") else self.session.note()
