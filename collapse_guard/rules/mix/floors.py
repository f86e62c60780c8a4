"""CG101, CG107: are there as many real rows, and rows of each source, as the policy wants?

CG101 holds every floor in the unit of the policy, whatever the reason for what is missing. CG107 stands beside it
where the rows themselves would keep the floor, so that it is their weight that breaks it: rows that are retained and do
not train, rows of others that are repeated, or that are longer. Adding rows is then not the only remedy. Both stand, so
that nobody passes a broken floor by leaving one of them out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from collapse_guard.records import Finding, Origin, Severity
from collapse_guard.rules.mix.amounts import SLACK, is_below, share_of, shown
from collapse_guard.rules.registry import Subject, rule

if TYPE_CHECKING:
    from collections.abc import Iterator

    from collapse_guard.manifest import Manifest


@dataclass(frozen=True, slots=True)
class _Part:
    """A part of the training set that has a floor, and the whole that it is a share of."""

    what: str
    subject: str
    where: dict[str, str]
    key: tuple[str, ...]
    floor: float
    n_rows: int
    n_trained_rows: int
    amount: float
    n_all_rows: int
    total: float
    unit: str

    @property
    def is_broken(self) -> bool:
        """Whether the amount is below the floor; of nothing, every floor above 0 is broken."""
        return is_below(self.amount, self.floor * self.total) or (self.total <= 0 < self.floor)

    @property
    def rows_keep_it(self) -> bool:
        """Whether the rows alone are no less than the floor wants."""
        return self.n_all_rows > 0 and not is_below(self.n_rows, self.floor * self.n_all_rows)

    @property
    def missing(self) -> int:
        """How much more of it there had to be."""
        gap = self.floor * self.total - self.amount
        needed = gap / (1 - self.floor) if self.floor < 1 else self.total - self.amount
        return max(1, math.ceil(needed - SLACK))

    def finding(self, code: str, message: str, remedy: str, **evidence: Any) -> Finding:
        """Return a finding on this part: its share in the unit against its floor."""
        share = share_of(self.amount, self.total)
        figures = {
            "share": share,
            "floor": self.floor,
            "amount": self.amount,
            "unit": self.unit,
            "share_of_rows": share_of(self.n_rows, self.n_all_rows),
            "n_rows": self.n_rows,
        }
        return Finding(
            code,
            Severity.ERROR,
            message,
            evidence=figures | evidence,
            subject=self.subject,
            where=self.where,
            measured=share,
            limit=self.floor,
            unit="share",
            key=self.key,
            remedy=remedy,
        )


@rule("CG101", Severity.ERROR, "real share below floor", needs=("policy", "manifest", "index", "unit"))
def real_share(subject: Subject) -> Iterator[Finding]:
    """Share of real rows, and of each source that has a floor of its own, in the unit of the policy."""
    for part in _parts(subject):
        if part.is_broken:
            yield part.finding(
                "CG101",
                f"{part.what}: {shown(part.amount)} of {shown(part.total)} {part.unit} are a share of"
                f" {share_of(part.amount, part.total):.4f}, the floor is {part.floor:g}",
                f"add {part.missing} {part.unit} of this kind, or take others out",
                missing=part.missing,
            )


@rule(
    "CG107", Severity.ERROR, "weight breaks a floor that the rows keep", needs=("policy", "manifest", "index", "unit")
)
def effective_share(subject: Subject) -> Iterator[Finding]:
    """Floors that are broken in the unit of the policy (CG101) while the rows are enough of them."""
    for part in _parts(subject):
        if part.is_broken and part.rows_keep_it:
            idle = part.n_rows - part.n_trained_rows
            share = share_of(part.amount, part.total)
            yield part.finding(
                "CG107",
                f"{part.what}: {part.n_rows} of {part.n_all_rows} rows keep the floor of {part.floor:g}, what they"
                f" weigh does not: {shown(part.amount)} of {shown(part.total)} {part.unit} are a share of {share:.4f};"
                f" {idle} of these rows {'does' if idle == 1 else 'do'} not train",
                "let these rows train, or lessen how often the others stand or how long they are",
                n_retained_rows=idle,
            )


def _parts(subject: Subject) -> Iterator[_Part]:
    policy, manifest = subject.policy, subject.manifest
    assert policy is not None
    assert manifest is not None
    said = _figures(manifest, "origin", subject).get(int(Origin.REAL), (0, 0, 0.0))
    whole = (sum(manifest.rows_by("origin", limits=subject.limits).values()), manifest.amount, policy.unit)
    yield _Part("real rows", "real", {}, ("mix", "real_min_share"), policy.mix.real_min_share, *said, *whole)
    by_source = _figures(manifest, "source", subject)
    for name, source in sorted(policy.sources.items()):
        if source.min_share is not None:
            what, key = f"source {name!r}", ("sources", name, "min_share")
            figures = by_source.get(name, (0, 0, 0.0))
            yield _Part(what, name, {"source": name}, key, source.min_share, *figures, *whole)


def _figures(manifest: Manifest, column: str, subject: Subject) -> dict[Any, tuple[int, int, float]]:
    """Return rows, rows that train, and amount by the values of one column."""
    limits = subject.limits
    trained, amounts = manifest.trained_rows_by(column, limits=limits), manifest.amount_by(column, limits=limits)
    rows = manifest.rows_by(column, limits=limits)
    return {value: (n_rows, trained[value,], amounts[value,]) for (value,), n_rows in rows.items()}
