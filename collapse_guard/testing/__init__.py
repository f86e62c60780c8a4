"""Laws that a filter, a cell map, a statistic or evidence must keep; used by our tests and by plug-in authors.

Each function raises AssertionError that names the law, and returns nothing.
"""

from collapse_guard.testing.advisory import check_advisory
from collapse_guard.testing.cell_maps import check_cell_map
from collapse_guard.testing.evidence import Sequential, check_evidence
from collapse_guard.testing.filters import check_filter
from collapse_guard.testing.processes import check_across_processes
from collapse_guard.testing.stats import Mergeable, check_statistic
from collapse_guard.testing.values import check_frozen, check_json_state

__all__ = [
    "Mergeable",
    "Sequential",
    "check_across_processes",
    "check_advisory",
    "check_cell_map",
    "check_evidence",
    "check_filter",
    "check_frozen",
    "check_json_state",
    "check_statistic",
]
