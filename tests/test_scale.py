"""The scale page shows what its script prints for the constants on the page, and the script's model holds together."""

from __future__ import annotations

import importlib.util
import itertools
import json
import sys
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "scale.md"


@pytest.fixture(scope="module")
def scale() -> Any:
    spec = importlib.util.spec_from_file_location("scale_benchmark", ROOT / "benchmarks" / "scale.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def constants(scale: Any) -> Any:
    return scale.constants_of(PAGE.read_text(encoding="utf-8"))


def test_the_page_is_what_the_script_prints(scale: Any, constants: Any) -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert scale.with_model(page, constants) == page
    assert scale.model(constants) in page


def test_a_page_without_a_constant_is_refused(scale: Any) -> None:
    page = PAGE.read_text(encoding="utf-8").replace("| `row_bytes` |", "| row bytes |")
    with pytest.raises(ValueError, match="row_bytes"):
        scale.constants_of(page)


def test_costs_are_those_by_hand(scale: Any, constants: Any) -> None:
    c = constants
    cost = scale.inventory(1e9, c)
    assert cost.n_bytes == pytest.approx(1e9 * (c.row_bytes + c.index_bytes))
    assert cost.cpu_s == pytest.approx(1e3 * c.inventory_cpu_us)
    rows = scale.by_rows(1e9, c)
    headers = 2 * -(-(10**9) // int(c.shard_rows))
    assert rows.cpu_s == pytest.approx(2e3 * c.compare_cpu_us + headers * c.header_cpu_us / 1e6)
    assert scale.plan(1e9, c).memory_bytes == pytest.approx(1e9 * c.plan_memory_bytes)


def test_every_door_costs_more_for_more_rows(scale: Any, constants: Any) -> None:
    for door in scale.DOORS.values():
        costs = [door(size, constants) for size in scale.SIZES]
        for less, more in itertools.pairwise(costs):
            assert less.n_bytes < more.n_bytes
            assert less.cpu_s < more.cpu_s
            assert less.memory_bytes <= more.memory_bytes


def test_machines_are_as_many_as_the_patience_needs(scale: Any, constants: Any) -> None:
    for door in scale.DOORS.values():
        for size in scale.SIZES:
            cost = door(size, constants)
            machines = cost.machines(constants)
            if machines is not None:
                shared = cost.wall_s(constants, machines) - cost.serial_s
                assert shared <= constants.patience_h * 3600 * (1 + 1e-9)
                assert machines == 1 or cost.spreads


def test_what_breaks_breaks_where_its_formula_says(scale: Any, constants: Any) -> None:
    found = {what: size for what, size, _ in scale.breaks(constants)}
    assert list(found.values()) == sorted(found.values())
    size = found["a mix plan outgrows the memory of one machine"]
    assert scale.plan(size * 0.999, constants).memory_bytes < constants.memory_gb * 1e9
    assert scale.plan(size * 1.001, constants).machines(constants) is None
    gate = next(size for what, size in found.items() if what.startswith("the whole gate"))
    assert scale.gate(gate * 0.99, constants).wall_s(constants, 1) == pytest.approx(
        constants.patience_h * 3600, rel=0.05
    )


def test_figures_of_benchmarks_replace_constants(scale: Any, constants: Any) -> None:
    lines = [
        json.dumps(each)
        for each in (
            {
                "name": "manifest",
                "figures": {
                    "rows": 1_000_000,
                    "file_mb": 300,
                    "start_alone": {"cpu_s": 0.5},
                    "manifest_text_ids": {"cpu_s": 3.5, "peak_mb": 400},
                },
            },
            {
                "name": "accumulation",
                "figures": {"rows": [10, 12, 1], "free": {"proof": {"cpu_s": {"median": 0.0022}, "rss_mb": 450}}},
            },
            {"name": "scale", "figures": {"plan_cpu_us": 0.5}},
            {"name": "forecast", "figures": {}},
        )
    ]
    found = scale.updated(constants, lines)
    assert found == replace(
        constants,
        row_bytes=300.0,
        inventory_cpu_us=3.0,
        inventory_mb=400,
        compare_cpu_us=pytest.approx(100.0),
        compare_mb=450,
        plan_cpu_us=0.5,
    )
    page = scale.with_model(PAGE.read_text(encoding="utf-8"), found)
    assert "| `row_bytes` | 300 |" in page
    assert scale.constants_of(page) == found


def test_the_script_measures_constants_of_the_page(scale: Any, constants: Any) -> None:
    found = scale.measured_header(500) | scale.measured_plan(2_000) | scale.measured_shares_cost(2_000)
    assert set(found) <= {field.name for field in fields(constants)}
    assert found["header_bytes"] == pytest.approx(constants.header_bytes, rel=0.1)


@pytest.mark.slow
def test_every_part_is_measured(scale: Any) -> None:
    measured = scale.measure(is_quick=True)
    assert {"merge_cpu_us", "header_bytes", "plan_cpu_us", "plan_memory_bytes", "shares_cpu_us"} <= set(measured)
    assert all(value >= 0 for value in measured.values())
