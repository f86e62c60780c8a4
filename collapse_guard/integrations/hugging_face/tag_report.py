"""Tags of rows, column by column -> how many of them are missing, unknown, impossible or too deep."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from collapse_guard.curate import ARROW_TYPES
from collapse_guard.errors import ProvenanceError
from collapse_guard.records import (
    EVIDENCE,
    GENERATION,
    GENERATOR,
    ID,
    ORIGIN,
    PROVENANCE_COLUMNS,
    SOURCE,
    UNKNOWN_GENERATION,
    Evidence,
    Origin,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from collapse_guard.policy import Policy

_ID_BYTES: Final = 16
_TAG_FIRST: Final = "tag all rows (collapse_guard.tag) before they are joined"
_TAG_AGAIN: Final = "tag the rows again with overwrite=True"


@dataclass(frozen=True)
class TagReport:
    """What is wrong with the tags of a dataset, in rows. A row may be counted for more than one fault.

    Args:
        rows: rows that were looked at.
        complete: whether these are all rows; a stream is peeked.
        unknown: rows of unknown origin: said to be, null, or without any tag.
        without_evidence: rows whose origin is stated without evidence.
        impossible: codes that mean nothing, and real rows that are generated (generation 1 or more) or known to be real
            by statistics, which never show it.
        too_deep: rows of a known origin whose generation is unknown, or above ``max_depth`` or that of their source.
        malformed_ids: ids that are not 16 bytes.
        null_tags: column -> nulls, of columns in which a null is no answer.
        missing_columns: provenance columns that are not there.
        wrong_types: column -> its type, where it should be another.
        max_depth: ``provenance.max_generation_depth`` of the policy.
        splits: reports of the splits, for datasets that have them; the other fields are then sums.
    """

    rows: int
    complete: bool = True
    unknown: int = 0
    without_evidence: int = 0
    impossible: int = 0
    too_deep: int = 0
    malformed_ids: int = 0
    null_tags: Mapping[str, int] = field(default_factory=dict)
    missing_columns: tuple[str, ...] = ()
    wrong_types: Mapping[str, str] = field(default_factory=dict)
    max_depth: int = 0
    splits: Mapping[str, TagReport] = field(default_factory=dict)

    @classmethod
    def of_splits(cls, splits: Mapping[str, TagReport]) -> TagReport:
        """Return the sum of the reports of splits."""
        parts = list(splits.values())
        nulls: Counter[str] = Counter()
        for part in parts:
            nulls.update(part.null_tags)
        missing = {name for part in parts for name in part.missing_columns}
        return cls(
            rows=sum(part.rows for part in parts),
            complete=all(part.complete for part in parts),
            unknown=sum(part.unknown for part in parts),
            without_evidence=sum(part.without_evidence for part in parts),
            impossible=sum(part.impossible for part in parts),
            too_deep=sum(part.too_deep for part in parts),
            malformed_ids=sum(part.malformed_ids for part in parts),
            null_tags=dict(nulls),
            missing_columns=tuple(name for name in PROVENANCE_COLUMNS if name in missing),
            wrong_types={name: kind for part in parts for name, kind in part.wrong_types.items()},
            max_depth=max((part.max_depth for part in parts), default=0),
            splits=dict(splits),
        )

    @property
    def problems(self) -> tuple[str, ...]:
        """One line for each fault: how many rows, what, what to do; empty if there is none."""
        if self.splits:
            return tuple(f"{name}: {line}" for name, part in self.splits.items() for line in part.problems)
        return tuple(self._lines())

    @property
    def ok(self) -> bool:
        """Whether there is no fault."""
        return not self.problems

    def raise_for_problems(self) -> None:
        """Raise ProvenanceError with every fault, if there are any."""
        if not self.ok:
            raise ProvenanceError("; ".join(self.problems))

    def _lines(self) -> Iterator[str]:
        of = f"of {self.rows} rows"
        if self.missing_columns:
            yield f"the rows lack {', '.join(self.missing_columns)}; {_TAG_FIRST}"
        for name, kind in self.wrong_types.items():
            yield f"{name} is {kind} where {_needed(name)} is needed; {_TAG_AGAIN}"
        if self.null_tags:
            columns = ", ".join(f"{name} in {n_rows}" for name, n_rows in self.null_tags.items())
            yield f"tags {of} are null ({columns}); {_TAG_FIRST}"
        if self.unknown:
            yield f"{self.unknown} {of} are of unknown origin; {_TAG_FIRST}, or leave them out"
        if self.without_evidence:
            yield f"{self.without_evidence} {of} state an origin without evidence; tag them with how it is known"
        if self.impossible:
            yield f"{self.impossible} {of} have tags that cannot be (codes, or real rows that are not); {_TAG_AGAIN}"
        if self.too_deep:
            limit = f"are of a generation that is unknown or above the limit ({self.max_depth}, or that of the source)"
            yield f"{self.too_deep} {of} {limit}; leave them out, or raise provenance.max_generation_depth"
        if self.malformed_ids:
            yield f"{self.malformed_ids} {of} have a {ID} that is not {_ID_BYTES} bytes; {_TAG_AGAIN}"


def tag_report(
    columns: Mapping[str, pa.Array | pa.ChunkedArray], n_rows: int, policy: Policy, *, complete: bool
) -> TagReport:
    """Return the report on the provenance columns of ``n_rows`` rows; columns that are not there are unknown.

    >>> from collapse_guard.policy import policy_from_mapping
    >>> tag_report({}, 3, policy_from_mapping({"version": 1}), complete=True).unknown
    3
    """
    origin = _codes(columns, ORIGIN, n_rows, Origin.UNKNOWN)
    evidence = _codes(columns, EVIDENCE, n_rows, Evidence.NONE)
    generation = _codes(columns, GENERATION, n_rows, UNKNOWN_GENERATION)
    is_known, is_real = origin != Origin.UNKNOWN, origin == Origin.REAL
    is_no_code = (origin < 0) | (origin >= len(Origin)) | (evidence < 0) | (evidence >= len(Evidence))
    is_never_real = (evidence == Evidence.STATISTICAL) | ((generation > 0) & (generation < UNKNOWN_GENERATION))
    is_deep = is_known & (generation > _limits(columns.get(SOURCE), n_rows, policy))
    nulls = {name: column.null_count for name, column in columns.items() if name != GENERATOR}
    return TagReport(
        rows=n_rows,
        complete=complete,
        unknown=n_rows - int(is_known.sum()),
        without_evidence=int((is_known & (evidence == Evidence.NONE)).sum()),
        impossible=int((is_no_code | (is_real & is_never_real)).sum()),
        too_deep=int(is_deep.sum()),
        malformed_ids=_n_malformed(columns.get(ID)),
        null_tags={name: n_nulls for name, n_nulls in nulls.items() if n_nulls},
        missing_columns=tuple(name for name in PROVENANCE_COLUMNS if name not in columns),
        wrong_types={name: str(c.type) for name, c in columns.items() if n_rows and not _fits(name, c.type)},
        max_depth=policy.provenance.max_generation_depth,
    )


def _codes(
    columns: Mapping[str, pa.Array | pa.ChunkedArray], name: str, n_rows: int, unknown: int
) -> NDArray[np.float64]:
    """Return a column of codes as numbers; what is null, no number or not there is unknown."""
    column = columns.get(name)
    if column is None or not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
        return np.full(n_rows, float(unknown))
    values = np.asarray(pc.fill_null(column.cast(pa.float64(), safe=False), float(unknown)).to_numpy())
    return np.where(np.isnan(values), float(unknown), values)


def _limits(source: pa.Array | pa.ChunkedArray | None, n_rows: int, policy: Policy) -> NDArray[np.float64]:
    """Return the largest generation that each row may have."""
    limits = np.full(n_rows, float(policy.provenance.max_generation_depth))
    depths = {name: rule.max_depth for name, rule in policy.sources.items() if rule.max_depth is not None}
    if source is None or not pa.types.is_string(source.type):
        return limits
    for name, depth in depths.items():
        is_from_it = np.asarray(pc.fill_null(pc.equal(source, name), fill_value=False).to_numpy())
        limits[is_from_it] = np.minimum(limits[is_from_it], depth)
    return limits


def _n_malformed(ids: pa.Array | pa.ChunkedArray | None) -> int:
    if ids is None or not (pa.types.is_binary(ids.type) or pa.types.is_large_binary(ids.type)):
        return 0  # of fixed size, or reported as another type
    return int(pc.sum(pc.not_equal(pc.binary_length(ids), _ID_BYTES)).as_py() or 0)


def _fits(name: str, kind: pa.DataType) -> bool:
    """Return whether a column has the type of its tag; an untagged part that was joined leaves it as it was."""
    if name == ID:
        return kind in {pa.binary(), pa.large_binary(), pa.binary(_ID_BYTES)}
    texts = {pa.string(), pa.large_string()}
    if pa.types.is_null(kind):  # counted as nulls
        return True
    return kind in texts if ARROW_TYPES[name] == pa.string() else kind == ARROW_TYPES[name]


def _needed(name: str) -> str:
    return f"binary of {_ID_BYTES} bytes" if name == ID else str(ARROW_TYPES[name])
