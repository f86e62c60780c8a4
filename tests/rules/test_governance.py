"""Waivers and the baseline: what is accepted, until when, up to where; what becomes of those that are not needed."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from collapse_guard.errors import ManifestError, PolicyError
from collapse_guard.policy import Policy, load_policy, policy_from_mapping
from collapse_guard.policy.waiver import UNWAIVABLE
from collapse_guard.records import REST, Finding, Origin, Severity, Status
from collapse_guard.rules import Choice, Subject, Terms, evaluate
from collapse_guard.rules.baseline import Baseline, baselined, difference, entries_of, load_baseline

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from collapse_guard.manifest import Manifest

    Make = Callable[..., Manifest]

TODAY = dt.date(2026, 6, 1)


def waiver(**changes: Any) -> dict[str, Any]:
    whole = {
        "id": "W-1",
        "rule": "CG102",
        "where": {"source": "made"},
        "reason": "agreed in review 418",
        "owner": "data-team",
        "expires": "2026-12-31",
        "limit": {"max_share": 0.4},
    }
    return {key: value for key, value in (whole | changes).items() if value is not None}


def policy(*waivers: dict[str, Any], **more: Any) -> Policy:
    capped = {"sources": {"made": {"max_share": 0.2}, "web": {}}, "mix": {"real_min_share": 0.1}} | more
    return policy_from_mapping({"version": 1, "waivers": list(waivers), **capped})


@pytest.fixture(scope="session")
def mixed(make: Make) -> Manifest:
    """Seven real rows and three synthetic ones: a share of 0.3, where the policy caps 0.2."""
    made = {"source": "made", "origin": int(Origin.SYNTHETIC), "generation": 1, "generator": "m@1", "evidence": 7}
    return make([{"id": n} for n in range(7)] + [{"id": 100 + n} | made for n in range(3)])


def found(mixed: Manifest, rules: Policy, *, today: dt.date = TODAY, **more: Any) -> dict[str, list[Finding]]:
    by_code: dict[str, list[Finding]] = {}
    choice = more.pop("choice", None)
    for each in evaluate(Subject(rules, mixed), choice, Terms(today, **more)).findings:
        by_code.setdefault(each.code, []).append(each)
    return by_code


def test_a_waiver_accepts_what_it_names_and_says_who_and_until_when(mixed: Manifest) -> None:
    findings = found(mixed, policy(waiver()))
    (accepted,) = findings.pop("CG102")
    assert (accepted.status, accepted.accepted_by) == (Status.WAIVED, "waiver W-1 until 2026-12-31")
    assert findings == {}


def test_without_a_day_no_waiver_is_applied(mixed: Manifest) -> None:
    (failing,) = evaluate(Subject(policy(waiver()), mixed)).findings
    assert failing.status is Status.FAIL


@pytest.mark.parametrize(
    ("limit", "accepts"),
    [
        ({"max_share": 0.3}, True),
        ({"max_share": 0.29}, False),
        ({"max": 0.3}, True),
        ({"max": 0.25}, False),
    ],
)
def test_a_waiver_is_bounded(mixed: Manifest, limit: dict[str, float], accepts: bool) -> None:
    findings = found(mixed, policy(waiver(limit=limit)))
    assert (findings["CG102"][0].status is Status.WAIVED) is accepts
    assert ("; waiver W-1 accepts m" in findings["CG102"][0].message) is not accepts
    assert set(findings) == {"CG102"}, "beyond its bound a waiver is not unused"


def test_a_bound_in_another_unit_than_the_rule_measures_is_a_fault(mixed: Manifest) -> None:
    findings = found(mixed, policy(waiver(limit={"max_rows": 400})))
    assert findings["CG102"][0].status is Status.FAIL
    assert findings["CG903"][0].message == "waiver W-1: max_rows bounds nothing that CG102 finds"
    assert findings["CG903"][0].remedy == "write limit: {max_share: ...}"


@pytest.mark.parametrize("limit", [{"min_share": 0.1}, {"min": 0.1}])
def test_a_bound_on_the_wrong_side_accepts_nothing(mixed: Manifest, limit: dict[str, float]) -> None:
    findings = found(mixed, policy(waiver(limit=limit)))
    assert findings["CG102"][0].status is Status.FAIL
    assert findings["CG903"][0].remedy == "write limit: {max_share: ...}"
    floor = policy(waiver(rule="CG101", where={}, limit={"max_share": 0.9}), mix={"real_min_share": 0.8})
    findings = found(mixed, floor)
    assert findings["CG101"][0].status is Status.FAIL
    assert findings["CG903"][0].remedy == "write limit: {min_share: ...}"


def test_a_waiver_holds_on_its_last_day_and_not_after(mixed: Manifest) -> None:
    rules = policy(waiver())
    last = found(mixed, rules, today=dt.date(2026, 12, 31))
    assert last["CG102"][0].status is Status.WAIVED
    assert last["CG904"][0].message == "waiver W-1 of CG102 ends today (2026-12-31)"
    after = found(mixed, rules, today=dt.date(2027, 1, 2))
    assert after["CG102"][0].status is Status.FAIL
    (expired,) = after["CG901"]
    assert expired.message == "waiver W-1 of CG102 ended on 2026-12-31; it hid CG102 of made"
    assert (expired.severity, expired.measured, expired.unit) == (Severity.ERROR, 2.0, "days")


@pytest.mark.parametrize(("days", "is_told"), [(14, True), (15, False)])
def test_the_end_of_a_waiver_is_announced_a_fortnight_before(mixed: Manifest, days: int, is_told: bool) -> None:
    findings = found(mixed, policy(waiver()), today=dt.date(2026, 12, 31) - dt.timedelta(days))
    assert ("CG904" in findings) is is_told
    assert all(each.severity is Severity.INFO for each in findings.get("CG904", []))


@pytest.mark.parametrize(
    "changes",
    [{"where": {"source": "web"}}, {"where": {"generator": "made"}}, {"rule": "CG303"}, {"where": {"class": "made"}}],
)
def test_a_waiver_that_matches_nothing_fails(mixed: Manifest, changes: dict[str, Any]) -> None:
    findings = found(mixed, policy(waiver(**changes)))
    assert findings["CG902"][0].severity is Severity.ERROR
    assert findings["CG102"][0].status is Status.FAIL


def test_a_waiver_of_a_rule_that_did_not_run_is_not_called_unused(mixed: Manifest) -> None:
    assert set(found(mixed, policy(waiver(rule="CG303")), choice=Choice(ignore=("CG303",)))) == {"CG102"}
    open_rule = policy(waiver(rule="CG101"), unit="tokens")  # the manifest counts rows
    assert "CG902" not in found(mixed, open_rule)


def test_a_waiver_of_a_rule_that_there_is_not_names_the_nearest(mixed: Manifest) -> None:
    (fault,) = found(mixed, policy(waiver(rule="CG199")))["CG903"]
    assert fault.message == "waiver W-1: no rule is called CG199"
    assert fault.remedy.startswith("did you mean 'CG1")


@pytest.mark.parametrize("key", ["reason", "owner", "expires", "limit"])
def test_nobody_may_waive_without_reason_owner_end_and_bound(tmp_path: Path, key: str) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(json.dumps({"version": 1, "waivers": [waiver(**{key: None})]}))
    with pytest.raises(PolicyError) as caught:
        load_policy(path)
    (problem,) = caught.value.problems
    assert (problem.code, problem.key, problem.message) == ("CG903", f"waivers[0].{key}", "missing key")


@pytest.mark.parametrize(
    "changes",
    [
        {"reason": "   "},
        {"owner": ""},
        {"limit": {}},
        {"limit": {"max_share": 0.1, "min_share": 0.0}},
        {"limit": {"share": 0.1}},
        {"limit": {"max_share": float("inf")}},
        {"expires": "soon"},
        {"where": {"colour": "red"}},
        {"rule": "102"},
    ],
)
def test_a_waiver_with_an_empty_or_impossible_part_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(PolicyError):
        policy(waiver(**changes))


def test_two_waivers_of_one_name_contradict_each_other() -> None:
    with pytest.raises(PolicyError, match=r"CG002 waivers\[1\].id: a waiver called 'W-1' stands above"):
        policy(waiver(), waiver(where={"source": "web"}))


def test_what_guards_the_evidence_itself_cannot_be_waived() -> None:
    assert {"CG004", "CG204", "CG305", "CG901"} <= UNWAIVABLE


def failing(measured: float, *, code: str = "CG102", subject: str = "made", limit: float = 0.2) -> Finding:
    return Finding(
        code,
        Severity.ERROR,
        f"{subject} {measured}",
        subject=subject,
        where={"source": subject},
        measured=measured,
        limit=limit,
        unit="share",
    )


def baseline(*findings: Finding, parent: str | None = None) -> Baseline:
    return Baseline(parent, entries_of(findings, parent))


@pytest.mark.parametrize(
    ("recorded", "status"),
    [(0.3, Status.BASELINED), (0.35, Status.BASELINED), (0.25, Status.FAIL)],
)
def test_the_baseline_accepts_what_it_recorded_and_nothing_worse(
    mixed: Manifest, recorded: float, status: Status
) -> None:
    (each,) = found(mixed, policy(), baseline=baseline(failing(recorded)))["CG102"]
    assert each.status is status
    assert ("worse than the baseline, which holds 0.25" in each.message) is (status is Status.FAIL)


def test_a_figure_in_another_unit_is_not_what_was_recorded(mixed: Manifest) -> None:
    known = baseline(replace(failing(0.3), unit="rows"))
    (each,) = found(mixed, policy(), baseline=known)["CG102"]
    assert each.status is Status.FAIL
    changed = difference(known, [failing(0.3)], None)
    assert (len(changed.new), len(changed.gone)) == (1, 1)


def test_a_baseline_bounds_how_many_it_is_about_and_which() -> None:
    known = replace(failing(0.3), extent=2, mark="a")
    for now, said in (
        (replace(known, extent=3), "wider than the baseline, which holds 2 of them"),
        (replace(known, mark="b"), "not what the baseline holds, which are others"),
    ):
        assert said in baselined(now, baseline(known), None).message
        assert not difference(baseline(known), [now], None).holds
    assert baselined(replace(known, extent=1), baseline(known), None).status is Status.BASELINED
    assert entries_of([replace(known, subject=REST)], None) == ()


def test_what_compares_a_pair_of_generations_is_not_carried_to_the_next_pair() -> None:
    lost = failing(5, code="CG201", subject="real", limit=0)
    changed = difference(baseline(lost, parent="sha256:x"), [lost], "sha256:y")
    assert ([entry.rule for entry in changed.new], [entry.rule for entry in changed.gone]) == (["CG201"], ["CG201"])
    assert difference(baseline(lost, parent="sha256:x"), [lost], "sha256:x").holds


def test_less_is_worse_where_the_limit_is_a_floor() -> None:
    changed = difference(baseline(failing(0.4, limit=0.5)), [failing(0.3, limit=0.5)], None)
    assert [now.measured for _, now in changed.worse] == [0.3]
    changed = difference(baseline(failing(0.3, limit=0.5)), [failing(0.4, limit=0.5)], None)
    assert [now.measured for _, now in changed.better] == [0.4]


def test_an_entry_that_matches_nothing_fails_where_it_stands(mixed: Manifest, tmp_path: Path) -> None:
    written = baseline(failing(0.3), failing(0.3, subject="gone")).write(tmp_path / "known.jsonl")
    loaded = load_baseline(written.name)
    (unused,) = found(mixed, policy(), baseline=loaded)["CG902"]
    assert unused.message == "the baseline holds CG102 of gone, which is not found any more"
    assert (unused.file, unused.line) == (str(tmp_path / "known.jsonl"), 2)


def test_a_baseline_of_another_parent_matches_nothing_and_says_so(mixed: Manifest, tmp_path: Path) -> None:
    written = baseline(failing(0.3), parent=f"sha256:{'0' * 64}").write(tmp_path / "known.jsonl")
    findings = found(mixed, policy(), baseline=load_baseline(written.name))
    assert findings["CG102"][0].status is Status.FAIL
    assert "written against another parent" in findings["CG902"][0].message


def test_a_difference_tells_new_worse_better_same_and_gone() -> None:
    before = baseline(*(failing(0.3, subject=name) for name in ("same", "worse", "better", "gone")))
    now = [
        failing(0.3, subject="same"),
        failing(0.4, subject="worse"),
        failing(0.25, subject="better"),
        failing(0.3, subject="new"),
    ]
    changed = difference(before, now, "sha256:parent")
    assert not changed.holds
    assert [entry.subject for entry in (*changed.new, *changed.same, *changed.gone)] == ["new", "same", "gone"]
    shrunk = {entry.subject: entry.measured for entry in changed.shrunk}
    assert shrunk == {"same": 0.3, "better": 0.25, "worse": 0.3}, "nothing is raised, nothing new is taken in"
    assert {entry.fingerprint for entry in changed.shrunk} <= {each.fingerprint("sha256:parent") for each in now}


def test_a_baseline_survives_its_file(tmp_path: Path) -> None:
    names = ["made", "two\nlines", "\ud800", "]]>", "%::", "<script>", "\N{CAT}"]
    before = baseline(*(failing(0.3, subject=name) for name in names), parent="sha256:x")
    loaded = load_baseline(before.write(tmp_path / "known.jsonl").name)
    assert [entry.as_dict() for entry in loaded.entries] == [entry.as_dict() for entry in before.entries]
    assert loaded.parent_digest == "sha256:x"
    assert [entry.line for entry in loaded.entries] == list(range(2, 2 + len(names)))


def test_what_cannot_be_waived_is_in_no_baseline(tmp_path: Path) -> None:
    assert entries_of([failing(0.3, code=code) for code in sorted(UNWAIVABLE)], None) == ()
    path = tmp_path / "known.jsonl"
    named = failing(0.3, code="CG204").fingerprint(None)
    entry = entries_of([failing(0.3)], None)[0].as_dict() | {"rule": "CG204", "fingerprint": named}
    path.write_text("\n".join(json.dumps(each) for each in (HEAD, entry)))
    with pytest.raises(ManifestError, match=r"known.jsonl:2: CG204 is never accepted"):
        load_baseline(path)


HEAD = {"schema": "collapse-guard/baseline/1", "parent_digest": None}
ENTRY = entries_of([Finding("CG102", Severity.ERROR, "", subject="a", measured=0.3, limit=0.2, unit="share")], None)[
    0
].as_dict()


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([], ":1: not a line of a baseline"),
        (["[]"], ":1: not a line of a baseline"),
        ([{"schema": "other"}], ":1: not a baseline: the first line says schema"),
        ([{"schema": "collapse-guard/baseline/1"}], ":1: not a baseline: the first line says schema"),
        ([HEAD, "{"], ":2: not a line of a baseline"),
        ([HEAD, ENTRY, ENTRY], ":3: stands in line 2 too"),
        ([HEAD, {}], ":2: an entry has the keys"),
        ([HEAD, ENTRY | {"more": 1}], ":2: an entry has the keys"),
        ([HEAD, ENTRY | {"measured": "0.3"}], ":2: measured is a finite number, got '0.3'"),
        ([HEAD, ENTRY | {"measured": True}], ":2: measured is a finite number"),
        ([HEAD, ENTRY | {"measured": float("nan")}], ":2: measured is a finite number, got nan"),
        ([HEAD, ENTRY | {"measured": 10**400}], ":2: measured is a finite number"),
        ([HEAD, ENTRY | {"where": ["a"]}], ":2: where is a mapping"),
        ([HEAD, ENTRY | {"extent": 1.5}], ":2: extent is a whole number or null"),
        ([HEAD, ENTRY | {"rule": "CG103"}], ":2: the fingerprint is not that of this rule"),
        ([HEAD, ENTRY | {"subject": "b"}], ":2: the fingerprint is not that of this rule"),
        ([HEAD | {"parent_digest": "sha256:x"}, ENTRY], ":2: the fingerprint is not that of this rule"),
        ([HEAD, json.dumps(ENTRY)[:-1] + ', "measured": 90}'], ":2: not a line of a baseline"),
        ([HEAD, ENTRY | {"subject": 3}], ":2: fingerprint, rule, subject, unit, mark are text"),
        (["[" * 100_000], ":1: not a line of a baseline"),
    ],
)
def test_a_baseline_that_cannot_be_used_is_one_line(tmp_path: Path, lines: list[Any], said: str) -> None:
    path = tmp_path / "known.jsonl"
    path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines))
    with pytest.raises(ManifestError) as caught:
        load_baseline(path)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_baseline_that_is_not_there_names_the_command(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="'collapse-guard baseline write' makes one"):
        load_baseline(tmp_path / "known.jsonl")
    with pytest.raises(ManifestError, match="cannot be read: Is a directory"):
        load_baseline(tmp_path)
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    with pytest.raises(ManifestError, match="not UTF-8"):
        load_baseline(tmp_path / "bytes")
