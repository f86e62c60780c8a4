"""A chain of generations in the holder: real rows accumulate, lawful deletions are recorded, plans are replayed."""

from __future__ import annotations

import datetime as dt
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from datasets import Dataset, DatasetDict, IterableDataset, concatenate_datasets
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from collapse_guard import GuardedDataset
from collapse_guard.errors import AccumulationError, ContractError, InputError, ManifestError, ProvenanceError
from collapse_guard.gate import check
from collapse_guard.integrations.hugging_face.mix import apply_mix, measure_mix, plan_mix
from collapse_guard.integrations.hugging_face.streams import mix_streams
from collapse_guard.integrations.hugging_face.tags import tag
from collapse_guard.manifest import Level, Takedowns, load_manifest, prove_accumulation
from collapse_guard.mixing import MixPlan
from collapse_guard.records import ID, ORIGIN, WEIGHT, Origin

if TYPE_CHECKING:
    from pathlib import Path

PLAIN: dict[str, Any] = {"version": 1}
LABELLED: dict[str, Any] = {"version": 1, "coverage": {}}
BOT: dict[str, Any] = {"source": "bot", "generator": "bot@1", "generation": 1}


def rows(prefix: str, n: int, *, first: int = 0, label: str = "cat") -> Dataset:
    return Dataset.from_dict({"text": [f"{prefix} {row}" for row in range(first, first + n)], "label": [label] * n})


def long_tail(prefix: str, **sizes: int) -> Dataset:
    return concatenate_datasets([rows(f"{prefix} {name}", n, label=name) for name, n in sizes.items()])


def real_part(data: GuardedDataset) -> Dataset:
    part = data.real[0]
    assert isinstance(part, Dataset)
    return part


def real_ids(data: GuardedDataset) -> set[bytes]:
    return {value for part in data.real if isinstance(part, Dataset) for value in part[ID][:]}


def labels_of(dataset: Any, origin: Origin) -> dict[str, int]:
    found: dict[str, int] = {}
    for row in dataset:
        if row[ORIGIN] == origin:
            found[row["label"]] = found.get(row["label"], 0) + 1
    return found


def test_the_next_generation_needs_no_save_and_names_the_same_parent_as_after_one(tmp_path: Path) -> None:
    first = GuardedDataset(PLAIN).add_real(rows("real", 5), source="web")
    direct = first.next_generation().add_synthetic(rows("made", 3), **BOT)
    first.save(tmp_path / "gen0")
    saved = GuardedDataset.load(tmp_path / "gen0", PLAIN).add_synthetic(rows("made", 3), **BOT)
    assert direct.manifest().digest == saved.manifest().digest
    assert direct.manifest().header.generation == 1
    assert direct.manifest().header.parents[0].digest == first.manifest().digest
    second = direct.next_generation("third")
    assert (second.manifest().header.generation, second.manifest().header.name) == (2, "third")
    assert len(first.real) == len(direct.real) == 1


def test_a_later_generation_cannot_do_without_a_row_of_the_first() -> None:
    held = GuardedDataset(PLAIN).add_real(rows("real", 5), source="web").next_generation()
    held.real = (real_part(held).select(range(4)),)
    with pytest.raises(AccumulationError, match="1 real row lost"):
        held.manifest()


def test_cells_of_the_first_generation_go_along_without_a_save() -> None:
    policy = {"version": 1, "coverage": {"cells": {"kind": "ngrams", "n_buckets": 8}}}
    first = GuardedDataset(policy).add_real(rows("a b c", 40), source="web")
    second = first.next_generation().add_real(rows("completely other words", 40), source="books")
    assert second.anchor().maps[0].cells.digest == first.anchor().maps[0].cells.digest


def test_a_row_that_was_taken_down_may_be_missing_and_must_be(tmp_path: Path) -> None:
    first = GuardedDataset(PLAIN).add_real(rows("real", 6), source="web")
    gone = real_part(first).select([2])
    second = first.next_generation().take_down(gone, reason="erasure request 118", date=dt.date(2026, 3, 31))
    assert second.manifest().n_rows == 5
    second.save(tmp_path / "gen1")
    third = GuardedDataset.load(tmp_path / "gen1", PLAIN)
    assert third.takedowns is not None
    assert [record.reason for record in third.takedowns.records] == ["erasure request 118"]
    assert third.manifest().header.takedowns == third.takedowns.entry
    third.add_real(rows("real", 1, first=2), source="again")
    with pytest.raises(
        ContractError, match=r"1 real row was taken down, and must not come back: ids [0-9a-f]{32}; leave"
    ):
        third.manifest()
    assert gone[ID][0].hex() not in (tmp_path / "gen1" / "takedowns.jsonl").read_text()


