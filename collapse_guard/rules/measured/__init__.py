"""Rules that hold the figures of outside measurements against the policy: CG006, CG307, CG502, CG504, CG505, CG6xx."""

from collapse_guard.rules.measured import ascent, detector, diversity, precision, shares

__all__ = ["ascent", "detector", "diversity", "precision", "shares"]
