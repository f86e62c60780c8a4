"""Caps that hold on every prefix of a mix whose end is not known."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collapse_guard.errors import InputError
from collapse_guard.mixing.prefix import (
    PrefixCaps,
    RowTags,
    count,
    draws,
    empty_tally,
    is_due,
    picked,
    unkept_on_prefixes,
)
from collapse_guard.policy import policy_from_mapping

WEB = RowTags(is_real=True, source="web", generator=None, generation=0)
BOT = RowTags(is_real=False, source="bot", generator="bot@1", generation=1)
IMP = RowTags(is_real=False, source="imp", generator="imp@2", generation=2)


def caps_of(**sections: Any) -> PrefixCaps:
    return PrefixCaps.of_policy(policy_from_mapping({"version": 1, **sections}))


@settings(max_examples=200, deadline=None)
@given(
    floor=st.floats(0.0, 1.0),
    ratio=st.none() | st.floats(0.0, 3.0),
    source=st.none() | st.floats(0.0, 1.0),
    generator=st.none() | st.floats(0.0, 1.0),
    generations=st.none() | st.tuples(st.floats(0.0, 1.0), st.floats(0.0, 1.0)),
    offered=st.lists(st.sampled_from([WEB, BOT, IMP]), max_size=60),
)
def test_whatever_is_offered_no_prefix_breaks_a_cap(
    floor: float,
    ratio: float | None,
    source: float | None,
    generator: float | None,
    generations: tuple[float, float] | None,
    offered: list[RowTags],
) -> None:
    mix = {
        "real_min_share": floor,
        "synthetic_to_real_max": ratio,
        "per_generator_max_share": generator,
        "per_generation_max_share": generations,
    }
    caps = caps_of(mix=mix, sources={} if source is None else {"bot": {"max_share": source}})
    tally, given_rows = empty_tally(), []
    for row in offered:
        if not row.is_real and not caps.admit(row, tally):
            continue
        count(tally, row)
        given_rows.append(row)
        n_rows = len(given_rows)
        n_of = {name: sum(one.source == name for one in given_rows) for name in ("web", "bot", "imp")}
        n_made = n_of["bot"] + n_of["imp"]
        assert (tally["real"], tally["synthetic"]) == (n_of["web"], n_made)
        if row.is_real:
            continue  # real rows are never held back
        assert n_of["web"] / n_rows >= floor - 1e-8
        assert ratio is None or n_made <= ratio * n_of["web"] + 1e-8
        share = {name: n_of[name] / n_rows for name in n_of}
        own = share[row.source]
        assert source is None or row is not BOT or own <= source + 1e-8
        assert generator is None or own <= generator + 1e-8
        assert generations is None or own <= generations[row.generation - 1] + 1e-8


def test_a_tally_counts_by_name_and_is_plain_values() -> None:
    tally = empty_tally()
    for row in (WEB, BOT, BOT, IMP):
        count(tally, row)
    assert tally["sources"] == {"web": 1, "bot": 2, "imp": 1}
    assert tally["generators"] == {"bot@1": 2, "imp@2": 1}
    assert tally["generations"] == {"0": 1, "1": 2, "2": 1}
    assert json.loads(json.dumps(tally)) == tally


def test_the_ratio_is_the_smaller_of_floor_and_ratio() -> None:
    assert caps_of(mix={"real_min_share": 0.75}).ratio == pytest.approx(1 / 3, abs=1e-12)
    assert caps_of(mix={"real_min_share": 0.5, "synthetic_to_real_max": 0.2}).ratio == 0.2
    assert caps_of(mix={"real_min_share": 0.0}).ratio == np.inf
    assert caps_of(mix={"real_min_share": 1.0}).ratio == 0.0


def test_depth_is_that_of_the_policy_or_of_the_source() -> None:
    caps = caps_of(provenance={"max_generation_depth": 2}, sources={"imp": {"max_depth": 1}, "bot": {"max_depth": 9}})
    deep = RowTags(is_real=False, source="bot", generator=None, generation=3)
    assert [caps.is_too_deep(row) for row in (WEB, BOT, IMP, deep)] == [False, False, True, True]
    assert caps.is_too_deep(RowTags(is_real=False, source="bot", generator=None, generation=255))


UNKEPT: dict[str, dict[str, Any]] = {
    "unit: tokens": {"unit": "tokens"},
    "filters.quality": {"filters": {"quality": {"score": "q", "keep_share": 0.5}}, "coverage": {}},
    "mix.balance": {"mix": {"balance": "anchor"}, "coverage": {}},
    "mix.budget": {"mix": {"budget": {"amount": 10}}, "coverage": {}},
    "mix.per_class_max_synthetic_share": {"mix": {"per_class_max_synthetic_share": 0.5}, "coverage": {}},
    "mix.weights": {"mix": {"weights": "golden"}},
    "mix.when_short": {"mix": {"when_short": "stop"}},
    "sources.bot.share": {"sources": {"bot": {"share": 0.1}}},
}


@pytest.mark.parametrize("key", UNKEPT)
def test_what_needs_all_rows_first_is_named(key: str) -> None:
    policy = policy_from_mapping({"version": 1, **UNKEPT[key]})
    assert unkept_on_prefixes(policy) == (key,)
    with pytest.raises(InputError, match=f"cannot keep {key}; leave them out of its policy, or plan over datasets"):
        PrefixCaps.of_policy(policy)


def test_pace_lets_both_parts_end_together() -> None:
    half = caps_of(mix={"real_min_share": 0.5})
    assert half.pace(100, 25) == 0.25
    assert half.pace(100, 1000) == 1.0
    assert half.pace(None, 25) == half.pace(100, None) == half.pace(0, 5) == 1.0
    assert half.pace(100, 0) == 0.0
    assert PrefixCaps().pace(100, 300) == 3.0


@pytest.mark.parametrize("pace", [0.01, 0.2, 1.0, 3.0])
def test_a_part_keeps_its_pace_and_is_never_far_behind(pace: float) -> None:
    tally, synthetic = empty_tally(), []
    for step in range(6000):
        row = BOT if is_due(tally, pace, draws(3, step)[0]) else WEB
        count(tally, row)
        synthetic.append(not row.is_real)
        lag = pace * tally["real"] - tally["synthetic"]
        assert -1e-6 <= lag <= 1 + 8 * min(pace, 1.0) + max(pace, 1.0)
    assert np.mean(synthetic) == pytest.approx(pace / (1 + pace), abs=0.005)
    gaps = np.diff(np.flatnonzero(synthetic))
    assert len(set(gaps.tolist())) > 2  # not a fixed beat that a rank could fall in with


def test_draws_are_uniform_and_independent_of_each_other() -> None:
    found = np.array([draws(5, step) for step in range(4000)])
    for place in (0, 1):
        counts = np.histogram(found[:, place], bins=10, range=(0, 1))[0]
        assert ((counts - 400) ** 2 / 400).sum() < 30  # chi-squared, 9 degrees of freedom: p = 4e-4
    assert abs(np.corrcoef(found.T)[0, 1]) < 0.06
    assert abs(np.corrcoef(found[:-1, 0], found[1:, 0])[0, 1]) < 0.06


def test_a_stream_is_picked_as_often_as_its_weight_says() -> None:
    counts = np.bincount([picked([1.0, 2.0, 5.0], draws(0, step)[1]) for step in range(4000)], minlength=3)
    assert counts / 4000 == pytest.approx([0.125, 0.25, 0.625], abs=0.03)
    assert picked([1.0, 1.0], 0.9999999999999999) == 1
