"""Lawful deletions: what is written, what is covered, and what a broken list says."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collapse_guard.errors import InputError, ManifestError
from collapse_guard.manifest import Takedowns, add_takedowns, load_takedowns
from collapse_guard.manifest.takedowns import SCHEMA, Takedown, digest_of

DAY = dt.date(2026, 3, 31)
IDS = [hashlib.sha256(str(n).encode()).hexdigest()[:32] for n in range(8)]
WORD = st.integers(0, 2**64 - 1)


def words(*ids: str) -> tuple[np.ndarray, np.ndarray]:
    halves = [(int(each[:16], 16), int(each[16:], 16)) for each in ids]
    hi, lo = zip(*halves, strict=True) if halves else ((), ())
    return np.array(hi, dtype=np.uint64), np.array(lo, dtype=np.uint64)


@pytest.fixture
def listed(tmp_path: Path) -> Path:
    path = tmp_path / "governance" / "takedowns.jsonl"
    add_takedowns(path, IDS[:3], reason="erasure 118", date=DAY)
    return path


def test_a_list_covers_what_was_added_and_nothing_else(listed: Path) -> None:
    taken = load_takedowns(listed)
    assert taken.covers(*words(*IDS)).tolist() == [True] * 3 + [False] * 5
    assert taken.places(*words(*IDS)).tolist() == [0, 1, 2, -1, -1, -1, -1, -1]
    assert {(record.reason, record.date) for record in taken.records} == {("erasure 118", DAY)}
    assert taken.covers(*words()).tolist() == []


def test_no_id_and_no_raw_content_is_written(listed: Path) -> None:
    text = listed.read_text()
    assert not [each for each in IDS if each in text or each[:16] in text]


def test_the_format_is_what_the_documentation_says(listed: Path) -> None:
    head, *lines = [json.loads(line) for line in listed.read_text().splitlines()]
    assert head["schema"] == SCHEMA == "collapse-guard/takedowns/1"
    assert set(head) == {"schema", "salt"}
    outside = hashlib.sha256(bytes.fromhex(head["salt"] + IDS[0])).hexdigest()
    assert lines[0] == {"digest": outside, "reason": "erasure 118", "date": "2026-03-31"}


def test_two_lists_have_two_salts_and_share_no_digest(listed: Path, tmp_path: Path) -> None:
    other = add_takedowns(tmp_path / "other.jsonl", IDS[:3], reason="r", date=DAY)
    first = load_takedowns(listed)
    assert first.salt != other.salt
    assert not {record.digest for record in first.records} & {record.digest for record in other.records}
    assert first.entry.digest != other.entry.digest


def test_ids_may_be_bytes_as_data_sets_carry_them(listed: Path) -> None:
    taken = add_takedowns(listed, [bytes.fromhex(IDS[5]), IDS[6].upper()], reason="r", date="2026-04-01")
    assert taken.covers(*words(IDS[5], IDS[6])).all()
    assert taken == load_takedowns(listed)


def test_an_id_that_is_there_keeps_its_first_reason_and_date(listed: Path) -> None:
    before = listed.read_bytes()
    taken = add_takedowns(listed, [IDS[1], IDS[1]], reason="later", date="2027-01-01")
    assert listed.read_bytes() == before
    assert taken.records[1] == load_takedowns(listed).records[1]
    assert len(add_takedowns(listed, [IDS[4], IDS[4]], reason="later", date="2027-01-01").records) == 4


def test_a_line_that_stands_twice_counts_once(listed: Path) -> None:
    lines = listed.read_text().splitlines()
    changed = json.loads(lines[1]) | {"reason": "merged by hand"}
    listed.write_text("\n".join([*lines, json.dumps(changed), ""]))
    taken = load_takedowns(listed)
    assert [record.reason for record in taken.records] == ["erasure 118"] * 3
    assert taken.places(*words(*IDS[:4])).tolist() == [0, 1, 2, -1]


def test_the_entry_for_headers_depends_on_the_deletions_and_not_on_their_order(listed: Path) -> None:
    taken = load_takedowns(listed)
    turned = Takedowns(taken.salt, taken.records[::-1])
    assert (turned.entry, turned.entry.rows) == (taken.entry, 3)
    assert Takedowns(taken.salt, taken.records[:2]).entry.digest != taken.entry.digest


@settings(max_examples=50, deadline=None, derandomize=True)
@given(asked=st.lists(st.tuples(WORD, WORD), max_size=30), chosen=st.sets(st.integers(0, 29)))
def test_coverage_is_membership(asked: list[tuple[int, int]], chosen: set[int]) -> None:
    salt = bytes(range(16))
    taken = {asked[n] for n in chosen if n < len(asked)}
    records = [Takedown(digest_of(salt, ((hi << 64) | lo).to_bytes(16, "big")), "r", DAY) for hi, lo in taken]
    hi, lo = (np.array([pair[n] for pair in asked], dtype=np.uint64) for n in (0, 1))
    assert Takedowns(salt, tuple(records)).covers(hi, lo).tolist() == [pair in taken for pair in asked]


def test_a_hundred_thousand_lost_rows_against_as_many_takedowns() -> None:
    rng = np.random.default_rng(0)
    hi, lo = rng.integers(0, 2**64, size=(2, 100_000), dtype=np.uint64)
    salt, raw = bytes(16), np.stack([hi, lo], axis=1).astype(">u8").tobytes()
    records = tuple(Takedown(digest_of(salt, raw[16 * n : 16 * n + 16]), "r", DAY) for n in range(0, 100_000, 2))
    others = rng.integers(0, 2**64, size=(2, 50_000), dtype=np.uint64)
    taken = Takedowns(salt, records + tuple(Takedown(digest_of(salt, bytes(each)), "r", DAY) for each in others.T))
    assert taken.covers(hi, lo).tolist() == [True, False] * 50_000


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no id": ({"ids": []}, "no id to take down"),
    "short id": ({"ids": ["00ff"]}, "an id is 32 hexadecimal digits or 16 bytes, got '00ff'"),
    "a word": ({"ids": ["z" * 32]}, "an id is 32 hexadecimal digits"),
    "short bytes": ({"ids": [b"x"]}, "an id is 32 hexadecimal digits"),
    "no reason": ({"reason": "  "}, "a takedown needs a reason"),
    "two lines": ({"reason": "a\nb"}, "a takedown needs a reason, one line"),
    "no text": ({"reason": "\ud800"}, "a takedown needs a reason"),
    "no day": ({"date": "soon"}, "a takedown needs a date such as 2026-03-31, got 'soon'"),
    "a time": ({"date": dt.datetime(2026, 1, 1, tzinfo=dt.UTC)}, "a takedown needs a date"),
    "none": ({"date": None}, "a takedown needs a date"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_recorded_is_refused_and_writes_nothing(tmp_path: Path, what: str) -> None:
    given_, message = REFUSED[what]
    said: dict[str, Any] = {"ids": IDS[:1], "reason": "r", "date": DAY} | given_
    with pytest.raises(InputError, match=message):
        add_takedowns(tmp_path / "t.jsonl", said["ids"], reason=said["reason"], date=said["date"])
    assert list(tmp_path.iterdir()) == []


GOOD = {"digest": "0" * 64, "reason": "r", "date": "2026-01-01"}
HEAD = {"schema": SCHEMA, "salt": "0" * 32}
BROKEN: dict[str, tuple[list[Any], int, str]] = {
    "empty": ([], 1, "empty"),
    "no header": ([GOOD], 1, "exactly the keys salt, schema"),
    "another schema": ([HEAD | {"schema": "collapse-guard/takedowns/9"}], 1, "this version reads"),
    "short salt": ([HEAD | {"salt": "00"}], 1, "salt must be 32 lower-case hexadecimal digits"),
    "a cut line": ([HEAD, GOOD, '{"digest": "00'], 3, "not JSON"),
    "nested without end": ([HEAD, "[" * 100_000], 2, "not JSON"),
    "a list": ([HEAD, [1]], 2, "exactly the keys date, digest, reason"),
    "an id": ([HEAD, GOOD | {"id": "0"}], 2, "exactly the keys"),
    "no reason": ([HEAD, GOOD | {"reason": ""}], 2, "needs a reason"),
    "no date": ([HEAD, GOOD, GOOD, GOOD | {"date": 5}], 4, "needs a date"),
    "short digest": ([HEAD, GOOD | {"digest": "00"}], 2, "digest must be 64"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_line_is_an_error_with_its_number(tmp_path: Path, what: str) -> None:
    lines, number, message = BROKEN[what]
    path = tmp_path / "t.jsonl"
    path.write_text("".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines))
    before = path.read_bytes()
    with pytest.raises(ManifestError, match=message) as caught:
        load_takedowns(path)
    assert str(caught.value).startswith(f"{path}:{number}: ")
    assert "\n" not in str(caught.value)
    assert caught.value.path == str(path)
    with pytest.raises(ManifestError, match=message):
        add_takedowns(path, IDS[:1], reason="r", date=DAY)
    assert path.read_bytes() == before


def test_blank_lines_and_windows_line_ends_are_no_fault(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_bytes(f"\ufeff{json.dumps(HEAD)}\r\n\r\n{json.dumps(GOOD)}\r\n".encode())
    assert len(load_takedowns(path).records) == 1


@pytest.mark.parametrize("what", ["missing", "folder", "bytes"])
def test_a_file_that_is_none_is_one_clear_error(tmp_path: Path, what: str) -> None:
    path = tmp_path / "t.jsonl"
    if what == "folder":
        path.mkdir()
    elif what == "bytes":
        path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ManifestError, match=r"t\.jsonl: (no such file|cannot be read|is not UTF-8)") as caught:
        load_takedowns(path)
    assert caught.value.path == str(path)


def test_a_reason_in_any_script_survives(tmp_path: Path) -> None:
    reason = "demande d\u2019effacement n\u00ba 7 \U0001f408"
    add_takedowns(tmp_path / "t.jsonl", IDS[:1], reason=f" {reason} ", date=DAY)
    assert load_takedowns(tmp_path / "t.jsonl").records[0].reason == reason


def test_two_writers_at_once_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    code = (
        "import sys\n"
        "from collapse_guard.manifest import add_takedowns\n"
        "for n in range(20):\n"
        "    add_takedowns(sys.argv[1], [f'{int(sys.argv[2]) + n:032x}'], reason='r', date='2026-01-01')\n"
    )
    writers = [subprocess.Popen([sys.executable, "-c", code, str(path), str(first)]) for first in (0, 1000)]
    assert [writer.wait(timeout=120) for writer in writers] == [0, 0]
    taken = load_takedowns(path)
    assert len(taken.records) == 40
    assert taken.covers(*words(*(f"{first + n:032x}" for first in (0, 1000) for n in range(20)))).all()


def test_a_full_disk_keeps_the_older_list(listed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = listed.read_bytes()

    def broken(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", broken)
    with pytest.raises(OSError, match="No space left"):
        add_takedowns(listed, IDS, reason="r", date=DAY)
    assert listed.read_bytes() == before
