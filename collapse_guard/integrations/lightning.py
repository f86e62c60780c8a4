"""PyTorch Lightning: one callback for both of its namespaces. It translates; the monitor decides."""

from __future__ import annotations

import importlib
import logging
import warnings
from collections.abc import Mapping
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from collapse_guard._optional import need
from collapse_guard.errors import CollapseHalt, ContractError, InputError
from collapse_guard.integrations.batch_tally import BatchTally
from collapse_guard.integrations.trainer_state import all_rows, is_dry, is_last_epoch, sampling, stop, summed
from collapse_guard.manifest import Manifest, load_manifest
from collapse_guard.monitor import (
    Anchor,
    Reference,
    Watch,
    begin_watch,
    check_contract,
    coverage_of,
    evidence_path,
    halt_in,
    halt_on,
    is_due,
    read_sample,
    renewed,
    run_view,
    sampled_rows,
    too_many_looks,
    write_state,
)
from collapse_guard.policy import Policy
from collapse_guard.records import Action, Decision
from collapse_guard.report import as_json

rank_zero_info = need("lightning_utilities.core.rank_zero", extra="lightning").rank_zero_info

if TYPE_CHECKING:
    from collections.abc import Callable
    from os import PathLike

    from pytorch_lightning import Callback as _Callback
    from pytorch_lightning import LightningModule, Trainer

    Sampler = Callable[[Any, int], Any]

log = logging.getLogger(__name__)


def _bases() -> tuple[type, ...]:
    """Return the Callback class of each namespace that is installed; a trainer accepts its own only."""
    names = [name for name in ("lightning.pytorch", "pytorch_lightning") if find_spec(name.split(".")[0]) is not None]
    if not names:
        need("pytorch_lightning", extra="lightning")
    return tuple(importlib.import_module(name).Callback for name in names)


if not TYPE_CHECKING:
    _Callback = type("_Callback", _bases(), {"__module__": __name__})


