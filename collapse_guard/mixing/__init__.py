"""How much of what enters the training set: pools and a policy -> a plan, and what a training set really holds."""

from collapse_guard.mixing.caps import synthetic_limit
from collapse_guard.mixing.measured import broken, measured_shares
from collapse_guard.mixing.plan import MixPlan
from collapse_guard.mixing.planner import plan_mix
from collapse_guard.mixing.pool import Codes, Pool
from collapse_guard.mixing.quotas import Shortage
from collapse_guard.mixing.shares import Breach, WindowShares, broken_shares, window_shares
from collapse_guard.mixing.weights import golden_real_share

__all__ = [
    "Breach",
    "Codes",
    "MixPlan",
    "Pool",
    "Shortage",
    "WindowShares",
    "broken",
    "broken_shares",
    "golden_real_share",
    "measured_shares",
    "plan_mix",
    "synthetic_limit",
    "window_shares",
]
