"""Counts of training batches, on the device that holds the batch: nothing is read back while training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, TypeGuard

import torch

from collapse_guard.cells import LabelCells
from collapse_guard.records import ORIGIN, Origin
from collapse_guard.stats import OriginCounts

if TYPE_CHECKING:
    from collapse_guard.cells import CellMap

_MAX_LABEL: Final = 1_000_000  # a look-up table of labels beyond it would not be small


class BatchTally:
    """Rows of training batches per origin and per cell, in buffers on the batch's device."""

    def __init__(self, cells: CellMap | None) -> None:
        self.seen = False
        self._lookup = None if cells is None else _integer_lookup(cells)
        self._origins = torch.zeros(len(Origin), dtype=torch.int64)
        n_cells = 0 if cells is None else cells.n_cells
        self._cells = torch.zeros(n_cells + 1, dtype=torch.int64)

    def add(self, batch: Any, column: str | None) -> None:
        """Add a batch that is a mapping with ``cg_origin``; others carry no provenance and are not counted."""
        if not isinstance(batch, Mapping):
            return
        codes, labels = batch.get(ORIGIN), batch.get(column)
        if isinstance(codes, torch.Tensor):
            self.seen = True
            flat = codes.reshape(-1).long()
            flat = torch.where((flat < 0) | (flat >= len(Origin)), 0, flat)
            self._origins = _added(self._origins, flat)
        if self._lookup is not None and _holds_integers(labels):
            self._lookup = self._lookup.to(labels.device)
            flat = labels.reshape(-1).long()
            last = self._lookup.numel() - 1
            flat = torch.where((flat < 0) | (flat >= last), last, flat)
            self._cells = _added(self._cells, self._lookup[flat])

    def origins(self) -> OriginCounts:
        """Return the rows per origin."""
        return OriginCounts(tuple(self._origins.tolist()))

    def cell_rows(self) -> list[int] | None:
        """Return the rows per cell, those of no cell last; None if labels are not integers."""
        return None if self._lookup is None else self._cells.tolist()

    def state(self) -> dict[str, Any]:
        """Return plain values for a checkpoint."""
        return {"seen": self.seen, "origins": self._origins.tolist(), "cells": self._cells.tolist()}

    def restore(self, state: dict[str, Any] | None) -> None:
        """Go on from a checkpoint; counts over other cells are left behind."""
        if state is None:
            return
        self.seen = bool(state["seen"])
        self._origins = torch.tensor(state["origins"], dtype=torch.int64)
        if len(state["cells"]) == self._cells.numel():
            self._cells = torch.tensor(state["cells"], dtype=torch.int64)


def _holds_integers(values: Any) -> TypeGuard[torch.Tensor]:
    return isinstance(values, torch.Tensor) and not values.is_floating_point() and not values.is_complex()


def _added(buffer: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
    buffer = buffer.to(codes.device)
    return buffer.scatter_add_(0, codes, torch.ones_like(codes))


def _integer_lookup(cells: CellMap) -> torch.Tensor | None:
    """Return label -> cell for labels 0, 1, 2, ...; the last entry stands for every other label."""
    if (
        not isinstance(cells, LabelCells)
        or cells.rarity is not None
        or not all(name.isdecimal() for name in cells.names)
    ):
        return None
    if max(map(int, cells.names)) > _MAX_LABEL:
        return None
    table = torch.full((max(map(int, cells.names)) + 2,), cells.n_cells, dtype=torch.int64)
    for cell, name in enumerate(cells.names):
        table[int(name)] = cell
    return table
