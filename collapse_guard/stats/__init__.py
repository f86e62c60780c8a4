"""Counts over cells -> mergeable statistics and e-values; numpy alone."""

from collapse_guard.stats.classes import ClassEvidence, ClassResult
from collapse_guard.stats.counts import CellCounts, OriginCounts
from collapse_guard.stats.tail import TailEvidence, TailResult

__all__ = ["CellCounts", "ClassEvidence", "ClassResult", "OriginCounts", "TailEvidence", "TailResult"]
