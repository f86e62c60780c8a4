"""Policy + manifests -> findings; one pure function per code, a file per family.

CG0xx inputs and integrity, CG1xx mix, CG2xx accumulation, CG3xx provenance, CG5xx coverage.
"""

from collapse_guard.rules import accumulation, coverage, integrity, mix, provenance
from collapse_guard.rules.registry import RULES, Evaluation, Rule, Subject, evaluate

__all__ = [
    "RULES",
    "Evaluation",
    "Rule",
    "Subject",
    "accumulation",
    "coverage",
    "evaluate",
    "integrity",
    "mix",
    "provenance",
]
