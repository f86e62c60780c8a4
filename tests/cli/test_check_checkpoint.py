"""``collapse-guard check-checkpoint``: what checkpoints of trainers say, and what it refuses to load."""

from __future__ import annotations

import importlib
import json
import os
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from typer.testing import CliRunner, Result

from collapse_guard import CollapseGuard, CollapseHalt
from collapse_guard.cli import app
from collapse_guard.errors import ManifestError
from collapse_guard.integrations.training.checkpoints import CheckpointRecord, GuardRecord, read_checkpoint
from collapse_guard.manifest import Manifest, build_manifest, write_manifest
from collapse_guard.monitor.run import STATE_SCHEMA
from collapse_guard.records import ID, ORIGIN

NAMESPACES = ("lightning.pytorch", "pytorch_lightning")
COMMAND = Path(sys.executable).with_name("collapse-guard")
HALT = {"action": "halt", "reason": "tail_mass", "message": "the tail's mass fell", "evidence": {}}
HEALTHY = {"action": "continue", "reason": "healthy", "message": "log e 0.1 is under 4.7", "evidence": {}}
DIGEST, OTHER = "sha256:" + 64 * "a", "sha256:" + 64 * "b"


def watched(decision: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    """Return the state of a guard, as of its first schema."""
    watch = {"schema": 2, "n_looks": 3, "decision": decision or HEALTHY}
    return {"schema": 1, "manifest_digest": DIGEST, "watch": watch, "batches": {"seen": False}} | changes


def note(*, halted: bool, **changes: Any) -> dict[str, Any]:
    said = {"schema": 1, "halted": halted, "reason": "tail_mass" if halted else "healthy", "manifest_digest": DIGEST}
    return said | changes


def lightning(callbacks: dict[str, Any] | None, **more: Any) -> dict[str, Any]:
    """Return a checkpoint as Lightning writes it."""
    held = {} if callbacks is None else {"callbacks": callbacks}
    weights = {"layer.weight": torch.ones(3)}
    return {"pytorch-lightning_version": "2.6.6", "global_step": 20, "state_dict": weights} | held | more


def saved(content: Any, path: Path) -> str:
    torch.save(content, path)
    return str(path)


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["check-checkpoint", *arguments])


