"""The callback on the command line of Lightning, in both namespaces: said in YAML, saved, and read again."""

from __future__ import annotations

import contextlib
import importlib
import sys
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from collapse_guard.errors import CollapseHalt, ContractError, InputError
from collapse_guard.integrations.hugging_face.saved import MANIFEST_FILE
from collapse_guard.integrations.lightning.callback import CollapseGuard

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from collapse_guard.manifest import Manifest

    Made = Callable[..., Manifest]
    Run = Callable[..., Any]

FUNCTIONS = """
import numpy as np

def healthy(_, n_rows):
    return np.repeat(np.arange(3), [round(share * n_rows) for share in (0.9, 0.06, 0.04)])

def dying(_, n_rows):
    return np.zeros(n_rows, dtype=np.int64)

def origins(batch):
    return np.ones(len(batch), dtype=np.int64)

def labels(batch):
    return (batch[:, 0] > 0).long()

def classes(_, batch, outputs):
    return labels(batch)
"""
LOOKS = {"version": 1, "coverage": {"samples_per_look": 200}}


@pytest.fixture(autouse=True)
def _functions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Put a module of functions on the path, for arguments that name one."""
    (tmp_path / "said_in_yaml.py").write_text(FUNCTIONS)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    sys.modules.pop("said_in_yaml", None)


@pytest.fixture
def run(namespace: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Return a caller of the command line: ``run(*guards, more=[])`` trains with guards of these arguments."""
    cli = importlib.import_module(f"{namespace.name}.cli")

    def called(*guards: dict[str, Any], more: Any = (), config: Path | None = None) -> Any:
        path = config or written(tmp_path / "run.yaml", guards, folder=tmp_path)
        monkeypatch.setattr(sys, "argv", ["train.py", "fit", "--config", str(path), *more])
        return cli.LightningCLI(
            namespace.boring.BoringModel,
            save_config_kwargs={"overwrite": True},
            seed_everything_default=False,
        )

    return called


def written(path: Path, guards: Any, *, folder: Path) -> Path:
    """Write the configuration of a tiny run."""
    callbacks = [{"class_path": "collapse_guard.CollapseGuard", "init_args": guard} for guard in guards]
    trainer = {
        "max_epochs": 1,
        "limit_train_batches": 2,
        "limit_val_batches": 0,
        "accelerator": "cpu",
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "default_root_dir": str(folder),
    }
    path.write_text(yaml.safe_dump({"trainer": trainer | ({"callbacks": callbacks} if callbacks else {})}))
    return path


def guards_of(cli: Any) -> list[CollapseGuard]:
    return [each for each in cli.trainer.callbacks if isinstance(each, CollapseGuard)]


def said(path: Path) -> list[dict[str, Any]]:
    """Return the arguments of the guards in a configuration, without those that were left out."""
    callbacks = yaml.safe_load(path.read_text())["trainer"]["callbacks"]
    assert {each["class_path"] for each in callbacks} == {"collapse_guard.CollapseGuard"}
    return [{name: value for name, value in each["init_args"].items() if value is not None} for each in callbacks]


# ------------------------------------------------------------------ how a guard is said


def test_a_policy_is_written_into_the_configuration(run: Run, real_manifest: Made) -> None:
    (guard,) = guards_of(
        run({"policy": LOOKS, "manifest": str(real_manifest().path), "sampler": "said_in_yaml:healthy"})
    )
    assert guard.policy.coverage is not None
    assert guard.policy.coverage.samples_per_look == 200
    assert guard.watch is not None
    assert [look.action for look in guard.watch.looks] == ["continue"]


def test_a_halt_ends_the_command_with_an_error(run: Run, real_manifest: Made) -> None:
    with pytest.raises(CollapseHalt):
        run({"policy": LOOKS, "manifest": str(real_manifest().path), "sampler": "said_in_yaml:dying"})


def test_a_policy_file_is_read_by_the_guard_and_not_by_the_command_line(
    run: Run, real_manifest: Made, tmp_path: Path
) -> None:
    """Only so are its own paths taken from beside it, its presets found, and its faults told with their lines."""
    real_manifest("first")
    path = tmp_path / "data" / "policy.yaml"
    path.write_text(f"extends: preset:starter@1\nversion: 1\nmanifests: {{current: first/{MANIFEST_FILE}}}\n")
    (guard,) = guards_of(run({"policy": str(path)}))
    assert guard.manifest is not None
    assert guard.manifest.header.name == "first"


def test_a_manifest_may_be_named_by_its_file(run: Run, real_manifest: Made) -> None:
    manifest = real_manifest()
    (guard,) = guards_of(run({"policy": {"version": 1}, "manifest": str(manifest.path)}))
    assert guard.manifest is not None
    assert guard.manifest.digest == manifest.digest


