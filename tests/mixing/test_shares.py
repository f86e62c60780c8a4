"""Shares of an output: against a slow loop, and how often a fair one is reported."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collapse_guard.errors import InputError
from collapse_guard.mixing import Breach, WindowShares, broken, broken_shares, measured_shares, window_shares
from collapse_guard.mixing.shares import bounds_of
from collapse_guard.policy import Policy

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


def slow_shares(groups: list[int], amounts: list[float], n_groups: int) -> list[float]:
    whole = sum(amounts)
    return [
        sum(amount for group, amount in zip(groups, amounts, strict=True) if group == each) / whole if whole else 0.0
        for each in range(n_groups)
    ]


@settings(max_examples=200, deadline=None)
@given(
    rows=st.lists(st.tuples(st.integers(-1, 2), st.integers(0, 9)), min_size=1, max_size=60),
    window_rows=st.integers(1, 70),
)
def test_shares_are_those_of_a_slow_loop(rows: list[tuple[int, int]], window_rows: int) -> None:
    groups, amounts = [row[0] for row in rows], [float(row[1]) for row in rows]
    found = window_shares(np.array(groups), ["a", "b", "c"], np.array(amounts), window_rows=window_rows)
    assert found.whole.tolist() == pytest.approx(slow_shares(groups, amounts, 3))
    starts = range(0, len(rows), window_rows)
    assert len(found.windows) == len(starts)
    for number, start in enumerate(starts):
        part = slice(start, start + window_rows)
        assert found.windows[number].tolist() == pytest.approx(slow_shares(groups[part], amounts[part], 3))
        mean = sum(amounts[part]) / len(amounts[part])
        assert found.evenness[number] == pytest.approx(mean / max(amounts) if max(amounts) else 0.0)
    said = found.as_dict()["b"]
    assert said["least"] <= said["largest"]
    assert said["share"] == found.whole[1]


@pytest.mark.parametrize(
    ("groups", "window_rows", "message"),
    [
        ([], 1, "got none"),
        ([0], 0, "window_rows must be a whole number of 1 or more, got 0"),
        ([2], 1, "groups are 2 to 2"),
        ([-2], 1, "groups are -2 to -2"),
    ],
)
def test_what_has_no_shares_is_an_input_error(groups: list[int], window_rows: int, message: str) -> None:
    with pytest.raises(InputError, match=message):
        window_shares(np.array(groups, dtype=np.int64), ["a", "b"], np.ones(len(groups)), window_rows=window_rows)


def shares_of(
    groups: NDArray[np.int64], amount: NDArray[np.float64] | None = None, *, window_rows: int = 100
) -> WindowShares:
    amount = np.ones(groups.size) if amount is None else amount
    return window_shares(groups, ["real", "synthetic"], amount, window_rows=window_rows)


def test_the_whole_is_held_against_the_bound_exactly() -> None:
    groups = np.repeat([0, 1], [499, 501])
    (breach,) = broken_shares(shares_of(groups), [("real", "floor", 0.5)], alpha=1e-3)
    assert breach == Breach("real", "floor", 0.5, 0.499, None)
    assert breach.describe() == "real: share 0.4990 of the output, the floor is 0.5"
    (breach,) = broken_shares(shares_of(groups), [("synthetic", "cap", 0.5)], alpha=1e-3)
    assert (breach.bound, breach.window) == ("cap", None)
    order = np.random.default_rng(0).permutation(1000)
    fair = np.repeat([0, 1], [500, 500])[order]
    assert broken_shares(shares_of(fair), [("real", "floor", 0.5), ("synthetic", "cap", 0.5)], alpha=1e-3) == []


def test_a_group_that_is_not_there_breaks_a_floor_and_keeps_a_cap() -> None:
    groups = np.zeros(10, dtype=np.int64)
    assert broken_shares(shares_of(groups), [("books", "cap", 0.0)], alpha=0.1) == []
    (breach,) = broken_shares(shares_of(groups), [("books", "floor", 0.1)], alpha=0.1)
    assert (breach.name, breach.share, breach.window) == ("books", 0.0, None)


def test_rows_in_blocks_are_found_in_their_windows_though_the_whole_is_fair() -> None:
    found = broken_shares(shares_of(np.repeat([0, 1], [500, 500])), [("real", "floor", 0.5)], alpha=1e-3)
    assert [breach.window for breach in found] == [5, 6, 7, 8, 9]
    assert found[0].describe() == "real: share 0.0000 of window 5, the floor is 0.5"


def uneven() -> NDArray[np.float64]:
    """Return the sizes of 1000 real rows, a tenth of which are long, and of 1000 synthetic ones: as much in all."""
    return np.repeat([30.0, 1.0, 3.9], [100, 900, 1000])


def false_alarms(amounts: str, alpha: float, n_runs: int) -> int:
    """Return how many of ``n_runs`` shuffled outputs that just keep their floor are reported."""
    draw, n_alarms = np.random.default_rng(7), 0
    for _ in range(n_runs):
        groups = np.repeat([0, 1], [1000, 1000])
        amount = np.ones(2000) if amounts == "even" else uneven()
        order = draw.permutation(2000)
        found = broken_shares(
            shares_of(groups[order], amount[order]), [("real", "floor", 0.5), ("synthetic", "cap", 0.5)], alpha=alpha
        )
        assert all(breach.window is not None for breach in found)
        n_alarms += bool(found)
    return n_alarms


@pytest.mark.parametrize("amounts", ["even", "uneven"])
def test_a_fair_output_is_reported_no_more_often_than_alpha(amounts: str) -> None:
    n_alarms = false_alarms(amounts, 0.2, 400)
    assert n_alarms <= 0.2 * 400 + 3 * (400 * 0.2 * 0.8) ** 0.5


def test_rows_of_different_sizes_would_be_reported_too_often_if_they_were_counted_as_rows() -> None:
    draw = np.random.default_rng(7)
    groups = np.repeat([0, 1], [1000, 1000])
    amount, n_alarms = uneven(), 0
    for _ in range(100):
        order = draw.permutation(2000)
        found = shares_of(groups[order], amount[order])
        as_rows = replace(found, evenness=np.ones(len(found.windows)))
        n_alarms += bool(broken_shares(as_rows, [("real", "floor", 0.5)], alpha=0.01))
    assert n_alarms > 20


def test_a_window_that_lost_a_fifth_of_its_real_rows_is_found() -> None:
    draw, n_found = np.random.default_rng(3), 0
    for _ in range(50):
        parts = [draw.permutation(np.repeat([0, 1], [n, 1000 - n])) for n in (600, 600, 400, 600)]
        found = broken_shares(shares_of(np.concatenate(parts), window_rows=1000), [("real", "floor", 0.5)], alpha=1e-3)
        n_found += [breach.window for breach in found] == [2]
    assert n_found == 50


# ------------------------------------------------------------------ tagged rows


def tagged(
    origins: Sequence[int], sources: Sequence[str], generations: Sequence[int | None], **columns: Any
) -> pa.Table:
    return pa.table(
        {
            "cg_origin": pa.array(origins, pa.uint8()),
            "cg_source": sources,
            "cg_generator": pa.array([None if origin == 1 else "m@1" for origin in origins], pa.string()),
            "cg_generation": pa.array(generations, pa.uint8()),
        }
        | columns
    )


def test_shares_of_tagged_rows_by_kind_of_group() -> None:
    rows = tagged([1, 1, 2, 0], ["web", "web", "bot", "web"], [0, 0, 1, None], label=["x", None, "y", "y"])
    found = measured_shares(rows, class_column="label", window_rows=10)
    assert {kind: dict(zip(each.names, each.whole.tolist(), strict=True)) for kind, each in found.items()} == {
        "origin": {"real": 0.5, "synthetic": 0.25, "unknown": 0.25},
        "source": {"bot": 0.25, "web": 0.75},
        "generator": {"m@1": 0.5},
        "generation": {"0": 0.5, "1": 0.25, "255": 0.25},
        "class": {"x": 0.25, "y": 0.5},
    }
    assert measured_shares(rows.slice(0, 0), class_column=None, window_rows=10) == {}
    heavy = measured_shares(
        rows.append_column("cg_amount", pa.array([7.0, 1.0, 1.0, 1.0])), class_column=None, window_rows=10
    )
    assert heavy["origin"].whole.tolist() == [0.8, 0.1, 0.1]
    assert "class" not in heavy


def test_the_bounds_of_a_policy_by_kind() -> None:
    policy = Policy.coerce(
        {
            "version": 1,
            "mix": {
                "real_min_share": 0.6,
                "per_generator_max_share": 0.2,
                "per_generation_max_share": [0.3, 0.1],
            },
            "sources": {"web": {"min_share": 0.3}, "bot": {"max_share": 0.2}, "other": {}},
        }
    )
    assert bounds_of("origin", ["real"], policy) == [("real", "floor", 0.6)]
    assert bounds_of("source", ["web"], policy) == [("bot", "cap", 0.2), ("web", "floor", 0.3)]
    assert bounds_of("generator", ["g", "h"], policy) == [("g", "cap", 0.2), ("h", "cap", 0.2)]
    assert bounds_of("generation", ["0", "1", "2", "255"], policy) == [
        ("1", "cap", 0.3),
        ("2", "cap", 0.1),
        ("255", "cap", 0.1),
    ]
    assert bounds_of("class", ["x"], policy) == []
    bare = Policy.coerce({"version": 1, "mix": {"real_min_share": 0.0}})
    assert [bounds_of(kind, ["a"], bare) for kind in ("origin", "source", "generator")] == [[], [], []]
    assert bounds_of("generation", ["1"], bare) == []


def test_what_tagged_rows_break_is_told_by_kind() -> None:
    rows = tagged([1] * 4 + [2] * 6, ["web"] * 4 + ["bot"] * 6, [0] * 4 + [1] * 6)
    shares = measured_shares(rows, class_column=None, window_rows=100)
    policy = Policy.coerce({"version": 1, "sources": {"bot": {"max_share": 0.5}}})
    assert [breach.describe() for breach in broken(shares, policy)] == [
        "real: share 0.4000 of the output, the floor is 0.5",
        "bot: share 0.6000 of the output, the cap is 0.5",
    ]
