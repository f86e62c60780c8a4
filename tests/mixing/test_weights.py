"""Weights of real and synthetic rows: closed form, limits, and what the policy asks."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collapse_guard.mixing import golden_real_share, plan_mix
from collapse_guard.mixing.weights import part_weights
from collapse_guard.policy import Policy
from tests.mixing.slow import Row, pool_of


@given(ratio=st.floats(1e-6, 1e6))
def test_the_share_solves_its_equation_and_lies_above_the_share_of_rows(ratio: float) -> None:
    share = golden_real_share(ratio)
    w, k = Fraction(share), Fraction(ratio)
    assert abs(float(w * w + k * w - k)) <= 1e-12 * max(1.0, ratio)
    assert ratio / (1 + ratio) < share < 1


def test_equal_sizes_weigh_one_over_the_golden_ratio() -> None:
    assert golden_real_share(1.0) == pytest.approx((math.sqrt(5) - 1) / 2, abs=1e-15)


def test_limits() -> None:
    assert golden_real_share(0.0) == 0.0
    for ratio in (1e-12, 1e-100, 1e-300):
        assert golden_real_share(ratio) == pytest.approx(math.sqrt(ratio), rel=1e-5)
    for ratio in (1e9, 1e160, 1e300):
        assert golden_real_share(ratio) == pytest.approx(1 - 1 / ratio, abs=1e-15)


@given(low=st.floats(1e-3, 1e3), more=st.floats(1.01, 10))
def test_more_real_rows_weigh_more_together(low: float, more: float) -> None:
    assert golden_real_share(low) < golden_real_share(low * more)


@given(real=st.floats(1, 1e6), made=st.floats(1, 1e6))
def test_the_mean_weight_is_one_and_real_rows_weigh_more(real: float, made: float) -> None:
    heavy, light = part_weights(real, made, golden=True)
    assert heavy * real + light * made == pytest.approx(real + made, rel=1e-9)
    assert heavy * real / (real + made) == pytest.approx(golden_real_share(real / made), rel=1e-9)
    assert light < 1 < heavy


@pytest.mark.parametrize(("real", "made"), [(0.0, 5.0), (5.0, 0.0), (0.0, 0.0)])
def test_one_part_alone_weighs_one(real: float, made: float) -> None:
    assert part_weights(real, made, golden=True) == (1.0, 1.0)


def test_the_policy_asks_for_weights() -> None:
    real = [Row(number, 1, "web", None, "x", 0) for number in range(100)]
    made = [Row(id=1000 + number) for number in range(100)]
    plans = {
        word: plan_mix(pool_of(real), pool_of(made), Policy.coerce({"version": 1, "mix": {"weights": word}}))
        for word in ("uniform", "golden")
    }
    assert (plans["uniform"].real_weight, plans["uniform"].synthetic_weight) == (1.0, 1.0)
    assert plans["golden"].real_weight == pytest.approx(2 * 0.6180339887, abs=1e-9)
    assert plans["golden"].synthetic_weight == pytest.approx(2 * 0.3819660113, abs=1e-9)
    assert plans["uniform"].chosen.tolist() == plans["golden"].chosen.tolist()
