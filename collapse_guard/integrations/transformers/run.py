"""A guarded run of a Hugging Face Trainer: its events become calls of the session, the answers become its flags."""

from __future__ import annotations

import importlib
import logging
import math
import sys
from typing import TYPE_CHECKING, Any, Final

from collapse_guard._optional import need
from collapse_guard.errors import ContractError, InputError

_transformers = need("transformers", extra="transformers")

if TYPE_CHECKING:
    from transformers import Trainer, TrainerControl, TrainerState, TrainingArguments
    from transformers.trainer_callback import ExportableState, TrainerCallback

    from collapse_guard.integrations.training.session import GuardSession
else:
    TrainerCallback = _transformers.TrainerCallback
    ExportableState = importlib.import_module("transformers.trainer_callback").ExportableState

log = logging.getLogger(__name__)

_WHOLE: Final = 1e-6  # of an epoch: the trainer counts them as fractions

#: Where the guard's state stands in ``trainer_state.json``, under ``stateful_callbacks``.
STATE_KEY: Final = "CollapseGuardCallback"


class GuardRun:
    """What a session is told by one trainer; everything that is counted lives in the session.

    Args:
        trainer: the guarded trainer.
        session: what decides.
    """

    def __init__(self, trainer: Trainer, session: GuardSession) -> None:
        self.trainer = trainer
        self.session = session
        self.is_open = False
        self.n_passes = 0  # evaluations under way: those of a mapping of sets are nested
        self._resumes = self._has_saved_halt = False
        self._first: dict[str, Any] | None = None
        self._logged: dict[str, float] = {}
        self._began_at = self._n_epochs = 0
        self._epoch_ended_at = -1

    @property
    def model(self) -> Any:
        """The model as it trains; asked for each time, because a trainer may replace it."""
        return self.trainer.model

    @property
    def watches_predictions(self) -> bool:
        """Whether the session wants predictions on the evaluation set."""
        return self.session.run.watched.predictions

    def prepare(self, *, resumes: bool) -> None:
        """Get ready for a call of ``train``, which may begin several times while it looks for a batch size."""
        self.is_open, self.n_passes = False, 0
        self._resumes, self._first, self._has_saved_halt, self._epoch_ended_at = resumes, None, False, -1

    def begin(self, args: TrainingArguments, state: TrainerState, loader: Any) -> None:
        """Open the session, or set it back to where it began if the trainer starts over with smaller batches."""
        if state.is_hyper_param_search:
            raise InputError("a guard watches one run; attach() a session to a trainer of its own for each trial")
        if self.watches_predictions and args.eval_strategy == "no":
            text = "predictions are watched on the evaluation set, and eval_strategy is 'no'"
            raise ContractError(f"{text}; set eval_strategy='epoch', or leave predictions= out")
        # A checkpoint from before the guard has no entry, and the trainer saves into entries that are there.
        saved = self._first or self._saved(state)
        n_epochs = state.num_train_epochs if state.num_train_epochs < sys.maxsize else None
        assert args.output_dir is not None
        for line in self.session.open(args.output_dir, n_epochs=n_epochs, n_steps=state.max_steps):
            log.info("collapse_guard: %s", line)
        self.is_open = True
        if saved is not None:
            self.session.load_state_dict(saved)
        self.session.begin(_layers(loader))
        self._first, self._began_at, self._n_epochs = (
            self.session.state_dict(),
            state.global_step,
            int(state.epoch or 0),
        )

    def _saved(self, state: TrainerState) -> dict[str, Any] | None:
        """Return the session's state in the checkpoint that training goes on from."""
        entries: Any = state.stateful_callbacks
        entry = entries.setdefault(STATE_KEY, {})
        return entry.get("attributes", {}).get("guard_state") if self._resumes else None

    # ------------------------------------------------------------------ events

    def stepped(self, args: TrainingArguments, state: TrainerState, control: TrainerControl) -> None:
        """Look if it is time, after an optimizer step."""
        self.session.after_step(self.model, step=state.global_step, epoch=self._epochs(state))
        self._act(args, control)

    def epoch_ended(self, args: TrainingArguments, state: TrainerState, control: TrainerControl) -> None:
        """Look if it is time, or if training ends here: what comes later may be the best model and not the last."""
        self._n_epochs, self._epoch_ended_at = math.ceil(state.epoch or 0), state.global_step
        is_last = control.should_training_stop or state.global_step >= state.max_steps
        whole = abs((state.epoch or 0) - round(state.epoch or 0)) < _WHOLE
        self.session.end_epoch(self.model, epoch=self._n_epochs, step=state.global_step, last=is_last, whole=whole)
        self._act(args, control)

    def evaluated(self, args: TrainingArguments, state: TrainerState, control: TrainerControl) -> None:
        """Judge the predictions of a whole evaluation; one before the first step is a rehearsal."""
        epoch, step = self._epochs(state), state.global_step
        self.session.validated(epoch=epoch, step=step, rehearsal=step == self._began_at)
        if control.should_training_stop and self._epoch_ended_at == step:
            # Another callback ends training after its epoch: this is the last moment before the checkpoint.
            self.session.end_epoch(self.model, epoch=epoch, step=step, last=True)
        self._act(args, control)

    def saved(self) -> None:
        """Remember that a checkpoint holds the halt."""
        self._has_saved_halt = self.session.should_stop

    def ended(self, state: TrainerState, control: TrainerControl) -> None:
        """Write report and evidence."""
        self.is_open = False
        self.session.end(self.model, epoch=self._epochs(state), step=state.global_step)
        if self.session.metrics() != self._logged:
            self._log(control)

    def abandon(self) -> None:
        """Write what there is of a run that failed."""
        if self.is_open:
            self.is_open = False
            self.session.close()

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint keeps: the session's state, and a note for readers without this package."""
        held = {"name": self.session.name, "guard_state": self.session.state_dict(), "note": self.session.note()}
        return {"args": {}, "attributes": held}

    def _epochs(self, state: TrainerState) -> int:
        """Return the whole epochs so far; where the length of one is not known, those that have ended."""
        return max(int(state.epoch or 0), self._n_epochs)

    # ------------------------------------------------------------------ answers

    def _act(self, args: TrainingArguments, control: TrainerControl) -> None:
        self._log(control)
        if not self.session.should_stop:
            return
        control.should_training_stop = True
        if not self._has_saved_halt and args.save_strategy != "no":
            control.should_save = True

    def _log(self, control: TrainerControl) -> None:
        """Log the figures of a look or a check, once; the flag that asks for the trainer's own line stays as it was."""
        if not self.session.has_news:
            return
        self.session.has_news, is_due = False, control.should_log
        self._logged = self.session.metrics()
        # A trainer's own log() may add to every line what it gathered since the last: that is for its lines, not ours.
        try:
            _transformers.Trainer.log(self.trainer, dict(self._logged))
        except Exception as error:  # noqa: BLE001 - a logger may raise anything, and must not end a run
            log.warning("collapse_guard: figures were not logged: %s", error)
        control.should_log = is_due


