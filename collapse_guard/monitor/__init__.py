"""During training: is the tail still there? Count, test with a stated error rate, decide. No framework here."""

from collapse_guard.monitor.contract import check_contract
from collapse_guard.monitor.record import evidence_path, halt_in, read_state, run_view, write_state
from collapse_guard.monitor.sample import count_sample
from collapse_guard.monitor.watch import Look, Reference, Watch, coverage_of

__all__ = [
    "Look",
    "Reference",
    "Watch",
    "check_contract",
    "count_sample",
    "coverage_of",
    "evidence_path",
    "halt_in",
    "read_state",
    "run_view",
    "write_state",
]
