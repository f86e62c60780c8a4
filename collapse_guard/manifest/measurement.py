"""What an outside measurement says of one manifest: figures that no manifest can hold, such as near duplicates.

The file is JSON under the schema ``collapse-guard/measurement/1``, and names the digest of the manifest that was
measured. A figure is a value with the rows it rests on, an interval and the level of that interval; without them it
could not be told from chance, so that they must be there.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError, field_validator, model_validator

from collapse_guard._atomic import write_bytes
from collapse_guard.errors import ManifestError
from collapse_guard.kernels import one_line
from collapse_guard.manifest.header import Digest

if TYPE_CHECKING:
    from collections.abc import Mapping
    from os import PathLike

SCHEMA: Final = "collapse-guard/measurement/1"
#: A file of figures is a page; what is larger is a file of rows that was named by mistake.
MAX_BYTES: Final = 16 << 20

Number = Annotated[float, Field(allow_inf_nan=False)]
ErrorRate = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Rows = Annotated[int, Field(ge=1, lt=1 << 63)]
Level = Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)]
_NAME: Final = r"^[a-z][a-z0-9_]{0,63}$"
_DATE: Final = r"^\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])$"
#: What a text must be, by its pattern.
_MEANT: Final = {
    _NAME: "up to 64 small letters, digits and underscores, such as near_duplicate_share",
    _DATE: "a date such as 2026-03-31",
}
#: ``_share`` at the end of a name says that the figure lies in [0, 1].
FigureName = Annotated[str, Field(pattern=_NAME)]
IsoDate = Annotated[str, Field(pattern=_DATE)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, validate_by_name=True, validate_by_alias=True)


class Estimate(_Part):
    """A value and how sure it is.

    Args:
        value: the estimate.
        n: rows (or what the method counts) that it rests on.
        interval: lowest and highest value at ``level``; the value lies between them.
        level: such as 0.95.
    """

    value: Number
    n: Rows
    interval: tuple[Number, Number]
    level: Level

    @model_validator(mode="after")
    def _holds_its_value(self) -> Self:
        low, high = self.interval
        if not low <= self.value <= high:
            raise ValueError(f"value {self.value!r} is outside its interval, {low!r} to {high!r}")
        return self


class Key(NamedTuple):
    """What a figure is of: two figures of one key would contradict each other."""

    name: str
    source: str | None
    class_: str | None
    at: str | None


class Figure(Estimate):
    """One figure of a manifest, of a source or a class of it, or of a corpus at a date.

    Args:
        name: what was measured; names of the advisory statistics mean these.
        method: how, in words.
        source: the source that it is of; all rows if left out.
        class_: the class that it is of, ``class`` in the file.
        at: the date that it is of, where it is one of a series.
        before: the same figure of the parent or of the real reference.
    """

    name: FigureName
    method: str = Field(min_length=1)
    source: str | None = None
    class_: str | None = Field(None, alias="class")
    at: IsoDate | None = None
    before: Estimate | None = None

    @model_validator(mode="after")
    def _is_a_share(self) -> Self:
        low, high = self.interval
        if self.name.endswith("_share") and not (low >= 0 and high <= 1):
            raise ValueError(f"{self.name} is a share, its interval must lie in [0, 1], got {low!r} to {high!r}")
        return self

    @field_validator("at")
    @classmethod
    def _is_a_day(cls, day: str | None) -> str | None:
        import datetime as dt  # noqa: PLC0415 - of series only

        if day is not None:
            dt.date.fromisoformat(day)
        return day

    @property
    def key(self) -> Key:
        """What it is of."""
        return Key(self.name, self.source, self.class_, self.at)


class Detector(_Part):
    """The detector that flagged rows, and how often it errs on rows whose origin is known.

    Args:
        name: model and version.
        false_positive_rate: share of real rows that it calls synthetic, of ``n_real_rows`` that were tried.
        false_negative_rate: share of synthetic rows that it calls real, of ``n_synthetic_rows`` that were tried.
    """

    name: str = Field(min_length=1)
    false_positive_rate: ErrorRate
    n_real_rows: Rows
    false_negative_rate: ErrorRate
    n_synthetic_rows: Rows


class Measurement(_Part):
    """Figures of one manifest; frozen, and not yet judged by any policy.

    Args:
        manifest: digest of the manifest that was measured.
        made_by: program and version.
        created: when, as ISO 8601.

    >>> plain = {"schema": SCHEMA, "manifest": f"sha256:{'0' * 64}", "made_by": "audit 1.0", "created": "2026-11-26"}
    >>> figure = {"name": "near_duplicate_share", "value": 0.1, "n": 400, "interval": [0.07, 0.13], "level": 0.95}
    >>> made = Measurement.of(plain | {"figures": [figure | {"method": "minhash 0.85, Clopper-Pearson"}]})
    >>> made.figures[0].interval
    (0.07, 0.13)
    """

    schema_: Literal["collapse-guard/measurement/1"] = Field(SCHEMA, alias="schema")
    manifest: Digest
    made_by: str = Field(min_length=1)
    created: str = Field(min_length=1)
    detector: Detector | None = None
    figures: tuple[Figure, ...] = Field(min_length=1)

    _path: str = PrivateAttr("")

    @model_validator(mode="after")
    def _says_each_thing_once(self) -> Self:
        seen: set[Key] = set()
        for figure in self.figures:
            if figure.key in seen:
                said = ", ".join(repr(part) for part in figure.key if part is not None)
                raise ValueError(f"two figures are of {said}; keep one")
            seen.add(figure.key)
        return self

    @property
    def name(self) -> str:
        """Name for people: the file if there is one."""
        return self._path or f"measurement by {one_line(self.made_by)}"

    def as_json(self) -> bytes:
        """Return the file: indented, sorted, one trailing newline."""
        plain = self.model_dump(mode="json", by_alias=True, exclude_none=True)
        return (json.dumps(plain, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Measurement:
        """Return the measurement of plain values, as its file has them; raises ManifestError."""
        try:
            data = json.dumps(values, ensure_ascii=False).encode()
        except (TypeError, ValueError, RecursionError) as error:
            raise _fault("<mapping>", f"not a measurement: {error}") from None
        found = cls.from_json(data, path="<mapping>")
        found._path = ""  # noqa: SLF001 - of its own class
        return found

    @classmethod
    def from_json(cls, data: bytes, *, path: str) -> Measurement:
        """Return the measurement of a file's bytes; raises ManifestError that names the place and the schema."""
        try:
            text = data.decode("utf-8-sig")
            plain = json.loads(text, object_pairs_hook=_once)
        except UnicodeDecodeError as error:
            raise _fault(path, f"is not UTF-8 (byte {error.start}); restore it") from None
        except (ValueError, RecursionError) as error:
            raise _fault(path, f"not a measurement: not JSON ({error})") from None
        schema = plain.get("schema") if isinstance(plain, dict) else None
        if schema != SCHEMA:
            raise _fault(path, f"/schema is {schema!r:.80}, this version reads {SCHEMA!r}; write the measurement again")
        try:
            found = cls.model_validate_json(text, by_name=False, by_alias=True)
        except ValidationError as error:
            raise _fault(path, f"{_said(error)}; write the measurement again") from None
        found._path = path  # noqa: SLF001 - of its own class
        return found


