"""During training: is the tail still there? Count, test with a stated error rate, decide. No framework here."""

from collapse_guard.monitor.anchor import Anchor, Reference, anchor_path, read_anchor, write_anchor
from collapse_guard.monitor.chain import begin_watch, halt_on, is_due, renewed, too_many_looks
from collapse_guard.monitor.contract import check_contract
from collapse_guard.monitor.look import Look
from collapse_guard.monitor.record import evidence_path, halt_in, read_state, run_view, write_state
from collapse_guard.monitor.sample import Sample, read_sample, sampled_rows
from collapse_guard.monitor.watch import Watch, coverage_of

__all__ = [
    "Anchor",
    "Look",
    "Reference",
    "Sample",
    "Watch",
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
    "too_many_looks",
    "write_anchor",
    "write_state",
]
