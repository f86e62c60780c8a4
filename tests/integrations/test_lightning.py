"""The callback in both namespaces of Lightning: halts, looks, resumes, contracts and reports."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from collapse_guard.errors import AccumulationError, CellError, CollapseHalt, ContractError, InputError, PolicyError
from collapse_guard.integrations.hugging_face.holder import GuardedDataset
from collapse_guard.integrations.hugging_face.saved import MANIFEST_FILE
from collapse_guard.integrations.hugging_face.tags import arrow_rows, tag
from collapse_guard.integrations.lightning.callback import CollapseGuard
from collapse_guard.manifest import Manifest, ParentLink, build_manifest, load_manifest, write_manifest
from collapse_guard.monitor import Anchor, Reference, evidence_path
from collapse_guard.policy import Coverage

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Made = Callable[..., Manifest]
    Fit = Callable[..., Any]

SHARES = (0.90, 0.06, 0.04)
RARE_SIZES = {"0": 80, "1": 12, "2": 8}


def healthy(_: Any, n_rows: int) -> np.ndarray:
    """Return cells in the shares of the reference."""
    return np.repeat(np.arange(3), [round(share * n_rows) for share in SHARES])


def dying(_: Any, n_rows: int) -> np.ndarray:
    """Return cells of the common class alone."""
    return np.zeros(n_rows, dtype=np.int64)


def seeded(_: Any, n_rows: int) -> np.ndarray:
    """Return cells drawn from torch's random state."""
    return torch.multinomial(torch.tensor(SHARES), n_rows, replacement=True).numpy()


@pytest.fixture
def guard(real_manifest: Made, watched_policy: dict[str, Any], tmp_path: Path) -> Callable[..., CollapseGuard]:
    """Return a maker of guards over 100 real rows, that look at 200 generated rows after every epoch."""
    first: list[Manifest] = []

    def made(*, coverage: dict[str, Any] | None = None, **options: Any) -> CollapseGuard:
        first.extend([] if first or "manifest" in options else [real_manifest("own")])
        policy = watched_policy | {"coverage": watched_policy["coverage"] | (coverage or {})}
        defaults: dict[str, Any] = {"sampler": healthy, "report": tmp_path / "run.json"}
        manifest = options.pop("manifest", None) or first[0]
        return CollapseGuard(policy, manifest=manifest, **(defaults | options))

    return made


def looks_of(guard: CollapseGuard) -> list[Any]:
    assert guard.watch is not None
    return list(guard.watch.looks)


def epochs_of(guard: CollapseGuard) -> list[int]:
    return [look.epoch for look in looks_of(guard)]


def saver(space: Any, folder: Path, **options: Any) -> Any:
    return space.lightning.callbacks.ModelCheckpoint(dirpath=folder, save_last=True, save_top_k=-1, **options)


def report_at(path: Path) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return read


def as_lists(state: dict[str, Any]) -> Any:
    """Return a state as JSON knows it."""
    return json.loads(json.dumps(state))


def training_rows(n_rows: int = 8, origins: tuple[int, ...] = (1,)) -> DataLoader[Any]:
    """Return batches of four rows: a vector, a label and, as ``datasets`` in torch format gives it, an origin."""
    torch.manual_seed(0)
    rows = [
        {
            "x": torch.randn(32),
            "label": torch.tensor(row % 4),
            "cg_origin": torch.tensor(origins[row % len(origins)]),
        }
        for row in range(n_rows)
    ]
    return DataLoader(rows, batch_size=4)  # type: ignore[arg-type]


def dict_model(space: Any) -> Any:
    """Return a BoringModel that takes the vector of a batch of columns."""

    class OnColumns(space.boring.BoringModel):  # type: ignore[misc]
        def training_step(self, batch: dict[str, torch.Tensor], batch_idx: int) -> Any:
            return super().training_step(batch["x"], batch_idx)

    return OnColumns()


# ------------------------------------------------------------------ halts


@pytest.mark.parametrize("wrap", [lambda one: one, lambda one: [one]], ids=["bare", "list"])
def test_a_dying_tail_raises_from_fit_after_its_first_look(fit: Fit, guard: Any, wrap: Any) -> None:
    watched = guard(sampler=dying)
    with pytest.raises(CollapseHalt, match=r"log e .* reached 4.7") as caught:
        fit(wrap(watched))
    assert epochs_of(watched) == [1]
    assert caught.value.decision == watched.watch.decision
    assert watched.watch.halted


def test_a_healthy_run_ends_by_itself(fit: Fit, guard: Any) -> None:
    watched = guard()
    assert fit(watched).current_epoch == 3
    assert epochs_of(watched) == [1, 2, 3]
    assert not watched.watch.halted


def test_the_checkpoint_of_a_halted_run_carries_the_verdict_and_loads_with_weights_only(
    fit: Fit, guard: Any, namespace: Any, tmp_path: Path
) -> None:
    watched = guard(sampler=dying)
    with pytest.raises(CollapseHalt):
        fit([watched, saver(namespace, tmp_path / "saved")], enable_checkpointing=True)
    checkpoint = torch.load(tmp_path / "saved" / "last.ckpt", weights_only=True)
    assert checkpoint["collapse_guard"] == {
        "schema": 1,
        "halted": True,
        "reason": watched.watch.decision.reason.value,
        "manifest_digest": watched.manifest.digest,
    }
    assert checkpoint["callbacks"]["collapse_guard.default"]["watch"] == watched.watch.state()


