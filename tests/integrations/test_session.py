"""The session in a plain loop, alone and on two ranks: what it counts, decides, keeps and says."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from collapse_guard.errors import CollapseHalt, ContractError, InputError
from collapse_guard.integrations.loading.batch_tally import MAX_KEPT, BatchTally, HostTally, scatter_codes
from collapse_guard.integrations.training.reduction import Ranks, Window
from collapse_guard.integrations.training.session import GuardSession
from collapse_guard.stats import BatchCounts

if TYPE_CHECKING:
    from pathlib import Path

MODEL = torch.nn.Linear(1, 1)
REAL = {"label": [0] * 90 + [1] * 10}
TAGGED: dict[str, Any] = {"batches": {"missing": "error", "every_batches": 2}}


def batch_of(*origins: int) -> dict[str, torch.Tensor]:
    return {"cg_origin": torch.tensor(origins)}


def cells(_: Any, n_rows: int) -> np.ndarray:
    return np.repeat([0, 1], [n_rows - n_rows // 10, n_rows // 10])


def dead(_: Any, n_rows: int) -> np.ndarray:
    return np.zeros(n_rows, dtype=np.int64)


def session(tmp_path: Path, *, start: bool = True, **given: Any) -> GuardSession:
    sections = {name: given.pop(name) for name in ("batches", "coverage", "mix") if name in given}
    made = GuardSession({"version": 1} | sections, report=tmp_path / "run.json", **given)
    if start:
        made.start(tmp_path)
    return made


# ------------------------------------------------------------------ a plain loop


def trained(guard: GuardSession, *, n_epochs: int = 3, n_batches: int = 5, origin: int = 1) -> int:
    """Return the batches of a loop as a user writes it."""
    n_done = 0
    for _ in range(n_epochs):
        for _ in range(n_batches):
            guard.observe(batch_of(*[origin] * 16))
            n_done += 1
            if guard.should_stop:
                break
        if guard.end_epoch(MODEL):
            break
    guard.finish(MODEL)
    return n_done


def test_a_healthy_loop_looks_after_every_epoch_and_leaves_a_report(tmp_path: Path) -> None:
    guard = session(tmp_path, coverage={"samples_per_look": 500}, sampler=cells, reference=REAL)
    assert trained(guard) == 15
    report = json.loads((tmp_path / "run.json").read_text())
    assert [(look["epoch"], look["step"]) for look in report["looks"]] == [(1, 5), (2, 10), (3, 15)]
    assert report["batches"]["origins"]["real"] == 15 * 16
    assert report["sight"][0].startswith("labels of label against real: with 500 rows per look")


def test_a_loop_whose_tail_dies_ends_after_its_first_epoch_and_raises(tmp_path: Path) -> None:
    guard = session(tmp_path, coverage={"samples_per_look": 500}, sampler=dead, reference=REAL)
    with pytest.raises(CollapseHalt, match="log e"):
        trained(guard)
    assert json.loads((tmp_path / "run.json").read_text())["looks"][0]["epoch"] == 1


def test_a_loop_of_synthetic_rows_ends_in_mode_stop_without_raising(tmp_path: Path) -> None:
    guard = session(tmp_path, mode="stop", **TAGGED)
    assert trained(guard, origin=2) == 4  # of two batches a window, read one window late
    assert guard.decision is not None
    assert guard.decision.reason.value == "batch_mix"


def test_a_loop_in_mode_warn_goes_on(tmp_path: Path) -> None:
    guard = session(tmp_path, mode="warn", **TAGGED)
    assert trained(guard, origin=2) == 15
    assert guard.halted
    assert not guard.should_stop


def test_looks_by_steps_are_counted_from_the_calls(tmp_path: Path) -> None:
    every = {"every": {"steps": 2}, "warmup": {"epochs": 0}, "samples_per_look": 500}
    guard = session(tmp_path, coverage=every, sampler=cells, reference=REAL)
    for _ in range(5):
        guard.observe(batch_of(1))
        guard.after_step(MODEL)
    guard.finish(MODEL)
    assert guard.watch is not None
    assert [look.step for look in guard.watch.looks] == [2, 4, 5]


def test_a_session_that_was_not_started_says_so(tmp_path: Path) -> None:
    guard = session(tmp_path, start=False, **TAGGED)
    with pytest.raises(ContractError, match=r"the guard was not started; call start\(\)"):
        trained(guard)


def test_metrics_are_empty_before_anything_was_seen_and_named_by_the_guard(tmp_path: Path) -> None:
    guard = session(tmp_path, name="second", **TAGGED)
    assert guard.metrics() == {}
    trained(guard)
    assert guard.metrics() == {"collapse_guard/second/real_share": 1.0, "collapse_guard/second/halted": 0.0}


def test_a_state_goes_through_json_and_a_resumed_session_goes_on_from_it(tmp_path: Path) -> None:
    options: dict[str, Any] = {"coverage": {"samples_per_look": 500}, "sampler": cells, "reference": REAL}
    guard = session(tmp_path, **options, **TAGGED)
    trained(guard)
    state = json.loads(json.dumps(guard.state_dict()))
    again = session(tmp_path, start=False, **options, **TAGGED)
    again.open(tmp_path)
    again.load_state_dict(state)
    again.begin()
    assert again.state_dict() == guard.state_dict()
    trained(again)
    assert again.run.batches.counts.n_rows == 2 * 15 * 16
    assert again.watch is not None
    assert again.watch.n_looks == 6


def test_a_state_that_comes_too_late_is_refused(tmp_path: Path) -> None:
    guard = session(tmp_path, **TAGGED)
    with pytest.raises(InputError, match=r"loaded between open\(\) and begin\(\), not after start\(\)"):
        guard.load_state_dict(guard.state_dict())


def test_restarts_that_come_often_lose_no_batch_and_no_epoch(tmp_path: Path) -> None:
    state: dict[str, Any] | None = None
    for _ in range(10):
        guard = session(tmp_path, start=False, batches={"missing": "error"})
        guard.open(tmp_path)
        if state is not None:
            guard.load_state_dict(state)
        guard.begin()
        for _ in range(9):
            guard.observe(batch_of(1, 1))
        state = guard.state_dict()
    assert guard.run.batches.counts.n_rows == 180


def test_a_run_that_failed_leaves_nothing_to_the_next_one(tmp_path: Path) -> None:
    guard = session(tmp_path, **TAGGED)
    guard.observe(batch_of(2, 2, 2))
    guard.close()
    guard.start(tmp_path)
    trained(guard)
    assert guard.run.batches.counts.by_origin()["synthetic"] == 0


def test_labels_of_pixels_are_not_counted_as_classes(tmp_path: Path) -> None:
    guard = session(tmp_path, coverage={}, reference={"label": [0] * 90 + [1] * 10}, sampler=cells, **TAGGED)
    guard.observe(batch_of(1) | {"label": torch.zeros((1, 8, 8), dtype=torch.int64)})
    guard.end_epoch(MODEL)
    assert sum(guard.run.batches.cell_rows) == 0


def test_many_batches_are_folded_before_the_check(tmp_path: Path) -> None:
    guard = session(tmp_path, batches={"missing": "error", "every_batches": 10_000})
    for _ in range(3 * MAX_KEPT + 1):
        guard.observe(batch_of(1))
    assert guard._windows._tally._n_kept == 1
    guard.end_epoch(MODEL)
    assert guard.run.batches.counts.n_rows == 3 * MAX_KEPT + 1


@pytest.mark.parametrize("broken", [{"schema": 9}, {}, {"schema": "1"}, {"schema": 2, "batches": {"counts": [1]}}])
def test_a_state_of_another_version_or_kind_is_refused(tmp_path: Path, broken: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"schema .* this version reads 1 to 2|not counts of batches"):
        session(tmp_path, start=False, **TAGGED).load_state_dict(broken)


def test_the_state_of_an_older_version_is_read(tmp_path: Path) -> None:
    guard = session(tmp_path, start=False, **TAGGED)
    guard.open(tmp_path)
    old = {"seen": True, "origins": [0, 32, 0, 0, 0, 0], "cells": [0]}
    guard.load_state_dict({"schema": 1, "manifest_digest": None, "watch": None, "batches": old})
    guard.begin()
    trained(guard)
    assert guard.run.batches.counts.by_origin()["real"] == 32 + 15 * 16


def test_code_may_be_named(tmp_path: Path) -> None:
    guard = session(tmp_path, start=False, provenance_from="operator:methodcaller", **TAGGED)
    assert guard._windows._tally._provenance_from is not None
    with pytest.raises(InputError, match="cannot be loaded"):
        session(tmp_path, start=False, sampler="nowhere:sample", coverage={}, reference=REAL)


def test_something_that_is_no_reference_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"reference= is an Anchor, a Reference, or real rows .* got int"):
        session(tmp_path, coverage={}, sampler=cells, reference=3)


# ------------------------------------------------------------------ counting


@pytest.mark.parametrize(
    "codes",
    [
        [1, 2, 2, 9, -1],
        [[1, 0], [2, 3], [2, 300], [7, -1]],
        [[0, 5, 3, 0, 0, 0], [0, 1, 0, 0, 2, 0]],
    ],
)
@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.int16])
def test_host_and_device_count_alike(codes: Any, dtype: torch.dtype) -> None:
    given = torch.tensor(codes, dtype=dtype)
    host = HostTally()
    host.add(given)
    expected = BatchCounts(n_batches=1).update(given.numpy())
    assert host.taken() == expected
    tally = BatchTally(None, lambda batch: batch)
    tally.add(given)
    counted, device = tally.taken([])
    assert device is None
    assert tally.split(counted.tolist())[0] == expected
    buffer = torch.zeros(tally.n_entries, dtype=torch.int64)
    scatter_codes(buffer, given.long(), given.shape[1] if given.ndim > 1 else 1)
    assert tally.split(buffer.tolist())[0] == replace(expected, n_batches=0)


def test_a_step_that_changes_its_batch_does_not_change_what_was_counted(tmp_path: Path) -> None:
    guard = session(tmp_path, coverage={}, reference=REAL, **TAGGED)
    batch = {"cg_origin": torch.ones(8, dtype=torch.int64), "label": torch.zeros(8, dtype=torch.int64)}
    guard.observe(batch)
    batch["cg_origin"].fill_(2)
    batch["label"].fill_(1)
    guard.end_epoch(MODEL)
    assert guard.run.batches.counts.by_origin()["real"] == 8
    assert guard.run.batches.counts.by_origin()["synthetic"] == 0


def test_a_window_on_one_rank_gives_back_what_went_in() -> None:
    window = Window(Ranks(), np.array([1, 2, 3]), torch.tensor([10, 0, 0]), is_training=True)
    window.poll()
    assert window.read() == ([11, 2, 3], 1)


# ------------------------------------------------------------------ nothing is read back from the device

READS_BACK = ("aten::item", "aten::_local_scalar_dense", "aten::nonzero", "aten::is_nonzero")


def test_between_checks_nothing_is_read_back(tmp_path: Path) -> None:
    guard = session(tmp_path, batches={"missing": "error", "every_batches": 1000}, coverage={}, reference=REAL)
    batches = [{"cg_origin": torch.ones(64, dtype=torch.int64), "label": torch.arange(64) % 2} for _ in range(20)]
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        for batch in batches:
            guard.observe(batch)
    assert not {event.key for event in profile.key_averages()} & set(READS_BACK)


def test_what_a_device_counts_is_scattered_and_never_read(tmp_path: Path) -> None:
    """The code path of a CUDA batch, on host tensors: the profiler sees the same operators."""
    buffer, codes = torch.zeros(BatchTally(None).n_entries, dtype=torch.int64), torch.ones((64, 2), dtype=torch.int64)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        scatter_codes(buffer, codes, 2)
    seen = {event.key for event in profile.key_averages()}
    assert "aten::scatter_add_" in seen
    assert not seen & set(READS_BACK)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_cuda_device_no_batch_waits_for_the_device(tmp_path: Path) -> None:
    guard = session(tmp_path, batches={"missing": "error", "every_batches": 5}, coverage={}, reference=REAL)
    label = torch.arange(64, device="cuda") % 2
    batch = {"cg_origin": torch.ones(64, dtype=torch.int64, device="cuda"), "label": label}
    guard.observe(batch)
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(19):
            guard.observe(batch)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    guard.end_epoch(MODEL)
    assert guard.run.batches.counts.by_origin()["real"] == 20 * 64


# ------------------------------------------------------------------ two ranks

RANKS = """
import json, os, sys, weakref
from datetime import timedelta
import torch, torch.distributed as dist, torch.multiprocessing as mp
from collapse_guard import GuardSession


