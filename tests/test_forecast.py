"""The forecast: closed form against simulation, simulation against a naive loop, the smallest share, bad input."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from collapse_guard import forecast
from collapse_guard.errors import CellError, InputError, ManifestError, PolicyError, StatisticError
from collapse_guard.forecast import Biases, Forecast
from collapse_guard.forecast.chains import simulate
from collapse_guard.forecast.loops import Loop, admitted_rows, loops_of
from collapse_guard.manifest import Manifest, build_manifest, write_manifest
from collapse_guard.mixing import Codes, Pool, plan_mix
from collapse_guard.policy import policy_from_mapping
from collapse_guard.records import DATE, EVIDENCE, GENERATION, GENERATOR, ID, ORIGIN, SOURCE
from collapse_guard.stats.drift import survival

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

#: Long-tailed digits: five of the ten classes are the tail.
DIGITS = (178, 117, 74, 49, 31, 20, 13, 8, 5, 3)


def zipf_rows(n_classes: int = 1_000, n_rows: int = 10_000) -> NDArray[np.int64]:
    weights = 1 / np.arange(1, n_classes + 1)
    return np.asarray(np.random.default_rng(0).multinomial(n_rows, weights / weights.sum()))


def rules(**changes: Any) -> dict[str, Any]:
    return {"version": 1, "coverage": {}} | changes


def ask(counts: Any = DIGITS, policy: Any = None, **changes: Any) -> Forecast:
    asked = {"generations": 20, "n_chains": 0, "seed": 0, "keep": 0.9, "probability": 0.9} | changes
    return forecast(rules() if policy is None else policy, counts, **asked)


@pytest.mark.science
@pytest.mark.parametrize(
    ("counts", "mix", "n_rows"),
    [
        (zipf_rows(), {"real_min_share": 0.5}, None),
        (zipf_rows(), {"real_min_share": 0.1}, 5_000),
        (zipf_rows(300, 3_000), {"real_min_share": 0.8}, 3_000),
        (zipf_rows(100, 2_000), {"real_min_share": 0.2}, None),
        (DIGITS, {"real_min_share": 0.5}, None),
        (DIGITS, {"real_min_share": 0.0}, 10_000),
    ],
)
def test_closed_form_and_simulation_agree(counts: Any, mix: dict[str, Any], n_rows: int | None) -> None:
    found = ask(counts, rules(mix=mix), n_rows=n_rows, n_chains=300)
    assert found.largest_difference is not None
    print(f"\n{mix}, n={found.settings.n_rows}: {found.summary} {found.largest_difference:.1f} s.e.", end="")  # noqa: T201 - shown with -s
    assert found.largest_difference < 5
    for arm in found.arms:
        assert arm.closed_form is not None
        assert arm.simulation is not None
        for closed, simulated in zip(arm.closed_form, arm.simulation, strict=True):
            slack = 1 + 0.25 * closed.spread
            assert abs(closed.low - simulated.low) <= slack
            assert abs(closed.high - simulated.high) <= slack


def naive_alive(loop: Loop, counts: list[int], n_tail: int, generations: int, n_chains: int, bias: Biases) -> float:
    """Return the mean number of tail classes alive at the end, by the slowest possible loop."""
    rng, total, real = np.random.default_rng(99), 0, np.array(counts) / sum(counts)
    for _ in range(n_chains):
        model, kept = real, np.array(counts, dtype=float)
        look = np.zeros(0, dtype=np.int64)
        for _ in range(generations):
            drawn = model ** (1 / bias.temperature)
            drawn = drawn / drawn.sum()
            order = sorted(range(len(counts)), key=lambda cell: (-drawn[cell], -cell))
            held = 0.0
            for cell in order:
                if held >= bias.top_p:
                    drawn[cell] = 0
                held += drawn[cell]
            drawn[:n_tail] *= 1 - bias.tail_removal
            drawn /= drawn.sum()
            pool = rng.choice(len(counts), size=loop.n_rows, p=drawn)
            look = np.bincount(pool, minlength=len(counts))
            rows = np.bincount(pool[: loop.n_synthetic_rows], minlength=len(counts))
            kept += rows
            mixed = loop.real_share * real + (1 - loop.real_share) * rows / max(1, rows.sum())
            model = kept / kept.sum() if loop.keeps_everything else mixed
        total += int((look[:n_tail] > 0).sum())
    return total / n_chains


@pytest.mark.parametrize("bias", [Biases(), Biases(temperature=0.8), Biases(top_p=0.97), Biases(tail_removal=0.3)])
@pytest.mark.parametrize(
    "loop",
    [
        Loop("policy", 60, 60, 60, 0.5),
        Loop("policy", 60, 60, 20, 0.75),
        Loop("policy", 60, 60, 0, 1.0),
        Loop("replace", 60, 60, 60, 0.0),
        Loop("accumulate", 60, 60, 60, 0.2, keeps_everything=True),
    ],
)
def test_the_simulation_does_what_a_naive_loop_does(loop: Loop, bias: Biases) -> None:
    counts, n_tail, n_chains = [1, 2, 3, 9, 20, 25], 3, 200
    chains = simulate(loop, np.array(counts), n_tail=n_tail, reported=(1, 4), n_chains=4_000, seed=1, biases=bias)
    assert chains.n_alive.shape == (2, 4_000)
    expected = naive_alive(loop, counts, n_tail, 4, n_chains, bias)
    error = max(0.05, float(chains.n_alive[-1].std())) * math.sqrt(1 / n_chains + 1 / 4_000)
    assert chains.n_alive[-1].mean() == pytest.approx(expected, abs=5 * error)
    assert chains.alive_share.sum() == pytest.approx(chains.n_alive[-1].mean())


@pytest.mark.parametrize("bias", [Biases(temperature=1e-300), Biases(temperature=1e300), Biases(top_p=1e-300)])
def test_extreme_biases_stay_finite(bias: Biases) -> None:
    found = ask(zipf_rows(50, 500), biases=bias, n_chains=20, generations=3)
    alive = found.arms[0].bands[-1].mean
    assert alive == 0 if bias.temperature != 1e300 else alive > 0


def test_biases_hurt_and_leave_the_closed_form_out() -> None:
    plain = ask(zipf_rows(), n_chains=50)
    bent = ask(zipf_rows(), n_chains=50, biases=Biases(tail_removal=0.2))
    assert bent.arms[0].bands[-1].mean < plain.arms[0].bands[-1].mean - 20
    view = bent.as_dict()
    assert {arm["closed_form"] for arm in view["arms"]} == {None}
    assert view["smallest_real_share"]["real_share"] is None
    assert "not computed under declared biases" in view["smallest_real_share"]["sentence"]
    assert view["largest_difference_in_standard_errors"] is None
    assert view["biases"] == {"temperature": 1.0, "top_p": 1.0, "tail_removal": 0.2, "any": True}


def test_equal_questions_have_equal_answers_and_a_seed_matters() -> None:
    assert ask(n_chains=30).as_dict() == ask(n_chains=30).as_dict()
    assert ask(n_chains=30).arms[1].simulation != ask(n_chains=30, seed=1).arms[1].simulation


def test_chains_come_in_blocks_and_every_one_counts() -> None:
    counts = np.arange(1, 400_001)
    loop = Loop("replace", 1_000, int(counts.sum()), 1_000, 0.0)
    chains = simulate(loop, counts, n_tail=10, reported=(1,), n_chains=5, seed=0, biases=Biases())
    assert chains.n_alive.shape == (1, 5)


def pool_of(n_rows: int, *, source: str = "own") -> Pool:
    ids = np.arange(n_rows, dtype=np.uint64)
    names = Codes((source,), np.zeros(n_rows, dtype=np.int64))
    same = np.ones(n_rows, dtype=np.int64)
    return Pool(ids, ids, np.ones(n_rows), names, names, names, same, np.ones(n_rows, dtype=bool))


@given(
    st.integers(1, 300),
    st.integers(0, 300),
    st.floats(0, 1),
    st.none() | st.floats(0, 5),
    st.none() | st.floats(0, 1),
)
@example(3, 10, 0.0, None, 0.7)  # 0.7 * 3 / 0.3 is a hair below 7
@settings(derandomize=True, deadline=None, max_examples=200)
def test_the_rows_that_enter_are_those_that_mixing_takes(
    n_real_rows: int, n_rows: int, floor: float, ratio: float | None, share: float | None
) -> None:
    mix = {"real_min_share": floor, "synthetic_to_real_max": ratio, "per_generator_max_share": share}
    policy = policy_from_mapping(rules(mix=mix))
    assert (
        admitted_rows(n_rows, n_real_rows, policy)
        == plan_mix(pool_of(n_real_rows, source="web"), pool_of(n_rows), policy).chosen.size
    )


@pytest.mark.parametrize(
    ("mix", "n_rows", "made", "entering", "share"),
    [
        ({"real_min_share": 0.5}, None, 100, 100, 0.5),
        ({"real_min_share": 0.2}, None, 400, 400, 0.2),
        ({"real_min_share": 0.2}, 100, 100, 100, 0.5),
        ({"real_min_share": 0.5}, 300, 300, 100, 0.5),
        ({"real_min_share": 0.0, "synthetic_to_real_max": 3.0}, None, 300, 300, 0.25),
        ({"real_min_share": 0.0, "per_generator_max_share": 0.5}, None, 100, 100, 0.5),
        ({"real_min_share": 0.0}, None, 100, 100, 0.5),
        ({"real_min_share": 0.0}, 900, 900, 900, 0.1),
        ({"real_min_share": 1e-300}, None, 100, 100, 0.5),
        ({"real_min_share": 1.0}, None, 100, 0, 1.0),
    ],
)
def test_the_policy_says_what_a_mix_holds(
    mix: dict[str, Any], n_rows: int | None, made: int, entering: int, share: float
) -> None:
    loop = loops_of(policy_from_mapping(rules(mix=mix)), n_real_rows=100, n_rows=n_rows, generations=5)[0]
    assert (loop.n_rows, loop.n_synthetic_rows, loop.real_share) == (made, entering, share)


def test_accumulate_is_shown_unless_the_policy_does_the_same() -> None:
    assert [arm.loop.name for arm in ask(generations=2).arms] == ["policy", "replace"]
    assert [arm.loop.name for arm in ask(generations=3).arms] == ["policy", "replace", "accumulate"]


def test_a_policy_of_real_rows_alone_keeps_what_fresh_data_show() -> None:
    found = ask(policy=rules(mix={"real_min_share": 1.0}))
    assert found.arms[0].bands[-1] == found.fresh_real
    assert found.arms[0].loop.real_share == 1


def test_the_yardstick_is_exact() -> None:
    shares = np.array(DIGITS[-5:]) / sum(DIGITS)
    assert ask().fresh_real.mean == pytest.approx((1 - (1 - shares) ** sum(DIGITS)).sum(), rel=1e-12)


def chance_of_goal(found: Forecast, real_share: float) -> float:
    """Return P(goal) by convolution."""
    shares = np.array(found.tail_rows) / found.n_real_rows
    effective = found.arms[0].loop.with_real_share(real_share).effective_rows(found.settings.generations)[-1]
    law = np.ones(1)
    for chance in survival(shares, effective):
        law = np.convolve(law, [1 - chance, chance])
    return float(law[math.ceil(found.settings.keep * found.fresh_real.mean) :].sum())


@pytest.mark.parametrize("counts", [DIGITS, zipf_rows(100, 2_000)])
@pytest.mark.parametrize(("keep", "probability"), [(0.9, 0.9), (0.8, 0.99), (0.7, 0.5)])
def test_the_smallest_real_share_is_enough_and_less_is_not(counts: Any, keep: float, probability: float) -> None:
    found = ask(counts, keep=keep, probability=probability)
    share = found.smallest_real_share
    assert share is not None
    assert chance_of_goal(found, share) >= probability
    assert share == 0 or chance_of_goal(found, share - 1e-4) < probability


def test_a_goal_that_not_even_real_rows_reach_has_no_share() -> None:
    found = ask(zipf_rows(), keep=1.0, probability=0.99)
    assert found.smallest_real_share is None
    assert "not show so much" in found.share_sentence


def test_an_easy_goal_needs_no_real_rows() -> None:
    found = ask(generations=1)
    assert found.smallest_real_share == 0
    assert found.share_sentence.startswith("Even without any real rows")


def test_the_sentence_says_whether_the_policy_is_enough() -> None:
    assert ask().share_sentence == (
        "To keep 90 % of what fresh real data would show, with 90 % probability, 42.7 % of the mix must be real;"
        " 50 % is enough."
    )
    assert ask(zipf_rows(), keep=0.95).share_sentence.endswith("50 % is too little.")


@pytest.mark.parametrize(("share", "text"), [(0.50004, "50.1 % of the mix must be real; 50 % is too little")])
def test_rounding_does_not_hide_a_gap(share: float, text: str) -> None:
    assert text in dataclasses.replace(ask(), smallest_real_share=share).share_sentence


def test_the_summary_can_be_read_aloud() -> None:
    assert ask().summary == (
        "After 20 generations of 498 rows under this policy (50 % real), 4.9 of 5 rare classes are alive (8 of 10 runs:"
        " 5). Fresh real data would show 4.9; replacing the real rows would leave 2.7."
    )


def test_the_plain_form_is_strict_json_and_complete() -> None:
    view = ask(n_chains=10).as_dict()
    again = json.loads(json.dumps(view, allow_nan=False))
    assert again == view
    assert view["schema"] == "collapse-guard/forecast/1"
    assert [row["generation"] for row in view["arms"][0]["closed_form"]] == list(range(1, 21))
    assert [entry["n_real_rows"] for entry in view["classes"]] == [3, 5, 8, 13, 20]
    assert view["classes"][0]["name"] == "9"
    assert set(view["classes"][0]["alive"]) == {"policy", "replace", "accumulate"}
    assert any("smooths" in text for text in view["leaves_out"])


def test_a_forecast_is_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        ask().reported = ()  # type: ignore[misc]  # that is the point


def test_long_chains_are_reported_at_even_ratios() -> None:
    found = ask(generations=5_000, keep=0.01)
    assert found.reported[0] == 1
    assert found.reported[-1] == 5_000
    assert 50 < len(found.reported) <= 100


def test_huge_counts_do_not_overflow() -> None:
    found = ask([10**9, 10**8, 3], generations=10_000, keep=0.01)
    assert found.arms[0].bands[-1].mean == pytest.approx(0.95 + 1, abs=0.1)
    assert math.isfinite(ask([10**15, 10**14, 3], n_rows=10**9, n_chains=10).arms[1].bands[-1].mean)


def test_a_hundred_thousand_classes_are_no_trouble() -> None:
    found = ask(zipf_rows(100_000, 1_000_000), generations=3)
    assert found.arms[0].bands[-1].mean < found.fresh_real.mean < len(found.tail_rows)


def test_names_come_with_the_counts() -> None:
    found = ask({"common": 900, "rare": 60, "rarest": 4, "never": 0})
    assert found.tail_names == ("rarest", "rare")
    assert found.n_classes == 3


def manifest(labels: Sequence[str | None], origins: list[int] | None = None) -> Manifest:
    n_rows = len(labels)
    ids = [hashlib.sha256(str(row).encode()).digest()[:16] for row in range(n_rows)]
    rows = pa.table(
        {
            "label": pa.array(labels, pa.string()),
            ORIGIN: pa.array(origins or [1] * n_rows, pa.uint8()),
            EVIDENCE: pa.array([1] * n_rows, pa.uint8()),
            GENERATION: pa.array([0] * n_rows, pa.uint8()),
            SOURCE: ["web"] * n_rows,
            GENERATOR: pa.nulls(n_rows, pa.string()),
            DATE: pa.array([65535] * n_rows, pa.uint16()),
            ID: pa.array(ids, pa.binary(16)),
        }
    )
    return build_manifest(rows, name="gen0", generation=0, class_column="label")


def test_a_manifest_gives_its_real_rows_alone(tmp_path: Path) -> None:
    made = manifest(["a"] * 95 + ["b"] * 5 + ["b"] * 50, [1] * 100 + [2] * 50)
    found = ask(made)
    assert (found.n_real_rows, found.tail_names, found.tail_rows) == (100, ("b",), (5,))
    assert found.manifest_digest == made.digest
    write_manifest(made, tmp_path / "m.cgm.json")
    assert ask(tmp_path / "m.cgm.json").as_dict() == found.as_dict()


def test_rows_without_a_class_count_as_real_rows() -> None:
    found = ask(manifest(["a"] * 90 + ["b"] * 4 + [None] * 6), n_chains=400, biases=Biases(top_p=0.999))
    assert found.n_real_rows == 100
    assert any("6 real rows carry no class" in note for note in found.notes)
    assert ask(manifest(["a"] * 90 + ["b"] * 4 + [None] * 6)).fresh_real.mean == pytest.approx(1 - 0.96**100)


def test_a_manifest_without_real_rows_or_without_classes_is_refused() -> None:
    with pytest.raises(ManifestError, match="it holds no real row"):
        ask(manifest(["a"] * 5, [2] * 5))
    with pytest.raises(CellError, match="its real rows carry no class; write the manifest under a policy"):
        ask(manifest([None] * 5))


@pytest.mark.parametrize(
    ("policy", "changes", "text"),
    [
        ({"mix": {"real_min_share": 0.0}}, {}, "does not cap generated rows"),
        ({}, {"n_rows": 10}, "would let in more generated rows"),
        ({}, {}, "rows of generation 2 and below"),
        ({"sources": {"own": {"max_share": 0.2}}}, {}, "single sources"),
        ({"filters": {"quality": {"score": "s", "keep_share": 0.8}}}, {}, "filters.quality keeps the same share"),
    ],
)
def test_what_is_forecast_otherwise_than_written_is_said(
    policy: dict[str, Any], changes: dict[str, Any], text: str
) -> None:
    assert any(text in note for note in ask(policy=rules(**policy), **changes).notes)


def test_nothing_is_said_when_there_is_nothing_to_say() -> None:
    assert ask(policy=rules(provenance={"max_generation_depth": 19})).notes == ()


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"generations": 0}, "generations must be 1 or more, got 0"),
        ({"generations": -1}, "generations must be a whole number"),
        ({"generations": 2.5}, "generations must be a whole number"),
        ({"generations": True}, "generations must be a whole number"),
        ({"generations": 10_001}, "generations must be 1 to 10000, got 10001"),
        ({"n_rows": 0}, "n_rows must be 1 or more, got 0"),
        ({"n_rows": -5}, "n_rows must be a whole number"),
        ({"n_rows": 10**30}, "n_rows is 1000000000000000000000000000000"),
        ({"n_chains": -1}, "n_chains must be a whole number"),
        ({"seed": -1}, "seed must be a whole number"),
        ({"seed": 1.5}, "seed must be a whole number"),
        ({"keep": 0.0}, r"keep must lie in \(0, 1\], got 0.0"),
        ({"keep": 1.1}, r"keep must lie in \(0, 1\], got 1.1"),
        ({"keep": float("nan")}, r"keep must lie in \(0, 1\], got nan"),
        ({"keep": "0.9"}, r"keep must lie in \(0, 1\], got '0.9'"),
        ({"probability": 1.0}, r"probability must lie in \(0, 1\), got 1.0"),
        ({"probability": None}, r"probability must lie in \(0, 1\), got None"),
        ({"biases": Biases(top_p=0.9)}, "n_chains must be 1 or more under biases"),
        ({"counts": [0, 0]}, "counts are all zero"),
        ({"counts": [5]}, "counts hold one class only"),
        ({"counts": [5, 0]}, "counts hold one class only"),
        ({"counts": [50, 50]}, "counts have no tail: the rarest class holds 50.00% of the rows"),
        ({"counts": [90, -6]}, r"counts\[1\] is -6"),
        ({"counts": [90.0, 6.5]}, "counts must be whole numbers"),
        ({"counts": [float("nan"), 6]}, "counts must be whole numbers"),
        ({"counts": []}, "counts must be a non-empty"),
        ({"counts": {}}, "counts must be a non-empty"),
        ({"counts": {"a": 1.5, "b": 2}}, "counts must be whole numbers"),
        ({"counts": [[1, 2]]}, "counts must be a non-empty 1-D array"),
        ({"counts": [2**62, 2**62]}, "counts holds"),
    ],
)
def test_bad_input_is_named(changes: dict[str, Any], text: str) -> None:
    with pytest.raises(StatisticError, match=text) as caught:
        ask(**changes)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("bias", "text"),
    [
        ({"temperature": 0.0}, "temperature must be a finite number above 0, got 0.0"),
        ({"temperature": float("inf")}, "temperature must be a finite number"),
        ({"temperature": "hot"}, "temperature must be a finite number"),
        ({"top_p": 0.0}, r"top_p must lie in \(0, 1\], got 0.0"),
        ({"top_p": 1.5}, r"top_p must lie in \(0, 1\], got 1.5"),
        ({"top_p": float("nan")}, r"top_p must lie in \(0, 1\]"),
        ({"tail_removal": 1.0}, r"tail_removal must lie in \[0, 1\), got 1.0"),
        ({"tail_removal": True}, r"tail_removal must lie in \[0, 1\), got True"),
    ],
)
def test_impossible_biases_are_named(bias: dict[str, Any], text: str) -> None:
    with pytest.raises(StatisticError, match=text):
        Biases(**bias)


def test_a_policy_without_coverage_or_in_tokens_is_refused() -> None:
    with pytest.raises(InputError, match="policy has no coverage section"):
        ask(policy={"version": 1})
    with pytest.raises(PolicyError, match="the policy counts tokens"):
        ask(policy=rules(unit="tokens"))
    with pytest.raises(InputError, match="a policy is a Policy, a mapping or a path"):
        ask(policy=3)


ASKED = (
    "({'version': 1, 'coverage': {}}, [90, 6], generations=2, n_chains=0, seed=0, keep=.9, probability=.9).n_classes"
)


@pytest.mark.parametrize(
    "code",
    [
        f"import collapse_guard as cg; from collapse_guard import forecast; print(forecast{ASKED}); cg.forecast{ASKED}",
        f"import collapse_guard.forecast; from collapse_guard import forecast; print(forecast{ASKED})",
        f"import collapse_guard as cg; cg.forecast; import collapse_guard.forecast as f; print(f{ASKED}); f.Biases",
        f"from collapse_guard.forecast import forecast; print(forecast{ASKED})",
    ],
)
def test_the_name_can_be_called_before_and_after_its_module_is_imported(code: str) -> None:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert (done.stdout.strip(), done.stderr) == ("2", "")
