"""A plan as data: digest, file, replay, and the order in which rows are read."""

from __future__ import annotations

import json
from dataclasses import asdict, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collapse_guard.errors import InputError, ProvenanceError
from collapse_guard.mixing import MixPlan, Pool, Shortage, plan_mix, window_shares
from collapse_guard.mixing.plan import Left
from collapse_guard.policy import Policy
from tests.mixing.slow import Row, pool_of
from tests.mixing.test_planner import everything

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture(scope="module")
def plan() -> MixPlan:
    """A plan in which every option has a say."""
    return everything()


# ------------------------------------------------------------------ digest and equality

OTHERS: dict[str, Any] = {
    "real": np.array([0]),
    "chosen": np.array([0]),
    "n_real_rows": 999,
    "n_pool_rows": 999,
    "real_amount": 1.5,
    "synthetic_amount": 1.5,
    "real_weight": 0.5,
    "synthetic_weight": 0.5,
    "left": Left(n_capped_rows=999),
    "short": (Shortage("class 'q'", 2.0, 1.0),),
    "n_topped_up_rows": 999,
    "unit": "tokens",
    "seed": 999,
    "policy_digest": None,
    "pool_digests": ("", ""),
}


def test_the_list_of_changes_names_every_field() -> None:
    assert set(OTHERS) == {field.name for field in fields(MixPlan)}


@pytest.mark.parametrize("name", OTHERS)
def test_the_digest_changes_with_every_fact(plan: MixPlan, name: str) -> None:
    other = replace(plan, **{name: OTHERS[name]})
    assert other.digest != plan.digest
    assert other != plan


def test_rows_that_move_from_one_part_to_the_other_change_the_digest(plan: MixPlan) -> None:
    moved = replace(plan, real=plan.real[:-1], chosen=np.concatenate([plan.real[-1:], plan.chosen]))
    assert moved.n_rows == plan.n_rows
    assert moved.digest != plan.digest


def test_plans_of_equal_inputs_are_equal_and_may_be_keys(plan: MixPlan) -> None:
    again = everything()
    assert again == plan
    assert {plan: 1}[again] == 1
    assert plan != "a plan"


# ------------------------------------------------------------------ file


def test_a_plan_comes_back_from_its_file(plan: MixPlan, tmp_path: Path) -> None:
    back = MixPlan.load(plan.save(tmp_path / "plan.parquet"))
    assert back == plan
    assert back.facts == plan.facts
    assert {str(part.dtype) for part in (back.real, back.chosen)} == {"int64"}
    assert asdict(back.left) == asdict(plan.left)
    assert np.array_equal(back.order(), plan.order())


def test_what_caps_hold_back_comes_back_and_plans_without_it_read_as_before(plan: MixPlan, tmp_path: Path) -> None:
    held = (Shortage("class 'q'", 2.0, 1.0, ("generator 'g@1'", "generation 1")), Shortage("class 'r'", 2.0, 1.0))
    capped = replace(plan, short=held)
    assert MixPlan.load(capped.save(tmp_path / "plan.parquet")).short == held
    assert capped.facts["short"][1] == {"name": "class 'r'", "wanted": 2.0, "found": 1.0}


def test_a_plan_of_no_row_comes_back(tmp_path: Path) -> None:
    nothing = plan_mix(pool_of([]), pool_of([]), Policy.coerce({"version": 1}))
    assert MixPlan.load(nothing.save(tmp_path / "plan.parquet")) == nothing


def test_equal_plans_are_equal_files(plan: MixPlan, tmp_path: Path) -> None:
    files = [each.save(tmp_path / f"{number}.parquet") for number, each in enumerate((plan, everything()))]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_a_plain_loop_over_the_file_gives_the_rows_of_the_plan(plan: MixPlan, tmp_path: Path) -> None:
    table = pq.read_table(plan.save(tmp_path / "plan.parquet"))
    replayed: dict[str, list[int]] = {"real": [], "synthetic": []}
    weight = 0.0
    for row in table.to_pylist():
        replayed[row["pool"]].append(row["row"])
        weight += row["weight"]
    assert replayed == {"real": plan.real.tolist(), "synthetic": plan.chosen.tolist()}
    assert weight == pytest.approx(plan.real.size * plan.real_weight + plan.chosen.size * plan.synthetic_weight)


