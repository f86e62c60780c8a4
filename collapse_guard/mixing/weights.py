"""How much real and synthetic rows weigh against each other."""

from __future__ import annotations

import math

from collapse_guard.mixing.arguments import check_number


def golden_real_share(ratio: float) -> float:
    """Return the optimal total weight of real rows, in (0, 1), for ``ratio`` = real amount / synthetic amount.

    It solves ``w^2 + k w - k = 0``. At equal sizes it is one over the golden ratio; it is always above the share of
    real rows, ``k / (1 + k)``, so that a floor on rows holds on weights too. It is optimal where each generation is
    trained on fresh real rows and the last model's rows, for Gaussian and generalised linear models.

    Raises InputError for a ratio that is no number of 0 or more. Source: He et al. 2025, arXiv 2502.18049.

    >>> round(golden_real_share(1.0), 3)
    0.618
    """
    check_number("ratio", ratio)
    if ratio <= 0:
        return 0.0
    return 2 / (1 + math.sqrt(1 + 4 / ratio))  # the root without cancellation at large ratios


def part_weights(real_amount: float, synthetic_amount: float, *, golden: bool) -> tuple[float, float]:
    """Return what a real and a synthetic row weigh; over the whole set the mean weight is 1.

    >>> part_weights(100.0, 100.0, golden=False)
    (1.0, 1.0)
    >>> tuple(round(weight, 3) for weight in part_weights(100.0, 100.0, golden=True))
    (1.236, 0.764)
    """
    if not golden or real_amount <= 0 or synthetic_amount <= 0:
        return 1.0, 1.0
    share, total = golden_real_share(real_amount / synthetic_amount), real_amount + synthetic_amount
    return share * total / real_amount, (1 - share) * total / synthetic_amount
