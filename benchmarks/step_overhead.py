"""What a guard adds to a training step: counted batches, against torchmetrics and against logging at each step.

Runs inside Lightning's loop on one thread, with a model as wide as makes a step of 5 to 10 ms. Within one fit the
callbacks of an arm join and leave the trainer block by block, in a new order each round, so that drift of a shared
machine meets all arms alike; ``off_again`` is a second arm without callbacks: its ratio to ``off`` is the noise floor.

Prints one line of JSON. Ratios are of the median steps of blocks of one round: their median over rounds, its 95 %
interval (bootstrap of rounds), and their quartiles; ``thread`` is the same in processor time of the one thread, which
others on the machine disturb less. ``inside`` is the time inside the hooks of an arm; its mean holds what only some
steps do, such as the guard's check of every 50th batch, which no median shows. On a CUDA device steps are timed by
whole blocks, and the hooks of the guard run with ``torch.cuda.set_sync_debug_mode("error")``: one that waits for the
device ends the benchmark.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import statistics
import tempfile
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytorch_lightning as pl
import torch
import torchmetrics
from torch import nn
from torch.utils.data import DataLoader

from collapse_guard import CollapseGuard

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

N_CLASSES = 100
N_ORIGINS = 6
N_ROWS = 64
N_FEATURES = 256
N_DROPPED = 3  # steps after callbacks joined or left: not whole steps of one arm
EVERY_BATCHES = 50
ARMS = ("off", "off_again", "guard", "torchmetrics", "log")
POLICY = {"version": 1, "coverage": {}, "batches": {"every_batches": EVERY_BATCHES, "missing": "error"}}


class Perceptron(pl.LightningModule):
    """A classifier of three layers."""

    def __init__(self, width: int) -> None:
        super().__init__()
        sizes = [(N_FEATURES, width), (width, width), (width, N_CLASSES)]
        self.layers = nn.Sequential(*(part for size in sizes for part in (nn.Linear(*size), nn.ReLU())))

    def training_step(self, batch: dict[str, torch.Tensor], _: int) -> torch.Tensor:
        return nn.functional.cross_entropy(self.layers(batch["x"]), batch["label"])

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=1e-3)


class Counts(torchmetrics.Metric):
    """What the guard counts, the way of torchmetrics: rows per class and rows per origin."""

    full_state_update = False
    classes: torch.Tensor
    origins: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("classes", torch.zeros(N_CLASSES, dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("origins", torch.zeros(N_ORIGINS, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, labels: torch.Tensor, origins: torch.Tensor) -> None:
        self.classes += torch.bincount(labels, minlength=N_CLASSES)
        self.origins += torch.bincount(origins, minlength=N_ORIGINS)

    def compute(self) -> torch.Tensor:
        return self.classes


class Counting(pl.Callback):
    """Counts each batch with torchmetrics."""

    def __init__(self) -> None:
        self.metric = Counts()

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: ARG002 - hook signature
        self.metric.to(pl_module.device)

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, _: int) -> None:  # noqa: ARG002 - hook signature
        self.metric.update(batch["label"], batch["cg_origin"])


class Logging(pl.Callback):
    """Logs one figure of each batch."""

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, _: int) -> None:  # noqa: ARG002 - hook signature
        share = (batch["cg_origin"] == 1).float().mean()
        pl_module.log("real_share", share, on_step=True, on_epoch=False, batch_size=N_ROWS)


class Rounds(pl.Callback):
    """Times the steps of each arm, and lets the callbacks of the next one in.

    Args:
        arms: callbacks by arm.
        n_rounds: rounds of one block per arm.
        n_steps: steps of a block, with those that are dropped.
    """

    def __init__(self, arms: dict[str, list[pl.Callback]], *, n_rounds: int, n_steps: int, seed: int = 0) -> None:
        order = np.random.default_rng(seed)
        self.blocks = [name for _ in range(n_rounds) for name in order.permutation(list(arms)).tolist()]
        self.arms, self.n_steps = arms, n_steps
        self.seconds: list[NDArray[np.float64]] = []  # of a block: a row per step, time on the wall and of the thread
        self._marks: list[tuple[float, float]] = []
        self._others: list[pl.Callback] = []

    @property
    def n_batches(self) -> int:
        """Batches of all blocks, and one to end the last."""
        return len(self.blocks) * self.n_steps + 1

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: ARG002 - hook signature
        held: Any = trainer
        self._others = [each for each in held.callbacks if not any(each in own for own in self.arms.values())]

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, _: Any, number: int) -> None:
        place = number % self.n_steps
        if place in {0, N_DROPPED} and pl_module.device.type == "cuda":
            torch.cuda.synchronize()
        now = (time.perf_counter(), time.thread_time())
        if place == 0:
            self._finish(now)
            held: Any = trainer
            at = number // self.n_steps
            # A new list: the trainer is going through the old one right now.
            held.callbacks = [*self._others, *(self.arms[self.blocks[at]] if at < len(self.blocks) else [])]
        elif place >= N_DROPPED:
            self._marks.append(now)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: ARG002 - hook signature
        held: Any = trainer
        held.callbacks = [*self._others, *(each for own in self.arms.values() for each in own)]

    def _finish(self, now: tuple[float, float]) -> None:
        if self._marks:
            self.seconds.append(np.diff([*self._marks, now], axis=0))
            self._marks = []

    def of_arm(self, name: str, middle: Callable[..., NDArray[np.float64]]) -> NDArray[np.float64]:
        """Return one row per round: the ``middle`` of the steps of the arm's block, on the wall and of the thread."""
        blocks = zip(self.blocks, self.seconds, strict=True)
        return np.stack([middle(steps, axis=0) for block, steps in blocks if block == name])


