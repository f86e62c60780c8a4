"""The watch: one chain of generations, resumed from plain state without losing or inventing evidence."""

from __future__ import annotations

import copy
import json
import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collapse_guard.cells import LabelCells
from collapse_guard.errors import CellError, InputError, PolicyError, StatisticError
from collapse_guard.identity import content_ids
from collapse_guard.manifest import Manifest, build_manifest
from collapse_guard.monitor import (
    Anchor,
    BatchWatch,
    Reference,
    Watch,
    coverage_of,
    evidence_path,
    read_state,
    run_view,
    write_state,
)
from collapse_guard.policy import Policy
from collapse_guard.records import Action, Evidence, Origin, RunReason
from collapse_guard.stats import BatchCounts, CellCounts

if TYPE_CHECKING:
    from pathlib import Path

CELLS = LabelCells("label", ("cat", "dog", "emu", "yak"))
REFERENCE = Reference(CELLS, CellCounts.of([880, 60, 35, 25], n_unclaimed_rows=10))
HEALTHY = CellCounts.of([880, 60, 35, 25], n_unclaimed_rows=10)
NO_YAK = CellCounts.of([1_800, 130, 70, 0])
LOOK = st.builds(
    lambda rows, unclaimed: CellCounts.of(rows, n_unclaimed_rows=unclaimed),
    st.lists(st.integers(0, 900), min_size=4, max_size=4).filter(any),
    st.integers(0, 200),
)


def policy(**coverage: Any) -> Policy:
    return Policy.coerce({"version": 1, "coverage": coverage})


def watch(generation: int = 1, **coverage: Any) -> Watch:
    return Watch.start(policy(**coverage), REFERENCE, generation=generation)


def plain(state: dict[str, Any]) -> dict[str, Any]:
    """A state as it comes back from a file."""
    loaded: dict[str, Any] = json.loads(json.dumps(state))
    return loaded


def manifest(labels: list[str | None], origins: list[Origin]) -> Manifest:
    n_rows = len(labels)
    rows = pa.table({"label": pa.array(labels, pa.string()), "number": list(range(n_rows))})
    tags = {
        "cg_origin": pa.array([int(origin) for origin in origins], pa.uint8()),
        "cg_evidence": pa.array([int(Evidence.DECLARED)] * n_rows, pa.uint8()),
        "cg_generation": pa.array([0] * n_rows, pa.uint8()),
        "cg_source": pa.array([origin.name.lower() for origin in origins]),
        "cg_generator": pa.nulls(n_rows, pa.string()),
        "cg_id": content_ids(rows),
    }
    tagged = pa.table({name: rows.column(name) for name in rows.schema.names} | tags)
    return build_manifest(tagged, name="parent", generation=0, class_column="label")


def test_the_reference_of_a_manifest_is_its_real_rows_alone() -> None:
    real, made = Origin.REAL, Origin.SYNTHETIC
    parent = manifest(["dog", "cat", "dog", None, "emu", "emu"], [real, real, real, real, made, Origin.UNKNOWN])
    (reference,) = Anchor.of_manifest(parent, coverage_of(policy())).maps
    assert reference.cells == LabelCells("label", ("cat", "dog"))
    assert reference.counts == CellCounts((1, 2), n_unclaimed_rows=1)
    shuffled = manifest(["dog", None, "dog", "cat"], [real] * 4)
    assert Anchor.of_manifest(shuffled, coverage_of(policy())).maps[0].digest == reference.digest


def test_real_rows_without_a_class_make_no_reference() -> None:
    parent = manifest([None, "emu"], [Origin.REAL, Origin.SYNTHETIC])
    with pytest.raises(CellError, match=r"its real rows carry no class; write the manifest under .*coverage\.cells"):
        Anchor.of_manifest(parent, coverage_of(policy()))


@settings(max_examples=30, derandomize=True, deadline=None)
@given(before=st.lists(LOOK, max_size=3), after=st.lists(LOOK, max_size=3))
def test_a_resumed_watch_equals_an_uninterrupted_one(before: list[CellCounts], after: list[CellCounts]) -> None:
    parent = watch(planned_looks=4)
    for epoch, counts in enumerate(before):
        parent = parent.look(counts, epoch=epoch)
    resumed = watch(planned_looks=4).resumed(plain(parent.state()))
    assert resumed.note == f"evidence goes on from {len(before)} earlier looks"
    assert replace(resumed, note="") == parent
    for epoch, counts in enumerate(after):
        parent, resumed = parent.look(counts, epoch=epoch), resumed.look(counts, epoch=epoch)
    assert replace(resumed, note="") == parent
    assert resumed.state() == parent.state()


