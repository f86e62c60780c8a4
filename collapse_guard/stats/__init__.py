"""Counts over cells -> mergeable statistics and e-values; numpy alone."""

from collapse_guard.stats.batches import BatchCounts
from collapse_guard.stats.claimed import ClaimedEvidence, ClaimedResult
from collapse_guard.stats.classes import ClassEvidence, ClassResult
from collapse_guard.stats.counts import CellCounts
from collapse_guard.stats.dilution import Dilution
from collapse_guard.stats.fixed_set import FixedSetEvidence, FixedSetResult
from collapse_guard.stats.naming import e_bh, e_bonferroni
from collapse_guard.stats.power import DetectableDrops, Level, minimum_detectable_drop, rows_to_see_extinction
from collapse_guard.stats.reference import ReferenceRows
from collapse_guard.stats.score import ScoreEvidence, ScoreResult, mean_floor
from collapse_guard.stats.share import log_level_of_check, log_p_share_below, units_that_count
from collapse_guard.stats.tail import TailEvidence, TailResult

__all__ = [
    "BatchCounts",
    "CellCounts",
    "ClaimedEvidence",
    "ClaimedResult",
    "ClassEvidence",
    "ClassResult",
    "DetectableDrops",
    "Dilution",
    "FixedSetEvidence",
    "FixedSetResult",
    "Level",
    "ReferenceRows",
    "ScoreEvidence",
    "ScoreResult",
    "TailEvidence",
    "TailResult",
    "e_bh",
    "e_bonferroni",
    "log_level_of_check",
    "log_p_share_below",
    "mean_floor",
    "minimum_detectable_drop",
    "rows_to_see_extinction",
    "units_that_count",
]
