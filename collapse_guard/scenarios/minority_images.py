"""A class-and-image generator on long-tailed digits, trained generation after generation on its own output.

Real data: the 8x8 digits that scikit-learn ships, subsampled to a long tail without copies. The generator is one
model of class *and* image (flow matching, Lipman et al., arXiv 2210.02747), so it can forget a class. Its
samples are labelled by a classifier that is fitted once on other real rows and may answer "none". Code and
hyper-parameters are the same in all arms; only what the next generation trains on differs.
"""

from __future__ import annotations

import logging
import warnings
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pytorch_lightning as pl
import torch
from datasets import (
    Dataset,
    are_progress_bars_disabled,
    concatenate_datasets,
    disable_progress_bars,
    enable_progress_bars,
)
from torch.utils.data import DataLoader, RandomSampler

from collapse_guard._optional import need
from collapse_guard.cells import LabelCells
from collapse_guard.errors import AccumulationError, CollapseHalt, InputError
from collapse_guard.integrations.hugging_face.holder import GuardedDataset
from collapse_guard.integrations.hugging_face.saved import MANIFEST_FILE
from collapse_guard.integrations.hugging_face.tags import arrow_rows, tag
from collapse_guard.integrations.lightning.callback import CollapseGuard
from collapse_guard.manifest import Manifest, ParentLink, build_manifest, load_manifest, write_manifest
from collapse_guard.monitor import Look, Reference
from collapse_guard.records import ORIGIN, PROVENANCE_COLUMNS
from collapse_guard.scenarios.joint_flow import BATCH_ROWS, EPOCHS, N_CLASSES, STEPS_PER_EPOCH, JointFlow
from collapse_guard.stats import CellCounts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from collapse_guard.policy import Policy

    Images = NDArray[np.float32]
    Labels = NDArray[np.int64]

ARMS: Final = ("replace", "accumulate", "guarded")
COMMON_ROWS, RARE_ROWS = 120, 12
LABELLER_SHARE: Final = 0.33
OFF_MANIFOLD_QUANTILE: Final = 0.95
N_SHOWN: Final = 32
#: Loggers that would write over the demo's table.
_TALKERS: Final = ("pytorch_lightning", "lightning.pytorch", "lightning.fabric", "collapse_guard")


def nearest_distance(rows: Images, others: Images) -> NDArray[np.float64]:
    """Return the Euclidean distance of each row to the nearest of ``others``, shape (rows,)."""
    squared = (rows * rows).sum(1)[:, None] + (others * others).sum(1) - 2 * rows @ others.T
    return np.asarray(np.sqrt(np.maximum(squared, 0)).min(1), dtype=np.float64)


class Labeller:
    """A frozen classifier that may answer -1, "none": farther from real rows than 95 % of them are from each other."""

    def __init__(self, images: Images, labels: Labels) -> None:
        svm = need("sklearn.svm", extra="demo")
        self.images = images
        self._classifier = svm.SVC(C=10, gamma=0.1).fit(images, labels)
        apart = [nearest_distance(images[i : i + 1], np.delete(images, i, 0))[0] for i in range(len(images))]
        self.line = float(np.quantile(apart, OFF_MANIFOLD_QUANTILE))

    def __call__(self, images: Images) -> Labels:
        """Return the class of each image, or -1, shape (rows,)."""
        labels = np.asarray(self._classifier.predict(images), dtype=np.int64)
        return np.where(nearest_distance(images, self.images) > self.line, -1, labels)


@dataclass(frozen=True)
class World:
    """The real rows, the frozen labeller, and what it counts on the real rows."""

    images: Images
    labels: Labels
    labeller: Labeller
    reference: Reference

    @classmethod
    def load(cls) -> World:
        """Return the world; needs scikit-learn, raises MissingExtraError without."""
        digits = need("sklearn.datasets", extra="demo").load_digits()
        split = need("sklearn.model_selection", extra="demo").train_test_split
        images = (digits.data / 16).astype(np.float32)
        known, pool, known_labels, pool_labels = split(
            images, digits.target.astype(np.int64), train_size=LABELLER_SHARE, stratify=digits.target, random_state=0
        )
        ranks = np.arange(N_CLASSES) / (N_CLASSES - 1)
        sizes = np.round(COMMON_ROWS * (RARE_ROWS / COMMON_ROWS) ** ranks).astype(int)
        rows = np.concatenate([np.flatnonzero(pool_labels == k)[:size] for k, size in enumerate(sizes)])
        labeller = Labeller(known, known_labels)
        cells = LabelCells("label", tuple(map(str, range(N_CLASSES))))
        counts = CellCounts.zeros(N_CLASSES).update(labeller(pool[rows]))
        return cls(pool[rows], pool_labels[rows], labeller, Reference(cells, counts))