def call(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the installed command."""
    return subprocess.run(
        [str(COMMAND), "check-checkpoint", *arguments],
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
        timeout=120,
        env=os.environ | {"PYTHONWARNINGS": ""},
    )


def refusal(path: Path | str) -> str:
    """Return the one line with which a checkpoint is refused."""
    done = invoke(str(path))
    assert done.exit_code == 1  # typer's runner: the exception itself, which ``main`` turns into exit code 2
    assert type(done.exception).__name__ == "InputError", done.exception
    assert "\n" not in str(done.exception)
    return str(done.exception)


# ------------------------------------------------------------------ what trainers really write


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """The manifest of a hundred real rows, in a folder of its own."""
    return hundred_rows(tmp_path_factory.mktemp("data") / "manifest.cgm.json", first=0)


def hundred_rows(path: Path, *, first: int) -> Manifest:
    ids = [(first + row).to_bytes(16, "big") for row in range(100)]
    rows = pa.table(
        {
            "label": ["0"] * 90 + ["1"] * 6 + ["2"] * 4,
            ORIGIN: pa.array([1] * 100, pa.uint8()),
            "cg_evidence": pa.array([1] * 100, pa.uint8()),
            "cg_generation": pa.array([0] * 100, pa.uint8()),
            "cg_source": ["web"] * 100,
            "cg_generator": pa.array([None] * 100, pa.string()),
            "cg_date": pa.array([65535] * 100, pa.uint16()),
            ID: pa.array(ids, pa.binary(16)),
        }
    )
    return write_manifest(build_manifest(rows, name="gen", generation=0, class_column="label"), path)


def healthy(_: Any, n_rows: int) -> np.ndarray:
    return np.repeat(np.arange(3), [round(share * n_rows) for share in (0.9, 0.06, 0.04)])


def dying(_: Any, n_rows: int) -> np.ndarray:
    return np.zeros(n_rows, dtype=np.int64)


def fitted(folder: Path, callbacks: list[Any], *, weights_only: bool = False, namespace: str = NAMESPACES[0]) -> Path:
    """Train a tiny model, save it even if the guard halts it, and return the checkpoint."""
    trainer = importlib.import_module(namespace).Trainer(
        callbacks=callbacks,
        max_epochs=2,
        limit_train_batches=2,
        limit_val_batches=0,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
    )
    try:
        trainer.fit(importlib.import_module(f"{namespace}.demos.boring_classes").BoringModel())
    except CollapseHalt:
        assert trainer.should_stop
    trainer.save_checkpoint(folder / "last.ckpt", weights_only=weights_only)
    return folder / "last.ckpt"


@pytest.fixture
def guard(manifest: Manifest, tmp_path: Path) -> Any:
    """Return a maker of guards, that forgets the evidence which earlier tests left beside the manifest."""
    assert manifest.path is not None
    for left in manifest.path.parent.glob("*.evidence.json"):
        left.unlink()
    policy = {"version": 1, "coverage": {"samples_per_look": 200}}

    def made(sampler: Any = healthy, name: str = "default", **options: Any) -> CollapseGuard:
        report = tmp_path / f"{name}.json"
        return CollapseGuard(policy, manifest=manifest, sampler=sampler, name=name, report=report, **options)

    return made


@pytest.mark.parametrize("namespace", NAMESPACES)
def test_a_guarded_run_that_was_not_halted_is_accepted(
    guard: Any, manifest: Manifest, tmp_path: Path, namespace: str
) -> None:
    path = fitted(tmp_path, [guard()], namespace=namespace)
    done = invoke(str(path), "--manifest", str(manifest.path))
    assert (done.exit_code, done.stdout.splitlines()) == (
        0,
        [
            "checkpoint guarded, not halted (lightning, step 4)",
            f"guard default: not halted; 2 looks; manifest {manifest.digest}",
            f"expected manifest {manifest.digest}",
        ],
    )


def test_the_checkpoint_of_a_halted_run_says_why(guard: Any, tmp_path: Path) -> None:
    stopped = guard(dying)
    path = fitted(tmp_path, [stopped])
    done = invoke(str(path))
    assert done.exit_code == 1
    first, second = done.stdout.splitlines()
    assert first == "checkpoint halted (lightning, step 2)"
    decision = stopped.watch.decision
    assert second.startswith(f"guard default: halted by {decision.reason.value}: {decision.message}; 1 look; manifest")


def test_of_several_guards_all_are_listed_and_one_that_halted_counts(guard: Any, tmp_path: Path) -> None:
    path = fitted(tmp_path, [guard(dying, "first", mode="stop"), guard(healthy, "second")])
    record = read_checkpoint(path)
    assert [(each.name, each.halted, each.n_looks) for each in record.guards] == [
        ("first", True, 1),
        ("second", False, 1),
    ]
    assert invoke(str(path)).exit_code == 1


def test_a_checkpoint_of_other_data_is_told_from_the_right_one(guard: Any, tmp_path: Path) -> None:
    path = fitted(tmp_path, [guard()])
    other = hundred_rows(tmp_path / "other.cgm.json", first=500)
    done = invoke(str(path), "--manifest", str(other.path))
    assert (done.exit_code, done.stdout.splitlines()[0]) == (
        1,
        "checkpoint trained on another manifest (lightning, step 4)",
    )


def test_a_run_without_a_guard_never_passes(tmp_path: Path) -> None:
    done = invoke(str(fitted(tmp_path, [])))
    assert (done.exit_code, done.stdout.splitlines()) == (3, ["checkpoint not guarded (lightning, step 4)"])


def test_weights_alone_do_not_tell_and_the_line_says_what_does(guard: Any, tmp_path: Path) -> None:
    done = invoke(str(fitted(tmp_path, [guard()], weights_only=True)))
    assert done.exit_code == 3
    assert "saved with weights only" in done.stdout
    assert "collapse_guard.<name>.json" in done.stdout


def test_a_guard_of_data_alone_is_a_guard(manifest: Manifest, tmp_path: Path) -> None:
    checks = CollapseGuard({"version": 1}, manifest=manifest, report=tmp_path / "run.json")
    done = invoke(str(fitted(tmp_path, [checks])), "-m", str(manifest.path))
    assert (done.exit_code, done.stdout.splitlines()[1]) == (
        0,
        f"guard default: not halted; 0 looks; manifest {manifest.digest}",
    )


def test_the_installed_command_ends_with_the_code_of_the_verdict(tmp_path: Path) -> None:
    done = call(saved(lightning({"collapse_guard.default": watched(HALT)}), tmp_path / "a.ckpt"))
    assert (done.returncode, done.stdout.splitlines()[0]) == (1, "checkpoint halted (lightning, step 20)")


@pytest.mark.slow
def test_the_installed_command_refuses_in_one_line(tmp_path: Path) -> None:
    done = call(str(tmp_path / "missing.ckpt"))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"error: {tmp_path / 'missing.ckpt'}: no such file or folder\n"
    trap = saved(lightning({"x": Trap(tmp_path / "ran")}), tmp_path / "a.ckpt")
    done = call(trap)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert not (tmp_path / "ran").exists()


# ------------------------------------------------------------------ verdicts


@pytest.mark.parametrize(
    ("digests", "halted", "expected", "verdict"),
    [
        ([], [], None, "not guarded"),
        ([], [], DIGEST, "not guarded"),
        ([DIGEST], [False], None, "guarded"),
        ([None], [False], None, "guarded"),
        ([DIGEST], [False], DIGEST, "guarded"),
        ([DIGEST, None], [False, False], DIGEST, "guarded"),
        ([None], [False], DIGEST, "unknown manifest"),
        ([OTHER], [False], DIGEST, "other manifest"),
        ([DIGEST, OTHER], [False, False], DIGEST, "other manifest"),
        ([DIGEST], [True], DIGEST, "halted"),
        ([OTHER, None], [False, True], DIGEST, "halted"),
    ],
)
def test_the_worst_that_holds_is_the_verdict(
    digests: list[str | None], halted: list[bool], expected: str | None, verdict: str
) -> None:
    guards = [
        GuardRecord(str(at), halted=flag, manifest_digest=digest)
        for at, (digest, flag) in enumerate(zip(digests, halted, strict=True))
    ]
    assert CheckpointRecord("x", "lightning", tuple(guards)).verdict(expected) == verdict


def test_a_guard_without_a_manifest_cannot_vouch_for_one(manifest: Manifest, tmp_path: Path) -> None:
    path = saved(lightning({"collapse_guard.default": watched(manifest_digest=None)}), tmp_path / "a.ckpt")
    done = invoke(path, "-m", str(manifest.path))
    assert (done.exit_code, done.stdout.splitlines()[0]) == (
        3,
        "checkpoint guarded, but on no manifest that it names (lightning, step 20)",
    )
    assert invoke(path).exit_code == 0


def test_json_holds_the_verdict_the_code_and_every_guard(tmp_path: Path) -> None:
    held = {"collapse_guard.first": watched(HALT), "collapse_guard.second": watched(), "EarlyStopping": {"wait": 1}}
    path = saved(lightning(held), tmp_path / "a.ckpt")
    done = invoke(path, "--output-format", "json")
    view = json.loads(done.stdout)
    assert done.exit_code == view["exit_code"] == 1
    assert (view["schema"], view["verdict"], view["format"], view["step"]) == (
        "collapse-guard/checkpoint/1",
        "halted",
        "lightning",
        20,
    )
    assert [guard["name"] for guard in view["guards"]] == ["first", "second"]
    assert view["guards"][0] == {
        "name": "first",
        "halted": True,
        "reason": "tail_mass",
        "message": "the tail's mass fell",
        "manifest_digest": DIGEST,
        "n_looks": 3,
    }


# ------------------------------------------------------------------ what may lie in a file


def test_a_halt_in_any_part_of_a_state_counts(tmp_path: Path) -> None:
    for part in (
        {"predictions": {"decision": HALT, "n_looks": 1}},
        {"batches": {"decision": HALT}},
        {"halt": HALT},
        {"decision": HALT},
        {"note": note(halted=True)},
    ):
        path = saved(lightning({"collapse_guard.default": watched(**part)}), tmp_path / "a.ckpt")
        assert invoke(path).exit_code == 1, part


def test_a_note_says_what_no_state_says(tmp_path: Path) -> None:
    """Such a checkpoint comes from a callback whose state was dropped, or from two guards under one note."""
    path = saved(lightning({}, collapse_guard=note(halted=True)), tmp_path / "a.ckpt")
    assert read_checkpoint(path).guards == (
        GuardRecord("note", halted=True, reason="tail_mass", manifest_digest=DIGEST),
    )
    path = saved(
        lightning({"collapse_guard.default": watched()}, collapse_guard=note(halted=True)), tmp_path / "a.ckpt"
    )
    assert [guard.halted for guard in read_checkpoint(path).guards] == [False, True]
    path = saved(
        lightning({"collapse_guard.default": watched()}, collapse_guard=note(halted=False)), tmp_path / "a.ckpt"
    )
    assert [guard.name for guard in read_checkpoint(path).guards] == ["default"]


def test_an_older_state_is_read_and_a_newer_one_is_not_guessed_at(tmp_path: Path) -> None:
    older = {"schema": 0, "manifest_digest": DIGEST, "watch": None}
    path = saved(lightning({"collapse_guard.default": older}), tmp_path / "a.ckpt")
    assert invoke(path).exit_code == 0
    newer = watched(schema=STATE_SCHEMA + 1)
    path = saved(lightning({"collapse_guard.default": newer}), tmp_path / "a.ckpt")
    assert "upgrade collapse-guard" in refusal(path)


@pytest.mark.parametrize("state", [None, [], "halted", {}, {"schema": 1}, watched(schema="new"), watched(schema=None)])
def test_a_state_that_is_none_is_refused_rather_than_passed(tmp_path: Path, state: Any) -> None:
    path = saved(lightning({"collapse_guard.default": state}), tmp_path / "a.ckpt")
    assert "guard 'default' left" in refusal(path)


def test_the_state_of_a_plain_loop_is_found_under_any_name(tmp_path: Path) -> None:
    path = saved({"model": {"weight": torch.ones(2)}, "tail": watched(HALT)}, tmp_path / "a.pt")
    record = read_checkpoint(path)
    assert (record.format, record.guards[0].name, record.verdict()) == ("torch", "tail", "halted")
    path = saved(watched(), tmp_path / "b.pt")
    assert read_checkpoint(path).verdict() == "guarded"


@pytest.mark.parametrize("content", [{"weight": torch.ones(2)}, torch.ones(2), [1, 2]])
def test_weights_alone_are_not_guarded(tmp_path: Path, content: Any) -> None:
    done = invoke(saved(content, tmp_path / "a.pt"))
    assert done.exit_code == 3
    assert "collapse_guard.<name>.json" in done.stdout


def test_names_from_a_checkpoint_cannot_write_to_the_terminal(tmp_path: Path) -> None:
    halt = HALT | {"message": "red \x1b[31m alert\nguarded"}
    path = saved(lightning({"collapse_guard.\x1b[2J": watched(halt)}), tmp_path / "a.ckpt")
    text = invoke(path).stdout
    assert "\x1b" not in text
    assert len(text.splitlines()) == 2


@pytest.mark.slow
def test_tensors_are_not_read(tmp_path: Path) -> None:
    content = lightning({"collapse_guard.default": watched()}, weights=torch.zeros(8_000_000))
    path = saved(content, tmp_path / "a.ckpt")
    code = (
        "import resource, sys; from collapse_guard.integrations.training.checkpoints import read_checkpoint;"
        "import torch;"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss;"
        f"read_checkpoint({path!r});"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert int(done.stdout) < 16_000  # kB; the tensor alone has 32 000


# ------------------------------------------------------------------ folders


def trainer_state(callbacks: Any, **changes: Any) -> str:
    return json.dumps({"global_step": 20, "epoch": 1.0, "log_history": [], "stateful_callbacks": callbacks} | changes)


class Halves(torch.nn.Module):
    """A model of one weight, with the loss that a Trainer asks for."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"loss": (self.weight * x - 0.5).square().mean()}


def test_what_a_guarded_hugging_face_trainer_writes_is_read(manifest: Manifest, guard: Any, tmp_path: Path) -> None:
    from transformers import Trainer, TrainingArguments

    from collapse_guard.integrations.transformers.trainer import attach

    arguments: Any = TrainingArguments(
        str(tmp_path), use_cpu=True, report_to="none", save_strategy="epoch", disable_tqdm=True, num_train_epochs=2
    )
    rows: Any = [{"x": torch.ones(1)} for _ in range(8)]
    trainer = Trainer(Halves(), arguments, train_dataset=rows)
    attach(
        trainer, {"version": 1, "coverage": {"samples_per_look": 200}}, manifest=manifest, sampler=dying, name="mine"
    )
    with pytest.raises(CollapseHalt):
        trainer.train()
    done = invoke(str(tmp_path / "checkpoint-1"), "-m", str(manifest.path))
    assert (done.exit_code, done.stdout.splitlines()[0]) == (1, "checkpoint halted (hugging-face, step 1)")
    assert done.stdout.splitlines()[1].startswith("guard mine: halted by ")
    assert f"name one of its checkpoints, such as {tmp_path / 'checkpoint-1'}" in refusal(tmp_path)


CONTROL = {"args": {"should_training_stop": False}, "attributes": {}}


@pytest.mark.parametrize(
    "entry",
    [
        watched(HALT),
        watched() | {"note": note(halted=True)},
        {"args": {}, "attributes": watched(HALT)},
        {"args": {}, "attributes": {"name": "default", "guard_state": watched(HALT), "note": note(halted=True)}},
        {"args": {}, "attributes": {"state": watched(), "note": note(halted=True)}},
        {"args": {}, "attributes": {}, "session": watched(HALT)},
    ],
)
def test_a_folder_of_the_hugging_face_trainer_is_read(tmp_path: Path, entry: Any) -> None:
    (tmp_path / "trainer_state.json").write_text(trainer_state({"TrainerControl": CONTROL, "Guard": entry}))
    for path in (tmp_path, tmp_path / "trainer_state.json"):
        record = read_checkpoint(path)
        assert (record.format, record.step, record.verdict()) == ("hugging-face", 20, "halted")
        assert [guard.manifest_digest for guard in record.guards] == [DIGEST]


def test_several_callbacks_of_one_class_are_all_listed(tmp_path: Path) -> None:
    entries = [{"args": {}, "attributes": {"name": name, "guard_state": watched()}} for name in ("first", "second")]
    (tmp_path / "trainer_state.json").write_text(trainer_state({"TrainerControl": CONTROL, "Guard": entries}))
    done = invoke(str(tmp_path))
    assert done.exit_code == 0
    assert [line.split(":")[0] for line in done.stdout.splitlines()[1:]] == ["guard first", "guard second"]


@pytest.mark.parametrize("callbacks", [{"TrainerControl": CONTROL}, {}, None])
def test_a_hugging_face_run_without_a_guard_never_passes(tmp_path: Path, callbacks: Any) -> None:
    (tmp_path / "trainer_state.json").write_text(trainer_state(callbacks))
    done = invoke(str(tmp_path))
    assert (done.exit_code, done.stdout) == (3, "checkpoint not guarded (hugging-face, step 20)\n")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        ("[1]", "not the state of a Hugging Face Trainer"),
        ("{}", "not the state of a Hugging Face Trainer"),
        (trainer_state([1]), "stateful_callbacks must be a mapping"),
        (trainer_state({"Guard": watched(schema=99)}), "upgrade collapse-guard"),
        ("[" * 100_000, "not JSON"),
    ],
)
def test_a_trainer_state_that_is_none_is_refused(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "trainer_state.json"
    path.write_text(text)
    assert said in refusal(path)


def test_a_sharded_lightning_checkpoint_is_read_from_its_folder(tmp_path: Path) -> None:
    folder = tmp_path / "step=4.ckpt"
    folder.mkdir()
    saved(lightning({"collapse_guard.default": watched(HALT)}), folder / "meta.pt")
    assert read_checkpoint(folder).verdict() == "halted"


def test_a_folder_of_accelerate_is_read_from_what_was_registered(tmp_path: Path) -> None:
    saved({"weight": torch.ones(2)}, tmp_path / "custom_checkpoint_0.pkl")
    assert read_checkpoint(tmp_path).verdict() == "not guarded"
    saved(watched(HALT), tmp_path / "custom_checkpoint_1.pkl")
    record = read_checkpoint(tmp_path)
    assert (record.format, record.verdict()) == ("accelerate", "halted")


def test_a_folder_of_checkpoints_asks_for_one_of_them(tmp_path: Path) -> None:
    assert "known are trainer_state.json" in refusal(tmp_path)
    (tmp_path / "last.ckpt").touch()
    assert refusal(tmp_path).endswith(f"name one of its checkpoints, such as {tmp_path / 'last.ckpt'}")


# ------------------------------------------------------------------ what is refused


class Trap:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self) -> Any:
        return os.mkdir, (self.path,)


