"""What two manifests do not share: header fields, counts, and ids, row by row where digests differ."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from collapse_guard.errors import ManifestError
from collapse_guard.kernels import id_hex
from collapse_guard.manifest.engine import add_view, connected
from collapse_guard.manifest.index import INDEX_SCHEMA, origin_name
from collapse_guard.manifest.loss import MAX_IDS

if TYPE_CHECKING:
    from collections.abc import Sequence

    import duckdb

    from collapse_guard.manifest.engine import Limits
    from collapse_guard.manifest.header import Header
    from collapse_guard.manifest.manifest import Manifest
    from collapse_guard.manifest.shard import Shard

_FIELDS: Final = (
    "name",
    "generation",
    "unit",
    "unit_column",
    "id_rule",
    "class_column",
    "policy_digest",
    "parents",
    "takedowns",
    "filters",
)
_COUNTED: Final = ("source", "origin", "class")

# ``a`` and ``b`` hold the rows of shards that only one manifest has, ``shared`` those of shards that both have.
_ONLY: Final = """
SELECT DISTINCT id_hi, id_lo FROM {one} ANTI JOIN {two} USING (id_hi, id_lo) ANTI JOIN shared USING (id_hi, id_lo)
"""
# Rows count as often as they stand: what is left on either side has other tags, another amount or another number.
_OTHER: Final = """
WITH moved AS (
  SELECT id_hi, id_lo FROM (SELECT * FROM a EXCEPT ALL SELECT * FROM b)
  UNION ALL SELECT id_hi, id_lo FROM (SELECT * FROM b EXCEPT ALL SELECT * FROM a)
)
SELECT DISTINCT id_hi, id_lo FROM moved
SEMI JOIN (SELECT id_hi, id_lo FROM a UNION ALL SELECT id_hi, id_lo FROM shared) AS before USING (id_hi, id_lo)
SEMI JOIN (SELECT id_hi, id_lo FROM b UNION ALL SELECT id_hi, id_lo FROM shared) AS after USING (id_hi, id_lo)
"""
_GROUPS: Final = 'SELECT "{name}", count(*), fsum(amount) FROM {table} GROUP BY ALL'


@dataclass(frozen=True, slots=True)
class FieldChange:
    """A field of the header that differs, as plain values."""

    field: str
    before: Any
    after: Any


@dataclass(frozen=True, slots=True)
class GroupChange:
    """Rows and amount of a source, an origin or a class that differ; the amounts are None under different units."""

    name: str | None
    rows_before: int
    rows_after: int
    amount_before: float | None
    amount_after: float | None


@dataclass(frozen=True, slots=True)
class IdChange:
    """Ids that differ in one way.

    Args:
        n_ids: how many, each once.
        ids: at most ten of them, as 32 hexadecimal digits.
    """

    n_ids: int = 0
    ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Differences:
    """What two manifests do not share.

    Args:
        fields: fields of the header.
        sources: rows and amounts per source; so are origins and classes.
        only_before: ids that only the first one holds.
        only_after: ids that only the second one holds.
        retagged: ids that both hold, under other tags, with another amount, or another number of times.
        n_compared_rows: rows of shards that only one of them has; all others are equal by digest.
    """

    fields: tuple[FieldChange, ...]
    sources: tuple[GroupChange, ...]
    origins: tuple[GroupChange, ...]
    classes: tuple[GroupChange, ...]
    only_before: IdChange
    only_after: IdChange
    retagged: IdChange
    n_compared_rows: int

    @property
    def any(self) -> bool:
        """Whether anything differs."""
        groups = (self.fields, self.sources, self.origins, self.classes)
        return any(groups) or any(change.n_ids for change in (self.only_before, self.only_after, self.retagged))

    def as_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)


def compare_manifests(before: Manifest, after: Manifest, *, limits: Limits | None = None) -> Differences:
    """Return what ``before`` and ``after`` do not share; shards of equal digests are not read.

    When, by which version and from which files they were written does not count, nor does the order of shards.

    Raises ManifestError if their ids follow different rules, and for parts that cannot be read.
    """
    if before.header.id_rule != after.header.id_rule:
        text = f"ids of {after.name} follow {after.header.id_rule!r}, those of {before.name} {before.header.id_rule!r}"
        raise ManifestError(f"{text}; write one of them again under the rule of the other", path=after.path)
    a, b, both = _apart(before.shards, after.shards)
    for shard in (*a, *b, *both):
        shard.check_readable()
    same_unit = before.header.unit == after.header.unit
    with connected(limits) as database:
        for name, shards in (("a", a), ("b", b), ("shared", both)):
            add_view(database, name, shards)
        sources, origins, classes = (_groups(database, name, same_unit=same_unit) for name in _COUNTED)
        only_before, only_after, retagged = (_ids(database, query) for query in _queries())
    return Differences(
        _fields(before.header, after.header),
        sources,
        tuple(GroupChange(origin_name(int(str(each.name))), *_figures(each)) for each in origins),
        classes,
        only_before,
        only_after,
        retagged,
        n_compared_rows=sum(shard.entry.rows for shard in (*a, *b)),
    )


def _apart(
    before: Sequence[Shard], after: Sequence[Shard]
) -> tuple[tuple[Shard, ...], tuple[Shard, ...], tuple[Shard, ...]]:
    """Return shards of the first alone, of the second alone, and of both, as often as they stand there."""
    left = Counter(shard.entry.digest for shard in after)
    only_before: list[Shard] = []
    both: list[Shard] = []
    for shard in before:
        is_shared = left[shard.entry.digest] > 0
        left[shard.entry.digest] -= is_shared
        (both if is_shared else only_before).append(shard)
    shared = Counter(shard.entry.digest for shard in both)
    only_after = []
    for shard in after:
        is_shared = shared[shard.entry.digest] > 0
        shared[shard.entry.digest] -= is_shared
        if not is_shared:
            only_after.append(shard)
    return tuple(only_before), tuple(only_after), tuple(both)


def _fields(before: Header, after: Header) -> tuple[FieldChange, ...]:
    one, two = before.as_dict(), after.as_dict()
    return tuple(FieldChange(name, one[name], two[name]) for name in _FIELDS if one[name] != two[name])


def _queries() -> tuple[str, str, str]:
    return _ONLY.format(one="a", two="b"), _ONLY.format(one="b", two="a"), _OTHER


def _ids(database: duckdb.DuckDBPyConnection, query: str) -> IdChange:
    database.execute(f"CREATE OR REPLACE TEMP TABLE found AS {query}")
    row = database.execute("SELECT count(*) FROM found").fetchone()
    shown = database.execute("SELECT id_hi, id_lo FROM found ORDER BY ALL LIMIT ?", [MAX_IDS]).fetchall()
    return IdChange(int(row[0]) if row else 0, tuple(id_hex(hi, lo) for hi, lo in shown))


def _groups(database: duckdb.DuckDBPyConnection, name: str, *, same_unit: bool) -> tuple[GroupChange, ...]:
    """Return the groups of one index column whose rows or amount differ, by name; equal shards cancel out."""
    assert name in INDEX_SCHEMA.names
    found = {table: _counted(database, name, table) for table in ("a", "b", "shared")}
    changes = []
    for group in sorted({*found["a"], *found["b"]}, key=lambda label: (label is None, str(label))):
        (a_rows, a_amount), (b_rows, b_amount) = (found[table].get(group, (0, 0.0)) for table in ("a", "b"))
        if a_rows != b_rows or (same_unit and a_amount != b_amount):
            rows, amount = found["shared"].get(group, (0, 0.0))
            amounts = (amount + a_amount, amount + b_amount) if same_unit else (None, None)
            label = None if group is None else str(group)
            changes.append(GroupChange(label, rows + a_rows, rows + b_rows, *amounts))
    return tuple(changes)


def _counted(database: duckdb.DuckDBPyConnection, name: str, table: str) -> dict[Any, tuple[int, float]]:
    rows = database.execute(_GROUPS.format(name=name, table=table)).fetchall()
    return {group: (int(n_rows), float(amount)) for group, n_rows, amount in rows}


def _figures(change: GroupChange) -> tuple[int, int, float | None, float | None]:
    return change.rows_before, change.rows_after, change.amount_before, change.amount_after
