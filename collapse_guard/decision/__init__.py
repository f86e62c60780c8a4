"""Statistics + policy -> continue, warn or halt; pure, so that every rank decides alike."""

from collapse_guard.decision.batches import BatchView, decide_batches
from collapse_guard.decision.looks import (
    PanelResult,
    Part,
    ScoreLine,
    combined_log_e,
    decide,
    decide_fixed,
    dying_classes,
    log_e_limit,
    panel_weights,
    reference_error,
    sampled_error,
    weakest_classes,
)

__all__ = [
    "BatchView",
    "PanelResult",
    "Part",
    "ScoreLine",
    "combined_log_e",
    "decide",
    "decide_batches",
    "decide_fixed",
    "dying_classes",
    "log_e_limit",
    "panel_weights",
    "reference_error",
    "sampled_error",
    "weakest_classes",
]
