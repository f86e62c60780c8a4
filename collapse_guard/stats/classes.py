"""Evidence that single classes are dying, averaged over the classes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple, Self

import numpy as np

from collapse_guard.errors import StatisticError
from collapse_guard.stats.counts import as_counts, as_rows
from collapse_guard.stats.evalues import (
    CLASS_BETS,
    cell_shares,
    log_likelihood_ratios,
    log_mean_exp,
    shiryaev_roberts,
)
from collapse_guard.stats.tail import check_looks, check_reference, check_share

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


class ClassResult(NamedTuple):
    """Evidence in nats; ``log_e_per_class`` has one entry per cell, -inf for cells the reference never saw."""

    log_e: float
    log_e_per_class: tuple[float, ...]
    n_looks: int


class _Plan(NamedTuple):
    """Arrays that follow from the reference alone."""

    guarded: NDArray[np.int64]
    bounds: NDArray[np.float64]


@lru_cache(maxsize=32)
def _plan(reference: tuple[int, ...], n_unclaimed: int, max_class_drop: float) -> _Plan:
    guarded = np.flatnonzero(np.asarray(reference) > 0)
    return _Plan(guarded, (1 - max_class_drop) * cell_shares(reference, n_unclaimed)[guarded])


@dataclass(frozen=True, slots=True)
class ClassEvidence:
    """Sequential evidence against "every class keeps ``1 - max_class_drop`` of its share".

    One Shiryaev-Roberts e-process per class with a positive reference count, averaged over those classes: valid
    under any dependence between classes. It sees a class die while the pooled tail grows.

    >>> e = ClassEvidence.start([900, 60, 40], max_class_drop=.50, planned_looks=50)
    >>> e.update([900, 100, 0]).compute().log_e > 4.6  # log(1 / 0.01)
    True
    """

    reference_counts: tuple[int, ...]
    max_class_drop: float
    planned_looks: int
    reference_unclaimed_rows: int = 0
    n_looks: int = 0
    log_classes: tuple[float, ...] = ()

    @classmethod
    def start(
        cls,
        reference_counts: ArrayLike,
        *,
        max_class_drop: float,
        planned_looks: int,
        reference_unclaimed_rows: int = 0,
    ) -> Self:
        """Return evidence before any look; arguments as for :class:`~collapse_guard.stats.TailEvidence`."""
        return cls(
            check_reference(reference_counts),
            check_share(max_class_drop, name="max_class_drop", low_open=False),
            check_looks(planned_looks),
            as_rows(reference_unclaimed_rows, name="reference_unclaimed_rows"),
        )

    def update(self, counts: ArrayLike, *, n_unclaimed_rows: int = 0) -> Self:
        """Return the evidence after one look of ``counts``, integers of shape (n_cells,)."""
        array = as_counts(counts, name="counts", n_cells=len(self.reference_counts))
        n_rows = int(array.sum()) + as_rows(n_unclaimed_rows, name="n_unclaimed_rows")
        if n_rows == 0:
            raise StatisticError("counts are all zero: a look needs rows")
        plan = self._planned()
        ratios = log_likelihood_ratios(array[plan.guarded], n_rows, plan.bounds, CLASS_BETS)
        before = np.array(self.log_classes).reshape(ratios.shape) if self.n_looks else None
        after = shiryaev_roberts(before, ratios, look=self.n_looks + 1, planned_looks=self.planned_looks)
        return replace(self, n_looks=self.n_looks + 1, log_classes=tuple(after.ravel().tolist()))

    def _planned(self) -> _Plan:
        return _plan(self.reference_counts, self.reference_unclaimed_rows, self.max_class_drop)

    def compute(self) -> ClassResult:
        """Return the evidence so far; before the first look everything is -inf."""
        per_class = np.full(len(self.reference_counts), -np.inf)
        if self.n_looks == 0:
            return ClassResult(-np.inf, tuple(per_class.tolist()), 0)
        guarded = log_mean_exp(np.array(self.log_classes).reshape(-1, CLASS_BETS.size), axis=1)
        per_class[self._planned().guarded] = guarded
        return ClassResult(float(log_mean_exp(guarded)), tuple(per_class.tolist()), self.n_looks)
