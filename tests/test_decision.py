"""The decision: pure, at the stated limit, with the reason that weighs most and the classes by name."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collapse_guard.decision import (
    PanelResult,
    Part,
    ScoreLine,
    combined_log_e,
    decide,
    decide_fixed,
    dying_classes,
    log_e_limit,
    panel_weights,
    weakest_classes,
)
from collapse_guard.policy import Policy
from collapse_guard.records import Action, Decision, RunReason
from collapse_guard.stats import ClaimedResult, ClassResult, FixedSetResult, ScoreResult, TailResult

NAMES = ("a", "b", "c")
LOGS = st.floats(-700, 700)


def coverage(**changes: Any) -> Any:
    return Policy.coerce({"version": 1, "coverage": {"references": ["real"]} | changes}).coverage


def panel(
    mass: float, cover: float, per_class: tuple[float, ...], against: str = "real", **changes: Any
) -> PanelResult:
    tail = TailResult(0.0, mass, cover, 0.42, 0.25, 0.75, 3, 4, 1)
    top = max(per_class)
    average = top + math.log(sum(math.exp(value - top) for value in per_class) / len(per_class))
    names = changes.pop("names", NAMES)
    classes = ClassResult(average, tuple(range(len(per_class))), per_class, 3)
    return PanelResult("labels of y", against, names, tail, classes, **changes)


def decided(mass: float, cover: float, per_class: tuple[float, float, float], **policy: Any) -> Decision:
    return decide(coverage(**policy), [panel(mass, cover, per_class)], [], n_planned=1)


def part(log_e: float, weight: float) -> Part:
    return Part(RunReason.TAIL_MASS, "y", "real", log_e, weight, "")


@settings(max_examples=80, derandomize=True, deadline=None)
@given(first=LOGS, second=LOGS)
def test_the_combined_evidence_is_the_log_of_the_weighted_average(first: float, second: float) -> None:
    found = combined_log_e([part(first, 0.75), part(second, 0.25)])
    assert found == pytest.approx(math.log(0.75 * math.exp(first) + 0.25 * math.exp(second)), abs=1e-9)


def test_the_combined_evidence_neither_overflows_nor_gives_nan() -> None:
    for first, second in ((1e9, 1.0), (1.0, 1e9), (-math.inf, 5.0), (5.0, -math.inf), (-1e9, -1e9)):
        found = combined_log_e([part(first, 0.5), part(second, 0.5)])
        larger = max(first, second)
        assert larger - math.log(2) <= found <= larger
    assert combined_log_e([]) == combined_log_e([part(-math.inf, 1.0)]) == -math.inf


@pytest.mark.parametrize("claimed", [True, False])
@pytest.mark.parametrize("n_planned", [1, 2, 5])
def test_half_of_a_panel_is_pooled_and_half_the_class_average(claimed: bool, n_planned: int) -> None:
    weights = panel_weights(claimed=claimed, n_planned=n_planned)
    assert sum(weights.values()) == pytest.approx(1 / n_planned)
    assert weights[RunReason.CLASS_LOSS] == pytest.approx(sum(weights.values()) / 2)
    assert (RunReason.OFF_MANIFOLD in weights) is claimed


def test_what_is_planned_and_not_there_yet_counts_as_no_evidence() -> None:
    alone = decide(coverage(), [panel(9, 9, (9, 9, 9))], [], n_planned=1).evidence["log_e"]
    assert decide(coverage(), [panel(9, 9, (9, 9, 9))], [], n_planned=2).evidence["log_e"] == pytest.approx(
        alone - math.log(2)
    )


@pytest.mark.parametrize("rate", [0.5, 0.05, 0.01, 0.001])
def test_a_run_halts_exactly_at_one_over_the_false_halt_rate(rate: float) -> None:
    limit = math.log(1 / rate)
    below, above = limit - 1e-6, limit + 1e-6
    assert decided(below, below, (below,) * 3, false_halt_rate=rate).action is Action.CONTINUE
    assert decided(above, above, (above,) * 3, false_halt_rate=rate).action is Action.HALT


@pytest.mark.parametrize(
    "sampled",
    [
        {"references": ["real", "first_model"]},
        {"real_is": "sample"},
        {"scores": [{"kind": "hapax", "column": "text"}]},
    ],
)
def test_what_a_sampled_reference_costs_is_taken_from_the_false_halt_rate(sampled: dict[str, Any]) -> None:
    assert log_e_limit(coverage(**sampled)) == pytest.approx(-math.log(0.01 * 0.9))
    assert log_e_limit(coverage()) == pytest.approx(-math.log(0.01))
    assert log_e_limit(coverage(**sampled, reference_error=0.5)) == pytest.approx(-math.log(0.005))


def test_the_policy_may_ask_for_a_warning_instead() -> None:
    assert decided(50, -5, (-5, -5, -5), on_violation="warn").action is Action.WARN
    assert decided(50, -5, (-5, -5, -5), on_violation="halt").action is Action.HALT
    assert decided(-5, -5, (-5, -5, -5), on_violation="warn").action is Action.CONTINUE


@pytest.mark.parametrize(
    ("mass", "cover", "per_class", "reason", "words"),
    [
        (20.0, 3.0, (-5, -5, -5), RunReason.TAIL_MASS, "the tail's mass fell to 0.42 of real"),
        (3.0, 20.0, (-5, -5, -5), RunReason.TAIL_COVERAGE, "25% of them seen, 75% expected"),
        (3.0, 3.0, (-5, 20, -5), RunReason.CLASS_LOSS, "single classes are dying against real"),
    ],
)
def test_the_reason_is_the_evidence_that_weighs_most(
    mass: float, cover: float, per_class: tuple[float, float, float], reason: RunReason, words: str
) -> None:
    decision = decided(mass, cover, per_class)
    assert decision.reason is reason
    assert words in decision.message


def test_the_decision_says_which_reference_and_which_cells_it_is_about() -> None:
    panels = [panel(-9, -9, (-9, -9, -9)), panel(-9, 30, (-9, -9, -9), "first_model")]
    decision = decide(coverage(references=["real", "first_model"]), panels, [], n_planned=2)
    assert (decision.evidence["reference"], decision.evidence["subject"]) == ("first_model", "labels of y")
    assert "thinning out against first model" in decision.message


def test_unclaimed_rows_and_scores_can_halt_a_run_alone() -> None:
    off = panel(-9, -9, (-9, -9, -9), claimed=ClaimedResult(30.0, 0.4, 3))
    decision = decide(coverage(), [off], [], n_planned=1)
    assert decision.reason is RunReason.OFF_MANIFOLD
    assert "40% of rows are in no cell, too many against real" in decision.message
    score = ScoreLine("hapax of text", "first_model", ScoreResult(30.0, 0.71, 3))
    decision = decide(coverage(), [], [score], n_planned=1)
    assert (decision.action, decision.reason) == (Action.HALT, RunReason.SCORE_DROP)
    assert "the mean of hapax of text fell to 0.71 of first model" in decision.message


def test_without_any_evidence_a_run_goes_on() -> None:
    decision = decide(coverage(), [], [], n_planned=1)
    assert (decision.action, decision.evidence["log_e"]) == (Action.CONTINUE, -math.inf)


def test_a_class_weighs_as_much_as_mass_and_coverage_together() -> None:
    assert decided(20.0, -20.0, (19.9 + math.log(1.5), 19.9 + math.log(1.5), -99)).reason is RunReason.CLASS_LOSS


def test_a_healthy_run_says_so_with_both_figures() -> None:
    decision = decided(-1.0, -2.0, (-1, -2, -3))
    assert decision.reason is RunReason.HEALTHY
    assert "is under 4.6" in decision.message


def test_the_message_names_the_weakest_classes_and_both_figures() -> None:
    decision = decided(3.0, 3.0, (-5, 2, 20))
    assert "weakest classes c, b:" in decision.message
    assert f"log e {decision.evidence['log_e']:.1f} reached 4.6" in decision.message
    assert "at most 1% of healthy runs" in decision.message


@pytest.mark.parametrize("rate", [0.0002, 0.00004, 0.015, 0.05])
def test_the_message_states_the_error_rate_as_it_was_set(rate: float) -> None:
    message = decided(50, 50, (50, 50, 50), false_halt_rate=rate).message
    stated = message.split("at most ")[1].split("%")[0]
    assert float(stated) == pytest.approx(100 * rate)


def test_weakest_classes_have_evidence_of_their_own_and_come_strongest_first() -> None:
    names = tuple("abcdefgh")
    first = panel(0, 0, (0.0, -0.1, 3.0, 9.0, 5.0, 4.0, 1.0, -math.inf), names=names)
    assert weakest_classes([first]) == ["d", "e", "f", "c", "g"]
    assert weakest_classes([first], most=2) == ["d", "e"]
    assert weakest_classes([first], most=9) == ["d", "e", "f", "c", "g", "a"]
    second = panel(0, 0, (20.0, -1, -1, -1, -1, -1, -1, -1), names=names)
    assert weakest_classes([first, second], most=3) == ["a", "d", "e"]


def test_dying_classes_are_named_at_the_false_halt_rate_and_once() -> None:
    strong, weak = math.log(300) + 1, math.log(300) - 1
    assert dying_classes([panel(0, 0, (weak, -9, -9))], 0.01) == []
    assert dying_classes([panel(0, 0, (-9, strong, -9)), panel(0, 0, (-9, strong, strong))], 0.01) == ["b", "c"]


def test_the_evidence_holds_every_figure_behind_the_decision() -> None:
    evidence = decided(3.0, 4.0, (-5, 2, 20), false_halt_rate=0.02).evidence
    assert evidence["log_e_limit"] == pytest.approx(math.log(50))
    assert evidence["parts"]["tail_mass of labels of y against real"] == 3.0
    assert evidence["parts"]["tail_coverage of labels of y against real"] == 4.0
    assert (evidence["weakest_classes"], evidence["dying_classes"]) == (["c", "b"], ["c"])
    assert evidence["false_halt_rate"] == 0.02


def test_the_same_inputs_give_the_same_decision_and_it_survives_plain_values() -> None:
    first, second = decided(3.0, 9.0, (-5, 2, 20)), decided(3.0, 9.0, (-5, 2, 20))
    assert first == second
    assert Decision.from_dict(first.as_dict()) == first


@pytest.mark.parametrize(
    ("excess", "tail_excess", "fallen", "action", "reason"),
    [
        (-0.1, -0.2, (), Action.CONTINUE, RunReason.HEALTHY),
        (0.0, 0.0, (), Action.HALT, RunReason.TAIL_MASS),
        (0.5, -0.2, (1,), Action.HALT, RunReason.CLASS_LOSS),
    ],
)
def test_looks_at_a_fixed_set_halt_when_a_test_is_over_its_level(
    excess: float, tail_excess: float, fallen: tuple[int, ...], action: Action, reason: RunReason
) -> None:
    fine = ("other", NAMES, FixedSetResult(-5.0, -5.0, (), 1.0, 2))
    worst = ("y", NAMES, FixedSetResult(excess, tail_excess, fallen, 0.5, 2))
    decision = decide_fixed(coverage(looks="fixed_set"), [fine, worst], baseline="the parent")
    assert (decision.action, decision.reason) == (action, reason)
    assert decision.evidence["subject"] == "y"
    assert decision.evidence["dying_classes"] == [NAMES[cell] for cell in fallen]