def test_the_checkpoint_of_a_healthy_run_says_that_it_was_not_halted(
    fit: Fit, guard: Any, namespace: Any, tmp_path: Path
) -> None:
    fit([guard(), saver(namespace, tmp_path / "saved")], enable_checkpointing=True)
    checkpoint = torch.load(tmp_path / "saved" / "last.ckpt", weights_only=True)
    assert checkpoint["collapse_guard"]["halted"] is False
    assert checkpoint["collapse_guard"]["reason"] == "healthy"


@pytest.mark.parametrize("least", [{"min_epochs": 3}, {"min_steps": 6}, {"min_epochs": 3, "min_steps": 6}])
def test_a_least_length_of_training_does_not_defeat_the_halt(fit: Fit, guard: Any, least: dict[str, int]) -> None:
    watched = guard(sampler=dying, mode="stop")
    trainer = fit(watched, **least)
    assert trainer.global_step == 2
    assert watched.watch.halted


def test_mode_stop_ends_training_without_an_exception_and_raises_when_asked(fit: Fit, guard: Any) -> None:
    watched = guard(sampler=dying, mode="stop")
    assert fit(watched).current_epoch == 1
    with pytest.raises(CollapseHalt):
        watched.raise_if_halted()


def test_mode_warn_trains_on_and_the_report_still_tells(fit: Fit, guard: Any, tmp_path: Path) -> None:
    watched = guard(sampler=dying, mode="warn")
    assert fit(watched).current_epoch == 3
    assert epochs_of(watched) == [1, 2, 3]
    assert report_at(tmp_path / "run.json")["decision"]["action"] == "halt"


def test_a_policy_that_only_warns_never_halts(fit: Fit, guard: Any, tmp_path: Path) -> None:
    watched = guard(sampler=dying, coverage={"on_violation": "warn"})
    assert fit(watched).current_epoch == 3
    assert [look.action for look in looks_of(watched)] == ["warn"] * 3
    assert report_at(tmp_path / "run.json")["halted"] is False


def test_two_guards_of_one_trainer_keep_apart_by_name(fit: Fit, guard: Any, tmp_path: Path) -> None:
    first, second = guard(name="first"), guard(name="second", report=tmp_path / "second.json")
    fit([first, second])
    assert epochs_of(first) == epochs_of(second) == [1, 2, 3]
    assert first.state_key != second.state_key


def test_an_unknown_mode_is_refused(guard: Any) -> None:
    with pytest.raises(InputError, match="mode must be raise, stop or warn, got 'pause'"):
        guard(mode="pause")


# ------------------------------------------------------------------ when it looks


@pytest.mark.parametrize(
    ("warmup", "every", "n_epochs", "looked"),
    [
        (1, 1, 4, [1, 2, 3, 4]),
        (0, 1, 2, [1, 2]),
        (3, 1, 4, [3, 4]),
        (1, 2, 5, [1, 3, 5]),
        (2, 2, 5, [2, 4, 5]),
        (1, 3, 3, [1, 3]),
        (50, 1, 2, [2]),
        (1, 50, 3, [1, 3]),
    ],
)
def test_looks_follow_warmup_and_interval_and_one_ends_the_fit(
    fit: Fit, guard: Any, warmup: int, every: int, n_epochs: int, looked: list[int]
) -> None:
    watched = guard(coverage={"warmup": {"epochs": warmup}, "every": {"epochs": every}})
    fit(watched, max_epochs=n_epochs, limit_train_batches=1)
    assert epochs_of(watched) == looked


@pytest.mark.parametrize("warmup", [1, 50])
@pytest.mark.parametrize("n_steps", [3, 4])
def test_the_last_step_is_followed_by_one_look(fit: Fit, guard: Any, warmup: int, n_steps: int) -> None:
    watched = guard(coverage={"warmup": {"epochs": warmup}})
    steps: list[int] = []

    def sampler(module: Any, n_rows: int) -> np.ndarray:
        steps.append(module.trainer.global_step)
        return healthy(module, n_rows)

    watched.session.sampler = sampler
    trainer = fit(watched, max_epochs=-1, max_steps=n_steps)
    assert trainer.global_step == n_steps
    assert steps == ([2, n_steps] if warmup == 1 else [n_steps])


def test_a_stop_by_somebody_else_is_followed_by_one_look(fit: Fit, guard: Any, namespace: Any) -> None:
    class StopAtOnce(namespace.lightning.Callback):  # type: ignore[misc]
        def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
            trainer.should_stop = True

    watched = guard(sampler=dying, coverage={"warmup": {"epochs": 50}})
    with pytest.raises(CollapseHalt):
        fit([watched, StopAtOnce()])
    assert len(looks_of(watched)) == 1


def test_a_dry_run_takes_no_look_and_writes_no_evidence(fit: Fit, guard: Any) -> None:
    watched = guard(sampler=dying)
    fit(watched, fast_dev_run=True)
    assert looks_of(watched) == []


def test_a_dry_run_leaves_the_evidence_of_a_real_run_alone(fit: Fit, guard: Any) -> None:
    watched = guard()
    fit(watched)
    evidence = evidence_path(watched.manifest.path)
    before = evidence.read_bytes()
    fit(guard(), fast_dev_run=True)
    assert evidence.read_bytes() == before


def test_a_run_that_fails_before_its_first_look_leaves_the_evidence_of_an_earlier_one_alone(
    fit: Fit, guard: Any, namespace: Any
) -> None:
    watched = guard()
    fit(watched)
    evidence = evidence_path(watched.manifest.path)
    before = evidence.read_bytes()

    class Broken(namespace.boring.BoringModel):  # type: ignore[misc]
        def training_step(self, *_: Any) -> Any:
            raise ZeroDivisionError("broken")

    with pytest.raises(ZeroDivisionError):
        fit(guard(), model=Broken())
    assert evidence.read_bytes() == before