@dataclass(frozen=True)
class Generation:
    """One generation of one arm: what it trained on, and what the guard saw."""

    arm: str
    number: int
    n_real_rows: int
    n_synthetic_rows: int
    look: Look
    message: str
    weakest_class: str
    weakest_ratio: float
    keep_shares: dict[str, float]
    samples: Images = field(repr=False)

    @property
    def halted(self) -> bool:
        """Whether the guard halted here."""
        return self.look.action == "halt"


@dataclass
class Chain:
    """One arm: the folder it writes to, and the manifest of the latest generation."""

    arm: str
    world: World
    policy: Policy
    folder: Path
    manifest: Manifest | None = None
    refusal: str = ""

    def train(self, rows: Dataset, manifest: Manifest, seed: int) -> tuple[JointFlow, CollapseGuard]:
        """Train one generation on ``rows`` under the guard; what it decides is left in its watch."""
        parent, self.manifest = self.manifest, manifest
        contract = self.arm == "guarded"
        if self.arm == "replace" and parent is not None and not self.refusal:
            self.refusal = self._refused(rows, manifest, parent, seed)
        return self._fit(rows, self._guard(manifest, parent, contract=contract), seed)

    def _refused(self, rows: Dataset, manifest: Manifest, parent: Manifest, seed: int) -> str:
        """Return what the data contract says of a training set without the real rows."""
        try:
            self._fit(rows, self._guard(manifest, parent, contract=True), seed)
        except AccumulationError as error:
            return str(error)
        raise InputError("the data contract accepted a training set that lost its real rows")

    def _guard(self, manifest: Manifest, parent: Manifest | None, *, contract: bool) -> CollapseGuard:
        def sampler(module: JointFlow, n_rows: int) -> Labels:
            return self.world.labeller(module.generate(n_rows)[0])

        assert manifest.path is not None
        return CollapseGuard(
            self.policy,
            manifest=manifest,
            parent=parent,
            sampler=sampler,
            reference=self.world.reference,
            contract=contract,
            report=manifest.path.parent / "run.json",
        )

    def _fit(self, rows: Dataset, guard: CollapseGuard, seed: int) -> tuple[JointFlow, CollapseGuard]:
        pl.seed_everything(seed, verbose=False)
        columns = {"image": np.float32, "label": np.int64, ORIGIN: np.int64}
        arrays = {name: np.array(rows[name][:], dtype=kind) for name, kind in columns.items()}
        tensors = [
            {name: torch.from_numpy(array[i : i + 1])[0] for name, array in arrays.items()} for i in range(len(rows))
        ]
        drawn = RandomSampler(tensors, replacement=True, num_samples=STEPS_PER_EPOCH * BATCH_ROWS)
        loader: DataLoader[Any] = DataLoader(tensors, batch_size=BATCH_ROWS, sampler=drawn)  # type: ignore[arg-type]
        model = JointFlow(arrays["image"])
        trainer = pl.Trainer(
            max_epochs=EPOCHS,
            accelerator="cpu",
            callbacks=guard,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            default_root_dir=self.folder,
        )
        try:
            trainer.fit(model, loader)
        except CollapseHalt as halt:
            logging.getLogger(__name__).info("%s", halt)
        return model, guard


def real_rows(world: World) -> Dataset:
    """Return the anchor as a dataset with the columns image, label and quality."""
    quality = np.zeros(len(world.images))
    return Dataset.from_dict(
        {"image": world.images.tolist(), "label": world.labels.tolist(), "quality": quality.tolist()}
    )


def generated_rows(world: World, model: JointFlow, *, seed: int, drop_none: bool) -> Dataset:
    """Return as many generated rows as the anchor has; ``drop_none`` takes the label of rows that no class claims."""
    torch.manual_seed(seed)
    images, labels = model.generate(len(world.images))
    quality = -nearest_distance(images, world.images)
    none = world.labeller(images) < 0 if drop_none else np.zeros(len(labels), dtype=bool)
    named = [None if refused else int(label) for refused, label in zip(none, labels, strict=True)]
    return Dataset.from_dict({"image": images.tolist(), "label": named, "quality": quality.tolist()})


