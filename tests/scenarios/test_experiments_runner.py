"""Settings, studies and their views: checked before anything runs, frozen, plain."""

from __future__ import annotations

import json
import math
from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from collapse_guard.errors import InputError
from collapse_guard.report import as_json
from collapse_guard.report.experiment_plot import draw_experiment
from collapse_guard.scenarios.experiments.catalogue import EXPERIMENTS, Experiment
from collapse_guard.scenarios.experiments.chains import (
    FRESH,
    GUARDED,
    POLICIES,
    Chains,
    Setting,
    Step,
    Table,
    synthetic_budget,
    training_rows,
    until_halt,
)
from collapse_guard.scenarios.experiments.runner import Study, simulate
from collapse_guard.scenarios.experiments.table import print_study, study_lines


@pytest.fixture(scope="module")
def study() -> Study:
    return simulate("regression", policies=["replace"], generations=3, runs=4, seed=5)


def test_a_study_holds_the_null_first_and_the_policies_that_were_asked(study: Study) -> None:
    assert [chains.policy for chains in study.chains] == [FRESH, "replace"]
    assert study.chains[0].figures["error"].shape == (4, 3)
    with pytest.raises(FrozenInstanceError):
        study.name = "other"  # type: ignore[misc]  # what the test is about


def test_a_study_is_decided_by_its_seed(study: Study) -> None:
    again = simulate("regression", policies=["replace"], generations=3, runs=4, seed=5)
    other = simulate("regression", policies=["replace"], generations=3, runs=4, seed=6)
    error = study.chains[1].figures["error"]
    assert np.array_equal(error, again.chains[1].figures["error"])
    assert not np.array_equal(error, other.chains[1].figures["error"])


def test_the_view_holds_medians_and_bands_and_is_strict_json(study: Study, tmp_path: Path) -> None:
    view = study.as_dict()
    error = study.chains[1].figures["error"]
    bands = view["chains"][1]["figures"]["error"]
    assert bands["median"] == pytest.approx(np.median(error, axis=0).tolist())
    assert bands["low"] == pytest.approx(np.quantile(error, 0.1, axis=0).tolist())
    assert bands["high"] == pytest.approx(np.quantile(error, 0.9, axis=0).tolist())
    read = json.loads(as_json(view, tmp_path / "study.json").read_text())
    assert read["schema"] == "collapse-guard/experiment/1"
    assert read["chains"][0]["log_e"]["median"] == [None] * 3


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("gausian", {}, "unknown experiment 'gausian'; did you mean 'gaussian'?"),
        ("", {}, "unknown experiment ''; allowed: biased, categorical"),
        ("gaussian", {"policies": ["replce"]}, "has no policy 'replce'; did you mean 'replace'?"),
        ("biased", {"policies": ["golden"]}, "experiment 'biased' has no policy 'golden'"),
        ("gaussian", {"generations": 0}, "generations must be a whole number from 1 to 1000, got 0"),
        ("gaussian", {"generations": 10**9}, "generations must be a whole number from 1 to 1000"),
        ("gaussian", {"runs": -1}, "runs must be a whole number from 1 to 10000, got -1"),
        ("gaussian", {"runs": True}, "runs must be a whole number"),
        ("gaussian", {"seed": -1}, "seed must lie in 0 to"),
        ("gaussian", {"seed": 2**40}, "seed must lie in 0 to"),
        ("gaussian", {"real_share": 0.0}, "real_share must lie in (0, 1), got 0.0"),
        ("gaussian", {"real_share": 1.0}, "real_share must lie in (0, 1), got 1.0"),
        ("gaussian", {"real_share": math.nan}, "real_share must lie in (0, 1), got nan"),
        ("gaussian", {"text": Path("x")}, "reads no text"),
        ("sentences", {"text": Path("/no/such/file")}, "--text '/no/such/file' is not a file"),
    ],
)
def test_bad_settings_are_one_line_that_names_the_argument(name: str, options: dict[str, Any], said: str) -> None:
    ran: list[str] = []
    with pytest.raises(InputError) as caught:
        simulate(name, tell=None if name == "sentences" else ran.append, **options)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert ran == []