class GuardCallback(TrainerCallback, ExportableState):
    """Passes the trainer's events on; it holds nothing, so that a copy restored from a checkpoint is as good.

    Example: ``trainer.add_callback(callback_of(run))``
    """

    run: GuardRun

    def state(self) -> dict[str, Any]:
        """Return the state for ``trainer_state.json``; asked for while a checkpoint is written."""
        return self.run.state()

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:  # noqa: ARG002 - hook signature
        """Check data and checkpoint before the first step."""
        self.run.begin(args, state, kwargs.get("train_dataloader"))

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:  # noqa: ARG002 - hook signature
        """Look after an optimizer step, if it is time."""
        self.run.stepped(args, state, control)

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:  # noqa: ARG002 - hook signature
        """Look after an epoch, if it is time."""
        self.run.epoch_ended(args, state, control)

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:  # noqa: ARG002 - hook signature
        """Remember a checkpoint that holds the halt."""
        self.run.saved()

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:  # noqa: ARG002 - hook signature
        """Write report and evidence."""
        self.run.ended(state, control)


def callback_of(run: GuardRun) -> GuardCallback:
    """Return the callback of a run, of a class of its own: a trainer restores callbacks by calling their class."""
    made: GuardCallback = type(STATE_KEY, (GuardCallback,), {"__module__": __name__, "run": run})()
    return made


def _layers(loader: Any) -> list[Any]:
    """Return the loader that counts its rows: this one, or the one that `accelerate` has wrapped."""
    inner = getattr(loader, "base_dataloader", None)
    counting = [each for each in (loader, inner) if hasattr(each, "tally")]
    return counting[-1:]
