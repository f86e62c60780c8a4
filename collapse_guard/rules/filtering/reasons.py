"""CG404: does every row that was left out have a recorded reason?"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Final

from collapse_guard.kernels import one_line
from collapse_guard.records import Finding, Origin, Severity
from collapse_guard.rules.filtering.receipts import Receipt, receipts_of, sound_receipts
from collapse_guard.rules.registry import Subject, rule

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_KEY: Final = ("filters", "require_reason")


@rule("CG404", Severity.ERROR, "rows dropped without a recorded reason", needs=("policy", "manifest", "index"))
def reasons_recorded(subject: Subject) -> Iterator[Finding]:
    """Synthetic rows without a receipt, more of them than filters kept, and rows lost between two filters."""
    assert subject.policy is not None
    assert subject.manifest is not None
    if not subject.policy.filters.require_reason:
        return
    yield from sound_receipts(subject, "CG404", Severity.ERROR, _KEY)[1]
    receipts = receipts_of(subject.manifest)
    counted = subject.manifest.rows_by("source", "origin", "generation", limits=subject.limits)
    made = {(source, depth): rows for (source, origin, depth), rows in counted.items() if origin == Origin.SYNTHETIC}
    yield from _without_receipt(made, receipts)
    chains: dict[tuple[str, int | None], list[Receipt]] = {}
    for receipt in receipts:
        if receipt.is_sound:
            chains.setdefault((receipt.source, receipt.generation), []).append(receipt)
    for (source, generation), chain in chains.items():
        rows = sum(n for (name, depth), n in made.items() if name == source and generation in {None, depth})
        yield from _beyond_receipts(rows, chain)


def _without_receipt(made: Mapping[tuple[str, int], int], receipts: Sequence[Receipt]) -> Iterator[Finding]:
    """Yield synthetic rows that no filter has a receipt of."""
    for (source, depth), rows in made.items():
        if not any(receipt.source == source and receipt.generation in {None, depth} for receipt in receipts):
            where = {"source": source, "generation": str(depth)}
            text = "{n} rows have no receipt of a filter: nothing says what was left out, or why"
            yield _unexplained(f"{source}, generation {depth}", where, rows, text)


def _beyond_receipts(rows: int, chain: Sequence[Receipt]) -> Iterator[Finding]:
    """Yield what the receipts of one source do not explain; they stand in the order in which its filters ran."""
    kept = min(receipt.n_kept_rows for receipt in chain)
    if rows > kept:
        text = f"{{n}} of {rows} rows were not among the {kept} that the filters kept"
        yield _unexplained(chain[0].label, chain[0].where, rows - kept, text)
    for first, second in pairwise(chain):
        if first.n_kept_rows > second.n_rows:
            text = f"{{n}} rows that {one_line(first.filter)!r} kept never came to {one_line(second.filter)!r}"
            yield _unexplained(second.subject, second.where, first.n_kept_rows - second.n_rows, text)


def _unexplained(name: str, where: dict[str, str], n_rows: int, text: str) -> Finding:
    return Finding(
        "CG404",
        Severity.ERROR,
        f"source {one_line(name)!r}: {text.replace('{n}', str(n_rows), 1)}",
        evidence={"n_rows": n_rows},
        subject=name,
        where=where,
        measured=n_rows,
        limit=0,
        unit="rows",
        key=_KEY,
        remedy="make the training set with collapse_guard.curate, or write the receipts of your own filter",
    )
