"""A baseline: findings that were there when the gate was switched on, each with its figure. It only ever shrinks.

The file is JSON lines, so that a reviewer sees each entry come and go. The first line names the schema and the parent
that the generation was compared with; each further line is one finding, by its fingerprint. A finding that is worse
than what is recorded fails, and so does an entry that matches nothing any more.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from collapse_guard._atomic import write_bytes
from collapse_guard.errors import ManifestError
from collapse_guard.policy.waiver import UNWAIVABLE
from collapse_guard.records import REST, Finding, Severity, Status

if TYPE_CHECKING:
    from collections.abc import Iterable
    from os import PathLike

SCHEMA: Final = "collapse-guard/baseline/1"
MAX_BYTES: Final = 16 << 20
_TEXTS: Final = ("fingerprint", "rule", "subject", "unit", "mark")
#: Rules that compare a generation with its parent: what they found once says nothing of the next pair.
_OF_A_PAIR: Final = "CG2"
#: Room for a figure that went through text.
_SLACK: Final = 1e-9
_LARGEST: Final = 1e300

Key = tuple[str, str, tuple[tuple[str, str], ...], str]


@dataclass(frozen=True)
class Entry:
    """One known finding.

    Args:
        fingerprint: of the finding.
        rule: its code.
        subject: what it is about.
        where: the source, class, generator or generation.
        measured: the figure that is accepted; beyond it the finding fails.
        unit: of the figure.
        extent: how many it is about, where the figure is the furthest of them; None where the figure says all.
        mark: which rows or classes it is about; empty where that does not matter.
        line: where it stands in the file, 0 if it does not yet.
    """

    fingerprint: str
    rule: str
    subject: str
    where: tuple[tuple[str, str], ...]
    measured: float
    unit: str
    extent: int | None = None
    mark: str = ""
    line: int = 0

    @property
    def key(self) -> Key:
        """What the entry is about, whatever the parent was."""
        return self.rule, self.subject, self.where, self.unit

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, in the order of the file."""
        return {
            "fingerprint": self.fingerprint,
            "rule": self.rule,
            "subject": self.subject,
            "where": dict(self.where),
            "measured": self.measured,
            "unit": self.unit,
            "extent": self.extent,
            "mark": self.mark,
        }

    def accepts(self, found: Finding) -> bool:
        """Return whether a finding of this entry's key is no worse than what is recorded."""
        return not self.why_worse(found)

    def why_worse(self, found: Finding) -> str:
        """Return, as a clause, in what a finding is worse than what is recorded; empty if it is not."""
        if _is_worse(found, self.measured):
            return f"worse than the baseline, which holds {self.measured:g}"
        if (found.extent or 0) > (self.extent or 0):
            return f"wider than the baseline, which holds {self.extent or 0} of them"
        return "not what the baseline holds, which are others" if found.mark != self.mark else ""


@dataclass(frozen=True)
class Baseline:
    """The known findings of one generation against its parent.

    Args:
        parent_digest: the manifest that it was compared with, None if there was none.
        entries: one per finding, sorted by rule and subject.
        name: the file, for messages.
    """

    parent_digest: str | None
    entries: tuple[Entry, ...] = ()
    name: str = ""

    def write(self, path: str | PathLike[str]) -> Baseline:
        """Write the file, whole or not at all; returns the baseline under that name."""
        head = {"schema": SCHEMA, "parent_digest": self.parent_digest}
        lines = [json.dumps(each, ensure_ascii=True) for each in (head, *(entry.as_dict() for entry in self.entries))]
        write_bytes(Path(path).resolve(), ("\n".join(lines) + "\n").encode())
        return replace(self, name=str(path))


@dataclass(frozen=True)
class Difference:
    """What changed since a baseline was written.

    Args:
        new: findings that it does not have.
        worse: entries with the finding that went beyond them.
        better: the same for findings that came nearer to the limit.
        same: entries that hold as they are.
        gone: entries that match nothing.
    """

    new: tuple[Entry, ...] = ()
    worse: tuple[tuple[Entry, Entry], ...] = ()
    better: tuple[tuple[Entry, Entry], ...] = ()
    same: tuple[Entry, ...] = ()
    gone: tuple[Entry, ...] = ()

    @property
    def holds(self) -> bool:
        """Whether nothing is new or worse."""
        return not self.new and not self.worse

    @property
    def shrunk(self) -> tuple[Entry, ...]:
        """The entries that are left, each with the lower of both figures; nothing new, nothing worse."""
        held = (
            replace(now, measured=before.measured, extent=before.extent, mark=before.mark) for before, now in self.worse
        )
        kept = (*self.same, *(now for _, now in self.better), *held)
        return tuple(sorted(kept, key=lambda entry: entry.key))


def entries_of(findings: Iterable[Finding], parent_digest: str | None) -> tuple[Entry, ...]:
    """Return an entry for every failing finding that has a figure and may be accepted at all."""
    found = [
        Entry(
            each.fingerprint(parent_digest),
            each.code,
            each.subject,
            tuple(sorted(each.where.items())),
            each.measured,
            each.unit,
            each.extent,
            each.mark,
        )
        for each in findings
        if can_be_accepted(each) and each.measured is not None
    ]
    return tuple(sorted(found, key=lambda entry: entry.key))


def can_be_accepted(found: Finding) -> bool:
    """Return whether a baseline may hold a finding: it failed, has a figure, and its rule can be waived."""
    is_loud = found.status is Status.FAIL and found.severity is not Severity.INFO
    return is_loud and found.code not in UNWAIVABLE and found.measured is not None and found.subject != REST