# ------------------------------------------------------------------ what the sampler sees


def test_the_sampler_is_called_in_eval_mode_without_gradients_and_training_goes_on_as_before(
    fit: Fit, guard: Any, namespace: Any
) -> None:
    seen: list[tuple[bool, bool, int]] = []
    model = namespace.boring.BoringModel()
    model.frozen = torch.nn.Dropout()

    class Modes(namespace.lightning.Callback):  # type: ignore[misc]
        after: tuple[bool, bool, bool] | None = None

        def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
            pl_module.frozen.eval()

        def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
            self.after = (pl_module.training, pl_module.frozen.training, torch.is_grad_enabled())

    def sampler(module: Any, n_rows: int) -> np.ndarray:
        seen.append((any(part.training for part in module.modules()), torch.is_grad_enabled(), n_rows))
        return healthy(module, n_rows)

    modes = Modes()
    fit([guard(sampler=sampler), modes], model=model)
    assert seen == [(False, False, 200)] * 3
    assert modes.after == (True, False, True)


def test_training_is_the_same_with_and_without_the_guard(fit: Fit, guard: Any, namespace: Any) -> None:
    def noisy(module: Any, n_rows: int) -> np.ndarray:
        np.random.rand(3)  # noqa: NPY002 - the global state is what is guarded
        return seeded(module, n_rows)

    weights, draws = [], []
    for callbacks in ([], [guard(sampler=noisy)]):
        namespace.lightning.seed_everything(3, verbose=False)
        loader = DataLoader(namespace.boring.RandomDataset(32, 16), batch_size=4, shuffle=True)
        model = namespace.boring.BoringModel()
        model.train_dataloader = lambda loader=loader: loader
        model.layer = torch.nn.Sequential(torch.nn.Dropout(0.5), torch.nn.Linear(32, 2))
        fit(callbacks, model=model, limit_train_batches=4)
        weights.append([weight.detach().clone() for weight in model.parameters()])
        draws.append((float(torch.rand(1)), float(np.random.rand())))  # noqa: NPY002
    assert all(torch.equal(plain, guarded) for plain, guarded in zip(*weights, strict=True))
    assert draws[0] == draws[1]


def test_looks_of_a_run_are_drawn_apart_and_those_of_a_repeated_run_alike(fit: Fit, guard: Any) -> None:
    counts = []
    for _ in range(2):
        watched = guard(sampler=seeded)
        fit(watched)
        counts.append([look.counts for look in looks_of(watched)])
    assert counts[0] == counts[1]
    assert len(set(counts[0])) > 1


def test_rows_of_a_sampler_are_mapped_to_cells_by_their_label(fit: Fit, guard: Any) -> None:
    watched = guard(sampler=lambda _, n_rows: {"label": [str(cell) for cell in healthy(_, n_rows)]})
    fit(watched, max_epochs=1)
    assert looks_of(watched)[0].counts == (180, 12, 8)


def test_rows_that_no_class_claims_are_rows_all_the_same(fit: Fit, guard: Any) -> None:
    watched = guard(sampler=lambda _, n_rows: torch.cat([torch.tensor(seeded(_, n_rows - 5)), torch.full((5,), -1)]))
    fit(watched, max_epochs=1)
    assert (looks_of(watched)[0].n_rows, looks_of(watched)[0].n_unclaimed_rows) == (200, 5)


BAD_SAMPLES: dict[str, Any] = {
    "nothing": None,
    "an empty list": [],
    "shares": [0.5, 0.5],
    "a table of cells": [[0, 1], [1, 0]],
    "a cell too high": [0, 3],
    "a cell too low": [0, -2],
    "text": "cells",
    "bools": [True, False],
    "columns without the label": {"text": ["a"]},
    "columns of other lengths": {"label": ["0", "1"], "text": ["a"]},
    "a ragged list": [[0], [0, 1]],
}


@pytest.mark.parametrize("case", BAD_SAMPLES)
def test_a_sample_that_cannot_be_counted_is_a_cell_error(fit: Fit, guard: Any, case: str) -> None:
    with pytest.raises(CellError):
        fit(guard(sampler=lambda _module, _n_rows: BAD_SAMPLES[case]))


# ------------------------------------------------------------------ resume


def saved(trainer: Any, folder: Path) -> Path:
    trainer.save_checkpoint(folder / "run.ckpt")
    return folder / "run.ckpt"


def halted_checkpoint(fit: Fit, guard: Any, folder: Path) -> Path:
    return saved(fit(guard(sampler=dying, mode="stop")), folder)


def test_a_halted_checkpoint_is_not_resumed(fit: Fit, guard: Any, tmp_path: Path) -> None:
    path = halted_checkpoint(fit, guard, tmp_path)
    calls: list[int] = []

    def counted(module: Any, n_rows: int) -> np.ndarray:
        calls.append(n_rows)
        return healthy(module, n_rows)

    again = guard(sampler=counted)
    with pytest.raises(CollapseHalt):
        fit(again, ckpt_path=path)
    assert calls == []


def test_a_halted_checkpoint_is_resumed_when_that_is_allowed(fit: Fit, guard: Any, tmp_path: Path) -> None:
    path = halted_checkpoint(fit, guard, tmp_path)
    again = guard(allow_resume_after_halt=True)
    assert fit(again, ckpt_path=path).current_epoch == 3
    assert epochs_of(again)[-2:] == [2, 3]
    assert not again.watch.halted