def load_measurement(path: str | PathLike[str]) -> Measurement:
    """Return the measurement of a file.

    Raises ManifestError, on one line, for a missing file, a directory, one above 16 MiB, and one that is of another
    schema or breaks it.
    """
    target = Path(path)
    return Measurement.from_json(_read(target), path=str(target))


def write_measurement(measurement: Measurement, path: str | PathLike[str]) -> Path:
    """Write a measurement, whole or not at all; returns the path."""
    return write_bytes(path, measurement.as_json())


def measurement_json_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of a measurement file.

    >>> measurement_json_schema()["properties"]["schema"]["const"]
    'collapse-guard/measurement/1'
    """
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "collapse_guard measurement"}
    return Measurement.model_json_schema(by_alias=True) | head


def _read(path: Path) -> bytes:
    if os.path.isdir(path):  # noqa: PTH112 - unlike Path.is_dir it never raises
        raise _fault(str(path), "is a directory; name the measurement file in it")
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise _fault(str(path), "no such file; write the measurement first, or correct the path") from None
    except (OSError, ValueError) as error:
        raise _fault(str(path), f"cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if len(data) > MAX_BYTES:
        raise _fault(str(path), f"is larger than {MAX_BYTES >> 20} MiB; a measurement is a page, is this a data file?")
    return data


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object; raises ValueError for a key that stands twice, of which parsers take either."""
    plain = dict(pairs)
    if len(plain) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"key {next(name for name in names if names.count(name) > 1)!r} stands twice")
    return plain


def _said(error: ValidationError) -> str:
    """Return the first fault with its place."""
    fault = error.errors(include_url=False)[0]
    pointer = "/" + "/".join(str(part) for part in fault["loc"])
    pattern = fault.get("ctx", {}).get("pattern")
    if pattern is None:
        return f"{pointer}: {str(fault['msg']).removeprefix('Value error, ')}"
    meant = _MEANT.get(pattern, "'sha256:' and 64 hexadecimal digits")
    return f"{pointer}: must be {meant}, got {fault['input']!r:.80}"


def _fault(path: str, text: str) -> ManifestError:
    return ManifestError(f"{path}: {one_line(text)}", path=path)
