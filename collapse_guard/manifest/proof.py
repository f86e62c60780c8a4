"""The accumulation proof: real rows of the parent that are not real rows of the child (DuckDB anti-join)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from collapse_guard.kernels import id_hex, one_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    import duckdb

    from collapse_guard.manifest.manifest import Manifest
    from collapse_guard.records import Origin

MAX_IDS: Final = 10

_LOST: Final = """
CREATE TEMP TABLE lost AS
SELECT DISTINCT p.id_hi, p.id_lo, p.source, p.class FROM previous p
ANTI JOIN (SELECT id_hi, id_lo FROM current WHERE origin = 1) c ON p.id_hi = c.id_hi AND p.id_lo = c.id_lo
WHERE p.origin = 1 AND (? OR list_contains(?, p.source)) AND NOT list_contains(?, p.source)
"""
_NEW: Final = """
SELECT n.class, count(*) FROM current n
ANTI JOIN previous p ON n.id_hi = p.id_hi AND n.id_lo = p.id_lo
WHERE n.origin = ? GROUP BY n.class ORDER BY n.class NULLS LAST
"""


@dataclass(frozen=True, slots=True)
class Loss:
    """Real rows that a generation lost.

    Args:
        n_rows: how many.
        by_source_and_class: (source, class or None, rows), largest first.
        ids: at most ten of them, as 32 hexadecimal digits.
    """

    n_rows: int = 0
    by_source_and_class: tuple[tuple[str, str | None, int], ...] = ()
    ids: tuple[str, ...] = ()

    def describe(self) -> str:
        """Return one line: how many rows, of which source and class, which ids.

        >>> Loss(3, (("web", "cat", 3),), ("00ff",)).describe()
        '3 real rows lost: web/cat 3; ids 00ff'
        """
        row = "row" if self.n_rows == 1 else "rows"
        return f"{self.n_rows} real {row} lost: {listed(self.by_source_and_class, self.ids)}"


def listed(groups: Sequence[tuple[str, str | None, int]], ids: Sequence[str]) -> str:
    """Return rows by source and class, five groups at most, and their ids, as one line.

    >>> listed([("web", None, 2)], ["00ff"])
    'web/(no class) 2; ids 00ff'
    """
    shown = ", ".join(one_line(f"{source}/{label or '(no class)'} {rows}") for source, label, rows in groups[:5])
    more = f" and {len(groups) - 5} more groups" if len(groups) > 5 else ""  # noqa: PLR2004 - as many as are shown
    return f"{shown}{more}; ids {', '.join(ids)}"


def lost_real_rows(
    previous: Manifest, current: Manifest, *, scope: Sequence[str] | None = None, exempt: Sequence[str] = ()
) -> Loss:
    """Return the distinct real rows of ``previous`` that are not real rows of ``current``.

    Args:
        scope: sources that must accumulate; None for all.
        exempt: sources that need not.
    """
    with _connected(previous, current) as database:
        database.execute(_LOST, [scope is None, list(scope or ()), list(exempt)])
        groups = database.execute(
            "SELECT source, class, count(*) FROM lost GROUP BY ALL ORDER BY 3 DESC, 1, 2 NULLS LAST"
        ).fetchall()
        ids = database.execute(
            "SELECT DISTINCT id_hi, id_lo FROM lost ORDER BY id_hi, id_lo LIMIT ?", [MAX_IDS]
        ).fetchall()
    grouped = tuple((str(source), label, int(rows)) for source, label, rows in groups)
    return Loss(sum(rows for _, _, rows in grouped), grouped, tuple(id_hex(hi, lo) for hi, lo in ids))


def new_rows_by_class(previous: Manifest, current: Manifest, *, origin: Origin) -> dict[str | None, int]:
    """Return rows of ``origin`` that only ``current`` holds, per class."""
    with _connected(previous, current) as database:
        found: list[tuple[Any, ...]] = database.execute(_NEW, [int(origin)]).fetchall()
    return {label: int(rows) for label, rows in found}


def _connected(previous: Manifest, current: Manifest) -> duckdb.DuckDBPyConnection:
    import duckdb  # noqa: PLC0415 - 0.1 s that reading a header need not pay

    database = duckdb.connect(":memory:", config={"preserve_insertion_order": "false"})
    database.register("previous", previous.index)
    database.register("current", current.index)
    return database
