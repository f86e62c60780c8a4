"""Lawful deletions: a list of salted digests of ids, each with its reason and date, never the ids themselves.

The file is JSON lines. The first line names the schema and the salt of the file; each further line is one deletion::

    {"schema": "collapse-guard/takedowns/1", "salt": "32 hexadecimal digits"}
    {"digest": "64 hexadecimal digits", "reason": "erasure request 118", "date": "2026-03-31"}

``digest`` is SHA-256 over the 16 bytes of the salt and the 16 bytes of the id. The salt keeps lists of different
projects from being compared. It does not hide content that can be guessed from someone who has the file.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import re
import secrets
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from collapse_guard._atomic import write_bytes
from collapse_guard.errors import InputError, ManifestError
from collapse_guard.kernels import sha256_hex
from collapse_guard.manifest.header import TakedownEntry

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from os import PathLike

    from numpy.typing import NDArray

SCHEMA: Final = "collapse-guard/takedowns/1"
_ID_BYTES: Final = 16
_SALT_BYTES: Final = 16
_HEAD: Final = {"schema", "salt"}
_LINE: Final = {"digest", "reason", "date"}


@dataclass(frozen=True, slots=True)
class Takedown:
    """One lawful deletion.

    Args:
        digest: SHA-256 over salt and id, 32 bytes.
        reason: why, such as the number of the request.
        date: since when.
    """

    digest: bytes
    reason: str
    date: dt.date


@dataclass(frozen=True)
class Takedowns:
    """The deletions of one file; an id that stands twice keeps its first record.

    Args:
        salt: 16 bytes of the file.
        records: the deletions, one per id.
        name: the file, for messages.

    >>> salt, erased = bytes(16), (7).to_bytes(16, "big")
    >>> taken = Takedowns(salt, (Takedown(digest_of(salt, erased), "request 118", dt.date(2026, 3, 31)),))
    >>> taken.covers(np.zeros(2, dtype=np.uint64), np.array([7, 8], dtype=np.uint64)).tolist()
    [True, False]
    """

    salt: bytes
    records: tuple[Takedown, ...] = ()
    name: str = ""
    _places: dict[bytes, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        places: dict[bytes, int] = {}
        for record in self.records:
            places.setdefault(record.digest, len(places))
        if len(places) < len(self.records):
            first = {record.digest: record for record in reversed(self.records)}
            object.__setattr__(self, "records", tuple(first[digest] for digest in places))
        object.__setattr__(self, "_places", places)

    def places(self, id_hi: NDArray[np.uint64], id_lo: NDArray[np.uint64]) -> NDArray[np.int64]:
        """Return which record covers each id, -1 for none, shape (rows,); about 0.6 us per id."""
        if not self.records:
            return np.full(id_hi.size, -1, dtype=np.int64)
        raw = np.stack([id_hi, id_lo], axis=1).astype(">u8").tobytes()
        salt, sha256, known = self.salt, hashlib.sha256, self._places
        starts = range(0, len(raw), _ID_BYTES)
        found = (known.get(sha256(salt + raw[start : start + _ID_BYTES]).digest(), -1) for start in starts)
        return np.fromiter(found, dtype=np.int64, count=id_hi.size)

    def covers(self, id_hi: NDArray[np.uint64], id_lo: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Return whether each id was lawfully deleted, shape (rows,)."""
        return self.places(id_hi, id_lo) >= 0

    def adding(self, ids: Iterable[str | bytes], *, reason: str, date: dt.date | str) -> Takedowns:
        """Return the list with further deletions; an id that it holds already keeps its first reason and date.

        Args:
            ids: ids as 32 hexadecimal digits (as findings print them) or 16 bytes (as ``cg_id`` holds them).
            reason: why the rows had to go; one line.
            date: the day of the deletion, or its ISO form.

        Raises InputError for no id, one that is none, an empty reason or a date that is none.
        """
        raw, said, day = [_id_bytes(given) for given in ids], _reason(reason), _day(date)
        if not raw:
            raise InputError("no id to take down; name at least one, as 32 hexadecimal digits")
        new = tuple(Takedown(digest_of(self.salt, each), said, day) for each in raw)
        return Takedowns(self.salt, (*self.records, *new), self.name)

    @classmethod
    def empty(cls) -> Takedowns:
        """Return a list without deletions, with a salt of its own."""
        return cls(secrets.token_bytes(_SALT_BYTES))

    def write(self, path: str | PathLike[str]) -> Takedowns:
        """Write the list to ``path``, whole or not at all; returns it under that name."""
        write_bytes(path, _as_lines(self))
        return replace(self, name=str(path))

    @property
    def entry(self) -> TakedownEntry:
        """What the header of a manifest says of the list: how many, and a digest over salt and deletions."""
        digests = sorted(record.digest for record in self.records)
        return TakedownEntry(digest=sha256_hex([self.salt, *digests]), rows=len(digests))


def digest_of(salt: bytes, id_bytes: bytes) -> bytes:
    """Return the salted digest of one id of 16 bytes.

    >>> digest_of(bytes(16), bytes(16)).hex()[:8]
    '66687aad'
    """
    return hashlib.sha256(salt + id_bytes).digest()


