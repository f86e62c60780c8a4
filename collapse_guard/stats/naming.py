"""Which of many classes? Names with an error level, from one e-value per class.

Valid under any dependence between the classes: e-BH (Wang and Ramdas, arXiv 2009.02824) and e-Bonferroni (Vovk and
Wang, Annals of Statistics 49 (2021) 1736).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from collapse_guard.errors import StatisticError
from collapse_guard.stats.arguments import check_share

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


def e_bh(log_e: ArrayLike, *, alpha: float) -> NDArray[np.int64]:
    """Return the classes that e-BH names, strongest first: on average at most ``alpha`` of them wrongly.

    Args:
        log_e: log e-value of each class, shape (classes,); -inf for classes that are not guarded, which count as tests.
        alpha: false discovery rate, in (0, 1).

    >>> e_bh(np.log([310.0, 140.0, 1.0]), alpha=0.01).tolist()
    [0]
    >>> e_bh(np.log([310.0, 160.0, 1.0]), alpha=0.01).tolist()  # the second of three needs 300 / 2
    [0, 1]
    """
    values, limit = _values_and_limit(log_e, alpha)
    order = np.argsort(-values, kind="stable")
    passed = np.flatnonzero(values[order] >= limit - np.log(np.arange(1, values.size + 1)))
    return np.asarray(order[: passed[-1] + 1] if passed.size else order[:0])


def e_bonferroni(log_e: ArrayLike, *, alpha: float) -> NDArray[np.int64]:
    """Return the classes whose e-value reaches K/alpha, strongest first: P(any wrong name) is at most ``alpha``.

    >>> e_bonferroni(np.log([400.0, 250.0, 1.0]), alpha=0.01).tolist()
    [0]
    """
    values, limit = _values_and_limit(log_e, alpha)
    order = np.argsort(-values, kind="stable")
    return np.asarray(order[values[order] >= limit])


def _values_and_limit(log_e: ArrayLike, alpha: float) -> tuple[NDArray[np.float64], float]:
    """Return the checked values, and log(K / alpha); raises StatisticError for anything but numbers, and for NaN."""
    try:
        values = np.asarray(log_e, dtype=np.float64)
    except (TypeError, ValueError):
        raise StatisticError("log_e must be a 1-D array of numbers, one per class") from None
    if values.ndim != 1:
        raise StatisticError(f"log_e must be a 1-D array of numbers, one per class, got shape {values.shape}")
    if np.isnan(values).any():
        raise StatisticError(f"log_e[{int(np.isnan(values).argmax())}] is nan; a class without evidence has -inf")
    return values, math.log(max(values.size, 1)) - math.log(check_share(alpha, name="alpha"))
