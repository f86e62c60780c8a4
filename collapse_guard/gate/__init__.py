"""At review: does the manifest keep the policy? Inputs -> rules -> findings -> exit code."""

from collapse_guard.gate.checking import check
from collapse_guard.gate.inputs import FailOn, Governing
from collapse_guard.gate.result import INCONCLUSIVE, OK, RESULT_SCHEMA, UNUSABLE, VIOLATION, GateResult

__all__ = [
    "INCONCLUSIVE",
    "OK",
    "RESULT_SCHEMA",
    "UNUSABLE",
    "VIOLATION",
    "FailOn",
    "GateResult",
    "Governing",
    "check",
]