class CollapseGuard(_Callback):
    """Stops a training run when the tail of what it generates dies, and before it starts if its data breaks the policy.

    Args:
        policy: a Policy, a mapping, or the path of a YAML file.
        manifest: manifest of the training data (or its path); checked in ``setup`` and named in checkpoints. The
            policy's ``manifests.current`` if left out.
        parent: manifest of the generation before; evidence goes on from the state beside it. The
            policy's ``manifests.previous`` if left out.
        sampler: ``(pl_module, n) -> cells or rows``: n fresh rows of the model, as integer cells (-1: no class
            claims the row) or as a mapping of columns. Called in eval mode without gradients, seeded apart.
        reference: what samples are measured against, an Anchor (a Reference for a single cell map). If left out: that
            of ``coverage.reference``, or of the real rows that the chain of generations began with.
        mode: ``raise`` stops cleanly, then raises CollapseHalt from ``on_fit_end``; ``stop`` only stops;
            ``warn`` goes on.
        contract: False skips the data contract; the report says so.
        report: where the JSON report goes; ``collapse_guard.<name>.json`` in the trainer's log folder if left out.
        name: tells several guards of one trainer apart.
        allow_resume_after_halt: go on after a halt, of a checkpoint or of the parent; evidence starts anew.

    Example: ``Trainer(callbacks=CollapseGuard("policy.yaml", manifest="gen1/manifest.cgm.json", sampler=sample))``
    """

    def __init__(  # noqa: PLR0913 - keyword-only, and each is one thing a user may say
        self,
        policy: Policy | Mapping[str, Any] | str | PathLike[str],
        *,
        manifest: Manifest | str | PathLike[str] | None = None,
        parent: Manifest | str | PathLike[str] | None = None,
        sampler: Sampler | None = None,
        reference: Reference | Anchor | None = None,
        mode: Literal["raise", "stop", "warn"] = "raise",
        contract: bool = True,
        report: str | PathLike[str] | None = None,
        name: str = "default",
        allow_resume_after_halt: bool = False,
    ) -> None:
        if mode not in {"raise", "stop", "warn"}:
            raise InputError(f"mode must be raise, stop or warn, got {mode!r}")
        self.policy = Policy.coerce(policy)
        folder = Path() if isinstance(policy, (Policy, Mapping)) else Path(str(policy)).parent
        self.manifest = _manifest(manifest, self.policy.manifests.current, folder)
        self.parent = _manifest(parent, self.policy.manifests.previous, folder)
        self.sampler = sampler
        declared = None if self.policy.coverage is None else self.policy.coverage.reference
        self.real = _manifest(None, declared, folder)
        self._adopts_reference = reference is None and self.real is None
        given = Anchor((reference,)) if isinstance(reference, Reference) else reference
        self.anchor = given or self._declared_anchor()
        self.mode = mode
        self.contract = contract
        self.report = None if report is None else Path(report)
        self.name = name
        self.allow_resume_after_halt = allow_resume_after_halt
        self.watch: Watch | None = None
        self._batches = BatchTally(self.anchor.maps[0].cells if self.anchor is not None and self.anchor.maps else None)
        self._looked_at_step = -1
        self._halted_before: Decision | None = None
        self._recorded: dict[str, Any] | None = None
        self._folder: Path | None = None
        self._finished = False

    def _declared_anchor(self) -> Anchor | None:
        coverage = self.policy.coverage
        if self.sampler is None or coverage is None:
            return None
        if not coverage.cells and all(score.against == "first_model" for score in coverage.scores):
            return Anchor(())
        manifest = self.real or self.manifest
        if manifest is None:
            raise InputError("a sampler needs a reference; pass manifest= or reference=, or set coverage.reference")
        return Anchor.of_manifest(manifest, coverage)

    # ------------------------------------------------------------------ life cycle

    @property
    def state_key(self) -> str:
        """Key of this guard in a checkpoint, the same in both namespaces."""
        return f"collapse_guard.{self.name}"

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:  # noqa: ARG002 - hook signature
        """Check the data contract and pick up the evidence of the parent generation."""
        if stage != "fit":
            return
        self._folder = Path(trainer.log_dir or trainer.default_root_dir)  # asks all ranks, so it is asked here
        self._finished, self._looked_at_step = False, -1
        if self.manifest is None and self.sampler is None:
            remedies = "pass manifest= to check the data, sampler= to watch the tail, or both"
            raise ContractError(f"nothing is guarded: {remedies}")
        if self.contract and self.manifest is not None:
            check_contract(self.policy, self.manifest, self.parent, self.real)
        if self.sampler is None:
            return
        self._halted_before = halt_on(self.manifest)
        if self.watch is None:
            coverage_of(self.policy)
            assert self.anchor is not None
            adopt = self._adopts_reference
            self.watch = begin_watch(self.policy, self.anchor, self.manifest, self.parent, adopt=adopt)
            if self.watch.note:
                log.warning("collapse_guard: %s", self.watch.note)
            for line in self.watch.sight():
                rank_zero_info(f"collapse_guard: {line}")
        epochs = trainer.max_epochs
        warning = None if epochs is None or epochs < 1 else too_many_looks(self.watch, epochs)
        if warning is not None:
            log.warning("collapse_guard: %s", warning)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002 - hook signature
        """Refuse to go on on other data than the checkpoint's, or after a halt (of it, of this data, of the parent)."""
        own = None if self.manifest is None else self.manifest.digest
        if self.contract and self._recorded is not None and self._recorded["manifest_digest"] != own:
            text = f"the checkpoint was trained on manifest {self._recorded['manifest_digest']}, this run has {own}"
            raise ContractError(f"{text}; resume on the same data, or start a new generation")
        self._recorded = None
        inherited = self.watch.decision if self.watch is not None and self.watch.halted else None
        halted = self._halted_before or inherited
        if self.watch is None or halted is None or self.mode == "warn":
            return
        if not self.allow_resume_after_halt:
            told = f"an earlier run was halted ({halted.message}); allow_resume_after_halt=True goes on"
            raise CollapseHalt(replace(halted, message=told))
        note = "evidence starts anew after a halt that was overridden"
        self.watch, self._halted_before = renewed(self.watch, note), None
        log.warning("collapse_guard: %s", note)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:  # noqa: ARG002 - hook signature
        """Count the provenance and the cells of a batch, without reading anything back from the device."""
        coverage = self.policy.coverage
        self._batches.add(batch, None if coverage is None else coverage.class_column)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Look, if the policy's interval says so or if this is the last epoch."""
        if self.watch is None or is_dry(trainer):
            return
        done = trainer.current_epoch + 1
        if is_last_epoch(trainer) or is_due(self.policy, done):
            self._look(trainer, pl_module, epoch=done)
            self._log(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Look once more if training went on since the last look, then write report and evidence."""
        if self.watch is not None and not is_dry(trainer) and self._looked_at_step != trainer.global_step:
            self._look(trainer, pl_module, epoch=trainer.current_epoch)
        self._finish(trainer)
        trainer.strategy.barrier("collapse_guard")  # no rank raises before the report is written

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002 - hook signature
        """Raise CollapseHalt if the run was halted."""
        self._finish(trainer)
        if self.mode == "raise":
            self.raise_if_halted()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:  # noqa: ARG002 - hook signature
        """Write the report of a run that failed."""
        self._finish(trainer)

    def raise_if_halted(self) -> None:
        """Raise CollapseHalt if the last decision was to halt."""
        if self.watch is not None and self.watch.halted:
            assert self.watch.decision is not None
            raise CollapseHalt(self.watch.decision)

    # ------------------------------------------------------------------ looks

    def _look(self, trainer: Trainer, pl_module: LightningModule, *, epoch: int) -> None:
        assert self.watch is not None
        assert self.sampler is not None
        self._looked_at_step = trainer.global_step
        coverage = coverage_of(self.policy)
        n_rows = -(-coverage.samples_per_look // trainer.world_size)
        with sampling(pl_module, seed=self._seed(trainer)):
            drawn = self.sampler(pl_module, n_rows)
        if coverage.scores and trainer.world_size > 1:
            drawn, n_rows = all_rows(trainer, sampled_rows(drawn)), n_rows * trainer.world_size
            sample = read_sample(drawn, self.watch.anchor, coverage, n_rows=n_rows)
        else:
            wanted = n_rows if coverage.looks == "fresh" else None
            sample = summed(trainer, read_sample(drawn, self.watch.anchor, coverage, n_rows=wanted))
        self.watch = self.watch.look(*sample.counts, scores=sample.scores, epoch=epoch, advisory=sample.advisory)
        decision = self.watch.decision
        assert decision is not None
        if self.watch.n_looks == coverage.planned_looks:
            log.warning("collapse_guard: the planned looks are used up; a drop that begins now is seen late")
        if decision.action is Action.CONTINUE:
            return
        log.warning("collapse_guard: %s: %s", decision.action.value, decision.message)
        if decision.action is Action.HALT and self.mode != "warn":
            stop(trainer)

    def _seed(self, trainer: Trainer) -> int:
        """Return a seed of its own for every look of every rank."""
        assert self.watch is not None
        parts = (self.policy.mix.seed, self.watch.generation, len(self.watch.looks), trainer.global_rank)
        return int(np.random.SeedSequence(parts).generate_state(1)[0])

    def _log(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.barebones or self.watch is None or not self.watch.looks:
            return
        look = self.watch.looks[-1]
        values = {
            "collapse_guard/log_e": look.log_e,
            "collapse_guard/tail_mass_ratio": look.tail_mass_ratio,
            "collapse_guard/tail_cells_alive": float(look.tail_cells_alive),
            "collapse_guard/halted": float(self.watch.halted),
        }
        pl_module.log_dict(values, batch_size=1)

    # ------------------------------------------------------------------ state and report

    def state_dict(self) -> dict[str, Any]:
        """Return plain values only, so that a checkpoint loads with ``weights_only=True``."""
        return {
            "schema": 1,
            "manifest_digest": None if self.manifest is None else self.manifest.digest,
            "watch": None if self.watch is None else self.watch.state(),
            "batches": self._batches.state(),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a checkpoint; whether its data is this run's is asked when training starts."""
        self._recorded = {"manifest_digest": state_dict.get("manifest_digest")}
        if self.watch is not None and state_dict.get("watch") is not None:
            self.watch = self.watch.resumed(state_dict["watch"])
            self._halted_before = halt_in(state_dict["watch"]) or self._halted_before
        self._batches.restore(state_dict.get("batches"))

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:  # noqa: ARG002 - hook signature
        """Leave a note for tools that read checkpoints without this callback."""
        decision = None if self.watch is None else self.watch.decision
        checkpoint["collapse_guard"] = {
            "schema": 1,
            "halted": bool(self.watch is not None and self.watch.halted),
            "reason": None if decision is None else decision.reason.value,
            "manifest_digest": None if self.manifest is None else self.manifest.digest,
        }

    def _finish(self, trainer: Trainer) -> None:
        """Write evidence and report on rank 0, once; a report that cannot be written never ends a run.

        Only a process that ran ``setup`` writes: the parent of spawned ranks has seen nothing.
        """
        if self._folder is None or self._finished or not trainer.is_global_zero:
            return
        self._finished = True
        target = self.report or self._folder / f"collapse_guard.{self.name}.json"
        if self.watch is not None and self._looked_at_step < 0 and not is_dry(trainer):
            log.warning("collapse_guard: this run took no look")
        view = run_view(
            policy=self.policy,
            manifest=self.manifest,
            watch=self.watch,
            origins=self._batches.origins().compute() if self._batches.seen else None,
            cell_rows=self._batches.cell_rows(),
            n_ranks=trainer.world_size,
            contract="checked" if self.contract and self.manifest is not None else "off",
        )
        _tried("report", target, lambda: as_json(view, target))
        if self.watch is None or self._looked_at_step < 0 or self.manifest is None or self.manifest.path is None:
            return
        left, watch = evidence_path(self.manifest.path), self.watch
        _tried("evidence for the next generation", left, lambda: write_state(left, watch))


def _tried(what: str, path: Path, write: Callable[[], object]) -> None:
    """Write a file; warn, and never end a run, if that cannot be."""
    try:
        write()
    except OSError as error:
        warnings.warn(f"the {what} of collapse_guard could not be written to {path}: {error}", stacklevel=2)


def _manifest(given: Manifest | str | PathLike[str] | None, declared: str | None, folder: Path) -> Manifest | None:
    if isinstance(given, Manifest):
        return given
    if given is not None:
        return load_manifest(given)
    return None if declared is None else load_manifest(folder / declared)
