"""Rows whose tags cannot be believed: one finding per source and fault."""

from __future__ import annotations

from typing import TYPE_CHECKING

from collapse_guard.records import Finding, Severity

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping


def faulty_rows(
    code: str,
    faults: Mapping[tuple[str, str], int],
    said: Mapping[str, str],
    key: Callable[[str], tuple[str, ...]],
    remedy: str,
) -> Iterator[Finding]:
    """Yield a finding for each source and fault.

    Args:
        code: of the rule.
        faults: rows by source and fault.
        said: what is said of the rows, by fault.
        key: the policy key that asks for better tags, by source.
        remedy: what to do.
    """
    for (source, fault), n_rows in sorted(faults.items()):
        yield Finding(
            code,
            Severity.ERROR,
            f"source {source!r}: {n_rows} rows {said[fault]}",
            evidence={"n_rows": n_rows, "fault": fault},
            subject=f"{source}: {fault}",
            where={"source": source},
            measured=n_rows,
            limit=0,
            unit="rows",
            key=key(source),
            remedy=remedy,
        )
