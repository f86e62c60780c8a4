"""Every launcher and every mode, on two processes: all ranks end at the same step, and the exit code tells."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING, Any

import pytest

from collapse_guard.integrations.training.checkpoints import read_checkpoint

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow

SCRIPT = """
import json, sys, warnings
from pathlib import Path

warnings.simplefilter("ignore")
import torch
import {name} as L
from {name}.demos.boring_classes import BoringModel
from collapse_guard import CollapseGuard
from torch.utils.data import DataLoader

torch.set_num_threads(1)
folder, strategy, trip, mode = Path(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4]


class Rows(torch.utils.data.Dataset):
    def __len__(self):
        return 1600

    def __getitem__(self, row):
        origin = 2 if trip == "batches" and row % 4 else 1
        return {{"x": torch.zeros(32), "cg_origin": origin, "label": int(row % 10 == 9)}}


class Model(BoringModel):
    def training_step(self, batch, batch_idx):
        return self.layer(batch["x"]).sum()

    def validation_step(self, batch, batch_idx):
        return {{"classes": batch["label"] * (trip != "predictions")}}

    def train_dataloader(self):
        return DataLoader(Rows(), batch_size=8)

    def val_dataloader(self):
        return DataLoader(Rows(), batch_size=200)


class Steps(L.Callback):
    def on_train_end(self, trainer, pl_module):
        (folder / f"rank-{{trainer.global_rank}}.json").write_text(json.dumps(trainer.global_step))


if __name__ == "__main__":
    policy = {{
        "version": 1,
        "batches": {{"every_batches": 10, "missing": "error"}},
        "coverage": {{"warmup": {{"epochs": 0}}, "every": {{"steps": 20}}, "baseline": "real"}},
    }}
    guard = CollapseGuard(policy, outputs_from="classes", labels_from="label", mode=mode, report=folder / "run.json")
    saver = L.callbacks.ModelCheckpoint(dirpath=folder / "saved", save_last=True, every_n_train_steps=10)
    trainer = L.Trainer(
        accelerator="cpu", devices=2, strategy=strategy, max_epochs=2, limit_train_batches=80, min_steps=150,
        val_check_interval=25, logger=False, enable_progress_bar=False, enable_model_summary=False,
        default_root_dir=folder, callbacks=[Steps(), guard, saver],
    )
    try:
        trainer.fit(Model())
    except Exception as error:
        if "CollapseHalt" not in type(error).__name__ + str(error):
            raise
        sys.exit(7)
    (folder / "metrics.json").write_text(json.dumps({{k: float(v) for k, v in trainer.callback_metrics.items()}}))
"""

#: Optimizer steps until the halt: batches are read one window of 10 late, predictions at the first validation.
STEPS = {"batches": 20, "predictions": 25, "nothing": 160}


@pytest.mark.parametrize("strategy", ["ddp", "ddp_spawn"])
@pytest.mark.parametrize(
    ("trip", "mode", "code"),
    [
        ("batches", "raise", 7),
        ("batches", "stop", 0),
        ("batches", "warn", 0),
        ("predictions", "raise", 7),
        ("predictions", "stop", 0),
        ("nothing", "raise", 0),
    ],
)
def test_all_ranks_end_at_the_same_step(tmp_path: Path, strategy: str, trip: str, mode: str, code: int) -> None:
    script = tmp_path / "train.py"
    name = "pytorch_lightning" if mode == "stop" else "lightning.pytorch"
    script.write_text(textwrap.dedent(SCRIPT).format(name=name), encoding="utf-8")
    command = [sys.executable, str(script), str(tmp_path), strategy, trip, mode]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == code, done.stderr[-2000:]
    n_steps = STEPS["nothing"] if mode == "warn" else STEPS[trip]
    ranks = sorted(tmp_path.glob("rank-*.json"))
    assert [json.loads(path.read_text()) for path in ranks] == [n_steps, n_steps]
    report: dict[str, Any] = json.loads((tmp_path / "run.json").read_text())
    assert report["halted"] is (trip != "nothing")
    assert report["batches"]["n_batches"] == 2 * n_steps
    newest = max((tmp_path / "saved").glob("*.ckpt"), key=lambda path: path.stat().st_mtime_ns)
    assert read_checkpoint(newest).verdict() == ("guarded" if trip == "nothing" else "halted")
    if trip == "predictions":  # no checkpoint was due at that step
        assert newest.name == "collapse_guard.default.halted.ckpt"
    if code == 0:
        metrics = json.loads((tmp_path / "metrics.json").read_text())
        assert metrics["collapse_guard/halted"] == float(trip != "nothing")