def test_a_policy_file_may_not_name_code_here_either(run: Run, real_manifest: Made, tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    cells = "{kind: callable, function: 'said_in_yaml:healthy', names: [a, b]}"
    path.write_text(f"version: 1\ncoverage: {{cells: {cells}}}\n")
    with pytest.raises(ValueError, match="names code"):
        run({"policy": str(path), "manifest": str(real_manifest().path)})


def test_a_guard_is_added_on_the_command_line_alone(run: Run, real_manifest: Made, tmp_path: Path) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text("version: 1\n")
    more = [
        "--trainer.callbacks+=collapse_guard.CollapseGuard",
        f"--trainer.callbacks.policy={policy}",
        f"--trainer.callbacks.manifest={real_manifest().path}",
        "--trainer.callbacks.name=added",
    ]
    (guard,) = guards_of(run(more=more))
    assert guard.state_key == "collapse_guard.added"
    assert (tmp_path / "collapse_guard.added.json").exists()


def test_two_guards_are_told_apart_by_name(run: Run, real_manifest: Made, tmp_path: Path) -> None:
    manifest = str(real_manifest().path)
    first = {"policy": {"version": 1}, "manifest": manifest}
    second = {"policy": LOOKS, "manifest": manifest, "sampler": "said_in_yaml:healthy", "name": "second"}
    assert [guard.state_key for guard in guards_of(run(first, second))] == [
        "collapse_guard.default",
        "collapse_guard.second",
    ]
    assert (tmp_path / "collapse_guard.default.json").exists()
    assert (tmp_path / "collapse_guard.second.json").exists()


@pytest.mark.slow
def test_predictions_labels_and_provenance_come_from_named_functions(run: Run) -> None:
    (guard,) = guards_of(
        run(
            {
                "policy": {
                    "version": 1,
                    "coverage": {"looks": "fixed_set", "baseline": "peak", "tail_mass": 0.5},
                    "batches": {"every_batches": 1},
                },
                "outputs_from": "said_in_yaml:classes",
                "labels_from": "said_in_yaml:labels",
                "provenance_from": "said_in_yaml:origins",
            },
            more=["--trainer.limit_val_batches=40"],
        )
    )
    assert guard.predictions is not None
    assert guard.predictions.reference.counts.n_rows == 40
    assert guard.session.run.batches.counts.by_origin()["real"] == 2


@pytest.mark.slow
@pytest.mark.parametrize("namespace", ["lightning.pytorch"], indirect=True)
@pytest.mark.parametrize("where", [1, "logits"])
def test_keys_and_indices_keep_their_type(run: Run, real_manifest: Made, tmp_path: Path, where: Any) -> None:
    options = {"policy": LOOKS, "manifest": str(real_manifest().path), "outputs_from": where, "labels_from": where}
    with pytest.raises(ContractError, match="this trainer has none"):  # no validation; the configuration is saved
        run(options)
    (saved,) = said(tmp_path / "config.yaml")
    assert (saved["outputs_from"], saved["labels_from"]) == (where, where)


# ------------------------------------------------------------------ saved and read again


def test_the_configuration_is_saved_as_it_was_said_and_read_again(
    run: Run, real_manifest: Made, tmp_path: Path
) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text("version: 1\n")
    manifest = str(real_manifest().path)
    guards: list[dict[str, Any]] = [
        {"policy": str(policy), "manifest": manifest, "mode": "warn", "report": str(tmp_path / "first.json")},
        {"policy": LOOKS, "manifest": manifest, "sampler": "said_in_yaml:healthy", "name": "second"},
    ]
    run(*guards)
    defaults: dict[str, Any] = {"mode": "raise", "contract": True, "name": "default", "allow_resume_after_halt": False}
    saved = said(tmp_path / "config.yaml")
    assert saved == [defaults | guard for guard in guards]
    kept = tmp_path / "again.yaml"
    kept.write_text((tmp_path / "config.yaml").read_text())
    again = guards_of(run(config=kept))
    assert [guard.state_key for guard in again] == ["collapse_guard.default", "collapse_guard.second"]
    assert said(tmp_path / "config.yaml") == saved


# ------------------------------------------------------------------ what is refused


def test_an_argument_that_is_none_is_refused_before_anything_is_built(
    run: Run, real_manifest: Made, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        run({"polcy": {"version": 1}, "manifest": str(real_manifest().path)})
    assert ended.value.code == 2
    assert "'polcy" in capsys.readouterr().err


@pytest.mark.parametrize("namespace", ["lightning.pytorch"], indirect=True)
@pytest.mark.parametrize(
    ("changed", "key"),
    [({"mode": "pause"}, "mode"), ({"contract": "perhaps"}, "contract"), ({"name": [1]}, "name")],
)
def test_a_value_of_another_type_is_refused_with_the_name_of_its_argument(
    run: Run, capsys: pytest.CaptureFixture[str], changed: dict[str, Any], key: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        run({"policy": {"version": 1}} | changed)
    assert ended.value.code == 2
    assert f'"{key}"' in capsys.readouterr().err


def test_a_key_that_the_policy_does_not_know_is_told_with_the_nearest_one(run: Run) -> None:
    with pytest.raises(ValueError, match="mixx: unknown key; did you mean 'mix'"):
        run({"policy": {"version": 1, "mixx": {"real_min_share": 0.5}}})


@pytest.mark.parametrize("namespace", ["lightning.pytorch"], indirect=True)
@pytest.mark.parametrize("name", ["said_in_yaml:helthy", "nowhere:healthy", "said_in_yaml"])
def test_a_function_that_is_not_there_is_told_by_its_name(run: Run, real_manifest: Made, name: str) -> None:
    with pytest.raises(ValueError, match=name):
        run({"policy": LOOKS, "manifest": str(real_manifest().path), "sampler": name})


def test_a_guard_of_nothing_is_refused(run: Run) -> None:
    with pytest.raises((ContractError, InputError), match="nothing is guarded"):
        run({"policy": {"version": 1}})


def test_the_help_of_the_command_line_explains_the_arguments(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    with contextlib.suppress(SystemExit):
        run(more=["--trainer.callbacks.help=collapse_guard.CollapseGuard"])
    text = " ".join(capsys.readouterr().out.split())
    assert "a Policy, a mapping, or the path of a YAML file" in text
    assert "--trainer.callbacks.sampler" in text or "--sampler" in text