def load_takedowns(path: str | PathLike[str]) -> Takedowns:
    """Return the deletions of a file.

    Raises ManifestError that names file and line for a line that is broken, incomplete or of another schema.
    """
    target = Path(path)
    lines = _lines(target)
    if not lines:
        raise _fault(target, 1, f"empty; the first line is {json.dumps({'schema': SCHEMA, 'salt': '...'})}")
    head = _parsed(target, 1, lines[0], _HEAD)
    if head["schema"] != SCHEMA:
        raise _fault(target, 1, f"schema is {head['schema']!r}, this version reads {SCHEMA!r}")
    salt = _hex(target, 1, "salt", head["salt"], _SALT_BYTES)
    records = [_record(target, number, line) for number, line in enumerate(lines[1:], start=2) if line.strip()]
    return Takedowns(salt, tuple(records), str(target))


def add_takedowns(
    path: str | PathLike[str], ids: Iterable[str | bytes], *, reason: str, date: dt.date | str
) -> Takedowns:
    """Add deletions to a file, which is made if it is not there; returns all that it now holds.

    Args:
        path: the list; one writer at a time, and readers see the old list or the new one.
        ids: ids as 32 hexadecimal digits (as findings print them) or 16 bytes (as ``cg_id`` holds them).
        reason: why the rows had to go; one line.
        date: the day of the deletion, or its ISO form.

    An id that the list holds already keeps its first reason and date. Raises InputError for no id, one that is none,
    an empty reason or a date that is none; ManifestError if the file is there and broken.
    """
    from filelock import FileLock  # noqa: PLC0415 - only who writes the list waits for it to load

    target = Path(path)
    given = list(ids)
    Takedowns.empty().adding(given, reason=reason, date=date)  # nothing is made or locked for a request that is none
    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(target.with_name(f".{target.name}.lock")):
        held = load_takedowns(target) if target.exists() else Takedowns.empty()
        return held.adding(given, reason=reason, date=date).write(target)


def _as_lines(taken: Takedowns) -> bytes:
    records = [
        {"digest": record.digest.hex(), "reason": record.reason, "date": record.date.isoformat()}
        for record in taken.records
    ]
    lines = [{"schema": SCHEMA, "salt": taken.salt.hex()}, *records]
    return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines).encode()


def _lines(path: Path) -> Sequence[str]:
    try:
        return path.read_bytes().decode("utf-8-sig").splitlines()
    except FileNotFoundError:
        text = f"{path}: no such file; write it with collapse-guard takedown, or correct the path"
        raise ManifestError(text, path=path) from None
    except UnicodeDecodeError as error:
        raise ManifestError(f"{path}: is not UTF-8 (byte {error.start}); restore it", path=path) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ManifestError(f"{path}: cannot be read: {reason}", path=path) from None


def _parsed(path: Path, number: int, line: str, keys: set[str]) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise _fault(path, number, f"not JSON ({error}); the line was cut or changed, restore it") from None
    if not isinstance(value, dict) or set(value) != keys:
        raise _fault(path, number, f"expected an object with exactly the keys {', '.join(sorted(keys))}")
    return value


def _record(path: Path, number: int, line: str) -> Takedown:
    value = _parsed(path, number, line, _LINE)
    digest = _hex(path, number, "digest", value["digest"], 32)
    try:
        return Takedown(digest, _reason(value["reason"]), _day(value["date"]))
    except InputError as error:
        raise _fault(path, number, str(error)) from None


def _hex(path: Path, number: int, key: str, value: Any, size: int) -> bytes:
    if not isinstance(value, str) or not re.fullmatch(rf"[0-9a-f]{{{2 * size}}}", value):
        raise _fault(path, number, f"{key} must be {2 * size} lower-case hexadecimal digits, got {value!r}")
    return bytes.fromhex(value)


def _fault(path: Path, number: int, text: str) -> ManifestError:
    return ManifestError(f"{path}:{number}: {text}", path=path, line=number)


def _id_bytes(given: str | bytes) -> bytes:
    if isinstance(given, str) and re.fullmatch(r"[0-9a-fA-F]{32}", given):
        return bytes.fromhex(given)
    if isinstance(given, bytes) and len(given) == _ID_BYTES:
        return given
    raise InputError(f"an id is 32 hexadecimal digits or 16 bytes, got {given!r}; findings and `--lost-to` give them")


def _reason(given: Any) -> str:
    is_line = isinstance(given, str) and given.strip() and len(given.strip().splitlines()) == 1
    if not is_line or any(0xD800 <= ord(letter) <= 0xDFFF for letter in given):  # noqa: PLR2004 - surrogates are no text
        raise InputError(f"a takedown needs a reason, one line of text, got {given!r}")
    return str(given).strip()


def _day(given: Any) -> dt.date:
    if isinstance(given, dt.datetime) or not isinstance(given, (dt.date, str)):
        raise InputError(f"a takedown needs a date such as 2026-03-31, got {given!r}")
    try:
        return given if isinstance(given, dt.date) else dt.date.fromisoformat(given)
    except ValueError:
        raise InputError(f"a takedown needs a date such as 2026-03-31, got {given!r}") from None
