"""The JSON header of a manifest: small, committed, reviewed, diffable."""

from __future__ import annotations

import json
from collections import Counter
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from collapse_guard.errors import ManifestError
from collapse_guard.identity import RECORD_IDS
from collapse_guard.kernels import canonical_bytes, one_line, sha256_hex
from collapse_guard.records import Origin

SCHEMA: Final = "collapse-guard/manifest/2"
Unit = Literal["rows", "tokens", "bytes", "weight"]
_DIGEST: Final = r"^sha256:[0-9a-f]{64}$"
_PART: Final = r"^[0-9a-f]{64}\.parquet$"
_FOLDER: Final = r"^[^/\\\x00-\x1f]+\.index$"
#: What a text must be, by its pattern.
_MEANT: Final = {
    _DIGEST: "'sha256:' and 64 hexadecimal digits",
    _PART: "64 hexadecimal digits and '.parquet'",
    _FOLDER: "the name of a folder beside the header, such as manifest.index",
}
Digest = Annotated[str, Field(pattern=_DIGEST)]
Rows = Annotated[int, Field(ge=0, lt=1 << 63)]
Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]

#: Name of a shard's part in the index folder: it is made of the shard's digest, so that equal shards share a part.
PartName = Annotated[str, Field(pattern=_PART)]


def _inside(path: str) -> str:
    """Return ``path`` if it stays inside the folder it is relative to; raises ValueError."""
    parts = path.split("/")
    if not path or "\\" in path or "\x00" in path or path.startswith("/") or ":" in parts[0] or ".." in parts:
        raise ValueError(f"path {path!r} leaves its folder; paths are relative and have no '..'")
    return path


def _origin(name: str) -> str:
    """Return ``name`` if it is an origin; raises ValueError."""
    known = [origin.name.lower() for origin in Origin]
    if name not in known:
        raise ValueError(f"must be one of {', '.join(known)}, got {name!r:.80}")
    return name


RelativePath = Annotated[str, AfterValidator(_inside)]
OriginName = Annotated[str, AfterValidator(_origin)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class ParentLink(_Part):
    """The generation before this one."""

    name: str
    digest: Digest


class SourceEntry(_Part):
    """One source, over all its shards."""

    name: str
    origin: OriginName
    generators: tuple[str, ...] = ()
    rows: Rows
    real_rows: Rows
    amount: Amount
    root_digest: Digest


class FileEntry(_Part):
    """The data file that a shard was read from, relative to the folder or URL that was read."""

    path: RelativePath
    bytes: Rows
    digest: Digest
    first_row: Rows = 0


class ShardEntry(_Part):
    """Rows of one source that are digested together.

    Args:
        digest: over every column of the shard's index rows, in the order of the ids.
        real_digest: SHA-256 over the sorted distinct ids of its real rows; what the accumulation proof compares.
        part_digest: SHA-256 of the bytes of its Parquet part, None while in memory.
    """

    name: str
    source: str
    rows: Rows
    real_rows: Rows
    amount: Amount
    digest: Digest
    real_digest: Digest
    part_digest: Digest | None = None
    file: FileEntry | None = None

    @property
    def part(self) -> str:
        """Name of the Parquet file in the index folder."""
        return f"{self.digest.removeprefix('sha256:')}.parquet"


class IndexEntry(_Part):
    """The folder of Parquet parts beside the header, one part per shard."""

    folder: Annotated[str, Field(pattern=_FOLDER)]
    rows: Rows


class CellReceipt(_Part):
    """Keep-rate of one cell."""

    cell: str
    rows: Rows
    kept_rows: Rows


class FilterReceipt(_Part):
    """What one filter did to one source, cell by cell."""

    source: str
    filter: str
    spec_id: Digest
    cells: tuple[CellReceipt, ...]


class TakedownEntry(_Part):
    """The list of lawful deletions that held when the manifest was written."""

    digest: Digest
    rows: Rows


class Header(_Part):
    """Everything a reviewer reads, and the digests of what does not fit on a page.

    Args:
        unit: what amounts are counted in.
        unit_column: the column that amounts were read from, None for rows and for derived sizes.
        id_rule: name of the rule that made the ids; ids of another rule are never compared.
        class_column: the column whose values are the classes of the index.
        real_root_digest: over the real digests of all shards; equal roots prove that no real row left.
    """

    schema_: Literal["collapse-guard/manifest/2"] = Field(SCHEMA, alias="schema")
    name: str
    generation: int = Field(ge=0, le=254)
    created: str
    tool: str
    unit: Unit = "rows"
    unit_column: str | None = None
    id_rule: str = RECORD_IDS.name
    class_column: str | None = None
    policy_digest: Digest | None = None
    parents: tuple[ParentLink, ...] = ()
    sources: tuple[SourceEntry, ...]
    shards: tuple[ShardEntry, ...]
    root_digest: Digest
    real_root_digest: Digest
    class_histogram_digest: Digest
    index: IndexEntry
    takedowns: TakedownEntry | None = None
    filters: tuple[FilterReceipt, ...] = ()

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, validate_by_name=True, validate_by_alias=True)

    @property
    def digest(self) -> str:
        """SHA-256 over the header less what says nothing of the content: time, tool, files and folders."""
        plain = self.as_dict()
        plain["index"] = {"rows": self.index.rows}
        plain["shards"] = [
            {key: value for key, value in shard.items() if key not in {"file", "part_digest"}}
            for shard in plain["shards"]
        ]
        return sha256_hex([canonical_bytes({key: plain[key] for key in plain if key not in {"created", "tool"}})])

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, as written to JSON."""
        return self.model_dump(mode="json", by_alias=True)

    def as_json(self) -> bytes:
        """Return the header file: indented, sorted, one trailing newline."""
        return (json.dumps(self.as_dict(), indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()

    @classmethod
    def from_json(cls, data: bytes, *, path: str) -> Header:
        """Return the header of a file's bytes; raises ManifestError that names the place and the schema."""
        try:
            text = data.decode("utf-8-sig")
            plain = json.loads(text, object_pairs_hook=_once)
        except (ValueError, RecursionError) as error:
            raise ManifestError(f"{path}: not a manifest header: not JSON ({error})", path=path) from None
        schema = plain.get("schema") if isinstance(plain, dict) else None
        if schema != SCHEMA:
            said = f"/schema is {schema!r:.80}, this version reads {SCHEMA!r}"
            raise ManifestError(f"{path}: {said}; write the manifest again or update", path=path)
        try:
            header = cls.model_validate_json(text, by_alias=True, by_name=False)
        except ValidationError as error:
            raise ManifestError(f"{path}: {_said(error)}; write the manifest again", path=path) from None
        twice = [name for name, n_shards in Counter(shard.name for shard in header.shards).items() if n_shards > 1]
        if twice:
            text = f"/shards: two shards are called {twice[0]!r:.80}, and their rows would count twice"
            raise ManifestError(f"{path}: {text}; write the manifest again", path=path)
        return header


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object; raises ValueError for a key that stands twice, of which parsers take either."""
    plain = dict(pairs)
    if len(plain) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"key {twice!r:.80} stands twice")
    return plain


def _said(error: ValidationError) -> str:
    """Return the first fault with its place, on one line."""
    fault = error.errors(include_url=False)[0]
    pointer = "/" + "/".join(str(part) for part in fault["loc"])
    meant = _MEANT.get(fault.get("ctx", {}).get("pattern", ""))
    if meant is not None:
        return one_line(f"{pointer}: must be {meant}, got {fault['input']!r:.80}")
    return one_line(f"{pointer}: {fault['msg'].removeprefix('Value error, ')}")
