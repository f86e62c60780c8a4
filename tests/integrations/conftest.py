"""Small data, policies and trainers for the tests of the integrations."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from datasets import Dataset, disable_progress_bars

from collapse_guard.integrations.hugging_face.holder import GuardedDataset
from collapse_guard.integrations.hugging_face.saved import MANIFEST_FILE
from collapse_guard.manifest import Manifest, load_manifest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

#: 100 real rows: one common class, two rare ones that together are the tail.
SIZES = {"0": 90, "1": 6, "2": 4}
NAMESPACES = ("pytorch_lightning", "lightning.pytorch")


@pytest.fixture(autouse=True, scope="session")
def _quiet() -> None:
    disable_progress_bars()


@dataclass(frozen=True)
class Namespace:
    """One of the two names under which Lightning is installed."""

    name: str

    @property
    def other(self) -> Namespace:
        return Namespace(next(name for name in NAMESPACES if name != self.name))

    @property
    def lightning(self) -> Any:
        return importlib.import_module(self.name)

    @property
    def boring(self) -> Any:
        return importlib.import_module(f"{self.name}.demos.boring_classes")


@pytest.fixture(params=NAMESPACES)
def namespace(request: pytest.FixtureRequest) -> Namespace:
    return Namespace(request.param)


@pytest.fixture
def labelled_rows() -> Callable[..., Dataset]:
    """Return a maker of labelled rows with contents of their own."""

    def made(sizes: dict[str, int], *, prefix: str = "real") -> Dataset:
        labels = [label for label, n_rows in sizes.items() for _ in range(n_rows)]
        return Dataset.from_dict(
            {
                "text": [f"{prefix} {label} {row}" for row, label in enumerate(labels)],
                "label": labels,
                "quality": [float(row) for row in range(len(labels))],
            }
        )

    return made


@pytest.fixture
def watched_policy() -> dict[str, Any]:
    """Return a policy that looks at 200 rows after every epoch."""
    return {"version": 1, "coverage": {"samples_per_look": 200}}


@pytest.fixture
def real_manifest(
    tmp_path: Path, labelled_rows: Callable[..., Dataset], watched_policy: dict[str, Any]
) -> Callable[..., Manifest]:
    """Return a writer of a manifest of real rows, each in a folder of its own."""

    def written(name: str = "first", sizes: dict[str, int] | None = None) -> Manifest:
        held = GuardedDataset(watched_policy, name=name).add_real(labelled_rows(sizes or SIZES), source="web")
        return load_manifest(held.save(tmp_path / "data" / name) / MANIFEST_FILE)

    return written


@pytest.fixture
def fit(namespace: Any, tmp_path: Path) -> Callable[..., Any]:
    """Return a maker of tiny runs: ``fit(callbacks, ckpt_path=None, space=..., **trainer arguments)``."""

    def run(callbacks: Any, *, ckpt_path: Any = None, space: Any = namespace, model: Any = None, **options: Any) -> Any:
        settings: dict[str, Any] = {
            "max_epochs": 3,
            "limit_train_batches": 2,
            "limit_val_batches": 0,
            "accelerator": "cpu",
            "logger": False,
            "enable_checkpointing": False,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "default_root_dir": tmp_path,
        }
        trainer = space.lightning.Trainer(**(settings | options), callbacks=callbacks)
        trainer.fit(model or space.boring.BoringModel(), ckpt_path=ckpt_path)
        return trainer

    return run
