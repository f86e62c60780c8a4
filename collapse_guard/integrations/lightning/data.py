"""LightningDataModule: one's own under the guard, or one that is made from a saved training set."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping  # noqa: TC003 - a command line reads the annotations
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar

from torch.utils.data import DataLoader

from collapse_guard._optional import need
from collapse_guard.errors import ContractError, InputError, ManifestError
from collapse_guard.integrations.hugging_face.holder import GuardedDataset
from collapse_guard.integrations.hugging_face.saved import MANIFEST_FILE
from collapse_guard.integrations.loading.data_loader import GuardedDataLoader
from collapse_guard.integrations.loading.loader_nesting import arguments_of, check_rebuildable, each_loader, limited
from collapse_guard.integrations.training.data_contract import KEY, DataContract
from collapse_guard.manifest import Manifest, load_manifest
from collapse_guard.plugins import nearest
from collapse_guard.policy import Policy  # noqa: TC001 - a command line reads the annotations
from collapse_guard.records import GENERATION, ORIGIN

if TYPE_CHECKING:
    from os import PathLike

    from datasets import Dataset
    from pytorch_lightning import LightningDataModule as _DataModule
else:
    _DataModule = object  # the base of the namespace is put beside it, never both

M = TypeVar("M")

_NAMESPACES: Final = ("lightning.pytorch", "pytorch_lightning")


def guard_datamodule(
    dm: M,
    policy: Policy | Mapping[str, Any] | str | PathLike[str],
    *,
    manifest: Manifest | str | PathLike[str],
    parent: Manifest | str | PathLike[str] | None = None,
    provenance_from: Callable[[Any], Any] | str | None = None,
) -> M:
    """Put a LightningDataModule of either namespace under the guard, and return it.

    ``setup("fit")`` checks the data contract before it loads anything. The loaders of ``train_dataloader``, in any
    nesting, become :class:`GuardedDataLoader` with the same arguments. Its state names the manifest, under the key
    ``collapse_guard`` beside its own entries, and a run that is resumed on other data is refused.

    Args:
        dm: the data module; its methods are wrapped on this instance, its class stays as it is.
        policy: a Policy, a mapping, or the path of a YAML file. With ``batches.missing: error`` the first batch
            without provenance raises ProvenanceError; else such batches pass uncounted, and the callback speaks up.
        manifest: manifest of the training data, or its path.
        parent: manifest of the generation before; the policy's ``manifests.previous`` if left out.
        provenance_from: function of a row to its provenance, as of GuardedDataLoader; the rows' columns if left out.

    Raises InputError for what is no LightningDataModule or is guarded already. ``train_dataloader`` raises
    ContractError for a loader that cannot be made again.

    Example: ``guard_datamodule(MyData(), "policy.yaml", manifest="gen1/manifest.cgm.json")``
    """
    if not _is_datamodule(dm):
        what = f"the class {dm.__name__}" if isinstance(dm, type) else type(dm).__name__
        raise InputError(f"a LightningDataModule is needed, got {what}; a loader becomes a GuardedDataLoader")
    if isinstance(getattr(vars(dm).get("setup"), "__self__", None), _GuardedHooks):
        raise InputError(f"this {type(dm).__name__} is guarded already; guard it once")
    hooks = _GuardedHooks(dm, policy, manifest, parent, provenance_from)
    for name in ("setup", "train_dataloader", "state_dict", "load_state_dict"):
        setattr(dm, name, getattr(hooks, name))
    return dm


class _GuardedHooks:
    """The methods that a guarded data module has instead of its own, which they call. Goes to spawned ranks with it."""

    def __init__(self, dm: Any, policy: Any, manifest: Any, parent: Any, provenance_from: Any) -> None:
        self.dm = dm
        self.contract = DataContract.of(policy, manifest, parent)
        self.provenance_from = provenance_from
        self._before = {name: value for name, value in vars(dm).items() if callable(value)}

    def _own(self, name: str) -> Any:
        before = self._before.get(name)
        return before if before is not None else getattr(type(self.dm), name).__get__(self.dm)

    def setup(self, stage: str | None = None) -> None:
        """Check the data contract, then set up."""
        if stage in {"fit", None}:
            self.contract.check()
        self._own("setup")(stage=stage)

    def train_dataloader(self) -> Any:
        """Return the module's loaders, guarded."""
        trainer = getattr(self.dm, "trainer", None)
        return each_loader(self._own("train_dataloader")(), lambda loader: self._guarded(loader, trainer))

    def _guarded(self, loader: Any, trainer: Any) -> Any:
        if not isinstance(loader, DataLoader):
            return loader
        if not isinstance(loader, GuardedDataLoader):
            if getattr(trainer, "world_size", 1) > 1:
                check_rebuildable(loader.batch_sampler)
            missing = "error" if self.contract.policy.batches.missing == "error" else "ignore"
            held = {"manifest": self.contract.manifest, "provenance_from": self.provenance_from, "missing": missing}
            loader = GuardedDataLoader(**arguments_of(loader), **held)
        return limited(loader, trainer)

    def state_dict(self) -> dict[str, Any]:
        """Return the module's own state, and the digest of the data."""
        return {**self._own("state_dict")(), KEY: self.contract.note()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Refuse other data, then load the module's own state."""
        self.contract.check_resumed(state_dict)
        self._own("load_state_dict")({name: value for name, value in state_dict.items() if name != KEY})


class _GuardedRows(_DataModule):
    """The training set of a folder that ``GuardedDataset.save`` wrote, as torch batches.

    Args:
        folder: the saved folder; its digests are verified once, its rows are loaded by every rank.
        policy: a Policy, or the path of a YAML file: the one under which the folder was saved.
        batch_size: rows per batch of a rank.
        columns: columns that a batch holds; all of the data's own if left out.
        num_workers: worker processes of the loader.
        parent: path of the manifest of the generation before.
        collate_fn: from a list of rows to a batch; torch's own if left out.

    Raises InputError for unknown columns, ManifestError if the folder does not hold together, ContractError if its data
    breaks the policy, or if the policy picks other rows than the manifest names.
    """

    namespace: str

    def __init__(
        self,
        folder: str,
        policy: Policy | str,
        *,
        batch_size: int = 32,
        columns: list[str] | None = None,
        num_workers: int = 0,
        parent: str | None = None,
        collate_fn: Callable[[list[Any]], Any] | None = None,
    ) -> None:
        super().__init__()
        self.folder = Path(folder)
        self.policy = policy
        self.batch_size = batch_size
        self.columns = columns
        self.num_workers = num_workers
        self.parent = parent
        self.collate_fn = collate_fn
        self.rows: Dataset | None = None
        self._held: DataContract | None = None

    @property
    def contract(self) -> DataContract:
        """What is promised about the folder; read when first asked for."""
        if self._held is None:
            self._held = DataContract.of(self.policy, self.folder / MANIFEST_FILE, self.parent)
        return self._held

    def prepare_data(self) -> None:
        """Verify every digest of the folder, on one rank."""
        mismatches = load_manifest(self.folder / MANIFEST_FILE).verify()
        if mismatches:
            text = f"{self.folder}: {mismatches[0].part} does not match its digest"
            raise ManifestError(f"{text}; restore the folder", path=self.folder)

    def setup(self, stage: str | None = None) -> None:
        """Check the data contract and load the rows."""
        if stage not in {"fit", None}:
            return
        self.contract.check()
        held = GuardedDataset.load(self.folder, self.contract.policy)
        if not held.manifest().trains_same_rows(self.contract.manifest):
            text = f"{self.folder}: the policy picks other rows than the manifest names"
            raise ContractError(f"{text}; save a new folder under this policy, or pass the policy it was saved under")
        self.rows = self._formatted(held.training_set())

    def _formatted(self, rows: Dataset) -> Dataset:
        content = [name for name in rows.column_names if not name.startswith("cg_")]
        for name in self.columns or ():
            if name not in content:
                raise InputError(f"{self.folder} has no column {name!r}; {nearest(name, content)}")
        return rows.with_format("torch", columns=[*(self.columns or content), ORIGIN, GENERATION])

    def train_dataloader(self) -> GuardedDataLoader:
        """Return the loader of the rows, shuffled."""
        loader = GuardedDataLoader(
            self.rows,
            batch_size=self.batch_size,
            shuffle=True,
            num_workers=self.num_workers,
            collate_fn=self.collate_fn,
            manifest=self.contract.manifest,
        )
        return limited(loader, self.trainer)

    def state_dict(self) -> dict[str, Any]:
        """Return the digest of the data."""
        return {KEY: self.contract.note()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Refuse other data than the checkpoint's."""
        self.contract.check_resumed(state_dict)

    def __reduce__(self) -> tuple[Any, ...]:
        made = type(self)
        if made is _made(self.namespace):  # two classes bear this name, so that it cannot be looked up
            return _unpickled, (self.namespace,), vars(self)
        return made.__new__, (made,), vars(self)


def guarded_datamodule_class(namespace: Literal["auto", "pytorch_lightning", "lightning.pytorch"] = "auto") -> Any:
    """Return the class ``GuardedDataModule`` for one namespace of Lightning: the training set of a saved folder.

    Args:
        namespace: ``pytorch_lightning`` or ``lightning.pytorch``; a trainer takes data modules of its own namespace
            only. ``auto`` is the one that is installed, or the one that is imported if both are.

    Its arguments are ``(folder, policy, *, batch_size=32, columns=None, num_workers=0, parent=None, collate_fn=None)``.
    Derive from it to add a ``val_dataloader``.

    Raises InputError if ``auto`` could be both, MissingExtraError if none is installed.

    Example: ``LightningCLI(MyModel, guarded_datamodule_class("lightning.pytorch"))``
    """
    if namespace == "auto":
        return _made(_only_namespace())
    if namespace not in _NAMESPACES:
        raise InputError(f"namespace must be auto, {' or '.join(_NAMESPACES)}, got {namespace!r}")
    return _made(namespace)


@cache
def _made(namespace: str) -> Any:
    base = need(namespace, extra="lightning").LightningDataModule
    body = {"__module__": __name__, "__qualname__": "GuardedDataModule", "__doc__": _GuardedRows.__doc__}
    return type("GuardedDataModule", (_GuardedRows, base), {**body, "namespace": namespace})


def _unpickled(namespace: str) -> Any:
    made = _made(namespace)
    return made.__new__(made)


def _only_namespace() -> str:
    installed = [name for name in _NAMESPACES if find_spec(name.split(".")[0]) is not None]
    found = [name for name in installed if name in sys.modules] if len(installed) > 1 else installed
    if not installed:
        need("pytorch_lightning", extra="lightning")
    if len(found) != 1:
        text = f"{' and '.join(installed)} are both installed; say which one your trainer is of"
        raise InputError(f"{text}: guarded_datamodule_class({installed[0]!r})")
    return found[0]


def _is_datamodule(dm: Any) -> bool:
    loaded = [sys.modules[name] for name in _NAMESPACES if name in sys.modules]
    return isinstance(dm, tuple(module.LightningDataModule for module in loaded))
