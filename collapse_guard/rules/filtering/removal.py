"""CG4xx: whom did the filters remove? Asked of the receipts that they leave in the header."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, Final

from collapse_guard.kernels import one_line
from collapse_guard.records import Finding, Severity
from collapse_guard.rules.estimated import Bound, Item, judged
from collapse_guard.rules.filtering.receipts import NO_CELL, Receipt, rarest_share, sound_receipts, tail_cells
from collapse_guard.rules.registry import Subject, rule

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from collapse_guard.manifest import Manifest
    from collapse_guard.policy import Policy
    from collapse_guard.stats.estimates import Estimated

#: Classes of one filter that are told one by one.
_MOST_CLASSES: Final = 20
_CELLS: Final = ("filters", "min_cell_rows")
_TAIL: Final = ("filters", "tail", "max_removal_ratio")
_REAL: Final = ("filters", "max_real_removal_ratio")
_COMPARED: Final = ("real", "synthetic")
_METHOD: Final = "score interval of a ratio of two shares (Koopman 1984)"


@rule("CG401", Severity.ERROR, "a filter removed a class entirely", needs=("policy", "manifest"))
def classes_pass(subject: Subject) -> Iterator[Finding]:
    """Cells of which a filter kept no row, if it saw as many as the policy asks for.

    Rows that no cell claims are no class: they are told by the share that was kept (CG405).
    """
    assert subject.policy is not None
    floor = subject.policy.filters.min_cell_rows
    if floor is None:
        return
    receipts, still_open = sound_receipts(subject, "CG401", Severity.ERROR, _CELLS)
    yield from still_open
    for receipt in receipts:
        gone = [
            cell for cell, rows in receipt.rows.items() if rows >= floor and not receipt.kept[cell] and cell != NO_CELL
        ]
        gone.sort(key=lambda cell: (-receipt.rows[cell], cell))
        for cell in gone[:_MOST_CLASSES]:
            yield _gone(receipt, cell)
        if gone[_MOST_CLASSES:]:
            yield _more_gone(receipt, gone[_MOST_CLASSES:])


def _gone(receipt: Receipt, cell: str) -> Finding:
    rows = receipt.rows[cell]
    return Finding(
        "CG401",
        Severity.ERROR,
        f"{receipt.said}: class {one_line(cell)!r} had {rows} {'row' if rows == 1 else 'rows'} before, none after",
        evidence={"before": rows, "after": 0},
        subject=receipt.subject,
        where=receipt.where | {"class": cell},
        measured=0,
        limit=1,
        unit="rows",
        key=_CELLS,
        remedy="filter within classes (filters.quality), or keep this one whole",
    )


def _more_gone(receipt: Receipt, cells: Sequence[str]) -> Finding:
    return Finding(
        "CG401",
        Severity.ERROR,
        f"{receipt.said}: {len(cells)} more classes have no row left",
        evidence={"n_classes": len(cells), "before": sum(receipt.rows[cell] for cell in cells), "after": 0},
        subject=f"{receipt.subject}: more classes",
        where=receipt.where,
        measured=0,
        limit=1,
        unit="rows",
        key=_CELLS,
        remedy="filter within classes (filters.quality), or keep these whole",
    )


@rule("CG402", Severity.WARNING, "a filter removes more of the tail", needs=("policy", "manifest"))
def tail_passes(subject: Subject) -> Iterator[Finding]:
    """Removal rate of the rarest cells over that of all others, by the lower end of the ratio's interval.

    Above the limit with the estimate alone is open: the tail has too few rows to tell. So is a tail without cells, and
    a head that loses so much that no ratio could be above the limit while the tail surely loses more.
    """
    assert subject.policy is not None
    asked = subject.policy.filters.tail
    if asked is None:
        return
    receipts, still_open = sound_receipts(subject, "CG402", Severity.WARNING, _TAIL)
    yield from still_open
    remedy = "filter within cells (filters.quality), or score the tail by its own kind"
    bound = Bound("CG402", Severity.WARNING, _TAIL, asked.max_removal_ratio, "ratio", remedy)
    items: list[Item] = []
    for receipt in receipts:
        found = _tail_item(bound, receipt, asked.quantile, subject.policy.filters.level)
        if isinstance(found, Finding):
            yield found
        elif found is not None:
            items.append(found)
    yield from judged(bound, items)


def _tail_item(bound: Bound, receipt: Receipt, quantile: float, level: float) -> Item | Finding | None:
    """Return the ratio of a receipt, why there is none, or None where nothing was removed."""
    tail = tail_cells(receipt, quantile)
    head = sorted(set(receipt.rows) - set(tail) - {NO_CELL})
    lost, head_lost = receipt.totals(tail)[0], receipt.totals(head)[0]
    if not lost and not head_lost:
        return None
    if not tail:
        return _without_tail(bound, receipt, quantile)
    item = _ratio_item(receipt, tail, head, level)
    ceiling = receipt.totals(head)[1] / head_lost if head_lost else math.inf
    if 1 < item.found.low <= bound.limit and ceiling <= bound.limit:
        text = f"{item}; the head loses so much that no ratio can be above {ceiling:.4g}, the limit is {bound.limit:g}"
        remedy = f"set filters.tail.max_removal_ratio below {ceiling:.4g}"
        return bound.open(text, receipt.subject, where=receipt.where, remedy=remedy)
    return item


def _without_tail(bound: Bound, receipt: Receipt, quantile: float) -> Finding:
    held = rarest_share(receipt)
    if held < 1:
        text = f"{receipt.said}: the rarest cells hold {held:.2%} of the rows, filters.tail.quantile is {quantile:g}"
        remedy = f"set filters.tail.quantile to at least {math.ceil(held * 1000) / 1000:g}"
    else:
        text, remedy = f"{receipt.said}: all cells are of one size, and none is rarer", "leave filters.tail out"
    return bound.open(text, receipt.subject, where=receipt.where, remedy=remedy)


def _ratio_item(receipt: Receipt, tail: Sequence[str], head: Sequence[str], level: float) -> Item:
    (lost, rows), (head_lost, head_rows) = receipt.totals(tail), receipt.totals(head)
    what = f"{receipt.said}: removal rate of the tail ({lost} of {rows} rows) over that of the head"
    return Item(
        f"{what} ({head_lost} of {head_rows})",
        receipt.subject,
        _share_ratio(lost, rows, head_lost, head_rows, level),
        rows,
        level,
        _METHOD,
        receipt.where,
        {
            "tail_removed": [lost, rows],
            "head_removed": [head_lost, head_rows],
            "n_tail_cells": len(tail),
            "tail": list(tail[:10]),
        },
    )


def _share_ratio(hits: int, n_rows: int, base_hits: int, n_base_rows: int, level: float) -> Estimated:
    from collapse_guard.stats.estimates import share_ratio  # noqa: PLC0415 - statistics load only where they are asked

    return share_ratio(hits, n_rows, base_hits, n_base_rows, level=level)


@rule("CG403", Severity.WARNING, "a filter removes more real rows than synthetic ones", needs=("policy", "manifest"))
def real_rows_pass(subject: Subject) -> Iterator[Finding]:
    """Removal rate of real sources over that of synthetic ones under one filter, by the lower end of its interval.

    A source that the manifest no longer has counts by the origin that the policy declares; one of several origins
    cannot answer. Asked, and without receipts of both under one filter, it is open.
    """
    assert subject.policy is not None
    assert subject.manifest is not None
    limit = subject.policy.filters.max_real_removal_ratio
    if limit is None:
        return
    receipts, still_open = sound_receipts(subject, "CG403", Severity.WARNING, _REAL)
    yield from still_open
    remedy = "real rows stay: filter the synthetic ones alone"
    bound = Bound("CG403", Severity.WARNING, _REAL, limit, "ratio", remedy)
    both = _of_both_origins(receipts, _origins(subject.policy, subject.manifest))
    if not both:
        text = "no filter left receipts of real and of synthetic sources"
        remedy = "write receipts of both, or leave filters.max_real_removal_ratio out if real rows pass no filter"
        yield bound.open(text, "origins", remedy=remedy)
    level = subject.policy.filters.level
    items = [_origin_item(name, by["real"], by["synthetic"], level) for name, by in both.items()]
    yield from judged(bound, [item for item in items if item is not None])


def _origins(policy: Policy, manifest: Manifest) -> dict[str, str]:
    declared = {name: source.origin for name, source in policy.sources.items() if source.origin is not None}
    return {**declared, **{source.name: source.origin for source in manifest.header.sources}}


def _of_both_origins(receipts: Sequence[Receipt], origins: Mapping[str, str]) -> dict[str, dict[str, Counter[str]]]:
    """Return rows lost and seen per origin of each filter that saw rows of both."""
    sums: dict[str, dict[str, Counter[str]]] = {}
    for receipt in receipts:
        lost, rows = receipt.totals(receipt.rows)
        counted = sums.setdefault(receipt.filter, {}).setdefault(origins.get(receipt.source, ""), Counter())
        counted.update(lost=lost, rows=rows)
    return {name: by for name, by in sums.items() if all(by.get(kind, Counter())["rows"] for kind in _COMPARED)}


def _origin_item(name: str, real: Counter[str], made: Counter[str], level: float) -> Item | None:
    if not real["lost"]:
        return None
    what = f"filter {one_line(name)!r}: removal rate of real rows ({real['lost']} of {real['rows']}) over that of"
    return Item(
        f"{what} synthetic ones ({made['lost']} of {made['rows']})",
        name,
        _share_ratio(real["lost"], real["rows"], made["lost"], made["rows"], level),
        real["rows"],
        level,
        _METHOD,
        evidence={"real_removed": [real["lost"], real["rows"]], "synthetic_removed": [made["lost"], made["rows"]]},
    )
