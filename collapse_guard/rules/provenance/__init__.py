"""CG3xx: is it known who made each row, and how deep is the chain of generators?"""

from collapse_guard.rules.provenance import ancestry, reentry, tags

__all__ = ["ancestry", "reentry", "tags"]
