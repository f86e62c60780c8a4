"""The map of formats: all are there, loaded when asked for, written whole, and unharmed by any text."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given

from collapse_guard import gate
from collapse_guard.errors import InputError
from collapse_guard.report.formats import FORMATS, check_format, render, write
from collapse_guard.report.formats.entries import entries, place, relative
from collapse_guard.report.result import load_result
from tests.report.formats.views import HOSTILE, finding, hostile_views, opened, tried, view, waived

#: HTML has its own tests, and its packages may be missing.
TEXTS = sorted(FORMATS.keys() - {"html"})


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("text", HOSTILE)
def test_every_format_takes_hostile_text_everywhere(name: str, text: str) -> None:
    facts: dict[str, Any] = {
        "subject": text,
        "where": {"class": text},
        "evidence": {text: [text]},
        "unit": text,
        "method": text,
    }
    said = facts | {"message": text, "remedy": text, "file": text, "key": text, "docs": text}
    made = view(finding(**said), waived(accepted_by=text), opened(subject=text), notes=[text])
    made["policy"] |= {"name": text, "file": text}
    shown = render(made, name)
    assert shown.endswith("\n")
    assert shown.encode("utf-8")
    for letter in "\x00\x1b\r":
        assert letter not in shown


@tried
@given(hostile_views())
def test_equal_results_give_equal_bytes(made: dict[str, Any]) -> None:
    other = copy.deepcopy(made)
    for name in TEXTS:
        assert render(made, name) == render(other, name)


def test_json_is_the_newest_version() -> None:
    made = view(finding())
    assert render(made, "json") == render(made, "json-v1")
    assert json.loads(render(made, "json")) == made


def test_an_unknown_format_is_told_the_nearest() -> None:
    with pytest.raises(InputError, match="no output format is called 'junti'; did you mean 'junit'"):
        check_format("junti")
    with pytest.raises(InputError, match="allowed: azure, github"):
        render(view(), "")


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.sarif"
    path.write_text("old", encoding="utf-8")
    write(view(), [("sarif", path)])
    assert path.read_text("utf-8") == render(view(), "sarif")
    assert [each.name for each in tmp_path.iterdir()] == ["a.sarif"]


def test_the_map_loads_nothing_heavy() -> None:
    heavy = ("numpy", "pyarrow", "duckdb", "jinja2", "matplotlib", "pydantic", "xml.etree.ElementTree")
    code = f"import sys, collapse_guard.report.formats; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_worst_comes_first() -> None:
    found = entries(
        view(
            waived(),
            finding("CG904", severity="info"),
            opened("CG501"),
            finding("CG103", severity="warning"),
            finding("CG201"),
            finding("CG101"),
        )
    )
    assert [entry.code for entry in found] == ["CG101", "CG201", "CG501", "CG103", "CG904", "CG102"]
    assert [entry.counts for entry in found] == [True, True, True, False, False, False]


@pytest.mark.parametrize(
    "file", ["/a.yaml", "C:a.yaml", "\\\\host\\share\\a.yaml", "a/../../b.yaml", "a.parquet", "", None]
)
def test_a_path_that_leaves_or_is_data_is_no_place(file: str | None) -> None:
    assert relative(file) is None


def test_a_place_is_told_from_the_root_of_the_repository() -> None:
    made = view(finding(file="policies/gen4.yaml", line=3), finding(file="../shared.yaml", line=4), folder="text")
    first, second = entries(made)
    assert {place(made, first), place(made, second)} == {("text/policies/gen4.yaml", 3), ("shared.yaml", 4)}
    made["folder"] = ""
    assert place(made, second)[0] != "../shared.yaml"


def test_there_is_always_a_place() -> None:
    made = view(
        finding(file=None), policy={"name": None, "file": "/else/where.yaml", "digest": None}, manifest_file=None
    )
    (entry,) = entries(made)
    assert place(made, entry) == ("where.yaml", 1)
    made["policy"] = None
    assert place(made, entry) == ("collapse_guard.yaml", 1)


def test_a_real_result_goes_through_every_format(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("policy.yaml").write_text("version: 1\nmix: {real_min_share: 0.5}\n", encoding="utf-8")
    made = gate.check("policy.yaml", "nowhere.json").as_dict()
    assert made["verdict"] == "unusable"
    for name in TEXTS:
        assert "CG003" in render(made, name)
    write(made, [("json", Path("gate.json"))])
    assert load_result("gate.json") == json.loads(render(made, "json"))
