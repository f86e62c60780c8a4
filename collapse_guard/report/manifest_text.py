"""Manifests, their differences and their chains as lines and tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from collapse_guard.manifest.figures import generators, origin_rows, real_share
from collapse_guard.manifest.index import origin_name
from collapse_guard.records import Evidence
from collapse_guard.report.tables import Table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from collapse_guard.manifest import Manifest
    from collapse_guard.manifest.chain import Link
    from collapse_guard.manifest.differences import Differences, GroupChange, IdChange
    from collapse_guard.manifest.verifying import Verification

Sections = list[str | Table]
#: Rows of a table at most; JSON has them all.
MAX_ROWS: Final = 30
SHORT: Final = 19  # "sha256:" and twelve digits


def manifest_view(manifest: Manifest, groups: Mapping[str, Mapping[Any, tuple[int, float]]]) -> dict[str, Any]:
    """Return a manifest as plain values under the schema ``collapse-guard/manifest-view/1``.

    Args:
        manifest: what is shown; its header alone is read.
        groups: rows and amounts per value of further index columns, by column.
    """
    header = manifest.header
    return {
        "schema": "collapse-guard/manifest-view/1",
        "path": None if manifest.path is None else str(manifest.path),
        "digest": manifest.digest,
        "amount": manifest.amount,
        "origin_rows": origin_rows(header),
        "real_share": real_share(header),
        "generators": list(generators(header)),
        "n_shards": len(header.shards),
        "header": {key: value for key, value in header.as_dict().items() if key not in {"shards", "filters"}},
        "by": {
            column: [{"value": value, "rows": rows, "amount": amount} for value, (rows, amount) in found.items()]
            for column, found in groups.items()
        },
    }


def manifest_sections(view: dict[str, Any]) -> Sections:
    """Return the lines and tables of :func:`manifest_view`."""
    header = view["header"]
    unit = header["unit"]
    sections: Sections = [
        f"{header['name']}, generation {header['generation']}, written {header['created']} by {header['tool']}",
        f"{header['index']['rows']:,} rows, {view['n_shards']:,} shards, amount {view['amount']:,.12g} {unit}",
        f"real share {view['real_share']:.2%} of rows",
        f"ids: {header['id_rule']}; class column: {header['class_column'] or '(none)'}",
        f"digest: {view['digest']}",
    ]
    sections += [f"parent: {parent['name']} {parent['digest']}" for parent in header["parents"]]
    sections += [f"policy: {header['policy_digest']}"] if header["policy_digest"] else []
    if header["takedowns"]:
        sections.append(f"takedowns: {header['takedowns']['rows']:,} rows, list {header['takedowns']['digest']}")
    rows = [
        (each["name"], each["origin"], each["rows"], each["real_rows"], each["amount"], ", ".join(each["generators"]))
        for each in header["sources"]
    ]
    sections.append(_table("sources", ("source", "origin", "rows", "real rows", "amount", "generators"), rows))
    for column, found in view["by"].items():
        counted = [(value_name(column, each["value"]), each["rows"], each["amount"]) for each in found]
        counted.sort(key=lambda row: -row[1])
        sections.append(_table(f"by {column}", (column, "rows", "amount"), counted))
    return _with_rests(sections)


def value_name(column: str, value: Any) -> Any:
    """Return a value of an index column as people know it.

    >>> value_name("origin", 2), value_name("class", None)
    ('synthetic', '(none)')
    """
    if value is None:
        return "(none)"
    if column == "origin":
        return origin_name(value)
    if column == "evidence":
        return Evidence(value).name.lower() if value in set(Evidence) else str(value)
    return str(value)


def difference_sections(found: Differences, *, unit: str) -> Sections:
    """Return what two manifests do not share, as lines and tables."""
    if not found.any:
        return ["the manifests hold the same rows, tags and amounts"]
    fields = [(each.field, _short(each.before), _short(each.after)) for each in found.fields]
    sections: Sections = [
        *(_id_lines("only in the first", found.only_before)),
        *(_id_lines("only in the second", found.only_after)),
        *(_id_lines("in both with other tags, amounts or counts", found.retagged)),
        _table("header", ("field", "first", "second"), fields),
    ]
    for title, changes in (("source", found.sources), ("origin", found.origins), ("class", found.classes)):
        sections.append(_changes(title, changes, unit))
    return _with_rests(sections)


def _id_lines(where: str, change: IdChange) -> list[str]:
    ids = f": {', '.join(change.ids)}{' ...' if change.n_ids > len(change.ids) else ''}" if change.n_ids else ""
    return [f"{change.n_ids:,} ids {where}{ids}"]


def _changes(title: str, changes: Sequence[GroupChange], unit: str) -> Table:
    rows = [
        (
            "(none)" if each.name is None else each.name,
            each.rows_before,
            each.rows_after,
            f"{each.rows_after - each.rows_before:+,}",
            each.amount_before,
            each.amount_after,
        )
        for each in changes
    ]
    columns = (title, "rows", "rows now", "change", f"amount ({unit})", "amount now")
    return _table(f"by {title}", columns, rows)


def verification_sections(found: Verification, name: str) -> Sections:
    """Return what a verification found, as lines and tables."""
    files = f"{found.n_files:,} data file{'' if found.n_files == 1 else 's'}"
    data = f", {files} ({found.n_bytes:,} bytes read)" if found.n_files else ""
    if found.holds:
        return [f"{name}: every digest holds{data}"]
    n_faults = len(found.mismatches) + len(found.files)
    sections: Sections = [f"{name}: {n_faults:,} difference{'' if n_faults == 1 else 's'}{data}"]
    sections.append(
        _table(
            "digests that do not hold",
            ("part", "recorded", "found"),
            [(each.part, _short(each.expected), _short(each.found)) for each in found.mismatches],
        )
    )
    sections.append(
        _table(
            "data files",
            ("file", "fault", "detail"),
            [(each.path, each.fault.value, each.detail) for each in found.files],
        )
    )
    return _with_rests(sections)


def chain_sections(links: Sequence[Link]) -> Sections:
    """Return a chain of generations as a table, oldest first, and what is missing."""
    rows = []
    for link in links:
        counted = origin_rows(link.header)
        changed = [f"+{name}" for name in link.new_real_sources if link.header.parents]
        changed += [f"-{name}" for name in link.lost_real_sources]
        rows.append(
            (
                link.header.generation,
                link.header.name,
                link.header.index.rows,
                counted.get("real", 0),
                counted.get("synthetic", 0),
                f"{real_share(link.header):.2%}",
                " ".join(changed),
                link.header.digest[:SHORT],
            )
        )
    columns = ("generation", "name", "rows", "real", "synthetic", "real share", "real sources", "digest")
    missing = [
        f"missing: the parent {parent.name} {parent.digest} of {link.header.name} was not found; name its folder"
        for link in links
        for parent in link.missing
    ]
    return [Table("", columns, tuple(rows)), *missing]


def _table(title: str, columns: tuple[str, ...], rows: Sequence[tuple[Any, ...]]) -> Table:
    return Table(title, columns, tuple(rows))


def _with_rests(sections: Sections) -> Sections:
    """Return sections whose tables are cut, with a line that says so."""
    cut: Sections = []
    for section in sections:
        if isinstance(section, Table) and len(section.rows) > MAX_ROWS:
            cut.append(Table(section.title, section.columns, section.rows[:MAX_ROWS]))
            cut.append(f"... and {len(section.rows) - MAX_ROWS:,} more; --output-format json has them all")
        else:
            cut.append(section)
    return cut


def _short(value: Any) -> str:
    """Return a value of a header in one cell."""
    text = "(none)" if value in (None, [], ()) else str(value)
    limit = 60
    if text.startswith("sha256:"):
        return text[:SHORT]
    return text if len(text) <= limit else f"{text[: limit - 3]}..."
