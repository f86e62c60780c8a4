"""Rows that weigh next to nothing: counted exactly, by source."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from collapse_guard.manifest.engine import connected

if TYPE_CHECKING:
    from collapse_guard.manifest.engine import Limits
    from collapse_guard.manifest.manifest import Manifest
    from collapse_guard.records import Origin

_LIGHT: Final = """
SELECT source, count(*) FROM rows WHERE origin = $origin AND amount <= $at_most GROUP BY source
"""


def light_rows(manifest: Manifest, origin: Origin, *, at_most: float, limits: Limits | None = None) -> dict[str, int]:
    """Return the rows of an origin whose amount is ``at_most`` or less, by source name; sources without any left out.

    Of the amount 0 the census tells; any other amount is asked of the parts. Raises ManifestError for a part that
    cannot be read.
    """
    if at_most > 0:
        with connected(limits, rows=manifest) as database:
            found = database.execute(_LIGHT, {"origin": int(origin), "at_most": at_most}).fetchall()
        return {source: int(n_rows) for source, n_rows in sorted(found)}
    trained = manifest.trained_rows_by("source", "origin", limits=limits)
    idle = {group: n - trained[group] for group, n in manifest.rows_by("source", "origin", limits=limits).items()}
    return {source: n_rows for (source, code), n_rows in sorted(idle.items()) if code == int(origin) and n_rows}
