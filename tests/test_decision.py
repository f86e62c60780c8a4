"""The decision: pure, at the stated limit, with the reason that weighs most and the classes by name."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collapse_guard.decision import combined_log_e, decide, weakest_classes
from collapse_guard.policy import Coverage
from collapse_guard.records import Action, Decision, RunReason
from collapse_guard.stats import ClassResult, TailResult

NAMES = ("a", "b", "c")
LOGS = st.floats(-700, 700)


def tail_result(mass: float, coverage: float, **changes: Any) -> TailResult:
    log_e = -math.inf if mass == coverage == -math.inf else math.log((math.exp(mass) + math.exp(coverage)) / 2)
    figures = TailResult(log_e, mass, coverage, 0.42, 0.25, 0.75, 3, 4, 1)
    return figures._replace(**changes)


def class_result(*per_class: float) -> ClassResult:
    return ClassResult(math.log(sum(map(math.exp, per_class)) / len(per_class)), per_class, 3)


def decided(mass: float, coverage: float, per_class: tuple[float, float, float], **policy: Any) -> Decision:
    return decide(Coverage(**policy), tail_result(mass, coverage), class_result(*per_class), NAMES)


@settings(max_examples=80, derandomize=True, deadline=None)
@given(tail=LOGS, classes=LOGS)
def test_the_combined_evidence_is_the_log_of_the_average(tail: float, classes: float) -> None:
    found = combined_log_e(tail_result(0, 0, log_e=tail), ClassResult(classes, (classes,), 1))
    assert found == pytest.approx(math.log(math.exp(tail) / 2 + math.exp(classes) / 2), abs=1e-9)


def test_the_combined_evidence_neither_overflows_nor_gives_nan() -> None:
    for tail, classes in ((1e9, 1.0), (1.0, 1e9), (-math.inf, 5.0), (5.0, -math.inf), (-1e9, -1e9)):
        found = combined_log_e(tail_result(0, 0, log_e=tail), ClassResult(classes, (classes,), 1))
        larger = max(tail, classes)
        assert larger - math.log(2) <= found <= larger


@pytest.mark.parametrize("rate", [0.5, 0.05, 0.01, 0.001])
def test_a_run_halts_exactly_at_one_over_the_false_halt_rate(rate: float) -> None:
    limit = math.log(1 / rate)
    below, above = limit - 1e-6, limit + 1e-6
    assert decided(below, below, (below,) * 3, false_halt_rate=rate).action is Action.CONTINUE
    assert decided(above, above, (above,) * 3, false_halt_rate=rate).action is Action.HALT


def test_the_policy_may_ask_for_a_warning_instead() -> None:
    assert decided(50, -5, (-5, -5, -5), on_violation="warn").action is Action.WARN
    assert decided(50, -5, (-5, -5, -5), on_violation="halt").action is Action.HALT
    assert decided(-5, -5, (-5, -5, -5), on_violation="warn").action is Action.CONTINUE


@pytest.mark.parametrize(
    ("mass", "coverage", "per_class", "reason", "words"),
    [
        (20.0, 3.0, (-5, -5, -5), RunReason.TAIL_MASS, "the tail's mass fell to 0.42 of the reference"),
        (3.0, 20.0, (-5, -5, -5), RunReason.TAIL_COVERAGE, "25% of them seen, 75% expected"),
        (3.0, 3.0, (-5, 20, -5), RunReason.CLASS_LOSS, "single classes are dying"),
    ],
)
def test_the_reason_is_the_evidence_that_weighs_most(
    mass: float, coverage: float, per_class: tuple[float, float, float], reason: RunReason, words: str
) -> None:
    decision = decided(mass, coverage, per_class)
    assert decision.reason is reason
    assert words in decision.message


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
    result = ClassResult(1.0, (0.0, -0.1, 3.0, 9.0, 5.0, 4.0, 1.0, -math.inf), 1)
    names = tuple("abcdefgh")
    assert weakest_classes(result, names) == ["d", "e", "f", "c", "g"]
    assert weakest_classes(result, names, most=2) == ["d", "e"]
    assert weakest_classes(result, names, most=9) == ["d", "e", "f", "c", "g", "a"]


def test_the_evidence_holds_every_figure_behind_the_decision() -> None:
    evidence = decided(3.0, 4.0, (-5, 2, 20), false_halt_rate=0.02).evidence
    assert evidence["log_e_limit"] == pytest.approx(math.log(50))
    assert (evidence["log_e_mass"], evidence["log_e_coverage"]) == (3.0, 4.0)
    assert evidence["weakest_classes"] == ["c", "b"]
    assert evidence["false_halt_rate"] == 0.02
    assert (evidence["tail_mass_ratio"], evidence["tail_coverage"], evidence["n_looks"]) == (0.42, 0.25, 3)


def test_the_same_inputs_give_the_same_decision_and_it_survives_plain_values() -> None:
    first, second = decided(3.0, 9.0, (-5, 2, 20)), decided(3.0, 9.0, (-5, 2, 20))
    assert first == second
    assert Decision.from_dict(first.as_dict()) == first
