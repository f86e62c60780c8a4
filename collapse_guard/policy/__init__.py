"""YAML -> checked, frozen, hashed policy."""

from collapse_guard.policy.cells import Score
from collapse_guard.policy.load import load_policy, policy_from_mapping, resolve_policy
from collapse_guard.policy.resolved import Resolved
from collapse_guard.policy.schema import Coverage, Policy, policy_json_schema

__all__ = [
    "Coverage",
    "Policy",
    "Resolved",
    "Score",
    "load_policy",
    "policy_from_mapping",
    "policy_json_schema",
    "resolve_policy",
]
