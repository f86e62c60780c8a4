"""The file of a result: what the gate writes is what the loader takes, and nothing else gets through."""

from __future__ import annotations

import copy
import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from collapse_guard.errors import InputError
from collapse_guard.report.formats import FORMATS, render, write
from collapse_guard.report.result import MAX_BYTES, MAX_DEPTH, load_result, read_result, result_json_schema
from tests.report.formats.views import (
    EXIT_CODES,
    finding,
    hostile_views,
    opened,
    tried,
    tried_often,
    view,
    waived,
    waiver,
)

PUBLISHED = Path(__file__).parents[2] / "configs" / "result.schema.json"


def read(data: bytes) -> dict[str, Any]:
    return read_result(io.BytesIO(data), name="r.json")


def read_or_said(data: bytes) -> tuple[dict[str, Any] | None, str]:
    try:
        return read(data), ""
    except InputError as error:
        return None, str(error)


def complaint(made: Any) -> str:
    with pytest.raises(InputError) as caught:
        read(json.dumps(made).encode())
    return str(caught.value)


def changed(*path: str | int, value: Any, base: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return a good result with one place changed."""
    made = copy.deepcopy(base or view(finding(), waived(), waivers=[waiver()]))
    *above, last = path
    at: Any = made
    for part in above:
        at = at[part]
    at[last] = value
    return made


def test_the_published_schema_is_that_of_the_models() -> None:
    assert json.loads(PUBLISHED.read_text("utf-8")) == result_json_schema()
    Draft202012Validator.check_schema(result_json_schema())


@pytest.mark.parametrize("verdict", EXIT_CODES)
def test_a_result_is_read_as_it_was_written(tmp_path: Path, verdict: str) -> None:
    made = view(finding(interval=[1.0, 2.5], n=3), opened(), waived(), verdict=verdict, waivers=[waiver()])
    path = tmp_path / "gate.json"
    write(made, [("json", path)])
    assert load_result(path) == made
    Draft202012Validator(result_json_schema()).validate(made)


@tried
@given(hostile_views())
def test_hostile_results_are_read_and_drawn_in_every_format(made: dict[str, Any]) -> None:
    loaded = read(render(made, "json").encode())
    assert read(render(loaded, "json").encode()) == loaded
    assert len(loaded["findings"]) == len(made["findings"])
    Draft202012Validator(result_json_schema()).validate(loaded)
    for name in FORMATS.keys() - {"html", "json-v1"}:
        assert render(loaded, name).encode().endswith(b"\n")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@tried_often
@given(
    st.binary(max_size=200)
    | st.text(alphabet='{}[]":,\\\x00\ud8001eN-. ', max_size=60).map(lambda text: text.encode("utf-8", "surrogatepass"))
)
def test_any_bytes_are_refused_in_one_way(data: bytes) -> None:
    with pytest.raises(InputError):
        read(data)


@tried_often
@given(st.data())
def test_a_result_with_anything_in_any_place_is_read_or_refused(data: st.DataObject) -> None:
    made: Any = view(
        finding(), waived(), waivers=[waiver()], accumulation={"level": "root", "holds": True, "summary": ""}
    )
    at, path = made, list[Any]()
    while isinstance(at, (dict, list)) and at and data.draw(st.booleans() if path else st.just(True)):
        path.append(data.draw(st.sampled_from(sorted(at) if isinstance(at, dict) else range(len(at)))))
        at = at[path[-1]]
    text = json.dumps(changed(*path, value=data.draw(json_values), base=made))
    loaded, said = read_or_said(text.encode())
    if loaded is None:
        assert all(line.startswith("r.json: ") and line.isprintable() for line in said.split("\n"))
        return
    for name in FORMATS.keys() - {"html", "json-v1"}:
        assert render(loaded, name)


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (
            ("verdict",),
            "fine",
            "/verdict: input should be 'kept', 'violated', 'unusable' or 'inconclusive', got 'fine'",
        ),
        (("findings", 0, "severity"), "fatal", "/findings/0/severity: input should be 'error', 'warning' or 'info'"),
        (("findings", 1, "measured"), "2", "/findings/1/measured: input should be a valid number, got '2'"),
        (("findings", 0, "serverity"), "error", "no such key in collapse-guard/result/1; did you mean 'severity'?"),
        (("polcy",), {}, "/polcy: no such key in collapse-guard/result/1; did you mean 'policy'?"),
        (("policy", "a/b~c"), 1, "/policy/a~1b~0c: no such key"),
        (("exit_code",), 0, "verdict 'violated' does not go with exit_code 0 (kept)"),
        (("exit_code",), True, "/exit_code: input should be a valid integer, got True"),
        (("policy_digest",), "sha256:12", "/policy_digest: string should match pattern"),
        (("findings", 0, "interval"), [1.0], "/findings/0/interval: list should have at least 2 items"),
        (("findings", 0, "measured"), 10**400, "/findings/0/measured: "),
        (("rules",), {}, "/rules: input should be a valid list"),
        (("schema",), "collapse-guard/result/2", "/schema is 'collapse-guard/result/2', this version reads"),
        (("schema",), ["x"], "/schema is ['x'], this version reads"),
    ],
)
def test_a_fault_is_told_with_its_place(path: tuple[str | int, ...], value: Any, said: str) -> None:
    text = complaint(changed(*path, value=value))
    assert text.startswith("r.json: ")
    assert said in text


def test_a_missing_key_is_told() -> None:
    made = view()
    del made["unsafe_waivers"]
    assert complaint(made) == "r.json: /unsafe_waivers: field required"


def test_many_faults_are_cut() -> None:
    made = view(*(finding(severity="x") for _ in range(50)))
    lines = complaint(made).split("\n")
    assert len(lines) == 11
    assert lines[-1] == "r.json: and 40 more faults"


def test_figures_may_be_left_out_and_are_anything() -> None:
    made = view(finding())
    del made["figures"]
    assert read(json.dumps(made).encode())["figures"] is None
    assert read(json.dumps(made | {"figures": {"mix": [1, {"a": None}]}}).encode())["figures"] == {
        "mix": [1, {"a": None}]
    }


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "not JSON (Expecting value"),
        (b"{", "not JSON (Expecting property name"),
        (b"[" * 100_000, "nested too deep"),
        (b'{"a": NaN}', "NaN is no JSON number"),
        (b'{"a": -Infinity}', "-Infinity is no JSON number"),
        (b'{"a": 1, "a": 2}', "key 'a' stands twice in an object"),
        (b"\xff\xfe\x00", "not JSON"),
        (b"1" * 5000, "not JSON"),
        (b"[]", "/schema is None"),
        (b'"text"', "/schema is None"),
        (b'{"a":' * (MAX_DEPTH + 1) + b"1" + b"}" * (MAX_DEPTH + 1), "nested deeper than 64 levels"),
    ],
)
def test_what_is_no_result_is_refused(data: bytes, said: str) -> None:
    with pytest.raises(InputError) as caught:
        read(data)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_too_large_is_not_parsed() -> None:
    with pytest.raises(InputError, match="larger than 64 MiB"):
        read(b" " * (MAX_BYTES + 1))


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le"])
def test_what_a_shell_of_windows_redirects_is_read(encoding: str) -> None:
    made = view(finding(message="owl \U0001f989"))
    assert read(json.dumps(made, ensure_ascii=False).encode(encoding)) == made


def test_a_lone_surrogate_becomes_visible() -> None:
    loaded = read(json.dumps(view(finding(message="\udcff.yaml"))).encode())
    assert loaded["findings"][0]["message"] == "\\udcff.yaml"


@pytest.mark.parametrize("name", ["nowhere.json", ".", "a\x00b"])
def test_a_path_that_cannot_be_read_is_one_line(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError) as caught:
        load_result(tmp_path / name)
    assert str(caught.value).isprintable()
