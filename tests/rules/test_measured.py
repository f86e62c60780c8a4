"""Rules that hold the figures of outside measurements against the policy."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from collapse_guard.manifest.measurement import Measurement, load_measurement
from collapse_guard.policy import policy_from_mapping
from collapse_guard.records import Finding, Severity, Status
from collapse_guard.rules import RULES, Subject
from collapse_guard.rules.measured.diversity import FALLING
from collapse_guard.stats.advisory import ADVISORIES
from collapse_guard.stats.estimates import corrected_share, rows_for_half_width

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from collapse_guard.manifest import Manifest

    Make = Callable[..., Manifest]

#: Key of each rule, a limit, and the figure that answers it.
ASKED: dict[str, tuple[str, float, str]] = {
    "CG006": ("max_underived_id_share", 0.05, "underived_id_share"),
    "CG307": ("max_flagged_real_share", 0.05, "flagged_real_share"),
    "CG502": ("max_diversity_drop", 0.1, "hill_1"),
    "CG504": ("max_near_duplicate_share", 0.1, "near_duplicate_share"),
    "CG505": ("min_variance_ratio", 0.5, "within_class_variance_ratio"),
    "CG601": ("max_synthetic_rise_per_year", 0.05, "synthetic_share"),
    "CG602": ("max_half_width", 0.01, "near_duplicate_share"),
}
DETECTOR = {
    "name": "d 1",
    "false_positive_rate": 0.02,
    "n_real_rows": 500,
    "false_negative_rate": 0.1,
    "n_synthetic_rows": 400,
}
OTHER = f"sha256:{'f' * 64}"


@pytest.fixture(scope="module")
def manifest(make: Make) -> Manifest:
    return make([{"id": n} for n in range(3)])


def figure(name: str, value: float, low: float, high: float, **more: Any) -> dict[str, Any]:
    return {"name": name, "value": value, "interval": (low, high), "n": 1000, "level": 0.95, "method": "hand"} | more


def measurement(digest: str, *figures: dict[str, Any], made_by: str = "audit 1.0", **more: Any) -> Measurement:
    said = {"manifest": digest, "made_by": made_by, "created": "2026-11-26", "figures": figures}
    return Measurement.model_validate(said | more)


def found(
    manifest: Manifest, code: str, *measurements: Measurement, limit: float | None = None, **more: Any
) -> list[Finding]:
    key, own, _ = ASKED[code]
    limits = {key: own if limit is None else limit} | more
    policy = policy_from_mapping({"version": 1, "measurements": limits})
    findings = RULES.get(code)(Subject(policy, manifest, measurements=measurements))
    named = [json.dumps([finding.subject, finding.where], sort_keys=True) for finding in findings]
    assert len(set(named)) == len(named)
    for finding in findings:
        json.dumps(finding.as_dict(), allow_nan=False)
        assert len(finding.message.splitlines()) == 1
        if finding.status is Status.FAIL:
            assert finding.measured is not None
            assert finding.limit is not None
            assert (finding.measured > finding.limit) == (code not in {"CG505", "CG602"})
    return findings


# What all of them do


@pytest.mark.parametrize("code", ASKED)
def test_without_a_limit_nothing_is_asked(manifest: Manifest, code: str) -> None:
    own = measurement(manifest.digest, figure(ASKED[code][2], 0.9, 0.8, 1.0))
    policy = policy_from_mapping({"version": 1})
    assert RULES.get(code)(Subject(policy, manifest, measurements=(own,))) == []


@pytest.mark.parametrize("code", ASKED)
def test_what_is_asked_and_was_not_measured_is_open(manifest: Manifest, code: str) -> None:
    for measurements in ((), (measurement(manifest.digest, figure("unheard_of", 0.5, 0.4, 0.6)),)):
        (finding,) = found(manifest, code, *measurements)
        assert (finding.status, finding.severity) == (Status.INCONCLUSIVE, RULES.get(code).severity)
        assert finding.key == ("measurements", ASKED[code][0])
        assert f"measurements.{ASKED[code][0]} is asked, and no measurement of this manifest holds" in finding.message
        assert finding.remedy == "measure it, and name the file in measurements.files"


@pytest.mark.parametrize("code", ASKED)
def test_a_measurement_of_another_manifest_is_open_and_never_used(manifest: Manifest, code: str) -> None:
    strange = measurement(OTHER, figure(ASKED[code][2], 0.9, 0.8, 1.0))
    (finding,) = found(manifest, code, strange)
    assert finding.status is Status.INCONCLUSIVE
    assert f"measurement by audit 1.0 is of manifest {OTHER[:19]}..., not of {manifest.digest[:19]}" in finding.message
    assert finding.evidence == {"measured": [OTHER], "manifest": manifest.digest}


@pytest.mark.parametrize("code", ["CG006", "CG504"])
def test_a_strange_measurement_beside_the_right_one_is_still_told(manifest: Manifest, code: str) -> None:
    own = measurement(manifest.digest, figure(ASKED[code][2], 0.9, 0.8, 1.0))
    strange = [measurement(OTHER, figure(ASKED[code][2], 0.0, 0.0, 0.1), made_by=name) for name in ("b", "c")]
    open_, failed = found(manifest, code, own, *strange)
    assert (open_.status, failed.status) == (Status.INCONCLUSIVE, Status.FAIL)
    assert failed.measured == 0.9


def test_two_values_of_one_figure_are_open_and_neither_is_used(manifest: Manifest) -> None:
    figures = [figure("near_duplicate_share", value, value, value) for value in (0.0, 0.9)]
    values = [measurement(manifest.digest, each, made_by=f"m{n}") for n, each in enumerate(figures)]
    (finding,) = found(manifest, "CG504", *values)
    assert finding.status is Status.INCONCLUSIVE
    said = "near_duplicate_share has more than one value, of measurement by m0 and measurement by m1"
    assert said in finding.message


def test_a_file_that_is_named_twice_counts_once(manifest: Manifest, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(measurement(manifest.digest, figure("near_duplicate_share", 0.9, 0.8, 1.0)).as_json())
    (finding,) = found(manifest, "CG504", load_measurement(path), load_measurement(path))
    assert finding.status is Status.FAIL
    assert finding.evidence["measurement"] == str(path)


@pytest.mark.parametrize(
    ("value", "low", "high", "status"),
    [
        (0.2, 0.11, 0.3, Status.FAIL),
        (0.2, 0.1, 0.3, Status.INCONCLUSIVE),
        (0.101, 0.09, 0.12, Status.INCONCLUSIVE),
        (0.1, 0.05, 0.3, None),
        (0.0, 0.0, 0.3, None),
    ],
)
def test_the_near_end_of_the_interval_decides(
    manifest: Manifest, value: float, low: float, high: float, status: Status | None
) -> None:
    findings = found(manifest, "CG504", measurement(manifest.digest, figure("near_duplicate_share", value, low, high)))
    assert [finding.status for finding in findings] == ([] if status is None else [status])


def test_a_finding_carries_all_of_the_figure(manifest: Manifest) -> None:
    own = figure("near_duplicate_share", 0.2, 0.15, 0.25, source="made", **{"class": "owl"})
    (finding,) = found(manifest, "CG504", measurement(manifest.digest, own))
    assert finding.where == {"source": "made", "class": "owl"}
    assert (finding.measured, finding.limit, finding.unit) == (0.2, 0.1, "share")
    assert (finding.n, finding.interval, finding.method) == (1000, (0.15, 0.25), "hand, level 0.95")
    assert finding.key == ("measurements", "max_near_duplicate_share")
    assert finding.message == (
        "the share of synthetic rows with a near duplicate of source 'made' of class 'owl' is 0.2"
        " (0.15 to 0.25 at 0.95, of 1000 rows); the limit is 0.1"
    )


def test_figures_of_two_dates_have_two_findings(manifest: Manifest) -> None:
    own = [figure("near_duplicate_share", 0.2, 0.15, 0.25, at=f"2026-0{month}-01") for month in (1, 2)]
    findings = found(manifest, "CG504", measurement(manifest.digest, *own))
    assert [each.subject for each in findings] == [f"near_duplicate_share at 2026-0{month}-01" for month in (1, 2)]


# CG505


def test_the_worst_five_classes_are_told_and_the_rest_counted(manifest: Manifest) -> None:
    own = [
        figure("within_class_variance_ratio", n / 20, n / 20 - 0.01, n / 20 + 0.01, **{"class": f"c{n}"})
        for n in range(1, 12)
    ]
    findings = found(manifest, "CG505", measurement(manifest.digest, *own))
    assert [each.where for each in findings[:5]] == [{"class": f"c{n}"} for n in (1, 2, 3, 4, 5)]
    assert (findings[5].subject, findings[5].where, findings[5].evidence) == ("more of them", {}, {"n_more": 4})
    assert (findings[5].measured, findings[5].limit, findings[5].unit) == (0.3, 0.5, "ratio")
    assert findings[5].message.startswith("4 more are beyond the limit; the worst: the ratio of the variance")
    assert len(findings) == 6
    assert findings[0].message.endswith("; the floor is 0.5")


def test_classes_that_cannot_be_told_are_one_finding(manifest: Manifest) -> None:
    own = [figure("within_class_variance_ratio", 0.4, 0.1, 0.9, **{"class": f"c{n}"}) for n in range(7)]
    (finding,) = found(manifest, "CG505", measurement(manifest.digest, *own))
    assert finding.status is Status.INCONCLUSIVE
    assert finding.evidence == {"n_open": 7}
    assert "and 2 more" in finding.message


# CG307


def test_the_errors_of_the_detector_are_taken_out_and_told(manifest: Manifest) -> None:
    own = measurement(manifest.digest, figure("flagged_real_share", 0.12, 0.1, 0.14), detector=DETECTOR)
    (finding,) = found(manifest, "CG307", own)
    rates: dict[str, Any] = {
        "false_positives": 0.02,
        "n_real_rows": 500,
        "false_negatives": 0.1,
        "n_synthetic_rows": 400,
    }
    expected = corrected_share(0.12, 1000, level=0.95, **rates)
    assert (finding.measured, finding.interval) == (expected.value, (expected.low, expected.high))
    assert "0.12 were flagged" in finding.message
    assert "detector 'd 1': false positives 0.02 of 500 real rows, false negatives 0.1 of 400" in finding.message
    assert finding.severity is Severity.WARNING


@pytest.mark.parametrize(
    ("flagged", "detector", "status"),
    [
        (0.02, DETECTOR, None),  # a clean corpus: what is flagged is the detector's own error
        (0.06, DETECTOR, None),
        (0.07, DETECTOR, Status.INCONCLUSIVE),
        (0.12, None, Status.INCONCLUSIVE),
        (0.12, DETECTOR | {"false_positive_rate": 0.95}, Status.INCONCLUSIVE),
        (0.12, DETECTOR | {"n_real_rows": 5}, Status.INCONCLUSIVE),
    ],
)
def test_a_detector_is_believed_as_far_as_it_was_tried(
    manifest: Manifest, flagged: float, detector: dict[str, Any] | None, status: Status | None
) -> None:
    own = measurement(
        manifest.digest, figure("flagged_real_share", flagged, flagged - 0.01, flagged + 0.01), detector=detector
    )
    assert [each.status for each in found(manifest, "CG307", own)] == ([] if status is None else [status])


# CG502


def before(value: float, low: float, high: float, n: int = 1000) -> dict[str, Any]:
    return {"value": value, "interval": (low, high), "n": n, "level": 0.95}


@pytest.mark.parametrize(
    ("now", "then", "status"),
    [
        (figure("hill_1", 70, 68, 72), before(100, 98, 102), Status.FAIL),
        (figure("hill_1", 85, 80, 90), before(100, 98, 102), Status.INCONCLUSIVE),
        (figure("hill_1", 95, 93, 97), before(100, 98, 102), None),
        (figure("hill_1", 130, 128, 132), before(100, 98, 102), None),
        (figure("hill_1", 70, 68, 72), None, Status.INCONCLUSIVE),
        (figure("hill_1", 70, 68, 72), before(100, 98, 102, n=2000), Status.INCONCLUSIVE),
        (figure("hill_1", 70, 68, 72), before(0, 0, 0), Status.INCONCLUSIVE),
        (figure("hill_1", 0, -1, 2), before(100, 98, 102), Status.INCONCLUSIVE),
        (figure("recall", 0.0, 0.0, 0.1), before(1, 0.9, 1), Status.FAIL),
        (figure("precision", 0.1, 0.0, 0.2), before(1, 0.9, 1), Status.INCONCLUSIVE),  # it rises when a model collapses
    ],
)
def test_diversity_may_lose_a_share_of_itself(
    manifest: Manifest, now: dict[str, Any], then: dict[str, Any] | None, status: Status | None
) -> None:
    findings = found(manifest, "CG502", measurement(manifest.digest, now | ({"before": then} if then else {})))
    assert [each.status for each in findings] == ([] if status is None else [status])


def test_a_drop_takes_the_far_ends_of_both_intervals(manifest: Manifest) -> None:
    own = measurement(manifest.digest, figure("hill_1", 70, 68, 72, before=before(100, 98, 102)))
    (finding,) = found(manifest, "CG502", own)
    assert finding.measured == pytest.approx(0.3)
    assert finding.interval == pytest.approx((1 - 72 / 98, 1 - 68 / 102))
    assert "hill_1 was 100 and is 70" in finding.message


def test_every_figure_of_diversity_is_an_advisory_statistic() -> None:
    assert set(FALLING) <= set(ADVISORIES.names())


# CG601


def series(*shares: float, width: float = 0.01, **more: Any) -> list[dict[str, Any]]:
    return [
        figure("synthetic_share", share, max(share - width, 0), share + width, at=f"{year}-07-01", **more)
        for year, share in enumerate(shares, start=2024)
    ]


@pytest.mark.parametrize(
    ("figures", "status"),
    [
        (series(0.02, 0.1, 0.2), Status.FAIL),
        (series(0.02, 0.08, 0.13, width=0.05), Status.INCONCLUSIVE),
        (series(0.02, 0.06, 0.1), None),
        (series(0.2, 0.1, 0.05), None),
        (series(0.2), Status.INCONCLUSIVE),
        (series(0.1, 0.2, width=0.0), Status.INCONCLUSIVE),
        ([figure("synthetic_share", 0.2, 0.1, 0.3)], Status.INCONCLUSIVE),
        ([figure("synthetic_share", 0.2, 0.1, 0.3), *series(0.02, 0.1, 0.2)], Status.FAIL),
    ],
)
def test_the_slope_of_the_series_is_held_against_the_limit(
    manifest: Manifest, figures: list[dict[str, Any]], status: Status | None
) -> None:
    findings = found(manifest, "CG601", measurement(manifest.digest, *figures))
    assert [each.status for each in findings] == ([] if status is None else [status])


def test_a_rise_tells_its_series_and_its_detectors(manifest: Manifest) -> None:
    files = [
        measurement(manifest.digest, each, made_by=str(n), detector=DETECTOR)
        for n, each in enumerate(series(0.02, 0.1, 0.2))
    ]
    (finding,) = found(manifest, "CG601", *files)
    assert finding.measured == pytest.approx(0.09, abs=1e-3)
    assert (finding.unit, finding.n, finding.subject) == ("share per year", 3000, "synthetic_share")
    assert [point[0] for point in finding.evidence["series"]] == ["2024-07-01", "2025-07-01", "2026-07-01"]
    assert "3 dates, 2024-07-01 0.02, 2026-07-01 0.2 (detector 'd 1': false positives 0.02" in finding.message


def test_every_source_has_a_series_of_its_own(manifest: Manifest) -> None:
    figures = [*series(0.02, 0.1, 0.2, source="web"), *series(0.1, 0.1, source="books")]
    (finding,) = found(manifest, "CG601", measurement(manifest.digest, *figures))
    assert finding.where == {"source": "web"}


# CG602


def test_a_sample_that_is_too_small_is_told_with_the_rows_it_needs(manifest: Manifest) -> None:
    own = measurement(manifest.digest, figure("near_duplicate_share", 0.1, 0.0818, 0.1199))
    (finding,) = found(manifest, "CG602", own)
    needed = rows_for_half_width(0.1, 0.01, level=0.95)
    assert needed < 3600 < finding.limit < 3640  # type: ignore[operator]  # Clopper-Pearson is wider than Wilson
    assert (finding.measured, finding.unit, finding.severity) == (1000, "rows", Severity.INFO)
    assert finding.evidence["needed_rows"] == finding.limit


@pytest.mark.parametrize(
    ("own", "limit", "n_found"),
    [
        (figure("near_duplicate_share", 0.1, 0.08, 0.12), 0.02, 0),
        (figure("near_duplicate_share", 0.1, 0.08, 0.12), 0.019, 1),
        (figure("near_duplicate_share", 0.1, 0.1, 0.1), 0.01, 1),  # an interval that is too good to be true
        (figure("near_duplicate_share", 0.1, 0.05, 0.15), 0.02, 1),  # rows that come in groups
        (figure("near_duplicate_share", 0.0, 0.0, 0.004), 0.001, 1),
        (figure("near_duplicate_share", 0.1, 0.08, 0.12), 1e-6, 1),
    ],
)
def test_the_precision_is_that_of_the_policy(
    manifest: Manifest, own: dict[str, Any], limit: float, n_found: int
) -> None:
    assert len(found(manifest, "CG602", measurement(manifest.digest, own), limit=limit)) == n_found


def test_every_share_is_asked_and_the_shortest_samples_are_told(manifest: Manifest) -> None:
    own = [figure(f"a{n}_share", 0.1, 0.08, 0.12, n=100 * (n + 1)) for n in range(8)]
    findings = found(manifest, "CG602", measurement(manifest.digest, *own, figure("hill_1", 9, 1, 20)))
    assert [each.subject for each in findings] == [*(f"a{n}_share" for n in range(5)), "more of them"]
    assert findings[-1].measured == 600
    assert findings[-1].evidence == {"n_more": 3}


# Names


@pytest.mark.parametrize("name", ["\u202e", "a\nb", "%0A::error::", "]]>", "<script>", "{n}", "\U0001f408"])
@pytest.mark.parametrize("code", ASKED)
def test_names_from_a_measurement_are_only_names(manifest: Manifest, code: str, name: str) -> None:
    asked = ASKED[code][2]
    odd: dict[str, Any] = {"source": name, "class": name, "method": name}
    figures = (
        series(0.02, 0.1, 0.2, **odd)
        if code == "CG601"
        else [figure(asked, 0.2, 0.15, 0.25, **odd, before=before(1, 0.9, 1))]
    )
    own = measurement(manifest.digest, *figures, made_by=name, detector=DETECTOR | {"name": name})
    (finding,) = found(manifest, code, own, limit=0.3 if code == "CG505" else None)
    assert finding.where == {"source": name, "class": name}
    assert "\u202e" not in finding.message + finding.method