def baselined(found: Finding, baseline: Baseline, parent_digest: str | None) -> Finding:
    """Return the finding, accepted if the baseline has it and it is not worse than what was recorded."""
    entry = _entries(baseline).get(found.fingerprint(parent_digest))
    if entry is None or entry.unit != found.unit or not can_be_accepted(found):
        return found
    worse = entry.why_worse(found)
    if worse:
        return replace(found, message=f"{found.message}; {worse}")
    return replace(found, status=Status.BASELINED, accepted_by="baseline")


def difference(baseline: Baseline, findings: Iterable[Finding], parent_digest: str | None) -> Difference:
    """Return what changed since the baseline, finding by finding; also where it was written against another parent."""
    failing = [found for found in findings if can_be_accepted(found)]
    now = {entry.key: entry for entry in entries_of(failing, parent_digest)}
    by_key = {(found.code, found.subject, tuple(sorted(found.where.items())), found.unit): found for found in failing}
    is_same_parent = baseline.parent_digest == parent_digest
    before = {entry.key: entry for entry in baseline.entries if is_same_parent or not entry.rule.startswith(_OF_A_PAIR)}
    both = sorted(now.keys() & before.keys())
    worse = [key for key in both if not before[key].accepts(by_key[key])]
    same = [key for key in both if key not in worse and _is_near(now[key].measured, before[key].measured)]
    better = [key for key in both if key not in worse and key not in same]
    return Difference(
        new=tuple(now[key] for key in sorted(now.keys() - before.keys())),
        worse=tuple((before[key], now[key]) for key in worse),
        better=tuple((before[key], now[key]) for key in better),
        same=tuple(now[key] for key in same),
        gone=tuple(entry for entry in baseline.entries if entry.key not in now or entry.key not in before),
    )


def load_baseline(path: str | PathLike[str]) -> Baseline:
    """Return the baseline of a file; raises ManifestError with file and line."""
    where = Path(path)
    lines = _text(where).splitlines()
    head = _object(lines[0] if lines else "", where, 1)
    if head.get("schema") != SCHEMA or not isinstance(head.get("parent_digest", 0), (str, type(None))):
        raise _fault(where, 1, f"not a baseline: the first line says schema {SCHEMA!r} and parent_digest")
    parent = head["parent_digest"]
    entries = [
        _entry(_object(line, where, number), where, number, parent) for number, line in enumerate(lines[1:], 2) if line
    ]
    seen: dict[str, int] = {}
    for entry in entries:
        if entry.fingerprint in seen:
            raise _fault(where, entry.line, f"stands in line {seen[entry.fingerprint]} too; keep one of the two")
        seen[entry.fingerprint] = entry.line
    return Baseline(parent, tuple(entries), str(where))


def _entries(baseline: Baseline) -> dict[str, Entry]:
    return {entry.fingerprint: entry for entry in baseline.entries}


def _is_worse(found: Finding, recorded: float) -> bool:
    assert found.measured is not None
    return found.is_worse_than(recorded) and not _is_near(found.measured, recorded)


def _is_near(one: float, other: float) -> bool:
    return math.isclose(one, other, rel_tol=_SLACK, abs_tol=_SLACK)


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
        text = raw.decode("utf-8-sig")
    except FileNotFoundError:
        raise _fault(path, None, "no such baseline; 'collapse-guard baseline write' makes one") from None
    except UnicodeDecodeError as error:
        raise _fault(path, None, f"not a baseline: not UTF-8 (byte {error.start})") from None
    except (OSError, ValueError) as error:
        raise _fault(path, None, f"cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if len(raw) > MAX_BYTES:
        raise _fault(path, None, f"is larger than {MAX_BYTES >> 20} MiB; is it a baseline?")
    return text


def _object(line: str, path: Path, number: int) -> dict[str, Any]:
    try:
        found = json.loads(line, object_pairs_hook=_once)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise _fault(path, number, "not a line of a baseline: it is no JSON object")
    return found


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({key for key, _ in pairs}) < len(pairs):
        raise ValueError("a key stands twice")
    return dict(pairs)


def _entry(found: dict[str, Any], path: Path, number: int, parent: str | None) -> Entry:
    allowed = {*_TEXTS, "where", "measured", "extent"}
    if set(found) != allowed:
        raise _fault(
            path, number, f"an entry has the keys {', '.join(sorted(allowed))}, got {', '.join(sorted(found))}"
        )
    texts = {name: found[name] for name in _TEXTS}
    where, measured, extent = found["where"], found["measured"], found["extent"]
    if not all(isinstance(text, str) for text in texts.values()):
        raise _fault(path, number, f"{', '.join(_TEXTS)} are text")
    if not isinstance(where, Mapping) or not all(isinstance(value, str) for value in where.values()):
        raise _fault(path, number, "where is a mapping of names to text")
    is_number = isinstance(measured, (int, float)) and not isinstance(measured, bool)
    if not is_number or not abs(measured) <= _LARGEST:
        raise _fault(path, number, f"measured is a finite number, got {measured!r:.40}")
    if extent is not None and (type(extent) is not int or not 0 <= extent <= _LARGEST):
        raise _fault(path, number, f"extent is a whole number or null, got {extent!r:.40}")
    said = Finding(found["rule"], Severity.ERROR, "", subject=found["subject"], where=dict(where))
    if found["fingerprint"] != said.fingerprint(parent):
        raise _fault(path, number, "the fingerprint is not that of this rule, subject, where and parent")
    if found["rule"] in UNWAIVABLE:
        raise _fault(path, number, f"{found['rule']} is never accepted: take the line out and mend what it found")
    return Entry(**texts, where=tuple(sorted(where.items())), measured=float(measured), extent=extent, line=number)


def _fault(path: Path, line: int | None, message: str) -> ManifestError:
    place = str(path) if line is None else f"{path}:{line}"
    return ManifestError(f"{place}: {message}", path=path, line=line)