class Timed:
    """A hook, with the time of each call; on a CUDA device it may not wait for the device."""

    def __init__(self, hook: Callable[..., Any], *, is_cuda: bool) -> None:
        self.hook, self.is_cuda = hook, is_cuda
        self.seconds: list[float] = []

    def __call__(self, *given: Any, **named: Any) -> Any:
        if self.is_cuda:
            torch.cuda.set_sync_debug_mode("error")
        start = time.perf_counter()
        try:
            return self.hook(*given, **named)
        finally:
            self.seconds.append(time.perf_counter() - start)
            if self.is_cuda:
                torch.cuda.set_sync_debug_mode("default")


def batches(n_batches: int = 64) -> list[dict[str, torch.Tensor]]:
    """Return batches of columns: features, a class, and who made the row (three of four are real)."""
    torch.manual_seed(0)
    return [
        {
            "x": torch.randn(N_ROWS, N_FEATURES),
            "label": torch.randint(N_CLASSES, (N_ROWS,)),
            "cg_origin": 1 + (torch.rand(N_ROWS) < 0.25).long(),
        }
        for _ in range(n_batches)
    ]


def step_seconds(width: int, n_steps: int = 20) -> float:
    """Return the median processor time of a step outside of a trainer, on the host."""
    model, batch = Perceptron(width), batches(1)[0]
    optimizer = model.configure_optimizers()
    found = []
    for _ in range(n_steps):
        start = time.thread_time()
        optimizer.zero_grad()
        torch.autograd.backward(model.training_step(batch, 0))
        optimizer.step()
        found.append(time.thread_time() - start)
    return statistics.median(found)


def calibrated(target: float = 0.006) -> int:
    """Return a width whose step takes about ``target`` seconds on this machine."""
    width = 512
    for _ in range(6):
        found = step_seconds(width)
        if 0.8 < found / target < 1.2:
            break
        width = max(64, round(width * math.sqrt(target / found) / 16) * 16)
    return width


def guarded() -> CollapseGuard:
    """Return a guard that counts origins and classes of batches, and never ends the run."""
    reference = {"label": [str(number) for number in range(N_CLASSES)] * 50}
    return CollapseGuard(POLICY, reference=reference, mode="warn")


def timed(callback: pl.Callback, *names: str, is_cuda: bool) -> list[Timed]:
    """Put a clock around hooks of a callback, and return the clocks."""
    clocks = [Timed(getattr(callback, name), is_cuda=is_cuda) for name in names]
    for name, clock in zip(names, clocks, strict=True):
        setattr(callback, name, clock)
    return clocks


