"""Amounts against limits, beyond the rounding of floats, and as people read them."""

from __future__ import annotations

from typing import Final

#: Room for the rounding of a product of floats, as a part of it.
SLACK: Final = 1e-9


def is_below(amount: float, limit: float) -> bool:
    """Return whether an amount is below a limit, beyond the rounding of floats; however small both are.

    >>> is_below(0.1 + 0.2, 0.3), is_below(0.3, 0.1 + 0.2), is_below(0.2e-11, 0.3e-11)
    (False, False, True)
    """
    return amount < limit - SLACK * limit


def shown(amount: float) -> str:
    """Return an amount for people: whole numbers as such.

    >>> shown(12.0), shown(0.25)
    ('12', '0.25')
    """
    return f"{amount:.12g}"


def share_of(amount: float, total: float) -> float:
    """Return the share of a total, 0 of nothing.

    >>> share_of(1, 4), share_of(0, 0)
    (0.25, 0.0)
    """
    return amount / total if total else 0.0
