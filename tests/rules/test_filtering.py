"""CG4xx: whom did the filters remove, by the receipts in the header?"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collapse_guard.curate import curate
from collapse_guard.filters import FILTERS
from collapse_guard.manifest import FilterReceipt, Manifest
from collapse_guard.manifest.header import CellReceipt
from collapse_guard.policy import policy_from_mapping
from collapse_guard.records import SCORE, Finding, Origin, Severity, Status
from collapse_guard.rules import RULES, Subject
from collapse_guard.rules.filtering.acceptance import PLANNED
from collapse_guard.rules.filtering.receipts import NO_CELL, Receipt, receipts_of, tail_cells

if TYPE_CHECKING:
    from collections.abc import Callable

    Make = Callable[..., Manifest]

Cells = dict[str, tuple[int, int]]
CODES = ("CG401", "CG402", "CG403", "CG404", "CG405")
QUALITY = {"score": SCORE, "keep_share": 0.5}
EVEN: Cells = {"cat": (4000, 2000), "owl": (100, 50)}
UNEVEN: Cells = {"cat": (4000, 3000), "owl": (100, 50)}


def receipt(cells: Cells, source: str = "made, generation 1", name: str = PLANNED, spec: str = "0") -> FilterReceipt:
    counted = tuple(CellReceipt(cell=cell, rows=rows, kept_rows=kept) for cell, (rows, kept) in cells.items())
    return FilterReceipt(source=source, filter=name, spec_id=f"sha256:{spec * 64}", cells=counted)


def rows(make: Make, *receipts: FilterReceipt, n_made: int = 3, **tags: Any) -> Manifest:
    own = {"source": "made", "origin": int(Origin.SYNTHETIC), "generation": 1, "generator": "m@1", "evidence": 7}
    entries = [{"id": n} for n in range(3)] + [{"id": 100 + n} | own | tags for n in range(n_made)]
    return make(entries, filters=receipts)


def found(manifest: Manifest, code: str, filters: dict[str, Any] | None = None, **sections: Any) -> list[Finding]:
    policy = policy_from_mapping({"version": 1, "filters": filters or {}, "coverage": {}, **sections})
    findings = RULES.get(code)(Subject(policy, manifest))
    named = [(finding.subject, sorted(finding.where.items())) for finding in findings]
    assert len({json.dumps(name) for name in named}) == len(named)
    for finding in findings:
        json.dumps(finding.as_dict(), allow_nan=False)
    return findings


def only(*args: Any, **more: Any) -> Finding:
    (finding,) = found(*args, **more)
    return finding


# CG401


def test_a_class_that_lost_every_row_is_told_with_its_rows(make: Make) -> None:
    finding = only(rows(make, receipt({"cat": (9, 4), "owl": (1, 0)})), "CG401")
    assert (finding.severity, finding.status) == (Severity.ERROR, Status.FAIL)
    assert finding.where == {"source": "made", "generation": "1", "class": "owl"}
    assert (finding.measured, finding.limit, finding.unit) == (0, 1, "rows")
    assert finding.evidence == {"before": 1, "after": 0}
    assert finding.message == (
        "filter 'keep_best_within_cells' on 'made, generation 1': class 'owl' had 1 row before, none after"
    )


@pytest.mark.parametrize(("floor", "n_found"), [(1, 2), (2, 2), (3, 1), (8, 0), (None, 0)])
def test_the_policy_says_how_many_rows_make_a_class(make: Make, floor: int | None, n_found: int) -> None:
    gone = receipt({"cat": (9, 4), "owl": (2, 0), "newt": (7, 0), "empty": (0, 0)})
    assert len(found(rows(make, gone), "CG401", {"min_cell_rows": floor})) == n_found


def test_rows_that_no_cell_claims_are_no_class(make: Make) -> None:
    assert found(rows(make, receipt({"cat": (9, 4), NO_CELL: (50, 0)})), "CG401") == []


def test_many_classes_are_told_by_size_and_the_rest_is_counted(make: Make) -> None:
    gone = receipt({f"c{n:02}": (n + 1, 0) for n in range(25)})
    findings = found(rows(make, gone), "CG401")
    assert [finding.where["class"] for finding in findings[:20]] == [f"c{n:02}" for n in range(24, 4, -1)]
    assert (findings[20].evidence["n_classes"], findings[20].where.get("class")) == (5, None)


def test_receipts_of_one_source_and_filter_add_up(make: Make) -> None:
    parts = receipt({"owl": (5, 0)}), receipt({"owl": (5, 1)}, spec="1")
    assert found(rows(make, *parts), "CG401") == []
    assert len(found(rows(make, parts[0], receipt({"owl": (5, 1)}, name="other")), "CG401")) == 1


# CG402


def test_a_tail_that_loses_more_is_told_with_an_interval(make: Make) -> None:
    finding = only(rows(make, receipt(UNEVEN)), "CG402", {"tail": {}})
    assert (finding.severity, finding.status, finding.unit) == (Severity.WARNING, Status.FAIL, "ratio")
    assert finding.measured == pytest.approx(2.0)
    assert finding.limit == 1.5
    assert finding.interval == pytest.approx((1.6053850, 2.4062206))  # as statsmodels 0.14.6 has it
    assert finding.n == 100
    assert finding.key == ("filters", "tail", "max_removal_ratio")
    assert finding.evidence["tail_removed"] == [50, 100]
    assert finding.evidence["head_removed"] == [1000, 4000]
    assert finding.evidence["tail"] == ["owl"]
    assert "level 0.95" in finding.method


@pytest.mark.parametrize(
    ("cells", "asked", "status"),
    [
        (EVEN, {}, None),
        (UNEVEN, {"max_removal_ratio": 1.6}, Status.FAIL),
        (UNEVEN, {"max_removal_ratio": 1.7}, Status.INCONCLUSIVE),  # 2.0 is above, its lower end 1.61 is not
        (UNEVEN, {"max_removal_ratio": 2.1}, None),
        ({"cat": (40, 30), "owl": (2, 0)}, {}, Status.INCONCLUSIVE),
        ({"cat": (4000, 4000), "owl": (100, 50)}, {}, Status.FAIL),  # the head loses nothing: the ratio is unbounded
        ({"cat": (4000, 4000), "owl": (2, 1)}, {}, Status.FAIL),
        ({"cat": (9, 9), "owl": (2, 2)}, {"quantile": 0.2}, None),  # nothing is removed
        ({"cat": (9, 9), NO_CELL: (5, 0)}, {}, None),
        ({"cat": (4000, 1000), "owl": (100, 0)}, {}, Status.INCONCLUSIVE),  # no ratio is above 4/3
        ({"cat": (4000, 1000), "owl": (100, 0)}, {"max_removal_ratio": 1.2}, Status.FAIL),
        ({"cat": (4000, 1000), "owl": (100, 25)}, {}, None),
        ({"cat": (90, 45), "owl": (10, 5)}, {}, Status.INCONCLUSIVE),  # the rarest cell is above the quantile
        ({"cat": (10, 5)}, {}, Status.INCONCLUSIVE),
        ({}, {}, None),
    ],
)
def test_the_lower_end_of_the_ratio_decides_and_what_cannot_be_told_is_open(
    make: Make, cells: Cells, asked: dict[str, Any], status: Status | None
) -> None:
    findings = found(rows(make, receipt(cells)), "CG402", {"tail": asked})
    assert [finding.status for finding in findings] == ([] if status is None else [status])


def test_what_is_open_says_what_to_type(make: Make) -> None:
    small = only(rows(make, receipt({"cat": (40, 30), "owl": (2, 0)})), "CG402", {"tail": {}})
    assert "too few rows to tell from the limit 1.5" in small.message
    whole = only(rows(make, receipt({"cat": (90, 45), "owl": (10, 5)})), "CG402", {"tail": {}})
    assert whole.remedy == "set filters.tail.quantile to at least 0.1"
    capped = only(rows(make, receipt({"cat": (4000, 1000), "owl": (100, 0)})), "CG402", {"tail": {}})
    assert capped.remedy == "set filters.tail.max_removal_ratio below 1.333"
    alone = only(rows(make, receipt({"cat": (10, 5), "owl": (10, 5)})), "CG402", {"tail": {}})
    assert alone.remedy == "leave filters.tail out"


def test_the_interval_has_the_level_of_the_policy(make: Make) -> None:
    wide = only(rows(make, receipt(UNEVEN)), "CG402", {"tail": {}, "level": 0.5})
    assert wide.interval is not None
    assert wide.interval[0] > 1.8


def test_an_unbounded_ratio_is_told_by_its_lower_end(make: Make) -> None:
    finding = only(rows(make, receipt({"cat": (4000, 4000), "owl": (100, 50)})), "CG402", {"tail": {}})
    assert finding.interval is None
    assert finding.measured == finding.evidence["low"] > 1.5
    assert "is unbounded" in finding.message


@given(st.dictionaries(st.text(max_size=3), st.integers(0, 40), max_size=8), st.floats(0.01, 0.99))
def test_the_tail_is_the_rarest_cells_and_no_larger_than_asked(sizes: dict[str, int], quantile: float) -> None:
    own = Receipt("web", "web", None, "f")
    own.rows.update(sizes)
    tail = tail_cells(own, quantile)
    claimed = {cell: n for cell, n in sizes.items() if n and cell != NO_CELL}
    held = sum(claimed[cell] for cell in tail)
    assert held <= quantile * sum(claimed.values()) * (1 + 1e-9)
    assert all(claimed[cell] < claimed[other] for cell in tail for other in set(claimed) - set(tail))


# CG403


BOTH = receipt({"cat": (400, 100)}, source="web"), receipt({"cat": (400, 300)})


def test_a_filter_that_is_hard_on_real_rows_is_told(make: Make) -> None:
    finding = only(rows(make, *BOTH), "CG403", {"max_real_removal_ratio": 2})
    assert (finding.severity, finding.status, finding.subject) == (Severity.WARNING, Status.FAIL, PLANNED)
    assert finding.measured == pytest.approx(3.0)
    assert finding.evidence["real_removed"] == [300, 400]
    assert finding.key == ("filters", "max_real_removal_ratio")


@pytest.mark.parametrize(
    ("receipts", "limit", "status"),
    [
        (BOTH, None, None),
        (BOTH, 4, None),
        (BOTH, 2.9, Status.INCONCLUSIVE),
        ((receipt({"cat": (400, 400)}, source="web"), receipt({"cat": (400, 300)})), 1, None),
        ((receipt({"cat": (400, 0)}, source="web"), receipt({"cat": (400, 400)})), 1, Status.FAIL),
        ((), 2, Status.INCONCLUSIVE),
        (BOTH[:1], 2, Status.INCONCLUSIVE),
        (BOTH[1:], 2, Status.INCONCLUSIVE),
        ((BOTH[0], receipt({"cat": (400, 300)}, name="other")), 2, Status.INCONCLUSIVE),
        ((BOTH[0], receipt({"cat": (400, 300)}, source="gone")), 2, Status.INCONCLUSIVE),
    ],
)
def test_real_and_synthetic_rows_are_compared_under_one_filter(
    make: Make, receipts: tuple[FilterReceipt, ...], limit: float | None, status: Status | None
) -> None:
    findings = found(rows(make, *receipts), "CG403", {"max_real_removal_ratio": limit})
    assert [finding.status for finding in findings] == ([] if status is None else [status])


def test_a_source_that_is_gone_has_the_origin_that_the_policy_declares(make: Make) -> None:
    manifest = rows(make, BOTH[0], receipt({"cat": (400, 300)}, source="gone"))
    sources = {"gone": {"origin": "synthetic"}}
    assert only(manifest, "CG403", {"max_real_removal_ratio": 2}, sources=sources).status is Status.FAIL


# CG404

REASON = {"require_reason": True}


def test_synthetic_rows_without_a_receipt_are_told(make: Make) -> None:
    finding = only(rows(make, n_made=4), "CG404", REASON)
    assert (finding.severity, finding.status) == (Severity.ERROR, Status.FAIL)
    assert (finding.measured, finding.limit, finding.unit) == (4, 0, "rows")
    assert finding.where == {"source": "made", "generation": "1"}
    assert "have no receipt of a filter" in finding.message
    assert found(rows(make, n_made=0), "CG404", REASON) == []
    assert found(rows(make, n_made=4), "CG404", {}) == []


@pytest.mark.parametrize(
    ("receipts", "measured"),
    [
        ((receipt({"cat": (9, 3)}),), []),
        ((receipt({"cat": (9, 9)}),), []),  # what a cap leaves out has its reason in the policy
        ((receipt({"cat": (9, 3)}, source="made"),), []),
        ((receipt({"cat": (9, 2)}, source="made"),), [1]),
        ((receipt({"cat": (9, 2)}),), [1]),
        ((receipt({"cat": (9, 9)}, source="made, generation 2"),), [3]),
        ((receipt({"cat": (9, 6)}), receipt({"cat": (6, 4)}, name="second")), []),
        ((receipt({"cat": (9, 6)}), receipt({"cat": (6, 1)}, name="second")), [2]),
        ((receipt({"cat": (9, 6)}), receipt({"cat": (4, 4)}, name="second")), [2]),
        ((receipt({"cat": (9, 6)}), receipt({"cat": (2, 2)}, name="second")), [1, 4]),
    ],
)
def test_more_rows_than_were_kept_and_rows_lost_between_filters_are_told(
    make: Make, receipts: tuple[FilterReceipt, ...], measured: list[int]
) -> None:
    findings = found(rows(make, *receipts), "CG404", REASON)
    assert [finding.measured for finding in findings] == measured


def test_every_generation_of_a_source_needs_a_receipt(make: Make) -> None:
    own = {"source": "made", "origin": 2, "generator": "m@1", "evidence": 7}
    entries = [{"id": n} | own | {"generation": 1 + n % 2} for n in range(4)]
    finding = only(make(entries, filters=[receipt({"cat": (9, 2)})]), "CG404", REASON)
    assert finding.where == {"source": "made", "generation": "2"}
    assert found(make(entries, filters=[receipt({"cat": (9, 4)}, source="made")]), "CG404", REASON) == []


# CG405


@pytest.mark.parametrize(
    ("cells", "tolerance", "measured"),
    [
        ({"cat": (100, 50)}, 0.05, None),
        ({"cat": (100, 45)}, 0.05, None),
        ({"cat": (100, 44)}, 0.05, 0.44),
        ({"cat": (100, 55)}, 0.05, None),
        ({"cat": (100, 56)}, 0.05, 0.56),
        ({"cat": (100, 51)}, 0, 0.51),
        ({"cat": (3, 2), "owl": (1, 1)}, 0, None),  # each cell keeps its share rounded up
        ({"cat": (50, 25), NO_CELL: (50, 0)}, 0.05, 0.25),
        ({}, 0, None),
        ({"cat": (0, 0)}, 0, None),
    ],
)
def test_the_share_that_was_kept_lies_in_the_planned_band(
    make: Make, cells: Cells, tolerance: float, measured: float | None
) -> None:
    quality = QUALITY | {"keep_tolerance": tolerance}
    findings = found(rows(make, receipt(cells)), "CG405", {"quality": quality})
    assert [finding.measured for finding in findings] == ([] if measured is None else [measured])
    for finding in findings:
        assert (finding.severity, finding.unit) == (Severity.INFO, "share")
        assert finding.limit is not None
        assert finding.measured is not None
        assert (finding.measured < finding.limit) == (finding.limit < 0.5)


def test_a_synthetic_source_that_the_quality_filter_never_saw_is_open(make: Make) -> None:
    finding = only(rows(make), "CG405", {"quality": QUALITY})
    assert (finding.status, finding.where) == (Status.INCONCLUSIVE, {"source": "made"})
    assert found(rows(make), "CG405", {}) == []
    assert found(rows(make, n_made=0), "CG405", {"quality": QUALITY}) == []
    other = only(rows(make, receipt({"cat": (9, 1)}, name="other")), "CG405", {"quality": QUALITY})
    assert other.status is Status.INCONCLUSIVE


def test_the_planned_filter_is_the_one_that_is_registered() -> None:
    assert PLANNED in FILTERS.names()


# All of them


@pytest.mark.parametrize("code", CODES)
def test_a_receipt_that_cannot_be_is_open_and_never_a_pass(make: Make, code: str) -> None:
    asked = {"tail": {}, "max_real_removal_ratio": 2, "require_reason": True, "quality": QUALITY}
    findings = found(rows(make, receipt({"cat": (3, 4)})), code, asked)
    assert findings[0].status is Status.INCONCLUSIVE
    assert "keeps more rows of a cell than it had" in findings[0].message


@pytest.mark.parametrize(
    "name", ["\u202e", "a\nb", "%0A::error::", "]]>", "<script>", "{n}", "\U0001f408", "x, generation 9"]
)
def test_names_from_the_data_are_only_names(make: Make, name: str) -> None:
    asked = {"tail": {}, "require_reason": True, "quality": QUALITY}
    odd = receipt({"cat": (4000, 3000), name: (100, 0)}, source=f"{name}, generation 1", name=name)
    manifest = rows(make, odd, source=name)
    codes = {code: found(manifest, code, asked) for code in CODES}
    assert [finding.where["class"] for finding in codes["CG401"]] == [name]
    assert [finding.where["source"] for finding in codes["CG402"]] == [name]
    for findings in codes.values():
        for finding in findings:
            assert len(finding.message.splitlines()) == 1
            assert "\u202e" not in finding.message


@pytest.mark.parametrize(
    ("label", "named"),
    [
        ("made, generation 1", ("made", 1)),
        ("made", ("made", None)),
        ("a, generation 1, generation 2", ("a, generation 1", 2)),
        ("made, generation x", ("made, generation x", None)),
        ("odd, generation 7", ("odd, generation 7", None)),  # a source of that very name
    ],
)
def test_a_receipt_names_source_and_generation(make: Make, label: str, named: tuple[str, int | None]) -> None:
    manifest = rows(make, receipt({"cat": (1, 1)}, source=label), source="odd, generation 7")
    (own,) = receipts_of(manifest)
    assert (own.source, own.generation) == named


def curated(labels: list[str], policy: dict[str, Any]) -> Manifest:
    def tagged(labels: list[str], origin: int, source: str, first: int) -> pa.Table:
        n = len(labels)
        return pa.table(
            {
                "label": labels,
                "cg_origin": pa.array([origin] * n, pa.uint8()),
                "cg_evidence": pa.array([1 if origin == 1 else 7] * n, pa.uint8()),
                "cg_generation": pa.array([0 if origin == 1 else 1] * n, pa.uint8()),
                "cg_source": [source] * n,
                "cg_generator": pa.array([None if origin == 1 else "m@1"] * n, pa.string()),
                "cg_date": pa.array([65535] * n, pa.uint16()),
                "cg_id": pa.array([(first + k).to_bytes(16, "big") for k in range(n)], pa.binary(16)),
            }
        )

    made = tagged(labels, 2, "made", 10_000).append_column(SCORE, pa.array([float(k) for k in range(len(labels))]))
    rules = policy_from_mapping(policy)
    return curate(tagged(["cat"] * 900 + ["owl"] * 30, 1, "web", 0), made, rules, name="set").manifest


def test_what_curate_writes_keeps_every_rule(make: Make) -> None:
    asked = {"quality": QUALITY, "tail": {}, "require_reason": True}
    sections = {"mix": {"real_min_share": 0.8}}
    manifest = curated(["cat"] * 400 + ["owl"] * 15, {"version": 1, "filters": asked, "coverage": {}, **sections})
    assert manifest.header.filters
    for code in CODES:
        assert found(manifest, code, asked, **sections) == [], code