def run_arm(
    arm: str,
    world: World,
    policy: Policy,
    folder: Path,
    *,
    seed: int,
    generations: int,
    tell: Callable[[Generation, Chain], None],
) -> list[Generation]:
    """Run one arm until its last generation or a halt; ``tell`` hears of every generation as it ends."""
    chain = Chain(arm, world, policy, folder)
    make = _guarded_set if arm == "guarded" else _raw_set
    history: list[Generation] = []
    pools: list[Dataset] = []
    for number in range(1, generations + 1):
        rows, manifest = make(chain, pools, number)
        model, guard = chain.train(rows, manifest, seed=1000 * seed + number)
        history.append(_told(chain, number, rows, model, guard))
        tell(history[-1], chain)
        if history[-1].halted:
            break
        pools.append(generated_rows(world, model, seed=500_000 + 1000 * seed + number, drop_none=arm == "guarded"))
    return history


def _told(chain: Chain, number: int, rows: Dataset, model: JointFlow, guard: CollapseGuard) -> Generation:
    assert guard.watch is not None
    assert guard.watch.decision is not None
    n_real = int((np.array(rows[ORIGIN][:]) == 1).sum())
    torch.manual_seed(number)
    samples = model.generate(N_SHOWN)[0]
    name, ratio = weakest_class(chain.world, guard.watch.looks[-1])
    return Generation(
        arm=chain.arm,
        number=number,
        n_real_rows=n_real,
        n_synthetic_rows=len(rows) - n_real,
        look=guard.watch.looks[-1],
        message=guard.watch.decision.message,
        weakest_class=name,
        weakest_ratio=ratio,
        keep_shares=_keep_shares(chain.manifest),
        samples=samples,
    )


def weakest_class(world: World, look: Look) -> tuple[str, float]:
    """Return the class whose share fell most against its real share, and the ratio."""
    counts = world.reference.counts
    ratios = np.array(look.counts) / look.n_rows / (np.array(counts.rows) / counts.n_rows)
    cell = int(np.argmin(ratios))
    return world.reference.cells.names[cell], float(ratios[cell])


def _keep_shares(manifest: Manifest | None) -> dict[str, float]:
    """Return the keep-rate per class of the latest filtered output; empty if nothing was filtered."""
    if manifest is None or not manifest.header.filters:
        return {}
    return {cell.cell: cell.kept_rows / cell.rows for cell in manifest.header.filters[-1].cells if cell.rows}


def _guarded_set(chain: Chain, pools: list[Dataset], number: int) -> tuple[Dataset, Manifest]:
    """All real rows, and synthetic ones of every generation, filtered within each class and capped by the policy."""
    here = chain.folder / f"generation-{number}"
    if number == 1:
        held = GuardedDataset(chain.policy, name=chain.arm).add_real(real_rows(chain.world), source="digits")
    else:
        held = GuardedDataset.load(chain.folder / f"generation-{number - 1}", chain.policy)
        held.add_synthetic(pools[-1], source="own", generator=f"joint-flow@{number - 1}", generation=number - 1)
    held.save(here)
    return held.training_set(), load_manifest(here / MANIFEST_FILE)


def _raw_set(chain: Chain, pools: list[Dataset], number: int) -> tuple[Dataset, Manifest]:
    """The anchor at first; then the last generation alone (replace), or everything there ever was (accumulate)."""
    real = tag(real_rows(chain.world), origin="real", source="digits")
    made = [
        tag(pool, origin="synthetic", source="own", generator=f"joint-flow@{depth}", generation=depth)
        for depth, pool in enumerate(pools, start=1)
    ]
    parts = [real] if not made else made[-1:] if chain.arm == "replace" else [real, *made]
    rows = concatenate_datasets(parts)
    parent = chain.manifest
    manifest = build_manifest(
        arrow_rows(rows, [*PROVENANCE_COLUMNS, "label"]),
        name=chain.arm,
        generation=number - 1,
        class_column="label",
        parents=() if parent is None else (ParentLink(name=parent.header.name, digest=parent.digest),),
        policy_digest=chain.policy.digest,
    )
    return rows, write_manifest(manifest, chain.folder / f"generation-{number}" / MANIFEST_FILE)


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the trainer and `datasets` from talking over the demo's own table; everything is as before afterwards."""
    loggers = [logging.getLogger(name) for name in _TALKERS]
    levels = [logger.level for logger in loggers]
    n_threads, shows_bars = torch.get_num_threads(), not are_progress_bars_disabled()
    torch.set_num_threads(1)
    disable_progress_bars()
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"pytorch_lightning|torch|lightning_fabric")
            yield
    finally:
        torch.set_num_threads(n_threads)
        if shows_bars:
            enable_progress_bars()
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