def fitted(width: int, *, device: str, n_rounds: int, n_steps: int) -> tuple[Rounds, dict[str, list[Timed]]]:
    """Train once through all blocks, and return their times and those inside the hooks of each arm."""
    guard, counting, logs = guarded(), Counting(), Logging()
    clocks = {
        "guard": timed(guard, "on_train_batch_start", "on_train_batch_end", is_cuda=device == "cuda"),
        "torchmetrics": timed(counting, "on_train_batch_start", is_cuda=False),
        "log": timed(logs, "on_train_batch_start", is_cuda=False),
    }
    arms: dict[str, list[pl.Callback]] = {name: [] for name in ARMS}
    arms |= {"guard": [guard], "torchmetrics": [counting], "log": [logs]}
    rounds = Rounds(arms, n_rounds=n_rounds, n_steps=n_steps)
    rows = batches()
    repeated: Any = [rows[at % len(rows)] for at in range(rounds.n_batches)]
    with tempfile.TemporaryDirectory() as folder:
        trainer = pl.Trainer(
            callbacks=[rounds, guard, counting, logs],
            max_epochs=1,
            accelerator="cpu" if device == "cpu" else "gpu",
            devices=1,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            default_root_dir=folder,
        )
        trainer.fit(Perceptron(width), DataLoader(repeated, batch_size=None))
        report = json.loads((Path(folder) / "collapse_guard.default.json").read_text())
    assert report["batches"]["origins"], "the guard has counted nothing"
    return rounds, clocks


def ratio(arm: NDArray[np.float64], off: NDArray[np.float64]) -> dict[str, Any]:
    """Return what an arm adds, in percent of a step: median, its interval, and the quartiles of rounds."""
    percent = 100 * (arm / off - 1)
    rng = np.random.default_rng(0)
    medians = np.median(rng.choice(percent, (2_000, percent.size)), axis=1)
    return {
        "percent": round(float(np.median(percent)), 2),
        "percent_95": [round(float(edge), 2) for edge in np.quantile(medians, [0.025, 0.975])],
        "percent_quartiles": [round(float(edge), 2) for edge in np.quantile(percent, [0.25, 0.75])],
        "us": round(1e6 * float(np.median(arm - off)), 1),
    }


def inside_figures(clocks: list[Timed], step: float) -> dict[str, Any]:
    """Return the time inside the hooks of an arm, a step with its part of what only some steps do."""
    medians = [float(np.median(clock.seconds)) for clock in clocks]
    means = [float(np.mean(clock.seconds)) for clock in clocks]
    return {
        "us": [round(1e6 * each, 1) for each in medians],
        "percent": round(100 * sum(medians) / step, 2),
        "percent_of_mean": round(100 * sum(means) / step, 2),
    }


def figures_of(device: str, width: int, *, n_rounds: int, n_steps: int) -> dict[str, Any]:
    """Return the figures of one device."""
    rounds, clocks = fitted(width, device=device, n_rounds=n_rounds, n_steps=n_steps)
    middle: Callable[..., NDArray[np.float64]] = np.median if device == "cpu" else np.mean
    off = rounds.of_arm("off", middle)
    step = float(np.median(off[:, 0]))
    figures: dict[str, Any] = {
        "step_ms": round(1e3 * step, 2),
        "width": width,
        "n_rounds": n_rounds,
        "n_steps": n_steps - N_DROPPED,
    }
    for name in ARMS[1:]:
        arm = rounds.of_arm(name, middle)
        entry = ratio(arm[:, 0], off[:, 0]) | ({"thread": ratio(arm[:, 1], off[:, 1])} if device == "cpu" else {})
        inside = {"inside": inside_figures(clocks[name], step)} if name in clocks else {}
        figures["noise" if name == "off_again" else name] = entry | inside
    checks = np.asarray(clocks["guard"][0].seconds)[EVERY_BATCHES - 1 :: EVERY_BATCHES]
    return figures | {"guard_check_us": round(1e6 * float(np.median(checks)), 1)}


def main() -> None:
    """Time steps on the host, and on a CUDA device if there is one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    n_rounds = 20 if parser.parse_args().quick else 100
    torch.set_num_threads(1)
    for name in ("pytorch_lightning", "lightning", "lightning.pytorch"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="pytorch_lightning")
    figures = {"cpu": figures_of("cpu", calibrated(), n_rounds=n_rounds, n_steps=33)}
    if torch.cuda.is_available():
        figures["cuda"] = figures_of("cuda", 4096, n_rounds=n_rounds, n_steps=33)
    print(json.dumps({"name": "step_overhead", "figures": figures}))


if __name__ == "__main__":
    main()