def test_a_child_generation_goes_on_with_its_parents_evidence() -> None:
    parent = watch(1).look(HEALTHY, epoch=1).look(HEALTHY, epoch=2)
    child = watch(2).resumed(plain(parent.state())).look(HEALTHY, epoch=1)
    assert [(look.generation, look.epoch) for look in child.looks] == [(1, 1), (1, 2), (2, 1)]
    assert child.decision is not None
    assert child.n_looks == 3
    assert child.state()["generation"] == 2


def test_slow_loss_is_only_seen_by_a_chain_that_remembers() -> None:
    thin = CellCounts.of([255, 18, 7, 5])
    chain = watch(1).look(thin, epoch=1)
    assert not chain.halted
    for generation in range(2, 36):
        assert not watch(generation).look(thin, epoch=1).halted
        chain = watch(generation).resumed(plain(chain.state())).look(thin, epoch=1)
    assert chain.halted


def test_another_policy_starts_anew_and_says_so() -> None:
    state = plain(watch().look(NO_YAK, epoch=1).state())
    fresh = watch(planned_looks=60).resumed(state)
    assert fresh.note == "evidence starts anew: the policy is not the one of the earlier state"
    assert (fresh.looks, fresh.decision, fresh.n_looks) == ((), None, 0)


def test_another_reference_starts_anew_and_says_so() -> None:
    state = plain(watch().look(NO_YAK, epoch=1).state())
    for counts in (CellCounts.of([880, 60, 35, 24], n_unclaimed_rows=10), CellCounts.of([880, 60, 35, 25])):
        other = Watch.start(policy(), Reference(CELLS, counts), generation=2).resumed(state)
        assert other.note == "evidence starts anew: the reference is not the one of the earlier state"
        assert other.looks == ()


def test_another_name_of_the_policy_keeps_the_evidence() -> None:
    state = plain(watch().look(HEALTHY, epoch=1).state())
    renamed = Policy.coerce({"version": 1, "name": "renamed", "coverage": {}})
    assert Watch.start(renamed, REFERENCE, generation=2).resumed(state).n_looks == 1


GARBAGE: list[tuple[tuple[str | int, ...], Any]] = [
    (("schema",), 1),
    (("schema",), None),
    (("generation",), "first"),
    (("n_looks",), -1),
    (("n_looks",), 0),
    (("n_looks",), math.inf),
    (("panels",), None),
    (("panels",), []),
    (("panels", 0), {}),
    (("panels", 0, "tail"), None),
    (("panels", 0, "tail"), []),
    (("panels", 0, "claimed"), None),
    (("panels", 0, "tail", "n_looks"), "many"),
    (("panels", 0, "tail", "n_looks"), None),
    (("panels", 0, "tail", "log_mass"), "text"),
    (("panels", 0, "tail", "log_mass"), [None] * 7),
    (("panels", 0, "tail", "log_mass"), [math.nan] * 7),
    (("panels", 0, "tail", "log_coverage"), [math.inf] * 4),
    (("panels", 0, "tail", "last_n_rows"), -3),
    (("panels", 0, "tail", "last_n_rows"), 2.5),
    (("panels", 0, "classes", "log_classes"), [[0.0]]),
    (("panels", 0, "classes", "log_classes"), 5),
    (("panels", 0, "classes"), {"n_looks": 1}),
    (("scores",), [3]),
    (("first_model",), {}),
    (("first_model", "counts"), [{"rows": [-1, 2], "n_unclaimed_rows": 0}]),
    (("first_model", "generation"), None),
    (("looks",), None),
    (("looks",), [3]),
    (("looks",), [{}]),
    (("looks", 0, "counts"), None),
    (("looks", 0, "colour"), "red"),
    (("decision",), {}),
    (("decision", "action"), "explode"),
    (("decision", "evidence"), None),
    # evidence that cannot be folded further, or that would be folded wrongly
    (("panels", 0, "tail", "log_mass"), []),
    (("panels", 0, "tail", "log_mass"), [1.0]),
    (("panels", 0, "tail", "log_coverage"), [1.0]),
    (("panels", 0, "classes", "log_classes"), []),
    (("panels", 0, "tail", "n_looks"), -4),
    (("panels", 0, "tail", "n_looks"), 0),
    (("panels", 0, "tail", "n_looks"), 7),
    (("panels", 0, "classes", "n_looks"), 0),
    (("panels", 0, "claimed", "log_claimed"), [0.0] * 6),
]


