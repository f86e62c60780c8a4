"""During training: is the tail still there? Count, test with a stated error rate, decide. No framework here."""

from collapse_guard.monitor.anchor import Anchor, Reference, anchor_path, read_anchor, write_anchor
from collapse_guard.monitor.batches import REMEDIES, BatchWatch, untagged_text
from collapse_guard.monitor.chain import begin_watch, halt_on, is_due, renewed, too_many_looks
from collapse_guard.monitor.contract import check_contract
from collapse_guard.monitor.look import Look
from collapse_guard.monitor.predictions import PredictionCounts
from collapse_guard.monitor.record import evidence_path, halt_in, read_state, run_view, write_state
from collapse_guard.monitor.run import Run, Watched
from collapse_guard.monitor.sample import Sample, read_sample, sampled_rows, summed_sample
from collapse_guard.monitor.watch import Watch, coverage_of

__all__ = [
    "REMEDIES",
    "Anchor",
    "BatchWatch",
    "Look",
    "PredictionCounts",
    "Reference",
    "Run",
    "Sample",
    "Watch",
    "Watched",
    "anchor_path",
    "begin_watch",
    "check_contract",
    "coverage_of",
    "evidence_path",
    "halt_in",
    "halt_on",
    "is_due",
    "read_anchor",
    "read_sample",
    "read_state",
    "renewed",
    "run_view",
    "sampled_rows",
    "summed_sample",
    "too_many_looks",
    "untagged_text",
    "write_anchor",
    "write_state",
]
