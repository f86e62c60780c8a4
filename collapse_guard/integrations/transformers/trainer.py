"""Hugging Face `transformers` and TRL: hold a Trainer under a policy. It translates; the session decides."""

from __future__ import annotations

import logging
from collections.abc import Mapping, MutableMapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from collapse_guard._optional import need
from collapse_guard.errors import InputError
from collapse_guard.integrations.training.session import GuardSession
from collapse_guard.integrations.transformers.collator import CARRIED, ProvenanceCollator
from collapse_guard.integrations.transformers.predictions import own_rows, predicted_classes
from collapse_guard.integrations.transformers.run import GuardRun, callback_of
from collapse_guard.records import BATCH_KEY, ORIGIN

if TYPE_CHECKING:
    from collections.abc import Iterator
    from os import PathLike

    from transformers import Trainer

    from collapse_guard.policy import Policy

    _Trainer = Trainer
else:
    _Trainer = object

log = logging.getLogger(__name__)

_OVERRIDDEN: Final = (
    "_set_signature_columns_if_needed",
    "evaluate",
    "get_eval_dataloader",
    "get_test_dataloader",
    "get_train_dataloader",
    "prediction_step",
    "train",
    "training_step",
)


class CollapseGuardTrainerMixin(_Trainer):
    """Guarded trainer: put it before the trainer's class, and pass the constructor a session.

    Provenance columns reach the batch, whatever ``remove_unused_columns`` says, and leave it before the model sees it.
    A halt ends training cleanly, with a checkpoint where the save strategy writes any; ``train`` then raises
    CollapseHalt if the session's mode is ``raise``. Several ranks stop at the same step.

    Args:
        guard: session of this trainer; None guards nothing. If its ``outputs_from`` is set, as to ``predicted_classes``
            of this module, it is given the predictions on the evaluation set.

    Example: ``class GuardedTrainer(CollapseGuardTrainerMixin, Trainer): ...`` and then
    ``GuardedTrainer(model, args, train_dataset=rows, guard=GuardSession("policy.yaml", sampler=sample)).train()``
    """

    guard: GuardSession | None = None
    _signature_columns: Any
    _guard_run: GuardRun | None = None

    def __init__(self, *args: Any, guard: GuardSession | None = None, **kwargs: Any) -> None:
        self.guard = guard  # a trainer may ask for its columns while it is built
        super().__init__(*args, **kwargs)
        if guard is not None:
            _join(self, guard)

    # ------------------------------------------------------------------ batches

    def _set_signature_columns_if_needed(self) -> None:
        super()._set_signature_columns_if_needed()
        columns = self._signature_columns
        if self.guard is not None and columns is not None:
            self._signature_columns = [*columns, *(name for name in CARRIED if name not in columns)]

    def get_train_dataloader(self) -> Any:
        """Return batches that carry the provenance of their rows."""
        with _collating(self, keep=True):
            return super().get_train_dataloader()

    def get_eval_dataloader(self, *args: Any, **kwargs: Any) -> Any:
        """Return batches without provenance."""
        with _collating(self, keep=False):
            return super().get_eval_dataloader(*args, **kwargs)

    def get_test_dataloader(self, *args: Any, **kwargs: Any) -> Any:
        """Return batches without provenance."""
        with _collating(self, keep=False):
            return super().get_test_dataloader(*args, **kwargs)

    def training_step(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """Show the session the batch, take its provenance out, and train."""
        if self.guard is not None:
            self.guard.observe(_named(inputs))
            _strip(inputs)
        return super().training_step(model, inputs, *args, **kwargs)

    # ------------------------------------------------------------------ runs

    def train(self, resume_from_checkpoint: Any = None, *args: Any, **kwargs: Any) -> Any:
        """Train; raises CollapseHalt after a clean end if the run was halted and the session's mode says so."""
        run = self._guard_run
        if run is None:
            return super().train(resume_from_checkpoint, *args, **kwargs)
        run.prepare(resumes=bool(resume_from_checkpoint))
        try:
            result = super().train(resume_from_checkpoint, *args, **kwargs)
        except BaseException:
            run.abandon()
            raise
        if run.session.mode == "raise":
            run.session.raise_if_halted()
        return result

    def evaluate(self, *args: Any, **kwargs: Any) -> Any:
        """Evaluate; while training, the session judges the predictions of the whole pass."""
        run = self._guard_run
        if run is None or not run.is_open:
            return super().evaluate(*args, **kwargs)
        run.n_passes += 1
        try:
            metrics = super().evaluate(*args, **kwargs)
        finally:
            run.n_passes -= 1
        if run.n_passes == 0:
            run.evaluated(self.args, self.state, self.control)
        return metrics

    def prediction_step(
        self,
        model: Any,
        inputs: Any,
        prediction_loss_only: bool,  # noqa: FBT001 - the trainer's signature
        *args: Any,
        **kwargs: Any,
    ) -> Any:
        """Predict; logits are computed for the session even where the trainer needs the loss alone."""
        _strip(inputs)
        run = self._guard_run
        if run is None or run.n_passes == 0 or not run.watches_predictions:
            return super().prediction_step(model, inputs, prediction_loss_only, *args, **kwargs)
        loss, logits, labels = super().prediction_step(model, inputs, False, *args, **kwargs)  # noqa: FBT003 - as above
        batch, outputs = own_rows(self.accelerator, inputs, (logits, labels))
        run.session.predicted(model, batch, outputs)
        return (loss, None, None) if prediction_loss_only else (loss, logits, labels)


def attach(
    trainer: Trainer,
    guard: GuardSession | Policy | Mapping[str, Any] | str | PathLike[str],
    *,
    predictions: bool = False,
    **options: Any,
) -> GuardSession:
    """Guard a trainer that is built already, and return its session.

    The trainer becomes one of a class that also derives from :class:`CollapseGuardTrainerMixin`; call this last, before
    ``trainer.train()``. TRL packs rows while a trainer is built: see the warning that this then gives.

    Args:
        trainer: a Trainer of `transformers` or of a package that builds on it.
        guard: a policy, as :class:`GuardSession` takes it, or a session that is ready.
        predictions: watch which classes a classifier predicts on its evaluation set; the same as
            ``outputs_from=predicted_classes`` and ``labels_from=`` the trainer's labels.
        options: of the session: ``manifest=``, ``sampler=``, ``mode=`` and so on.

    Example: ``attach(trainer, "policy.yaml", manifest="data/manifest.cgm.json", predictions=True)``
    """
    _check_trainer(trainer)
    session = _session(trainer, guard, options, predictions=predictions)
    cls = type(trainer)
    if not isinstance(trainer, CollapseGuardTrainerMixin):
        names = {"__module__": cls.__module__, "__qualname__": cls.__qualname__, "__doc__": cls.__doc__}
        trainer.__class__ = type(cls.__name__, (CollapseGuardTrainerMixin, cls), names)
    assert isinstance(trainer, CollapseGuardTrainerMixin)
    trainer.guard = session
    _join(trainer, session)
    return session


def _join(trainer: CollapseGuardTrainerMixin, session: GuardSession) -> None:
    trainer._guard_run = GuardRun(trainer, session)  # noqa: SLF001 - our own attribute
    trainer.add_callback(callback_of(trainer._guard_run))  # noqa: SLF001 - as above
    warning = _lost_in_packing(trainer)
    if warning is not None:
        log.warning("collapse_guard: %s", warning)


def _session(trainer: Trainer, guard: Any, options: dict[str, Any], *, predictions: bool) -> GuardSession:
    if isinstance(guard, GuardSession):
        given = [*(["predictions"] if predictions else []), *options]
        if given:
            raise InputError(f"the session is ready; pass {', '.join(given)} to GuardSession(...) instead")
        return guard
    if predictions:
        names = trainer.label_names or ["labels"]
        options = {"outputs_from": predicted_classes, "labels_from": names[0]} | options
    return GuardSession(guard, **options)


def _check_trainer(trainer: Any) -> None:
    if not isinstance(trainer, need("transformers", extra="transformers").Trainer):
        remedy = "for Lightning use CollapseGuard, for a loop of your own GuardSession"
        raise InputError(f"attach takes a transformers Trainer, got {type(trainer).__name__}; {remedy}")
    if getattr(trainer, "guard", None) is not None:
        raise InputError("this trainer has a guard already; make one session of what both should watch")
    replaced = [name for name in _OVERRIDDEN if name in vars(trainer)]
    if replaced:
        remedy = "attach the guard first, or derive the trainer's class from CollapseGuardTrainerMixin"
        raise InputError(f"{', '.join(replaced)} of this trainer was replaced on the object; {remedy}")


def _lost_in_packing(trainer: Trainer) -> str | None:
    """Return a warning if rows were packed without their provenance, else None."""
    columns = getattr(trainer.train_dataset, "column_names", None)
    if not getattr(trainer.args, "packing", False) or not columns or ORIGIN in columns:
        return None
    return (
        "packing=True dropped the provenance of the rows, so that no batch can be counted; pack before the trainer"
        f" does, with {ORIGIN} as a list of one origin for each token, and pass packing=False, padding_free=True"
    )


def _named(inputs: Any) -> Any:
    """Return a batch in which the classes also have the name that collators take from the column ``label``."""
    labels = inputs.get("labels") if isinstance(inputs, Mapping) else None
    return {**inputs, "label": labels} if getattr(labels, "ndim", None) == 1 else inputs


def _strip(inputs: Any) -> None:
    if isinstance(inputs, MutableMapping):
        inputs.pop(BATCH_KEY, None)


@contextmanager
def _collating(trainer: Trainer, *, keep: bool) -> Iterator[None]:
    """Build loaders around our collator; elsewhere the trainer's own collator is what it was."""
    own: Any = trainer.data_collator
    if getattr(trainer, "guard", None) is not None:
        trainer.data_collator = ProvenanceCollator(own, keep=keep)
    try:
        yield
    finally:
        trainer.data_collator = own
