"""Estimates with their intervals: ratio of two shares, share behind an imperfect detector, slope of a series.

The standard library alone: the gate computes a handful of them, at review, in a process that must start fast.
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import TYPE_CHECKING, Final, NamedTuple

from collapse_guard.errors import StatisticError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

#: Halvings of a bracket that leave nothing but rounding.
_HALVINGS: Final = 200
#: Nobody measures the rows that a narrower interval needs.
LEAST_HALF_WIDTH: Final = 1e-6
#: Counts apart by less than this share of the rows are equal.
_ROUNDING: Final = 1e-12


class Estimated(NamedTuple):
    """A value and the ends of its interval; the upper end of a ratio may be infinite."""

    value: float
    low: float
    high: float


def normal_score(level: float) -> float:
    """Return z of a two-sided interval at ``level``, in (0, 1).

    >>> round(normal_score(0.95), 4)
    1.96
    """
    if not 0 < level < 1:
        raise StatisticError(f"level must lie in (0, 1), got {level!r}")
    return NormalDist().inv_cdf((1 + level) / 2)


def share_ratio(hits: int, n_rows: int, base_hits: int, n_base_rows: int, *, level: float) -> Estimated:
    """Return the ratio of two independent shares, ``hits / n_rows`` to ``base_hits / n_base_rows``.

    The score interval: all ratios that the likelihood score does not reject at ``level``. Unlike that on the log scale
    it stands at zero hits and at all hits, and it keeps its level with few rows. No hits at all say nothing: 0 to
    infinity around NaN.

    Args:
        hits, base_hits: 0 to the rows of their group.
        n_rows, n_base_rows: 1 or more.
        level: such as 0.95.

    Source: Koopman, Biometrics 40 (1984) 513.

    >>> [round(end, 2) for end in share_ratio(36, 40, 16, 80, level=0.95)]
    [4.5, 2.94, 7.15]
    """
    if not (0 <= hits <= n_rows and 0 <= base_hits <= n_base_rows and n_rows > 0 and n_base_rows > 0):
        text = f"{hits} of {n_rows} and {base_hits} of {n_base_rows}: need 0 <= hits <= rows, and rows in both"
        raise StatisticError(text)
    z = normal_score(level)
    if hits == 0 and base_hits == 0:
        return Estimated(math.nan, 0.0, math.inf)
    value = math.inf if base_hits == 0 else hits * n_base_rows / (n_rows * base_hits)

    def is_kept(log_ratio: float) -> bool:
        return _score(math.exp(log_ratio), hits, n_rows, base_hits, n_base_rows) <= z * z

    most = math.log(n_rows) + math.log(n_base_rows) + 2 * math.log(z + 4) + 20  # no data reach further
    middle = min(max(math.log(value), -most), most) if 0 < value < math.inf else math.copysign(most, value - 1)
    low = 0.0 if hits == 0 else math.exp(_edge(is_kept, middle, -most))
    high = math.inf if base_hits == 0 else math.exp(_edge(is_kept, middle, most))
    return Estimated(value, low, high)


def _edge(is_kept: Callable[[float], bool], inside: float, outside: float) -> float:
    """Return where ``is_kept`` ends between a point that is kept and one that is not, by bisection."""
    for _ in range(_HALVINGS):
        middle = (inside + outside) / 2
        inside, outside = (middle, outside) if is_kept(middle) else (inside, middle)
    return inside


def _score(ratio: float, hits: int, n_rows: int, base_hits: int, n_base_rows: int) -> float:
    """Return the chi-square of a ratio, with the shares that are likeliest under it."""
    total = n_rows + n_base_rows
    b = ratio * (n_rows + base_hits) + hits + n_base_rows
    root = math.sqrt(max(b * b - 4 * total * ratio * (hits + base_hits), 0.0))
    base = 2 * (hits + base_hits) / (b + root)  # the smaller root, without cancellation
    return _pearson(hits, n_rows, ratio * base) + _pearson(base_hits, n_base_rows, base)


def _pearson(hits: int, n_rows: int, share: float) -> float:
    """Return the squared distance of a count from what ``share`` expects, in its variances."""
    apart, variance = hits - n_rows * share, n_rows * share * (1 - share)
    if variance <= 0 or abs(apart) <= _ROUNDING * n_rows:
        return 0.0 if abs(apart) <= _ROUNDING * n_rows else math.inf
    return apart * apart / variance


def corrected_share(
    flagged: float,
    n_rows: int,
    *,
    false_positives: float,
    n_real_rows: int,
    false_negatives: float,
    n_synthetic_rows: int,
    level: float,
) -> Estimated:
    """Return the share of synthetic rows behind the share that a detector flags; its width covers all three samples.

    The estimate is ``(flagged - fp) / (1 - fp - fn)``, kept in [0, 1]; the interval adds rows to each sample, as that
    of Agresti and Coull does, and keeps its level near 0.

    Args:
        flagged: share of ``n_rows`` rows that the detector calls synthetic.
        false_positives: share of ``n_real_rows`` known real rows that it calls synthetic.
        false_negatives: share of ``n_synthetic_rows`` known synthetic rows that it calls real.
        level: such as 0.95.

    Raises StatisticError for a detector that is no better than chance.
    Sources: Rogan and Gladen, Am. J. Epidemiology 107 (1978) 71; Lang and Reiczigel, Prev. Vet. Med. 113 (2014) 13.

    >>> rates = {"false_positives": 0.02, "n_real_rows": 500, "false_negatives": 0.1, "n_synthetic_rows": 500}
    >>> [round(end, 3) for end in corrected_share(0.12, 1000, level=0.95, **rates)]
    [0.114, 0.087, 0.14]
    """
    informed = 1 - false_positives - false_negatives
    if informed <= 0:
        text = f"a detector with {false_positives:g} false positives and {false_negatives:g} false negatives"
        raise StatisticError(f"{text} is no better than chance: its rates must add up to less than 1")
    z = normal_score(level)
    n_flagged, n_real, n_made = n_rows + z * z, n_real_rows + 2, n_synthetic_rows + 2
    apparent = (n_rows * flagged + z * z / 2) / n_flagged
    wrong = (n_real_rows * false_positives + 1) / n_real
    missed = (n_synthetic_rows * false_negatives + 1) / n_made
    power = 1 - wrong - missed
    if power <= 0:
        raise StatisticError(f"{n_real_rows} real and {n_synthetic_rows} synthetic rows are too few to know a detector")
    middle = (apparent - wrong) / power
    of_wrong, of_missed = wrong * (1 - wrong) / n_real, missed * (1 - missed) / n_made
    spread = apparent * (1 - apparent) / n_flagged + (1 - middle) ** 2 * of_wrong + middle**2 * of_missed
    middle, half = middle + 2 * z * z * (middle * of_missed - (1 - middle) * of_wrong), z * math.sqrt(spread) / power
    low, high = (min(max(end, 0.0), 1.0) for end in (middle - half, middle + half))
    value = min(max((flagged - false_positives) / informed, 0.0), 1.0)
    return Estimated(value, min(low, value), max(high, value))


def slope(times: Sequence[float], values: Sequence[float], errors: Sequence[float], *, level: float) -> Estimated:
    """Return the slope of a straight line through values with known standard errors, by weighted least squares.

    Args:
        times: when; two different ones at least.
        values: what was measured, one per time.
        errors: the standard error of each, above 0.
        level: such as 0.95.

    Blind: to a series that bends, and to errors that are shared by all values (those cancel in a slope).
    Source: Aitken, Proc. R. Soc. Edinburgh 55 (1936) 42.

    >>> [round(end, 3) for end in slope([0, 1, 2], [0.1, 0.2, 0.3], [0.01, 0.01, 0.01], level=0.95)]
    [0.1, 0.086, 0.114]
    """
    if len(set(times)) < 2 or not all(error > 0 for error in errors):  # noqa: PLR2004 - a line needs two points
        raise StatisticError("a slope needs values at two different times, each with a standard error above 0")
    least = min(errors)
    weights = [(least / error) ** 2 for error in errors]  # of one another, as squares of tiny errors would vanish
    whole = math.fsum(weights)
    mean = math.fsum(w * t for w, t in zip(weights, times, strict=True)) / whole
    apart = [time - mean for time in times]
    spread = math.fsum(w * t * t for w, t in zip(weights, apart, strict=True))
    if spread <= 0:
        raise StatisticError("one value is so much surer than all others that they say nothing of a slope")
    middle = math.fsum(w * v for w, v in zip(weights, values, strict=True)) / whole  # takes out what would cancel
    found = math.fsum(w * t * (v - middle) for w, t, v in zip(weights, apart, values, strict=True)) / spread
    half = normal_score(level) * least / math.sqrt(spread)
    return Estimated(found, found - half, found + half)


def rows_for_half_width(share: float, half_width: float, *, level: float) -> int:
    """Return the rows at which the interval of a share is as narrow as ``2 half_width``.

    Wilson's interval, whose width is exact in the rows and does not vanish for a share of 0.

    Args:
        share: in [0, 1].
        half_width: one in a million or more.
        level: such as 0.95.

    Source: Wilson, J. Am. Stat. Assoc. 22 (1927) 209, solved for n.

    >>> rows_for_half_width(0.5, 0.05, level=0.95), rows_for_half_width(0.0, 0.01, level=0.95)
    (381, 189)
    """
    if not 0 <= share <= 1 or not half_width >= LEAST_HALF_WIDTH:
        text = f"share {share!r} must lie in [0, 1], half_width {half_width!r} be {LEAST_HALF_WIDTH:g} or more"
        raise StatisticError(text)
    square, width = normal_score(level) ** 2, half_width * half_width
    linear = square * (2 * width - share * (1 - share))
    constant = square * square * width - square * square / 4
    root = math.sqrt(max(linear * linear - 4 * width * constant, 0.0))
    return max(1, math.ceil((root - linear) / (2 * width) * (1 - 1e-12)))
