"""The receipts of filters, added up: what each filter did to each source."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from collapse_guard.kernels import one_line
from collapse_guard.records import Finding, Severity, Status

if TYPE_CHECKING:
    from collections.abc import Iterable

    from collapse_guard.manifest import Manifest
    from collapse_guard.rules.registry import Subject

#: Rows that no cell claims; the cell of a receipt that is none.
NO_CELL: Final = "(no cell)"
_MOST_ROWS: Final = 1 << 63
_LABEL: Final = re.compile(r"(?P<source>.*), generation (?P<generation>\d{1,3})", re.DOTALL)


@dataclass(frozen=True)
class Receipt:
    """What one filter did to one source, over all its receipts.

    Args:
        label: the source as the receipt names it.
        source: the source as the manifest names it.
        generation: of the rows, None where the receipt does not say.
        filter: name of the filter.
        rows, kept: per cell, before and after.
    """

    label: str
    source: str
    generation: int | None
    filter: str
    rows: Counter[str] = field(default_factory=Counter)
    kept: Counter[str] = field(default_factory=Counter)

    @property
    def subject(self) -> str:
        """What a finding is about: the source, under the filter."""
        return f"{self.label}, {self.filter}"

    @property
    def said(self) -> str:
        """The same for a message."""
        return f"filter {one_line(self.filter)!r} on {one_line(self.label)!r}"

    @property
    def where(self) -> dict[str, str]:
        """Source and, if it is known, generation."""
        return {"source": self.source} | ({} if self.generation is None else {"generation": str(self.generation)})

    @property
    def n_rows(self) -> int:
        """Rows that the filter saw."""
        return self.rows.total()

    @property
    def n_kept_rows(self) -> int:
        """Rows that it let through."""
        return self.kept.total()

    @property
    def is_sound(self) -> bool:
        """Whether no cell keeps more rows than it had, and no count is larger than any count can be."""
        return self.n_rows < _MOST_ROWS and all(self.kept[cell] <= self.rows[cell] for cell in self.kept)

    def totals(self, cells: Iterable[str]) -> tuple[int, int]:
        """Return rows removed and rows seen of some cells."""
        named = list(cells)
        seen = sum(self.rows[cell] for cell in named)
        return seen - sum(self.kept[cell] for cell in named), seen


def receipts_of(manifest: Manifest) -> tuple[Receipt, ...]:
    """Return one receipt per source and filter, in the order of the header.

    Receipts of merged manifests say the same of other rows: they add up.
    """
    found: dict[tuple[str, str], Receipt] = {}
    names = {source.name for source in manifest.header.sources}
    for entry in manifest.header.filters:
        source, generation = _named(entry.source, names)
        receipt = found.setdefault(
            (entry.source, entry.filter), Receipt(entry.source, source, generation, entry.filter)
        )
        for cell in entry.cells:
            receipt.rows[cell.cell] += cell.rows
            receipt.kept[cell.cell] += cell.kept_rows
    return tuple(found.values())


def _named(label: str, names: set[str]) -> tuple[str, int | None]:
    """Return source and generation of what a receipt calls its source."""
    parts = _LABEL.fullmatch(label)
    if parts is None or (label in names and parts["source"] not in names):
        return label, None
    return parts["source"], int(parts["generation"])


def tail_cells(receipt: Receipt, quantile: float) -> tuple[str, ...]:
    """Return the rarest cells that together hold at most ``quantile`` of the rows that a filter saw.

    Cells of one size come in or stay out together, so that no name decides.

    >>> tail_cells(Receipt("web", "web", None, "f", Counter(a=90, b=6, c=2, d=2)), 0.05)
    ('c', 'd')
    """
    by_size: dict[int, list[str]] = {}
    for cell, rows in receipt.rows.items():
        if rows and cell != NO_CELL:
            by_size.setdefault(rows, []).append(cell)
    most, held, tail = quantile * (receipt.n_rows - receipt.rows[NO_CELL]), 0, list[str]()
    for rows in sorted(by_size):
        held += rows * len(by_size[rows])
        if held > most * (1 + 1e-12):
            break
        tail += sorted(by_size[rows])
    return tuple(tail)


def rarest_share(receipt: Receipt) -> float:
    """Return what the cells of the smallest size hold together, as a share of all rows of a cell."""
    sizes = [rows for cell, rows in receipt.rows.items() if rows and cell != NO_CELL]
    return sizes.count(min(sizes)) * min(sizes) / sum(sizes) if sizes else 0.0


def sound_receipts(
    subject: Subject, code: str, severity: Severity, key: tuple[str, ...]
) -> tuple[list[Receipt], list[Finding]]:
    """Return the receipts that can be counted, and an open finding for each that cannot."""
    assert subject.manifest is not None
    receipts = receipts_of(subject.manifest)
    broken = [receipt for receipt in receipts if not receipt.is_sound]
    text = "not evaluated: {} keeps more rows of a cell than it had, or has more than 2^63"
    return [receipt for receipt in receipts if receipt.is_sound], [
        Finding(
            code,
            severity,
            text.format(receipt.said),
            status=Status.INCONCLUSIVE,
            subject=receipt.subject,
            where=receipt.where,
            key=key,
            remedy="write the manifest again from the rows",
        )
        for receipt in broken
    ]
