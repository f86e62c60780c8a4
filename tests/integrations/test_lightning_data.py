"""Data modules under the guard, one's own and those of a saved folder, in both namespaces of Lightning."""

from __future__ import annotations

import importlib
import json
import pickle
import subprocess
import sys
import textwrap
from itertools import chain
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import torch
from datasets import Dataset
from torch.utils.data import BatchSampler, DataLoader, RandomSampler, SequentialSampler, Subset

from collapse_guard.errors import ContractError, InputError, ManifestError, ProvenanceError
from collapse_guard.integrations.hugging_face.holder import GuardedDataset
from collapse_guard.integrations.hugging_face.saved import MANIFEST_FILE
from collapse_guard.integrations.lightning import data as lightning_data
from collapse_guard.integrations.lightning.data import guard_datamodule, guarded_datamodule_class
from collapse_guard.integrations.loading.data_loader import GuardedDataLoader
from collapse_guard.integrations.loading.loader_nesting import arguments_of
from collapse_guard.manifest import load_manifest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from collapse_guard.manifest import Manifest

    Made = Callable[..., Manifest]

PLAIN: dict[str, Any] = {"version": 1}
N_ROWS = 20

pytestmark = pytest.mark.filterwarnings("ignore:You defined a `validation_step` but have no `val_dataloader`")


def tagged_rows(n_rows: int = N_ROWS) -> Any:
    return [
        {"x": torch.full((32,), float(row)), "y": row, "cg_origin": 1 + row % 2, "cg_generation": row % 2}
        for row in range(n_rows)
    ]


def module_of(space: Any, loaders: Any = None) -> Any:
    """Return a data module of one's own, with a state of its own."""

    class Own(space.lightning.LightningDataModule):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.stages: list[str] = []
            self.loaded: Any = None

        def setup(self, stage: str) -> None:
            self.stages.append(stage)

        def train_dataloader(self) -> Any:
            return DataLoader(tagged_rows(), 4) if loaders is None else loaders()

        def val_dataloader(self) -> Any:
            return DataLoader(tagged_rows(4), 4)

        def state_dict(self) -> dict[str, Any]:
            return {"seed": 7}

        def load_state_dict(self, state_dict: dict[str, Any]) -> None:
            self.loaded = state_dict

    return Own()


def model_of(space: Any, seen: list[Any], folder: Path | None = None) -> Any:
    """Return a model that keeps the row numbers it gets, and saves a checkpoint after each step if given a folder."""

    class Seen(space.boring.BoringModel):  # type: ignore[misc]
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            seen.append(batch)
            return super().training_step(batch["x"], batch_idx)

        def on_train_batch_end(self, *_: Any) -> None:
            if folder is not None:
                self.trainer.save_checkpoint(folder / f"{self.trainer.global_step}.ckpt")

    return Seen()


