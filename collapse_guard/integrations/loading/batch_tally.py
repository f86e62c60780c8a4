"""Counts of training batches, where the batch lies: nothing is read back from a device while training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch

from collapse_guard.cells import LabelCells
from collapse_guard.errors import ProvenanceError
from collapse_guard.records import BATCH_KEY, GENERATION, ORIGIN, UNKNOWN_GENERATION, Origin
from collapse_guard.stats import BatchCounts
from collapse_guard.stats.batches import N_CODES, N_GENERATIONS, N_ORIGINS, N_SIZES, PAIR, SHAPES, size_classes

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike, NDArray

    from collapse_guard.cells import CellMap

_MAX_LABEL: Final = 1_000_000  # a look-up table of labels beyond it would not be small
MAX_KEPT: Final = 64  # batches whose integers are kept until they are counted together
_SIZES: Final = N_ORIGINS + N_GENERATIONS


class HostTally:
    """Provenance of rows that lie on the host, for a data loader that counts what it hands out.

    >>> tally = HostTally()
    >>> tally.add(np.array([1, 2, 1]))
    >>> tally.taken().by_origin()["real"], tally.taken().n_rows
    (2, 0)
    """

    def __init__(self) -> None:
        self._counts = np.zeros(N_CODES, dtype=np.int64)
        self._n_batches = 0

    def add(self, codes: ArrayLike) -> None:
        """Add the rows of one batch: integers of shape (rows,), (rows, 2) or (rows, 6), as in BatchCounts.update.

        Raises ProvenanceError for anything else.
        """
        given = np.asarray(codes)
        _check_codes(tuple(given.shape), is_integer=given.dtype.kind in "iu")
        self._n_batches += 1
        if given.ndim == 2 and given.shape[1] == N_ORIGINS:  # noqa: PLR2004 - rows of counts
            self._counts[:N_ORIGINS] += given.sum(axis=0)
            self._counts[_SIZES:] += np.bincount(size_classes(given.sum(axis=1)), minlength=N_SIZES)
            return
        origins = given if given.ndim < 2 else given[:, 0]  # noqa: PLR2004 - rows of pairs
        self._counts[:N_ORIGINS] += _bincount(origins, N_ORIGINS, Origin.UNKNOWN)
        self._counts[_SIZES] += origins.size
        if given.ndim == 2:  # noqa: PLR2004 - rows of pairs
            self._counts[N_ORIGINS:_SIZES] += _bincount(given[:, 1], N_GENERATIONS, UNKNOWN_GENERATION)

    def taken(self) -> BatchCounts:
        """Return what was counted since the last call."""
        counts = BatchCounts.of_vector([*self._counts.tolist(), self._n_batches, 0])
        self._counts[:], self._n_batches = 0, 0
        return counts


class BatchTally:
    """Provenance and classes of batches since the last :meth:`taken`.

    Between checks a batch only leaves copies of its few integers, where they lie: counting them batch by batch would
    cost more, in cold caches, than all the rest. They are counted together at the check.

    Args:
        cells: cells of the label column, counted where labels are plain integers; None for none.
        provenance_from: function of a batch to its provenance; the batch's own columns if left out.
    """

    def __init__(self, cells: CellMap | None, provenance_from: Callable[[Any], Any] | None = None) -> None:
        self._table = None if cells is None else _integer_table(cells)
        self._lookup = None if self._table is None else torch.from_numpy(self._table)
        self._column = cells.columns[0] if cells is not None and self._table is not None and cells.columns else None
        self._provenance_from = provenance_from
        self.n_cells = 0 if cells is None or self._table is None else cells.n_cells
        self.clear()

    def clear(self) -> None:
        """Forget what was not taken yet."""
        self._kept: dict[tuple[torch.device, int], list[torch.Tensor]] = {}
        self._labels: dict[torch.device, list[torch.Tensor]] = {}
        self._counts, self._cells = BatchCounts(), np.zeros(self.n_cells + 1, dtype=np.int64)
        self._device: torch.Tensor | None = None
        self._n_batches = self._n_tagged = self._n_kept = self._n_ahead = 0

    def add(self, batch: Any) -> bool:
        """Add a batch, and return whether it said where its rows come from; raises ProvenanceError for other shapes."""
        codes = provenance_of(batch, self._provenance_from)
        self._n_batches += 1
        self._n_kept += 1
        if codes is not None:
            self._n_tagged += 1
            given = codes if isinstance(codes, torch.Tensor) else torch.as_tensor(np.asarray(codes))
            _check_codes(tuple(given.shape), is_integer=not given.is_floating_point() and given.dtype != torch.bool)
            width = given.shape[1] if given.ndim > 1 else 1
            self._kept.setdefault((given.device, width), []).append(given.detach().clone())
        labels = batch.get(self._column) if self._column is not None and isinstance(batch, Mapping) else None
        if isinstance(labels, torch.Tensor) and labels.ndim == 1 and not labels.is_floating_point():
            self._labels.setdefault(labels.device, []).append(labels.detach().clone())
        if self._n_kept >= MAX_KEPT:
            self._fold()
        return codes is not None

    def taken(self, loaders: list[HostTally]) -> tuple[NDArray[np.int64], torch.Tensor | None]:
        """Return the counts since the last call: those of the host (with ``loaders``), and those still on a device.

        Both have the entries of ``BatchCounts.vector()``, then rows per cell, and rows of no cell last.
        """
        self._fold()
        counted, untagged = self._counts, self._n_batches - self._n_tagged - self._n_ahead
        for loader in loaders:
            more = loader.taken()
            untagged -= more.n_batches
            counted = counted.merge(more)
        # A loader counts what it hands out, so its batches come here without tags, and it may be some ahead.
        head = [*counted.vector()[:N_CODES], self._n_batches, max(untagged, 0)]
        vector, device = np.concatenate([np.asarray(head, dtype=np.int64), self._cells]), self._device
        self.clear()
        self._n_ahead = max(-untagged, 0)
        return vector, device

    @property
    def n_entries(self) -> int:
        """Length of the vectors of :meth:`taken`."""
        return N_CODES + 2 + self.n_cells + 1

    def split(self, vector: list[int]) -> tuple[BatchCounts, list[int]]:
        """Return a summed vector as counts of provenance and rows per cell, those of no cell last."""
        cut = N_CODES + 2
        return BatchCounts.of_vector(vector[:cut]), vector[cut:]

    def _fold(self) -> None:
        """Count what was kept: on the host at once, on an accelerator in a buffer there; nothing is read back."""
        for (device, width), parts in self._kept.items():
            codes = torch.cat([part.reshape(-1, *part.shape[1:]) for part in parts])
            if device.type == "cpu":
                self._counts = self._counts.update(codes.numpy())
            else:
                scatter_codes(self._buffer(device), codes.long(), width)
        for device, labels in self._labels.items():
            self._add_labels(device, torch.cat(labels))
        self._kept, self._labels, self._n_kept = {}, {}, 0

    def _add_labels(self, device: torch.device, labels: torch.Tensor) -> None:
        assert self._table is not None
        assert self._lookup is not None
        last = self._table.size - 1
        if device.type == "cpu":
            values = labels.numpy()
            found = self._table[np.where((values < 0) | (values >= last), last, values)]
            self._cells += np.bincount(found, minlength=self._cells.size)
            return
        self._lookup = self._lookup.to(device)
        _scatter(self._buffer(device), self._lookup[_known(labels.long(), last, last)] + N_CODES + 2)

    def _buffer(self, device: torch.device) -> torch.Tensor:
        if self._device is None:
            self._device = torch.zeros(self.n_entries, dtype=torch.int64, device=device)
        return self._device


def scatter_codes(buffer: torch.Tensor, codes: torch.Tensor, width: int) -> None:
    """Add provenance of shape (rows,) or (rows, width) to a buffer beside it, without reading anything back."""
    if width == N_ORIGINS:
        buffer[:N_ORIGINS] += codes.sum(dim=0)
        sizes = codes.sum(dim=1).clamp(min=1).double().log2().ceil().long().clamp(max=N_SIZES - 1)
        _scatter(buffer, sizes + _SIZES)
        return
    origins = codes if codes.ndim == 1 else codes[:, 0]
    buffer[_SIZES] += origins.numel()
    _scatter(buffer, _known(origins, N_ORIGINS, Origin.UNKNOWN))
    if width == PAIR:
        _scatter(buffer, _known(codes[:, 1], N_GENERATIONS, UNKNOWN_GENERATION) + N_ORIGINS)


def provenance_of(batch: Any, provenance_from: Callable[[Any], Any] | None = None) -> Any:
    """Return the provenance that a batch carries, or None: see :data:`~collapse_guard.stats.batches.SHAPES`.

    >>> provenance_of({"x": torch.zeros(2), "cg_origin": torch.tensor([1, 2])})
    tensor([1, 2])
    """
    if provenance_from is not None:
        return provenance_from(batch)
    if not isinstance(batch, Mapping):
        return None
    if BATCH_KEY in batch:
        return batch[BATCH_KEY]
    origins, generations = batch.get(ORIGIN), batch.get(GENERATION)
    if isinstance(origins, torch.Tensor) and isinstance(generations, torch.Tensor):
        return torch.stack([origins.reshape(-1).long(), generations.reshape(-1).long()], dim=1)
    return origins


def _check_codes(shape: tuple[int, ...], *, is_integer: bool) -> None:
    if not is_integer:
        raise ProvenanceError(f"provenance of a batch is not integers; {SHAPES}")
    if len(shape) > 2 or (len(shape) == 2 and shape[1] not in {PAIR, N_ORIGINS}):  # noqa: PLR2004 - axes
        raise ProvenanceError(f"provenance of a batch has shape {shape}; {SHAPES}")


def _bincount(codes: NDArray[Any], n_codes: int, unknown: int) -> NDArray[np.int64]:
    wide = codes.astype(np.int64).reshape(-1)
    return np.bincount(np.where((wide < 0) | (wide >= n_codes), int(unknown), wide), minlength=n_codes)


def _known(codes: torch.Tensor, n_codes: int, unknown: int) -> torch.Tensor:
    return torch.where((codes < 0) | (codes >= n_codes), int(unknown), codes)


def _scatter(buffer: torch.Tensor, codes: torch.Tensor) -> None:
    buffer.scatter_add_(0, codes, torch.ones_like(codes))


def _integer_table(cells: CellMap) -> NDArray[np.int64] | None:
    """Return label -> cell for labels 0, 1, 2, ...; the last entry stands for every other label."""
    if (
        not isinstance(cells, LabelCells)
        or cells.rarity is not None
        or not all(name.isdecimal() for name in cells.names)
    ):
        return None
    if max(map(int, cells.names)) > _MAX_LABEL:
        return None
    table = np.full(max(map(int, cells.names)) + 2, cells.n_cells, dtype=np.int64)
    for cell, name in enumerate(cells.names):
        table[int(name)] = cell
    return table
