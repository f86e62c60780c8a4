"""Which cell is a row in? Everything downstream sees counts over cells and no modality."""

from collapse_guard.cells.bins import BinCells
from collapse_guard.cells.clusters import ClusterCells
from collapse_guard.cells.contract import CELL_MAPS, CellMap, Fittable, cells_from_state, fit_cells
from collapse_guard.cells.functions import FunctionCells
from collapse_guard.cells.labels import LabelCells
from collapse_guard.cells.media import AudioCells, ImageCells
from collapse_guard.cells.ngrams import NgramCells
from collapse_guard.cells.tokens import TokenCells

__all__ = [
    "CELL_MAPS",
    "AudioCells",
    "BinCells",
    "CellMap",
    "ClusterCells",
    "Fittable",
    "FunctionCells",
    "ImageCells",
    "LabelCells",
    "NgramCells",
    "TokenCells",
    "cells_from_state",
    "fit_cells",
]