def test_a_takedown_takes_ids_as_findings_print_them_and_synthetic_rows_too() -> None:
    held = GuardedDataset(PLAIN).add_real(rows("real", 3), source="web").add_synthetic(rows("made", 2), **BOT)
    pool = held.synthetic[0]
    assert isinstance(pool, Dataset)
    made = [value.hex() for value in pool[ID][:]]
    held.take_down(made, reason="copyright claim 7")
    assert held.synthetic == ()
    assert len(held.training_set()) == 3


@pytest.mark.parametrize(
    ("ids", "reason", "error"),
    [(["no id"], "why", "an id is 32 hexadecimal"), ([], "why", "no id to take down"), (["0" * 32], " ", "a reason")],
)
def test_a_takedown_that_is_none_changes_nothing(ids: list[str], reason: str, error: str) -> None:
    held = GuardedDataset(PLAIN).add_real(rows("real", 3), source="web")
    with pytest.raises(InputError, match=error):
        held.take_down(ids, reason=reason)
    assert held.takedowns is None
    with pytest.raises(ProvenanceError, match="the rows have no cg_id"):
        held.take_down(rows("real", 1), reason="why")


def test_the_gate_knows_a_saved_chain_with_a_takedown(tmp_path: Path) -> None:
    first = GuardedDataset(PLAIN).add_real(rows("real", 6), source="web")
    first.save(tmp_path / "gen0")
    gone = real_part(first).select([2])
    first.next_generation().take_down(gone, reason="erasure 118").save(tmp_path / "gen1")
    policy = tmp_path / "policy.yaml"
    policy.write_text("version: 1\naccumulation: {takedowns: gen1/takedowns.jsonl}\n")
    files = tmp_path / "gen1" / "manifest.cgm.json", tmp_path / "gen0" / "manifest.cgm.json"
    result = check(policy, files[0], against=files[1])
    assert (result.exit_code, [finding.code for finding in result.findings]) == (0, ["CG207"])
    policy.write_text("version: 1\n")
    assert check(policy, files[0], against=files[1]).exit_code == 1


def test_a_split_of_a_dict_is_named() -> None:
    splits = DatasetDict({"train": rows("real", 4), "test": rows("held out", 2)})
    assert len(GuardedDataset(PLAIN).add_real(splits, source="web", split="train").training_set()) == 4
    with pytest.raises(ProvenanceError, match="there is no split 'trian'; did you mean 'train'"):
        GuardedDataset(PLAIN).add_real(splits, source="web", split="trian")
    with pytest.raises(ProvenanceError, match="one dataset has none; leave it out"):
        GuardedDataset(PLAIN).add_real(rows("real", 4), source="web", split="train")


def test_ids_over_text_alone_survive_new_columns_and_another_rule_is_refused(tmp_path: Path) -> None:
    policy = PLAIN | {"identity": {"rule": "text", "columns": ["text"]}}
    GuardedDataset(policy).add_real(rows("real", 4), source="web").save(tmp_path / "gen0")
    parent = tmp_path / "gen0" / "manifest.cgm.json"
    wider = rows("real", 4).add_column("length", [6] * 4)
    again = GuardedDataset(policy, parent=parent).add_real(wider, source="web")
    assert prove_accumulation(load_manifest(parent), again.manifest()).level is Level.ROOT
    with pytest.raises(ManifestError, match=r"counts rows by 'sha256-128/text-nfc/1\[text\]', the policy by"):
        GuardedDataset(PLAIN, parent=parent)
    with pytest.raises(ManifestError, match="they are not comparable"):
        GuardedDataset.load(tmp_path / "gen0", PLAIN)


