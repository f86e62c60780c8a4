"""What a generation lost, told from the lost rows: counts, at most ten ids, and all of them in a file."""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from collapse_guard._atomic import whole_file
from collapse_guard.kernels import id_hex, one_line
from collapse_guard.records import ID, SOURCE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from os import PathLike

    from collapse_guard.manifest.takedowns import Takedowns

#: Ids that are shown; the file of lost rows has all.
MAX_IDS: Final = 10

#: A lost row as engines hand it on.
LOST_SCHEMA: Final = pa.schema(
    [
        pa.field("id_hi", pa.uint64()),
        pa.field("id_lo", pa.uint64()),
        pa.field("source", pa.string()),
        pa.field("class", pa.string()),
    ]
)
#: A lost row in the file, with the id as data sets carry it.
FILE_SCHEMA: Final = pa.schema(
    [pa.field(ID, pa.binary(16)), pa.field(SOURCE, pa.string()), pa.field("class", pa.string())]
)
Group = tuple[str, str | None]


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


NO_LOSS: Final = Loss()


def listed(groups: Sequence[tuple[str, str | None, int]], ids: Sequence[str]) -> str:
    """Return rows by source and class, five groups at most, and their ids, as one line.

    >>> listed([("web", None, 2)], ["00ff"])
    'web/(no class) 2; ids 00ff'
    """
    shown = ", ".join(one_line(f"{source}/{label or '(no class)'} {rows}") for source, label, rows in groups[:5])
    more = f" and {len(groups) - 5} more groups" if len(groups) > 5 else ""  # noqa: PLR2004 - as many as are shown
    return f"{shown}{more}; ids {', '.join(ids)}" if ids else f"{shown}{more}"


@dataclass(frozen=True, slots=True)
class Tally:
    """What the lost rows come to.

    Args:
        loss: rows that nothing excuses.
        taken_down: rows that a takedown covers; their ids are not told again.
        by_takedown: (reason, date, rows), largest first.
    """

    loss: Loss = NO_LOSS
    taken_down: Loss = NO_LOSS
    by_takedown: tuple[tuple[str, str, int], ...] = ()


def tallied(
    batches: Iterable[pa.RecordBatch | pa.Table],
    *,
    takedowns: Takedowns | None = None,
    lost_to: str | PathLike[str] | None = None,
) -> Tally:
    """Return the tally of lost rows that come in batches of :data:`LOST_SCHEMA`, one batch in memory at a time.

    Args:
        takedowns: lawful deletions.
        lost_to: Parquet file that gets every row of ``loss`` (id, source, class), written whole or not at all.

    >>> rows = pa.table([[0, 0], [7, 8], ["web", "web"], ["cat", None]], schema=LOST_SCHEMA)
    >>> tallied([rows]).loss.by_source_and_class
    (('web', 'cat', 1), ('web', None, 1))
    """
    lost: Counter[Group] = Counter()
    taken: Counter[Group] = Counter()
    records: Counter[int] = Counter()
    first: set[tuple[int, int]] = set()
    with lost_file(lost_to) as write:
        for batch in batches:
            left = batch
            if takedowns is not None:
                places = takedowns.places(batch.column("id_hi").to_numpy(), batch.column("id_lo").to_numpy())
                records.update(places[places >= 0].tolist())
                taken += _groups(batch.filter(pa.array(places >= 0)))
                left = batch.filter(pa.array(places < 0))
            lost += _groups(left)
            first = set(sorted(first | _smallest(left))[:MAX_IDS])
            write(left)
    ids = tuple(id_hex(hi, lo) for hi, lo in sorted(first))
    return Tally(_loss(lost, ids), _loss(taken, ()), _by_takedown(takedowns, records))


@contextmanager
def lost_file(path: str | PathLike[str] | None) -> Iterator[Callable[[pa.RecordBatch | pa.Table], None]]:
    """Give a function that adds lost rows to the Parquet file ``path``; it does nothing where no file is asked for."""
    if path is None:
        yield lambda _: None
        return
    with whole_file(path) as draft, pq.ParquetWriter(draft, FILE_SCHEMA, compression="zstd") as writer:
        yield lambda rows: writer.write_table(_for_people(rows))


def _for_people(rows: pa.RecordBatch | pa.Table) -> pa.Table:
    words = np.stack([rows.column(name).to_numpy() for name in ("id_hi", "id_lo")], axis=1)
    raw = pa.py_buffer(np.ascontiguousarray(words, dtype=">u8"))
    ids = pa.FixedSizeBinaryArray.from_buffers(pa.binary(16), rows.num_rows, [None, raw])
    return pa.table([ids, rows.column("source"), rows.column("class")], schema=FILE_SCHEMA)


def _groups(rows: pa.RecordBatch | pa.Table) -> Counter[Group]:
    table = rows if isinstance(rows, pa.Table) else pa.Table.from_batches([rows])
    grouped = table.group_by(["source", "class"]).aggregate([([], "count_all")]).to_pylist()
    return Counter({(str(group["source"]), group["class"]): int(group["count_all"]) for group in grouped})


def _smallest(rows: pa.RecordBatch | pa.Table) -> set[tuple[int, int]]:
    """Return the :data:`MAX_IDS` smallest distinct ids, fewer if there are not as many."""
    hi, lo = (rows.column(name).to_numpy() for name in ("id_hi", "id_lo"))
    order = np.lexsort((lo, hi))
    hi, lo = hi[order], lo[order]
    is_new = np.ones(hi.size, dtype=bool)
    is_new[1:] = (hi[1:] != hi[:-1]) | (lo[1:] != lo[:-1])
    first = np.flatnonzero(is_new)[:MAX_IDS]
    return set(zip(hi[first].tolist(), lo[first].tolist(), strict=True))


def _loss(groups: Counter[Group], ids: tuple[str, ...]) -> Loss:
    ordered = sorted(groups.items(), key=lambda item: (-item[1], item[0][0], item[0][1] is None, item[0][1] or ""))
    return Loss(sum(groups.values()), tuple((*group, rows) for group, rows in ordered), ids)


def _by_takedown(takedowns: Takedowns | None, records: Counter[int]) -> tuple[tuple[str, str, int], ...]:
    if takedowns is None:
        return ()
    counted: Counter[tuple[str, str]] = Counter()
    for place, rows in records.items():
        record = takedowns.records[place]
        counted[record.reason, record.date.isoformat()] += rows
    ordered = sorted(counted.items(), key=lambda item: (-item[1], item[0]))
    return tuple((reason, date, rows) for (reason, date), rows in ordered)
