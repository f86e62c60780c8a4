"""A plain image classifier, as a newcomer to Lightning writes it, gains the guard by two added lines."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

#: A script as they stand in public; nothing in it knows of this package.
SCRIPT = """
import sys

import numpy as np
import pytorch_lightning as pl
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
pl.seed_everything(0)


class LitClassifier(pl.LightningModule):
    def __init__(self, lr):
        super().__init__()
        self.lr = lr
        self.model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))

    def forward(self, x):
        return self.model(x)

    def training_step(self, batch, batch_idx):
        x, y = batch
        loss = nn.functional.cross_entropy(self(x), y)
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch, batch_idx):
        x, y = batch
        self.log("val_acc", (self(x).argmax(-1) == y).float().mean(), prog_bar=True)

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=self.lr)


x, y = load_digits(return_X_y=True)
rare = np.flatnonzero(np.isin(y, [3, 8]))
kept = np.setdiff1d(np.arange(len(y)), rare[len(rare) // 4:])  # as a collection in which two digits are rare
x, y = x[kept] / 16, y[kept]
x_train, x_val, y_train, y_val = train_test_split(x, y, test_size=0.3, stratify=y, random_state=0)


def loader(x, y, shuffle):
    data = TensorDataset(torch.tensor(x, dtype=torch.float32), torch.tensor(y))
    return DataLoader(data, batch_size=32, shuffle=shuffle)


trainer = pl.Trainer(
    max_epochs=8,
    accelerator="cpu",
    enable_progress_bar=False,
    default_root_dir="logs",
)
trainer.fit(LitClassifier(float(sys.argv[1])), loader(x_train, y_train, True), loader(x_val, y_val, False))
trainer.save_checkpoint("final.ckpt")
"""

#: The two lines that are added, each before the line that it names.
ADDED = {
    "import numpy as np": "from collapse_guard import CollapseGuard",
    "    max_epochs=8,": "    callbacks=CollapseGuard("
    '"policy.yaml", labels_from=1, outputs_from=lambda model, batch, _: model(batch[0]).argmax(-1)),',
}

POLICY = """\
version: 1
batches: {missing: ignore}
coverage: {cells: {column: label}, warmup: {epochs: 5}, baseline: real}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with the script, its two new lines, and a policy."""
    script = SCRIPT
    for before, line in ADDED.items():
        assert script.count(f"\n{before}\n") == 1
        script = script.replace(f"\n{before}\n", f"\n{line}\n{before}\n")
    assert len(script.splitlines()) == len(SCRIPT.splitlines()) + 2
    (tmp_path / "train.py").write_text(script)
    (tmp_path / "policy.yaml").write_text(POLICY)
    return tmp_path


def run(folder: Path, learning_rate: str) -> tuple[subprocess.CompletedProcess[str], dict[str, Any]]:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "train.py", learning_rate],
        cwd=folder,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    (path,) = (folder / "logs").rglob("collapse_guard.default.json")
    return done, json.loads(path.read_text())


@pytest.mark.slow
def test_a_classifier_that_learns_all_digits_runs_to_its_end(folder: Path) -> None:
    done, report = run(folder, "3e-3")
    assert done.returncode == 0, done.stderr[-2000:]
    assert report["halted"] is False
    assert [look["epoch"] for look in report["predictions"]["looks"]] == [5, 6, 7, 8]
    assert (folder / "final.ckpt").exists()


def test_a_classifier_that_never_says_the_rare_digits_is_halted(folder: Path) -> None:
    done, report = run(folder, "2e-4")
    assert done.returncode == 1
    assert "CollapseHalt: the tail's mass fell to" in done.stderr
    assert [look["epoch"] for look in report["predictions"]["looks"]] == [5]
    assert set(report["predictions"]["reference"]["tail"]) == {"3", "8"}
    assert report["predictions"]["looks"][0]["advisory"]["recall"] > 0.7
    assert not (folder / "final.ckpt").exists()
    (last,) = (folder / "logs").rglob("*.ckpt")
    assert last.stat().st_size > 0
