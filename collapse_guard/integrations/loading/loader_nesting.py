"""Loaders that a hook returned: made again under the guard, in the nesting they came in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from torch.utils.data import BatchSampler, DataLoader, IterableDataset

from collapse_guard.errors import ContractError

if TYPE_CHECKING:
    from collections.abc import Callable

    from collapse_guard.integrations.loading.data_loader import GuardedDataLoader

#: What makes a DataLoader's batches; a subclass that has its own cannot be made again as another class.
_READING: Final = ("__iter__", "__len__", "_get_iterator", "_index_sampler")


def arguments_of(loader: DataLoader[Any]) -> dict[str, Any]:
    """Return the arguments that make the loader again.

    Raises ContractError for a subclass that reads in its own way.

    >>> arguments_of(DataLoader([1, 2], batch_size=2))["batch_size"]
    2
    """
    own = [name for name in _READING if getattr(type(loader), name) is not getattr(DataLoader, name)]
    if own:
        text = f"{type(loader).__name__} reads in its own way ({', '.join(own)}) and cannot be made again guarded"
        raise ContractError(f"{text}; return a DataLoader or a GuardedDataLoader from train_dataloader")
    names = ("dataset", "num_workers", "collate_fn", "pin_memory", "timeout", "worker_init_fn", "generator")
    more = ("prefetch_factor", "persistent_workers", "pin_memory_device", "multiprocessing_context", "in_order")
    given = {name: getattr(loader, name) for name in (*names, *more) if hasattr(loader, name)}
    if isinstance(loader.dataset, IterableDataset):
        return {**given, "batch_size": loader.batch_size, "drop_last": loader.drop_last}
    if loader.batch_sampler is not None and loader.batch_size is None:
        return {**given, "batch_sampler": loader.batch_sampler}
    return {**given, "batch_size": loader.batch_size, "sampler": loader.sampler, "drop_last": loader.drop_last}


def check_rebuildable(sampler: Any) -> None:
    """Raise ContractError for a batch sampler in which no sampler of a rank can be put."""
    if sampler is None or isinstance(sampler, BatchSampler):
        return
    if not hasattr(sampler, "batch_size") or not hasattr(sampler, "drop_last"):
        text = f"the batch sampler {type(sampler).__name__} cannot be made again for several ranks"
        raise ContractError(f"{text}; derive it from torch.utils.data.BatchSampler, or train on one device")


def limited(loader: GuardedDataLoader, trainer: Any) -> GuardedDataLoader:
    """Tell the loader when its trainer ends an epoch early, so that its state knows the end of one."""
    limit = getattr(trainer, "limit_train_batches", None)
    if isinstance(limit, int) and not isinstance(limit, bool):
        loader.epoch_batches = limit
    elif isinstance(limit, float) and not isinstance(loader.dataset, IterableDataset):
        loader.epoch_batches = int(len(loader) * limit)
    return loader


def each_loader(loaders: Any, change: Callable[[Any], Any]) -> Any:
    """Return the loaders changed, in the same nesting of lists, tuples, mappings and CombinedLoader."""
    if hasattr(loaders, "flattened"):
        loaders.flattened = [change(loader) for loader in loaders.flattened]
        return loaders
    if isinstance(loaders, Mapping):
        return type(loaders)({name: each_loader(loader, change) for name, loader in loaders.items()})  # type: ignore[call-arg]
    if isinstance(loaders, (list, tuple)) and not hasattr(loaders, "_fields"):
        return type(loaders)(each_loader(loader, change) for loader in loaders)
    return change(loaders)
