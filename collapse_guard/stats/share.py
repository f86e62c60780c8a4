"""Is a share below a floor? One bound that holds for rows drawn with and without replacement.

Batches of a shuffled loader are drawn without replacement within an epoch, and anew in the next one. Hoeffding's bound
holds for both and for their sums, which products of bets would not at a time that the counts themselves choose; so
each check spends its own part of the level.
"""

from __future__ import annotations

import math

from collapse_guard.errors import StatisticError


def log_p_share_below(n_hits: float, n_rows: int, floor: float) -> float:
    """Return the log of a bound on P(at most ``n_hits`` of ``n_rows`` | the share is ``floor`` or more).

    Args:
        n_hits: rows that count, or the sum of values in [0, 1], one of each row; 0 to ``n_rows``.
        n_rows: rows drawn at random, with or without replacement.
        floor: share in [0, 1].

    Source: Hoeffding 1963, theorem 1 and section 6 (Chernoff-Hoeffding bound, ``exp(-n KL(seen, floor))``).

    >>> round(log_p_share_below(40, 100, 0.5), 3)
    -2.014
    >>> log_p_share_below(60, 100, 0.5)
    0.0
    """
    if not 0 <= n_hits <= n_rows or not 0 <= floor <= 1:
        raise StatisticError(f"{n_hits} of {n_rows} rows against a floor of {floor}: need 0 <= hits <= rows, a share")
    if n_rows == 0 or n_hits >= floor * n_rows:
        return 0.0
    seen = n_hits / n_rows
    if floor >= 1:
        return -math.inf
    divergence = (1 - seen) * math.log((1 - seen) / (1 - floor))
    if seen > 0:
        divergence += seen * math.log(seen / floor)
    return -n_rows * divergence


def units_that_count(n_hits: int, n_parts: int, n_units: int, *, largest: int, floor: float) -> float:
    """Return the hits of ``n_units`` draws whose parts come together, for :func:`log_p_share_below`.

    A unit of ``w`` parts, ``h`` of which count, is worth ``floor + (h - floor * w) / largest``: in [0, 1], and in the
    mean at least ``floor`` if the share of all parts is. With ``largest`` 1 these are the hits themselves.

    >>> units_that_count(30, 100, 100, largest=1, floor=0.5)
    30.0
    >>> units_that_count(30, 100, 10, largest=10, floor=0.5)
    3.0
    """
    return min(max(n_units * floor + (n_hits - floor * n_parts) / largest, 0.0), float(n_units))


def log_level_of_check(alpha: float, number: int) -> float:
    """Return the log of the level of the ``number``-th check, 1 or more: 6 a / (pi^2 k^2), which add up to ``alpha``.

    >>> round(math.exp(log_level_of_check(0.01, 1)), 5)
    0.00608
    """
    return math.log(alpha * 6 / math.pi**2) - 2 * math.log(number)