def written(plan: MixPlan, path: Path, change: Callable[[pa.Table, dict[str, Any]], pa.Table]) -> Path:
    table = pq.read_table(plan.save(path))
    facts = json.loads(table.schema.metadata[b"collapse_guard"])
    changed = change(table, facts)
    pq.write_table(changed.replace_schema_metadata({"collapse_guard": json.dumps(facts)}), path)
    return path


def column(table: pa.Table, name: str, values: Any) -> pa.Table:
    return table.set_column(table.column_names.index(name), name, pa.array(values))


CHANGES: dict[str, Callable[[pa.Table, dict[str, Any]], pa.Table]] = {
    "a row less": lambda table, _: table.slice(1),
    "another row": lambda table, _: column(table, "row", table["row"].to_numpy() + 1),
    "another weight": lambda table, _: column(table, "weight", table["weight"].to_numpy() * 2),
    "another pool": lambda table, _: column(table, "pool", ["real"] * table.num_rows),
    "another seed": lambda table, facts: facts.update(seed=8) or table,
    "another amount": lambda table, facts: facts.update(real_amount=1.0) or table,
    "another policy": lambda table, facts: facts.update(policy_digest="sha256:0") or table,
    "another reason": lambda table, facts: facts["left"].update(n_capped_rows=0) or table,
}
BROKEN: dict[str, Callable[[pa.Table, dict[str, Any]], pa.Table]] = {
    "another schema": lambda table, facts: facts.update(schema="collapse-guard/mix-plan/99") or table,
    "no seed": lambda table, facts: facts.pop("seed") and table,
    "no digest": lambda table, facts: facts.pop("digest") and table,
    "an unknown reason": lambda table, facts: facts["left"].update(n_bad_rows=0) or table,
    "no rows": lambda table, _: table.drop_columns(["row"]),
    "no weights": lambda table, _: table.drop_columns(["weight"]),
    "rows of text": lambda table, _: column(table, "row", ["one"] * table.num_rows),
    "facts that are a list": lambda table, facts: facts.update(left=[1]) or table,
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_file_that_was_changed_is_refused(plan: MixPlan, tmp_path: Path, what: str) -> None:
    path = written(plan, tmp_path / "plan.parquet", CHANGES[what])
    with pytest.raises(InputError, match=r"plan\.parquet: the plan was changed after it was written; write it again"):
        MixPlan.load(path)


@pytest.mark.parametrize("what", BROKEN)
def test_a_file_that_is_no_plan_is_refused_in_one_line(plan: MixPlan, tmp_path: Path, what: str) -> None:
    path = written(plan, tmp_path / "plan.parquet", BROKEN[what])
    with pytest.raises(
        InputError, match=r"plan\.parquet: not a mix plan \(.*\); write it again with plan\.save"
    ) as caught:
        MixPlan.load(path)
    assert "\n" not in str(caught.value)


def test_files_that_are_not_there_or_of_another_kind_are_refused(plan: MixPlan, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file; write it with"):
        MixPlan.load(tmp_path / "nowhere.parquet")
    (tmp_path / "text.parquet").write_text("a plan")
    pq.write_table(pa.table({"row": [1]}), tmp_path / "other.parquet")
    whole = plan.save(tmp_path / "half.parquet").read_bytes()
    (tmp_path / "half.parquet").write_bytes(whole[: len(whole) // 2])
    for name in ("text", "other", "half"):
        with pytest.raises(InputError, match="not a mix plan"):
            MixPlan.load(tmp_path / f"{name}.parquet")
    with pytest.raises(InputError):
        MixPlan.load(tmp_path)


# ------------------------------------------------------------------ order


@settings(max_examples=60, deadline=None)
@given(n_real=st.integers(0, 50), n_made=st.integers(0, 50), seed=st.integers(0, 2**63))
def test_the_order_is_a_permutation_that_the_seed_decides(n_real: int, n_made: int, seed: int) -> None:
    plan = MixPlan(np.arange(n_real), np.arange(n_made), n_real, n_made, float(n_real), float(n_made))
    order = plan.order(seed)
    assert sorted(order.tolist()) == list(range(n_real + n_made))
    assert np.array_equal(order, plan.order(seed))
    assert np.array_equal(plan.order(0), plan.order())


def test_other_seeds_give_other_orders_and_neighbours_are_no_shifts() -> None:
    plan = MixPlan(np.arange(500), np.arange(500), 500, 500, 500.0, 500.0)
    first, second = plan.order(1), plan.order(2)
    assert not np.array_equal(first, second)
    places = np.argsort(first) - np.argsort(second)
    assert np.abs(np.corrcoef(np.argsort(first), np.argsort(second))[0, 1]) < 0.15
    assert np.unique(places).size > 300


def test_any_window_of_the_order_is_a_sample_of_the_mix() -> None:
    plan = MixPlan(np.arange(60_000), np.arange(40_000), 60_000, 40_000, 6e4, 4e4)
    groups = (plan.order() >= 60_000).astype(np.int64)
    shares = window_shares(groups, ["real", "synthetic"], np.ones(100_000), window_rows=1000).windows[:, 0]
    spread = (0.6 * 0.4 / 1000) ** 0.5
    assert np.abs(shares - 0.6).max() < 4.5 * spread
    assert 0.8 * spread < shares.std() < 1.2 * spread  # as random as a draw: neither blocks nor a comb


# ------------------------------------------------------------------ pools


def test_a_pool_is_told_by_its_ids_in_their_order() -> None:
    rows = [Row(id=number) for number in range(4)]
    digests = {pool_of(part).digest for part in (rows, rows[::-1], rows[:3], [*rows, Row(id=9)])}
    assert len(digests) == 4


@pytest.mark.parametrize("amount", [-1.0, float("nan"), float("inf"), None])
def test_an_amount_that_is_none_is_a_provenance_error(amount: float | None) -> None:
    tags = {"cg_id": pa.array([bytes(16)], pa.binary(16)), "cg_source": ["a"], "cg_generator": ["g"]}
    rows = pa.table(tags | {"cg_generation": [1], "cg_amount": pa.array([amount], pa.float64())})
    with pytest.raises(ProvenanceError, match=r"amounts must be numbers from 0 to 2\^53"):
        Pool.of_rows(rows)


def test_rows_without_tags_are_a_provenance_error() -> None:
    with pytest.raises(ProvenanceError, match="lack the provenance columns cg_id, cg_source, cg_generator, cg_gen"):
        Pool.of_rows(pa.table({"text": ["a"]}))


def test_a_pool_of_a_table_reads_names_of_any_type() -> None:
    tags = {
        "cg_id": pa.array([bytes([number] * 16) for number in range(3)], pa.binary(16)),
        "cg_source": pa.array(["b", "a", "b"]).dictionary_encode(),
        "cg_generator": pa.array(["g", None, "g"]),
        "cg_generation": pa.array([1, None, 2], pa.uint8()),
        "label": pa.array([7, None, 3]),
    }
    pool = Pool.of_rows(pa.table(tags), class_column="label")
    assert (pool.source.names, pool.source.of.tolist()) == (("a", "b"), [1, 0, 1])
    assert (pool.generator.names, pool.generator.of.tolist()) == (("g",), [0, -1, 0])
    assert (pool.label.names, pool.label.of.tolist()) == (("3", "7"), [1, -1, 0])
    assert pool.generation.tolist() == [1, 255, 2]
    assert pool.label.sums(pool.amount) == {None: 1.0, "3": 1.0, "7": 1.0}
