"""What makes two rows the same: the rule behind content ids, named in every manifest, never guessed."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, get_args

import pyarrow as pa
import pyarrow.compute as pc

from collapse_guard.errors import InputError, ProvenanceError
from collapse_guard.kernels import hashed_ids, held_bytes, ids_of, json_rows, normalised
from collapse_guard.plugins import nearest
from collapse_guard.readers.decode import picture_digest, sound_digest

if TYPE_CHECKING:
    from collections.abc import Iterator

IdKind = Literal["record", "text", "bytes", "pixels", "samples"]

_RULES: Final[dict[str, str]] = {
    "record": "record-json-nfc/1",
    "text": "text-nfc/1",
    "bytes": "bytes/1",
    "pixels": "pixels/1",
    "samples": "samples/1",
}
_NAME: Final = re.compile(r"sha256-128/(?P<rule>[a-z-]+/\d+)(?:\[(?P<columns>.*)\])?", re.DOTALL)


@dataclass(frozen=True, slots=True)
class IdRule:
    """First 128 bits of SHA-256 over the canonical content of a row.

    Args:
        kind: ``record`` (key-sorted JSON of the columns), ``text`` (NFC, UTF-8), ``bytes`` (as they are), ``pixels``
            (decoded picture), ``samples`` (decoded sound).
        columns: what counts as content; for records all columns without ``cg_`` if left out, else exactly one.

    >>> IdRule("text", ("body",)).name
    'sha256-128/text-nfc/1[body]'
    >>> IdRule.parse("sha256-128/text-nfc/1[body]") == IdRule("text", ("body",))
    True
    """

    kind: IdKind = "record"
    columns: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in get_args(IdKind):
            raise ProvenanceError(f"the kind of an id rule is one of {', '.join(get_args(IdKind))}, got {self.kind!r}")
        named: object = self.columns
        if not isinstance(named, (tuple, list)) or not all(isinstance(name, str) for name in named):
            raise ProvenanceError(f"columns of an id rule are a tuple of names such as ('text',), got {named!r}")
        if self.kind != "record" and len(self.columns) != 1:
            raise ProvenanceError(f"ids over {self.kind} need exactly one column, got {list(self.columns)}")
        wrong = [name for name in self.columns if not name or "," in name or "]" in name]
        if wrong:
            raise ProvenanceError(f"a column of an id rule is a name without ',' and ']', got {wrong[0]!r}")
        object.__setattr__(self, "columns", tuple(sorted(self.columns)))

    @property
    def name(self) -> str:
        """What manifests say; two rules are the same if their names are."""
        columns = f"[{','.join(self.columns)}]" if self.columns else ""
        return f"sha256-128/{_RULES[self.kind]}{columns}"

    @classmethod
    def parse(cls, name: str) -> IdRule:
        """Return the rule of a manifest; raises ProvenanceError for one that this version does not know."""
        matched = _NAME.fullmatch(name)
        kinds = {rule: kind for kind, rule in _RULES.items()}
        if matched is None or matched["rule"] not in kinds:
            known = ", ".join(f"sha256-128/{rule}" for rule in kinds)
            raise ProvenanceError(f"ids follow the rule {name!r}, which this version does not know; known: {known}")
        columns = tuple(matched["columns"].split(",")) if matched["columns"] else ()
        return cls(kinds[matched["rule"]], columns)  # type: ignore[arg-type]


#: The rule if none is named: a row is its record.
RECORD_IDS: Final = IdRule()

#: Rows, and about how many bytes, are written and hashed at a time: as much as stays in the cache.
_BLOCK_ROWS: Final = 1 << 13
_BLOCK_BYTES: Final = 1 << 18
_TAG_PREFIX: Final = "cg_"

_NO_CONTENT: Final = "rows have no content column to make an id from; add one before tagging"


def content_ids(rows: pa.Table | pa.RecordBatch, rule: IdRule = RECORD_IDS) -> pa.FixedSizeBinaryArray:
    """Return the first 128 bits of SHA-256 over each row's canonical content, shape (rows,).

    ``record``: column order and null fields do not matter (joining sets with different columns fills with null);
    column names, types of values (1 is not 1.0) and content do. Columns named ``cg_`` are no content. The other rules
    see one column, in which a null is an error: two rows without content are not the same row. Empty content is
    content, and all empty rows have one id.

    Raises ProvenanceError for a missing column, a column of another type, nulls and values that cannot be decoded;
    MissingExtraError without the decoder that ``pixels`` or ``samples`` needs.

    >>> len(content_ids(pa.table({"text": ["a", "b"]})))
    2
    >>> first, second = content_ids(pa.table({"text": ["a", "a"], "n": [1, 2]}), IdRule("text", ("text",)))
    >>> first == second
    True
    """
    content = rows.select(_content_columns(rows.schema, rule))
    parts = [_block_ids(block, rule) for block in _blocks(content)]
    return pa.concat_arrays(parts) if parts else pa.array([], pa.binary(16))


def _content_columns(schema: pa.Schema, rule: IdRule) -> list[str]:
    names = list(rule.columns) or [name for name in schema.names if not name.startswith(_TAG_PREFIX)]
    for name in names:
        if name not in schema.names:
            text = f"the id rule {rule.name} reads column {name!r}, which the rows lack"
            raise ProvenanceError(f"{text}; {nearest(name, schema.names)}")
        if schema.names.count(name) > 1:
            raise ProvenanceError(f"rows have {schema.names.count(name)} columns called {name!r}; rename one")
    if not names:
        raise ProvenanceError(_NO_CONTENT)
    same = {unicodedata.normalize("NFC", name) for name in names}
    if len(same) < len(names):
        raise ProvenanceError("two columns have names that are one in NFC (Unicode); rename one")
    return names


def _blocks(content: pa.Table | pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """Yield rows in blocks that stay in the cache."""
    table = content if isinstance(content, pa.Table) else pa.Table.from_batches([content])
    if any(column.num_chunks * _BLOCK_ROWS > 16 * (table.num_rows + _BLOCK_ROWS) for column in table.columns):
        table = table.combine_chunks()
    for batch in table.to_batches(max_chunksize=_BLOCK_ROWS):
        n_bytes = sum(held_bytes(column) for column in batch.columns if not pa.types.is_dictionary(column.type))
        n_rows = max(1, batch.num_rows * _BLOCK_BYTES // max(n_bytes, _BLOCK_BYTES))
        for start in range(0, batch.num_rows, n_rows):
            yield batch.slice(start, n_rows)


def _block_ids(block: pa.RecordBatch, rule: IdRule) -> pa.FixedSizeBinaryArray:
    if rule.kind == "record":
        return hashed_ids(json_rows(block.schema.names, block.columns))
    name, column = block.schema.names[0], block.column(0)
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    values = _text(column, name) if rule.kind == "text" else _encoded(column, name, rule.kind)
    if values.null_count:
        text = f"{values.null_count} of {len(values)} rows have no {name!r} to make an id from"
        raise ProvenanceError(f"{text}; drop them, or use the id rule 'record'")
    if rule.kind == "text":
        return hashed_ids(normalised(values))
    if rule.kind == "bytes":
        return hashed_ids(values)
    return ids_of(b"".join(_decoded_digests(values, name, rule.kind)))


def _text(column: pa.Array, name: str) -> pa.Array:
    kinds = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view, pa.types.is_null)
    if not any(is_kind(column.type) for is_kind in kinds):
        raise ProvenanceError(f"column {name!r} is {column.type}; the id rule 'text' reads text, 'record' anything")
    return column.cast(pa.large_string())


def _encoded(column: pa.Array, name: str, kind: IdKind) -> pa.Array:
    """Return the bytes of a binary column, or of the ``{bytes, path}`` that `datasets` stores media as."""
    if pa.types.is_struct(column.type) and column.type.get_field_index("bytes") >= 0:
        held = column.flatten()[column.type.get_field_index("bytes")]
        n_named = pc.sum(pc.and_(column.is_valid(), held.is_null())).as_py() or 0
        if n_named:
            text = f"{n_named} of {len(column)} rows of {name!r} name a file and hold no bytes"
            raise ProvenanceError(f"{text}; embed the files first, as `datasets` does in save_to_disk and push_to_hub")
        column = held
    kinds = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_fixed_size_binary, pa.types.is_null)
    if not any(is_kind(column.type) for is_kind in kinds):
        raise ProvenanceError(f"column {name!r} is {column.type}; the id rule {kind!r} reads bytes or {{bytes, path}}")
    return column.cast(pa.large_binary())


def _decoded_digests(values: pa.Array, name: str, kind: IdKind) -> Iterator[bytes]:
    decode = picture_digest if kind == "pixels" else sound_digest
    for row, value in enumerate(values):
        try:
            yield decode(value.as_py())
        except InputError as error:
            text = f"column {name!r}: row {row} of this batch {error}"
            raise ProvenanceError(f"{text}; drop it, or use the id rule 'bytes'") from None
