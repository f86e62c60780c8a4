"""How many kinds are there? Figures of one vector of counts over cells.

All take integer counts of shape (cells,) and raise StatisticError for anything but whole numbers of 0 or more, with
one row at least. All are advisory: none has an error rate, so that none may halt a run.
"""

from __future__ import annotations

import math
from numbers import Real
from typing import TYPE_CHECKING, Final

import numpy as np

from collapse_guard.errors import StatisticError
from collapse_guard.stats.arguments import as_whole
from collapse_guard.stats.counts import as_counts
from collapse_guard.stats.log_gamma import log_rising_excess

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

#: Orders nearer to 1 than this are computed through log1p, which does not lose the difference.
_NEAR_ONE: Final = 0.1

#: From here on an order gives what infinity gives, to the last digit, and its powers would overflow.
_LIKE_INFINITY: Final = 1e16


def live_counts(counts: ArrayLike, *, name: str = "counts") -> NDArray[np.int64]:
    """Return the counts of the cells that hold rows, int64; raises StatisticError when there are none.

    >>> live_counts([3, 0, 1])
    array([3, 1])
    """
    array = as_counts(counts, name=name)
    live = array[array > 0]
    if live.size == 0:
        raise StatisticError(f"{name} are all zero; a look needs rows")
    return live


def hill_number(counts: ArrayLike, *, order: float) -> float:
    """Return the Hill number of ``order``, the effective number of kinds, in [1, cells].

    Order 0 counts kinds, 1 is exp(entropy), 2 is 1 / sum p^2, infinity is 1 / max p. Raises StatisticError for an
    order below 0 or NaN. Source: Hill, Ecology 54 (1973).

    Blind: order 2 and above to tails; order 1 late to drift; order 0 to shares, and it grows with the rows.

    >>> hill_number([5, 5, 0], order=1)
    2.0
    """
    power, live = _as_order(order), live_counts(counts)
    if power == 0:
        return float(live.size)
    return min(max(math.exp(_renyi_nats(live / live.sum(), power)), 1.0), float(live.size))


def _as_order(order: object) -> float:
    if isinstance(order, bool) or not isinstance(order, Real) or not float(order) >= 0:
        raise StatisticError(f"order must be a number, 0 or more, got {order!r}")
    return float(order)


def _renyi_nats(shares: NDArray[np.float64], order: float) -> float:
    logs = np.log(shares)
    if order >= _LIKE_INFINITY:
        return -float(logs.max())
    if order == 1:
        return -float((shares * logs).sum())
    if abs(order - 1) < _NEAR_ONE:
        return float(np.log1p((shares * np.expm1((order - 1) * logs)).sum())) / (1 - order)
    top = float(order * logs.max())
    return (top + math.log(float(np.exp(order * logs - top).sum()))) / (1 - order)


def rarefied_types(counts: ArrayLike, *, n_rows: int) -> float:
    """Return the kinds expected among ``n_rows`` rows drawn without replacement, in [1, cells].

    That is sum over cells of 1 - C(N - N_k, n) / C(N, n): the one way to compare kinds between looks of
    unequal size. Raises StatisticError unless 1 <= n_rows <= N. Source: Hurlbert, Ecology 52 (1971).

    Blind: to shares of the kinds that are common at this size, and to which kinds are lost.

    >>> rarefied_types([1, 1, 2], n_rows=2)  # 1 + 5/6: one pair of six is of one kind
    1.8333333333333333
    """
    live = live_counts(counts)
    total = int(live.sum())
    drawn = as_whole(n_rows, name="n_rows", least=1)
    if drawn > total:
        raise StatisticError(f"n_rows is {drawn}, counts hold {total} rows; a sample cannot be rarefied to more")
    return float(-np.expm1(_log_missed(live, drawn, total)).sum())


def _log_missed(live: NDArray[np.int64], drawn: int, total: int) -> NDArray[np.float64]:
    """Return log of C(N - N_k, n) / C(N, n): a product over min(n, N_k) factors, -inf where a kind cannot be missed."""
    few, many = np.minimum(live, drawn), np.maximum(live, drawn)
    can_miss = few + many <= total
    few, many = few[can_miss], many[can_miss]
    with_kind, without = total - few + 1, total - many - few + 1
    log_missed = np.full(live.shape, -np.inf)
    log_missed[can_miss] = (
        log_rising_excess(without, few) - log_rising_excess(with_kind, few) + few * np.log1p(-many / with_kind)
    )
    return log_missed


def missing_mass(counts: ArrayLike) -> float:
    """Return Good-Turing's estimate f1 / n of the share of kinds that the look missed, in [0, 1].

    Valid for independent rows only. Source: Good, Biometrika 40 (1953).

    Blind: it FALLS or stays low when tails are dead, for dead kinds leave no singletons; low is not good news.

    >>> missing_mass([5, 1, 0])
    0.16666666666666666
    """
    live = live_counts(counts)
    return int((live == 1).sum()) / int(live.sum())


def sample_coverage(counts: ArrayLike) -> float:
    """Return Good's coverage 1 - f1 / n: the share of the sampled source whose kinds were seen, in [0, 1].

    Source: Good, Biometrika 40 (1953).

    Blind: to the reference; a source that lost its tail is covered better, so that a rise is not good news.

    >>> sample_coverage([5, 1, 0])
    0.8333333333333334
    """
    return 1 - missing_mass(counts)


def chao1(counts: ArrayLike) -> float:
    """Return the bias-corrected Chao1 estimate of kinds, S + f1 (f1 - 1) / (2 (f2 + 1)), S or more.

    Source: Chao, Scandinavian Journal of Statistics 11 (1984); bias-corrected form of 2005.

    Blind: to kinds too rare to leave singletons (it is a lower bound), and to shares.

    >>> chao1([5, 1, 1, 2])
    4.5
    """
    live = live_counts(counts)
    n_once, n_twice = int((live == 1).sum()), int((live == 2).sum())  # noqa: PLR2004 - kinds seen twice
    return live.size + n_once * (n_once - 1) / (2 * (n_twice + 1))