def work(rank, case, folder):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    model = torch.nn.Linear(1, 1)
    policy = {"version": 1, "batches": {"every_batches": 2, "missing": "error"}}
    guard = GuardSession(policy, mode="stop", report=f"{folder}/run.json")
    guard.open(folder, timeout=timedelta(seconds=20))
    guard.begin()
    n_batches = {"uneven": (7, 12), "none": (0, 5), "synthetic": (40, 40), "fails": (12, 12)}[case][rank]
    n_done = 0
    for _ in range(2):
        for number in range(n_batches):
            origin = 2 if case == "synthetic" and (rank == 1 or number % 2) else 1
            guard.observe({"cg_origin": torch.full((64,), origin)})
            n_done += 1
            if case == "fails" and rank == 1 and number == 5:
                raise ZeroDivisionError("one rank")
            if guard.should_stop:
                break
        if guard.end_epoch(model):
            break
    group = weakref.ref(guard.ranks.group)
    guard.finish(model)
    left = group() is None
    again = guard.ranks.summed([1])
    guard.ranks.leave()
    state = {"n_done": n_done, "halted": guard.halted, "state": guard.state_dict(), "left": left, "again": again}
    with open(f"{folder}/rank-{rank}.json", "w") as file:
        json.dump(state, file)
    dist.destroy_process_group()