def test_a_resumed_run_has_the_evidence_of_one_that_never_stopped(fit: Fit, guard: Any, tmp_path: Path) -> None:
    straight = guard(sampler=seeded)
    fit(straight, max_epochs=4)
    first, second = guard(sampler=seeded), guard(sampler=seeded)
    path = saved(fit(first, max_epochs=2), tmp_path)
    fit(second, max_epochs=4, ckpt_path=path)
    assert second.watch.state() == straight.watch.state()
    assert second.watch.panels == straight.watch.panels
    assert "2 earlier looks" in second.watch.note


def test_a_checkpoint_of_one_namespace_is_resumed_in_the_other(
    fit: Fit, guard: Any, namespace: Any, tmp_path: Path
) -> None:
    first, second = guard(sampler=seeded), guard(sampler=seeded)
    path = saved(fit(first, max_epochs=2), tmp_path)
    fit(second, space=namespace.other, max_epochs=3, ckpt_path=path)
    assert epochs_of(second) == [1, 2, 3]
    assert looks_of(second)[:2] == looks_of(first)


def test_a_resume_on_other_data_is_refused(fit: Fit, guard: Any, tmp_path: Path, real_manifest: Made) -> None:
    path = saved(fit(guard(), max_epochs=1), tmp_path)
    other = real_manifest("other", {"0": 80, "1": 12, "2": 8})
    with pytest.raises(ContractError, match=r"the checkpoint was trained on manifest sha256:.*, this run has sha256:"):
        fit(guard(manifest=other), ckpt_path=path)
    off = guard(manifest=other, contract=False)
    fit(off, ckpt_path=path)
    assert "evidence starts anew" in off.watch.note


def test_batch_counts_go_on_after_a_resume(fit: Fit, guard: Any, namespace: Any, tmp_path: Path) -> None:
    path = None
    for n_epochs in (1, 2):
        model = dict_model(namespace)
        model.train_dataloader = training_rows
        path = saved(fit(guard(), model=model, max_epochs=n_epochs, ckpt_path=path), tmp_path)
    assert report_at(tmp_path / "run.json")["batches"]["origins"]["real"] == 16


def test_a_run_in_mode_warn_is_resumed_after_its_warning(fit: Fit, guard: Any, tmp_path: Path) -> None:
    path = saved(fit(guard(sampler=dying, mode="warn"), max_epochs=1), tmp_path)
    assert fit(guard(sampler=dying, mode="warn"), ckpt_path=path).current_epoch == 3


def test_a_halt_is_not_forgotten_when_the_run_is_resumed_under_another_policy(
    fit: Fit, guard: Any, tmp_path: Path
) -> None:
    path = halted_checkpoint(fit, guard, tmp_path)
    with pytest.raises(CollapseHalt):
        fit(guard(coverage={"false_halt_rate": 0.02}), ckpt_path=path)


# ------------------------------------------------------------------ contract


class Untouched:
    """A sampler that nobody may call."""

    def __call__(self, *_: Any) -> Any:
        raise AssertionError("training went on")


def child_of(parent: Manifest, rows: Any, folder: Path) -> Manifest:
    """Return the manifest of given rows as the generation after ``parent``, as a careless script would write it."""
    manifest = build_manifest(
        arrow_rows(tag(rows, origin="real", source="web")),
        name="child",
        generation=1,
        class_column="label",
        parents=(ParentLink(name=parent.header.name, digest=parent.digest),),
    )
    return write_manifest(manifest, folder / "child" / MANIFEST_FILE)


def test_lost_real_rows_are_refused_before_the_first_step(
    fit: Fit, guard: Any, real_manifest: Made, labelled_rows: Any, tmp_path: Path
) -> None:
    parent = real_manifest("first")
    rows = labelled_rows({"0": 90, "1": 6, "2": 4}).select(range(95))
    child = child_of(parent, rows, tmp_path)
    watched = guard(manifest=child, parent=parent, sampler=Untouched())
    with pytest.raises(AccumulationError, match="CG201 5 real rows lost"):
        fit(watched)
    assert child.path is not None
    assert not evidence_path(child.path).exists()


def test_data_that_breaks_another_rule_is_refused_before_the_first_step(fit: Fit, real_manifest: Made) -> None:
    policy = {"version": 1, "sources": {"web": {"max_share": 0.5}, "own": {}}}
    with pytest.raises(ContractError, match="breaks the policy: CG102 source 'web': 100 of 100 rows") as caught:
        fit(CollapseGuard(policy, manifest=real_manifest("first")))
    assert not isinstance(caught.value, AccumulationError)


def test_without_the_contract_the_same_data_trains_and_the_report_says_so(
    fit: Fit, real_manifest: Made, tmp_path: Path
) -> None:
    policy = {"version": 1, "sources": {"web": {"max_share": 0.5}, "own": {}}}
    unchecked = CollapseGuard(policy, manifest=real_manifest("first"), contract=False, report=tmp_path / "run.json")
    assert fit(unchecked).current_epoch == 3
    assert report_at(tmp_path / "run.json")["contract"] == "off"


def test_a_guard_of_data_alone_checks_the_contract_and_takes_no_look(
    fit: Fit, real_manifest: Made, tmp_path: Path
) -> None:
    manifest = real_manifest("first")
    fit(CollapseGuard({"version": 1}, manifest=manifest, report=tmp_path / "run.json"))
    report = report_at(tmp_path / "run.json")
    assert report["contract"] == "checked"
    assert report["manifest"]["digest"] == manifest.digest
    assert (report["looks"], report["decision"], report["halted"]) == ([], None, False)


def test_a_guard_of_nothing_is_refused(fit: Fit) -> None:
    with pytest.raises(ContractError, match="nothing is guarded: pass manifest="):
        fit(CollapseGuard({"version": 1}))


