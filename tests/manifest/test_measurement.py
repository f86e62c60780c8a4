"""Measurement files: read, refused with one line, written again, and described by a schema."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collapse_guard.errors import ManifestError
from collapse_guard.manifest.measurement import (
    MAX_BYTES,
    Measurement,
    load_measurement,
    measurement_json_schema,
    write_measurement,
)

if TYPE_CHECKING:
    from pathlib import Path

FIGURE: dict[str, Any] = {
    "name": "near_duplicate_share",
    "value": 0.1,
    "n": 400,
    "interval": [0.07, 0.13],
    "level": 0.95,
    "method": "minhash 0.85, Clopper-Pearson",
}
DETECTOR: dict[str, Any] = {
    "name": "d 1",
    "false_positive_rate": 0.02,
    "n_real_rows": 500,
    "false_negative_rate": 0.1,
    "n_synthetic_rows": 500,
}
BEFORE: dict[str, Any] = {"value": 0.2, "n": 400, "interval": [0.1, 0.3], "level": 0.95}
PLAIN: dict[str, Any] = {
    "schema": "collapse-guard/measurement/1",
    "manifest": f"sha256:{'0' * 64}",
    "made_by": "audit 1.0",
    "created": "2026-11-26T10:00:00Z",
    "detector": DETECTOR,
    "figures": [FIGURE, FIGURE | {"class": "owl", "source": "made", "at": "2026-02-28", "before": BEFORE}],
}


def saved(folder: Path, plain: Any) -> Path:
    path = folder / "audit.json"
    path.write_bytes(plain if isinstance(plain, bytes) else json.dumps(plain).encode())
    return path


def with_figure(**changes: Any) -> dict[str, Any]:
    figure = {key: value for key, value in (FIGURE | changes).items() if value is not ...}
    return PLAIN | {"figures": [figure]}


def test_a_measurement_is_what_its_file_says(tmp_path: Path) -> None:
    found = load_measurement(saved(tmp_path, PLAIN))
    assert (found.manifest, found.made_by, found.name) == (PLAIN["manifest"], "audit 1.0", str(tmp_path / "audit.json"))
    first, second = found.figures
    assert (first.value, first.n, first.interval, first.level) == (0.1, 400, (0.07, 0.13), 0.95)
    assert second.key == ("near_duplicate_share", "made", "owl", "2026-02-28")
    assert second.before is not None
    assert second.before.value == 0.2
    assert found.detector is not None
    assert found.detector.false_negative_rate == 0.1


def test_what_is_written_is_read_again_and_its_bytes_stay(tmp_path: Path) -> None:
    found = load_measurement(saved(tmp_path, PLAIN))
    path = write_measurement(found, tmp_path / "sub" / "again.json")
    again = load_measurement(path)
    assert again.figures == found.figures
    assert again.as_json() == found.as_json() == path.read_bytes()
    assert path.read_bytes().endswith(b"\n")


def test_a_byte_order_mark_is_no_fault(tmp_path: Path) -> None:
    path = saved(tmp_path, b"\xef\xbb\xbf" + json.dumps(PLAIN).encode())
    assert load_measurement(path).made_by == "audit 1.0"


@pytest.mark.parametrize(
    ("plain", "said"),
    [
        (b"", "not a measurement: not JSON"),
        (b"{", "not a measurement: not JSON"),
        (b"\xff{}", r"is not UTF-8 \(byte 0\)"),
        (b"[" * 100_000, "not a measurement: not JSON"),
        (b"[]", "/schema is None, this version reads 'collapse-guard/measurement/1'"),
        (b'{"schema": "a", "schema": "b"}', "key 'schema' stands twice"),
        (PLAIN | {"schema": "collapse-guard/measurement/2"}, "/schema is 'collapse-guard/measurement/2'"),
        (PLAIN | {"manifest": "0" * 64}, "/manifest: must be 'sha256:' and 64 hexadecimal digits, got '000"),
        (PLAIN | {"made_by": ""}, "/made_by: "),
        (PLAIN | {"figures": []}, "/figures: "),
        (PLAIN | {"figurs": 1}, "/figurs: "),
        (PLAIN | {"schema_": "collapse-guard/measurement/1"}, "/schema_: "),
        (PLAIN | {"detector": DETECTOR | {"false_positive_rate": 1.1}}, "/detector/false_positive_rate: "),
        (PLAIN | {"detector": {"name": "d"}}, "/detector/false_positive_rate: Field required"),
        (PLAIN | {"figures": [FIGURE, FIGURE]}, "two figures are of 'near_duplicate_share'; keep one"),
        (with_figure(n=...), "/figures/0/n: Field required"),
        (with_figure(interval=...), "/figures/0/interval: Field required"),
        (with_figure(method=...), "/figures/0/method: Field required"),
        (with_figure(n=0), "/figures/0/n: "),
        (with_figure(n=True), "/figures/0/n: "),
        (with_figure(n=10**30), "/figures/0/n: "),
        (with_figure(level=95), "/figures/0/level: "),
        (with_figure(value="0.1"), "/figures/0/value: "),
        (with_figure(value=0.2), "value 0.2 is outside its interval, 0.07 to 0.13"),
        (with_figure(interval=[0.2, 0.1]), "outside its interval"),
        (with_figure(interval=[0.07, 1.3]), "near_duplicate_share is a share, its interval must lie in"),
        (with_figure(interval=[0.1]), "/figures/0/interval"),
        (with_figure(name="Near"), "/figures/0/name: must be up to 64 small letters"),
        (with_figure(at="2026-2-1"), "/figures/0/at: must be a date such as 2026-03-31, got '2026-2-1'"),
        (with_figure(at="2026-02-30"), "/figures/0/at: day "),
        (with_figure(class_="owl"), "/figures/0/class_: "),
        (with_figure(before={"value": 1}), "/figures/0/before/n: "),
        (json.dumps(with_figure()).replace('"value": 0.1,', '"value": NaN,').encode(), "/figures/0/value: "),
        (json.dumps(with_figure()).replace('"value": 0.1,', '"value": 1e999,').encode(), "/figures/0/value: "),
        (json.dumps(PLAIN).replace("audit 1.0", "\\ud800").encode(), "audit.json: "),
    ],
)
def test_what_is_no_measurement_is_refused_on_one_line(tmp_path: Path, plain: Any, said: str) -> None:
    path = saved(tmp_path, plain)
    with pytest.raises(ManifestError, match=said) as caught:
        load_measurement(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert len(str(caught.value).splitlines()) == 1
    assert caught.value.path == str(path)


def test_what_cannot_be_read_is_refused_on_one_line(tmp_path: Path) -> None:
    (tmp_path / "big.json").write_bytes(b" " * (MAX_BYTES + 1))
    for name, said in {"none.json": "no such file", ".": "is a directory", "big.json": "is larger than 16 MiB"}.items():
        with pytest.raises(ManifestError, match=said) as caught:
            load_measurement(tmp_path / name)
        assert len(str(caught.value).splitlines()) == 1
    with pytest.raises(ManifestError, match="cannot be read"):
        load_measurement("a\0b")


def test_a_measurement_in_memory_goes_by_who_made_it() -> None:
    assert Measurement.of(PLAIN | {"made_by": "a\nb"}).name == "measurement by a\\nb"


@pytest.mark.parametrize(
    "values", [PLAIN | {"figures": {1}}, PLAIN | {"made_by": "\ud800"}, {}, PLAIN | {"created": 1}]
)
def test_plain_values_that_are_no_measurement_are_refused_on_one_line(values: dict[str, Any]) -> None:
    with pytest.raises(ManifestError, match=r"^<mapping>: ") as caught:
        Measurement.of(values)
    assert len(str(caught.value).splitlines()) == 1


def test_the_schema_takes_what_the_loader_takes(tmp_path: Path) -> None:
    schema = measurement_json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    assert list(validator.iter_errors(PLAIN)) == []
    written = load_measurement(saved(tmp_path, PLAIN)).as_json()
    assert list(validator.iter_errors(json.loads(written))) == []
    for wrong in (
        PLAIN | {"schema": "collapse-guard/measurement/2"},
        PLAIN | {"figures": []},
        with_figure(n=0),
        with_figure(level=1),
        with_figure(class_="owl"),
        with_figure(interval=[0.1]),
        with_figure(name="Near"),
    ):
        assert list(validator.iter_errors(wrong)), wrong


def fault_of(data: bytes) -> str | None:
    try:
        Measurement.from_json(data, path="a.json")
    except ManifestError as error:
        return str(error)
    return None


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(), lambda x: st.dictionaries(st.text(), x)))
def test_any_json_is_a_measurement_or_one_line(plain: Any) -> None:
    for value in (plain, PLAIN | {"figures": [plain]}, PLAIN | {"detector": plain}, with_figure(before=plain)):
        said = fault_of(json.dumps(value).encode())
        assert said is None or len(said.splitlines()) == 1
