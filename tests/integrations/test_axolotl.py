"""The Axolotl plugin, under a stand-in for Axolotl's plugin manager that calls the hooks in the documented order."""

from __future__ import annotations

import importlib
import sys
import types
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import yaml
from datasets import Dataset
from torch import nn
from transformers import Trainer, TrainingArguments

from collapse_guard.errors import CollapseHalt, InputError
from collapse_guard.integrations import axolotl

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pydantic import BaseModel

FILE = """
base_model: none
plugins:
  - collapse_guard.integrations.axolotl.CollapseGuardPlugin
collapse_guard:
  policy:
    version: 1
    mix: {real_min_share: 0.0}
    batches: {missing: error, every_batches: 2}
"""


class Dictionary(dict[str, Any]):
    """Dictionary of a configuration: a missing key is None, and so are nested ones, as Axolotl's is."""

    def __missing__(self, key: str) -> None:
        return None


class BasePlugin:
    """Base of plugins: every hook is there and does nothing."""

    def register(self, cfg: dict[str, Any]) -> None: ...

    def get_input_args(self) -> str | None: ...

    def pre_model_load(self, cfg: Any) -> None: ...

    def post_model_load(self, cfg: Any, model: Any) -> None: ...

    def add_callbacks_pre_trainer(self, cfg: Any, model: Any) -> list[Any]:
        return []

    def post_trainer_create(self, cfg: Any, trainer: Any) -> None: ...

    def add_callbacks_post_trainer(self, cfg: Any, trainer: Any) -> list[Any]:
        return []

    def post_train(self, cfg: Any, model: Any) -> None: ...


@pytest.fixture
def plugin_module(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Return the module of the plugin as it is where Axolotl is installed."""
    base: Any = types.ModuleType("axolotl.integrations.base")
    base.BasePlugin = BasePlugin
    for name in ("axolotl", "axolotl.integrations"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setitem(sys.modules, "axolotl.integrations.base", base)
    yield importlib.reload(axolotl)
    monkeypatch.undo()
    importlib.reload(axolotl)


class Regression(nn.Module):
    """Model of one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(1, 1)

    def forward(self, x: Any, labels: Any = None) -> dict[str, Any]:
        out = self.linear(x)
        return {"loss": (out.squeeze(-1) - labels).square().mean(), "logits": out}


def train(text: str, folder: Path) -> tuple[Any, Trainer]:
    """Do as Axolotl does with a file: register the plugins, validate, build, call their hooks, train."""
    cfg = yaml.safe_load(text)
    (name,) = cfg["plugins"]
    module, _, cls = name.rpartition(".")
    plugin = getattr(importlib.import_module(module), cls)()
    plugin.register(cfg)
    module, _, model = plugin.get_input_args().rpartition(".")
    args: type[BaseModel] = getattr(importlib.import_module(module), model)
    checked = args.model_validate(cfg).model_dump(exclude_none=True)
    whole = Dictionary(cfg | {key: Dictionary(value) for key, value in checked.items()})
    plugin.pre_model_load(whole)
    weights = Regression()
    plugin.post_model_load(whole, weights)
    plugin.add_callbacks_pre_trainer(whole, weights)
    rows = Dataset.from_dict({"x": [[1.0]] * 16, "label": [1.0] * 16, "cg_origin": [1] * 12 + [2] * 4})
    settings = TrainingArguments(
        str(folder / "out"), num_train_epochs=2, use_cpu=True, report_to="none", disable_tqdm=True, save_strategy="no",
        dataloader_pin_memory=False,
    )  # fmt: skip
    trainer = Trainer(weights, settings, train_dataset=rows)
    plugin.post_trainer_create(whole, trainer)
    assert plugin.add_callbacks_post_trainer(whole, trainer) == []
    trainer.train()
    plugin.post_train(whole, weights)
    return plugin, trainer


def dying(_: Any, n_rows: int) -> np.ndarray:
    """Return cells of the common class alone."""
    return np.zeros(n_rows, dtype=np.int64)


def test_a_file_that_names_the_plugin_guards_its_trainer(plugin_module: Any, tmp_path: Path) -> None:
    plugin, trainer = train(FILE, tmp_path)
    assert isinstance(plugin, BasePlugin)
    assert isinstance(plugin, plugin_module.CollapseGuardPlugin)
    counts = plugin.session.run.batches.counts.by_origin()
    assert (counts["real"], counts["synthetic"]) == (24, 8)
    assert (tmp_path / "out" / "collapse_guard.default.json").exists()
    assert trainer.state.global_step == 4


@pytest.mark.usefixtures("plugin_module")
def test_a_halt_comes_out_of_train_before_anything_is_exported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, real_manifest: Any
) -> None:
    samples: Any = types.ModuleType("my_samples")
    samples.draw = dying
    monkeypatch.setitem(sys.modules, "my_samples", samples)
    options = {
        "policy": {"version": 1, "mix": {"real_min_share": 0.0}, "coverage": {"samples_per_look": 200}},
        "manifest": str(real_manifest("own").path),
        "sampler": "my_samples:draw",
        "contract": False,
    }
    text = yaml.safe_dump(yaml.safe_load(FILE) | {"collapse_guard": options})
    with pytest.raises(CollapseHalt):
        train(text, tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (None, r"write at least `collapse_guard: \{policy: policy.yaml\}`"),
        ({}, "collapse_guard.policy: Field required"),
        ({"policy": "p.yaml", "modes": "warn"}, "collapse_guard.modes: Extra inputs are not permitted"),
        ({"policy": "p.yaml", "mode": "pause"}, "collapse_guard.mode: Input should be 'raise', 'stop' or 'warn'"),
    ],
)
def test_options_that_cannot_be_used_are_refused_before_anything_is_loaded(options: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        axolotl.CollapseGuardPlugin().register({"collapse_guard": options})


def test_without_axolotl_the_plugin_is_a_class_of_its_own() -> None:
    assert axolotl.CollapseGuardPlugin.__bases__ == (object,)
    assert axolotl.CollapseGuardPlugin().get_input_args() == "collapse_guard.integrations.axolotl.CollapseGuardArgs"
