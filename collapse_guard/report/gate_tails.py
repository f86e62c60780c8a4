"""The rare classes of a gate result in figures: who is still there, whom filters took, how much is left of variety."""

from __future__ import annotations

import bisect
import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from collapse_guard.records import Origin
from collapse_guard.stats.binomial import lower_shares

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from collapse_guard.manifest import FilterReceipt, Limits, Manifest
    from collapse_guard.rules.registry import Subject

#: Classes that are listed; of more, the rarest half as many, and as many spread over the rest.
MOST_CLASSES: Final = 2_000
#: Lost classes that are listed, the commonest first: those that a reader misses.
MOST_LOST: Final = 500
#: A class with so many real rows stands in the bin that begins here.
BIN_STARTS: Final = (0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 10_000, 100_000, 1_000_000)
#: Error level on each side of an interval.
INTERVAL_ERROR: Final = 0.025
_HEAD: Final = 10

Counts = dict[str, int]


def tails_of(subject: Subject) -> dict[str, Any] | None:
    """Return rows per class here and in the reference, the classes that are gone, and coverage by size.

    The reference is that of the policy, or the parent; without either, or without classes in it, the real rows here
    stand for it. None if no row carries a class.
    """
    manifest, limits = subject.manifest, subject.limits
    assert manifest is not None
    real, made = (manifest.class_rows(origin, limits=limits) for origin in (Origin.REAL, Origin.SYNTHETIC))
    trained = manifest.class_rows(trained=True, limits=limits)
    before = subject.reference or subject.previous
    least = subject.policy.coverage.min_class_rows if subject.policy and subject.policy.coverage else 1
    held = {} if before is None else before.class_rows(Origin.REAL, limits=limits)
    reference = {name: n for name, n in (held or real or trained).items() if n >= least}
    if not reference:
        return None
    ranked = sorted(reference, key=lambda name: (-reference[name], -trained.get(name, 0), name))
    rows = [_class(rank, name, reference, trained, real, made) for rank, name in enumerate(ranked, start=1)]
    lost = [each for each in rows if not each["rows"]]
    return {
        "reference": before.header.name if before is not None and held else None,
        "min_class_rows": least,
        "n_classes": len(rows),
        "n_lost": len(lost),
        "n_new": len(trained.keys() - reference.keys()),
        "lost": [{"class": each["class"], "reference_rows": each["reference_rows"]} for each in lost[:MOST_LOST]],
        "classes": spread(rows),
        "bins": _coverage_bins(rows),
    }


def _class(rank: int, name: str, reference: Counts, trained: Counts, real: Counts, made: Counts) -> dict[str, Any]:
    return {
        "rank": rank,
        "class": name,
        "reference_rows": reference[name],
        "rows": trained.get(name, 0),
        "real_rows": real.get(name, 0),
        "synthetic_rows": made.get(name, 0),
    }


def spread(ranked: Sequence[dict[str, Any]], most: int = MOST_CLASSES) -> list[dict[str, Any]]:
    """Return at most ``most`` of ranked entries: the last half of that, and as many spread evenly over the rest.

    >>> [entry["rank"] for entry in spread([{"rank": n} for n in range(1, 11)], most=4)]
    [1, 8, 9, 10]
    """
    if len(ranked) <= most:
        return list(ranked)
    half = most // 2
    rest = ranked[: len(ranked) - half]
    places = np.unique(np.linspace(0, len(rest) - 1, most - half).round().astype(int))
    return [*(rest[place] for place in places.tolist()), *ranked[len(ranked) - half :]]


def size_bin(n_rows: int) -> tuple[int, int | None]:
    """Return the first and last size of the bin that a class of ``n_rows`` real rows stands in; None for no end.

    >>> size_bin(1), size_bin(30), size_bin(10**7)
    ((1, 1), (20, 49), (1000000, None))
    """
    place = bisect.bisect_right(BIN_STARTS, n_rows)
    return BIN_STARTS[place - 1], BIN_STARTS[place] - 1 if place < len(BIN_STARTS) else None