def test_a_budget_leaves_real_rows_out_of_training_and_in_the_manifest(tmp_path: Path) -> None:
    policy = LABELLED | {"mix": {"budget": {"amount": 40, "min_class_rows": 5}}}
    data = GuardedDataset(policy).add_real(long_tail("real", cat=100, dog=20, owl=3), source="web")
    data.add_synthetic(long_tail("made", cat=50), **BOT)
    train = data.training_set()
    assert len(train) == 40
    kept = labels_of(train, Origin.REAL)
    assert (kept["owl"], kept["dog"] >= 5, sum(kept.values())) == (3, True, 20)
    manifest = data.manifest()
    assert (manifest.n_rows, manifest.amount, manifest.n_origin_rows(Origin.REAL)) == (143, 40.0, 123)
    assert data.report()["n_retained_rows"] == 103
    data.save(tmp_path / "gen0")
    assert len(GuardedDataset.load(tmp_path / "gen0", policy).real[0]) == 123
    with pytest.raises(ContractError, match=r"83 less than the floors of 3 classes need \(123\); raise it"):
        GuardedDataset(policy, reference={"cat": 100, "dog": 20, "owl": 3}).add_real(
            long_tail("real", cat=100, dog=20, owl=3), source="web"
        ).manifest()


def test_a_class_that_lost_rows_to_a_takedown_is_topped_up() -> None:
    policy = LABELLED | {"mix": {"balance": "anchor"}}
    first = GuardedDataset(policy).add_real(long_tail("real", cat=80, owl=8), source="web")
    owls = real_part(first).filter(lambda row: row["label"] == "owl").select(range(6))
    second = first.next_generation().take_down(owls, reason="erasure 5")
    second.reference = {"cat": 80.0, "owl": 8.0}
    second.add_synthetic(long_tail("made", cat=200, owl=20), **BOT)
    both = second.training_set()
    counts = {name: labels_of(both, origin).get("owl", 0) for name, origin in (("real", 1), ("made", 2))}  # type: ignore[arg-type]
    assert counts["real"] == 2
    assert counts["real"] + counts["made"] >= 8
    assert second.report()["n_topped_up_rows"] == 6


def test_golden_weights_go_with_the_rows() -> None:
    data = GuardedDataset(PLAIN | {"mix": {"weights": "golden"}}).add_real(rows("real", 50), source="web")
    train = data.add_synthetic(rows("made", 50), **BOT).training_set()
    weights = np.asarray(train[WEIGHT][:])
    assert weights[:50].sum() / weights.sum() == pytest.approx(0.6180339887)
    assert weights.mean() == pytest.approx(1)


def test_shares_in_tokens_are_those_of_the_tokens() -> None:
    policy = PLAIN | {"unit": "tokens", "mix": {"real_min_share": 0.5}}
    real = Dataset.from_dict({"input_ids": [[1] * 10] * 4 + [[2] * 60]})
    made = Dataset.from_dict({"input_ids": [[3] * 5] * 100})
    data = GuardedDataset(policy).add_real(real, source="web").add_synthetic(made, **BOT)
    assert (data.plan().real_amount, data.plan().synthetic_amount) == (100.0, 100.0)
    assert data.manifest().origin_amount(Origin.SYNTHETIC) == 100.0
    assert data.manifest().header.unit == "tokens"


def test_a_shuffled_set_and_a_stream_hold_the_same_rows() -> None:
    data = GuardedDataset(PLAIN).add_real(rows("real", 60), source="web").add_synthetic(rows("made", 60), **BOT)
    straight, shuffled, stream = (
        data.training_set(),
        data.training_set(shuffle=True),
        data.training_set(shuffle=True, streaming=True),
    )
    assert isinstance(straight, Dataset)
    assert isinstance(stream, IterableDataset)
    assert sorted(straight["text"]) == sorted(shuffled["text"])
    assert [row["text"] for row in stream] == shuffled["text"][:]
    assert 0.3 < np.mean(np.asarray(shuffled[ORIGIN][:60]) == Origin.REAL) < 0.7


