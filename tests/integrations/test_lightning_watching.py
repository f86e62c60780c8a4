"""What the callback watches beside samples at epoch ends: batches, predictions on validation, and looks by steps."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from collapse_guard.errors import CellError, CollapseHalt, ContractError, InputError, ProvenanceError
from collapse_guard.integrations.lightning.callback import CollapseGuard
from tests.integrations.conftest import NAMESPACES, Namespace

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Fit = Callable[..., Any]

N_ROWS = 800
#: Real rows: 720 of the common class, 80 that are rare.
LABELS = torch.tensor(([0] * 9 + [1]) * (N_ROWS // 10))
REAL = {"label": LABELS.tolist()}


@pytest.fixture
def namespace(request: pytest.FixtureRequest) -> Namespace:
    """Return one namespace: the callback is the same object in both, and test_lightning.py asks both for everything."""
    return Namespace(getattr(request, "param", "lightning.pytorch"))


IN_BOTH = pytest.mark.parametrize("namespace", NAMESPACES, indirect=True)


def policy(**sections: Any) -> dict[str, Any]:
    return {"version": 1} | sections


class Event(list[str]):
    """What happened, in order; a callback fills it."""


def events_of(space: Any) -> tuple[Event, Any]:
    """Return a list and the callback that writes steps, validations, checkpoints and ends into it."""
    happened = Event()

    class Told(space.lightning.Callback):  # type: ignore[misc]
        def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
            happened.append(f"step {trainer.global_step}")

        def on_validation_end(self, trainer: Any, *_: Any) -> None:
            happened.append("sanity" if trainer.sanity_checking else "validation")

        def on_train_epoch_end(self, *_: Any) -> None:
            happened.append("epoch")

        def on_train_end(self, *_: Any) -> None:
            happened.append("end")

    return happened, Told()


def classifier(space: Any, *, dies: bool = False, returns: str = "classes", labels: torch.Tensor = LABELS) -> Any:
    """Return a classifier that is always right, or that never says the rare class; its batches are (x, y)."""

    class Classifier(space.boring.BoringModel):  # type: ignore[misc]
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            rare = torch.zeros(len(x)) if dies else x[:, 1]
            return torch.stack([1 - rare, rare], dim=1)

        def training_step(self, batch: Any, batch_idx: int) -> Any:
            return self.layer(batch[0]).sum()

        def validation_step(self, batch: Any, batch_idx: int) -> Any:
            logits = self(batch[0])
            return {"classes": {"classes": logits.argmax(-1)}, "logits": {"classes": logits}, "nothing": None}[returns]

        def train_dataloader(self) -> Any:
            return loader_of(labels)

        def val_dataloader(self) -> Any:
            return loader_of(labels)

    return Classifier()


def loader_of(labels: torch.Tensor, batch_size: int = 100) -> DataLoader[Any]:
    x = torch.zeros(len(labels), 32)
    x[:, 1] = (labels == 1).float()
    return DataLoader(TensorDataset(x, labels), batch_size=batch_size)


def columns_model(space: Any, origins: Callable[[int], int], **more: Any) -> Any:
    """Return a model whose training batches are columns with the given origin of every row."""

    class OnColumns(space.boring.BoringModel):  # type: ignore[misc]
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            return self.layer(batch["x"]).sum()

        def train_dataloader(self) -> Any:
            rows = [
                {"x": torch.zeros(32), "cg_origin": torch.tensor(origins(row))} | {k: v(row) for k, v in more.items()}
                for row in range(N_ROWS)
            ]
            return DataLoader(rows, batch_size=8)  # type: ignore[arg-type]

    return OnColumns()


def watching(tmp_path: Path, given: dict[str, Any], **options: Any) -> CollapseGuard:
    return CollapseGuard(given, report=tmp_path / "run.json", **options)


def report_in(tmp_path: Path) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((tmp_path / "run.json").read_text(encoding="utf-8"))
    return read


def predicting(tmp_path: Path, coverage: dict[str, Any] | None = None, **options: Any) -> CollapseGuard:
    defaults: dict[str, Any] = {"outputs_from": "classes", "labels_from": 1}
    return watching(tmp_path, policy(coverage={"baseline": "real"} | (coverage or {})), **(defaults | options))


LONG: dict[str, Any] = {"limit_train_batches": None, "max_epochs": 3}
VALIDATED: dict[str, Any] = {"limit_val_batches": None, "limit_train_batches": 4, "max_epochs": 3}


# ------------------------------------------------------------------ batches


def mostly_real(row: int) -> int:
    return 2 if row % 4 == 3 else 1


def mostly_synthetic(row: int) -> int:
    return 1 if row % 4 == 3 else 2


@IN_BOTH
@pytest.mark.parametrize(
    ("every", "stopped_at"),
    [
        (10, 20),  # read one window late
        (50, 100),  # the drain at the end of the epoch
    ],
)
def test_a_mix_under_its_floor_stops_within_two_windows(
    fit: Fit, namespace: Any, tmp_path: Path, every: int, stopped_at: int
) -> None:
    watched = watching(tmp_path, policy(batches={"missing": "error", "every_batches": every}), mode="stop")
    trainer = fit(watched, model=columns_model(namespace, mostly_synthetic), **LONG)
    assert trainer.global_step == stopped_at
    report = report_in(tmp_path)
    assert report["decision"]["reason"] == "batch_mix"
    assert "25.0% of " in report["decision"]["message"]
    assert "the policy asks for 50.0%" in report["decision"]["message"]
    with pytest.raises(CollapseHalt):
        watched.raise_if_halted()


def test_a_sound_mix_runs_to_its_end_and_every_row_is_counted(fit: Fit, namespace: Any, tmp_path: Path) -> None:
    watched = watching(tmp_path, policy(batches={"missing": "error", "every_batches": 7}))
    trainer = fit(watched, model=columns_model(namespace, mostly_real), **LONG)
    assert trainer.global_step == 300
    batches = report_in(tmp_path)["batches"]
    assert (batches["origins"]["real"], batches["origins"]["synthetic"]) == (1800, 600)
    assert (batches["n_batches"], batches["n_untagged_batches"]) == (300, 0)


def test_a_floor_of_the_ratio_of_synthetic_to_real_rows_is_watched_too(
    fit: Fit, namespace: Any, tmp_path: Path
) -> None:
    asked = policy(mix={"real_min_share": 0, "synthetic_to_real_max": 0.1}, batches={"missing": "error"})
    asked |= {"severity": {"CG103": "error"}}  # a warning about a manifest halts no run
    with pytest.raises(
        CollapseHalt, match=r"75.0% of .* real among real and synthetic ones, the policy asks for 90.9%"
    ):
        fit(watching(tmp_path, asked), model=columns_model(namespace, mostly_real), **LONG)


def test_a_generation_beyond_the_depth_of_the_policy_halts(fit: Fit, namespace: Any, tmp_path: Path) -> None:
    asked = policy(provenance={"max_generation_depth": 2}, batches={"missing": "error"})
    deep = columns_model(namespace, mostly_real, cg_generation=lambda row: torch.tensor(3 if row == 0 else 0))
    with pytest.raises(CollapseHalt, match=r"rows of generation 3, provenance.max_generation_depth is 2"):
        fit(watching(tmp_path, asked), model=deep, **LONG)
    assert report_in(tmp_path)["batches"]["generations"] == {"0": 799, "3": 1}


def test_batches_without_provenance_stop_before_the_first_step_if_the_policy_asks_for_it(
    fit: Fit, namespace: Any, tmp_path: Path
) -> None:
    happened, told = events_of(namespace)
    watched = watching(tmp_path, policy(batches={"missing": "error"}))
    with pytest.raises(ContractError, match=r"batches do not say where .*GuardedDataLoader, or pass provenance_from="):
        fit([watched, told])
    assert [each for each in happened if each.startswith("step")] == []


def test_batches_that_stop_saying_where_they_come_from_halt(fit: Fit, namespace: Any, tmp_path: Path) -> None:
    def provenance(batch: Any) -> Any:
        return batch["cg_origin"] if len(seen) < 30 and not seen.append(1) else None  # type: ignore[func-returns-value]

    seen: list[int] = []
    asked = policy(batches={"missing": "error", "every_batches": 10})
    with pytest.raises(CollapseHalt, match=r"10 of 40 batches do not say where their rows come from"):
        fit(
            watching(tmp_path, asked, provenance_from=provenance),
            model=columns_model(namespace, mostly_real),
            **LONG,
        )


def test_a_policy_that_only_warns_of_batches_trains_on(
    fit: Fit, namespace: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    asked = policy(batches={"missing": "error", "on_violation": "warn", "every_batches": 10})
    trainer = fit(watching(tmp_path, asked), model=columns_model(namespace, mostly_synthetic), **LONG)
    assert trainer.global_step == 300
    assert report_in(tmp_path)["halted"] is False
    assert report_in(tmp_path)["batches"]["decision"]["action"] == "warn"
    assert caplog.text.count("are real, the policy asks for") == 1


@pytest.mark.parametrize(
    ("provenance", "message"),
    [
        (lambda batch: batch["x"], "provenance of a batch is not integers"),
        (lambda batch: batch["cg_origin"].reshape(1, 1, -1), r"provenance of a batch has shape \(1, 1, 8\)"),
        (lambda batch: batch["cg_origin"].reshape(-1, 4), r"provenance of a batch has shape \(2, 4\); give integers"),
    ],
)
def test_provenance_of_another_shape_is_refused(
    fit: Fit, namespace: Any, tmp_path: Path, provenance: Any, message: str
) -> None:
    watched = watching(tmp_path, policy(batches={"missing": "error"}), provenance_from=provenance)
    with pytest.raises(ProvenanceError, match=message):
        fit(watched, model=columns_model(namespace, mostly_real))


def test_packed_rows_count_their_tokens(fit: Fit, namespace: Any, tmp_path: Path) -> None:
    def tokens(batch: Any) -> torch.Tensor:
        counts = torch.zeros(len(batch["x"]), 6, dtype=torch.int32)
        counts[:, 1], counts[:, 2] = 300, 100
        return counts

    watched = watching(tmp_path, policy(batches={"missing": "error"}), provenance_from=tokens)
    fit(watched, model=columns_model(namespace, mostly_real))
    assert report_in(tmp_path)["batches"]["origins"]["real"] == 300 * 8 * 2 * 3


def test_batches_only_warn_where_the_contract_is_off(fit: Fit, namespace: Any, tmp_path: Path) -> None:
    watched = watching(tmp_path, policy(batches={"missing": "error"}), contract=False)
    assert fit(watched, model=columns_model(namespace, mostly_synthetic), **LONG).global_step == 300
    assert report_in(tmp_path)["batches"]["decision"]["action"] == "warn"


@IN_BOTH
def test_a_halt_by_batches_is_not_resumed(fit: Fit, namespace: Any, tmp_path: Path) -> None:
    asked = policy(batches={"missing": "error", "every_batches": 10})
    trainer = fit(watching(tmp_path, asked, mode="stop"), model=columns_model(namespace, mostly_synthetic), **LONG)
    path = tmp_path / "halted.ckpt"
    trainer.save_checkpoint(path)
    assert torch.load(path, weights_only=True)["collapse_guard"]["reason"] == "batch_mix"
    with pytest.raises(CollapseHalt, match="an earlier run was halted"):
        fit(watching(tmp_path, asked), model=columns_model(namespace, mostly_real), ckpt_path=path, **LONG)
    again = watching(tmp_path, asked, allow_resume_after_halt=True)
    going_on = fit(again, model=columns_model(namespace, mostly_real), ckpt_path=path, **LONG | {"max_epochs": 4})
    assert going_on.global_step > 100
    assert not again.session.halted


# ------------------------------------------------------------------ predictions


@IN_BOTH
def test_a_classifier_that_no_longer_says_the_rare_class_is_halted_at_its_first_validation(
    fit: Fit, namespace: Any, tmp_path: Path
) -> None:
    happened, told = events_of(namespace)
    with pytest.raises(CollapseHalt, match=r"the tail's mass fell to 0.00 of real"):
        fit([predicting(tmp_path), told], model=classifier(namespace, dies=True), **VALIDATED)
    assert happened == ["sanity", *(f"step {step}" for step in range(1, 5)), "validation", "epoch", "end"]
    looks = report_in(tmp_path)["predictions"]["looks"]
    assert [(look["epoch"], look["step"], look["n_rows"]) for look in looks] == [(1, 4, N_ROWS)]
    assert looks[0]["advisory"]["tail_recall"] == 0.0
    assert looks[0]["advisory"]["recall"] == 0.9


@IN_BOTH
def test_a_classifier_that_keeps_the_rare_class_runs_on(fit: Fit, namespace: Any, tmp_path: Path) -> None:
    watched = predicting(tmp_path)
    trainer = fit(watched, model=classifier(namespace), **VALIDATED)
    assert trainer.current_epoch == 3
    assert [look["advisory"]["tail_recall"] for look in report_in(tmp_path)["predictions"]["looks"]] == [1.0] * 3
    assert trainer.callback_metrics["collapse_guard/tail_recall"] == 1.0


class Forgetting:
    """Predictions that are right at first and lose the rare class after so many passes."""

    def __init__(self, n_passes: int) -> None:
        self.n_left = 2 + 8 * n_passes  # batches: two of the sanity check, eight of each pass

    def __call__(self, model: Any, batch: Any, outputs: Any) -> Any:
        self.n_left -= 1
        return batch[1] if self.n_left >= 0 else torch.zeros_like(batch[1])


def test_by_default_predictions_are_measured_against_the_peak_of_the_run(
    fit: Fit, namespace: Any, tmp_path: Path
) -> None:
    """A class that was never said is no drop; one that was said and is not any more is."""
    asked = policy(coverage={})
    never = watching(tmp_path, asked, labels_from=1, outputs_from="classes")
    assert fit(never, model=classifier(namespace, dies=True), **VALIDATED).current_epoch == 3
    forgets = watching(tmp_path, asked, labels_from=1, outputs_from=Forgetting(2))
    with pytest.raises(CollapseHalt, match="of the run's own peak"):
        fit(forgets, model=classifier(namespace), **VALIDATED | {"max_epochs": 6})
    assert [look["epoch"] for look in report_in(tmp_path)["predictions"]["looks"]] == [1, 2, 3]


def test_the_tail_of_a_balanced_validation_set_is_that_of_the_real_rows(
    fit: Fit, namespace: Any, tmp_path: Path
) -> None:
    balanced = torch.tensor([0, 1] * (N_ROWS // 2))
    with pytest.raises(CollapseHalt, match=r"the tail's mass fell to 0.00 of real"):
        fit(
            predicting(tmp_path, reference=REAL),
            model=classifier(namespace, dies=True, labels=balanced),
            **VALIDATED,
        )
    assert report_in(tmp_path)["predictions"]["reference"]["tail"] == ["1"]


def test_a_validation_set_without_a_tail_is_refused_with_what_to_do(fit: Fit, namespace: Any, tmp_path: Path) -> None:
    balanced = torch.tensor([0, 1] * (N_ROWS // 2))
    with pytest.raises(ContractError, match=r"cannot show a tail: .* pass reference= real rows"):
        fit(predicting(tmp_path), model=classifier(namespace, labels=balanced), **VALIDATED)


def test_too_few_rows_of_the_tail_are_warned_of(
    fit: Fit, namespace: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    few = torch.zeros(200, dtype=torch.int64)
    few[:2] = 1
    fit(predicting(tmp_path), model=classifier(namespace, labels=few), **VALIDATED)
    assert "2 of 200 validation rows are of the tail: too few to show even that all of it is lost" in caplog.text


def test_validation_out_of_phase_with_the_looks_is_looked_at_all_the_same(
    fit: Fit, namespace: Any, tmp_path: Path
) -> None:
    options = VALIDATED | {"check_val_every_n_epoch": 2, "max_epochs": 6}
    with pytest.raises(CollapseHalt):
        fit(predicting(tmp_path, {"every": {"epochs": 2}}), model=classifier(namespace, dies=True), **options)
    assert [look["epoch"] for look in report_in(tmp_path)["predictions"]["looks"]] == [2]


def test_predictions_without_a_validation_are_refused_before_the_first_step(
    fit: Fit, namespace: Any, tmp_path: Path
) -> None:
    with pytest.raises(ContractError, match="outputs_from= watches predictions on validation, and this trainer has no"):
        fit(predicting(tmp_path), model=classifier(namespace), **LONG)


def test_predictions_of_other_names_are_refused(fit: Fit, namespace: Any, tmp_path: Path) -> None:
    named = predicting(tmp_path, outputs_from=lambda model, batch, _: ["cat"] * len(batch[1]))
    with pytest.raises(ContractError, match=r"predictions carry names that no label has \(cat\)"):
        fit(named, model=classifier(namespace), **VALIDATED)


@pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`")
def test_one_object_resumes_as_a_new_one_does(fit: Fit, namespace: Any, tmp_path: Path) -> None:
    watched = predicting(tmp_path)
    saver = namespace.lightning.callbacks.ModelCheckpoint(dirpath=tmp_path / "kept", save_top_k=-1, filename="{epoch}")
    fit([watched, saver], model=classifier(namespace), enable_checkpointing=True, **VALIDATED)
    fit(watched, model=classifier(namespace), ckpt_path=tmp_path / "kept" / "epoch=0.ckpt", **VALIDATED)
    assert [look["epoch"] for look in report_in(tmp_path)["predictions"]["looks"]] == [1, 2, 3]


@pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`")
def test_a_halted_checkpoint_is_not_resumed_by_a_guard_of_another_name(
    fit: Fit, namespace: Any, tmp_path: Path
) -> None:
    asked = policy(coverage={"samples_per_look": 500})
    trainer = fit(watching(tmp_path, asked, sampler=dead_cells, reference=REAL, mode="stop"))
    trainer.save_checkpoint(tmp_path / "halted.ckpt")
    other = watching(tmp_path, asked, sampler=healthy_cells, reference=REAL, name="other")
    with pytest.raises(CollapseHalt, match="a guard that had halted it wrote this checkpoint: tail_mass"):
        fit(other, ckpt_path=tmp_path / "halted.ckpt", max_epochs=9)


def test_blocks_of_rows_are_judged_by_whole_epochs(fit: Fit, namespace: Any, tmp_path: Path) -> None:
    def in_blocks(row: int) -> int:
        return 2 if row < N_ROWS // 2 else 1

    asked = policy(batches={"missing": "error", "order": "any", "every_batches": 10})
    model = columns_model(namespace, in_blocks)
    assert fit(watching(tmp_path, asked), model=model, **LONG | {"max_epochs": 2}).global_step == 200
    assert fit(watching(tmp_path, asked), model=model, **LONG | {"max_steps": 130}).global_step == 130
    with pytest.raises(CollapseHalt, match=r"batches.order: any"):
        fit(watching(tmp_path, policy(batches={"missing": "error"})), model=model, **LONG)


def test_one_guarded_loader_does_not_vouch_for_another(fit: Fit, namespace: Any, tmp_path: Path) -> None:
    from collapse_guard.integrations.loading.data_loader import GuardedDataLoader

    rows: Any = [{"x": torch.zeros(32), "cg_origin": 1} for _ in range(80)]
    model = columns_model(namespace, mostly_real)
    model.train_dataloader = lambda: {"a": GuardedDataLoader(rows, batch_size=8), "b": DataLoader(rows, batch_size=8)}
    with pytest.raises(ContractError, match="1 of 2 training loaders do not count their rows"):
        fit(watching(tmp_path, policy(batches={"missing": "error"})), model=model)


def test_a_stream_that_is_one_batch_ahead_is_no_missing_provenance(fit: Fit, namespace: Any, tmp_path: Path) -> None:
    from collapse_guard.integrations.loading.data_loader import GuardedDataLoader

    class Stream(torch.utils.data.IterableDataset[Any]):
        def __iter__(self) -> Any:
            return iter([{"x": torch.zeros(32), "cg_origin": 1} for _ in range(N_ROWS)])

    model = columns_model(namespace, mostly_real)
    model.train_dataloader = lambda: GuardedDataLoader(Stream(), batch_size=8)
    fit(watching(tmp_path, policy(batches={"missing": "error", "every_batches": 7})), model=model, **LONG)
    assert report_in(tmp_path)["batches"]["origins"]["real"] == 3 * N_ROWS


def test_predictions_may_come_from_a_function_of_an_unmodified_model(fit: Fit, namespace: Any, tmp_path: Path) -> None:
    seen: list[bool] = []

    def predicted(model: Any, batch: Any, outputs: Any) -> Any:
        seen.append(outputs is None and not torch.is_grad_enabled())
        return model(batch[0]).argmax(-1)

    watched = predicting(tmp_path, outputs_from=predicted, labels_from=lambda batch: batch[1])
    with pytest.raises(CollapseHalt):
        fit(watched, model=classifier(namespace, dies=True, returns="nothing"), **VALIDATED)
    assert all(seen)
    assert len(seen) == 10  # two of the sanity check, eight of the first validation


def test_predictions_are_measured_against_real_rows_where_labels_are_not_known(
    fit: Fit, namespace: Any, tmp_path: Path
) -> None:
    options = {"labels_from": None, "reference": REAL}
    assert fit(predicting(tmp_path, **options), model=classifier(namespace), **VALIDATED).current_epoch == 3
    with pytest.raises(CollapseHalt, match=r"the tail's mass fell to 0.00 of real"):
        fit(predicting(tmp_path, **options), model=classifier(namespace, dies=True), **VALIDATED)


def test_predictions_and_samples_are_watched_together_at_half_the_rate_each(
    fit: Fit, namespace: Any, tmp_path: Path
) -> None:
    def sampler(_: Any, n_rows: int) -> np.ndarray:
        return np.repeat([0, 1], [n_rows - n_rows // 10, n_rows // 10])

    watched = predicting(tmp_path, {"samples_per_look": 500}, reference=REAL, sampler=sampler)
    with pytest.raises(CollapseHalt, match=r"the tail's mass fell to 0.00"):
        fit(watched, model=classifier(namespace, dies=True), **VALIDATED)
    assert watched.watch is not None
    assert watched.predictions is not None
    rates = [each.policy.coverage.false_halt_rate for each in (watched.watch, watched.predictions)]  # type: ignore[union-attr]
    assert rates == [0.005, 0.005]
    assert report_in(tmp_path)["looks"] == []


def test_the_evidence_of_predictions_goes_on_after_a_resume(fit: Fit, namespace: Any, tmp_path: Path) -> None:
    trainer = fit(predicting(tmp_path), model=classifier(namespace), **VALIDATED | {"max_epochs": 2})
    trainer.save_checkpoint(tmp_path / "kept.ckpt")
    fit(predicting(tmp_path), model=classifier(namespace), ckpt_path=tmp_path / "kept.ckpt", **VALIDATED)
    assert [look["epoch"] for look in report_in(tmp_path)["predictions"]["looks"]] == [1, 2, 3]


@pytest.mark.parametrize(
    ("model", "options", "error", "message"),
    [
        (
            {"returns": "logits"},
            {},
            ContractError,
            r"float32 of shape \(100, 2\), which look like logits; give one class per row",
        ),
        ({"returns": "nothing"}, {}, ContractError, "the validation step returned nothing; return it from"),
        ({}, {"outputs_from": "class"}, ContractError, "returned a mapping of classes; name an entry that is there"),
        ({}, {"labels_from": 2}, ContractError, "the validation batch is list; name an entry"),
        ({}, {"labels_from": 0}, ContractError, r"labels \(labels_from=\) are torch.float32 of shape"),
        ({}, {"labels_from": lambda batch: batch[1][:5]}, ContractError, "100 predictions for 5 labels"),
    ],
)
def test_validation_batches_that_do_not_fit_are_refused_in_the_sanity_check(
    fit: Fit, namespace: Any, tmp_path: Path, model: Any, options: Any, error: Any, message: str
) -> None:
    happened, told = events_of(namespace)
    with pytest.raises(error, match=message):
        fit([predicting(tmp_path, **options), told], model=classifier(namespace, **model), **VALIDATED)
    assert [each for each in happened if each.startswith("step")] == []


def test_labels_that_no_real_row_has_are_refused(fit: Fit, namespace: Any, tmp_path: Path) -> None:
    odd = LABELS.clone()
    odd[:3] = 7
    with pytest.raises(ContractError, match=r"3 rows with labels that no real row has \(7\)"):
        fit(predicting(tmp_path, reference=REAL), model=classifier(namespace, labels=odd), **VALIDATED)


def test_a_validation_set_without_rows_of_the_tail_is_refused(fit: Fit, namespace: Any, tmp_path: Path) -> None:
    common = torch.zeros(N_ROWS, dtype=torch.int64)
    with pytest.raises(ContractError, match=r"the validation set has no row of the tail \(1\)"):
        fit(predicting(tmp_path, reference=REAL), model=classifier(namespace, labels=common), **VALIDATED)


def test_labels_without_predictions_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="pass both"):
        watching(tmp_path, policy(coverage={}), labels_from=1)


def test_predictions_need_cells_that_are_labels(fit: Fit, namespace: Any, tmp_path: Path) -> None:
    watched = predicting(tmp_path, {"cells": {"kind": "ngrams"}})
    happened, told = events_of(namespace)
    with pytest.raises(InputError, match=r"coverage.cells declares none of kind labels"):
        fit([watched, told], model=classifier(namespace), **VALIDATED)
    assert happened == []


def test_a_validation_set_that_changes_is_warned_of_once(
    fit: Fit, namespace: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = classifier(namespace)
    sizes = iter((800, 780, 760))
    model.val_dataloader = lambda: loader_of(LABELS[: next(sizes)])
    fit(predicting(tmp_path), model=model, reload_dataloaders_every_n_epochs=1, num_sanity_val_steps=0, **VALIDATED)
    assert caplog.text.count("the validation set is not the one of the first look") == 1


# ------------------------------------------------------------------ when it trips, and what then happens


def healthy_cells(_: Any, n_rows: int) -> np.ndarray:
    return np.repeat([0, 1], [n_rows - n_rows // 10, n_rows // 10])


def dead_cells(_: Any, n_rows: int) -> np.ndarray:
    return np.zeros(n_rows, dtype=np.int64)


@IN_BOTH
def test_looks_by_steps_come_at_their_steps_and_at_the_end(fit: Fit, namespace: Any, tmp_path: Path) -> None:
    every = {"every": {"steps": 3}, "warmup": {"epochs": 0, "steps": 4}, "samples_per_look": 500}
    watched = watching(tmp_path, policy(coverage=every), sampler=healthy_cells, reference=REAL)
    fit(watched, limit_train_batches=5, max_epochs=3)
    assert [look["step"] for look in report_in(tmp_path)["looks"]] == [4, 7, 10, 13, 15]
    assert [look["epoch"] for look in report_in(tmp_path)["looks"]] == [0, 1, 2, 2, 3]


@pytest.mark.parametrize("mode", ["raise", "stop", "warn"])
@pytest.mark.parametrize(
    ("when", "options", "n_steps"),
    [
        ("mid-epoch", {}, 3),
        ("mid-epoch with min_steps", {"min_steps": 14}, 3),
        ("mid-epoch with min_epochs", {"min_epochs": 3}, 3),
        ("mid-epoch with accumulation", {"accumulate_grad_batches": 2, "max_epochs": 6}, 3),
        ("at the last batch", {"limit_train_batches": 3, "max_epochs": 5}, 3),
    ],
)
def test_the_run_ends_at_the_step_of_the_halt(
    fit: Fit, namespace: Any, tmp_path: Path, mode: str, when: str, options: dict[str, Any], n_steps: int
) -> None:
    every = {"every": {"steps": 3}, "warmup": {"epochs": 0}, "samples_per_look": 500}
    guard = watching(tmp_path, policy(coverage=every), sampler=dead_cells, reference=REAL, mode=mode)
    happened, told = events_of(namespace)
    settings = {"limit_train_batches": 5, "max_epochs": 3, "limit_val_batches": 1} | options
    if mode == "raise":
        with pytest.raises(CollapseHalt):
            fit([guard, told], **settings)
    else:
        trainer = fit([guard, told], **settings)
        assert (trainer.global_step > n_steps) is (mode == "warn")
    last = max(int(each.split()[1]) for each in happened if each.startswith("step"))
    assert last == (n_steps if mode != "warn" else last)
    assert (last > n_steps) is (mode == "warn"), when
    assert happened[-1] == "end"
    assert report_in(tmp_path)["halted"] is True


@pytest.mark.parametrize("interval", [2, 0.5])
@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_halt_in_a_validation_amid_an_epoch_ends_it_there(
    fit: Fit, namespace: Any, tmp_path: Path, interval: float, accumulate: int
) -> None:
    guard = predicting(tmp_path, {"warmup": {"epochs": 0}, "every": {"steps": 1}}, mode="stop")
    options = {"val_check_interval": interval, "accumulate_grad_batches": accumulate, "min_epochs": 2}
    trainer = fit(guard, model=classifier(namespace, dies=True), **VALIDATED | options)
    assert trainer.fit_loop.epoch_loop.batch_progress.current.completed == 2
    assert trainer.current_epoch <= 1


@pytest.mark.parametrize(
    ("coverage", "saved"),
    [
        ({"every": {"steps": 3}, "warmup": {"epochs": 0}}, {}),
        ({"warmup": {"epochs": 9}}, {}),
        ({}, {"every_n_train_steps": 2}),  # none is due at step 5
    ],
)
def test_the_newest_checkpoint_carries_the_halt(
    fit: Fit, namespace: Any, tmp_path: Path, coverage: dict[str, Any], saved: dict[str, int]
) -> None:
    asked = policy(coverage=coverage | {"samples_per_look": 500})
    options: dict[str, Any] = {"save_last": True, "save_top_k": -1} | saved
    saver = namespace.lightning.callbacks.ModelCheckpoint(dirpath=tmp_path / "saved", **options)
    guard = watching(tmp_path, asked, sampler=dead_cells, reference=REAL)
    with pytest.raises(CollapseHalt):
        fit([guard, saver], enable_checkpointing=True, limit_train_batches=5, max_epochs=2)
    newest = max((tmp_path / "saved").glob("*.ckpt"), key=lambda path: path.stat().st_mtime_ns)
    assert torch.load(newest, weights_only=True)["collapse_guard"]["halted"] is True


@IN_BOTH
def test_figures_are_logged_at_checks_only_and_by_any_logger(fit: Fit, namespace: Any, tmp_path: Path) -> None:
    logger = namespace.lightning.loggers.CSVLogger(tmp_path, name="csv")
    every = {"every": {"steps": 5}, "warmup": {"epochs": 0}, "samples_per_look": 500}
    watched = watching(tmp_path, policy(coverage=every), sampler=healthy_cells, reference=REAL)
    fit(watched, logger=logger, limit_train_batches=12, max_epochs=1, log_every_n_steps=11)
    logger.save()
    rows = (tmp_path / "csv" / "version_0" / "metrics.csv").read_text().splitlines()
    columns = rows[0].split(",")
    steps = [
        row.split(",")[columns.index("step")]
        for row in rows[1:]
        if row.split(",")[columns.index("collapse_guard/log_e")]
    ]
    assert steps == ["5", "10", "11"]  # of the epoch's end Lightning says the step from 0


def test_a_logger_that_fails_is_warned_of_and_training_goes_on(fit: Fit, namespace: Any, tmp_path: Path) -> None:
    class Broken(namespace.lightning.loggers.CSVLogger):  # type: ignore[misc]
        def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
            if "epoch" not in metrics:  # Lightning's own calls have it
                raise OSError("disk full")

    every = {"every": {"steps": 2}, "warmup": {"epochs": 0}, "samples_per_look": 500}
    watched = watching(tmp_path, policy(coverage=every), sampler=healthy_cells, reference=REAL)
    with pytest.warns(UserWarning, match="Broken did not take figures of collapse_guard: disk full"):
        trainer = fit(watched, logger=Broken(tmp_path), limit_train_batches=3, max_epochs=1, log_every_n_steps=1)
    assert trainer.global_step == 3


@pytest.mark.parametrize(
    ("sampler", "error", "message"),
    [
        (lambda _, n_rows: None, CellError, "the sampler returned nothing"),
        (lambda _, n_rows: np.full(n_rows, np.nan), CellError, "the sampler returned float64"),
        (lambda _, n_rows: np.zeros(n_rows - 1, dtype=np.int64), CellError, "returned 499 rows, 500 were asked for"),
        (lambda _, n_rows: torch.rand(n_rows, 4), CellError, r"the sampler returned float32 of shape \(500, 4\)"),
        (lambda _, n_rows: 1 / 0, ZeroDivisionError, "division by zero"),
    ],
)
def test_a_sampler_that_fails_ends_the_run_and_the_report_is_written(
    fit: Fit, namespace: Any, tmp_path: Path, sampler: Any, error: Any, message: str
) -> None:
    watched = watching(tmp_path, policy(coverage={"samples_per_look": 500}), sampler=sampler, reference=REAL)
    with pytest.raises(error, match=message):
        fit(watched)
    assert report_in(tmp_path)["halted"] is False


def test_a_report_folder_that_cannot_be_written_is_warned_of_once(fit: Fit, namespace: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    asked = policy(coverage={"samples_per_look": 500})
    watched = CollapseGuard(asked, sampler=healthy_cells, reference=REAL, report=tmp_path / "file" / "run.json")
    with pytest.warns(UserWarning, match="could not be written") as caught:
        trainer = fit(watched)
    assert trainer.current_epoch == 3
    assert len([each for each in caught if "could not be written" in str(each.message)]) == 1


def test_two_guards_keep_evidence_apart(fit: Fit, namespace: Any, real_manifest: Any, tmp_path: Path) -> None:
    manifest = real_manifest("own")

    def shares(_: Any, n_rows: int) -> np.ndarray:
        return np.repeat(np.arange(3), [round(share * n_rows) for share in (0.90, 0.06, 0.04)])

    def guard(name: str) -> CollapseGuard:
        asked = policy(coverage={"samples_per_look": 200})
        return CollapseGuard(asked, manifest=manifest, sampler=shares, name=name, report=tmp_path / f"{name}.json")

    fit([guard("default"), guard("second")], max_epochs=1)
    found = sorted(path.name for path in manifest.path.parent.glob("*.evidence.json"))
    assert found == ["manifest.evidence.json", "manifest.second.evidence.json"]


def test_a_manifest_that_changes_while_training_keeps_the_evidence_away_from_it(
    fit: Fit, namespace: Any, real_manifest: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    manifest, other = real_manifest("own"), real_manifest("other", {"0": 80, "1": 12, "2": 8})

    def sampler(_: Any, n_rows: int) -> np.ndarray:
        manifest.path.write_bytes(other.path.read_bytes())
        return np.repeat(np.arange(3), [round(share * n_rows) for share in (0.90, 0.06, 0.04)])

    asked = policy(coverage={"samples_per_look": 200})
    fit(watching(tmp_path, asked, manifest=manifest, sampler=sampler))
    assert caplog.text.count("the manifest was changed while training") == 1
    assert not (manifest.path.parent / "manifest.evidence.json").exists()
    assert len(list(tmp_path.glob("**/manifest.evidence.json"))) == 1
    assert report_in(tmp_path)["manifest"]["digest"] == manifest.digest
