"""Loaders of what others write: whatever the bytes, a value or an InputError with one line per fault."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.laws.fuzzing import DIGEST, TARGETS, changed, refuses_well

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow


quickly = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.mark.parametrize("name", TARGETS)
@given(data=st.binary(max_size=300))
@example(data=b"")
@example(data=b"\xff\xfe{}")
@quickly
def test_any_bytes(tmp_path: Path, name: str, data: bytes) -> None:
    refuses_well(TARGETS[name][0], tmp_path / "file", data)


@pytest.mark.parametrize("name", TARGETS)
@given(text=st.text(alphabet="{}[]:,\"'\\ \n-#&*!|>%@`?0.1eaé\ud800\u2028", max_size=80))
@quickly
def test_any_text_of_signs(tmp_path: Path, name: str, text: str) -> None:
    refuses_well(TARGETS[name][0], tmp_path / "file", text.encode("utf-8", "surrogatepass"))


@pytest.mark.parametrize("name", TARGETS)
@given(seed=st.integers(0, 1 << 30))
@quickly
def test_files_that_were_changed(tmp_path: Path, name: str, seed: int) -> None:
    load, files = TARGETS[name][0], TARGETS[name][1]()
    refuses_well(load, tmp_path / "file", changed(files[seed % len(files)], seed))


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.just(DIGEST),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


def places(plain: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = plain.items() if isinstance(plain, dict) else enumerate(plain) if isinstance(plain, list) else ()
    return [path] * bool(path) + [place for key, value in inner for place in places(value, (*path, key))]


@pytest.mark.parametrize("name", ["header", "result", "measurement", "signature"])
@given(where=st.integers(0, 10_000), value=values)
@quickly
def test_documents_with_another_value_somewhere(tmp_path: Path, name: str, where: int, value: Any) -> None:
    load, files = TARGETS[name][0], TARGETS[name][1]()
    plain = json.loads(files[0])
    found = places(plain)
    *path, key = found[where % len(found)]
    inner = plain
    for part in path:
        inner = inner[part]
    inner[key] = value
    refuses_well(load, tmp_path / "file", json.dumps(plain).encode())


@pytest.mark.parametrize("name", TARGETS)
def test_the_files_that_are_changed_are_good(tmp_path: Path, name: str) -> None:
    load, files = TARGETS[name][0], TARGETS[name][1]()
    for data in files:
        tmp_path.joinpath("file").write_bytes(data)
        assert load(tmp_path / "file") is not None
