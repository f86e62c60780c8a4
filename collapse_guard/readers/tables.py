"""One file of rows -> record batches: Parquet, Arrow, CSV, JSON Lines; memory is bounded by a batch."""

from __future__ import annotations

import gzip
import io
import zlib
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa

from collapse_guard.errors import InputError
from collapse_guard.kernels import held_bytes
from collapse_guard.plugins import nearest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

#: Rows of a batch at most, and about how many bytes.
BATCH_ROWS: Final = 1 << 16
BATCH_BYTES: Final = 1 << 25
#: Bytes of JSON Lines that are parsed at a time.
_BLOCK_BYTES: Final = 1 << 23
#: A longer line is no row: memory is bounded by it.
_LINE_BYTES: Final = 1 << 28
#: Bytes of CSV that are parsed at a time, and that say its types; Arrow reads some forty blocks ahead.
_CSV_BLOCK_BYTES: Final = 1 << 22
_PAGE_BYTES: Final = 1 << 20
#: Cells of a CSV file that hold nothing: what pandas takes for nothing, so that `datasets` reads the same rows.
_NOTHING: Final = [
    *("", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>"),
    *("N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null"),
]


@contextmanager
def naming(path: str) -> Iterator[None]:
    """Turn what readers raise into an InputError that names the file."""
    try:
        yield
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; it was there when the files were listed") from None
    except (pa.ArrowException, OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(f"{path}: cannot be read, it is cut or of another format ({reason}); restore it") from error


def table_batches(source: Any, kind: str, path: str, columns: Sequence[str] | None) -> Iterator[pa.RecordBatch]:
    """Yield the batches of an open file.

    Args:
        source: a seekable binary file.
        kind: key of :data:`TABLES`, with ``.gz`` behind it if the file is compressed.
        path: name of the file for messages.
        columns: the columns to read; all if left out.

    Raises InputError that names the file for one that is cut or of another format, and for a column it lacks.
    """
    with naming(path):
        opened = gzip.GzipFile(fileobj=source) if kind.endswith(".gz") else source
        for batch in TABLES[kind.removesuffix(".gz")](opened, path, columns):
            yield from _sliced(batch)


def column_names(source: Any, kind: str) -> list[str]:
    """Return the columns of an open ``parquet`` or ``arrow`` file."""
    if kind == "arrow":
        return list(_arrow_reader(source)[0].schema.names)
    import pyarrow.parquet as pq  # noqa: PLC0415 - a reader is loaded when a file asks for it

    return list(pq.read_schema(source).names)


def _sliced(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    n_bytes = sum(map(held_bytes, batch.columns))
    n_rows = min(BATCH_ROWS, max(1, batch.num_rows * BATCH_BYTES // max(n_bytes, BATCH_BYTES)))
    for start in range(0, batch.num_rows, n_rows):
        yield batch.slice(start, n_rows)


def _wanted(names: Sequence[str], columns: Sequence[str] | None, path: str) -> list[str]:
    for name in columns or ():
        if name not in names:
            raise InputError(f"{path}: no column {name!r}; {nearest(name, names)}")
    return list(names if columns is None else columns)


def _parquet(source: Any, path: str, columns: Sequence[str] | None) -> Iterator[pa.RecordBatch]:
    import pyarrow.parquet as pq  # noqa: PLC0415 - a reader is loaded when a file asks for it

    # Without a buffer, or with one filled ahead, all row groups that were read would stay in memory.
    with pq.ParquetFile(source, buffer_size=_PAGE_BYTES, pre_buffer=False) as file:
        names = _wanted(file.schema_arrow.names, columns, path)
        groups = [file.metadata.row_group(number) for number in range(file.metadata.num_row_groups)]
        row_bytes = max((group.total_byte_size // max(group.num_rows, 1) for group in groups), default=0)
        n_rows = min(BATCH_ROWS, max(1, BATCH_BYTES // max(row_bytes, 1)))
        yield from file.iter_batches(batch_size=n_rows, columns=names, use_threads=False)


def _arrow(source: Any, path: str, columns: Sequence[str] | None) -> Iterator[pa.RecordBatch]:
    reader, is_file = _arrow_reader(source)
    names = _wanted(reader.schema.names, columns, path)
    in_file = (reader.get_batch(number) for number in range(reader.num_record_batches if is_file else 0))
    for batch in in_file if is_file else reader:
        yield batch if columns is None else batch.select(names)


def _arrow_reader(source: Any) -> tuple[Any, bool]:
    """Return the reader of an Arrow file or of an Arrow stream, and which of them it is."""
    is_file = source.read(6) == b"ARROW1"
    source.seek(0)
    return (pa.ipc.open_file(source) if is_file else pa.ipc.open_stream(source)), is_file


def _comma(source: Any, path: str, columns: Sequence[str] | None) -> Iterator[pa.RecordBatch]:
    yield from _separated(source, path, columns, ",")


def _tab(source: Any, path: str, columns: Sequence[str] | None) -> Iterator[pa.RecordBatch]:
    yield from _separated(source, path, columns, "\t")


def _separated(source: Any, path: str, columns: Sequence[str] | None, delimiter: str) -> Iterator[pa.RecordBatch]:
    """Read numbers, truth values and text; a date stays the text that it is in the file."""
    from pyarrow import csv  # noqa: PLC0415 - a reader is loaded when a file asks for it

    def opened(types: dict[str, pa.DataType]) -> Any:
        source.seek(0)
        return csv.open_csv(
            source,
            read_options=csv.ReadOptions(block_size=_CSV_BLOCK_BYTES, use_threads=False),
            parse_options=csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
            convert_options=csv.ConvertOptions(null_values=_NOTHING, strings_can_be_null=True, column_types=types),
        )

    if not source.read(1):
        return
    reader = opened({})
    dates = {field.name: pa.string() for field in reader.schema if pa.types.is_temporal(field.type)}
    reader = opened(dates) if dates else reader
    names = _wanted(reader.schema.names, columns, path)
    for field in reader.schema:
        if pa.types.is_binary(field.type):
            raise InputError(f"{path}: column {field.name!r} is not UTF-8; save the file as UTF-8")
    try:
        for batch in reader:
            yield batch if columns is None else batch.select(names)
    except pa.ArrowInvalid as error:
        text = f"{path}: {str(error).splitlines()[0]}; types are those of the first {_CSV_BLOCK_BYTES >> 20} MiB"
        raise InputError(f"{text}: mend the row, or save the file as Parquet") from None


def _json_lines(source: Any, path: str, columns: Sequence[str] | None) -> Iterator[pa.RecordBatch]:
    """Read objects, one a line; types are those of the whole file, and a date stays text, as JSON has none."""
    found: list[pa.Schema] = []
    try:
        for lines in _lines(source):
            schema = _parsed(lines, None).schema
            if schema not in found:
                found.append(schema)
        schema = pa.unify_schemas([pa.schema([]), *found], promote_options="permissive")
    except pa.ArrowException as error:
        reason = str(error).splitlines()[0]
        if not isinstance(error, pa.ArrowTypeError) and "changed from" not in reason:
            raise
        text = f"{path}: a column changes its type: {reason}"
        raise InputError(f"{text}; give it one type, as text if need be") from None
    names = _wanted(schema.names, columns, path) if found else []
    schema = pa.schema([pa.field(field.name, _without_times(field.type)) for field in schema])
    source.seek(0)
    for lines in _lines(source):
        yield from _parsed(lines, schema).select(names).to_batches()


def _lines(source: Any) -> Iterator[bytes]:
    """Yield whole lines, about a block at a time; blank blocks are left out."""
    rest: list[bytes] = []
    while block := source.read(_BLOCK_BYTES):
        whole, newline, after = block.rpartition(b"\n")
        if not newline:
            rest.append(block)
            if len(rest) * _BLOCK_BYTES > _LINE_BYTES:
                raise InputError(f"a line is longer than {_LINE_BYTES >> 20} MiB; JSON Lines hold one object a line")
            continue
        whole = b"".join([*rest, whole])
        rest = [after]
        if not whole.isspace() and whole:
            yield whole
    last = b"".join(rest)
    if last.strip():
        yield last


def _parsed(lines: bytes, schema: pa.Schema | None) -> pa.Table:
    from pyarrow import json  # noqa: PLC0415 - a reader is loaded when a file asks for it

    if lines.lstrip()[:1] == b"[":
        raise pa.ArrowInvalid("a JSON array; JSON Lines hold one object a line")
    options = json.ReadOptions(block_size=len(lines) + 1, use_threads=False)
    return json.read_json(io.BytesIO(lines), options, json.ParseOptions(explicit_schema=schema))


def _without_times(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_temporal(kind):
        return pa.string()
    if pa.types.is_list(kind):
        return pa.list_(_without_times(kind.value_type))
    if pa.types.is_struct(kind):
        return pa.struct([pa.field(field.name, _without_times(field.type)) for field in kind])
    return kind


#: Reader of each kind of table.
TABLES: Final[dict[str, Callable[[Any, str, Sequence[str] | None], Iterator[pa.RecordBatch]]]] = {
    "parquet": _parquet,
    "arrow": _arrow,
    "csv": _comma,
    "tsv": _tab,
    "jsonl": _json_lines,
}