if __name__ == "__main__":
    mp.spawn(work, (sys.argv[1], sys.argv[2]), nprocs=2)
"""


def on_two_ranks(tmp_path: Path, case: str) -> subprocess.CompletedProcess[str]:
    script = tmp_path / "train.py"
    script.write_text(RANKS, encoding="utf-8")
    command = [sys.executable, str(script), case, str(tmp_path)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.slow
@pytest.mark.parametrize(("case", "n_real"), [("uneven", 2 * 19 * 64), ("none", 2 * 5 * 64)])
def test_uneven_ranks_end_and_agree_on_every_row(tmp_path: Path, case: str, n_real: int) -> None:
    done = on_two_ranks(tmp_path, case)
    assert done.returncode == 0, done.stderr[-2000:]
    first, second = (json.loads((tmp_path / f"rank-{rank}.json").read_text()) for rank in (0, 1))
    assert first["state"] == second["state"]
    assert first["state"]["batches"]["counts"][1] == n_real
    assert json.loads((tmp_path / "run.json").read_text())["batches"]["n_ranks"] == 2


@pytest.mark.slow
def test_the_group_of_the_guard_does_not_outlive_its_run_and_can_be_made_again(tmp_path: Path) -> None:
    done = on_two_ranks(tmp_path, "uneven")
    assert done.returncode == 0, done.stderr[-2000:]
    for rank in (0, 1):  # threads of a group that is there when Python ends abort the process, now and then
        said = json.loads((tmp_path / f"rank-{rank}.json").read_text())
        assert (said["left"], said["again"]) == (True, [2])


@pytest.mark.slow
def test_two_ranks_halt_at_the_same_batch(tmp_path: Path) -> None:
    done = on_two_ranks(tmp_path, "synthetic")
    assert done.returncode == 0, done.stderr[-2000:]
    first, second = (json.loads((tmp_path / f"rank-{rank}.json").read_text()) for rank in (0, 1))
    assert first == second
    assert first["halted"]
    assert first["n_done"] < 40


@pytest.mark.slow
def test_a_rank_that_fails_does_not_keep_the_other_beyond_the_timeout(tmp_path: Path) -> None:
    done = on_two_ranks(tmp_path, "fails")  # the timeout of the group is 20 s, that of the command 120 s
    assert done.returncode != 0
    assert "ZeroDivisionError: one rank" in done.stderr
