"""What the tags of a dataset say, and whether they can be trusted: missing and null tags are unknown rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from collapse_guard.errors import ProvenanceError
from collapse_guard.records import (
    DATE,
    EVIDENCE,
    GENERATION,
    GENERATOR,
    ID,
    ORIGIN,
    UNKNOWN_DATE,
    UNKNOWN_GENERATION,
    Evidence,
    Origin,
)

if TYPE_CHECKING:
    from collections.abc import Iterable


_PREFIX: Final = "cg_"
_ID_BYTES: Final = 16
#: Rows of a stream that are looked at if nothing is said; streams have no end to wait for.
_PEEKED_ROWS: Final = 1000
#: What a null means, column by column; a row without a source, a generator or an id has none.
_UNKNOWN: Final[dict[str, int]] = {
    ORIGIN: Origin.UNKNOWN,
    EVIDENCE: Evidence.NONE,
    GENERATION: UNKNOWN_GENERATION,
    DATE: UNKNOWN_DATE,
}
#: Null there is an answer: real rows have no generator.
_NULLABLE: Final = frozenset({GENERATOR})
_TAG_IT: Final = "tag the rows (collapse_guard.tag) before they are joined"


@dataclass(frozen=True, slots=True)
class TagReport:
    """What is wrong with the tags of a dataset, in numbers of rows.

    Args:
        rows: rows that were looked at.
        complete: whether these are all rows; a stream is peeked.
        unknown: rows of unknown origin, null or untagged ones included.
        without_evidence: rows whose origin is stated without evidence.
        unbelievable: rows that claim to be real by ``statistical`` evidence, which can never show that.
        too_deep: rows beyond ``provenance.max_generation_depth`` or the ``max_depth`` of their source; a generated row
            of unknown generation is one.
        null_tags: nulls by column, where a null is no answer.
        malformed_ids: ids that are not 16 bytes.
        missing_columns: provenance columns that are not there.
        wrong_types: column -> "type that is there, not type that is needed".
        max_depth: the limit that ``too_deep`` was counted against.
        split: name of the split, for datasets that have them.
    """

    rows: int
    complete: bool = True
    unknown: int = 0
    without_evidence: int = 0
    unbelievable: int = 0
    too_deep: int = 0
    null_tags: Mapping[str, int] = field(default_factory=dict)
    malformed_ids: int = 0
    missing_columns: tuple[str, ...] = ()
    wrong_types: Mapping[str, str] = field(default_factory=dict)
    max_depth: int = 0
    split: str | None = None

    @property
    def problems(self) -> tuple[str, ...]:
        """One line for each fault: what, how many rows, what to do; empty if there is none."""
        where = "" if self.split is None else f"split {self.split!r}: "
        return tuple(where + line for line in self._lines())

    @property
    def ok(self) -> bool:
        """Whether there is no fault."""
        return not self.problems

    def raise_for_problems(self) -> None:
        """Raise ProvenanceError with all faults in one line, if there are any."""
        if not self.ok:
            raise ProvenanceError("; ".join(self.problems))

    def _lines(self) -> Iterable[str]:
        of = f"of {self.rows} rows"
        if self.missing_columns:
            yield f"the rows lack {', '.join(self.missing_columns)}: {_TAG_IT}"
        for name, kinds in self.wrong_types.items():
            yield f"{name} is {kinds}: cast it, or tag the rows again with overwrite=True"
        for name, n_rows in self.null_tags.items():
            yield f"{n_rows} {of} have a null {name}: {_TAG_IT}"
        if self.unknown:
            yield f"{self.unknown} {of} are of unknown origin: {_TAG_IT}, or leave them out"
        if self.without_evidence:
            yield f"{self.without_evidence} {of} state an origin without evidence: say how it is known"
        if self.unbelievable:
            yield f"{self.unbelievable} {of} are real by statistical evidence, which never shows that: tag them unknown"
        if self.too_deep:
            yield f"{self.too_deep} {of} are of a generation above {self.max_depth} (or unknown): leave them out"
        if self.malformed_ids:
            yield f"{self.malformed_ids} {of} have a {ID} that is not {_ID_BYTES} bytes: tag them again"


class TagReports(dict[str, TagReport]):
    """The reports of the splits of a dataset, by name of the split; it is used like one report."""

    @property
    def problems(self) -> tuple[str, ...]:
        """One line for each fault of each split."""
        return tuple(line for report in self.values() for line in report.problems)

    @property
    def ok(self) -> bool:
        """Whether no split has a fault."""
        return not self.problems

    def raise_for_problems(self) -> None:
        """Raise ProvenanceError with the faults of all splits, if there are any."""
        if not self.ok:
            raise ProvenanceError("; ".join(self.problems))
