"""Policy + manifests -> findings; one pure function per code, a file per family.

CG0xx inputs and integrity, CG1xx mix, CG2xx accumulation, CG3xx provenance, CG4xx filters, CG5xx coverage, CG6xx
corpus audits, CG9xx waivers and the baseline.
"""

from collapse_guard.rules import (
    accumulation,
    coverage,
    filtering,
    governance,
    integrity,
    measured,
    mix,
    provenance,
)
from collapse_guard.rules.evaluation import Choice, Evaluation, Terms, evaluate
from collapse_guard.rules.registry import RULES, Rule, Subject

__all__ = [
    "RULES",
    "Choice",
    "Evaluation",
    "Rule",
    "Subject",
    "Terms",
    "accumulation",
    "coverage",
    "evaluate",
    "filtering",
    "governance",
    "integrity",
    "measured",
    "mix",
    "provenance",
]
