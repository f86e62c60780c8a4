"""CG405: did the quality filter keep the share that was planned?"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from collapse_guard.kernels import one_line
from collapse_guard.records import Finding, Origin, Severity, Status
from collapse_guard.rules.filtering.receipts import NO_CELL, Receipt, receipts_of, sound_receipts
from collapse_guard.rules.registry import Subject, rule

if TYPE_CHECKING:
    from collections.abc import Iterator

    from collapse_guard.policy.filters import Quality

#: The filter that ``filters.quality`` plans.
PLANNED: Final = "keep_best_within_cells"
_KEY: Final = ("filters", "quality", "keep_tolerance")
_SLACK: Final = 1e-9


@rule("CG405", Severity.INFO, "acceptance rate outside the planned band", needs=("policy", "manifest"))
def as_planned(subject: Subject) -> Iterator[Finding]:
    """Share of rows that the quality filter kept, against ``filters.quality.keep_share`` and its tolerance.

    Every cell keeps its share rounded up, so that many small cells keep more: that is part of the plan. Rows that no
    cell claims are never kept, and pull the share down. A synthetic source that the filter never saw is open.
    """
    assert subject.policy is not None
    assert subject.manifest is not None
    quality = subject.policy.filters.quality
    if quality is None:
        return
    receipts, still_open = sound_receipts(subject, "CG405", Severity.INFO, _KEY)
    yield from still_open
    receipts = [receipt for receipt in receipts if receipt.filter == PLANNED and receipt.n_rows]
    seen = {receipt.source for receipt in receipts_of(subject.manifest) if receipt.filter == PLANNED}
    for source in subject.manifest.header.sources:
        if source.origin == Origin.SYNTHETIC.name.lower() and source.rows and source.name not in seen:
            yield _unseen(source.name, source.rows)
    for receipt in receipts:
        yield from _outside(receipt, quality)


def band(receipt: Receipt, quality: Quality) -> tuple[float, float]:
    """Return the least and the largest share that the plan allows."""
    cells = [rows for cell, rows in receipt.rows.items() if cell != NO_CELL]
    rounded = sum(math.ceil(quality.keep_share * rows - _SLACK) for rows in cells)
    planned = max(quality.keep_share, rounded / max(sum(cells), 1))
    return max(quality.keep_share - quality.keep_tolerance, 0.0), min(planned + quality.keep_tolerance, 1.0)


def _outside(receipt: Receipt, quality: Quality) -> Iterator[Finding]:
    share, (low, high) = receipt.n_kept_rows / receipt.n_rows, band(receipt, quality)
    if low - _SLACK <= share <= high + _SLACK:
        return
    unclaimed = receipt.rows[NO_CELL]
    more = f"; {unclaimed} rows belong to no cell" if unclaimed else ""
    yield Finding(
        "CG405",
        Severity.INFO,
        f"{receipt.said} kept {receipt.n_kept_rows} of {receipt.n_rows} rows, a share of {share:.4f};"
        f" planned is {quality.keep_share:g}, allowed {low:.4g} to {high:.4g}{more}",
        evidence={"share": share, "band": [low, high], "n_rows": receipt.n_rows, "n_unclaimed_rows": unclaimed},
        subject=receipt.subject,
        where=receipt.where,
        measured=share,
        limit=low if share < low else high,
        unit="share",
        key=_KEY,
        remedy="look at rows without a cell and at equal scores, or plan another keep_share",
    )


def _unseen(source: str, rows: int) -> Finding:
    return Finding(
        "CG405",
        Severity.INFO,
        f"not evaluated: source {one_line(source)!r} has {rows} synthetic rows and no receipt of the quality filter",
        status=Status.INCONCLUSIVE,
        subject=source,
        where={"source": source},
        key=_KEY,
        remedy="make the training set with collapse_guard.curate under this policy",
    )