def train(space: Any, model: Any, dm: Any, *, ckpt_path: Any = None, **options: Any) -> Any:
    defaults: dict[str, Any] = {
        "max_epochs": 1,
        "limit_val_batches": 0,
        "accelerator": "cpu",
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    trainer = space.lightning.Trainer(**(defaults | options))
    trainer.fit(model, datamodule=dm, ckpt_path=ckpt_path)
    return trainer


def numbers(batches: list[Any]) -> list[list[int]]:
    return [batch["y"].tolist() for batch in batches]


# ------------------------------------------------------------------ one's own data module


def test_the_same_module_comes_back_and_its_batches_are_clean_and_counted(namespace: Any, real_manifest: Made) -> None:
    dm, seen = module_of(namespace), []  # type: ignore[var-annotated]
    assert guard_datamodule(dm, PLAIN, manifest=real_manifest()) is dm
    trainer = train(namespace, model_of(namespace, seen), dm)
    assert dm.stages == ["fit"]
    assert [sorted(batch) for batch in seen] == [["x", "y"]] * 5
    counts = trainer.train_dataloader.tally.taken()
    assert counts.origins == (0, 10, 10, 0, 0, 0)
    assert counts.n_batches == 5
    assert type(dm.val_dataloader()) is DataLoader


def test_loaders_become_guarded_in_any_nesting(namespace: Any, real_manifest: Made) -> None:
    own = GuardedDataLoader(tagged_rows(), 2)
    combined, manifest = namespace.lightning.utilities.CombinedLoader, real_manifest()

    def nests() -> list[Any]:
        one, two = DataLoader(tagged_rows(), 4), DataLoader(tagged_rows(), 2)
        return [[one, two], (one, two), {"a": one, "b": [two]}, {"a": one, "b": own}, combined([one, two], "min_size")]

    for place, nest in enumerate(nests()):
        dm = guard_datamodule(module_of(namespace, lambda place=place: nests()[place]), PLAIN, manifest=manifest)
        found = dm.train_dataloader()
        assert type(found) is type(nest)
        flat = combined(found).flattened if not isinstance(found, combined) else found.flattened
        assert [type(loader) for loader in flat] == [GuardedDataLoader] * 2
        assert [loader.batch_size for loader in flat] == [4, 2]
    assert guard_datamodule(module_of(namespace, lambda: own), PLAIN, manifest=manifest).train_dataloader() is own
    assert guard_datamodule(module_of(namespace, lambda: "ab"), PLAIN, manifest=manifest).train_dataloader() == "ab"


def test_two_loaders_train_together(namespace: Any, real_manifest: Made) -> None:
    def loaders() -> Any:
        return {"a": DataLoader(tagged_rows(), 4), "b": DataLoader(tagged_rows(8), 4)}

    dm, seen = guard_datamodule(module_of(namespace, loaders), PLAIN, manifest=real_manifest()), []

    class Both(namespace.boring.BoringModel):  # type: ignore[misc]
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            seen.append(batch)
            return super().training_step(batch["a"]["x"], batch_idx)

    trainer = train(namespace, Both(), dm)
    assert [sorted(batch["b"]) for batch in seen] == [["x", "y"]] * 5
    assert {name: loader.tally.taken().n_rows for name, loader in trainer.train_dataloader.items()} == {
        "a": 20,
        "b": 20,
    }


@pytest.mark.parametrize(
    "made",
    [
        lambda rows: DataLoader(rows, 3, shuffle=True, drop_last=True),
        lambda rows: DataLoader(rows, sampler=[1, 5, 2]),
        lambda rows: DataLoader(rows, batch_sampler=BatchSampler(RandomSampler(rows), 3, drop_last=False)),
        lambda rows: DataLoader(rows, batch_sampler=[[1, 2], [3]]),
        lambda rows: DataLoader(rows, batch_size=None, sampler=SequentialSampler(rows)),
        lambda rows: DataLoader(rows, 4, shuffle=True, generator=torch.Generator().manual_seed(1)),
        lambda rows: DataLoader(rows, 4, num_workers=1, persistent_workers=True, prefetch_factor=1),
    ],
)
def test_a_loader_is_made_again_with_the_same_arguments(made: Any) -> None:
    torch.manual_seed(2)
    wanted = [torch.as_tensor(batch["y"]).tolist() for batch in made(tagged_rows())]
    again = GuardedDataLoader(**arguments_of(made(tagged_rows())))
    torch.manual_seed(2)
    assert [torch.as_tensor(batch["y"]).tolist() for batch in again] == wanted


def test_a_stream_is_made_again() -> None:
    class Stream(torch.utils.data.IterableDataset[Any]):
        def __iter__(self) -> Any:
            return iter(tagged_rows(5))

    again = GuardedDataLoader(**arguments_of(DataLoader(Stream(), 2, drop_last=True)))
    assert [batch["y"].tolist() for batch in again] == [[0, 1], [2, 3]]


class OwnWay(DataLoader[Any]):
    def __iter__(self) -> Any:
        return iter(())


class OwnArguments(DataLoader[Any]):
    def __init__(self, rows: Any) -> None:
        super().__init__(rows, 4, collate_fn=lambda found: {"n": len(found)})


def test_a_loader_that_reads_in_its_own_way_is_refused(namespace: Any, real_manifest: Made) -> None:
    dm = guard_datamodule(module_of(namespace, lambda: OwnWay(tagged_rows())), PLAIN, manifest=real_manifest())
    with pytest.raises(ContractError, match=r"OwnWay reads in its own way \(__iter__\)"):
        dm.train_dataloader()
    again = GuardedDataLoader(**arguments_of(OwnArguments(tagged_rows())))
    assert list(again) == [{"n": 4}] * 5


def test_a_batch_sampler_that_no_rank_can_share_is_refused_for_several_ranks(
    namespace: Any, real_manifest: Made
) -> None:
    manifest = real_manifest()

    def loaders() -> Any:
        return DataLoader(tagged_rows(), batch_sampler=[[1, 2], [3]])

    dm = guard_datamodule(module_of(namespace, loaders), PLAIN, manifest=manifest)
    assert len(dm.train_dataloader()) == 2
    dm.trainer = SimpleNamespace(world_size=2)
    with pytest.raises(ContractError, match=r"batch sampler list .*derive it from torch.utils.data.BatchSampler"):
        dm.train_dataloader()


@pytest.mark.parametrize("dm", [object(), DataLoader([1]), int])  # type: ignore[arg-type]
def test_what_is_no_data_module_is_refused(dm: Any, real_manifest: Made) -> None:
    with pytest.raises(InputError, match=r"a LightningDataModule is needed, got .*; a loader becomes a Guarded"):
        guard_datamodule(dm, PLAIN, manifest=real_manifest())


def test_a_module_is_guarded_once(namespace: Any, real_manifest: Made) -> None:
    dm = guard_datamodule(module_of(namespace), PLAIN, manifest=real_manifest())
    with pytest.raises(InputError, match="guarded already"):
        guard_datamodule(dm, PLAIN, manifest=real_manifest("again"))


def test_a_broken_contract_stops_the_run_before_anything_is_loaded(namespace: Any, real_manifest: Made) -> None:
    before, now = real_manifest("before", {"0": 9}), real_manifest("now", {"0": 5})
    dm = guard_datamodule(module_of(namespace), PLAIN, manifest=now, parent=before)
    dm.setup("validate")
    assert dm.stages == ["validate"]
    with pytest.raises(ContractError, match="breaks the policy"):
        train(namespace, model_of(namespace, []), dm)
    assert dm.stages == ["validate"]


def test_the_parent_of_the_policy_file_is_asked(namespace: Any, real_manifest: Made, tmp_path: Path) -> None:
    before, now = real_manifest("before", {"0": 9}), real_manifest("now", {"0": 5})
    assert before.path is not None
    name = before.path.relative_to(tmp_path)
    (tmp_path / "policy.yaml").write_text(f"version: 1\nmanifests: {{previous: {name}}}\n", encoding="utf-8")
    dm = guard_datamodule(module_of(namespace), tmp_path / "policy.yaml", manifest=now)
    with pytest.raises(ContractError, match="4 real rows lost"):
        dm.setup("fit")
    again = guard_datamodule(module_of(namespace), PLAIN, manifest=now, parent=before.path)
    with pytest.raises(ContractError, match="4 real rows lost"):
        again.setup("fit")


def test_rows_without_provenance_are_the_policys_to_judge(namespace: Any, real_manifest: Made) -> None:
    def loaders() -> Any:
        return DataLoader([(row, 1) for row in range(4)], 2)  # type: ignore[arg-type]

    manifest = real_manifest()
    lenient = guard_datamodule(module_of(namespace, loaders), PLAIN, manifest=manifest).train_dataloader()
    assert len(list(lenient)) == 2
    assert lenient.tally.taken().n_batches == 0
    strict = guard_datamodule(
        module_of(namespace, loaders), PLAIN | {"batches": {"missing": "error"}}, manifest=manifest
    )
    with pytest.raises(ProvenanceError, match="rows carry no provenance"):
        list(strict.train_dataloader())
    told = guard_datamodule(
        module_of(namespace, loaders), PLAIN, manifest=manifest, provenance_from=lambda row: row[1]
    ).train_dataloader()
    list(told)
    assert told.tally.taken().origins == (0, 4, 0, 0, 0, 0)


@pytest.mark.filterwarnings("ignore:'pin_memory' argument is set")
def test_a_module_of_loose_functions_is_guarded_too(namespace: Any, real_manifest: Made) -> None:
    dm = namespace.lightning.LightningDataModule.from_datasets(
        train_dataset=Subset(tagged_rows(), range(N_ROWS)), batch_size=4
    )
    guard_datamodule(dm, PLAIN, manifest=real_manifest())
    seen: list[Any] = []
    trainer = train(namespace, model_of(namespace, seen), dm)
    assert sorted(chain(*numbers(seen))) == list(range(N_ROWS))
    assert numbers(seen) != [list(range(row, row + 4)) for row in range(0, N_ROWS, 4)]
    assert trainer.train_dataloader.tally.taken().n_rows == N_ROWS


def test_the_state_of_the_module_stays_its_own_and_other_data_is_refused(
    namespace: Any, real_manifest: Made, tmp_path: Path
) -> None:
    first, second = real_manifest("first"), real_manifest("second", {"0": 50})
    train(namespace, model_of(namespace, [], tmp_path), guard_datamodule(module_of(namespace), PLAIN, manifest=first))
    checkpoint = torch.load(tmp_path / "3.ckpt", weights_only=True)
    (key,) = [name for name in checkpoint if name.endswith("Own")]
    assert checkpoint[key] == {"seed": 7, "collapse_guard": {"schema": 1, "manifest_digest": first.digest}}

    same, seen = guard_datamodule(module_of(namespace), PLAIN, manifest=first.path), []  # type: ignore[var-annotated, arg-type]
    train(namespace, model_of(namespace, seen), same, ckpt_path=tmp_path / "3.ckpt")
    assert same.loaded == {"seed": 7}
    assert numbers(seen) == [[12, 13, 14, 15], [16, 17, 18, 19]]

    other = guard_datamodule(module_of(namespace), PLAIN, manifest=second)
    with pytest.raises(ContractError, match="resume on the same data, or start a new generation") as caught:
        train(namespace, model_of(namespace, []), other, ckpt_path=tmp_path / "3.ckpt")
    assert first.digest in str(caught.value)
    assert second.digest in str(caught.value)
    assert other.loaded is None


def test_a_state_from_before_the_guard_is_loaded_with_a_warning(
    namespace: Any, real_manifest: Made, caplog: pytest.LogCaptureFixture
) -> None:
    dm = guard_datamodule(module_of(namespace), PLAIN, manifest=real_manifest())
    dm.load_state_dict({"seed": 3})
    assert dm.loaded == {"seed": 3}
    assert "does not say what data it was trained on" in caplog.text


def test_an_epoch_that_the_trainer_cuts_short_is_over_when_it_says_so(
    namespace: Any, real_manifest: Made, tmp_path: Path
) -> None:
    def dm() -> Any:
        return guard_datamodule(module_of(namespace), PLAIN, manifest=manifest)

    manifest, whole, rest = real_manifest(), [], []  # type: ignore[var-annotated]
    options: dict[str, Any] = {"max_epochs": 3, "limit_train_batches": 2}
    train(namespace, model_of(namespace, whole, tmp_path), dm(), **options)
    assert numbers(whole) == [[0, 1, 2, 3], [4, 5, 6, 7]] * 3
    for step in (2, 3):
        rest.clear()
        train(namespace, model_of(namespace, rest), dm(), ckpt_path=tmp_path / f"{step}.ckpt", **options)
        assert numbers(rest) == numbers(whole)[step:]


def test_a_guarded_module_is_pickled_with_its_guard(real_manifest: Made) -> None:
    dm = guard_datamodule(guarded(real_manifest, "pytorch_lightning"), PLAIN, manifest=real_manifest("own"))
    again = pickle.loads(pickle.dumps(dm))
    again.setup("fit")
    assert type(again.train_dataloader()) is GuardedDataLoader
    assert again.state_dict() == dm.state_dict()
    assert again.setup.__self__.dm is again


# ------------------------------------------------------------------ a saved folder


def guarded(real_manifest: Made, space: str, **more: Any) -> Any:
    path = real_manifest("saved").path
    assert path is not None
    return guarded_datamodule_class(space)(str(path.parent), PLAIN, **more)  # type: ignore[arg-type]


def saved(folder: Path, *, n_rows: int = N_ROWS, n_made: int = 10) -> Path:
    """Write a folder of real and synthetic rows, with a vector and a number each."""

    def rows(first: int, n_rows: int) -> Dataset:
        numbers = range(first, first + n_rows)
        return Dataset.from_dict({"x": [[float(row)] * 32 for row in numbers], "y": list(numbers)})

    held = GuardedDataset(PLAIN).add_real(rows(0, n_rows), source="web")
    held.add_synthetic(rows(100, n_made), source="bot", generator="bot@1", generation=1)
    return held.save(folder / "gen1")


def test_a_saved_folder_trains(namespace: Any, tmp_path: Path) -> None:
    dm = guarded_datamodule_class(namespace.name)(str(saved(tmp_path)), PLAIN, batch_size=5)
    assert isinstance(dm, namespace.lightning.LightningDataModule)
    assert not isinstance(dm, namespace.other.lightning.LightningDataModule)
    seen: list[Any] = []
    trainer = train(namespace, model_of(namespace, seen, tmp_path), dm)
    assert sorted(chain(*numbers(seen))) == [*range(N_ROWS), *range(100, 110)]
    assert numbers(seen) != sorted(numbers(seen))
    assert {tuple(sorted(batch)) for batch in seen} == {("x", "y")}
    assert trainer.train_dataloader.tally.taken().origins == (0, 20, 10, 0, 0, 0)
    state = torch.load(tmp_path / "2.ckpt", weights_only=True)["GuardedDataModule"]
    assert state["collapse_guard"]["manifest_digest"] == load_manifest(tmp_path / "gen1" / MANIFEST_FILE).digest


def test_a_run_on_a_saved_folder_goes_on_at_the_right_row(namespace: Any, tmp_path: Path) -> None:
    folder, made = str(saved(tmp_path)), guarded_datamodule_class(namespace.name)
    whole: list[Any] = []
    rest: list[Any] = []
    train(namespace, model_of(namespace, whole, tmp_path), made(folder, PLAIN, batch_size=5))
    torch.manual_seed(99)
    trainer = train(
        namespace,
        model_of(namespace, rest),
        made(folder, PLAIN, batch_size=5),
        ckpt_path=tmp_path / "2.ckpt",
    )
    assert numbers(rest) == numbers(whole)[2:]
    assert trainer.train_dataloader.tally.taken().n_batches == 4


def test_other_rows_in_the_folder_are_refused_on_resume(namespace: Any, tmp_path: Path) -> None:
    made = guarded_datamodule_class(namespace.name)
    (tmp_path / "other").mkdir()
    train(namespace, model_of(namespace, [], tmp_path), made(str(saved(tmp_path)), PLAIN))
    other = made(str(saved(tmp_path / "other", n_rows=25)), PLAIN)
    with pytest.raises(ContractError, match="resume on the same data"):
        train(namespace, model_of(namespace, []), other, ckpt_path=tmp_path / "1.ckpt")


def test_columns_are_chosen_and_a_wrong_one_is_named(tmp_path: Path) -> None:
    folder, made = str(saved(tmp_path)), guarded_datamodule_class("lightning.pytorch")
    dm = made(folder, PLAIN, columns=["y"], batch_size=30)
    dm.setup("fit")
    (batch,) = dm.train_dataloader()
    assert sorted(batch) == ["y"]
    for wrong in (["yy"], ["cg_origin"]):
        with pytest.raises(InputError, match=f"has no column '{wrong[0]}'"):
            made(folder, PLAIN, columns=wrong).setup("fit")


def test_a_damaged_folder_is_refused(tmp_path: Path) -> None:
    folder = saved(tmp_path)
    dm = guarded_datamodule_class("lightning.pytorch")(str(folder), PLAIN)
    dm.prepare_data()
    header = json.loads((folder / MANIFEST_FILE).read_text(encoding="utf-8"))
    header["root_digest"] = "sha256:" + "0" * 64
    (folder / MANIFEST_FILE).write_text(json.dumps(header), encoding="utf-8")
    with pytest.raises(ManifestError, match=r"root does not match its digest.*restore the folder"):
        dm.prepare_data()


def test_a_policy_that_would_pick_other_rows_is_refused(tmp_path: Path) -> None:
    folder, policy = str(saved(tmp_path, n_made=40)), {"version": 1, "mix": {"seed": 5}}
    made = guarded_datamodule_class("lightning.pytorch")
    made(folder, PLAIN).setup("fit")
    with pytest.raises(ContractError, match="picks other rows than the manifest names; save a new folder"):
        made(folder, policy).setup("fit")


def test_nothing_is_loaded_for_other_stages(tmp_path: Path) -> None:
    dm = guarded_datamodule_class("lightning.pytorch")(str(tmp_path / "nowhere"), PLAIN)
    dm.setup("test")
    assert dm.rows is None


def test_the_class_has_one_name_in_both_namespaces_and_its_modules_are_pickled(tmp_path: Path) -> None:
    classes = [guarded_datamodule_class(name) for name in ("lightning.pytorch", "pytorch_lightning")]
    assert {made.__qualname__ for made in classes} == {"GuardedDataModule"}
    folder = str(saved(tmp_path))
    for made in classes:
        assert made is guarded_datamodule_class(made.namespace)
        again = pickle.loads(pickle.dumps(made(folder, PLAIN, batch_size=3)))
        assert type(again) is made
        again.setup("fit")
        assert len(next(iter(again.train_dataloader()))["y"]) == 3


def test_auto_is_the_namespace_that_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="pytorch_lightning, got 'torch'"):
        guarded_datamodule_class("torch")  # type: ignore[arg-type]
    guarded_datamodule_class("lightning.pytorch")
    guarded_datamodule_class("pytorch_lightning")
    with pytest.raises(InputError, match="both installed; say which one"):
        guarded_datamodule_class()
    monkeypatch.setattr(lightning_data, "find_spec", lambda name: name == "pytorch_lightning" or None)
    assert guarded_datamodule_class() is guarded_datamodule_class("pytorch_lightning")


