"""The guard of one run in any PyTorch loop: it counts, asks the model and sums over ranks; the monitor decides."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from collapse_guard.errors import ContractError, InputError
from collapse_guard.integrations.loading.batch_tally import BatchTally
from collapse_guard.integrations.training.predictions import ValidationTally
from collapse_guard.integrations.training.reduction import Ranks
from collapse_guard.integrations.training.sampling import sampling
from collapse_guard.integrations.training.windows import BatchWindows
from collapse_guard.monitor import (
    PredictionCounts,
    Run,
    Watched,
    coverage_of,
    read_sample,
    sampled_rows,
    summed_sample,
)
from collapse_guard.plugins import load_code

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import timedelta
    from os import PathLike

    import pyarrow as pa
    from torch import nn

    from collapse_guard.manifest import Manifest
    from collapse_guard.monitor import Anchor, Reference, Watch
    from collapse_guard.policy import Policy
    from collapse_guard.records import Decision
    from collapse_guard.stats import BatchCounts

    Code = str | Callable[..., Any]

log = logging.getLogger(__name__)


class GuardSession:
    """The guard of a training run, for loops that nobody else drives: plain PyTorch, Fabric, accelerate.

    All ranks make the same calls in the same order; every rank then decides the same, on sums of whole numbers.

    Args:
        policy: a Policy, a mapping, or the path of a YAML file.
        manifest: manifest of the training data, or its path; checked before the first step and named in checkpoints.
            The policy's ``manifests.current`` if left out.
        parent: manifest of the generation before; evidence goes on from the state beside it. The policy's
            ``manifests.previous`` if left out.
        sampler: ``(model, n) -> cells or rows``: n fresh rows of the model, as integer cells (-1: no class claims the
            row) or as a mapping of columns. Called in eval mode without gradients, seeded apart.
        labels_from: where the true labels of a validation batch are: a key, an index, or ``f(batch)``.
        outputs_from: where predicted classes are: a key or index into what the validation step returned, or
            ``f(model, batch, outputs)``, called without gradients.
        provenance_from: ``f(batch) -> integers`` of shape (rows,), (rows, 2) or (rows, 6); ``cg_origin`` if left out.
        reference: real rows, as an Anchor, a Reference, or a mapping of columns. If left out: those of
            ``coverage.reference``, of the manifest, or, for predictions, the validation labels themselves.
        mode: ``raise`` lets the run end cleanly, then raises CollapseHalt; ``stop`` only stops; ``warn`` goes on.
        contract: False skips the data contract, and batches that break it only warn; the report says so.
        report: where the JSON report goes; ``collapse_guard.<name>.json`` in the folder of the run if left out.
        name: tells several guards of one run apart.
        allow_resume_after_halt: go on after a halt, of a checkpoint or of the parent; evidence starts anew.

    Functions may be named as ``module:function``.

    Example::

        guard = GuardSession("policy.yaml", manifest="gen1/manifest.cgm.json", sampler=sample)
        guard.start("logs")
        for epoch in range(n_epochs):
            for batch in loader:
                guard.observe(batch)
                ...  # the training step
                if guard.should_stop:
                    break
            if guard.end_epoch(model):
                break
        guard.finish(model)  # report and evidence; raises CollapseHalt
    """

    def __init__(  # noqa: PLR0913 - keyword-only, and each is one thing a user may say
        self,
        policy: Policy | Mapping[str, Any] | str | PathLike[str],
        *,
        manifest: Manifest | str | PathLike[str] | None = None,
        parent: Manifest | str | PathLike[str] | None = None,
        sampler: Code | None = None,
        labels_from: Code | int | None = None,
        outputs_from: Code | int | None = None,
        provenance_from: Code | None = None,
        reference: Reference | Anchor | Mapping[str, Any] | pa.Table | None = None,
        mode: Literal["raise", "stop", "warn"] = "raise",
        contract: bool = True,
        report: str | PathLike[str] | None = None,
        name: str = "default",
        allow_resume_after_halt: bool = False,
    ) -> None:
        if labels_from is not None and outputs_from is None:
            raise InputError("labels_from= says what is true, outputs_from= what is predicted; pass both")
        self.sampler = _function(sampler)
        watched = Watched(sampler is not None, outputs_from is not None, labels_from is not None)
        self.run = Run(
            policy,
            watched,
            manifest=manifest,
            parent=parent,
            reference=reference,
            mode=mode,
            contract=contract,
            report=report,
            name=name,
            allow_resume_after_halt=allow_resume_after_halt,
        )
        anchor = self.run.anchor
        cells = anchor.maps[0].cells if anchor is not None and anchor.maps else None
        tally = BatchTally(cells, _function(provenance_from))
        self._windows = BatchWindows(tally, self.policy.batches, self._checked)
        outputs, labels = _function_or_key(outputs_from), _function_or_key(labels_from)
        self._validation = None if outputs is None else ValidationTally(outputs, labels)
        self._ranks: Ranks | None = None
        self._epoch = self._step = self._n_at_begin = 0
        self._counts_steps = False
        self._is_closed, self._is_begun = True, False
        coverage = self.policy.coverage
        self.looks_by_steps = sampler is not None and coverage is not None and coverage.every.steps is not None
        self.has_news = False

    # ------------------------------------------------------------------ what it holds

    @property
    def policy(self) -> Policy:
        """The policy."""
        return self.run.policy

    @property
    def manifest(self) -> Manifest | None:
        """Manifest of the training data."""
        return self.run.manifest

    @property
    def mode(self) -> str:
        """``raise``, ``stop`` or ``warn``."""
        return self.run.mode

    @property
    def name(self) -> str:
        """Name that tells guards of one run apart."""
        return self.run.name

    @property
    def watch(self) -> Watch | None:
        """Looks at generated samples."""
        return self.run.watch

    @property
    def predictions(self) -> Watch | None:
        """Looks at predictions on validation; None before the first whole pass."""
        return self.run.predictions

    @property
    def decision(self) -> Decision | None:
        """The halt if there is one, else the latest decision."""
        return self.run.decision

    @property
    def should_stop(self) -> bool:
        """Whether training is to end now; the same on all ranks."""
        return self.run.should_stop

    @property
    def ranks(self) -> Ranks:
        """The processes of this run."""
        if self._ranks is None:
            raise ContractError("the guard was not started; call start() before the first batch")
        return self._ranks

    # ------------------------------------------------------------------ before the first step

    def start(self, folder: str | PathLike[str] = ".", loaders: Iterable[Any] = ()) -> None:
        """Open and begin, for loops that load no checkpoint; see :meth:`open` and :meth:`begin`."""
        for line in self.open(folder):
            log.info("collapse_guard: %s", line)
        self.begin(loaders)

    def open(
        self,
        folder: str | PathLike[str],
        *,
        n_epochs: int | None = None,
        n_steps: int | None = None,
        timeout: timedelta | None = None,
    ) -> list[str]:
        """Check the data contract, pick up the evidence of the chain, and return what this run can see, in lines.

        Args:
            folder: where the report goes unless ``report=`` says otherwise.
            n_epochs: epochs that are planned, if known.
            n_steps: optimizer steps that are planned, if known.
            timeout: longest wait for another rank; 30 minutes if left out.

        Raises ContractError, AccumulationError or InputError, before anything is trained.
        """
        self._windows.forget_loaders()
        self._ranks, self._is_begun = Ranks(timeout), False
        lines = self.run.open(Path(folder), n_epochs=n_epochs, n_steps=n_steps)
        self._is_closed = False
        return lines if self._ranks.rank == 0 else []

    def begin(self, loaders: Iterable[Any] = ()) -> None:
        """Refuse a checkpoint of other data, or one that was halted.

        Args:
            loaders: the loaders that are really iterated; those that count on the host (``tally``) are read.
        """
        if self._validation is not None:
            self._validation.taken()
        self._windows.begin(loaders)
        self.run.begin()
        self._n_at_begin, self._is_begun = self.run.batches.counts.n_batches, True
        if self.ranks.rank == 0:
            self.run.write(n_ranks=self.ranks.size, evidence=False)  # says at once whether it can be written

    def read_loaders(self, loaders: Iterable[Any]) -> None:
        """Read the counts of these loaders from now on: a trainer may build them anew between epochs."""
        self._windows.read_loaders(loaders)

    # ------------------------------------------------------------------ batches

    def observe(self, batch: Any) -> None:
        """Count a training batch before its step. Nothing is read back from the device.

        Raises ContractError at the first batch if the policy asks for provenance and there is none.
        """
        self._windows.add(batch, self.ranks)

    def _checked(self, counts: BatchCounts, cell_rows: tuple[int, ...], whole: bool) -> None:  # noqa: FBT001 - a window tells it
        self.run.checked(counts, cell_rows, whole=whole)
        self.has_news = self.has_news or self.run.batches.n_checks > 0

    # ------------------------------------------------------------------ looks

    def after_step(self, model: nn.Module, *, step: int | None = None, epoch: int | None = None) -> bool:
        """Look at samples, if ``coverage.every.steps`` says so after an optimizer step; return ``should_stop``.

        Args:
            step: optimizer steps so far; counted from the calls if left out.
            epoch: whole epochs so far.
        """
        self._counts_steps = True
        self._count(self._step + 1 if step is None else step, epoch)
        if self.looks_by_steps and not self.should_stop and self.run.is_due(epoch=self._epoch, step=self._step):
            self._look(model)
        return self.should_stop

    def end_epoch(
        self,
        model: nn.Module,
        *,
        epoch: int | None = None,
        step: int | None = None,
        last: bool = False,
        whole: bool = True,
    ) -> bool:
        """Take the rest of the batches, look at samples if that is due, and return ``should_stop``.

        Args:
            epoch: whole epochs so far, with this one; counted from the calls if left out.
            step: optimizer steps so far; batches if left out.
            last: whether no further epoch will come, which calls for a look.
            whole: whether all batches of the epoch were trained on.
        """
        self._windows.drain(self.ranks, whole=whole)
        if step is None and not self._counts_steps:  # the loop only shows its batches: they stand for steps
            step = -(-self.run.batches.counts.n_batches // self.ranks.size)
        self._count(step, self._epoch + 1 if epoch is None else epoch)
        coverage = self.policy.coverage
        by_epochs = coverage is not None and coverage.every.epochs is not None
        is_due = by_epochs and self.run.is_due(epoch=self._epoch, step=self._step)
        if not self.should_stop and (is_due or (last and not self.run.is_looked_at(self._step))):
            self._look(model)
        return self.should_stop

    def finish(self, model: nn.Module, *, epoch: int | None = None, step: int | None = None) -> None:
        """Look once more if training went on since the last look, write report and evidence, raise CollapseHalt.

        CollapseHalt is raised in mode ``raise`` only, on all ranks, after the report is written.
        """
        self.end(model, epoch=epoch, step=step)
        if self.mode == "raise":
            self.raise_if_halted()

    def end(self, model: nn.Module, *, epoch: int | None = None, step: int | None = None) -> None:
        """Do as :meth:`finish` does, and raise nothing."""
        self._windows.drain(self.ranks)
        self._count(step, epoch)
        n_trained = self.run.batches.counts.n_batches - self._n_at_begin  # of all ranks
        if n_trained and not self.halted and not self.run.is_looked_at(self._step):
            self._look(model)
        self.close()
        self.ranks.leave()  # no rank raises before the report is written

    def _count(self, step: int | None, epoch: int | None) -> None:
        self._step = self._step if step is None else step
        self._epoch = self._epoch if epoch is None else epoch

    def _look(self, model: nn.Module) -> None:
        assert self.sampler is not None
        assert self.watch is not None
        self._windows.flush()
        coverage, ranks = coverage_of(self.policy), self.ranks
        n_rows = -(-coverage.samples_per_look // ranks.size)
        with sampling(model, seed=self._seed()):
            drawn = self.sampler(model, n_rows)
        if coverage.scores and ranks.size > 1:
            drawn, n_rows = joined(ranks.gathered(sampled_rows(drawn))), n_rows * ranks.size
            sample = read_sample(drawn, self.watch.anchor, coverage, n_rows=n_rows)
        else:
            wanted = n_rows if coverage.looks == "fresh" else None
            sample = summed_sample(read_sample(drawn, self.watch.anchor, coverage, n_rows=wanted), ranks.summed)
        self.run.looked(sample, epoch=self._epoch, step=self._step)
        self._news()

    def _seed(self) -> int:
        """Return a seed of its own for every look of every rank."""
        assert self.watch is not None
        parts = (self.policy.mix.seed, self.watch.generation, len(self.watch.looks), self.ranks.rank)
        return int(np.random.SeedSequence(parts).generate_state(1)[0])

    def predicted(self, model: nn.Module, batch: Any, outputs: Any = None) -> None:
        """Take the predictions of one validation batch; does nothing without ``outputs_from``."""
        if self._validation is not None:
            self._validation.add(model, batch, outputs)

    def validated(self, *, epoch: int | None = None, step: int | None = None, rehearsal: bool = False) -> bool:
        """Look at the predictions of a whole validation pass, and return ``should_stop``.

        Args:
            rehearsal: a sanity pass before training: shapes and labels were checked, nothing else is asked.
        """
        if self._validation is None:
            return self.should_stop
        self._windows.flush()
        counts = PredictionCounts()
        for part in self.ranks.gathered(self._validation.taken()):
            counts = counts.merge(part)
        self._count(step, epoch)
        if rehearsal or counts.n_rows == 0:
            return self.should_stop
        if self.run.validated(counts, epoch=self._epoch, step=self._step):
            self._news()
        return self.should_stop

    def _news(self) -> None:
        self.has_news = True
        if self.ranks.rank == 0:
            self.run.write(n_ranks=self.ranks.size, evidence=False)

    # ------------------------------------------------------------------ what it leaves

    @property
    def halted(self) -> bool:
        """Whether the decision is to halt."""
        return self.run.halted

    def raise_if_halted(self) -> None:
        """Raise CollapseHalt if the decision is to halt."""
        self.run.raise_if_halted()

    def close(self, *, rehearsal: bool = False) -> None:
        """Write report and evidence as things stand, on rank 0 and once; a file that cannot be written only warns.

        Args:
            rehearsal: nothing was meant to be looked at, as in a dry run of a trainer.

        Only a process that was opened writes: the parent of spawned ranks has seen nothing.
        """
        if self._is_closed:
            return
        self._is_closed = True
        if self.ranks.rank == 0:
            if not rehearsal:
                self.run.warn_of_no_look()
            self.run.write(n_ranks=self.ranks.size, evidence=True)

    def metrics(self) -> dict[str, float]:
        """Return the figures of the latest looks and checks, for a logger; the same on all ranks, empty before any."""
        return self.run.metrics()

    def state_dict(self) -> dict[str, Any]:
        """Return plain values only, so that a checkpoint loads with ``weights_only=True``.

        Batches that are not summed over ranks yet are left out, at most two windows of them; alone, none are.
        """
        self._settle_alone()
        return self.run.state() | {"epoch": self._epoch, "step": self._step}

    def _settle_alone(self) -> None:
        if not self._is_closed:
            self._windows.settle_alone(self.ranks)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a checkpoint; whether its data is this run's is asked in :meth:`begin`, so load before it.

        Raises InputError once training has begun, and for the state of a newer version.
        """
        if self._is_begun:
            raise InputError("the guard's state is loaded between open() and begin(), not after start()")
        self.run.restore(state)
        self._epoch, self._step = int(state.get("epoch", 0)), int(state.get("step", 0))

    def note(self) -> dict[str, Any]:
        """Return what a checkpoint says to tools that do not build the guard."""
        self._settle_alone()
        return self.run.note()


def _function(given: Code | None) -> Callable[..., Any] | None:
    return load_code(given) if isinstance(given, str) else given


def _function_or_key(given: Code | int | None) -> Any:
    """Return a function that is named, else the key, index or function itself."""
    return load_code(given) if isinstance(given, str) and ":" in given else given


def joined(parts: list[pa.Table]) -> pa.Table:
    """Return the rows of all ranks: a score that looks at the other rows of its look must see all of them."""
    import pyarrow as pa  # noqa: PLC0415 - only looks of several ranks need it

    return pa.concat_tables(parts, promote_options="permissive")
