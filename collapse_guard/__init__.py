"""Guardrail against model collapse: keep all real data, filter the rest, tag provenance, halt when the tail dies.

Public names are loaded when first used, so that ``import collapse_guard`` costs nothing. The pytest plug-in may find it
imported: PYTEST_DONT_REWRITE.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collapse_guard.cells import fit_cells
    from collapse_guard.errors import (
        AccumulationError,
        CollapseGuardError,
        CollapseHalt,
        ContractError,
        InputError,
        ManifestError,
        PolicyError,
    )
    from collapse_guard.forecast import forecast
    from collapse_guard.gate import check
    from collapse_guard.identity import IdRule
    from collapse_guard.integrations.hugging_face.audit import provenance_table, strip, validate
    from collapse_guard.integrations.hugging_face.holder import GuardedDataset
    from collapse_guard.integrations.hugging_face.mix import apply_mix, measure_mix, plan_mix
    from collapse_guard.integrations.hugging_face.streams import epoch_report, mix_streams, unseen_real
    from collapse_guard.integrations.hugging_face.tag_report import TagReport
    from collapse_guard.integrations.hugging_face.tags import tag
    from collapse_guard.integrations.lightning.callback import CollapseGuard
    from collapse_guard.integrations.lightning.data import guard_datamodule, guarded_datamodule_class
    from collapse_guard.integrations.loading.data_loader import GuardedDataLoader
    from collapse_guard.integrations.training.session import GuardSession
    from collapse_guard.integrations.transformers.causal_lm import CausalLMSampler
    from collapse_guard.integrations.transformers.trainer import CollapseGuardTrainerMixin, attach
    from collapse_guard.manifest import (
        Manifest,
        Takedowns,
        load_manifest,
        load_takedowns,
        prove_accumulation,
        write_manifest,
    )
    from collapse_guard.manifest.inventory import take_inventory
    from collapse_guard.mixing import MixPlan
    from collapse_guard.monitor import Anchor, Reference
    from collapse_guard.policy import Policy, load_policy
    from collapse_guard.records import Decision, Evidence, Finding, Origin
    from collapse_guard.stats import (
        ClassEvidence,
        FixedSetEvidence,
        ReferenceRows,
        ScoreEvidence,
        TailEvidence,
        minimum_detectable_drop,
    )

_HOMES: Final[dict[str, str]] = {
    "AccumulationError": "errors",
    "Anchor": "monitor",
    "CausalLMSampler": "integrations.transformers.causal_lm",
    "ClassEvidence": "stats",
    "CollapseGuard": "integrations.lightning.callback",
    "CollapseGuardError": "errors",
    "CollapseGuardTrainerMixin": "integrations.transformers.trainer",
    "CollapseHalt": "errors",
    "ContractError": "errors",
    "Decision": "records",
    "Evidence": "records",
    "Finding": "records",
    "FixedSetEvidence": "stats",
    "GuardSession": "integrations.training.session",
    "GuardedDataLoader": "integrations.loading.data_loader",
    "GuardedDataset": "integrations.hugging_face.holder",
    "IdRule": "identity",
    "InputError": "errors",
    "Manifest": "manifest",
    "ManifestError": "errors",
    "MixPlan": "mixing",
    "Origin": "records",
    "Policy": "policy",
    "PolicyError": "errors",
    "Reference": "monitor",
    "ReferenceRows": "stats",
    "ScoreEvidence": "stats",
    "TagReport": "integrations.hugging_face.tag_report",
    "TailEvidence": "stats",
    "Takedowns": "manifest",
    "apply_mix": "integrations.hugging_face.mix",
    "attach": "integrations.transformers.trainer",
    "check": "gate",
    "epoch_report": "integrations.hugging_face.streams",
    "fit_cells": "cells",
    "forecast": "forecast",
    "guard_datamodule": "integrations.lightning.data",
    "guarded_datamodule_class": "integrations.lightning.data",
    "load_manifest": "manifest",
    "load_policy": "policy",
    "load_takedowns": "manifest",
    "measure_mix": "integrations.hugging_face.mix",
    "minimum_detectable_drop": "stats",
    "mix_streams": "integrations.hugging_face.streams",
    "plan_mix": "integrations.hugging_face.mix",
    "prove_accumulation": "manifest",
    "provenance_table": "integrations.hugging_face.audit",
    "strip": "integrations.hugging_face.audit",
    "tag": "integrations.hugging_face.tags",
    "take_inventory": "manifest.inventory",
    "unseen_real": "integrations.hugging_face.streams",
    "validate": "integrations.hugging_face.audit",
    "write_manifest": "manifest",
}

__all__ = [
    "AccumulationError",
    "Anchor",
    "CausalLMSampler",
    "ClassEvidence",
    "CollapseGuard",
    "CollapseGuardError",
    "CollapseGuardTrainerMixin",
    "CollapseHalt",
    "ContractError",
    "Decision",
    "Evidence",
    "Finding",
    "FixedSetEvidence",
    "GuardSession",
    "GuardedDataLoader",
    "GuardedDataset",
    "IdRule",
    "InputError",
    "Manifest",
    "ManifestError",
    "MixPlan",
    "Origin",
    "Policy",
    "PolicyError",
    "Reference",
    "ReferenceRows",
    "ScoreEvidence",
    "TagReport",
    "TailEvidence",
    "Takedowns",
    "apply_mix",
    "attach",
    "check",
    "epoch_report",
    "fit_cells",
    "forecast",
    "guard_datamodule",
    "guarded_datamodule_class",
    "load_manifest",
    "load_policy",
    "load_takedowns",
    "measure_mix",
    "minimum_detectable_drop",
    "mix_streams",
    "plan_mix",
    "prove_accumulation",
    "provenance_table",
    "strip",
    "tag",
    "take_inventory",
    "unseen_real",
    "validate",
    "write_manifest",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    # Importing the module `forecast` has set that name, to a module that can be called: both stay one thing.
    return globals().setdefault(name, value)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
