"""The guard that an environment variable puts into every trainer, through an entry point of the package."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import tomllib
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from collapse_guard.errors import AccumulationError, ContractError, InputError
from collapse_guard.integrations.auto import lightning_callbacks
from collapse_guard.integrations.lightning.auto_guard import AutoGuard
from collapse_guard.integrations.lightning.callback import CollapseGuard

if TYPE_CHECKING:
    from collections.abc import Callable

    from collapse_guard.manifest import Manifest

    Made = Callable[..., Manifest]

GROUPS = ("lightning.pytorch.callbacks_factory", "pytorch_lightning.callbacks_factory")
FACTORY = "collapse_guard.integrations.auto:lightning_callbacks"
ROOT = Path(__file__).parents[2]


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put an installed package of this name in front of the real one; it has nothing but the entry points."""
    folder = tmp_path / "site" / "collapse_guard-0.dist-info"
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: collapse-guard\nVersion: 0\n")
    lines = [f"[{group}]\ncollapse_guard = {FACTORY}\n" for group in GROUPS]
    (folder / "entry_points.txt").write_text("\n".join(lines))
    monkeypatch.syspath_prepend(str(folder.parent))
    return folder.parent


@pytest.fixture
def policy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Name a policy file in the environment."""
    path = tmp_path / "policy.yaml"
    path.write_text("version: 1\n")
    monkeypatch.setenv("COLLAPSE_GUARD_POLICY", str(path))
    monkeypatch.delenv("COLLAPSE_GUARD_MANIFEST", raising=False)
    return path


@pytest.fixture
def manifest(real_manifest: Made, policy: Path, monkeypatch: pytest.MonkeyPatch) -> Manifest:
    """Name a manifest in the environment too."""
    made = real_manifest("own")
    monkeypatch.setenv("COLLAPSE_GUARD_MANIFEST", str(made.path))
    return made


def trainer_of(namespace: Any, folder: Path, callbacks: Any = None) -> Any:
    return namespace.lightning.Trainer(
        callbacks=callbacks,
        max_epochs=1,
        limit_train_batches=2,
        limit_val_batches=0,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
    )


def guards_of(trainer: Any) -> list[str]:
    return [each.session.name for each in trainer.callbacks if isinstance(each, CollapseGuard)]


def healthy(_: Any, n_rows: int) -> np.ndarray:
    return np.repeat(np.arange(3), [round(share * n_rows) for share in (0.9, 0.06, 0.04)])


# ------------------------------------------------------------------ the entry points


def test_the_package_declares_what_these_tests_install() -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"].get("entry-points", {})
    assert {group: declared.get(group) for group in GROUPS} == {group: {"collapse_guard": FACTORY} for group in GROUPS}
    assert not [group for group in declared if "fabric" in group]


@pytest.mark.parametrize("value", [None, ""])
def test_without_the_variable_no_trainer_gets_a_guard(
    installed: Path, namespace: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str | None
) -> None:
    monkeypatch.delenv("COLLAPSE_GUARD_POLICY", raising=False)
    monkeypatch.setenv("COLLAPSE_GUARD_MANIFEST", "missing.json")  # says nothing alone
    if value is not None:
        monkeypatch.setenv("COLLAPSE_GUARD_POLICY", value)
    trainer = trainer_of(namespace, tmp_path)
    trainer.fit(namespace.boring.BoringModel())
    assert guards_of(trainer) == []


def test_with_the_variable_every_trainer_gets_one(
    installed: Path, manifest: Manifest, namespace: Any, tmp_path: Path
) -> None:
    trainer = trainer_of(namespace, tmp_path)
    assert guards_of(trainer) == ["auto"]
    trainer.fit(namespace.boring.BoringModel())
    report = json.loads((tmp_path / "collapse_guard.auto.json").read_text())
    assert report["contract"] == "checked"
    assert report["manifest"]["digest"] == manifest.digest
    assert (report["looks"], report["halted"]) == ([], False)


def test_the_entry_point_of_each_namespace_is_found_by_the_standard_library(installed: Path) -> None:
    for group in GROUPS:
        assert [each.load() for each in entry_points(group=group)] == [lightning_callbacks]


def test_the_module_of_the_entry_point_brings_nothing_heavy() -> None:
    code = (
        "import collapse_guard.integrations.auto as a, sys; assert a.lightning_callbacks() == []; print(*sys.modules)"
    )
    environment = {name: value for name, value in os.environ.items() if name != "COLLAPSE_GUARD_POLICY"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120, env=environment
    )
    heavy = {"torch", "lightning", "pytorch_lightning", "datasets", "numpy", "pydantic", "pyarrow"}
    assert not {name.split(".")[0] for name in done.stdout.split()} & heavy


# ------------------------------------------------------------------ what it checks


def test_data_that_breaks_the_policy_is_refused_in_a_script_that_knows_no_guard(
    installed: Path, manifest: Manifest, namespace: Any, tmp_path: Path, policy: Path
) -> None:
    policy.write_text("version: 1\nsources: {web: {max_share: 0.5}, own: {}}\n")
    with pytest.raises(ContractError, match="CG102 source 'web'"):
        trainer_of(namespace, tmp_path).fit(namespace.boring.BoringModel())


def test_the_manifests_that_the_policy_names_are_checked_without_the_second_variable(
    installed: Path, namespace: Any, tmp_path: Path, policy: Path, real_manifest: Made, labelled_rows: Any
) -> None:
    first = real_manifest("first")
    second = real_manifest("second", {"0": 50, "1": 6, "2": 4})
    policy.write_text(f"version: 1\nmanifests: {{current: {second.path}, previous: {first.path}}}\n")
    with pytest.raises(AccumulationError, match="CG20"):
        trainer_of(namespace, tmp_path).fit(namespace.boring.BoringModel())


def test_a_policy_that_leaves_nothing_to_check_is_refused_with_the_variables_that_help(
    installed: Path, namespace: Any, tmp_path: Path, policy: Path
) -> None:
    with pytest.raises(InputError, match="has nothing to check; set COLLAPSE_GUARD_MANIFEST"):
        trainer_of(namespace, tmp_path).fit(namespace.boring.BoringModel())
    trainer_of(namespace, tmp_path).validate(namespace.boring.BoringModel(), verbose=False)  # trains nothing


def test_batches_alone_are_checked_where_the_policy_asks_for_it(
    installed: Path, namespace: Any, tmp_path: Path, policy: Path
) -> None:
    policy.write_text("version: 1\nbatches: {missing: error}\n")
    with pytest.raises(ContractError, match="batches do not say where their rows come from"):
        trainer_of(namespace, tmp_path).fit(namespace.boring.BoringModel())


def test_a_guard_survives_the_way_to_spawned_processes(manifest: Manifest) -> None:
    (made,) = lightning_callbacks()
    again = pickle.loads(pickle.dumps(made))
    assert (type(again), again.state_key) == (AutoGuard, "collapse_guard.auto")


# ------------------------------------------------------------------ beside a guard of the script


@pytest.mark.parametrize("at_end", [False, True])
def test_it_stands_down_for_a_guard_of_the_script(
    installed: Path,
    manifest: Manifest,
    namespace: Any,
    tmp_path: Path,
    watched_policy: dict[str, Any],
    caplog: pytest.LogCaptureFixture,
    at_end: bool,
) -> None:
    seen: list[str] = []

    class Witness(namespace.lightning.Callback):  # type: ignore[misc]
        def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
            seen.append(stage)

    own = CollapseGuard(watched_policy, manifest=manifest, sampler=healthy, report=tmp_path / "own.json")
    trainer = trainer_of(namespace, tmp_path, [own, Witness()])
    trainer.callbacks.sort(key=lambda each: isinstance(each, AutoGuard), reverse=not at_end)
    assert sorted(guards_of(trainer)) == ["auto", "default"]
    with caplog.at_level("INFO"):
        trainer.fit(namespace.boring.BoringModel())
    assert guards_of(trainer) == ["default"]
    assert seen == ["fit"]  # leaving the list while the trainer goes through it loses nobody's turn
    assert "stands down for the script's own ('default')" in caplog.text
    assert not (tmp_path / "collapse_guard.auto.json").exists()
    assert len(json.loads((tmp_path / "own.json").read_text())["looks"]) == 1
    trainer.fit_loop.max_epochs = 2
    trainer.fit(namespace.boring.BoringModel())
    assert guards_of(trainer) == ["default"]


def test_it_stands_down_for_a_guard_of_the_model(
    installed: Path, manifest: Manifest, namespace: Any, tmp_path: Path
) -> None:
    class Guarded(namespace.boring.BoringModel):  # type: ignore[misc]
        def configure_callbacks(self) -> Any:
            return CollapseGuard({"version": 1}, manifest=manifest, name="model", report=tmp_path / "model.json")

    trainer = trainer_of(namespace, tmp_path)
    trainer.fit(Guarded())
    assert guards_of(trainer) == ["model"]


# ------------------------------------------------------------------ what cannot be used


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "policy.yaml"),
        ("mixx: 1\n", "did you mean 'mix'"),
        ("version: [\n", "policy.yaml"),
    ],
)
def test_a_policy_that_cannot_be_used_is_an_error_that_names_the_variable(
    installed: Path, namespace: Any, tmp_path: Path, policy: Path, text: str | None, said: str
) -> None:
    if text is None:
        policy.unlink()
    else:
        policy.write_text(text)
    with pytest.raises(InputError) as caught:
        trainer_of(namespace, tmp_path)
    assert str(caught.value).startswith(f"the guard of COLLAPSE_GUARD_POLICY={policy} cannot be used: ")
    assert str(caught.value).endswith("; mend it, or unset COLLAPSE_GUARD_POLICY")
    assert said in str(caught.value)


def test_a_manifest_that_cannot_be_used_is_an_error_that_names_its_variable(
    installed: Path, namespace: Any, tmp_path: Path, policy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLLAPSE_GUARD_MANIFEST", str(tmp_path / "missing.json"))
    with pytest.raises(InputError, match=r"COLLAPSE_GUARD_MANIFEST=\S*missing\.json cannot be used"):
        trainer_of(namespace, tmp_path)