def test_a_command_line_of_its_namespace_builds_it(
    namespace: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "policy.yaml").write_text("version: 1\n", encoding="utf-8")
    monkeypatch.setattr(sys, "argv", ["train"])
    cli = importlib.import_module(f"{namespace.name}.cli").LightningCLI
    dm = guarded_datamodule_class(namespace.name)
    quiet = ["--trainer.logger=false", "--trainer.enable_checkpointing=false", "--trainer.enable_progress_bar=false"]
    more = ["--trainer.max_epochs=1", "--trainer.limit_val_batches=0", "--trainer.accelerator=cpu"]
    data = [f"--data.folder={saved(tmp_path)}", f"--data.policy={tmp_path / 'policy.yaml'}", "--data.batch_size=6"]
    seen: list[Any] = []
    model = type(model_of(namespace, seen))
    options: dict[str, Any] = {"save_config_callback": None, "seed_everything_default": False}
    run = cli(model, dm, args=["fit", *quiet, *more, *data, "--data.columns=[x, y]"], **options)
    assert type(run.datamodule) is dm
    assert [len(batch["y"]) for batch in seen] == [6] * 5


# ------------------------------------------------------------------ several ranks

RANKS = """
import json, sys, warnings
from pathlib import Path

warnings.simplefilter("ignore")
import torch
import {name} as pl
from {name}.demos.boring_classes import BoringModel
from collapse_guard.integrations.lightning.data import guard_datamodule, guarded_datamodule_class

torch.set_num_threads(1)
folder, where, n_workers = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])


class Seen(BoringModel):
    def on_fit_start(self):
        self.seen = []

    def training_step(self, batch, batch_idx):
        self.seen.append(batch["y"].tolist())
        return super().training_step(batch["x"], batch_idx)

    def on_train_batch_end(self, *_):
        if where == "whole":
            self.trainer.save_checkpoint(folder / f"{{self.trainer.global_step}}.ckpt")

    def on_fit_end(self):
        counts = self.trainer.train_dataloader.tally.taken()
        sampler = type(self.trainer.train_dataloader.sampler).__name__
        told = {{"seen": self.seen, "origins": counts.origins, "sampler": sampler}}
        (folder / f"{{where}}-{{self.trainer.global_rank}}.json").write_text(json.dumps(told))


if __name__ == "__main__":
    dm = guarded_datamodule_class("{name}")(str(folder / "gen1"), {{"version": 1}}, batch_size=4, num_workers=n_workers)
    guard_datamodule(dm, {{"version": 1}}, manifest=folder / "gen1" / "manifest.cgm.json")
    trainer = pl.Trainer(
        max_epochs=2, accelerator="cpu", devices=2, strategy="{strategy}", logger=False, limit_val_batches=0,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
    )
    trainer.fit(Seen(), datamodule=dm, ckpt_path=None if where == "whole" else folder / where)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "strategy", "n_workers", "steps"),
    [
        ("pytorch_lightning", "ddp_spawn", 0, [6]),
        ("lightning.pytorch", "ddp", 0, [4]),
    ],
)
def test_two_ranks_read_disjoint_rows_and_go_on_in_the_middle_of_the_second_epoch(
    tmp_path: Path, name: str, strategy: str, n_workers: int, steps: list[int]
) -> None:
    saved(tmp_path, n_made=12)
    script = tmp_path / "train.py"
    script.write_text(textwrap.dedent(RANKS).format(name=name, strategy=strategy), encoding="utf-8")

    def run(where: str) -> list[dict[str, Any]]:
        command = [sys.executable, str(script), str(tmp_path), where, str(n_workers)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
        return [json.loads((tmp_path / f"{where}-{rank}.json").read_text(encoding="utf-8")) for rank in (0, 1)]

    whole = run("whole")
    assert [told["sampler"] for told in whole] == ["DistributedSampler"] * 2
    epochs = [[list(chain(*told["seen"][k : k + 4])) for told in whole] for k in (0, 4)]
    for first, second in epochs:
        assert not set(first) & set(second)
        assert {*first, *second} == {*range(N_ROWS), *range(100, 112)}
    assert epochs[0] != epochs[1]
    assert epochs[0][0] != sorted(epochs[0][0])
    assert [sum(counts) for counts in zip(*(told["origins"] for told in whole), strict=True)] == [0, 40, 24, 0, 0, 0]
    for step in steps:
        rest = run(f"{step}.ckpt")
        assert [told["seen"] for told in rest] == [told["seen"][step:] for told in whole]
