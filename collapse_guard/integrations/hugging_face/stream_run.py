"""One pass over the streams of a mix: which row comes next, and where that leaves it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypedDict

from collapse_guard.errors import ProvenanceError
from collapse_guard.mixing.prefix import PrefixCaps, PrefixTally, RowTags, count, draws, is_due, picked
from collapse_guard.records import GENERATION, GENERATOR, ORIGIN, SOURCE, Origin

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from collapse_guard.integrations.hugging_face.stream_reader import Place, StreamReader

#: Rows too deep to enter that are stepped over in search of the next one; a stream of nothing else must not hang it.
_MOST_SKIPPED: Final = 1000


@dataclass(frozen=True)
class StreamHead:
    """What is known of a stream before it is read.

    Args:
        is_real: which part it belongs to.
        source: of its first row.
        n_rows: None if it is not known.
    """

    is_real: bool
    source: str
    n_rows: int | None

    @property
    def part(self) -> str:
        """``real`` or ``synthetic``."""
        return "real" if self.is_real else "synthetic"


@dataclass(frozen=True)
class MixRules:
    """What decides the order and size of a mix; the same for all of its shards.

    Args:
        caps: of the policy.
        pace: synthetic rows per real row.
        seed: of the order; moved by epochs and workers.
        policy_digest: of the policy.
        streams_digest: over the first rows and known sizes of all streams.
        shards: (how many, which) of each time the mix was divided.
        unknown_sources: sources that the policy declares as unknown; unknown rows of others are refused.
    """

    caps: PrefixCaps
    pace: float
    seed: int
    policy_digest: str
    streams_digest: str
    shards: tuple[tuple[int, int], ...] = ()
    unknown_sources: frozenset[str] = frozenset()


class MixState(TypedDict):
    """Where a mix stands, as plain values."""

    policy: str
    streams: str
    order: str
    step: int
    rows: list[int]
    too_deep: list[int]
    ended: list[int]
    tally: PrefixTally
    places: list[Place]


class MixRun:
    """One pass over a mix; all that must outlive it stands in ``state``.

    Args:
        readers: of the streams, each at its place in ``state``.
        heads: of the streams.
        rules: of the mix.
        state: where to begin; it is kept up to date.
    """

    def __init__(
        self, readers: Sequence[StreamReader], heads: Sequence[StreamHead], rules: MixRules, state: MixState
    ) -> None:
        self.readers, self.heads, self.rules, self.state = readers, heads, rules, state
        self.open = {
            is_real: [n for n, h in enumerate(heads) if h.is_real is is_real and n not in state["ended"]]
            for is_real in (True, False)
        }

    def rows(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield keys and rows; a step never waits for synthetic rows, and ends only when no real row is left."""
        state, tally = self.state, self.state["tally"]
        while True:
            which, among = draws(self.rules.seed, state["step"])
            found = self._synthetic(among) if is_due(tally, self.rules.pace, which) else None
            found = found or self._real(among) or self._synthetic(among)
            if found is None:
                return
            number, row, tags = found
            count(tally, tags)
            self.readers[number].take()
            state["rows"][number] += 1
            state["step"] += 1
            yield f"{number}_{state['rows'][number]}", row

    def _real(self, draw: float) -> tuple[int, dict[str, Any], RowTags] | None:
        while numbers := self.open[True]:
            number = numbers[picked(self._weights(numbers), draw)]
            row = self.readers[number].head()
            if row is not None:
                return number, row, self._tags(number, row)
            self._close(number)
        return None

    def _synthetic(self, draw: float) -> tuple[int, dict[str, Any], RowTags] | None:
        """Return the next row of the drawn stream, or of another one if no cap has room for it."""
        numbers = list(self.open[False])
        while numbers:
            number = numbers.pop(picked(self._weights(numbers), draw))
            row = self._shallow(number)
            if row is None:
                self._close(number)
                continue
            tags = self._tags(number, row)
            if not self.rules.caps.is_too_deep(tags) and self.rules.caps.admit(tags, self.state["tally"]):
                return number, row, tags
        return None

    def _close(self, number: int) -> None:
        """Note that a stream has ended: it is in the state, since an ended stream is no longer drawn."""
        self.open[self.heads[number].is_real].remove(number)
        self.state["ended"].append(number)

    def _shallow(self, number: int) -> dict[str, Any] | None:
        """Return the next row that is not too deep, or one that is after many of them; None at the end."""
        reader, row = self.readers[number], self.readers[number].head()
        for _ in range(_MOST_SKIPPED):
            if row is None or not self.rules.caps.is_too_deep(self._tags(number, row)):
                break
            reader.take()
            self.state["too_deep"][number] += 1
            row = reader.head()
        return row

    def _weights(self, numbers: Sequence[int]) -> list[float]:
        """Return the chances of streams: their sizes, so that they end together; equal ones if a size is not known."""
        sizes = [self.heads[number].n_rows for number in numbers]
        return [1.0] * len(sizes) if None in sizes else [float(max(size or 0, 1)) for size in sizes]

    def _tags(self, number: int, row: dict[str, Any]) -> RowTags:
        n_before = self.state["rows"][number] + self.state["too_deep"][number]
        where, is_real = f"row {n_before} of {self._name(number)}", self.heads[number].is_real
        return row_tags(row, is_real=is_real, where=where, unknown_sources=self.rules.unknown_sources)

    def _name(self, number: int) -> str:
        head = self.heads[number]
        place = sum(other.is_real is head.is_real for other in self.heads[:number])
        return f"{head.part} stream {place} ({head.source})"


def row_tags(
    row: dict[str, Any], *, is_real: bool, where: str, unknown_sources: frozenset[str] = frozenset()
) -> RowTags:
    """Return what caps ask of a row; raises ProvenanceError unless it is tagged, known, and belongs to its part."""
    origin, source, generation = row.get(ORIGIN), row.get(SOURCE), row.get(GENERATION)
    if origin is None or source is None or generation is None:
        raise ProvenanceError(f"{where} has no tags; tag its stream (collapse_guard.tag) before mixing")
    if (origin == Origin.REAL) is not is_real:
        kind = Origin(origin).name.lower() if 0 <= origin < len(Origin) else f"with the origin {origin}"
        raise ProvenanceError(f"{where} is tagged {kind}; pass it in the other list, or tag it")
    if origin == Origin.UNKNOWN and source not in unknown_sources:
        text = f"{where} is of unknown origin; tag it"
        raise ProvenanceError(f"{text}, or declare the source {source!r} as origin: unknown in the policy")
    return RowTags(is_real, str(source), row.get(GENERATOR), int(generation))