@pytest.mark.parametrize(("path", "value"), GARBAGE, ids=[f"{'.'.join(map(str, p))}={v!r:.20}" for p, v in GARBAGE])
def test_a_garbage_state_is_refused(path: tuple[str | int, ...], value: Any) -> None:
    state = plain(watch().look(HEALTHY, epoch=1).state())
    place: Any = state
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    with pytest.raises(InputError, match=r"not a state of the guard.*delete it to start anew"):
        watch().resumed(state)


@pytest.mark.parametrize(
    "key", ["schema", "panels", "scores", "looks", "decision", "n_looks", "generation", "first_model", "policy_digest"]
)
def test_a_state_that_lacks_a_part_is_refused(key: str) -> None:
    state = plain(watch().look(HEALTHY, epoch=1).state())
    del state[key]
    with pytest.raises(InputError, match=f"not a state of the guard: .*{key}"):
        watch().resumed(state)


@pytest.mark.parametrize("state", [{}, {"looks": []}], ids=["empty", "no digests"])
def test_what_was_never_a_state_is_refused_rather_than_taken_for_an_older_one(state: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="not a state of the guard"):
        watch().resumed(state)


def test_resuming_leaves_the_state_and_the_watch_as_they_were() -> None:
    state, fresh = plain(watch().look(HEALTHY, epoch=1).state()), watch()
    before = copy.deepcopy(state)
    fresh.resumed(state)
    assert state == before
    assert fresh == watch()


def test_a_dying_class_halts_and_is_named() -> None:
    halted = watch().look(NO_YAK, epoch=1)
    assert halted.decision is not None
    assert halted.halted
    assert halted.decision.action is Action.HALT
    assert halted.decision.reason in {RunReason.TAIL_COVERAGE, RunReason.CLASS_LOSS}
    assert halted.decision.evidence["weakest_classes"][0] == "yak"
    assert "weakest classes yak" in halted.decision.message
    assert halted.looks[-1].action == "halt"


def test_a_policy_that_warns_does_not_halt() -> None:
    warned = watch(on_violation="warn").look(NO_YAK, epoch=1)
    assert warned.decision is not None
    assert warned.decision.action is Action.WARN
    assert not warned.halted
    assert warned.looks[-1].action == "warn"


def test_a_healthy_run_goes_on_for_all_of_its_planned_looks() -> None:
    rng, shares = np.random.default_rng(5), np.array([880, 60, 35, 25, 10]) / 1_010
    run = watch()
    for epoch in range(50):
        drawn = rng.multinomial(2_000, shares)
        run = run.look(CellCounts.of(drawn[:4], n_unclaimed_rows=int(drawn[4])), epoch=epoch)
        assert not run.halted
    assert run.n_looks == 50


def test_off_manifold_rows_appear_in_the_look_and_count_for_no_class() -> None:
    look = watch().look(CellCounts.of([700, 50, 30, 20], n_unclaimed_rows=200), epoch=3).looks[0]
    assert (look.n_rows, look.n_unclaimed_rows, look.counts) == (1_000, 200, (700, 50, 30, 20))
    assert look.tail_mass_ratio == pytest.approx((50 / 1_000) / (60 / 1_010))
    drifted = watch().look(CellCounts.of([300, 50, 30, 20], n_unclaimed_rows=600), epoch=3)
    assert drifted.halted, "rows that nobody claims are missing from the head class"
    assert drifted.decision is not None
    assert drifted.decision.evidence["weakest_classes"] == ["cat"]


def test_a_run_that_makes_nothing_but_off_manifold_rows_halts() -> None:
    assert watch().look(CellCounts.of([0, 0, 0, 0], n_unclaimed_rows=2_000), epoch=1).halted


