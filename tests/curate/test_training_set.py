"""The conductor before training, on plain Arrow tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from collapse_guard.curate import (
    cell_map,
    check_tags,
    curate,
    filter_synthetic,
    provenance_columns,
    quality_scores,
)
from collapse_guard.errors import AccumulationError, CellError, ContractError, FilterError, ProvenanceError
from collapse_guard.policy import Policy
from collapse_guard.records import AMOUNT, ID, ORIGIN, PROVENANCE_COLUMNS, SCORE, Origin
from collapse_guard.rules import Subject, evaluate
from collapse_guard.sources import Tag
from tests.mixing.test_planner import policies

if TYPE_CHECKING:
    from collections.abc import Sequence

FILTERED: dict[str, Any] = {
    "version": 1,
    "mix": {"real_min_share": 0.1},
    "coverage": {},
    "filters": {"quality": {"score": "quality", "keep_share": 0.5}},
}


def real(labels: Sequence[str | None], *, source: str = "web", prefix: str = "real") -> pa.Table:
    content = pa.table(
        {
            "text": [f"{prefix} {source} {row}" for row in range(len(labels))],
            "label": pa.array(labels, pa.string()),
        }
    )
    return joined(content, Tag.of(origin="real", source=source))


def made(
    labels: Sequence[str | None], scores: list[float] | None = None, *, source: str = "bot", generation: int = 1
) -> pa.Table:
    texts = [f"{source} {generation} {row}" for row in range(len(labels))]
    content = pa.table({"text": texts, "label": pa.array(labels, pa.string())})
    tagged = Tag.of(origin="synthetic", source=source, generator=f"{source}@1", generation=generation)
    table = joined(content, tagged)
    return table.append_column(SCORE, pa.array(scores or [0.0] * len(labels), pa.float64()))


def joined(content: pa.Table, tagged: Tag) -> pa.Table:
    added = provenance_columns(content, tagged)
    for name in added.column_names:
        content = content.append_column(name, added.column(name))
    return content


def nothing() -> pa.Table:
    return made([]).slice(0, 0)


def policy(values: dict[str, Any] | None = None, **changes: Any) -> Policy:
    return Policy.coerce((values or {"version": 1, "coverage": {}}) | changes)


def test_every_real_row_enters_and_the_rest_fills_up_to_the_cap() -> None:
    found = curate(real(["a"] * 5), made(["a"] * 50), policy(), name="set")
    assert found.plan.n_real_rows == 5
    assert found.plan.chosen.size == 5
    assert found.manifest.n_origin_rows(Origin.REAL) == 5
    assert found.manifest.n_origin_rows(Origin.SYNTHETIC) == 5
    assert found.manifest.header.policy_digest == policy().digest
    assert found.manifest.verify() == ()


def test_a_manifest_holds_the_chosen_rows_and_no_other() -> None:
    anchor, pool = real(["a"] * 3), made(["a"] * 20)
    found = curate(anchor, pool, policy(), name="set")
    index = found.manifest.index
    held = {
        f"{hi:016x}{lo:016x}" for hi, lo in zip(index["id_hi"].to_pylist(), index["id_lo"].to_pylist(), strict=True)
    }
    wanted = [*anchor[ID].to_pylist(), *pool[ID].take(found.plan.chosen).to_pylist()]
    assert held == {identity.hex() for identity in wanted}


def test_without_a_synthetic_row_the_manifest_is_of_real_rows_alone() -> None:
    found = curate(real(["a", "b"]), nothing(), policy(), name="set")
    assert found.plan.real_share == 1.0
    assert found.manifest.n_rows == 2
    assert found.receipts == ()


def test_no_row_at_all_is_an_accumulation_error() -> None:
    with pytest.raises(AccumulationError, match="no row at all; add real rows first"):
        curate(real([]), nothing(), policy(), name="set")


def test_nothing_but_synthetic_names_what_there_is_by_source_and_class() -> None:
    with pytest.raises(AccumulationError, match=r"nothing but synthetic: 3 rows: bot/a 2, bot/b 1; ids [0-9a-f]{32}"):
        curate(real([]), made(["a", "a", "b"]), policy(), name="set")


def test_nothing_but_synthetic_says_how_many_real_rows_the_parent_held() -> None:
    parent = curate(real(["a"] * 4), nothing(), policy(), name="first").manifest
    with pytest.raises(AccumulationError, match="the parent generation held 4 real rows; add the real rows"):
        curate(real([]), made(["a"]), policy(), name="second", parent=parent)


def test_lost_real_rows_are_counted_by_source_and_class_with_at_most_ten_ids() -> None:
    before = real(["a"] * 12 + ["b"] * 3)
    parent = curate(before, nothing(), policy(), name="first").manifest
    with pytest.raises(AccumulationError) as caught:
        curate(before.slice(12), made(["a"] * 12), policy(), name="second", parent=parent)
    text = str(caught.value)
    assert "12 real rows lost: web/a 12; ids " in text
    ids = text.partition("; ids ")[2].partition(";")[0].split(", ")
    lost = {identity.hex() for identity in before[ID].slice(0, 12).to_pylist()}
    assert len(ids) == 10
    assert set(ids) <= lost


def test_as_many_lost_rows_as_the_policy_allows_are_no_error() -> None:
    before = real(["a"] * 5)
    parent = curate(before, nothing(), policy(), name="first").manifest
    lenient = policy(accumulation={"allow_loss": 2})
    assert curate(before.slice(2), nothing(), lenient, name="second", parent=parent).manifest.n_rows == 3
    with pytest.raises(AccumulationError, match=r"3 real rows lost.*put them back \(allowed: 2\)"):
        curate(before.slice(3), nothing(), lenient, name="second", parent=parent)


def test_a_source_outside_the_proof_may_shrink() -> None:
    before = pa.concat_tables([real(["a"] * 3), real(["a"] * 3, source="rented")])
    parent = curate(before, nothing(), policy(), name="first").manifest
    only_web = before.slice(0, 3)
    with pytest.raises(AccumulationError, match="rented/a 3"):
        curate(only_web, nothing(), policy(), name="second", parent=parent)
    off = policy(sources={"rented": {"accumulate": "off"}})
    assert curate(only_web, nothing(), off, name="second", parent=parent).manifest.n_rows == 3


def test_a_child_names_the_digest_of_its_parent_and_is_one_generation_on() -> None:
    parent = curate(real(["a"]), nothing(), policy(), name="first").manifest
    child = curate(real(["a"]), made(["a"]), policy(), name="second", parent=parent).manifest
    assert (parent.header.generation, child.header.generation) == (0, 1)
    assert [(link.name, link.digest) for link in child.header.parents] == [("first", parent.digest)]


# ------------------------------------------------------------------ units, budgets, wanted shares


def sized(rows: pa.Table, amounts: Sequence[float]) -> pa.Table:
    return rows.append_column(AMOUNT, pa.array(list(amounts), pa.float64()))


def test_rows_that_do_not_say_how_many_tokens_they_are_are_refused() -> None:
    for parts in ((real(["a"]), made(["a"])), (sized(real(["a"]), [3]), made(["a"]))):
        with pytest.raises(ProvenanceError, match="the policy counts tokens, and the rows have no cg_amount; add it"):
            curate(*parts, policy(unit="tokens"), name="set")
    alone = curate(sized(real(["a"]), [3]), nothing(), policy(unit="tokens"), name="set")
    assert alone.manifest.amount == 3.0


def test_shares_are_counted_in_tokens_where_the_policy_says_so() -> None:
    anchor, pool = sized(real(["a"] * 2), [60, 40]), sized(made(["a"] * 40), [7.0] * 40)
    asked = policy(unit="tokens", mix={"real_min_share": 0.5})
    found = curate(anchor, pool, asked, name="set")
    assert found.plan.chosen.size == 14  # 98 of 100 tokens; 15 rows would be 105
    assert (found.manifest.amount, found.manifest.header.unit) == (198.0, "tokens")
    assert found.manifest.origin_amount(Origin.SYNTHETIC) == 98.0
    assert found.breaches == ()
    assert not evaluate(Subject(asked, found.manifest)).failed


def test_a_policy_that_counts_rows_does_not_read_amounts_of_another_unit() -> None:
    anchor, pool = sized(real(["a"] * 5), [100.0] * 5), sized(made(["a"] * 50), [1.0] * 50)
    found = curate(anchor, pool, policy(), name="set")
    assert found.plan.chosen.size == 5
    assert found.manifest.amount == 10.0


def test_real_rows_that_a_budget_leaves_out_stay_in_the_manifest_with_the_amount_nought() -> None:
    asked = policy(mix={"budget": {"amount": 40, "min_class_rows": 6}, "real_min_share": 0.75})
    anchor = real(["a"] * 60 + ["b"] * 6)
    found = curate(anchor, made(["a"] * 50), asked, name="set")
    assert (found.plan.real.size, found.plan.chosen.size, found.plan.n_retained_rows) == (30, 10, 36)
    assert found.manifest.n_origin_rows(Origin.REAL) == 66
    assert (found.manifest.amount, found.manifest.origin_amount(Origin.REAL)) == (40.0, 30.0)
    assert found.manifest.class_rows(Origin.REAL, trained=True)["b"] == 6
    kept = {identity.hex() for identity in anchor[ID].take(found.plan.real).to_pylist()}
    rows = found.manifest.index.filter(pa.compute.equal(found.manifest.index["origin"], int(Origin.REAL))).to_pylist()
    assert {row["amount"] for row in rows} == {0.0, 1.0}
    assert {f"{row['id_hi']:016x}{row['id_lo']:016x}" for row in rows if row["amount"]} == kept
    assert found.view()["n_retained_rows"] == 36
    assert not evaluate(Subject(asked, found.manifest)).failed


def test_a_retained_row_is_not_lost_in_the_next_generation_and_a_missing_one_is() -> None:
    asked = policy(mix={"budget": {"amount": 20, "min_class_rows": 0}})
    first = curate(real(["a"] * 60), nothing(), asked, name="first")
    again = curate(real(["a"] * 60), made(["a"] * 60), asked, name="second", parent=first.manifest)
    assert again.manifest.amount == 20.0
    with pytest.raises(AccumulationError, match="1 real row lost"):
        curate(real(["a"] * 60).slice(1), nothing(), asked, name="second", parent=first.manifest)


def test_a_budget_below_its_floors_is_refused() -> None:
    with pytest.raises(ContractError, match=r"mix\.budget\.amount is 10 rows, 5 less than the floors of 1 classes"):
        curate(real(["a"] * 60), nothing(), policy(mix={"budget": {"amount": 10}}), name="set")


def test_a_budget_below_the_smallest_row_trains_nothing_and_loses_nothing() -> None:
    asked = policy(unit="tokens", mix={"budget": {"amount": 20, "min_class_rows": 0}})
    found = curate(sized(real(["a"] * 3), [21, 30, 40]), nothing(), asked, name="set")
    assert (found.plan.n_rows, found.manifest.n_rows, found.manifest.amount) == (0, 3, 0.0)
    assert found.view()["shares"] == {}


def test_a_repeated_row_counts_as_often_as_it_stands() -> None:
    asked = policy(mix={"when_short": {"repeat": 3}}, sources={"bot": {"share": 0.4}})
    found = curate(real(["a"] * 12), made(["a"] * 3), asked, name="set")
    index = found.manifest.index.filter(pa.compute.equal(found.manifest.index["source"], "bot"))
    assert sorted(index["amount"].to_pylist()) == [2.0, 3.0, 3.0]
    assert (found.manifest.n_rows, found.manifest.amount) == (15, 20.0)
    assert found.view()["n_repeated_rows"] == 5
    assert found.shares["source"].whole.tolist() == [0.4, 0.6]


def test_a_class_that_lost_real_rows_is_topped_up_to_its_reference() -> None:
    asked = policy(mix={"balance": "anchor", "real_min_share": 0.8})
    found = curate(
        real(["a"] * 90 + ["b"] * 5), made(["a"] * 90 + ["b"] * 9), asked, name="set", reference={"a": 90, "b": 10}
    )
    assert found.manifest.class_rows(Origin.REAL)["b"] + found.manifest.class_rows(Origin.SYNTHETIC)["b"] >= 10
    assert found.view()["n_topped_up_rows"] == 5


def test_the_view_says_what_is_short_what_rows_weigh_and_what_each_kind_holds() -> None:
    asked = policy(mix={"weights": "golden"}, sources={"bot": {"share": 0.5}})
    view = curate(real(["a"] * 10), made(["a"] * 4), asked, name="set").view()
    assert view["short"] == ["source 'bot' has 4 of 10 rows"]
    assert view["weights"]["real"] * 10 + view["weights"]["synthetic"] * 4 == pytest.approx(14)
    assert view["shares"]["origin"]["real"] == pytest.approx({"share": 10 / 14, "least": 10 / 14, "largest": 10 / 14})
    assert view["breaches"] == []


PLANNED_CODES = {"CG101", "CG102", "CG103", "CG106", "CG108", "CG109", "CG110"}


@pytest.mark.slow
@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(asked=policies(wants=True, budget=True), data=st.data())
def test_what_was_planned_under_a_policy_passes_its_rules_to_the_last_digit(asked: Policy, data: st.DataObject) -> None:
    def part(tables: list[pa.Table]) -> pa.Table:
        rows = pa.concat_tables(tables)
        weights = data.draw(st.lists(st.floats(0.01, 100), min_size=rows.num_rows, max_size=rows.num_rows))
        return sized(rows, weights)

    labels = st.lists(st.sampled_from(["x", "x", "y", None]), min_size=1, max_size=15)
    anchor = part([real([*data.draw(labels), "x"]), real(data.draw(labels), source="shared")])
    generation = st.integers(1, 3)
    pool = part(
        [made(data.draw(labels), source=source, generation=data.draw(generation)) for source in ("a", "b", "shared")]
    )
    asked = asked.model_copy(update={"unit": "weight"})
    try:
        found = curate(anchor, pool, asked, name="set")
    except ContractError:
        assume(False)
    failed = {finding.code for finding in evaluate(Subject(asked, found.manifest)).findings}
    over_without_any = {  # real rows that a source's cap does not let in are not the plan's to take out
        "CG102"
        for name, source in asked.sources.items()
        if found.manifest.amount_by("source", "origin").get((name, int(Origin.SYNTHETIC)), 0.0) == 0.0
    }
    nothing_trains = {"CG101"} if found.plan.n_rows == 0 else set()  # a budget that no row fits into
    assert failed & (PLANNED_CODES - over_without_any - nothing_trains) == set()
    assert found.plan.n_rows == 0 or found.plan.real_share >= asked.mix.real_min_share - 1e-9
    floors = {breach for breach in found.breaches if breach.window is None and breach.bound == "floor"}
    assert floors == set()


def test_a_floor_of_a_source_that_the_real_rows_do_not_reach_is_told() -> None:
    found = curate(real(["a"] * 10), made(["a"] * 4), policy(sources={"web": {"min_share": 0.9}}), name="set")
    assert [breach.describe() for breach in found.breaches] == [
        "web: share 0.7143 of the output, the floor is 0.9",
    ]


# ------------------------------------------------------------------ filters


def filtered(real_rows: pa.Table, synthetic: pa.Table, asked: Policy) -> Any:
    return filter_synthetic(synthetic, asked, cell_map(real_rows, asked))


def test_the_best_of_every_cell_are_kept_and_the_receipt_says_so() -> None:
    labels = ["a"] * 6 + ["b"] * 2
    scores = [6.0, 5, 4, 3, 2, 1, -8, -9]
    keep, receipts = filtered(real(["a", "b"]), made(labels, scores), policy(FILTERED))
    assert keep.tolist() == [True, True, True, False, False, False, True, False]
    (receipt,) = receipts
    assert receipt.source == "bot, generation 1"
    assert [(cell.cell, cell.rows, cell.kept_rows) for cell in receipt.cells] == [("a", 6, 3), ("b", 2, 1)]


def test_every_source_and_generation_is_filtered_on_its_own() -> None:
    pools = [made(["a"] * 2, [1.0, 2.0]), made(["a"] * 2, [9.0, 8.0], generation=2), made(["a"], [-5.0], source="alt")]
    keep, receipts = filtered(real(["a"]), pa.concat_tables(pools), policy(FILTERED))
    assert keep.tolist() == [False, True, True, False, True]
    assert [receipt.source for receipt in receipts] == ["alt, generation 1", "bot, generation 1", "bot, generation 2"]


def test_rows_without_a_label_or_with_one_that_no_real_row_has_are_not_kept() -> None:
    keep, (receipt,) = filtered(real(["a"]), made(["a", None, "new"], [0.0, 9, 9]), policy(FILTERED))
    assert keep.tolist() == [True, False, False]
    assert [(cell.cell, cell.rows, cell.kept_rows) for cell in receipt.cells] == [("a", 1, 1), ("(no cell)", 2, 0)]


def test_without_a_quality_section_every_row_is_kept_with_no_receipt() -> None:
    keep, receipts = filtered(real(["a"]), made(["a", None]), policy())
    assert keep.tolist() == [True, True]
    assert receipts == ()


def test_a_quality_filter_without_cells_is_refused() -> None:
    bare = policy({"version": 1, "filters": {"quality": {"score": "quality", "keep_share": 0.5}}})
    with pytest.raises(FilterError, match="add a coverage section with cells"):
        curate(real(["a"]), made(["a"]), bare, name="set")


def test_a_quality_filter_needs_labelled_real_rows() -> None:
    with pytest.raises(CellError, match="holds no label in 2 rows"):
        curate(real([None, None]), made(["a"]), policy(FILTERED), name="set")


@settings(max_examples=50)
@given(
    scores=st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=30),
    labels=st.lists(st.sampled_from(["a", "b", None]), min_size=30, max_size=30),
    share=st.sampled_from([0.1, 0.5, 0.8, 1.0]),
)
def test_every_cell_keeps_at_least_its_share_and_never_a_worse_row_for_a_better(
    scores: list[float], labels: list[str | None], share: float
) -> None:
    asked = policy(FILTERED, filters={"quality": {"score": "quality", "keep_share": share}})
    keep, _ = filtered(real(["a", "b"]), made(labels[: len(scores)], scores), asked)
    for cell in ("a", "b"):
        where = [row for row in range(len(scores)) if labels[row] == cell]
        kept = [scores[row] for row in where if keep[row]]
        dropped = [scores[row] for row in where if not keep[row]]
        assert len(kept) >= share * len(where) - 1e-9
        assert all(low < high for low in dropped for high in kept)
    assert not any(keep[row] for row in range(len(scores)) if labels[row] is None)


def test_scores_come_from_the_named_column_or_from_a_callable() -> None:
    rows = pa.table({"quality": [1, 2], "other": [0.5, 0.25]})
    assert quality_scores(rows, None, policy(FILTERED)).to_pylist() == [1.0, 2.0]
    assert quality_scores(rows, "other", policy(FILTERED)).to_pylist() == [0.5, 0.25]
    assert quality_scores(rows, lambda table: -np.arange(table.num_rows), policy(FILTERED)).to_pylist() == [0.0, -1.0]
    assert quality_scores(rows, None, policy()).to_pylist() == [None, None]


BAD_SCORES: dict[str, tuple[pa.Table, Any, str]] = {
    "a missing column": (pa.table({"qualty": [1.0]}), None, r"no score column 'quality'; .*qualty"),
    "text": (pa.table({"quality": ["good"]}), None, "is string; scores must be numbers"),
    "nan": (pa.table({"quality": [1.0, float("nan")]}), None, r"for 1 of 2 rows \(first: row 1\)"),
    "infinity": (pa.table({"quality": [float("inf")]}), None, "null, NaN or infinite for 1 of 1"),
    "null": (pa.table({"quality": pa.array([None, 1.0])}), None, r"first: row 0"),
    "too few": (pa.table({"quality": [1.0, 2.0]}), lambda _: [1.0], r"gave shape \(1,\) for 2 rows"),
}


@pytest.mark.parametrize("case", BAD_SCORES)
def test_a_score_that_cannot_be_used_is_one_filter_error(case: str) -> None:
    rows, score, expected = BAD_SCORES[case]
    with pytest.raises(FilterError, match=expected):
        quality_scores(rows, score, policy(FILTERED))


def test_a_score_without_a_quality_section_is_refused() -> None:
    with pytest.raises(FilterError, match=r"no filters\.quality; add it with a keep_share"):
        quality_scores(pa.table({"quality": [1.0]}), "quality", policy())


# ------------------------------------------------------------------ tags


def test_provenance_columns_stand_in_their_order_with_their_types() -> None:
    table = provenance_columns(pa.table({"text": ["a"]}), Tag.of(origin="real", source="web"))
    assert {field.name: str(field.type) for field in table.schema} == PROVENANCE_COLUMNS


def test_rows_with_a_null_origin_are_refused_with_their_number() -> None:
    rows = pa.table({ORIGIN: pa.array([1, None, None], pa.uint8())})
    with pytest.raises(ProvenanceError, match="here: 2 of 3 rows have a null origin; tag them first"):
        check_tags(rows, origin=Origin.REAL, what="here")


def test_rows_of_another_origin_are_refused_with_their_number() -> None:
    rows = pa.table({ORIGIN: pa.array([1, 2, 0], pa.uint8())})
    with pytest.raises(ProvenanceError, match="here: 2 of 3 rows are not tagged real; add them apart"):
        check_tags(rows, origin=Origin.REAL, what="here")


def test_rows_on_the_wrong_side_are_refused() -> None:
    policy = Policy.coerce({"version": 1})
    with pytest.raises(ProvenanceError, match="real rows: 2 of 2 rows are not tagged real; add them apart"):
        curate(made(["x", "y"]), made(["x"]), policy, name="gen0")
    with pytest.raises(ProvenanceError, match="synthetic rows: 1 of 1 are tagged real; add them apart"):
        curate(real(["x"]), real(["y"]), policy, name="gen0")


def test_classes_are_named_as_the_manifest_names_them() -> None:
    policy = Policy.coerce({"version": 1, "coverage": {}, "mix": {"balance": "anchor"}})
    coded = real(["cafe\u0301", "tea"])
    place = coded.column_names.index("label")
    coded = coded.set_column(place, "label", coded.column("label").dictionary_encode())
    found = curate(coded, made(["caf\u00e9", "caf\u00e9", "tea"]), policy, name="gen0")
    assert found.manifest.class_rows(Origin.SYNTHETIC) == {"caf\u00e9": 1, "tea": 1}
    with pytest.raises(ProvenanceError, match="rows have no class column 'label'"):
        curate(real(["x"]), made(["x"]).drop_columns(["label"]), policy, name="gen0")


def test_what_a_class_lost_since_the_parent_is_topped_up() -> None:
    policy = Policy.coerce(
        {"version": 1, "coverage": {}, "mix": {"balance": "anchor"}, "accumulation": {"allow_loss": 8}}
    )
    parent = curate(real(["a"] * 20 + ["b"] * 10), made([]), policy, name="gen0").manifest
    left = real(["a"] * 20 + ["b"] * 10).slice(0, 22)
    found = curate(left, made(["a"] * 50 + ["b"] * 50), policy, name="gen1", parent=parent)
    assert found.plan.n_topped_up_rows == 8
