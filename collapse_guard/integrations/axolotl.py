"""Axolotl: guard the run that a YAML file describes. A plugin is named there, and its options stand beside it.

```yaml
plugins:
  - collapse_guard.integrations.axolotl.CollapseGuardPlugin
collapse_guard:
  policy: policy.yaml
  manifest: data/manifest.cgm.json
  sampler: my_samples:draw
```
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from collapse_guard.errors import InputError
from collapse_guard.integrations.transformers.trainer import attach

if TYPE_CHECKING:
    from collapse_guard.integrations.training.session import GuardSession

    _Plugin = object


def _base() -> type:
    """Return the class that Axolotl's plugins derive from; object where Axolotl is not installed."""
    try:
        base: type = importlib.import_module("axolotl.integrations.base").BasePlugin
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] != "axolotl":
            raise
        return object
    return base


if not TYPE_CHECKING:
    _Plugin = _base()


class GuardOptions(BaseModel):
    """Keys under ``collapse_guard`` in an Axolotl file.

    A ``module:function`` string is imported: such a file names the code that it runs anyway, as its plugins are.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    policy: str | dict[str, Any] = Field(description="path of a policy, or the policy itself")
    manifest: str | None = Field(None, description="manifest of the training data")
    parent: str | None = Field(None, description="manifest of the generation before")
    sampler: str | None = Field(None, description="module:function of (model, n) to n generated rows or their cells")
    labels_from: str | int | None = Field(None, description="key in the evaluation batch, or module:function")
    outputs_from: str | int | None = Field(None, description="module:function of (model, batch, outputs) to labels")
    provenance_from: str | None = Field(None, description="module:function of a batch to the provenance of its rows")
    predictions: bool = Field(False, description="watch which classes a classifier predicts")  # noqa: FBT003 - a default
    mode: Literal["raise", "stop", "warn"] = Field("raise", description="what a halt does")
    contract: bool = Field(True, description="check the data before training")  # noqa: FBT003 - a default
    report: str | None = Field(None, description="where the report goes; the output folder if left out")
    name: str = Field("default", description="tells the reports of several guards apart")
    allow_resume_after_halt: bool = Field(False, description="go on after a halt")  # noqa: FBT003 - a default


class CollapseGuardArgs(BaseModel):
    """What this plugin adds to Axolotl's own configuration."""

    collapse_guard: GuardOptions | None = None


class CollapseGuardPlugin(_Plugin):
    """Plugin that guards the trainer as soon as Axolotl has built it; without ``collapse_guard:`` it refuses to run.

    Example: ``plugins: [collapse_guard.integrations.axolotl.CollapseGuardPlugin]`` in the file that Axolotl reads.
    """

    session: GuardSession | None = None

    def get_input_args(self) -> str:
        """Return where the model of our keys stands."""
        return f"{__name__}.{CollapseGuardArgs.__name__}"

    def register(self, cfg: Mapping[str, Any]) -> None:
        """Refuse options that cannot be used, before anything is loaded."""
        options_of(cfg)

    def post_trainer_create(self, cfg: Mapping[str, Any], trainer: Any) -> None:
        """Guard the trainer: its ``train`` then raises CollapseHalt after a halt."""
        options = options_of(cfg).model_dump(exclude_none=True)
        self.session = attach(trainer, options.pop("policy"), **options)


def options_of(cfg: Mapping[str, Any]) -> GuardOptions:
    """Return the options of a configuration; raises InputError that names every key which cannot be used.

    >>> options_of({"collapse_guard": {"policy": "policy.yaml"}}).mode
    'raise'
    """
    given = cfg.get("collapse_guard")
    if not isinstance(given, Mapping):
        raise InputError("collapse_guard: has no options; write at least `collapse_guard: {policy: policy.yaml}`")
    try:
        return GuardOptions.model_validate(_plain(given))
    except ValidationError as error:
        faults = [f"collapse_guard.{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors()]
        raise InputError("; ".join(faults)) from None


def _plain(value: Any) -> Any:
    """Return Axolotl's own dictionaries as plain ones."""
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, (list, tuple)) else value
