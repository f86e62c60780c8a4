"""The order in which a loader reads: noted while it is drawn, and begun again in the middle of an epoch."""

from __future__ import annotations

from collections import deque
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch
from torch.utils.data import (
    BatchSampler,
    RandomSampler,
    SequentialSampler,
    SubsetRandomSampler,
    WeightedRandomSampler,
)
from torch.utils.data.distributed import DistributedSampler

from collapse_guard.errors import ProvenanceError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from numpy.typing import NDArray
    from torch.utils.data import DataLoader

#: Samplers that draw their whole order when it begins, from one random state.
_DRAWN: Final = (RandomSampler, SubsetRandomSampler, WeightedRandomSampler)


class IndexTrail:
    """What a loader draws its indices from, in the loader's own order; notes them, and can begin in the middle.

    Args:
        loader: the loader whose sampler it stands before.
        is_kept: keep the indices until :meth:`taken`.

    >>> from torch.utils.data import DataLoader
    >>> trail = IndexTrail(DataLoader(range(5), batch_size=2), is_kept=True)
    >>> trail.begin(1, start={})
    >>> list(trail), trail.taken()
    ([[2, 3], [4]], array([2, 3]))
    """

    def __init__(self, loader: DataLoader[Any], *, is_kept: bool) -> None:
        self.sampler: Iterable[Any] = loader.sampler if loader.batch_sampler is None else loader.batch_sampler
        self.rows = row_sampler(loader)
        self.n_batches = 0
        self.start: dict[str, Any] = {}
        self._is_kept = is_kept
        self._drawn: deque[NDArray[np.int64]] = deque()
        self._resumed: tuple[int, Mapping[str, Any]] | None = None

    def begin(self, n_batches: int = 0, start: Mapping[str, Any] | None = None) -> None:
        """Begin an epoch; after ``n_batches`` of the order that began with ``start``, if that is given."""
        self.n_batches = n_batches
        self.start = {} if start is None else dict(start)
        self._resumed = None if start is None else (n_batches, start)

    def taken(self) -> NDArray[np.int64] | None:
        """Return the row numbers of the oldest batch that was drawn and not taken yet, None if there is none."""
        return self._drawn.popleft() if self._drawn else None

    def __len__(self) -> int:
        return len(self.sampler)  # type: ignore[arg-type]

    def __iter__(self) -> Iterator[Any]:
        self._drawn = deque()
        return self._walk()

    def _walk(self) -> Iterator[Any]:
        # Runs with the first draw, as a sampler's own iterator does: until then nothing random is touched.
        indices = iter(self.sampler)
        if self._resumed is None:
            self.start = begun(self.rows)
        else:
            n_batches, start = self._resumed
            with _drawn_again(self.rows, start):
                deque(islice(indices, n_batches), maxlen=0)
        self._resumed = None
        for index in indices:
            if self._is_kept:
                self._drawn.append(_row_numbers(index))
            yield index


def row_sampler(loader: DataLoader[Any]) -> Any:
    """Return the sampler of rows of a loader, below its batches.

    >>> from torch.utils.data import DataLoader
    >>> type(row_sampler(DataLoader(range(5), batch_size=2, shuffle=True))).__name__
    'RandomSampler'
    """
    sampler: Any = loader.sampler if loader.batch_sampler is None else loader.batch_sampler
    while type(sampler) is BatchSampler:
        sampler = sampler.sampler
    return sampler


def order_of(loader: DataLoader[Any]) -> dict[str, Any] | None:
    """Return what must be equal for two loaders to read in the same order from the same start; None if that is unknown.

    With several ranks only rank 0's state is saved, so that an order which each rank draws for itself is unknown too.

    >>> from torch.utils.data import DataLoader
    >>> order_of(DataLoader(range(5), batch_size=2))
    {'sampler': 'SequentialSampler', 'n_rows': 5, 'batch_size': 2, 'n_batches': 3}
    """
    sampler = row_sampler(loader)
    kind = type(sampler)
    if kind not in {SequentialSampler, DistributedSampler, *_DRAWN} or (kind in _DRAWN and _n_ranks() > 1):
        return None
    size = loader.batch_size if loader.batch_sampler is None else getattr(loader.batch_sampler, "batch_size", None)
    trail = loader.sampler if loader.batch_sampler is None else loader.batch_sampler
    known = {"sampler": kind.__name__, "n_rows": len(loader.dataset), "batch_size": size, "n_batches": len(trail)}  # type: ignore[arg-type]
    if kind is DistributedSampler:
        known |= {"seed": sampler.seed, "is_shuffled": sampler.shuffle, "n_ranks": sampler.num_replicas}
    return known


def begun(sampler: Any) -> dict[str, Any]:
    """Return where the order of an epoch that is about to begin comes from; plain values and a tensor."""
    if type(sampler) is DistributedSampler:
        return {"epoch": int(sampler.epoch)}
    if type(sampler) in _DRAWN:
        generator = sampler.generator
        return {"random_state": torch.get_rng_state() if generator is None else generator.get_state()}
    return {}


@contextmanager
def _drawn_again(sampler: Any, start: Mapping[str, Any]) -> Iterator[None]:
    """Let the first draws come from ``start``; the global random state is as before, a sampler's own one moves on."""
    if "epoch" in start:
        sampler.set_epoch(start["epoch"])
    generator = getattr(sampler, "generator", None)
    if "random_state" not in start:
        yield
    elif generator is not None:
        generator.set_state(start["random_state"])
        yield
    else:
        with torch.random.fork_rng(devices=[]):
            torch.set_rng_state(start["random_state"])
            yield


def _n_ranks() -> int:
    is_up = torch.distributed.is_available() and torch.distributed.is_initialized()
    return torch.distributed.get_world_size() if is_up else 1


def _row_numbers(index: Any) -> NDArray[np.int64]:
    numbers = np.asarray(index)
    if numbers.dtype.kind not in "iu" and numbers.size:
        text = f"the sampler hands out {index!r}, and provenance= is aligned with row numbers"
        raise ProvenanceError(f"{text}; pass provenance_from= instead")
    return numbers.astype(np.int64).reshape(-1)