def test_the_figures_of_a_look_are_those_of_its_evidence() -> None:
    run = watch(generation=4).look(CellCounts.of([900, 60, 40, 0]), epoch=7)
    look = run.looks[0]
    found = run.panels[0].tail.compute()
    assert (look.generation, look.epoch, look.tail_cells_alive) == (4, 7, 1)
    assert look.expected_tail_cells == pytest.approx(found.expected_tail_coverage * 2)
    assert look.parts["tail_mass of cells against real"] == found.log_e_mass
    assert look.parts["tail_coverage of cells against real"] == found.log_e_coverage
    weights = {"tail_mass": 1 / 12, "tail_coverage": 1 / 12, "off_manifold": 1 / 12, "class_loss": 1 / 4}
    average = sum(weights[title.split()[0]] * math.exp(log_e) for title, log_e in look.parts.items())
    assert look.log_e == pytest.approx(math.log(average))
    assert look.advisory["hill_1"] > 1


def test_a_look_leaves_the_earlier_watch_as_it_was() -> None:
    before = watch().look(HEALTHY, epoch=1)
    twin = watch().look(HEALTHY, epoch=1)
    assert before.look(NO_YAK, epoch=2).halted
    assert before == twin


def test_a_look_without_rows_or_over_other_cells_is_refused() -> None:
    with pytest.raises(StatisticError, match="counts are all zero: a look needs rows"):
        watch().look(CellCounts.zeros(4), epoch=1)
    with pytest.raises(StatisticError, match="counts has 3 cells, the reference has 4; use the same cell map"):
        watch().look(CellCounts.of([1, 1, 1]), epoch=1)


def test_a_policy_without_coverage_cannot_watch_and_says_what_to_add() -> None:
    with pytest.raises(PolicyError, match=r"coverage.*add 'coverage: \{cells: \{column: label\}\}'"):
        Watch.start(Policy.coerce({"version": 1}), REFERENCE, generation=1)


def test_a_reference_without_a_tail_cannot_watch() -> None:
    flat = Reference(LabelCells("label", ("a", "b")), CellCounts.of([50, 50]))
    with pytest.raises(StatisticError, match=r"the tail is empty.*set tail_mass to at least 0\.5000"):
        Watch.start(policy(), flat, generation=1)


def test_a_written_state_is_read_back_and_resumed(tmp_path: Path) -> None:
    run = watch().look(NO_YAK, epoch=1)
    path = write_state(evidence_path(tmp_path / "train.cgm.json"), run)
    assert path.name == "train.evidence.json"
    resumed = watch().resumed(read_state(path))
    assert replace(resumed, note="") == run
    assert resumed.halted


@pytest.mark.parametrize("content", [b"", b"{", b"[1, 2]", b"3", b"null", b"\xff\xfe"])
def test_a_file_that_is_no_state_is_refused_by_its_path(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "train.evidence.json"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"train\.evidence\.json: not a state of the guard.*delete it to start anew"):
        read_state(path)


def test_a_missing_state_file_is_refused_by_its_path(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gone\.json: not a state of the guard"):
        read_state(tmp_path / "gone.json")


def test_the_report_of_a_run_is_plain_and_names_the_tail() -> None:
    run = watch().look(NO_YAK, epoch=1)
    batches = BatchWatch.start(run.policy, None).check(BatchCounts.of_rows((0, 3, 0, 0, 0, 0)))
    parts: dict[str, Any] = {"policy": run.policy, "manifest": None, "predictions": None}
    parts |= {"batches": batches, "n_ranks": 1}
    view = run_view(watch=run, decision=run.decision, contract="checked", **parts)
    assert json.loads(json.dumps(view))["halted"] is True
    assert view["reference"]["tail"] == ["emu", "yak"]
    assert view["reference"]["cells"] == {"cat": 880, "dog": 60, "emu": 35, "yak": 25}
    assert view["reference"]["n_unclaimed_rows"] == 10
    assert [look["action"] for look in view["looks"]] == ["halt"]
    assert view["batches"]["origins"]["real"] == 3
    empty = run_view(watch=None, decision=None, contract="off", **parts)
    assert (empty["looks"], empty["decision"], empty["halted"], empty["reference"]) == ([], None, False, None)