@pytest.mark.parametrize("share", [0.001, 0.999])
@pytest.mark.parametrize("name", ["gaussian", "regression", "categorical"])
def test_an_extreme_real_share_runs_or_says_what_is_wrong(name: str, share: float) -> None:
    n_real = round(share * EXPERIMENTS[name].n_rows)
    if 0 < n_real < EXPERIMENTS[name].n_rows:
        found = simulate(name, policies=["anchor"], generations=2, runs=1, real_share=share)
        assert all(np.isfinite(values).all() for values in found.chains[-1].figures.values())
    else:
        with pytest.raises(InputError, match="leaves no row of one kind"):
            simulate(name, policies=["anchor"], generations=2, runs=1, real_share=share)


@pytest.mark.parametrize("policy", POLICIES)
def test_every_policy_trains_on_the_rows_that_it_promises(policy: str) -> None:
    real = Table((np.arange(10),))
    made = [Table((np.arange(10) + 100 * generation,)) for generation in (1, 2)]
    setting = Setting(policy, 3, 1, 0, 0.3)
    (rows,) = training_rows(setting, real, made, np.random.default_rng(0)).columns
    n_real = int((rows < 100).sum())
    assert len(set(rows.tolist())) == rows.size
    match policy:
        case "replace":
            assert sorted(rows.tolist()) == list(range(200, 210))
        case "accumulate":
            assert rows.size == 30
        case "accumulate-subsample":
            assert rows.size == 10
        case "anchor":
            assert (rows.size, n_real) == (10, 3)
            assert (rows[rows >= 100] >= 200).all()
        case _:
            assert sorted(rows[rows < 100].tolist()) == list(range(10))
            assert rows.size - n_real == synthetic_budget(10) == 10


def test_the_guarded_policy_takes_only_what_the_filter_lets_through() -> None:
    real, made = Table((np.arange(4),)), [Table((np.arange(4) + 100,))]

    def first_two(rows: Table) -> Table:
        return rows.take(np.array([0, 1]))

    kept = training_rows(Setting(GUARDED, 2, 1, 0, 0.5), real, made, np.random.default_rng(0), filtered=first_two)
    assert kept.columns[0].tolist() == [0, 1, 2, 3, 100, 101]


def test_only_the_guarded_chain_ends_at_its_halt() -> None:
    steps = [Step({"x": 1.0}), Step({"x": 2.0}, 9.0, halted=True), Step({"x": 3.0}, 9.0, halted=True)]
    assert len(until_halt("replace", steps)) == 3
    assert len(until_halt(GUARDED, steps)) == 2
    chains = Chains.of(GUARDED, [until_halt(GUARDED, steps), steps], generations=3)
    assert np.isnan(chains.figures["x"][0]).tolist() == [False, False, True]
    assert chains.halts.tolist() == [2, 2]


def test_a_table_tells_figures_halts_and_a_sentence_per_mechanism(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(setting: Setting) -> list[Chains]:
        halted = setting.policy == "replace"
        steps = [Step({"size": 1.0}, -2.0), Step({"size": 0.5}, 9.0 if halted else -3.0, halted)]
        return [
            Chains.of(setting.policy, [steps] * 2, generations=2, variant=variant) for variant in ("mild", "[bold]")
        ]

    monkeypatch.setitem(EXPERIMENTS, "toy", Experiment("a toy", run, 10, generations=2, runs=2))
    view = simulate("toy", policies=["replace", "anchor"]).as_dict()
    lines = study_lines(view)
    assert [chain["variant"] for chain in view["chains"]] == ["mild"] * 3 + ["[bold]"] * 3
    assert any(line.split()[:4] == ["mild", "replace", "1", "->"] and line.endswith("2 of 2 at 2") for line in lines)
    assert lines[-2:] == [
        "mild: the guard halts replace in 2 of 2 at generation 2 (median); never fresh, anchor.",
        "[bold]: the guard halts replace in 2 of 2 at generation 2 (median); never fresh, anchor.",
    ]


def test_a_table_on_a_terminal_shows_names_as_they_are(study: Study, capsys: pytest.CaptureFixture[str]) -> None:
    view = study.as_dict()
    view["chains"][0]["variant"] = "[bold]raw"
    print_study(view)
    assert "[bold]raw" in capsys.readouterr().out


@pytest.mark.parametrize("suffix", [".png", ".svg"])
def test_a_picture_is_drawn_whole(study: Study, tmp_path: Path, suffix: str) -> None:
    path = draw_experiment(study.as_dict(), tmp_path / f"plot{suffix}")
    head = path.read_bytes()[:200]
    assert head.startswith(b"\x89PNG") or b"<?xml" in head
    assert [entry.name for entry in tmp_path.iterdir()] == [f"plot{suffix}"]
