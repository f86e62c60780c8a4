"""A data loader that counts where its rows come from, and hands out the batches that a plain one would."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, Self

from torch.utils.data import DataLoader, IterableDataset
from torch.utils.data.distributed import DistributedSampler

from collapse_guard.errors import ContractError, InputError, ProvenanceError
from collapse_guard.integrations.loading.batch_tally import HostTally
from collapse_guard.integrations.loading.counting_collate import CountingCollate, checked, function_of
from collapse_guard.integrations.loading.reading_order import IndexTrail, order_of, row_sampler
from collapse_guard.manifest import Manifest, load_manifest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from os import PathLike

    import numpy as np
    from numpy.typing import NDArray
    from torch.utils.data import Dataset
    from torch.utils.data.dataloader import _BaseDataLoaderIter

log = logging.getLogger(__name__)

_SCHEMA: Final = 1


class GuardedDataLoader(DataLoader[Any]):
    """A DataLoader whose ``tally`` counts the provenance of the rows that it hands out, on the host.

    Batches, their order and the random states are those of a plain DataLoader with the same arguments, over the same
    rows without their ``cg_`` columns. Counting needs no device and no collective; the guard reads ``tally``.

    Its state holds the digest of the manifest and the place in the epoch. A checkpoint that was saved in the middle of
    an epoch goes on at the next batch if the order is known: with a SequentialSampler, a DistributedSampler or, on one
    rank, a sampler that draws its order at once (``shuffle=True``). Otherwise it warns, and the epoch begins anew.

    Args:
        dataset: map-style or iterable. Rows that are mappings with ``cg_origin`` need nothing else.
        batch_size: as in DataLoader, and so are all arguments that are not named here.
        shuffle: as in DataLoader.
        provenance: integers aligned with a map-style dataset, shape (rows,) for origins, (rows, 2) for origin and
            generation, or (rows, 6) for counts per origin, as for packed rows. With ``in_order=False`` they are counted
            in the order in which batches were asked for.
        provenance_from: function of a row to one origin, to a pair or to six counts; or its name, ``module:function``.
            It runs in the workers.
        manifest: manifest of the data, or its path; a resumed run on other data is refused.
        missing: ``error`` for a batch whose rows carry nothing, or ``ignore`` to hand it out uncounted.

    Raises ProvenanceError for provenance of another length, shape or type; so does the first batch without any.

    >>> loader = GuardedDataLoader([{"x": 1.0, "cg_origin": 1}, {"x": 2.0, "cg_origin": 2}], batch_size=2)
    >>> list(loader)
    [{'x': tensor([1., 2.], dtype=torch.float64)}]
    >>> loader.tally.taken().by_origin()["synthetic"]
    1
    """

    # Every argument is an attribute of the same name: Lightning makes the loader again from them to inject a sampler.
    def __init__(
        self,
        dataset: Dataset[Any] | Any,
        batch_size: int | None = 1,
        shuffle: bool | None = None,  # noqa: FBT001 - as in DataLoader
        *,
        provenance: Any = None,
        provenance_from: Callable[[Any], Any] | str | None = None,
        manifest: Manifest | str | PathLike[str] | None = None,
        missing: Literal["error", "ignore"] = "error",
        **kwargs: Any,
    ) -> None:
        _check_arguments(dataset, provenance, provenance_from, missing)
        super().__init__(dataset, batch_size, shuffle, **kwargs)
        self.provenance = provenance
        self.provenance_from = provenance_from
        self.manifest = manifest
        self.missing = missing
        self.tally = HostTally()
        #: Batches after which a trainer ends the epoch, if that is before the loader does.
        self.epoch_batches: int | None = None
        self._codes = None if provenance is None else checked(provenance, len(self.dataset))  # type: ignore[arg-type]
        self._source = function_of(provenance_from)
        held = manifest if isinstance(manifest, Manifest) or manifest is None else load_manifest(Path(manifest))
        self._digest = None if held is None else held.digest
        self._trail: IndexTrail | None = None
        self._resumed: dict[str, Any] | None = None
        self._is_loaded = False

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        """Return an iterator over the batches of an epoch."""
        # After a state was loaded, the first batch opens the epoch: a trainer tells the sampler its epoch in between.
        return _CountedBatches(self._opened, self.tally, self._codes, is_late=self._is_loaded)

    def _opened(self) -> tuple[_BaseDataLoaderIter, IndexTrail]:
        """Begin an epoch, in its middle if a state was loaded."""
        state, self._resumed, self._is_loaded = self._resumed, None, False
        if self._iterator is None or self._trail is None:  # workers that persist draw from the same trail again
            self._trail = IndexTrail(self, is_kept=self._codes is not None)
        if state is None or not self._goes_on(state):
            self._trail.begin()
        else:
            self._trail.begin(state["n_batches"], state["start"])
        return super().__iter__(), self._trail

    def _goes_on(self, state: dict[str, Any]) -> bool:
        sampler = row_sampler(self)  # whose epoch has moved on if the trainer began another one
        return type(sampler) is not DistributedSampler or sampler.epoch == state["start"]["epoch"]

    def _get_iterator(self) -> _BaseDataLoaderIter:
        view = _Reading.__new__(_Reading)
        view.__dict__.update(vars(self))
        view.__dict__["collate_fn"] = CountingCollate(
            self.collate_fn,
            source=self._source,
            is_counted=self._codes is None,
            is_batched=self.batch_sampler is not None,
            missing=self.missing,
        )
        return view._get_iterator()  # noqa: SLF001 - ours

    # ------------------------------------------------------------------ state

    def state_dict(self) -> dict[str, Any]:
        """Return the place in the epoch and the digest of the data: plain values, and a tensor of a random state."""
        trail = self._trail
        if self._resumed is not None:
            return dict(self._resumed)
        generator = getattr(row_sampler(self), "generator", None)
        return {
            "schema": _SCHEMA,
            "manifest_digest": self._digest,
            "n_batches": 0 if trail is None or self._is_over(trail.n_batches) else trail.n_batches,
            "order": None if isinstance(self.dataset, IterableDataset) else order_of(self),
            "start": {} if trail is None else dict(trail.start),
            "generator": None if generator is None else generator.get_state(),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Make the next epoch go on where ``state_dict`` was saved.

        Raises ContractError if it was saved on other data. Warns if it stands in the middle of an epoch whose order is
        not known: that epoch then begins anew, as with a plain DataLoader.
        """
        recorded = state_dict.get("manifest_digest")
        if recorded != self._digest:
            raise other_data(recorded, self._digest)
        self._resumed, self._is_loaded = None, True
        if not state_dict["n_batches"]:
            self._restore_generator(state_dict)
        elif state_dict["order"] is None or isinstance(self.dataset, IterableDataset):
            log.warning("collapse_guard: %s; the epoch begins anew", self._why_unknown())
        elif state_dict["order"] != order_of(self):
            text = "the checkpoint was saved in the middle of an epoch of another order"
            log.warning("collapse_guard: %s (%s, now %s); it begins anew", text, state_dict["order"], order_of(self))
        else:
            self._resumed = dict(state_dict)
            if "epoch" in state_dict["start"]:
                row_sampler(self).set_epoch(state_dict["start"]["epoch"])

    def _restore_generator(self, state: dict[str, Any]) -> None:
        generator = getattr(row_sampler(self), "generator", None)
        if generator is not None and state["generator"] is not None:
            generator.set_state(state["generator"])

    def _why_unknown(self) -> str:
        if isinstance(self.dataset, IterableDataset):
            return "the order of an iterable dataset is not known"
        return f"the order of {type(row_sampler(self)).__name__} cannot be drawn again for this rank"

    def _is_over(self, n_batches: int) -> bool:
        """Return whether an epoch ends with so many batches, so that the next one is new."""
        if self.epoch_batches is not None and n_batches >= self.epoch_batches:
            return True
        try:
            return n_batches >= len(self)
        except TypeError:  # of unknown length
            return False