def test_a_plan_is_saved_loaded_and_replayed_by_any_loader(tmp_path: Path) -> None:
    web, bot = (
        tag(rows("real", 30), origin="real", source="web"),
        tag(rows("made", 90), origin="synthetic", source="bot", generation=1),
    )
    plan = plan_mix([web], [bot], PLAIN, seed=3)
    again = MixPlan.load(plan.save(tmp_path / "plan.parquet"))
    assert again.digest == plan.digest
    replayed = {web[int(row)]["text"] for row in again.real} | {bot[int(row)]["text"] for row in again.chosen}
    mixed = apply_mix(again, [web], [bot], shuffle=True)
    assert replayed == set(mixed["text"])
    found = measure_mix(mixed, PLAIN)
    assert (found["breaches"], found["shares"]["origin"]["real"]["share"]) == ([], 0.5)
    worse = measure_mix(concatenate_datasets([mixed, bot]), PLAIN)
    assert worse["breaches"] == ["real: share 0.2000 of the output, the floor is 0.5"]


def test_a_plan_of_other_datasets_is_refused() -> None:
    web, bot = (
        tag(rows("real", 5), origin="real", source="web"),
        tag(rows("made", 5), origin="synthetic", source="bot", generation=1),
    )
    plan = plan_mix([web], [bot], PLAIN)
    with pytest.raises(InputError, match="the plan is of 5 real rows, the datasets have 4"):
        apply_mix(plan, [web.select(range(4))], [bot])
    with pytest.raises(InputError, match="the synthetic rows are not those of the plan: their ids differ"):
        apply_mix(plan, [web], [bot.select(range(5)[::-1])])
    with pytest.raises(ProvenanceError, match="synthetic rows: 5 of 5 are tagged real; add them apart"):
        plan_mix([web], [web], PLAIN)
    with pytest.raises(ProvenanceError, match=r"real dataset 0 lacks cg_origin.*tag it first"):
        plan_mix([rows("real", 2)], [bot], PLAIN)


def test_one_dataset_needs_no_list() -> None:
    web = tag(rows("real", 5), origin="real", source="web")
    bot = tag(rows("made", 5), origin="synthetic", source="bot", generation=1)
    plan = plan_mix(web, bot, PLAIN)
    assert plan.digest == plan_mix([web], [bot], PLAIN).digest
    assert apply_mix(plan, web, bot)["text"][:] == apply_mix(plan, [web], (bot,))["text"][:]
    for wrong in (None, {"train": web}, web.to_iterable_dataset(), [[web]]):
        with pytest.raises(
            ProvenanceError, match=r"real dataset 0: a datasets.Dataset is needed, got .*; name a split"
        ):
            plan_mix(wrong, bot, PLAIN)


def test_a_saved_list_of_takedowns_is_neither_lost_nor_changed(tmp_path: Path) -> None:
    held = GuardedDataset(PLAIN).add_real(rows("real", 4), source="web")
    folder = held.take_down(real_part(held).select([0]), reason="erasure 3").save(tmp_path / "gen0")
    path = folder / "takedowns.jsonl"
    told = path.read_text()
    path.write_text(told + told.splitlines()[1].replace(told.splitlines()[1][12:20], "00000000") + "\n")
    with pytest.raises(ManifestError, match="not the list of takedowns that the manifest was written under"):
        GuardedDataset.load(folder, PLAIN)
    path.unlink()
    with pytest.raises(ManifestError, match="not the list of takedowns that the manifest was written under"):
        GuardedDataset.load(folder, PLAIN)


def test_synthetic_rows_that_are_gone_are_no_generation_without_them(tmp_path: Path) -> None:
    data = GuardedDataset(PLAIN).add_real(rows("real", 4), source="web").add_synthetic(rows("made", 2), **BOT)
    folder = data.save(tmp_path / "gen0")
    shutil.rmtree(folder / "synthetic")
    with pytest.raises(ManifestError, match="no such folder, and the manifest names synthetic rows"):
        GuardedDataset.load(folder, PLAIN)


def test_the_list_that_the_policy_names_binds_the_holder(tmp_path: Path) -> None:
    held = GuardedDataset(PLAIN).add_real(rows("real", 4), source="web")
    Takedowns.empty().adding([real_part(held)[ID][1]], reason="erasure 3", date="2026-03-31").write(
        tmp_path / "list.jsonl"
    )
    (tmp_path / "policy.yaml").write_text("version: 1\naccumulation: {takedowns: list.jsonl}\n")
    again = GuardedDataset(tmp_path / "policy.yaml").add_real(rows("real", 4), source="web")
    with pytest.raises(ContractError, match="1 real row was taken down"):
        again.manifest()