def _coverage_bins(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return classes of the reference by their real rows there, and how many of them still train."""
    held: dict[tuple[int, int | None], list[dict[str, Any]]] = {}
    for each in rows:
        held.setdefault(size_bin(each["reference_rows"]), []).append(each)
    return [
        {
            "from": first,
            "to": last,
            "n_classes": len(found),
            "n_alive": sum(each["rows"] > 0 for each in found),
            "reference_rows": sum(each["reference_rows"] for each in found),
            "rows": sum(each["rows"] for each in found),
            "real_rows": sum(each["real_rows"] for each in found),
        }
        for (first, last), found in sorted(held.items(), key=lambda item: item[0][0])
    ]


def filters_of(subject: Subject) -> list[dict[str, Any]]:
    """Return what each filter removed of each source, by the real rows of the class; from the receipts alone."""
    manifest, limits = subject.manifest, subject.limits
    assert manifest is not None
    before = subject.reference or subject.previous or manifest
    sizes = before.class_rows(Origin.REAL, limits=limits)
    origins = {source.name: source.origin for source in manifest.header.sources}
    return [_removal(receipt, sizes, origins.get(receipt.source)) for receipt in manifest.header.filters]


def _removal(receipt: FilterReceipt, sizes: Mapping[str, int], origin: str | None) -> dict[str, Any]:
    held: dict[tuple[int, int | None], list[int]] = {}
    for cell in receipt.cells:
        counts = held.setdefault(size_bin(sizes.get(cell.cell, 0)), [0, 0, 0])
        for place, n in enumerate((1, cell.rows, cell.kept_rows)):
            counts[place] += n
    rows, kept = (sum(getattr(cell, name) for cell in receipt.cells) for name in ("rows", "kept_rows"))
    bins = [
        {"from": first, "to": last, "n_classes": n, "rows": n_rows, "kept_rows": n_kept}
        | removed_share(n_rows - n_kept, n_rows)
        for (first, last), (n, n_rows, n_kept) in sorted(held.items(), key=lambda item: item[0][0])
    ]
    whole = {"rows": rows, "kept_rows": kept} | removed_share(rows - kept, rows)
    return {"source": receipt.source, "origin": origin, "filter": receipt.filter, **whole, "bins": bins}


def removed_share(n_removed: int, n_rows: int) -> dict[str, Any]:
    """Return the share of rows that were removed, with its exact 95 % interval (Clopper-Pearson); nulls for no rows.

    >>> removed_share(5, 100)["removed_share"]
    0.05
    """
    if n_rows <= 0:
        return {"removed_share": None, "low": None, "high": None}
    counts = np.array([n_removed, n_rows - n_removed])
    low, other = lower_shares(counts, n_rows, error=INTERVAL_ERROR).tolist()
    return {"removed_share": n_removed / n_rows, "low": low, "high": 1 - other}


def diversity_of(which: str, manifest: Manifest, limits: Limits | None) -> dict[str, Any]:
    """Return how many classes train, how many they are worth (exp of the entropy), and what the ten largest hold."""
    counts = sorted(manifest.class_rows(trained=True, limits=limits).values(), reverse=True)
    n_rows = sum(counts)
    return {
        "which": which,
        "name": manifest.header.name,
        "generation": manifest.header.generation,
        "n_classes": len(counts),
        "effective_classes": effective_number(counts),
        "head_share": sum(counts[:_HEAD]) / n_rows if n_rows else None,
    }


def effective_number(counts: Sequence[int]) -> float:
    """Return the number of equally common classes that are as varied: the exponential of Shannon's entropy (Hill 1973).

    >>> effective_number([5, 5]), effective_number([])
    (2.0, 0.0)
    """
    n_rows = sum(counts)
    return math.exp(-math.fsum(n / n_rows * math.log(n / n_rows) for n in counts if n)) if n_rows else 0.0
