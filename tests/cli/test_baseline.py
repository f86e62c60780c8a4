"""``collapse-guard baseline`` and ``waivers``: what is accepted, and that it only ever shrinks."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner, Result

from collapse_guard.cli import app
from collapse_guard.manifest import ParentLink, build_manifest, load_manifest, write_manifest
from tests.test_gate import made, real, tagged, write

if TYPE_CHECKING:
    from collapse_guard.manifest import Manifest

BASELINE = "collapse_guard_baseline.jsonl"
CAPPED = "sources: {web: {}, made: {max_share: 0.1}, own: {max_share: 0.1}}\nmix: {real_min_share: 0.0}\n"


@pytest.fixture
def parent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Manifest:
    """The working directory: a policy with two capped sources, a parent, and a child in which both are above."""
    monkeypatch.chdir(tmp_path)
    policy(f"{CAPPED}baseline: {BASELINE}\n")
    before = write(tmp_path / "gen0.cgm.json", real(10))
    child(before, n_made=4, n_own=4)
    return before


def child(before: Manifest, *, n_made: int, n_own: int) -> None:
    rows = [*real(10), *made(n_made), *made(n_own, first=2000, source="own")]
    write(Path("gen1.cgm.json"), rows, parent=before)


def policy(text: str) -> None:
    head = "version: 1\nmanifests: {current: gen1.cgm.json, previous: gen0.cgm.json}\n"
    Path("collapse_guard.yaml").write_text(head + text, encoding="utf-8")


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def entries() -> dict[str, float]:
    lines = Path(BASELINE).read_text(encoding="utf-8").splitlines()[1:]
    return {each["subject"]: each["measured"] for each in map(json.loads, lines)}


def test_what_fails_today_is_accepted_and_told(parent: Manifest) -> None:
    assert run("baseline", "write").stdout == f"{BASELINE}: 2 entries\n"
    result = run("check")
    assert result.exit_code == 0
    assert result.stdout.startswith("policy kept (2 in the baseline)\naccepted by baseline: CG102 source 'made'")
    assert run("check", "--no-waivers").exit_code == 1


def test_worse_fails_and_is_not_written_over(parent: Manifest) -> None:
    run("baseline", "write")
    before = Path(BASELINE).read_bytes()
    child(parent, n_made=6, n_own=4)
    result = run("check")
    assert result.exit_code == 1
    assert "worse than the baseline, which holds 0.222222" in result.stdout
    refused = run("baseline", "write")
    assert refused.exit_code == 1
    assert "worse: CG102 of made 0.222222 share -> 0.3 share" in refused.stdout
    assert "a baseline takes in nothing new" in refused.stderr
    assert Path(BASELINE).read_bytes() == before


def test_what_is_mended_must_be_taken_out_and_what_is_better_is_lowered(parent: Manifest) -> None:
    run("baseline", "write")
    child(parent, n_made=2, n_own=0)
    result = run("check")
    assert result.exit_code == 1
    assert "CG902 error: collapse_guard_baseline.jsonl:3: the baseline holds CG102 of own" in result.stdout
    differing = run("baseline", "diff")
    assert differing.exit_code == 0
    assert "gone: CG102 of own 0.222222 share" in differing.stdout
    assert "0 new, 0 worse, 1 better, 1 gone, 0 as before" in differing.stdout
    assert run("baseline", "prune").stdout == f"{BASELINE}: 2 entries -> 1 (1 gone, 1 lowered)\n"
    assert entries() == {"made": pytest.approx(2 / 12)}
    assert run("check").exit_code == 0
    child(parent, n_made=4, n_own=0)
    assert run("check").exit_code == 1, "it may not grow back"


def test_a_difference_as_json_has_every_entry_once(parent: Manifest) -> None:
    run("baseline", "write")
    child(parent, n_made=6, n_own=0)
    result = run("baseline", "diff", "--output-format", "json")
    found = json.loads(result.stdout)
    assert result.exit_code == 1
    assert [each["subject"] for each in (*found["worse"], *found["gone"])] == ["made", "own"]
    assert found["worse"][0]["recorded"] == pytest.approx(4 / 18)


def test_a_next_generation_carries_the_baseline_over_and_takes_in_nothing(parent: Manifest) -> None:
    run("baseline", "write")
    second = load_manifest("gen1.cgm.json")
    rows = [*real(10), *made(2), *made(3, first=2000, source="own")]
    next_of(second, Path("gen2.cgm.json"), rows)
    asked = ("-m", "gen2.cgm.json", "--against", "gen1.cgm.json")
    result = run("check", *asked)
    assert result.exit_code == 1
    assert "written against another parent manifest" in result.stdout
    assert run("baseline", "write", *asked).stdout.startswith(f"{BASELINE}: 2 entries")
    assert entries() == {"made": pytest.approx(2 / 15), "own": pytest.approx(3 / 15)}
    assert run("check", *asked).exit_code == 0
    next_of(second, Path("gen2.cgm.json"), [*rows, *made(1, first=3000)])
    assert run("check", *asked).exit_code == 1


def next_of(before: Manifest, path: Path, rows: list[dict[str, Any]]) -> None:
    parents = [ParentLink(name=before.header.name, digest=before.digest)]
    built = build_manifest(tagged(rows), name="gen2", generation=2, class_column="label", parents=parents)
    write_manifest(built, path)


def test_a_baseline_that_no_policy_names_says_what_to_write(parent: Manifest) -> None:
    policy(CAPPED)
    assert run("baseline", "write").stdout.splitlines() == [
        f"{BASELINE}: 2 entries",
        f"next: write 'baseline: {BASELINE}' into collapse_guard.yaml",
    ]
    assert run("check").exit_code == 1
    assert run("check", "--baseline", BASELINE).exit_code == 0


def test_a_baseline_that_is_named_and_not_there_is_unusable(parent: Manifest) -> None:
    result = run("check")
    assert result.exit_code == 2
    assert (
        "CG902 error: collapse_guard_baseline.jsonl: no such baseline; 'collapse-guard baseline write'" in result.stdout
    )
    assert run("baseline", "diff").exit_code != 0
    assert run("baseline", "prune").exit_code != 0


def test_where_the_gate_cannot_look_nothing_is_written(parent: Manifest) -> None:
    Path("gen1.cgm.json").unlink()
    result = run("baseline", "write")
    assert result.exit_code == 2
    assert "policy unusable" in result.stderr
    assert not Path(BASELINE).exists()


def waiver(name: str, days: int, **more: Any) -> dict[str, Any]:
    ends = dt.datetime.now(dt.UTC).date() + dt.timedelta(days)
    whole = {"id": name, "rule": "CG102", "where": {"source": name}, "reason": "agreed", "owner": "data"}
    return whole | {"expires": ends.isoformat(), "limit": {"max_share": 0.5}} | more


def test_waivers_are_listed_by_their_end_and_a_calendar_job_can_tell(parent: Manifest) -> None:
    policy(CAPPED + "waivers: " + json.dumps([waiver("made", 100), waiver("own", 3)]))
    result = run("waivers", "list", "--output-format", "plain")
    assert result.exit_code == 0
    names = [line.split()[0] for line in result.stdout.splitlines() if "CG102" in line]
    assert names == ["own", "made"]
    soon = run("waivers", "list", "--expiring", "14d", "--output-format", "json")
    assert soon.exit_code == 1
    assert [(each["id"], each["days_left"]) for each in json.loads(soon.stdout)["waivers"]] == [("own", 3)]
    assert run("waivers", "list", "--expiring", "2").exit_code == 0


@pytest.mark.parametrize("text", ["soon", "-3d", "14w", "99999d"])
def test_a_number_of_days_that_is_none_is_told(parent: Manifest, text: str) -> None:
    policy(CAPPED)
    result = run("waivers", "list", "--expiring", text)
    assert "takes a number of days such as 14d" in str(result.exception) + result.output


def test_a_waiver_is_told_in_every_check(parent: Manifest) -> None:
    policy(CAPPED + "waivers: " + json.dumps([waiver("made", 100), waiver("own", 3)]))
    result = run("check")
    assert result.exit_code == 0
    assert "policy kept (1 finding, 2 waived)" in result.stdout, "the end of one is announced"
    assert "CG904 info: collapse_guard.yaml:5: waiver own of CG102 ends in 3 days" in result.stdout
    assert "accepted by waiver made until" in result.stdout


def test_a_rule_that_guards_the_evidence_is_waived_with_a_flag_alone(parent: Manifest) -> None:
    policy(CAPPED + "waivers: " + json.dumps([waiver("x", 100, rule="CG204", where={}, limit={"max": 1})]))
    refused = run("check")
    assert refused.exit_code == 2
    assert "CG903 error: collapse_guard.yaml:5: waivers[0].rule: CG204 cannot be waived" in refused.stdout
    allowed = run("check", "--allow-unsafe-waivers")
    assert "note: unsafe waivers were allowed" in allowed.stdout
    assert allowed.exit_code == 1