def test_a_sampler_without_a_reference_or_without_coverage_is_refused(fit: Fit, real_manifest: Made) -> None:
    with pytest.raises(InputError, match="a sampler, and predictions without labels_from=, need a reference"):
        CollapseGuard({"version": 1, "coverage": {}}, sampler=healthy)
    with pytest.raises(PolicyError, match="add 'coverage:"):
        fit(CollapseGuard({"version": 1}, manifest=real_manifest("first"), sampler=healthy))


def test_manifests_that_the_policy_names_are_found_beside_the_policy_file(
    fit: Fit, real_manifest: Made, tmp_path: Path
) -> None:
    real_manifest("first")
    path = tmp_path / "data" / "policy.yaml"
    path.write_text(f"version: 1\nmanifests: {{current: first/{MANIFEST_FILE}}}\n", encoding="utf-8")
    guarded = CollapseGuard(path)
    assert guarded.manifest is not None
    assert guarded.manifest.header.name == "first"
    fit(guarded)


# ------------------------------------------------------------------ report


def test_provenance_and_cells_of_batches_are_counted_and_reported(
    fit: Fit, guard: Any, namespace: Any, tmp_path: Path
) -> None:
    model = dict_model(namespace)
    model.train_dataloader = training_rows
    fit(guard(), model=model, max_epochs=3)
    batches = report_at(tmp_path / "run.json")["batches"]
    assert batches["origins"] == {"unknown": 0, "real": 24, "synthetic": 0, "mixed": 0, "derived": 0, "simulated": 0}
    assert batches["cells"] == [6, 6, 6, 6]  # labels 0, 1, 2, and 3, which no real row has


def test_batches_without_provenance_are_reported_as_not_counted(fit: Fit, guard: Any, tmp_path: Path) -> None:
    fit(guard())
    assert report_at(tmp_path / "run.json")["batches"]["origins"] is None


def test_the_report_is_strict_json_with_every_look(fit: Fit, guard: Any, tmp_path: Path) -> None:
    watched = guard(sampler=dying)
    with pytest.raises(CollapseHalt):
        fit(watched)
    text = (tmp_path / "run.json").read_text(encoding="utf-8")
    report = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert report["schema"] == "collapse-guard/run/2"
    assert report["halted"] is True
    assert report["policy"]["digest"] == watched.policy.digest
    assert report["reference"]["cells"] == {"0": 90, "1": 6, "2": 4}
    assert report["reference"]["tail"] == ["1", "2"]
    assert [look["counts"] for look in report["looks"]] == [[200, 0, 0]]


def test_the_report_goes_to_the_folder_of_the_run_unless_a_path_is_given(fit: Fit, guard: Any, tmp_path: Path) -> None:
    fit(guard(report=None, name="mine"))
    assert report_at(tmp_path / "collapse_guard.mine.json")["halted"] is False


def test_figures_are_logged_for_other_callbacks(fit: Fit, guard: Any) -> None:
    trainer = fit(guard())
    assert trainer.callback_metrics["collapse_guard/halted"] == 0
    assert trainer.callback_metrics["collapse_guard/tail_mass_ratio"] == pytest.approx(1.0)