def test_unknown_rows_enter_no_mix_unless_the_policy_declares_their_source() -> None:
    web, crawl = tag(rows("real", 9), origin="real", source="web"), rows("scraped", 9)
    unknown = tag(crawl, origin="unknown", source="crawl", evidence="none", generation=1)
    with pytest.raises(ProvenanceError, match="9 of 9 are of unknown origin; tag them, or declare their source"):
        plan_mix([web], [unknown], PLAIN)
    with pytest.raises(ProvenanceError, match="row 0 of synthetic stream 0 is of unknown origin; tag it, or declare"):
        mix_streams(web.to_iterable_dataset(), unknown.to_iterable_dataset(), PLAIN)
    policy = PLAIN | {"sources": {"crawl": {"origin": "unknown", "max_share": 0.1}}}
    assert plan_mix([web], [unknown], policy).chosen.size == 1
    assert len(list(mix_streams(web.to_iterable_dataset(), unknown.to_iterable_dataset(), policy))) == 10


def test_a_row_that_was_taken_down_does_not_come_back_as_a_generated_one() -> None:
    held = GuardedDataset(PLAIN).add_real(rows("real", 4), source="web")
    held.take_down(real_part(held).select([1]), reason="erasure 3")
    held.add_synthetic(rows("real", 1, first=1), **BOT)
    with pytest.raises(ContractError, match="1 synthetic row was taken down, and must not come back"):
        held.manifest()


def test_a_plan_without_real_rows_is_refused() -> None:
    bot = tag(rows("made", 5), origin="synthetic", source="bot", generation=1)
    with pytest.raises(AccumulationError, match="there is no real row; add real rows first"):
        plan_mix([], [bot], PLAIN)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("real"), st.integers(1, 4)),
        st.tuples(st.just("made"), st.integers(1, 6)),
        st.tuples(st.just("next"), st.just(0)),
        st.tuples(st.just("save"), st.just(0)),
        st.tuples(st.just("take down"), st.integers(0, 5)),
        st.tuples(st.just("mix"), st.just(0)),
    ),
    min_size=1,
    max_size=9,
)


def check_that_real_ids_never_shrink(steps: list[tuple[str, int]], folder: Path, policy: dict[str, Any]) -> None:
    data = GuardedDataset(policy).add_real(rows("start", 2), source="web")
    taken: set[bytes] = set()
    ever = real_ids(data)
    for number, (step, size) in enumerate(steps):
        match step:
            case "real":
                data.add_real(rows(f"real {number}", size), source=f"web {number}")
            case "made":
                data.add_synthetic(rows(f"made {number}", size), **BOT)
            case "next":
                data = data.next_generation()
            case "save":
                data = GuardedDataset.load(data.save(folder / f"gen{number}"), policy)
            case "take down":
                gone = sorted(real_ids(data))[size : size + 1]
                if gone and len(real_ids(data)) > 1:
                    data.take_down(gone, reason=f"request {number}")
                    taken.update(gone)
            case "mix":
                mixed = data.training_set(shuffle=True)
                real = {row[ID] for row in mixed if row[ORIGIN] == Origin.REAL}
                assert real == real_ids(data)
        ever |= real_ids(data)
        assert real_ids(data) == ever - taken
    manifest = data.manifest()
    assert manifest.n_origin_rows(Origin.REAL) == len(ever - taken)
    if data.parent is not None:
        assert prove_accumulation(data.parent, manifest, takedowns=data.takedowns).holds


@settings(max_examples=12, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_real_ids_never_shrink_unless_a_takedown_names_them(
    steps: list[tuple[str, int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    check_that_real_ids_never_shrink(steps, tmp_path_factory.mktemp("chain"), PLAIN)


@pytest.mark.slow
@settings(
    max_examples=120, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(steps=STEPS, unit=st.sampled_from(["rows", "bytes"]))
def test_real_ids_never_shrink_in_many_chains(
    steps: list[tuple[str, int]], unit: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    check_that_real_ids_never_shrink(steps, tmp_path_factory.mktemp("chain"), PLAIN | {"unit": unit})
