"""CG4xx: whom did the filters remove? Asked of the receipts that they leave in the header."""

from collapse_guard.rules.filtering import acceptance, reasons, removal

__all__ = ["acceptance", "reasons", "removal"]
