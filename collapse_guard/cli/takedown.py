"""``collapse-guard takedown``: record a lawful deletion."""

from __future__ import annotations

import datetime as dt
from pathlib import Path  # noqa: TC003 - typer reads annotations at run time
from typing import Annotated

import pyarrow as pa
import pyarrow.parquet as pq
import typer

from collapse_guard.errors import InputError
from collapse_guard.kernels import id_hex, id_words
from collapse_guard.manifest import add_takedowns, load_takedowns
from collapse_guard.records import ID


def takedown(
    to: Annotated[Path, typer.Option("--to", help="The list, a JSON lines file; made if it is not there.")],
    reason: Annotated[str, typer.Option("--reason", help="Why the rows had to go, such as the number of the request.")],
    ids: Annotated[
        list[str] | None, typer.Argument(metavar="ID...", help="Ids of the rows, 32 hexadecimal digits each.")
    ] = None,
    rows: Annotated[
        Path | None, typer.Option("--from", help="Parquet file whose cg_id names them, such as that of --lost-to.")
    ] = None,
    date: Annotated[
        str | None, typer.Option("--date", help="Day of the deletion, such as 2026-03-31; today if left out.")
    ] = None,
) -> None:
    """Add rows to a list of lawful deletions; salted digests are written, never the ids.

    Name the list in the policy (accumulation.takedowns): its rows may leave, and may not come back.

    Example: collapse-guard takedown 00712c385afebb90d1c2a7f3e8b45d16 --to takedowns.jsonl --reason "erasure 118"
    """
    n_before = len(load_takedowns(to).records) if to.exists() else 0
    day = date if date is not None else dt.datetime.now(dt.UTC).date()
    given = [*(ids or ()), *(() if rows is None else _ids_in(rows))]
    taken = add_takedowns(to, given, reason=reason, date=day)
    n_new = len(taken.records) - n_before
    known = len(set(map(str.lower, given))) - n_new
    listed = f"; {known} {'was' if known == 1 else 'were'} listed already" if known else ""
    typer.echo(f"{n_new} {'row' if n_new == 1 else 'rows'} taken down{listed}; {to} lists {len(taken.records)}")


def _ids_in(path: Path) -> list[str]:
    """Return the ids that a Parquet file names in ``cg_id``."""
    try:
        column = pq.read_table(path, columns=[ID], partitioning=None).column(ID).combine_chunks()
        hi, lo = id_words(column)
    except (pa.ArrowException, OSError, KeyError, ValueError) as error:
        raise InputError(f"{path}: no Parquet file with a column {ID} of ids ({error}); name one") from None
    return [id_hex(int(first), int(second)) for first, second in zip(hi, lo, strict=True)]
