"""One guarded run, whatever trains it: contract, chain, batches, looks, one decision, one report. No framework here."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from collapse_guard.errors import CollapseHalt, ContractError, InputError
from collapse_guard.monitor.batches import BatchWatch, only_warning, untagged_text
from collapse_guard.monitor.chain import begin_watch, halt_on, is_due, last_look, renewed, too_many_looks
from collapse_guard.monitor.contract import check_contract
from collapse_guard.monitor.given import declared_anchor, given_anchor, given_manifest
from collapse_guard.monitor.record import evidence_path, halt_in, metrics_of, run_view, write_state
from collapse_guard.monitor.traces import Traces, manifest_changed
from collapse_guard.monitor.validation import Validation
from collapse_guard.monitor.watch import Watch, coverage_of
from collapse_guard.policy import Policy
from collapse_guard.records import Action, Decision, RunReason
from collapse_guard.report import as_json

if TYPE_CHECKING:
    from os import PathLike

    import pyarrow as pa

    from collapse_guard.manifest import Manifest
    from collapse_guard.monitor.anchor import Anchor, Reference
    from collapse_guard.monitor.predictions import PredictionCounts
    from collapse_guard.monitor.sample import Sample
    from collapse_guard.stats import BatchCounts

    Where = tuple[int, int]

log = logging.getLogger(__name__)

MODES: Final = ("raise", "stop", "warn")
STATE_SCHEMA: Final = 2


@dataclass(frozen=True)
class Watched:
    """What a run looks at, beside its batches.

    Args:
        samples: generated samples.
        predictions: predictions on validation.
        labels: whether the true labels of the validation rows are known.
    """

    samples: bool = False
    predictions: bool = False
    labels: bool = False


class Run:
    """The guard of one training run; every rank holds one, is told the same numbers, and decides the same.

    Args:
        policy: a Policy, a mapping, or the path of a YAML file.
        watched: what will be looked at.
        manifest: manifest of the training data, or its path; the policy's ``manifests.current`` if left out.
        parent: manifest of the generation before; the policy's ``manifests.previous`` if left out.
        reference: an Anchor, a Reference, or real rows as a mapping of columns or an Arrow table.
        mode: ``raise``, ``stop`` or ``warn``.
        contract: False skips the data contract, and batches that break it only warn; the report says so.
        report: where the JSON report goes; ``collapse_guard.<name>.json`` in the folder of the run if left out.
        name: tells several guards of one run apart.
        allow_resume_after_halt: go on after a halt; evidence starts anew.
    """

    def __init__(  # noqa: PLR0913 - keyword-only, and each is one thing a user may say
        self,
        policy: Policy | Mapping[str, Any] | str | PathLike[str],
        watched: Watched,
        *,
        manifest: Manifest | str | PathLike[str] | None = None,
        parent: Manifest | str | PathLike[str] | None = None,
        reference: Reference | Anchor | Mapping[str, Any] | pa.Table | None = None,
        mode: Literal["raise", "stop", "warn"] = "raise",
        contract: bool = True,
        report: str | PathLike[str] | None = None,
        name: str = "default",
        allow_resume_after_halt: bool = False,
    ) -> None:
        if mode not in MODES:
            raise InputError(f"mode must be raise, stop or warn, got {mode!r}")
        self.policy = Policy.coerce(policy)
        folder = Path() if isinstance(policy, (Policy, Mapping)) else Path(str(policy)).parent
        declared = None if self.policy.coverage is None else self.policy.coverage.reference
        self.manifest = given_manifest(manifest, self.policy.manifests.current, folder)
        self.parent = given_manifest(parent, self.policy.manifests.previous, folder)
        self.real = given_manifest(None, declared, folder)
        self.watched = watched
        self.mode, self.contract, self.name = mode, contract, name
        self.report = None if report is None else Path(report)
        self.allow_resume_after_halt = allow_resume_after_halt
        self._adopts_reference = reference is None and self.real is None
        self.anchor = given_anchor(self.policy, reference) or self._declared_anchor()
        self.watch: Watch | None = None
        self._batch_policy = self.policy if contract else only_warning(self.policy)
        self.batches = BatchWatch.start(self._batch_policy, None)
        self.folder: Path | None = None
        self._recorded: dict[str, Any] | None = None
        self._halted_before: Decision | None = None
        self._is_resumed = False
        self._looked: Where | None = None
        self._sight: list[str] = []
        self._traces = Traces()
        self.validation = self._validation() if watched.predictions else None

    def _validation(self) -> Validation:
        return Validation(
            self.policy,
            self.anchor,
            manifest=self.manifest,
            parent=self.parent,
            adopt=self._adopts_reference and not self.watched.labels,
            name=self.name,
            share=0.5 if self.watched.samples else 1.0,
            traces=self._traces,
        )

    def _declared_anchor(self) -> Anchor | None:
        """Return what the manifest gives; None where nothing needs it."""
        if self.policy.coverage is None or not (self.watched.samples or self.watched.predictions):
            return None
        optional = self.watched.labels and not self.watched.samples
        return declared_anchor(self.policy, self.real or self.manifest, optional=optional)

    # ------------------------------------------------------------------ before the first step

    def open(self, folder: Path, *, n_epochs: int | None = None, n_steps: int | None = None) -> list[str]:
        """Check the data contract, pick up the evidence of the chain, and return what this run can see, in lines.

        Raises ContractError if the data breaks the policy or nothing is guarded.
        """
        self.folder, self._looked, self._is_resumed = folder, None, False
        self._check_guarded()
        if self.contract and self.manifest is not None:
            check_contract(self.policy, self.manifest, self.parent, self.real)
        self.batches = replace(self.batches, held=BatchWatch.start(self._batch_policy, self.manifest).held)
        if self.validation is not None:
            self.validation.open()
        for is_watched, of in ((self.watched.samples, "samples"), (self.watched.predictions, "predictions")):
            if is_watched:
                coverage_of(self.policy)
                self._halted_before = self._halted_before or halt_on(self.manifest, name=self.name, of=of)
        if not self.watched.samples:
            return []
        lines = [] if self.watch is not None else self._begin_watch()
        self._sight = self._sight or lines
        assert self.watch is not None
        warning = too_many_looks(self.watch, n_epochs=n_epochs, n_steps=n_steps)
        if warning is not None:
            log.warning("collapse_guard: %s", warning)
        return lines

    def _check_guarded(self) -> None:
        watched = self.watched.samples or self.watched.predictions or self.policy.batches.missing == "error"
        if self.manifest is None and not watched:
            remedies = "pass manifest= to check the data, sampler= or outputs_from= to watch the tail"
            raise ContractError(f"nothing is guarded: {remedies}, or set batches.missing: error to watch the batches")

    def _begin_watch(self) -> list[str]:
        assert self.anchor is not None
        policy = self._policy_of_samples()
        self.watch = begin_watch(
            policy, self.anchor, self.manifest, self.parent, adopt=self._adopts_reference, name=self.name
        )
        if self.watch.note:
            log.warning("collapse_guard: %s", self.watch.note)
        return self.watch.sight()

    def _policy_of_samples(self) -> Policy:
        """Return the policy; predictions that are watched too take half of the false-halt rate."""
        if not self.watched.predictions:
            return self.policy
        coverage = coverage_of(self.policy)
        return self.policy.model_copy(
            update={"coverage": coverage.model_copy(update={"false_halt_rate": coverage.false_halt_rate / 2})}
        )

    def begin(self) -> None:
        """Refuse to go on on other data than the checkpoint's, or after a halt (of it, of this data, of the parent)."""
        own = None if self.manifest is None else self.manifest.digest
        if self.contract and self._recorded is not None and self._recorded["manifest_digest"] != own:
            text = f"the checkpoint was trained on manifest {self._recorded['manifest_digest']}, this run has {own}"
            raise ContractError(f"{text}; resume on the same data, or start a new generation")
        self._recorded = None
        halted = self._halted_before or (self.decision if self.halted else None)
        if halted is None or self.mode == "warn":
            return
        if not self.allow_resume_after_halt:
            told = f"an earlier run was halted ({halted.message}); allow_resume_after_halt=True goes on"
            raise CollapseHalt(replace(halted, message=told))
        note = "evidence starts anew after a halt that was overridden"
        self.watch = None if self.watch is None else renewed(self.watch, note)
        self._halted_before = None
        if self.validation is not None:
            self.validation.renew()
        self.batches = BatchWatch.start(self._batch_policy, self.manifest)
        log.warning("collapse_guard: %s", note)

    # ------------------------------------------------------------------ while training

    def checked(self, latest: BatchCounts, cell_rows: tuple[int, ...], *, whole: bool = False) -> None:
        """Take the batches since the check before, summed over ranks; ``whole`` if they end an epoch."""
        n_before, decided = self.batches.counts.n_rows, self.batches.decision
        self.batches = self.batches.check(latest, cell_rows, whole=whole)
        if n_before == 0 and self.batches.counts.n_rows == 0 and latest.n_untagged_batches:
            self._traces.warn_once("untagged", untagged_text(self.manifest))
        if not self.batches.halted and self.batches.decision is not None:
            action = self.batches.decision.action
            if action is Action.WARN:
                self._traces.warn_once("batches", self.batches.decision.message)
            return
        if self.batches.decision is not decided:
            self._say(self.batches.decision)

    def is_due(self, *, epoch: int, step: int) -> bool:
        """Return whether a look at samples is due; never twice at the same step."""
        if not self.watched.samples or (self._looked is not None and self._looked[1] == step):
            return False
        before = last_look(self.watch) if self._is_resumed and self.watch is not None else None
        return is_due(self.policy, n_epochs=epoch, n_steps=step, last=self._looked or before)

    def looked(self, sample: Sample, *, epoch: int, step: int) -> None:
        """Take one look at samples, of all ranks."""
        assert self.watch is not None
        self._looked = (epoch, step)
        self.watch = self.watch.look(
            *sample.counts, scores=sample.scores, epoch=epoch, step=step, advisory=sample.advisory
        )
        self._after_look(self.watch)

    def validated(self, counts: PredictionCounts, *, epoch: int, step: int) -> bool:
        """Take the predictions of one whole validation pass, of all ranks; return whether it counted as a look.

        Raises ContractError if the validation set cannot show the tail.
        """
        assert self.validation is not None
        if not self.validation.look(counts, epoch=epoch, step=step):
            return False
        assert self.validation.watch is not None
        self._after_look(self.validation.watch)
        return True

    def _after_look(self, watch: Watch) -> None:
        if watch.n_looks == coverage_of(self.policy).planned_looks:
            log.warning("collapse_guard: the planned looks are used up; a drop that begins now is seen late")
        self._say(watch.decision)
        if manifest_changed(self.manifest):
            self._traces.warn_once(
                "manifest", "the manifest was changed while training; this run is of the data before"
            )

    # ------------------------------------------------------------------ what it comes to

    @property
    def predictions(self) -> Watch | None:
        """Looks at predictions on validation; None before the first whole pass."""
        return None if self.validation is None else self.validation.watch

    @property
    def decision(self) -> Decision | None:
        """The halt if there is one; else the latest decision on samples, predictions or batches."""
        watches = (self.watch, self.predictions, self.batches)
        made = [each.decision for each in watches if each is not None and each.decision is not None]
        halts = [each for each in made if each.action is Action.HALT]
        return next(iter([*halts, *made]), None)

    @property
    def halted(self) -> bool:
        """Whether the decision is to halt."""
        return self.decision is not None and self.decision.action is Action.HALT

    @property
    def should_stop(self) -> bool:
        """Whether training is to end now."""
        return self.halted and self.mode != "warn"

    def raise_if_halted(self) -> None:
        """Raise CollapseHalt if the decision is to halt."""
        if self.halted:
            assert self.decision is not None
            raise CollapseHalt(self.decision)

    def is_looked_at(self, step: int) -> bool:
        """Return whether the model of this step was looked at already, or never will be."""
        return not self.watched.samples or (self._looked is not None and self._looked[1] == step)

    # ------------------------------------------------------------------ state and report

    def state(self) -> dict[str, Any]:
        """Return plain values; equal on all ranks, because only sums over ranks are in it."""
        return {
            "schema": STATE_SCHEMA,
            "manifest_digest": None if self.manifest is None else self.manifest.digest,
            "watch": None if self.watch is None else self.watch.state(),
            "predictions": None if self.validation is None else self.validation.state(),
            "batches": self.batches.state(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a checkpoint; whether its data is this run's is asked in :meth:`begin`."""
        schema = state.get("schema")
        if not isinstance(schema, int) or not 1 <= schema <= STATE_SCHEMA:
            text = f"the checkpoint holds a guard of schema {schema!r}, this version reads 1 to {STATE_SCHEMA}"
            raise InputError(f"{text}; resume with the version that wrote it, or start a new generation")
        self._recorded = {"manifest_digest": state.get("manifest_digest")}
        self._is_resumed = True
        if self.watch is not None and state.get("watch") is not None:
            self.watch = self.watch.resumed(state["watch"])
        if self.validation is not None:
            self.validation.restore(state.get("predictions"))
        self.batches = self.batches.resumed(state.get("batches"))
        for part in (state.get("watch"), state.get("predictions"), state.get("batches")):
            self._halted_before = (None if part is None else halt_in(part)) or self._halted_before

    def metrics(self) -> dict[str, float]:
        """Return the figures of the latest looks and checks, for a logger; empty before any."""
        prefix = "collapse_guard/" if self.name == "default" else f"collapse_guard/{self.name}/"
        return metrics_of(self.watch, self.predictions, self.batches, halted=self.halted, prefix=prefix)

    def read_note(self, note: Mapping[str, Any]) -> None:
        """Take the note of a checkpoint, which a guard of any name may have written."""
        if note.get("halted") and self._halted_before is None:
            said = str(note.get("reason"))
            reason = RunReason(said) if said in {each.value for each in RunReason} else RunReason.CLASS_LOSS
            text = f"a guard that had halted it wrote this checkpoint: {said}"
            self._halted_before = Decision(Action.HALT, reason, text)

    def note(self) -> dict[str, Any]:
        """Return what a checkpoint says to tools that do not build the guard."""
        return {
            "schema": 1,
            "halted": self.halted,
            "reason": None if self.decision is None else self.decision.reason.value,
            "manifest_digest": None if self.manifest is None else self.manifest.digest,
        }

    def view(self, *, n_ranks: int) -> dict[str, Any]:
        """Return the report as plain values."""
        return run_view(
            policy=self.policy,
            manifest=self.manifest,
            watch=self.watch,
            predictions=self.predictions,
            batches=self.batches,
            decision=self.decision,
            sight=self._sight,
            n_ranks=n_ranks,
            contract="checked" if self.contract and self.manifest is not None else "off",
        )

    def warn_of_no_look(self) -> None:
        """Say it if samples or predictions were to be looked at and never were."""
        if self.watched.samples and self._looked is None:
            log.warning("collapse_guard: this run took no look")
        if self.validation is not None and self.validation.looked is None:
            log.warning("collapse_guard: this run took no look at predictions")

    def write(self, *, n_ranks: int, evidence: bool) -> None:
        """Write the report and, at the end, the evidence of the looks; what cannot be written is warned of, once."""
        assert self.folder is not None
        target = self.report or self.folder / f"collapse_guard.{self.name}.json"
        view = self.view(n_ranks=n_ranks)
        self._traces.tried("report", target, partial(as_json, view, target))
        if not evidence or self.manifest is None or self.manifest.path is None:
            return
        beside = self.folder / self.manifest.path.name if manifest_changed(self.manifest) else self.manifest.path
        for looked, watch, of in (
            (self._looked, self.watch, "samples"),
            (None if self.validation is None else self.validation.looked, self.predictions, "predictions"),
        ):
            if looked is not None and watch is not None:
                left = evidence_path(beside, name=self.name, of=of)
                self._traces.tried("evidence for the next generation", left, partial(write_state, left, watch))

    def _say(self, decision: Decision | None) -> None:
        if decision is not None and decision.action is not Action.CONTINUE:
            log.warning("collapse_guard: %s: %s", decision.action.value, decision.message)
