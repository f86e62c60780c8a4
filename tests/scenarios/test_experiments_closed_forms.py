"""The closed forms of refitting to one's own output, against the simulators: Gaussian, regression, kernels."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.special import digamma

from collapse_guard.scenarios.experiments import embeddings, gaussian, regression
from collapse_guard.scenarios.experiments.chains import Floats, Setting

pytestmark = pytest.mark.science

N = gaussian.N_ROWS


def setting(policy: str, *, generations: int, runs: int, real_share: float = 0.5) -> Setting:
    return Setting(policy, generations, runs, 20240, real_share)


def moments(made: Setting, *, n_rows: int = N) -> tuple[Floats, Floats]:
    """Return means and variances of the fitted models, shape (generations, runs) each."""
    models = [model for model, _ in gaussian.refits(made, made.rng(0), n_rows=n_rows)]
    return np.array([model.mean for model in models]), np.array([model.variance for model in models])


def told(name: str, measured: float, theory: float) -> None:
    print(f"\n{name:60} measured {measured:8.4f}  theory {theory:8.4f}", end="")  # noqa: T201 - shown with -s


def test_a_gaussian_that_replaces_loses_variance_as_one_minus_one_over_n_to_the_t() -> None:
    means, variances = moments(setting("replace", generations=100, runs=3_000))
    for t in (1, 10, 50):
        kept = (1 - 1 / N) ** t
        told(f"replace, mean variance, t={t}", variances[t - 1].mean(), kept)
        error = variances[t - 1].std() / math.sqrt(3_000)
        assert abs(variances[t - 1].mean() - kept) < 5 * error
        told(f"replace, squared error of the mean, t={t}", (means[t - 1] ** 2).mean(), 1 - kept)
        assert (means[t - 1] ** 2).mean() == pytest.approx(1 - kept, rel=0.12)


def test_the_log_variance_of_a_replacing_gaussian_drifts_by_two_over_n() -> None:
    _, variances = moments(setting("replace", generations=100, runs=3_000))
    drift = digamma((N - 1) / 2) + math.log(2 / N)  # mean log of chi2 with n - 1 degrees over n; about -2 / n
    assert drift == pytest.approx(-2 / N, rel=0.03)
    for t in (10, 50, 100):
        logs = np.log(variances[t - 1])
        told(f"replace, mean log variance, t={t}", logs.mean(), t * drift)
        assert abs(logs.mean() - t * drift) < 5 * logs.std() / math.sqrt(3_000)
    assert np.median(variances[49]) == pytest.approx(math.exp(-1), rel=0.06)
    assert np.median(variances[99]) == pytest.approx(0.13, rel=0.08)


@pytest.mark.parametrize("n_rows", [100, 25])
def test_a_gaussian_that_accumulates_keeps_sine_z_over_z_of_its_variance(n_rows: int) -> None:
    _, variances = moments(setting("accumulate", generations=40, runs=4_000), n_rows=n_rows)
    z = math.pi / math.sqrt(n_rows)
    left = math.prod(1 - 1 / (n_rows * t * t) for t in range(1, 41))
    assert left == pytest.approx(math.sin(z) / z, abs=0.002)
    told(f"accumulate, mean variance, n={n_rows}", variances[-1].mean(), left)
    assert abs(variances[-1].mean() - left) < 5 * variances[-1].std() / math.sqrt(4_000)


def test_a_gaussian_that_subsamples_what_it_accumulated_settles() -> None:
    means, variances = moments(setting("accumulate-subsample", generations=80, runs=300))
    told("accumulate-subsample, mean variance", variances[20:].mean(), 0.96)
    told("accumulate-subsample, squared error of the mean", (means[20:] ** 2).mean(), 0.029)
    assert variances[20:].mean() == pytest.approx(0.96, abs=0.03)
    assert (means[20:] ** 2).mean() == pytest.approx(0.029, rel=0.25)
    assert (means[20:50] ** 2).mean() == pytest.approx((means[50:] ** 2).mean(), rel=0.25)


@pytest.mark.parametrize(("share", "is_textbook"), [(0.5, True), (0.1, True), (0.01, False)])
def test_a_fresh_share_settles_at_one_over_f_times_two_minus_f_while_the_variance_lasts(
    share: float, *, is_textbook: bool
) -> None:
    """1 / (f (2 - f)) takes the variance as given. A refitted one falls as the mean wanders: E[s2] = 1 - E[mean^2],
    which puts (1 - f) / n more into the denominator: 33.6 and not 50.3 at f = 0.01 and n = 100."""
    means, variances = moments(setting("fresh-share", generations=400, runs=1_000, real_share=share))
    error = N * (means[300:] ** 2).mean()
    textbook = 1 / (share * (2 - share))
    exact = 1 / (share * (2 - share) + (1 - share) / N)
    told(f"fresh share {share}: error (textbook {textbook:.2f})", error, exact)
    assert error == pytest.approx(exact, rel=0.10)
    assert variances[300:].mean() == pytest.approx(1 - exact / N, rel=0.04)
    assert (abs(error / textbook - 1) < 0.10) == is_textbook


@pytest.mark.parametrize(("ratio", "weight", "uniform"), [(1.0, 0.618, 0.667), (0.25, 0.390, 0.556)])
def test_golden_weights_leave_the_error_of_the_real_part_times_the_weight(
    ratio: float, weight: float, uniform: float
) -> None:
    share = ratio / (1 + ratio)
    assert gaussian.golden_weight(ratio) == pytest.approx(weight, abs=5e-4)
    for policy, theory in (("golden", weight), ("fresh-share", uniform)):
        means, _ = moments(setting(policy, generations=90, runs=3_000, real_share=share))
        in_real_parts = share * N * (means[30:] ** 2).mean()  # 1 is the error of the real part alone
        told(f"{policy}, {ratio} real rows per synthetic one", in_real_parts, theory)
        assert in_real_parts == pytest.approx(theory, rel=0.04)


def test_golden_weights_are_the_best_of_all() -> None:
    def lasting(weight: float, ratio: float) -> float:
        return (weight**2 + ratio * (1 - weight) ** 2) / (1 - (1 - weight) ** 2)

    for ratio in (0.1, 0.25, 1.0, 4.0):
        best = gaussian.golden_weight(ratio)
        assert lasting(best, ratio) == pytest.approx(best)
        assert all(lasting(best + step, ratio) > best for step in (-0.02, 0.02))


@pytest.mark.parametrize(("share", "theory"), [(0.5, 0.67), (0.1, 4.74)])
def test_a_fixed_anchor_holds_the_drift_to_one_minus_f_over_f_times_two_minus_f(share: float, theory: float) -> None:
    made = setting("anchor", generations=120, runs=3_000, real_share=share)
    assert (1 - share) / (share * (2 - share)) == pytest.approx(theory, abs=0.01)
    means, variances = moments(made)
    anchor = made.rng(0).normal(size=(made.runs, N))[:, : round(share * N)].mean(axis=1)
    drift = ((means[60:] - anchor) ** 2).mean() / (variances[60:].mean() / N)
    told(f"anchor {share}: drift around the anchor, in single fits", drift, theory)
    assert drift == pytest.approx(theory, rel=0.08)


def errors_of(policy: str, *, runs: int = 400, generations: int = 50) -> Floats:
    made = setting(policy, generations=generations, runs=runs)
    return np.array([error.mean() for error in regression.refits(made, made.rng(0))])


def test_regression_that_replaces_grows_by_a_single_fit_each_generation() -> None:
    found = errors_of("replace")
    told("regression, replace, t=50", found[49], 50)
    assert found[[0, 4, 19, 49]] == pytest.approx([1, 5, 20, 50], rel=0.05)


def test_regression_that_accumulates_stays_under_pi_squared_over_six() -> None:
    found = errors_of("accumulate")
    for t in (1, 5, 50):
        theory = sum(1 / i**2 for i in range(1, t + 1))
        told(f"regression, accumulate, t={t}", found[t - 1], theory)
        assert found[t - 1] == pytest.approx(theory, rel=0.05)


def test_regression_that_subsamples_settles_at_three_single_fits() -> None:
    found = errors_of("accumulate-subsample", runs=400)
    told("regression, accumulate-subsample, t=20..50", found[19:].mean(), 3.0)
    assert found[[4, 9]] == pytest.approx([2.51, 2.82], rel=0.08)
    assert found[19:].mean() == pytest.approx(3.0, rel=0.08)


def test_regression_with_half_fresh_rows_settles_at_four_thirds_and_lower_with_golden_weights() -> None:
    fresh_share, golden, null = (errors_of(policy)[20:].mean() for policy in ("fresh-share", "golden", "fresh"))
    told("regression, half fresh", fresh_share, 4 / 3)
    told("regression, golden over pooled", golden / fresh_share, 0.618 / 0.667)
    assert fresh_share == pytest.approx(4 / 3, rel=0.05)
    assert golden / fresh_share == pytest.approx(0.618 / 0.667, rel=0.02)
    assert null == pytest.approx(1, rel=0.02)


@pytest.mark.parametrize("accumulates", [False, True])
def test_a_kernel_loop_widens_linearly_or_as_a_logarithm(*, accumulates: bool) -> None:
    """E[S] <- (1 - 1/n) (S + h^2) when it replaces; S <- S + h^2 / k - (S + h^2) / (n k^2) for the k-th set."""
    n_rows, width, n_chains, rng = 200, 0.3, 600, np.random.default_rng(5)
    found = np.zeros(31)
    for _ in range(n_chains):
        rows = rng.normal(size=(n_rows, 1))
        for t in range(1, 31):
            made = embeddings.kernel_rows(rows, n_rows, rng, bandwidth=width)
            rows = np.concatenate([rows, made]) if accumulates else made
            found[t] += rows.var() / n_chains
    theory, spread = [1 - 1 / n_rows], width**2
    for k in range(2, 32):
        before = theory[-1]
        shrunk = before + spread / k - (before + spread) / (n_rows * k * k)
        theory.append(shrunk if accumulates else (1 - 1 / n_rows) * (before + spread))
    for t in (1, 10, 30):
        told(f"kernel loop, accumulates {accumulates}, t={t}", found[t], theory[t])
    assert found[[1, 10, 30]] == pytest.approx([theory[t] for t in (1, 10, 30)], rel=0.03)
    if accumulates:
        harmonic = sum(1 / k for k in range(2, 32))
        assert found[30] == pytest.approx(1 + spread * harmonic, rel=0.03)
    else:
        assert found[30] == pytest.approx(3.29, rel=0.04)


def test_every_chain_is_decided_by_its_seed() -> None:
    made = setting("accumulate-subsample", generations=4, runs=2)
    first, second = (gaussian.run(made)[0] for _ in range(2))
    assert first.figures["variance"].tolist() == second.figures["variance"].tolist()
    other = gaussian.run(Setting("accumulate-subsample", 4, 2, 7, 0.5))[0]
    assert first.figures["variance"].tolist() != other.figures["variance"].tolist()
