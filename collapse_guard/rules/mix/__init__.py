"""CG1xx: how much of what went in?"""

from collapse_guard.rules.mix import caps, drift, floors, whole

__all__ = ["caps", "drift", "floors", "whole"]