class _Reading(DataLoader[Any]):
    """What the iterators of torch read instead of a GuardedDataLoader: the same, with its trail and its counting."""

    _trail: IndexTrail

    @property
    def _index_sampler(self) -> Any:
        return self._trail


class _CountedBatches:
    """Iterator that counts the batches of a loader as they come out, in the process that asks for them.

    Args:
        opened: function that begins the epoch.
        tally: where batches are counted.
        known: provenance of the rows of the dataset, if it does not come with the batches.
        is_late: begin with the first batch, not now.
    """

    def __init__(
        self,
        opened: Callable[[], tuple[_BaseDataLoaderIter, IndexTrail]],
        tally: HostTally,
        known: NDArray[np.int64] | None,
        *,
        is_late: bool,
    ) -> None:
        self._open = opened
        self._tally = tally
        self._known = known
        self._reading = None if is_late else opened()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Any:
        if self._reading is None:
            self._reading = self._open()
        batches, trail = self._reading
        trail.n_batches += 1
        try:
            batch, codes = next(batches)
        except StopIteration:
            trail.n_batches = 0
            raise
        finally:  # a batch that failed was drawn as well
            rows = trail.taken()
        if self._known is not None and rows is not None:
            codes = self._known[rows]
        if codes is not None:
            self._tally.add(codes)
        return batch

    def __reduce__(self) -> tuple[type[None], tuple[()]]:
        return type(None), ()  # iterators over workers cannot be copied; Lightning puts None in their place


def other_data(recorded: str | None, own: str | None) -> ContractError:
    """Return the error of a run that is resumed on other data than that of its checkpoint.

    >>> str(other_data("sha256:aa", None))[:60]
    'the checkpoint was trained on manifest sha256:aa, this run h'
    """
    text = f"the checkpoint was trained on manifest {recorded}, this run has {own}"
    return ContractError(f"{text}; resume on the same data, or start a new generation")


def _check_arguments(dataset: Any, provenance: Any, provenance_from: Any, missing: str) -> None:
    if provenance is not None and provenance_from is not None:
        raise InputError("provenance= and provenance_from= say the same twice; pass one of them")
    if provenance is not None and isinstance(dataset, IterableDataset):
        raise ProvenanceError("an iterable dataset has no row numbers to align provenance= with; pass provenance_from=")
    if missing not in {"error", "ignore"}:
        raise InputError(f"missing must be error or ignore, got {missing!r}")
