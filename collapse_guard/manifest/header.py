"""The JSON header of a manifest: small, committed, reviewed, diffable."""

from __future__ import annotations

import json
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from collapse_guard.errors import ManifestError
from collapse_guard.kernels import ID_RULE, canonical_bytes, sha256_hex

SCHEMA: Final = "collapse-guard/manifest/1"
Digest = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]
Rows = Annotated[int, Field(ge=0)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class ParentLink(_Part):
    """The generation before this one."""

    name: str
    digest: Digest


class SourceEntry(_Part):
    """One source: a name with one origin."""

    name: str
    origin: str
    generators: tuple[str, ...] = ()
    rows: Rows
    root_digest: Digest


class ShardEntry(_Part):
    """Rows of one source that are digested together: SHA-256 over their sorted ids."""

    name: str
    source: str
    rows: Rows
    digest: Digest


class IndexEntry(_Part):
    """The Parquet index: file name beside the header, digest of its bytes, digest of its content."""

    path: Annotated[str, Field(pattern=r"^[^/\\\x00-\x1f]+\.parquet$")]
    digest: Digest
    content_digest: Digest
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


class Header(_Part):
    """Everything a reviewer reads, and the digests of what does not fit on a page."""

    schema_: Literal["collapse-guard/manifest/1"] = Field(SCHEMA, alias="schema")
    name: str
    generation: int = Field(ge=0, le=254)
    created: str
    tool: str
    unit: Literal["rows"] = "rows"
    id_rule: str = ID_RULE
    policy_digest: Digest | None = None
    parents: tuple[ParentLink, ...] = ()
    sources: tuple[SourceEntry, ...]
    shards: tuple[ShardEntry, ...]
    root_digest: Digest
    class_histogram_digest: Digest
    index: IndexEntry
    filters: tuple[FilterReceipt, ...] = ()

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, validate_by_name=True, validate_by_alias=True)

    @property
    def digest(self) -> str:
        """SHA-256 over the header less what says nothing of the content: time, tool and the index file's bytes."""
        plain = self.as_dict()
        plain["index"] = {"content_digest": self.index.content_digest, "rows": self.index.rows}
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
            plain = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise ManifestError(f"{path}: not a manifest header: not JSON ({error})", path=path) from None
        schema = plain.get("schema") if isinstance(plain, dict) else None
        if schema != SCHEMA:
            text = f"{path}: /schema is {schema!r}, this version reads {SCHEMA!r}; write the manifest again or update"
            raise ManifestError(text, path=path)
        try:
            return cls.model_validate_json(data)
        except ValidationError as error:
            fault = error.errors(include_url=False)[0]
            pointer = "/" + "/".join(str(part) for part in fault["loc"])
            raise ManifestError(f"{path}: {pointer}: {fault['msg']}; write the manifest again", path=path) from None
