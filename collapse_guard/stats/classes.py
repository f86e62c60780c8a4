"""Evidence that single classes are dying, averaged over the classes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple, Self

import numpy as np

from collapse_guard.errors import StatisticError
from collapse_guard.stats.arguments import check_looks, check_share
from collapse_guard.stats.counts import as_counts, as_rows
from collapse_guard.stats.evalues import CLASS_BETS, log_likelihood_ratios, log_mean_exp, shiryaev_roberts
from collapse_guard.stats.groups import Groups, grouped
from collapse_guard.stats.reference import ReferenceRows

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


class ClassResult(NamedTuple):
    """Evidence in nats.

    Args:
        log_e: the average over all classes that are guarded alone, and over the rest together.
        cells: classes that are guarded alone, ascending; none that the reference never saw.
        log_e_alone: evidence of each of them.
        log_e_pooled: evidence of the rare ones together; -inf if there are none.
    """

    log_e: float
    cells: tuple[int, ...]
    log_e_alone: tuple[float, ...]
    n_looks: int
    log_e_pooled: float = -np.inf

    def log_e_of(self, cell: int) -> float:
        """Return the evidence of one cell; -inf if it is not guarded alone."""
        return self.log_e_alone[self.cells.index(cell)] if cell in self.cells else -np.inf


@lru_cache(maxsize=32)
def _plan(reference: ReferenceRows, max_class_drop: float) -> Groups:
    among = np.arange(len(reference.rows))
    return grouped(reference, among, max_drop=max_class_drop, error=reference.error)


@dataclass(frozen=True, slots=True)
class ClassEvidence:
    """Sequential evidence against "every class keeps ``1 - max_class_drop`` of its share".

    One Shiryaev-Roberts e-process per class that the reference lets stand alone, one for the rest together, averaged:
    valid under any dependence between classes. It sees a class die while the pooled tail grows. State: 5 floats per
    group; ``ReferenceRows.max_alone`` bounds it.

    >>> e = ClassEvidence.start([900, 60, 40], max_class_drop=.50, planned_looks=50)
    >>> e.update([900, 100, 0]).compute().log_e > 4.6  # log(1 / 0.01)
    True
    """

    reference: ReferenceRows
    max_class_drop: float
    planned_looks: int
    n_looks: int = 0
    log_classes: tuple[float, ...] = ()

    @classmethod
    def start(cls, reference: ArrayLike | ReferenceRows, *, max_class_drop: float, planned_looks: int) -> Self:
        """Return evidence before any look; arguments as for :class:`~collapse_guard.stats.TailEvidence`."""
        drop = check_share(max_class_drop, name="max_class_drop", low_open=False)
        return cls(ReferenceRows.of(reference), drop, check_looks(planned_looks))

    def update(self, counts: ArrayLike, *, n_unclaimed_rows: int = 0) -> Self:
        """Return the evidence after one look of ``counts``, integers of shape (n_cells,)."""
        array = as_counts(counts, name="counts", n_cells=len(self.reference.rows))
        n_rows = int(array.sum()) + as_rows(n_unclaimed_rows, name="n_unclaimed_rows")
        if n_rows == 0:
            raise StatisticError("counts are all zero: a look needs rows")
        groups = self.groups()
        ratios = log_likelihood_ratios(groups.rows_of(array), n_rows, groups.bounds, CLASS_BETS)
        before = np.array(self.log_classes).reshape(ratios.shape) if self.n_looks else None
        after = shiryaev_roberts(before, ratios, look=self.n_looks + 1, planned_looks=self.planned_looks)
        return replace(self, n_looks=self.n_looks + 1, log_classes=tuple(after.ravel().tolist()))

    def groups(self) -> Groups:
        """Return the classes that are guarded alone, and those that are guarded together."""
        return _plan(self.reference, self.max_class_drop)

    def sizes(self) -> dict[str, int]:
        """Return the length of each tuple of evidence after a look."""
        return {"log_classes": self.groups().shares.size * CLASS_BETS.size}

    def compute(self) -> ClassResult:
        """Return the evidence so far; before the first look everything is -inf."""
        alone = self.groups().alone
        cells = tuple(alone.tolist())
        if self.n_looks == 0:
            return ClassResult(-np.inf, cells, (-np.inf,) * alone.size, 0)
        found = log_mean_exp(np.array(self.log_classes).reshape(-1, CLASS_BETS.size), axis=1)
        pooled = float(found[-1]) if found.size > alone.size else -np.inf
        of_alone = tuple(found[: alone.size].tolist())
        return ClassResult(float(log_mean_exp(found)), cells, of_alone, self.n_looks, pooled)