def test_a_checkpoint_that_needs_code_is_refused_and_the_code_never_runs(tmp_path: Path) -> None:
    path = saved(lightning({"collapse_guard.default": watched(), "x": Trap(tmp_path / "ran")}), tmp_path / "a.ckpt")
    assert "only pickled code could load it (posix.mkdir), and none is run here" in refusal(path)
    assert not (tmp_path / "ran").exists()


def test_a_hyperparameter_that_is_an_object_is_refused_by_its_name(tmp_path: Path) -> None:
    path = saved(lightning({}, hyper_parameters={"folder": Path("x")}), tmp_path / "a.ckpt")
    assert "only pickled code could load it (pathlib" in refusal(path)


def test_files_that_are_no_checkpoint_are_refused_in_one_line(tmp_path: Path) -> None:
    whole = Path(saved(lightning({}), tmp_path / "whole.ckpt")).read_bytes()
    flipped = bytearray(whole)
    flipped[60:140] = bytes(byte ^ 0x5A for byte in flipped[60:140])
    legacy = tmp_path / "legacy"
    torch.save({}, legacy, _use_new_zipfile_serialization=False)
    cases: dict[str, tuple[bytes, str]] = {
        "empty": (b"", "the file is empty"),
        "cut off": (whole[: len(whole) // 2], "or cut off"),
        "text": (b"not a checkpoint", "not a checkpoint of torch"),
        "pickled": (pickle.dumps({"a": 1}), "not a checkpoint of torch"),
        "of an old torch": (legacy.read_bytes(), "not a checkpoint of torch 1.6 or later"),
        "damaged": (bytes(flipped), "damaged"),
    }
    for name, (content, said) in cases.items():
        (tmp_path / "case.ckpt").write_bytes(content)
        assert said in refusal(tmp_path / "case.ckpt"), name
    assert "no such file or folder" in refusal(tmp_path / "missing.ckpt")


def test_a_zip_of_something_else_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as other:
        other.writestr("data.txt", "text")
    assert "damaged, or no file of torch.save" in refusal(tmp_path / "other.zip")


def test_a_manifest_that_cannot_be_read_is_unusable_input(tmp_path: Path) -> None:
    path = saved(lightning({"collapse_guard.default": watched()}), tmp_path / "a.ckpt")
    done = invoke(path, "--manifest", str(tmp_path / "missing.cgm.json"))
    assert isinstance(done.exception, ManifestError)
    assert "missing.cgm.json" in str(done.exception)


def test_a_guard_that_saw_nothing_since_an_earlier_step_does_not_vouch(tmp_path: Path) -> None:
    """A trainer without the guard carries its entry on from the checkpoint that it resumed."""
    state = {"schema": 2, "manifest_digest": None, "watch": None, "step": 76}
    entry = {"attributes": {"name": "default", "guard_state": state}}
    for step, verdict in ((76, "guarded"), (114, "not guarded")):
        content = {"global_step": step, "stateful_callbacks": {"CollapseGuardCallback": entry}}
        (tmp_path / "trainer_state.json").write_text(json.dumps(content))
        record = read_checkpoint(tmp_path / "trainer_state.json")
        assert record.verdict() == verdict
    assert record.note == "guard 'default' last saw step 76 of 114"
