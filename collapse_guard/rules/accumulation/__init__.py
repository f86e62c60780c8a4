"""CG2xx: does the generation hold every real row of its parent, and does the real pool grow?"""

from collapse_guard.rules.accumulation import deletions, growth, kept, parent, weights

__all__ = ["deletions", "growth", "kept", "parent", "weights"]
