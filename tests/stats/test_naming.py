"""Names of classes with an error level: against the definitions, and by simulation under strong dependence."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import beta, binom

from collapse_guard.errors import StatisticError
from collapse_guard.stats import ClassEvidence, e_bh, e_bonferroni

LOG_E = st.lists(st.one_of(st.floats(-20, 20), st.just(-math.inf), st.sampled_from([0.0, 5.0])), max_size=12)
ALPHA = st.sampled_from([0.5, 0.1, 0.01, 1e-6])


def named_by_definition(log_e: list[float], alpha: float) -> set[int]:
    """e-BH as Wang and Ramdas define it: the largest j such that j classes reach K / (alpha j)."""
    n_classes = len(log_e)
    for n_named in range(n_classes, 0, -1):
        limit = math.log(n_classes) - math.log(alpha) - math.log(n_named)
        strong = {cell for cell, value in enumerate(log_e) if value >= limit - 1e-12}
        if len(strong) >= n_named:
            return strong
    return set()


@settings(max_examples=150, derandomize=True, deadline=None)
@given(log_e=LOG_E, alpha=ALPHA)
def test_e_bh_names_what_its_definition_names_strongest_first(log_e: list[float], alpha: float) -> None:
    found = e_bh(log_e, alpha=alpha).tolist()
    assert set(found) == named_by_definition(log_e, alpha)
    assert [log_e[cell] for cell in found] == sorted((log_e[cell] for cell in found), reverse=True)
    assert len(found) == len(set(found))


@settings(max_examples=150, derandomize=True, deadline=None)
@given(log_e=LOG_E, alpha=ALPHA)
def test_e_bonferroni_names_classes_beyond_k_over_alpha_and_e_bh_names_them_too(
    log_e: list[float], alpha: float
) -> None:
    sure = e_bonferroni(log_e, alpha=alpha).tolist()
    limit = math.log(max(len(log_e), 1)) - math.log(alpha)
    assert set(sure) == {cell for cell, value in enumerate(log_e) if value >= limit}
    assert sure == e_bh(log_e, alpha=alpha).tolist()[: len(sure)], "the sure names come first"


@settings(max_examples=100, derandomize=True, deadline=None)
@given(log_e=LOG_E.filter(bool), alpha=ALPHA, cell=st.integers(0, 11), more=st.floats(0, 30))
def test_more_evidence_of_a_named_class_drops_no_name(log_e: list[float], alpha: float, cell: int, more: float) -> None:
    raised = [value + more * (number == cell % len(log_e)) for number, value in enumerate(log_e)]
    assert set(e_bh(log_e, alpha=alpha).tolist()) <= set(e_bh(raised, alpha=alpha).tolist())


def test_all_equal_classes_are_named_together_at_one_over_alpha() -> None:
    at = [math.log(100) + 1e-9] * 7
    assert e_bh(at, alpha=0.01).tolist() == list(range(7))
    assert e_bonferroni(at, alpha=0.01).tolist() == []
    assert e_bh([math.log(100) - 1e-9] * 7, alpha=0.01).tolist() == []


def test_one_class_needs_one_over_alpha() -> None:
    for name in (e_bh, e_bonferroni):
        assert name([math.log(101)], alpha=0.01).tolist() == [0]
        assert name([math.log(99)], alpha=0.01).tolist() == []


def test_classes_that_are_not_guarded_count_as_tests_and_are_never_named() -> None:
    log_e = [6.0, -math.inf, -math.inf]
    assert e_bh(log_e, alpha=0.01).tolist() == [0]
    assert e_bh([*log_e, *[-math.inf] * 2], alpha=0.01).tolist() == []
    assert e_bh([-math.inf] * 4, alpha=0.5).tolist() == []
    assert e_bonferroni([math.inf, -math.inf], alpha=0.01).tolist() == [0]


@pytest.mark.parametrize("name", [e_bh, e_bonferroni])
def test_of_no_classes_none_is_named(name: Any) -> None:
    found = name([], alpha=0.01)
    assert (found.tolist(), found.dtype) == ([], np.int64)


@pytest.mark.science
@pytest.mark.parametrize("alpha", [0.05, 0.2])
def test_few_names_are_wrong_even_where_all_healthy_classes_move_together(alpha: float) -> None:
    """The worst e-value that there is, one for all healthy classes: 1/u with probability u, else nothing.

    It makes all of them wrong at once, for a level u that differs from run to run.
    """
    rng, n_runs, n_healthy, n_dying = np.random.default_rng(5), 4_000, 40, 10
    wrong = []
    for _ in range(n_runs):
        level = alpha * rng.choice([0.25, 0.5, 1.0])
        shared = -math.log(level) if rng.random() < level else -math.inf
        found = e_bh([*[shared] * n_healthy, *rng.normal(math.log(50 / alpha), 2, n_dying)], alpha=alpha)
        wrong.append((found < n_healthy).sum() / max(found.size, 1))
    rate, error = float(np.mean(wrong)), float(np.std(wrong) / math.sqrt(n_runs))
    print(f"\nlevel {alpha}: {rate:.4f} +- {error:.4f} of e-BH's names are wrong", end="")  # noqa: T201 - shown with -s
    assert 0 < rate < alpha + 5 * error


@pytest.mark.science
@pytest.mark.parametrize("alpha", [0.05, 0.2])
def test_hardly_a_run_of_e_bonferroni_has_any_wrong_name(alpha: float) -> None:
    """The worst e-values for it: never two classes at once, each at K / a just as often as it may be."""
    rng, n_runs, n_classes = np.random.default_rng(7), 4_000, 40
    chosen, is_high = rng.integers(0, n_classes, n_runs), rng.random(n_runs) < alpha
    limit = math.log(n_classes / alpha) + 1e-9
    n_wrong = 0
    for cell, high in zip(chosen.tolist(), is_high.tolist(), strict=True):
        log_e = np.full(n_classes, -math.inf)
        log_e[cell] = limit if high else -math.inf
        n_wrong += bool(e_bonferroni(log_e, alpha=alpha).size)
    print(f"\nlevel {alpha}: {n_wrong / n_runs:.4f} of runs have a wrong name", end="")  # noqa: T201 - shown with -s
    assert 0.8 * alpha * n_runs < n_wrong <= binom.isf(1e-6, n_runs, alpha)


@pytest.mark.science
def test_of_healthy_classes_of_one_look_hardly_any_is_ever_named() -> None:
    """Counts of one look add up to its rows, and the classes stand at the bound of their null for twenty looks."""
    rng, n_runs, n_named, alpha = np.random.default_rng(6), 150, 0, 0.1
    counts = np.array([5_000, 2_000, 1_000, 800, 600, 300, 200, 100])
    lower = counts * np.array([1.0, 1, 1, 0.5, 0.5, 0.5, 0.5, 0.5])
    shares = np.append(lower, counts.sum() - lower.sum()) / counts.sum()
    for _ in range(n_runs):
        evidence = ClassEvidence.start(counts, max_class_drop=0.5, planned_looks=20)
        for _ in range(20):
            drawn = rng.multinomial(2_000, shares)
            evidence = evidence.update(drawn[:-1], n_unclaimed_rows=int(drawn[-1]))
        n_named += bool(e_bh(evidence.compute().log_e_alone, alpha=alpha).size)
    highest = float(beta.ppf(0.95, n_named + 1, n_runs - n_named))
    text = f"{n_named} of {n_runs} healthy chains name a class, 95 % upper bound {highest:.2%}"
    print(f"\n{text}", end="")  # noqa: T201 - shown with -s
    assert highest < alpha


@pytest.mark.parametrize("name", [e_bh, e_bonferroni])
@pytest.mark.parametrize(
    ("log_e", "alpha", "message"),
    [
        ([1.0], 0.0, r"alpha must lie in \(0, 1\), got 0.0"),
        ([1.0], 1, r"alpha must lie in \(0, 1\), got 1"),
        ([], math.nan, r"alpha must lie in \(0, 1\), got nan"),
        ([1.0, math.nan], 0.1, r"log_e\[1\] is nan; a class without evidence has -inf"),
        ([[1.0]], 0.1, r"log_e must be a 1-D array of numbers, one per class, got shape \(1, 1\)"),
        (3.0, 0.1, r"log_e must be a 1-D array of numbers, one per class, got shape \(\)"),
        (["a"], 0.1, "log_e must be a 1-D array of numbers, one per class"),
        ([[1.0], [1.0, 2.0]], 0.1, "log_e must be a 1-D array of numbers, one per class"),
    ],
)
def test_what_cannot_be_named_is_refused_by_the_argument(name: Any, log_e: Any, alpha: Any, message: str) -> None:
    with pytest.raises(StatisticError, match=message):
        name(log_e, alpha=alpha)
