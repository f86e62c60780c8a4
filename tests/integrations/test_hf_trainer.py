"""Guarded Trainers: provenance reaches the session and never the model, halts end cleanly and stay on record."""

from __future__ import annotations

import gc
import json
import os
import pickle
import socket
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from datasets import Dataset
from torch import nn
from transformers import EarlyStoppingCallback, Trainer, TrainerCallback, TrainingArguments, default_data_collator

from collapse_guard.errors import CollapseHalt, ContractError, InputError
from collapse_guard.integrations.hugging_face.tags import tag
from collapse_guard.integrations.loading.row_provenance import provenance_codes
from collapse_guard.integrations.training.session import GuardSession
from collapse_guard.integrations.transformers.collator import ProvenanceCollator
from collapse_guard.integrations.transformers.predictions import own_rows, predicted_classes
from collapse_guard.integrations.transformers.run import STATE_KEY
from collapse_guard.integrations.transformers.trainer import CollapseGuardTrainerMixin, attach
from collapse_guard.records import BATCH_KEY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SHARES = (0.90, 0.06, 0.04)
N_ROWS = 32


def healthy(_: Any, n_rows: int) -> np.ndarray:
    """Return cells in the shares of the reference."""
    return np.repeat(np.arange(3), [round(share * n_rows) for share in SHARES])


def dying(_: Any, n_rows: int) -> np.ndarray:
    """Return cells of the common class alone."""
    return np.zeros(n_rows, dtype=np.int64)


class Classifier(nn.Module):
    """Linear model that takes a vector and labels, and no argument besides."""

    def __init__(self, n_classes: int = 3) -> None:
        super().__init__()
        self.linear = nn.Linear(4, n_classes)
        self.n_seen = 0

    def forward(self, x: torch.Tensor, labels: torch.Tensor | None = None) -> dict[str, torch.Tensor]:
        logits = self.linear(x)
        if labels is None:
            return {"logits": logits}
        self.n_seen += len(labels) * self.training
        return {"loss": nn.functional.cross_entropy(logits, labels), "logits": logits}


class Constant(Classifier):
    """Model that learns, and predicts the same class for every row."""

    def forward(self, x: torch.Tensor, labels: torch.Tensor | None = None) -> dict[str, torch.Tensor]:
        found = super().forward(x, labels)
        return found | {"logits": torch.tensor([[1.0, 0.0, 0.0]]).expand(len(x), 3)}


def rows_of(n_rows: int = N_ROWS, *, classes: tuple[int, ...] = (0, 0, 1, 2)) -> Dataset:
    """Return rows whose vector says their class."""
    labels = [classes[row % len(classes)] for row in range(n_rows)]
    vectors = [
        [float(label == 0), float(label == 1), float(label == 2), row / n_rows] for row, label in enumerate(labels)
    ]
    return Dataset.from_dict({"x": vectors, "label": labels})


def real_rows() -> Dataset:
    """Return rows as the manifest of these tests holds them: real ones only."""
    return tag(rows_of(), origin="real", source="web")


def tagged_rows(n_real: int = 24, n_synthetic: int = 8) -> Dataset:
    """Return rows with all provenance columns, those of text among them; the synthetic ones last."""
    from datasets import concatenate_datasets

    real = tag(rows_of(n_real), origin="real", source="web")
    made = tag(rows_of(n_synthetic), origin="synthetic", source="model", generator="model@1", generation=1)
    return concatenate_datasets([real, made])


@pytest.fixture(autouse=True, scope="module")
def _quick() -> Iterator[None]:
    """Keep what is imported out of the garbage collections that `accelerate` asks for in every run."""
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture
def trainer(tmp_path: Path) -> Callable[..., Trainer]:
    """Return a maker of tiny trainers: ``trainer(cls, model=..., train=..., options of TrainingArguments)``."""

    def made(
        cls: type[Trainer] = Trainer,
        *,
        model: nn.Module | None = None,
        train: Any = None,
        evaluation: Any = None,
        callbacks: Any = None,
        more: dict[str, Any] | None = None,
        **options: Any,
    ) -> Trainer:
        settings: dict[str, Any] = {
            "output_dir": str(tmp_path / "out"),
            "num_train_epochs": 3,
            "per_device_train_batch_size": 8,
            "per_device_eval_batch_size": 8,
            "learning_rate": 0.1,
            "report_to": "none",
            "use_cpu": True,
            "disable_tqdm": True,
            "save_strategy": "no",
            "logging_strategy": "no",
            "dataloader_pin_memory": False,
        }
        torch.manual_seed(0)
        return cls(
            model or Classifier(),
            TrainingArguments(**(settings | options)),
            train_dataset=real_rows() if train is None else train,
            eval_dataset=evaluation,
            callbacks=callbacks,
            **(more or {}),
        )

    return made


