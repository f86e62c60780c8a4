"""Figures of the page against manifests whose counts are known by hand."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from scipy.stats import binomtest, entropy

from collapse_guard.errors import Problem
from collapse_guard.manifest import Manifest, Takedowns, load_manifest, write_manifest
from collapse_guard.manifest.measurement import SCHEMA, Measurement
from collapse_guard.policy import Policy, policy_from_mapping
from collapse_guard.report.gate_figures import SECTIONS, figures, generations_of
from collapse_guard.report.gate_tails import BIN_STARTS, effective_number, removed_share, size_bin, spread
from collapse_guard.rules import Subject

if TYPE_CHECKING:
    from pathlib import Path

Make = Callable[..., Manifest]
People = dict[str, Callable[..., Any]]


def policy(**sections: Any) -> Policy:
    return policy_from_mapping({"version": 1, **sections})


@pytest.fixture
def subject(make: Make, people: People) -> Subject:
    """Return three real rows lost of one class, two new ones, and four synthetic rows that weigh half."""
    real, made = people["real"], people["made"]
    parent = make(real(10) + real(3, first=50, label="owl"))
    now = make(real(10) + real(2, first=80) + made(4, cg_amount=0.5), parent=parent)
    return Subject(policy(sources={"made": {"max_share": 0.1}, "gone": {"min_share": 0.2}}), now, parent)


def test_the_mix_is_counted_by_generation_and_origin(subject: Subject) -> None:
    mix = figures(subject)["mix"]
    before, now = mix["generations"]
    assert (before["which"], before["rows"], before["amount"]) == ("previous", 13, 13.0)
    assert (now["which"], now["generation"], now["rows"], now["amount"]) == ("this", 1, 16, 14.0)
    shares = [(each["origin"], each["rows"], each["row_share"], each["amount_share"]) for each in now["origins"]]
    assert shares == [("real", 12, 12 / 16, 12 / 14), ("synthetic", 4, 4 / 16, 2 / 14)]
    assert (mix["real_min_share"], mix["unit"]) == (0.5, "rows")


def test_the_mix_is_counted_by_source_also_of_sources_that_have_no_rows(subject: Subject) -> None:
    held = {each["source"]: each for each in figures(subject)["mix"]["sources"]}
    assert list(held) == ["web", "made", "gone"]
    assert held["made"]["generations"] == {"this": {"rows": 4, "amount": 2.0, "share": 2 / 14}}
    assert (held["made"]["max_share"], held["gone"]["min_share"], held["web"]["min_share"]) == (0.1, 0.2, None)
    assert (held["gone"]["origins"], held["gone"]["generations"], held["web"]["origins"]) == ([], {}, ["real"])


def test_real_rows_balance_by_source(subject: Subject) -> None:
    found = figures(subject)["accumulation"]
    (web,) = [each for each in found["sources"] if each["source"] == "web"]
    counts = {"before": 13, "now": 12, "lost": 3, "taken_down": 0, "retained": 10, "added": 2}
    assert {key: web[key] for key in counts} == counts
    assert found["level"] == "rows"
    chain = [(each["generation"], each["rows"], each["real_rows"]) for each in found["chain"]]
    assert chain == [(0, 13, 13), (1, 16, 12)]


def test_takedowns_are_no_loss_and_sources_out_of_scope_are_not_asked(make: Make, people: People) -> None:
    real = people["real"]
    parent = make(real(6) + real(4, first=50, cg_source="notes"))
    now = make(real(4), parent=parent)
    gone = [hashlib.sha256(b"5").digest()[:16]]
    taken = Takedowns.empty().adding(gone, reason="erasure", date="2026-03-31")
    rules = policy(sources={"notes": {"accumulate": "off"}})
    found = figures(Subject(rules, now, parent, takedowns=taken))["accumulation"]
    web, notes = found["sources"]
    assert (web["lost"], web["taken_down"], web["retained"], web["added"]) == (1, 1, 4, 0)
    assert (notes["source"], notes["in_scope"], "retained" in notes) == ("notes", False, False)


def test_the_chain_is_followed_on_disk_beyond_the_parent(make: Make, people: People, tmp_path: Path) -> None:
    real = people["real"]
    gen0 = write_manifest(make(real(2)), tmp_path / "a" / "gen0.cgm.json")
    gen1 = write_manifest(make(real(4), parent=gen0), tmp_path / "a" / "gen1.cgm.json")
    gen2 = write_manifest(make(real(7), parent=gen1), tmp_path / "b" / "gen2.cgm.json")
    found = figures(Subject(policy(), load_manifest(tmp_path / "b" / "gen2.cgm.json"), gen1))
    assert [(each["generation"], each["rows"]) for each in found["accumulation"]["chain"]] == [(0, 2), (1, 4), (2, 7)]
    assert [each["digest"] for each in found["method"]["manifests"]] == [gen1.digest, gen2.digest]
    assert [each["file"] for each in found["method"]["manifests"]] == ["gen1.cgm.json", "gen2.cgm.json"]


def test_depth_generators_and_evidence(make: Make, people: People) -> None:
    real, made = people["real"], people["made"]
    rows = [*real(5), *made(2), *made(1, first=300_000, cg_generation=255, cg_generator="z@9", cg_evidence=0)]
    found = figures(Subject(policy(mix={"per_generator_max_share": 0.2}), make(rows)))["provenance"]
    assert [(each["generation"], each["rows"]) for each in found["depths"]] == [(0, 5), (1, 2), (None, 1)]
    assert [(each["generator"], each["share"]) for each in found["generators"]] == [("m@1", 2 / 8), ("z@9", 1 / 8)]
    known = [(each["origin"], each["evidence"], each["rows"]) for each in found["evidence"]]
    assert known == [("real", "declared", 5), ("synthetic", "none", 1), ("synthetic", "generated_here", 2)]
    assert (found["max_generation_depth"], found["per_generator_max_share"]) == (2, 0.2)


def test_tails_tell_who_is_gone_new_or_only_synthetic(make: Make, people: People) -> None:
    real, made = people["real"], people["made"]
    reference = make(real(6) + real(1, first=20, label="owl") + real(2, first=30, label="elk"))
    now = make(real(6) + made(3, label="elk") + made(1, first=400_000, label="new"), parent=reference)
    tails = figures(Subject(policy(coverage={}), now, reference))["tails"]
    counted = [
        (each["rank"], each["class"], each["reference_rows"], each["rows"], each["real_rows"], each["synthetic_rows"])
        for each in tails["classes"]
    ]
    assert counted == [(1, "cat", 6, 6, 6, 0), (2, "elk", 2, 3, 0, 3), (3, "owl", 1, 0, 0, 0)]
    assert (tails["n_classes"], tails["n_lost"], tails["n_new"], tails["reference"]) == (3, 1, 1, "gen0")
    assert tails["lost"] == [{"class": "owl", "reference_rows": 1}]
    assert [(each["from"], each["to"], each["n_classes"], each["n_alive"]) for each in tails["bins"]] == [
        (1, 1, 1, 0),
        (2, 4, 1, 1),
        (5, 9, 1, 1),
    ]


def test_rows_that_are_only_retained_do_not_keep_a_class_alive(make: Make, people: People) -> None:
    real = people["real"]
    parent = make(real(3) + real(1, first=20, label="owl"))
    now = make(real(3) + real(1, first=20, label="owl", cg_amount=0.0), parent=parent)
    tails = figures(Subject(policy(coverage={}), now, parent))["tails"]
    assert [each["class"] for each in tails["lost"]] == ["owl"]


def test_the_policys_reference_goes_before_the_parent_and_small_classes_do_not_count(
    make: Make, people: People
) -> None:
    real = people["real"]
    anchor = make(real(5) + real(1, first=20, label="owl"), name="anchor")
    parent = make(real(5))
    subject = Subject(policy(coverage={"min_class_rows": 2}), make(real(5), parent=parent), parent, anchor)
    tails = figures(subject)["tails"]
    assert (tails["reference"], tails["n_classes"], tails["n_lost"]) == ("anchor", 1, 0)
    assert [which for which, _ in generations_of(subject)] == ["reference", "previous", "this"]


def test_a_reference_that_is_the_parent_stands_once(make: Make, people: People) -> None:
    parent = make(people["real"](3))
    subject = Subject(policy(), make(people["real"](4), parent=parent), parent, parent)
    assert [which for which, _ in generations_of(subject)] == ["previous", "this"]


def test_without_a_parent_the_real_rows_here_are_the_reference(make: Make, people: People) -> None:
    found = figures(Subject(policy(), make(people["real"](4) + people["made"](2, label="new"))))
    assert found["accumulation"] is None
    assert (found["tails"]["reference"], found["tails"]["n_classes"], found["tails"]["n_new"]) == (None, 1, 1)


def test_rows_without_classes_have_no_tails(make: Make, people: People) -> None:
    found = figures(Subject(policy(), make(people["real"](4, label=None))))
    assert (found["tails"], found["missing"]) == (None, "")
    assert found["diversity"][0]["n_classes"] == 0


def test_filters_are_told_by_size_of_the_class(make: Make, people: People) -> None:
    real, receipt = people["real"], people["receipt"]
    receipts = (receipt("web", {"cat": (10, 9), "owl": (2, 0), "unseen": (4, 4)}), receipt("off", {}))
    now = make(real(10) + real(1, first=50, label="owl"), filters=receipts)
    web, off = figures(Subject(policy(), now))["filters"]
    bins = [(each["from"], each["n_classes"], each["rows"], each["removed_share"]) for each in web["bins"]]
    assert bins == [(0, 1, 4, 0.0), (1, 1, 2, 1.0), (10, 1, 10, 0.1)]
    assert (web["origin"], web["rows"], web["kept_rows"], web["removed_share"]) == ("real", 16, 13, 3 / 16)
    assert (off["origin"], off["bins"], off["removed_share"]) == (None, [], None)


@pytest.mark.parametrize(("removed", "rows"), [(0, 5), (5, 5), (3, 40), (1, 100_000)])
def test_the_interval_of_a_removed_share_is_that_of_scipy(removed: int, rows: int) -> None:
    expected = binomtest(removed, rows).proportion_ci(0.95, method="exact")
    found = removed_share(removed, rows)
    assert found["low"] == pytest.approx(expected.low, abs=1e-9)
    assert found["high"] == pytest.approx(expected.high, abs=1e-9)


@pytest.mark.parametrize("counts", [[1], [5, 5, 5], [100, 3, 1, 1], [10**6, 1]])
def test_the_effective_number_of_classes_is_the_exponential_of_scipys_entropy(counts: list[int]) -> None:
    assert effective_number(counts) == pytest.approx(math.exp(entropy(counts)))


def test_every_size_stands_in_one_bin() -> None:
    for start, after in zip(BIN_STARTS, [*BIN_STARTS[1:], None], strict=True):
        assert size_bin(start)[0] == start
        assert after is None or size_bin(after - 1) == (start, after - 1)


def test_of_many_classes_the_rarest_and_a_spread_are_listed() -> None:
    ranked = [{"rank": n} for n in range(1, 10_001)]
    listed = [each["rank"] for each in spread(ranked)]
    assert len(listed) == len(set(listed)) == 2_000
    assert listed == sorted(listed)
    assert listed[-1_000:] == list(range(9_001, 10_001))
    assert listed[0] == 1
    assert spread(ranked[:2_000]) == ranked[:2_000]


def test_measured_figures_of_this_manifest_are_told_and_no_others(make: Make, people: People) -> None:
    now = make(people["real"](4))
    figure = {"name": "vendi_score", "value": 5.0, "n": 400, "interval": [4.0, 6.0], "level": 0.95, "method": "m"}
    plain = {"schema": SCHEMA, "manifest": now.digest, "made_by": "audit", "created": "2026", "figures": [figure]}
    other = plain | {"manifest": f"sha256:{'1' * 64}"}
    held = tuple(Measurement.from_json(json.dumps(each).encode(), path="m.json") for each in (plain, other))
    (found,) = figures(Subject(policy(), now, measurements=held))["measured"]
    assert (found["name"], found["value"], found["low"], found["high"], found["at"]) == (
        "vendi_score",
        5.0,
        4.0,
        6.0,
        None,
    )


@pytest.mark.parametrize("reason", ["manifest", "index", "part"])
def test_what_cannot_be_read_gives_no_figures_and_says_why(
    reason: str, make: Make, people: People, tmp_path: Path
) -> None:
    now = write_manifest(make(people["real"](4)), tmp_path / "m.cgm.json")
    subject = Subject(policy(), now)
    if reason == "manifest":
        subject = Subject(policy())
    elif reason == "index":
        subject = Subject(policy(), now, problems=(Problem("CG004", "m", None, "", "broken"),))
    else:
        next(now.folder.iterdir()).unlink()
    found = figures(subject)
    assert found["missing"]
    assert [found[section] for section in SECTIONS] == [None] * len(SECTIONS)


def test_a_policy_that_cannot_be_read_leaves_figures_without_limits(make: Make, people: People) -> None:
    found = figures(Subject(None, make(people["real"](4))))
    assert (found["mix"]["real_min_share"], found["provenance"]["max_generation_depth"]) == (None, None)


def test_figures_are_plain_values_and_never_ask_for_the_whole_index(
    subject: Subject, view: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Manifest, "index", property(lambda _: pytest.fail("the whole index was read")))
    found = figures(subject)
    assert set(found) == {"missing", *SECTIONS}
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert json.loads(json.dumps(view["figures"], allow_nan=False)) == view["figures"]