def test_a_report_that_cannot_be_written_warns_once_and_training_finishes(fit: Fit, guard: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.warns(UserWarning, match="report of collapse_guard could not be written") as caught:
        trainer = fit(guard(report=tmp_path / "file" / "run.json"))
    assert trainer.current_epoch == 3
    assert sum("could not be written" in str(warning.message) for warning in caught) == 1
    assert (tmp_path / "file").read_text() == "mine"


# ------------------------------------------------------------------ generations


def generations(real_manifest: Made, watched_policy: dict[str, Any]) -> tuple[Manifest, Manifest]:
    """Return the manifests of a parent and of its child on the same real rows."""
    parent = real_manifest("first")
    assert parent.path is not None
    held = GuardedDataset.load(parent.path.parent, watched_policy)
    return parent, load_manifest(held.save(parent.path.parent.parent / "second") / MANIFEST_FILE)


def test_evidence_goes_on_from_the_state_beside_the_parent(
    fit: Fit, guard: Any, real_manifest: Made, watched_policy: dict[str, Any], tmp_path: Path
) -> None:
    parent, child = generations(real_manifest, watched_policy)
    first = guard(manifest=parent, sampler=seeded)
    fit(first, max_epochs=2)
    second = guard(manifest=child, parent=parent, sampler=seeded)
    fit(second, max_epochs=1)
    assert [(look.generation, look.epoch) for look in looks_of(second)] == [(1, 1), (1, 2), (2, 1)]
    assert looks_of(second)[:2] == looks_of(first)
    assert second.watch.n_looks == 3
    assert report_at(tmp_path / "run.json")["note"] == "evidence goes on from 2 earlier looks"
    assert child.path is not None
    assert report_at(evidence_path(child.path)) == as_lists(second.watch.state())


def test_a_slow_decline_weighs_more_with_the_evidence_of_the_parent(
    fit: Fit, guard: Any, real_manifest: Made, watched_policy: dict[str, Any]
) -> None:
    def declining(_: Any, n_rows: int) -> np.ndarray:
        return np.repeat(np.arange(3), [n_rows - 11, 7, 4])

    parent, child = generations(real_manifest, watched_policy)
    fit(guard(manifest=parent, sampler=declining), max_epochs=2)
    alone = guard(manifest=child, sampler=declining, contract=False)
    fit(alone, max_epochs=2)
    going_on = guard(manifest=child, parent=parent, sampler=declining, mode="stop")
    fit(going_on, max_epochs=2)
    assert going_on.watch.decision.evidence["log_e"] > alone.watch.decision.evidence["log_e"]
    assert going_on.watch.n_looks == 4


def reference_of(manifest: Manifest) -> Reference:
    return Anchor.of_manifest(manifest, Coverage()).maps[0]


@pytest.mark.parametrize("what", ["reference", "policy"])
def test_evidence_starts_anew_under_another_reference_or_policy(
    fit: Fit, guard: Any, real_manifest: Made, watched_policy: dict[str, Any], tmp_path: Path, what: str
) -> None:
    parent, child = generations(real_manifest, watched_policy)
    fit(guard(manifest=parent), max_epochs=2)
    other = {
        "reference": {"manifest": child, "reference": reference_of(real_manifest("other", RARE_SIZES))},
        "policy": {"manifest": child, "coverage": {"false_halt_rate": 0.02}},
    }[what]
    second = guard(parent=parent, **other)
    fit(second, max_epochs=1)
    assert len(looks_of(second)) == 1
    note = report_at(tmp_path / "run.json")["note"]
    assert note == f"evidence starts anew: the {what} is not the one of the earlier state"


def test_a_chain_whose_real_rows_grow_goes_on_against_the_rows_it_began_with(
    fit: Fit, guard: Any, real_manifest: Made, watched_policy: dict[str, Any], labelled_rows: Any
) -> None:
    parent = real_manifest("first")
    assert parent.path is not None
    fit(guard(manifest=parent), max_epochs=2)
    held = GuardedDataset.load(parent.path.parent, watched_policy)
    held.add_real(labelled_rows({"0": 5, "2": 5}, prefix="more"), source="web2")
    child = load_manifest(held.save(parent.path.parent.parent / "grown") / MANIFEST_FILE)
    second = guard(manifest=child, parent=parent)
    fit(second, max_epochs=1)
    assert len(looks_of(second)) == 3
    assert second.watch.reference.counts.rows == (90, 6, 4)


def test_a_parent_that_left_no_evidence_is_said_in_report_and_log(
    fit: Fit,
    guard: Any,
    real_manifest: Made,
    watched_policy: dict[str, Any],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    parent, child = generations(real_manifest, watched_policy)
    fit(guard(manifest=child, parent=parent), max_epochs=1)
    assert report_at(tmp_path / "run.json")["note"].startswith("evidence starts anew: the parent left none")
    assert "the parent left none" in caplog.text


def test_a_halted_generation_is_not_trained_again_unless_told(fit: Fit, guard: Any, real_manifest: Made) -> None:
    manifest = real_manifest("first")
    with pytest.raises(CollapseHalt):
        fit(guard(manifest=manifest, sampler=dying))
    with pytest.raises(CollapseHalt):
        fit(guard(manifest=manifest))
    assert manifest.path is not None
    assert json.loads(evidence_path(manifest.path).read_text())["decision"]["action"] == "halt"
    again = guard(manifest=manifest, allow_resume_after_halt=True)
    fit(again, max_epochs=1)
    assert len(looks_of(again)) == 1


def test_a_second_fit_checks_the_data_again_and_looks_again(fit: Fit, guard: Any, real_manifest: Made) -> None:
    manifest = real_manifest("first")
    watched = guard(manifest=manifest, coverage={"warmup": {"epochs": 5}})
    fit(watched, max_epochs=1)
    fit(watched, max_epochs=1)
    assert len(looks_of(watched)) == 2
    index = manifest.shards[0].path
    assert manifest.path is not None
    assert index is not None
    index.write_bytes(index.read_bytes()[:100])
    watched.session.run.manifest = load_manifest(manifest.path)
    with pytest.raises(InputError, match="not a readable Parquet file"):
        fit(watched, max_epochs=1)


@pytest.mark.filterwarnings("ignore:The dirpath has changed")
def test_a_halt_that_was_overridden_once_does_not_wipe_later_evidence(
    fit: Fit, guard: Any, namespace: Any, tmp_path: Path
) -> None:
    with pytest.raises(CollapseHalt):
        fit([guard(sampler=dying), saver(namespace, tmp_path / "kept")], enable_checkpointing=True)
    going_on = guard(allow_resume_after_halt=True)
    callbacks = [going_on, saver(namespace, tmp_path / "again")]
    fit(callbacks, ckpt_path=tmp_path / "kept" / "last.ckpt", max_epochs=3, enable_checkpointing=True)
    n_before = len(looks_of(going_on))
    fit(going_on, max_epochs=1)
    assert len(looks_of(going_on)) == n_before + 1


@pytest.mark.filterwarnings("ignore:The dirpath has changed")
def test_an_older_checkpoint_can_be_validated_under_a_newer_manifest(
    fit: Fit, guard: Any, namespace: Any, real_manifest: Made, watched_policy: dict[str, Any], tmp_path: Path
) -> None:
    parent, child = generations(real_manifest, watched_policy)
    fit([guard(manifest=parent), saver(namespace, tmp_path / "kept")], enable_checkpointing=True, max_epochs=1)
    trainer = namespace.lightning.Trainer(
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        limit_val_batches=1,
        callbacks=[guard(manifest=child)],
        default_root_dir=tmp_path,
    )
    trainer.validate(namespace.boring.BoringModel(), ckpt_path=tmp_path / "kept" / "last.ckpt", verbose=False)
    resumed = [guard(manifest=child, parent=parent), saver(namespace, tmp_path / "again")]
    with pytest.raises(ContractError, match="the checkpoint was trained on manifest"):
        fit(resumed, ckpt_path=tmp_path / "kept" / "last.ckpt", enable_checkpointing=True)


def test_more_looks_than_planned_are_warned_of_before_and_when_they_are_used_up(
    fit: Fit, guard: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fit(guard(coverage={"planned_looks": 2}), max_epochs=3)
    assert "2 looks are planned (coverage.planned_looks), 0 were taken, about 3 will be" in caplog.text
    assert "the planned looks are used up" in caplog.text
    assert (report_at(tmp_path / "run.json")["n_looks"], report_at(tmp_path / "run.json")["planned_looks"]) == (3, 2)


def test_a_sampler_that_returns_another_number_of_rows_is_refused(fit: Fit, guard: Any) -> None:
    with pytest.raises(CellError, match="the sampler returned 1 rows, 200 were asked for"):
        fit(guard(sampler=lambda _, n_rows: np.zeros(1, dtype=np.int64)), max_epochs=1)


def test_evidence_that_cannot_be_written_does_not_lose_the_report(
    fit: Fit, guard: Any, real_manifest: Made, tmp_path: Path
) -> None:
    manifest = real_manifest("first")
    assert manifest.path is not None
    watched = guard(manifest=manifest)
    monkey = evidence_path(manifest.path)

    def blocked(_: Any, n_rows: int) -> np.ndarray:
        monkey.mkdir(exist_ok=True)
        return healthy(_, n_rows)

    watched.session.sampler = blocked
    with pytest.warns(UserWarning, match=r"evidence for the next generation .* could not be written to .*evidence"):
        fit(watched, max_epochs=1)
    assert len(report_at(tmp_path / "run.json")["looks"]) == 1


def test_rows_that_the_manifest_does_not_hold_halt_the_run_and_are_named(
    fit: Fit, guard: Any, namespace: Any, tmp_path: Path
) -> None:
    model = dict_model(namespace)
    model.train_dataloader = lambda: training_rows(origins=(1, 2))
    with pytest.raises(CollapseHalt, match="batches carry rows that the manifest does not hold: 4 synthetic"):
        fit(guard(), model=model)
    report = report_at(tmp_path / "run.json")
    assert report["unexpected_origins"] == ["synthetic"]
    assert report["decision"]["reason"] == "unexpected_rows"


def test_a_run_without_a_look_says_so(fit: Fit, guard: Any, caplog: pytest.LogCaptureFixture) -> None:
    fit(guard(), limit_train_batches=0)
    assert "this run took no look" in caplog.text


def test_a_broken_state_beside_the_parent_is_refused_with_what_to_do(
    fit: Fit, guard: Any, real_manifest: Made, watched_policy: dict[str, Any]
) -> None:
    parent, child = generations(real_manifest, watched_policy)
    assert parent.path is not None
    evidence_path(parent.path).write_text("{", encoding="utf-8")
    with pytest.raises(InputError, match=r"evidence\.json: not a state of the guard .*delete it to start anew"):
        fit(guard(manifest=child, parent=parent))


def test_a_guard_of_a_written_manifest_keeps_its_evidence_beside_it(
    fit: Fit, guard: Any, tmp_path: Path, labelled_rows: Any, watched_policy: dict[str, Any]
) -> None:
    in_memory = GuardedDataset(watched_policy).add_real(labelled_rows(RARE_SIZES), source="web").manifest()
    fit(guard(manifest=in_memory))
    assert list(tmp_path.rglob("*.evidence.json")) == []
    written = write_manifest(in_memory, tmp_path / "set.cgm.json")
    watched = guard(manifest=written)
    fit(watched)
    assert report_at(tmp_path / "set.evidence.json") == as_lists(watched.watch.state())


# ------------------------------------------------------------------ two processes

DDP_SCRIPT = """
import json, sys, warnings
from pathlib import Path

warnings.simplefilter("ignore")
import numpy as np
import torch
import {name} as L
from {name}.demos.boring_classes import BoringModel
from collapse_guard import CollapseGuard, CollapseHalt

torch.set_num_threads(1)
folder, sampled, mode = Path(sys.argv[1]), sys.argv[2], sys.argv[3]


def sampler(module, n_rows):
    if sampled == "dying":
        return np.zeros(n_rows, dtype=np.int64)
    return torch.multinomial(torch.tensor([0.90, 0.06, 0.04]), n_rows, replacement=True)


class Steps(L.Callback):
    def on_fit_end(self, trainer, pl_module):
        (folder / f"rank-{{trainer.global_rank}}.json").write_text(json.dumps(trainer.global_step))


if __name__ == "__main__":
    guard = CollapseGuard(
        {{"version": 1, "coverage": {{"samples_per_look": 201}}}},
        manifest=folder / "data" / "first" / "manifest.cgm.json",
        sampler=sampler,
        mode=mode,
        report=folder / "run.json",
    )
    trainer = L.Trainer(
        accelerator="cpu", devices=2, strategy="{strategy}", max_epochs=4, limit_train_batches=4, limit_val_batches=0,
        logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        default_root_dir=folder, callbacks=[Steps(), guard],
    )
    try:
        trainer.fit(BoringModel())
    except Exception as error:
        if "CollapseHalt" not in type(error).__name__ + str(error):
            raise
        sys.exit(7)
"""


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["ddp", "ddp_spawn"])
@pytest.mark.parametrize(
    ("sampled", "mode", "code", "n_steps"),
    [("dying", "raise", 7, 4), ("dying", "stop", 0, 4), ("seeded", "raise", 0, 16)],
)
def test_two_processes_stop_together_and_the_report_holds_the_rows_of_both(
    tmp_path: Path, real_manifest: Made, strategy: str, sampled: str, mode: str, code: int, n_steps: int
) -> None:
    manifest = real_manifest("first")
    script = tmp_path / "train.py"
    text = textwrap.dedent(DDP_SCRIPT).format(name="pytorch_lightning", strategy=strategy)
    script.write_text(text, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path), sampled, mode],
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == code, done.stderr[-2000:]
    assert [json.loads((tmp_path / f"rank-{rank}.json").read_text()) for rank in (0, 1)] == [n_steps, n_steps]
    report = report_at(tmp_path / "run.json")
    assert report["halted"] is (sampled == "dying")
    assert [look["n_rows"] for look in report["looks"]] == [202] * (1 if sampled == "dying" else 4)
    assert manifest.path is not None
    assert len(report_at(evidence_path(manifest.path))["looks"]) == len(report["looks"])


DDP_TEXT = """
import json, sys, warnings
from pathlib import Path

warnings.simplefilter("ignore")
import torch
import pytorch_lightning as pl
from pytorch_lightning.demos.boring_classes import BoringModel
from collapse_guard import CollapseGuard

torch.set_num_threads(1)
folder = Path(sys.argv[1])


class Keep(pl.Callback):
    def on_fit_end(self, trainer, pl_module):
        state = guard.watch.state()["first_model"]
        (folder / f"rank-{trainer.global_rank}.json").write_text(json.dumps(state))


if __name__ == "__main__":
    policy = {"version": 1, "coverage": {"cells": [], "scores": [{"kind": "hapax"}], "samples_per_look": 40}}
    sampler = lambda module, n_rows: {"text": [f"word{row}" for row in range(n_rows)]}  # the same on both ranks
    guard = CollapseGuard(policy, sampler=sampler, report=folder / "run.json")
    trainer = pl.Trainer(
        accelerator="cpu", devices=2, strategy="ddp", max_epochs=1, limit_train_batches=2, limit_val_batches=0,
        logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        default_root_dir=folder, callbacks=[guard, Keep()],
    )
    trainer.fit(BoringModel())
"""


@pytest.mark.slow
def test_a_score_that_looks_at_other_rows_sees_those_of_all_processes(tmp_path: Path) -> None:
    """Every word stands once on each of two ranks: alone each rank would call all of them unique."""
    script = tmp_path / "train.py"
    script.write_text(DDP_TEXT, encoding="utf-8")
    command = [sys.executable, str(script), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    first, second = (json.loads((tmp_path / f"rank-{rank}.json").read_text()) for rank in (0, 1))
    assert first == second
    assert first["score_means"] == [0.0]


# ------------------------------------------------------------------ which namespaces are installed

BLOCKER = """
import importlib.machinery, sys


class Blocked(importlib.machinery.PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name.split(".")[0] in {blocked}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
        return None


sys.meta_path.insert(0, Blocked)
import importlib.util
found = importlib.util.find_spec
importlib.util.find_spec = lambda name, package=None: None if name.split(".")[0] in {blocked} else found(name, package)
"""

USE = """
import numpy as np
from collapse_guard import CollapseGuard
from {name} import Trainer
from {name}.demos.boring_classes import BoringModel

guard = CollapseGuard(
    {{"version": 1, "coverage": {{"samples_per_look": 200}}}},
    sampler=lambda model, n: np.repeat([0, 1], [n - n // 10, n // 10]),
    reference={{"label": [0] * 90 + [1] * 10}},
)
Trainer(
    max_epochs=1, limit_train_batches=2, limit_val_batches=0, accelerator="cpu", logger=False,
    enable_checkpointing=False, enable_progress_bar=False, callbacks=guard,
).fit(BoringModel())
print(len(CollapseGuard.__mro__), *sorted(base.__module__.split(".")[0] for base in type(guard).__mro__[1].__bases__))
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", ["pytorch_lightning", "lightning.pytorch"])
def test_one_namespace_alone_is_enough(tmp_path: Path, name: str) -> None:
    other = "lightning" if name == "pytorch_lightning" else "pytorch_lightning"
    blocked = {other, "lightning_fabric"} if other == "pytorch_lightning" else {other}
    code = BLOCKER.format(blocked=sorted(blocked)) + USE.format(name=name)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.split()[-1] == name.split(".", maxsplit=1)[0]


def test_without_lightning_the_line_to_type_is_said(tmp_path: Path) -> None:
    code = BLOCKER.format(blocked=["lightning", "pytorch_lightning"]) + "from collapse_guard import CollapseGuard"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 1
    assert "pytorch_lightning is not installed: pip install 'collapse-guard[lightning]'" in done.stderr


# ------------------------------------------------------------------ a signal


KILLED = """
import os, signal, sys
import numpy as np
from collapse_guard import CollapseGuard
from pytorch_lightning import Callback, Trainer
from pytorch_lightning.demos.boring_classes import BoringModel


class Kill(Callback):
    def on_train_batch_end(self, trainer, *_):
        if trainer.global_step == 3:
            os.kill(os.getpid(), signal.SIGTERM)


guard = CollapseGuard(
    {"version": 1, "coverage": {"samples_per_look": 200}},
    sampler=lambda model, n: np.repeat([0, 1], [n - n // 10, n // 10]),
    reference={"label": [0] * 90 + [1] * 10},
    report="run.json",
)
Trainer(
    max_epochs=4, limit_train_batches=2, limit_val_batches=0, accelerator="cpu", logger=False,
    enable_checkpointing=False, enable_progress_bar=False, callbacks=[guard, Kill()],
).fit(BoringModel())
"""


@pytest.mark.slow
def test_a_run_that_is_told_to_end_leaves_its_report(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", KILLED],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert "Received SIGTERM" in done.stderr
    report = report_at(tmp_path / "run.json")
    assert [look["epoch"] for look in report["looks"]] == [1]
    assert report["halted"] is False
