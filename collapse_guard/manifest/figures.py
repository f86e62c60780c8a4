"""Figures that the header alone gives: no part of the index is read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from collapse_guard.records import Origin

if TYPE_CHECKING:
    from collapse_guard.manifest.header import Header

_REAL = Origin.REAL.name.lower()
_MIXED = Origin.MIXED.name.lower()


def origin_rows(header: Header) -> dict[str, int]:
    """Return rows per origin, in the order of the origins, those without rows left out.

    Real rows are exact. What else a source of several origins holds is ``mixed``: the header does not split it; the
    index does (``manifest.rows_by("origin")``).
    """
    rows = dict.fromkeys((origin.name.lower() for origin in Origin), 0)
    for source in header.sources:
        rows[_REAL] += source.real_rows
        rows[_MIXED if source.origin == _REAL else source.origin] += source.rows - source.real_rows
    return {name: n_rows for name, n_rows in rows.items() if n_rows}


def real_share(header: Header) -> float:
    """Return the share of rows that are real, in [0, 1]; 0 for no rows."""
    n_rows = header.index.rows
    return origin_rows(header).get(_REAL, 0) / n_rows if n_rows else 0.0


def real_sources(header: Header) -> frozenset[str]:
    """Return the names of sources that hold real rows."""
    return frozenset(source.name for source in header.sources if source.real_rows)


def generators(header: Header) -> tuple[str, ...]:
    """Return every generator that a source names, sorted."""
    return tuple(sorted({generator for source in header.sources for generator in source.generators}))