@pytest.fixture
def options(real_manifest: Any, watched_policy: dict[str, Any], tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Return a maker of a session's arguments: looks at 200 generated rows, against 100 real ones."""
    own: list[Any] = []

    def made(
        *, coverage: dict[str, Any] | None = None, policy: dict[str, Any] | None = None, **more: Any
    ) -> dict[str, Any]:
        own.extend([] if own else [real_manifest("own")])
        whole = watched_policy | {"coverage": watched_policy["coverage"] | (coverage or {})} | (policy or {})
        return {"policy": whole, "manifest": own[0], "sampler": healthy, "contract": False} | more

    return made


#: Batches of any mix are fine.
ANY_MIX = {"mix": {"real_min_share": 0.0}}
#: Only batches are watched.
BATCHES = {"version": 1, "batches": {"missing": "error", "every_batches": 2}} | ANY_MIX


def origins_of(session: GuardSession) -> dict[str, int]:
    return {name: rows for name, rows in session.run.batches.counts.by_origin().items() if rows}


def looks_of(session: GuardSession) -> list[tuple[int, int | None]]:
    assert session.watch is not None
    return [(look.epoch, look.step) for look in session.watch.looks]


def saved_entry(folder: Path) -> dict[str, Any]:
    state = json.loads((folder / "trainer_state.json").read_text())
    entry: dict[str, Any] = state["stateful_callbacks"][STATE_KEY]
    return entry


def guarded(made: Any, route: str, session: GuardSession, **more: Any) -> Trainer:
    """Return a trainer that is guarded by one of the two routes."""
    if route == "mixin":
        built: Trainer = made(GuardedTrainer, more={"guard": session}, **more)
        return built
    built = made(**more)
    assert attach(built, session) is session
    return built


class GuardedTrainer(CollapseGuardTrainerMixin, Trainer):
    """The supported route."""


ROUTES = pytest.mark.parametrize("route", ["attach", "mixin"])


# ------------------------------------------------------------------ provenance of batches


@ROUTES
@pytest.mark.parametrize(
    "more",
    [
        {},
        {"remove_unused_columns": False},
        {"gradient_accumulation_steps": 3},
        {"gradient_accumulation_steps": 2, "accelerator_config": {"dispatch_batches": True}},
        {"torch_rows": True},
    ],
    ids=["plain", "all-columns", "accumulated", "dispatched", "torch-rows"],
)
def test_every_batch_is_counted_and_the_model_sees_none_of_it(trainer: Any, route: str, more: dict[str, Any]) -> None:
    session = GuardSession(BATCHES)
    train: Any = tagged_rows()
    if more.pop("torch_rows", None):
        train = TorchRows(train)
    model = Classifier()
    guarded(trainer, route, session, model=model, train=train, num_train_epochs=2, **more).train()
    assert model.n_seen == 2 * N_ROWS
    assert origins_of(session) == {"real": 48, "synthetic": 16}
    assert session.run.batches.counts.generations[:2] == (48, 16)
    assert session.run.batches.counts.n_untagged_batches == 0


class TorchRows(torch.utils.data.Dataset[Any]):
    """The same rows as a plain torch data set."""

    def __init__(self, rows: Dataset) -> None:
        self.rows = list(rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, number: int) -> Any:
        return self.rows[number]


@pytest.mark.parametrize("stream", [False, True], ids=["map-style", "stream"])
def test_worker_processes_carry_provenance_too(trainer: Any, stream: bool) -> None:
    session, rows = GuardSession(BATCHES), tagged_rows()
    train = rows.to_iterable_dataset(num_shards=2) if stream else rows
    built = trainer(train=train, dataloader_num_workers=2, max_steps=4)
    attach(built, session)
    built.train()
    assert origins_of(session) == {"real": 24, "synthetic": 8}


def test_the_trainers_own_collator_is_what_it_was(trainer: Any) -> None:
    built = trainer()
    attach(built, BATCHES)
    assert built.data_collator is default_data_collator
    batch = next(iter(built.get_train_dataloader()))
    assert batch[BATCH_KEY].shape == (8, 2)
    assert built.data_collator is default_data_collator


def test_evaluation_and_prediction_batches_carry_no_provenance(trainer: Any) -> None:
    rows = tagged_rows()
    built = trainer(evaluation=rows, remove_unused_columns=False)
    session = attach(built, BATCHES)
    assert set(next(iter(built.get_eval_dataloader()))) == {"x", "labels"}
    assert built.evaluate()["eval_loss"] > 0
    assert built.predict(rows).predictions.shape == (N_ROWS, 3)
    assert origins_of(session) == {}


def test_rows_without_provenance_are_refused_if_the_policy_asks_for_it(trainer: Any) -> None:
    built = trainer(train=rows_of())
    attach(built, BATCHES)
    with pytest.raises(ContractError, match="cg_origin"):
        built.train()


def test_classes_of_batches_are_counted_under_the_name_that_collators_give_them(trainer: Any, options: Any) -> None:
    built = trainer(num_train_epochs=1)
    session = attach(built, **as_attached(options(policy=ANY_MIX, mode="warn")))
    built.train()
    assert session.run.batches.cell_rows == (16, 8, 8, 0)


def as_attached(made: dict[str, Any]) -> dict[str, Any]:
    """Return a session's arguments as those of ``attach``."""
    return {"guard": made["policy"]} | {key: value for key, value in made.items() if key != "policy"}


# ------------------------------------------------------------------ the collator alone


@pytest.mark.parametrize(
    ("origin", "generation", "expected"),
    [
        (1, 0, [1, 0]),
        (None, None, [0, 255]),
        (float("nan"), float("nan"), [0, 255]),
        (np.uint8(2), np.float64(3.0), [2, 3]),
        (torch.tensor(2), torch.tensor(1), [2, 1]),
        (6, 255, [0, 255]),
        (-1, -1, [0, 255]),
        (1.5, 0.5, [0, 255]),
        ("1", "0", [0, 255]),
    ],
)
def test_what_is_no_code_is_unknown(origin: Any, generation: Any, expected: list[int]) -> None:
    codes = provenance_codes([{"cg_origin": origin, "cg_generation": generation}])
    assert codes is not None
    assert codes.tolist() == [expected]


def test_rows_without_a_column_are_unknown_beside_rows_that_have_it() -> None:
    codes = provenance_codes([{"cg_origin": 1, "cg_generation": 0}, {"x": 1}, "text"])
    assert codes is not None
    assert codes.tolist() == [[1, 0], [0, 255], [0, 255]]
    assert provenance_codes([{"x": 1}, "text"]) is None


@pytest.mark.parametrize("kind", [list, np.array, torch.tensor])
def test_a_row_of_packed_tokens_counts_each_of_them(kind: Any) -> None:
    codes = provenance_codes([{"cg_origin": kind([1, 2, 2])}, {"cg_origin": kind([1])}])
    assert codes is not None
    assert codes.tolist() == [[0, 1, 2, 0, 0, 0], [0, 1, 0, 0, 0, 0]]


def test_the_collator_reaches_workers_that_are_spawned() -> None:
    copied = pickle.loads(pickle.dumps(ProvenanceCollator(default_data_collator)))
    batch = copied([{"x": 1.0, "cg_origin": 2, "cg_generation": 1}])
    assert batch[BATCH_KEY].tolist() == [[2, 1]]
    assert set(batch) == {"x", BATCH_KEY}


def test_a_batch_that_is_no_mapping_passes_through() -> None:
    rows = [{"x": 1, "cg_origin": 1}]
    assert ProvenanceCollator(list)(rows) == [{"x": 1}]


# ------------------------------------------------------------------ halts


@ROUTES
def test_a_dying_tail_raises_after_training_ended_cleanly(
    trainer: Any, options: Any, route: str, tmp_path: Path
) -> None:
    session = GuardSession(**options(sampler=dying, policy=ANY_MIX))
    built = guarded(trainer, route, session, save_strategy="steps", save_steps=100)
    with pytest.raises(CollapseHalt, match=r"log e .* reached") as caught:
        built.train()
    assert caught.value.decision == session.decision
    assert looks_of(session) == [(1, 4)]
    assert built.state.global_step == 4
    assert not built.is_in_train
    entry = saved_entry(tmp_path / "out" / "checkpoint-4")
    assert entry["attributes"]["note"]["halted"] is True
    assert entry["attributes"]["guard_state"] == json.loads(json.dumps(session.state_dict()))
    report = json.loads((tmp_path / "out" / "collapse_guard.default.json").read_text())
    assert report["halted"] is True
    assert report["decision"]["action"] == "halt"


@ROUTES
def test_a_healthy_run_ends_by_itself(trainer: Any, options: Any, route: str, tmp_path: Path) -> None:
    session = GuardSession(**options(policy=ANY_MIX))
    built = guarded(trainer, route, session, save_strategy="epoch")
    assert built.train().global_step == 12
    assert looks_of(session) == [(1, 4), (2, 8), (3, 12)]
    assert saved_entry(tmp_path / "out" / "checkpoint-12")["attributes"]["note"]["halted"] is False
    assert json.loads((tmp_path / "out" / "collapse_guard.default.json").read_text())["halted"] is False


def test_mode_stop_ends_training_and_raises_nothing(trainer: Any, options: Any) -> None:
    built = trainer()
    session = attach(built, **as_attached(options(sampler=dying, policy=ANY_MIX, mode="stop")))
    assert built.train().global_step == 4
    assert session.halted


def test_mode_warn_trains_on(trainer: Any, options: Any) -> None:
    built = trainer()
    session = attach(built, **as_attached(options(sampler=dying, policy=ANY_MIX, mode="warn")))
    assert built.train().global_step == 12
    assert session.halted
    assert len(looks_of(session)) == 3


def test_a_halt_in_the_middle_of_an_epoch_stops_there_with_a_checkpoint(
    trainer: Any, options: Any, tmp_path: Path
) -> None:
    built = trainer(gradient_accumulation_steps=1, save_strategy="steps", save_steps=1000, max_steps=100)
    attach(
        built,
        **as_attached(
            options(sampler=dying, policy=ANY_MIX, coverage={"every": {"steps": 2}, "warmup": {"epochs": 0}})
        ),
    )
    with pytest.raises(CollapseHalt):
        built.train()
    assert built.state.global_step == 2
    assert [path.name for path in (tmp_path / "out").glob("checkpoint-*")] == ["checkpoint-2"]


def test_batches_of_another_mix_than_the_policy_asks_for_halt_one_interval_later(trainer: Any) -> None:
    policy = {"version": 1, "mix": {"real_min_share": 0.9}, "batches": {"missing": "error", "every_batches": 5}}
    built = trainer(train=tagged_rows(16, 240), max_steps=1000)
    session = attach(built, policy)
    with pytest.raises(CollapseHalt, match="are real, the policy asks for 90"):
        built.train()
    assert built.state.global_step == 10
    assert session.decision is not None
    assert session.decision.reason.value == "batch_mix"


def test_no_checkpoint_is_written_where_the_strategy_has_none(trainer: Any, options: Any, tmp_path: Path) -> None:
    built = trainer(save_strategy="no")
    attach(built, **as_attached(options(sampler=dying, policy=ANY_MIX)))
    with pytest.raises(CollapseHalt):
        built.train()
    assert not list((tmp_path / "out").glob("checkpoint-*"))


def test_another_callback_that_goes_on_does_not_defeat_the_halt(trainer: Any, options: Any) -> None:
    class Stubborn(TrainerCallback):
        def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            control.should_training_stop = False

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            control.should_training_stop = state.global_step >= state.max_steps

    built = trainer(max_steps=40)
    attach(
        built,
        **as_attached(
            options(sampler=dying, policy=ANY_MIX, coverage={"every": {"steps": 2}, "warmup": {"epochs": 0}})
        ),
    )
    built.add_callback(Stubborn())
    with pytest.raises(CollapseHalt):
        built.train()
    assert built.state.global_step <= 8


def test_a_stop_of_another_callback_is_followed_by_a_look_before_the_last_checkpoint(
    trainer: Any, options: Any, tmp_path: Path
) -> None:
    built = trainer(
        evaluation=rows_of(8), eval_strategy="epoch", save_strategy="epoch", learning_rate=0.0, num_train_epochs=9,
        load_best_model_at_end=True, metric_for_best_model="loss", callbacks=[EarlyStoppingCallback(1)],
    )  # fmt: skip
    wanted = options(sampler=dying, policy=ANY_MIX, coverage={"every": {"epochs": 5}, "warmup": {"epochs": 5}})
    session = attach(built, **as_attached(wanted))
    with pytest.raises(CollapseHalt):
        built.train()
    assert looks_of(session) == [(2, 8)]
    assert saved_entry(tmp_path / "out" / "checkpoint-8")["attributes"]["note"]["halted"] is True


def test_a_run_that_fails_leaves_a_report(trainer: Any, options: Any, tmp_path: Path) -> None:
    class Failing(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if state.global_step == 6:
                raise ValueError("the disk is full")

    built = trainer(callbacks=[Failing()])
    attach(built, **as_attached(options(policy=ANY_MIX)))
    with pytest.raises(ValueError, match="disk is full"):
        built.train()
    report = json.loads((tmp_path / "out" / "collapse_guard.default.json").read_text())
    assert report["n_looks"] == 1


def test_a_smaller_batch_size_begins_anew_with_the_evidence_of_before(trainer: Any) -> None:
    class Hungry(Classifier):
        def forward(self, x: torch.Tensor, labels: torch.Tensor | None = None) -> dict[str, torch.Tensor]:
            if len(x) > 4 and self.n_seen >= 16:
                raise RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")
            return super().forward(x, labels)

    built = trainer(model=Hungry(), auto_find_batch_size=True, num_train_epochs=1, per_device_train_batch_size=8)
    session = attach(built, BATCHES | {"batches": {"missing": "error", "every_batches": 1}})
    built.train()
    assert built._train_batch_size <= 4
    assert sum(origins_of(session).values()) in range(N_ROWS, N_ROWS + 24)
    assert built.state.global_step == N_ROWS / built._train_batch_size


# ------------------------------------------------------------------ resuming


@pytest.mark.parametrize("restore", [False, True], ids=["callbacks-anew", "callbacks-restored"])
@ROUTES
def test_a_halted_checkpoint_is_not_trained_on(trainer: Any, options: Any, route: str, restore: bool) -> None:
    wanted = options(sampler=dying, policy=ANY_MIX)
    with pytest.raises(CollapseHalt):
        guarded(trainer, route, GuardSession(**wanted), save_strategy="epoch").train()
    more = {"save_strategy": "epoch", "restore_callback_states_from_checkpoint": restore}
    again = guarded(trainer, route, GuardSession(**(wanted | {"sampler": healthy})), **more)
    with pytest.raises(CollapseHalt, match="allow_resume_after_halt=True goes on"):
        again.train(resume_from_checkpoint=True)
    assert again.state.global_step == 4

    session = GuardSession(**(wanted | {"sampler": healthy, "allow_resume_after_halt": True}))
    last = guarded(trainer, route, session, **more)
    assert last.train(resume_from_checkpoint=True).global_step == 12
    assert looks_of(session) == [(2, 8), (3, 12)]


@pytest.mark.parametrize("restore", [False, True], ids=["callbacks-anew", "callbacks-restored"])
def test_a_resumed_run_goes_on_with_its_evidence(trainer: Any, options: Any, restore: bool, tmp_path: Path) -> None:
    wanted = options(policy=ANY_MIX)
    whole = attach(straight := trainer(output_dir=str(tmp_path / "straight")), **as_attached(wanted))
    straight.train()

    class Interrupted(TrainerCallback):
        def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            raise KeyboardInterrupt

    (tmp_path / "data").rename(tmp_path / "moved")  # the evidence beside the manifest is of the run above
    (tmp_path / "moved").rename(tmp_path / "data")
    for left in (tmp_path / "data").rglob("*evidence.json"):
        left.unlink()
    attach(first := trainer(save_strategy="epoch", callbacks=[Interrupted()]), **as_attached(wanted))
    with pytest.raises(KeyboardInterrupt):
        first.train()
    for left in (tmp_path / "data").rglob("*evidence.json"):
        left.unlink()
    second = trainer(save_strategy="epoch", restore_callback_states_from_checkpoint=restore)
    session = attach(second, **as_attached(wanted))
    assert second.train(resume_from_checkpoint=True).global_step == 12
    assert looks_of(session) == [(1, 4), (2, 8), (3, 12)]
    assert origins_of(session) == origins_of(whole)
    assert session.watch is not None
    assert whole.watch is not None
    assert session.watch.state() == whole.watch.state()


def test_a_guard_joins_a_run_that_had_none(trainer: Any, options: Any, tmp_path: Path) -> None:
    trainer(save_strategy="epoch", num_train_epochs=1).train()
    built = trainer(save_strategy="epoch")
    session = attach(built, **as_attached(options(policy=ANY_MIX)))
    assert built.train(resume_from_checkpoint=True).global_step == 12
    assert looks_of(session) == [(2, 8), (3, 12)]
    assert saved_entry(tmp_path / "out" / "checkpoint-12")["attributes"]["note"]["halted"] is False


def test_a_checkpoint_of_other_data_is_refused(trainer: Any, options: Any, real_manifest: Any) -> None:
    wanted = options(policy=ANY_MIX, contract=True)
    attach(first := trainer(save_strategy="epoch", num_train_epochs=1), **as_attached(wanted))
    first.train()
    other = real_manifest("other", {"0": 80, "1": 12, "2": 8})
    attach(second := trainer(save_strategy="epoch"), **as_attached(wanted | {"manifest": other}))
    with pytest.raises(ContractError, match="resume on the same data"):
        second.train(resume_from_checkpoint=True)


# ------------------------------------------------------------------ figures


def test_figures_are_logged_at_looks_only_and_the_trainers_own_lines_stay(trainer: Any, options: Any) -> None:
    built = trainer(logging_strategy="steps", logging_steps=2)
    attach(built, **as_attached(options(policy=ANY_MIX)))
    built.train()
    own = [line["step"] for line in built.state.log_history if "loss" in line]
    ours = [line["step"] for line in built.state.log_history if "collapse_guard/log_e" in line]
    assert own == [2, 4, 6, 8, 10, 12]
    assert ours == [4, 8, 12]


def test_a_look_in_the_middle_of_an_epoch_leaves_the_losses_line_of_that_step(trainer: Any, options: Any) -> None:
    built = trainer(logging_strategy="steps", logging_steps=2)
    attach(built, **as_attached(options(policy=ANY_MIX, coverage={"every": {"steps": 6}, "warmup": {"epochs": 0}})))
    built.train()
    lines = {line["step"] for line in built.state.log_history if "loss" in line}
    assert lines == {2, 4, 6, 8, 10, 12}
    ours = [line["step"] for line in built.state.log_history if "collapse_guard/halted" in line]
    assert sorted({*ours}) == [4, 6, 8, 12]  # looks after 6 steps, batches after each epoch of 4


# ------------------------------------------------------------------ predictions

#: Predictions are watched against the labels of 120 rows, 5% of which are of the rare class.
PREDICTED = {"version": 1, "coverage": {"cells": {"column": "label"}, "tail_mass": 0.1, "baseline": "real"}} | ANY_MIX
VALIDATION = (*(0,) * 60, *(1,) * 54, *(2,) * 6)


def test_a_class_that_is_never_predicted_halts_the_run(trainer: Any) -> None:
    built = trainer(model=Constant(), evaluation=rows_of(120, classes=VALIDATION), eval_strategy="epoch")
    session = attach(built, PREDICTED, predictions=True)
    with pytest.raises(CollapseHalt):
        built.train()
    assert built.state.global_step == 4
    assert session.predictions is not None
    assert session.predictions.looks[-1].counts == (120, 0, 0)


@pytest.mark.parametrize("metrics", [None, lambda _: {"accuracy": 1.0}], ids=["loss-only", "with-metrics"])
@ROUTES
def test_a_model_that_predicts_every_class_goes_on(trainer: Any, route: str, metrics: Any) -> None:
    session = GuardSession(PREDICTED, outputs_from=predicted_classes, labels_from="labels")
    more = {"evaluation": rows_of(120, classes=VALIDATION), "eval_strategy": "epoch", "learning_rate": 1.0}
    built = guarded(trainer, route, session, **more)
    built.compute_metrics = metrics
    assert built.train().global_step == 12
    assert session.predictions is not None
    assert session.predictions.looks[-1].counts == (60, 54, 6)
    evaluated = [line for line in built.state.log_history if "eval_loss" in line]
    assert [("eval_accuracy" in line) for line in evaluated] == [metrics is not None] * 3


def test_an_evaluation_before_the_first_step_is_a_rehearsal(trainer: Any) -> None:
    built = trainer(
        model=Constant(), evaluation=rows_of(120, classes=VALIDATION), eval_strategy="epoch", eval_on_start=True
    )
    session = attach(built, PREDICTED, predictions=True, mode="warn")
    built.train()
    assert session.predictions is not None
    assert [look.step for look in session.predictions.looks] == [4, 8, 12]


def test_several_evaluation_sets_are_one_pass(trainer: Any) -> None:
    sets = {"first": rows_of(60, classes=(0,)), "second": rows_of(60, classes=VALIDATION[60:])}
    built = trainer(evaluation=sets, eval_strategy="epoch", num_train_epochs=1)
    session = attach(built, PREDICTED, predictions=True, mode="warn")
    built.train()
    assert session.predictions is not None
    assert [look.n_rows for look in session.predictions.looks] == [120]


def test_what_is_evaluated_or_predicted_outside_of_training_is_no_look(trainer: Any) -> None:
    rows = rows_of(120, classes=VALIDATION)
    built = trainer(evaluation=rows, num_train_epochs=1, eval_strategy="epoch")
    session = attach(built, PREDICTED, predictions=True, mode="warn")
    built.evaluate()
    assert session.run.predictions is None
    built.train()
    built.evaluate()
    built.predict(rows)
    assert session.predictions is not None
    assert session.predictions.n_looks == 1


def test_predictions_without_an_evaluation_are_refused_before_the_first_step(trainer: Any) -> None:
    built = trainer()
    attach(built, PREDICTED, predictions=True)
    with pytest.raises(ContractError, match="eval_strategy is 'no'; set eval_strategy='epoch'"):
        built.train()
    assert built.state.global_step == 0


def test_logits_of_a_language_model_are_refused() -> None:
    with pytest.raises(InputError, match=r"shape \(rows, classes\), got \(2, 5, 100\); watch samples instead"):
        predicted_classes(None, {}, (torch.zeros(2, 5, 100), None))
    with pytest.raises(InputError, match=r"got \(2, 1\)"):
        predicted_classes(None, {}, torch.zeros(2, 1))
    with pytest.raises(InputError, match="got NoneType"):
        predicted_classes(None, {}, (None, None))


class _Place:
    """What ``accelerate`` says at the last batch of ranks that have been given as many rows."""

    num_processes, end_of_dataloader, remainder = 2, True, 5

    def __init__(self, rank: int) -> None:
        self.process_index = rank
        self.gradient_state = self


@pytest.mark.parametrize(("rank", "n_own"), [(0, 4), (1, 1)])
def test_rows_that_fill_up_the_last_batch_of_a_rank_do_not_count(rank: int, n_own: int) -> None:
    batch, outputs = own_rows(_Place(rank), {"labels": torch.arange(4)}, (torch.zeros(4, 3), torch.arange(4)))
    assert len(batch["labels"]) == n_own
    assert [len(each) for each in outputs] == [n_own, n_own]


# ------------------------------------------------------------------ attaching


def test_an_attached_trainer_is_still_what_it_was(trainer: Any) -> None:
    built = trainer()
    before = type(built)
    attach(built, BATCHES)
    assert isinstance(built, before)
    assert isinstance(built, CollapseGuardTrainerMixin)
    assert type(built).__name__ == before.__name__


def test_a_mixin_without_a_guard_is_a_plain_trainer(trainer: Any) -> None:
    built = trainer(GuardedTrainer, num_train_epochs=1, evaluation=rows_of(8), eval_strategy="epoch")
    assert built.train().global_step == 4
    attach(built, BATCHES)
    assert built.train().global_step == 4


def test_what_cannot_be_attached_is_refused(trainer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="takes a transformers Trainer, got Linear"):
        attach(nn.Linear(1, 1), BATCHES)  # type: ignore[arg-type]
    built = trainer()
    attach(built, BATCHES)
    with pytest.raises(InputError, match="has a guard already"):
        attach(built, BATCHES)
    with pytest.raises(InputError, match="pass predictions, mode to GuardSession"):
        attach(trainer(), GuardSession(BATCHES), predictions=True, mode="warn")
    replaced = trainer()
    replaced.training_step = replaced.training_step
    with pytest.raises(InputError, match="training_step of this trainer was replaced"):
        attach(replaced, BATCHES)


def test_a_search_over_hyperparameters_is_refused(trainer: Any) -> None:
    built = trainer()
    session = attach(built, BATCHES)
    built.state.is_hyper_param_search = True
    with pytest.raises(InputError, match="a trainer of its own for each trial"):
        built.callback_handler.on_train_begin(built.args, built.state, built.control)
    assert session.decision is None


# ------------------------------------------------------------------ two ranks

RANKS = """
import json
import sys

import torch
from datasets import Dataset
from torch import nn
from transformers import Trainer, TrainingArguments

from collapse_guard.errors import CollapseHalt
from collapse_guard.integrations.transformers.trainer import attach

torch.set_num_threads(1)


class Constant(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(1, 3)

    def forward(self, x, labels=None):
        loss = nn.functional.cross_entropy(self.linear(x), labels)
        return {"loss": loss, "logits": nn.functional.one_hot(labels * KEPT, 3).float()}


options = json.loads(sys.argv[1])
KEPT = options["kept"]
origins = [1 + (row % 2) for row in range(64)] if options["mixed"] else [1] * 64
train = Dataset.from_dict({"x": [[1.0]] * 64, "label": [0] * 64, "cg_origin": origins, "cg_generation": [0] * 64})
labels = [0] * 60 + [1] * 54 + [2] * 7  # 121 rows: the last batches are filled up
evaluation = Dataset.from_dict({"x": [[1.0]] * 121, "label": labels})
policy = {
    "version": 1,
    "mix": {"real_min_share": 0.9 if options["mixed"] else 0.0},
    "batches": {"missing": "error", "every_batches": 3},
    "coverage": {"cells": {"column": "label"}, "tail_mass": 0.1, "baseline": "real"},
}
args = TrainingArguments(
    "out", num_train_epochs=40, per_device_train_batch_size=4, per_device_eval_batch_size=8, use_cpu=True,
    report_to="none", disable_tqdm=True, eval_strategy="epoch", save_strategy="steps", save_steps=1000,
    dataloader_pin_memory=False, max_steps=options["max_steps"],
    accelerator_config={"dispatch_batches": options["dispatch"]},
)
trainer = Trainer(Constant(), args, train_dataset=train, eval_dataset=evaluation)
session = attach(trainer, policy, predictions=True)
halted = ""
try:
    trainer.train()
except CollapseHalt as halt:
    halted = str(halt)
found = {
    "rank": trainer.args.process_index,
    "step": trainer.state.global_step,
    "halted": halted,
    "origins": session.run.batches.counts.by_origin(),
    "looks": [] if session.predictions is None else [list(look.counts) for look in session.predictions.looks],
}
open(f"rank{found['rank']}.json", "w").write(json.dumps(found))
"""


def on_two_ranks(folder: Path, **options: Any) -> list[dict[str, Any]]:
    """Run the script on two gloo ranks, and return what each of them found."""
    (folder / "ranks.py").write_text(RANKS)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    defaults = {"kept": 1, "mixed": False, "max_steps": 16, "dispatch": False}
    started = [
        subprocess.Popen(
            [sys.executable, "ranks.py", json.dumps(defaults | options)],
            cwd=folder,
            env=os.environ
            | {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in ("0", "1")
    ]
    try:
        said = [each.communicate(timeout=180)[1] for each in started]
    finally:
        for each in started:
            each.kill()
    assert [each.returncode for each in started] == [0, 0], said
    return [json.loads((folder / f"rank{rank}.json").read_text()) for rank in range(2)]


@pytest.mark.slow
@pytest.mark.parametrize("dispatch", [False, True], ids=["sharded", "dispatched"])
def test_two_ranks_halt_on_batches_at_the_same_step(tmp_path: Path, dispatch: bool) -> None:
    first, second = on_two_ranks(tmp_path, mixed=True, dispatch=dispatch, max_steps=400)
    assert "are real, the policy asks for 90" in first["halted"]
    assert first | {"rank": 1} == second
    assert first["step"] < 30
    assert len(list((tmp_path / "out").glob("checkpoint-*"))) == 1


@pytest.mark.slow
@pytest.mark.parametrize("dispatch", [False, True], ids=["sharded", "dispatched"])
def test_two_ranks_count_every_row_of_a_validation_set_once(tmp_path: Path, dispatch: bool) -> None:
    first, second = on_two_ranks(tmp_path, dispatch=dispatch)
    assert first | {"rank": 1} == second
    assert first["halted"] == ""
    assert first["looks"] == [[60, 54, 7]] * 2
    assert {name: rows for name, rows in first["origins"].items() if rows} == {"real": 128}


@pytest.mark.slow
def test_two_ranks_halt_on_predictions_together(tmp_path: Path) -> None:
    first, second = on_two_ranks(tmp_path, kept=0, max_steps=400)
    assert first["step"] == 8
    assert first["halted"]
    assert first | {"rank": 1} == second
