"""The gate: which input gives which exit code, and why."""

from __future__ import annotations

import hashlib
import importlib
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from jsonschema import Draft202012Validator

from collapse_guard import gate
from collapse_guard.errors import InputError
from collapse_guard.gate import GateResult, check
from collapse_guard.manifest import (
    Limits,
    Manifest,
    ParentLink,
    add_takedowns,
    build_manifest,
    load_manifest,
    write_manifest,
)
from collapse_guard.manifest.shard import read_again
from collapse_guard.records import DATE, EVIDENCE, GENERATION, GENERATOR, ID, ORIGIN, SOURCE, Status
from collapse_guard.rules import RULES

Entries = Sequence[dict[str, Any]]
CONFIGS = Path(__file__).parents[1] / "configs"


def tagged(entries: Entries) -> pa.Table:
    def column(name: str, default: Any, kind: pa.DataType) -> pa.Array:
        return pa.array([entry.get(name, default) for entry in entries], kind)

    ids = [hashlib.sha256(str(entry["id"]).encode()).digest()[:16] for entry in entries]
    return pa.table(
        {
            "label": column("label", "cat", pa.string()),
            ORIGIN: column("origin", 1, pa.uint8()),
            EVIDENCE: column("evidence", 1, pa.uint8()),
            GENERATION: column("generation", 0, pa.uint8()),
            SOURCE: column("source", "web", pa.string()),
            GENERATOR: column("generator", None, pa.string()),
            DATE: column("date", 65535, pa.uint16()),
            ID: pa.array(ids, pa.binary(16)),
        }
    )


def real(n_rows: int, *, first: int = 0, **tags: Any) -> list[dict[str, Any]]:
    return [{"id": first + n} | tags for n in range(n_rows)]


def made(n_rows: int, *, first: int = 1000, **tags: Any) -> list[dict[str, Any]]:
    own = {"source": "made", "origin": 2, "generation": 1, "generator": "m@1", "evidence": 7}
    return [{"id": first + n} | own | tags for n in range(n_rows)]


def write(path: Path, entries: Entries, *, parent: Manifest | None = None) -> Manifest:
    links = [] if parent is None else [ParentLink(name=parent.header.name, digest=parent.digest)]
    generation = len(links)
    built = build_manifest(
        tagged(entries), name=f"gen{generation}", generation=generation, class_column="label", parents=links
    )
    return write_manifest(built, path)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A policy, a parent, a healthy child, and a child that lost two real rows; the working directory is elsewhere."""
    root = tmp_path / "project"
    root.mkdir()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    policy(root, "extends: preset:starter@1\n")
    parent = write(root / "gen0.cgm.json", real(6))
    write(root / "good.cgm.json", real(6) + made(3), parent=parent)
    write(root / "lossy.cgm.json", real(4) + made(2), parent=parent)
    return root


def policy(root: Path, text: str, *, name: str = "policy.yaml") -> Path:
    path = root / name
    path.write_text(f"version: 1\n{text}", encoding="utf-8")
    return path


def run(
    root: Path, manifest: str = "good.cgm.json", against: str | None = "gen0.cgm.json", **options: Any
) -> GateResult:
    parent = None if against is None else root / against
    return check(root / "policy.yaml", root / manifest, against=parent, **options)


def failed(result: GateResult) -> set[str]:
    return {finding.code for finding in result.findings if finding.status is Status.FAIL}


def open_codes(result: GateResult) -> set[str]:
    return {finding.code for finding in result.findings if finding.status is Status.INCONCLUSIVE}


def test_a_manifest_that_keeps_the_policy_is_kept(folder: Path) -> None:
    result = run(folder)
    assert (result.exit_code, result.verdict, result.findings) == (0, "kept", ())
    assert result.codes == tuple(code for code, _ in RULES.items())
    assert result.manifest_digest == load_manifest(folder / "good.cgm.json").digest
    assert result.parent_digest == load_manifest(folder / "gen0.cgm.json").digest
    assert result.policy_digest is not None


def test_a_manifest_that_breaks_the_policy_is_violated(folder: Path) -> None:
    result = run(folder, "lossy.cgm.json")
    assert (result.exit_code, result.verdict) == (1, "violated")
    assert failed(result) == {"CG201", "CG202"}


def test_the_first_generation_is_checked_without_a_parent(folder: Path) -> None:
    result = run(folder, "gen0.cgm.json", against=None)
    assert (result.exit_code, result.parent_digest) == (0, None)


def test_a_parent_that_is_recorded_and_not_given_is_a_violation_and_never_a_pass(folder: Path) -> None:
    result = run(folder, against=None)
    assert result.exit_code == 1
    assert failed(result) == {"CG204"}
    assert open_codes(result) == {"CG201", "CG202", "CG203", "CG501"}


def test_missing_evidence_is_inconclusive_unless_the_policy_says_warn(folder: Path) -> None:
    policy(folder, "unit: tokens\n")
    result = run(folder)
    assert (result.exit_code, result.verdict) == (3, "inconclusive")
    counted = {"CG101", "CG102", "CG103", "CG106", "CG107", "CG108", "CG109", "CG110", "CG206", "CG306"}
    assert open_codes(result) == counted
    policy(folder, "unit: tokens\non_missing_evidence: warn\n")
    lenient = run(folder)
    assert (lenient.exit_code, lenient.verdict) == (0, "kept")
    assert open_codes(lenient) == open_codes(result)


def test_a_key_that_no_check_reads_is_inconclusive_unless_the_policy_says_warn(folder: Path) -> None:
    policy(folder, "provenance: {near_duplicate: {}}\n")
    result = run(folder)
    assert (result.exit_code, result.unenforced) == (3, ("provenance.near_duplicate",))
    policy(folder, "provenance: {near_duplicate: {}}\non_missing_evidence: warn\n")
    assert run(folder).exit_code == 0


def test_a_violation_goes_before_missing_evidence(folder: Path) -> None:
    policy(folder, "unit: tokens\n")
    result = run(folder, "lossy.cgm.json")
    assert open_codes(result)
    assert result.exit_code == 1


def test_unusable_input_goes_before_a_violation(folder: Path) -> None:
    policy(folder, "coverage: {reference: nowhere.cgm.json}\n")
    result = run(folder, "lossy.cgm.json")
    assert {"CG003", "CG201"} <= failed(result)
    assert result.exit_code == 2


def test_unusable_input_goes_before_everything_even_if_nothing_may_fail(folder: Path) -> None:
    policy(folder, "mixx: 1\non_missing_evidence: warn\n")
    assert run(folder, fail_on="never").exit_code == 2


@pytest.mark.parametrize(("fail_on", "warned", "erred"), [("error", 0, 1), ("warning", 1, 1), ("never", 0, 0)])
def test_fail_on_says_which_severity_is_a_violation(folder: Path, fail_on: str, warned: int, erred: int) -> None:
    policy(folder, "mix: {synthetic_to_real_max: 0.1}\n")
    result = run(folder, fail_on=fail_on)
    assert failed(result) == {"CG103"}
    assert result.exit_code == warned
    assert run(folder, "lossy.cgm.json", fail_on=fail_on).exit_code == erred


def test_fail_on_never_does_not_hide_missing_evidence(folder: Path) -> None:
    policy(folder, "unit: tokens\n")
    assert run(folder, "lossy.cgm.json", fail_on="never").exit_code == 3


def test_the_policy_can_make_a_warning_an_error_and_an_error_a_notice(folder: Path) -> None:
    policy(folder, "mix: {synthetic_to_real_max: 0.1}\nseverity: {CG103: error}\n")
    assert run(folder).exit_code == 1
    policy(folder, "mix: {real_min_share: 0.99}\n")
    assert run(folder).exit_code == 1
    policy(folder, "mix: {real_min_share: 0.99}\nseverity: {CG101: info}\n")
    assert run(folder, fail_on="warning").exit_code == 0


def test_a_scope_that_names_no_source_proves_nothing_and_says_so(folder: Path) -> None:
    policy(folder, "accumulation: {scope: [wbe]}\n")
    result = run(folder, "lossy.cgm.json")
    assert result.exit_code == 1
    assert any("accumulation.scope names 'wbe'" in finding.message for finding in result.findings)


def test_what_a_policy_does_not_ask_for_is_noted(folder: Path) -> None:
    policy(folder, "accumulation: {mode: 'off'}\n")
    assert [note.split(":")[0] for note in run(folder).notes] == [
        "the policy has no coverage section",
        "accumulation is off",
    ]
    policy(folder, "coverage: {}\n")
    assert run(folder).notes == ()


def test_manifests_are_taken_from_the_policy_relative_to_its_file(folder: Path) -> None:
    (folder / "policies").mkdir()
    path = policy(
        folder / "policies",
        "extends: preset:starter@1\nmanifests: {current: ../lossy.cgm.json, previous: ../gen0.cgm.json}\n",
    )
    result = check(path)
    assert failed(result) == {"CG201", "CG202"}
    assert result.parent_digest == load_manifest(folder / "gen0.cgm.json").digest


def test_arguments_go_before_the_manifests_of_the_policy(folder: Path) -> None:
    policy(folder, "manifests: {current: nowhere.cgm.json, previous: nowhere.cgm.json}\n")
    assert run(folder).exit_code == 0
    assert check(folder / "policy.yaml").exit_code == 2


def test_a_pinned_parent_is_compared(folder: Path) -> None:
    digest = load_manifest(folder / "gen0.cgm.json").digest
    policy(folder, f"manifests: {{parent_digest: '{digest}'}}\n")
    assert run(folder).exit_code == 0
    policy(folder, f"manifests: {{parent_digest: 'sha256:{'0' * 64}'}}\n")
    assert failed(run(folder)) == {"CG204"}


def test_the_reference_of_the_policy_is_read_relative_to_its_file(folder: Path) -> None:
    write(folder / "anchor.cgm.json", [*real(6), {"id": 99, "label": "owl"}])
    policy(folder, "coverage: {reference: anchor.cgm.json}\n")
    result = run(folder)
    assert failed(result) == {"CG501"}
    assert result.exit_code == 1


def test_no_manifest_at_all_is_unusable(folder: Path) -> None:
    result = check(folder / "policy.yaml")
    assert result.exit_code == 2
    (finding,) = [finding for finding in result.findings if finding.status is Status.FAIL]
    assert (finding.code, finding.message) == ("CG003", "manifest: none given")
    assert finding.remedy == "pass --manifest, or set manifests.current"


def test_every_fault_of_every_input_is_one_finding(folder: Path) -> None:
    policy(folder, "mixx: 1\nname: no\n")
    result = check(folder / "policy.yaml", folder / "nowhere.cgm.json", against=folder)
    found = [(finding.code, finding.line) for finding in result.findings if finding.status is Status.FAIL]
    assert found == [("CG001", 2), ("CG001", 3), ("CG003", None), ("CG003", None)]
    assert (result.exit_code, result.policy_digest, result.manifest_digest) == (2, None, None)


def index_of(root: Path, name: str) -> Path:
    """Return the part of the first shard."""
    path = load_manifest(root / name).shards[0].path
    assert path is not None
    return path


def cut(root: Path, name: str) -> None:
    path = index_of(root, name)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


def corrupt(root: Path, name: str) -> None:
    path = index_of(root, name)
    data = bytearray(path.read_bytes())
    data[10:40] = bytes(30)
    path.write_bytes(data)


def remove_index(root: Path, name: str) -> None:
    index_of(root, name).unlink()


def remove_header(root: Path, name: str) -> None:
    (root / name).unlink()


def folder_for_header(root: Path, name: str) -> None:
    (root / name).unlink()
    (root / name).mkdir()


def folder_for_index(root: Path, name: str) -> None:
    path = index_of(root, name)
    path.unlink()
    path.mkdir()


def no_json(root: Path, name: str) -> None:
    (root / name).write_bytes(b"\x00not json")


def other_schema(root: Path, name: str) -> None:
    edit(root, name, "schema", value="collapse-guard/manifest/9")


def index_with_nul(root: Path, name: str) -> None:
    edit(root, name, "index", "path", value="a\0.parquet")


def index_with_endless_name(root: Path, name: str) -> None:
    edit(root, name, "index", "path", value="a" * 300 + ".parquet")


def index_of_lists(root: Path, name: str) -> None:
    path = index_of(root, name)
    index = pq.read_table(path)
    pq.write_table(index.set_column(6, "class", pa.array([["a"]] * len(index))), path)


def edit(root: Path, name: str, *keys: str, value: Any) -> None:
    header = json.loads((root / name).read_bytes())
    place = header
    for key in keys[:-1]:
        place = place[key]
    place[keys[-1]] = value
    (root / name).write_text(json.dumps(header), encoding="utf-8")


DAMAGE: list[Callable[[Path, str], None]] = [
    cut,
    corrupt,
    remove_index,
    remove_header,
    folder_for_header,
    folder_for_index,
    no_json,
    other_schema,
    index_with_nul,
    index_with_endless_name,
    index_of_lists,
]


@pytest.mark.parametrize("name", ["good.cgm.json", "gen0.cgm.json"])
@pytest.mark.parametrize("damage", DAMAGE, ids=lambda damage: damage.__name__)
def test_a_damaged_manifest_is_a_finding_and_never_an_exception(
    folder: Path, damage: Callable[[Path, str], None], name: str
) -> None:
    damage(folder, name)
    result = run(folder)
    assert result.exit_code in {1, 2}
    found = [finding for finding in result.findings if finding.status is Status.FAIL]
    assert {"CG003", "CG004"} & {finding.code for finding in found}
    assert {finding.code for finding in found} <= {"CG003", "CG004", "CG204"}
    assert not any("\n" in finding.message for finding in found)


def test_a_damaged_index_is_unusable_and_named(folder: Path) -> None:
    cut(folder, "good.cgm.json")
    result = run(folder)
    (finding,) = [finding for finding in result.findings if finding.status is Status.FAIL]
    assert (result.exit_code, finding.code) == (2, "CG004")
    assert finding.file == str(index_of(folder, "good.cgm.json"))
    assert {"CG005", "CG101", "CG201", "CG301"} <= open_codes(result)


def test_a_parent_that_lost_rows_from_its_index_does_not_prove_anything(folder: Path) -> None:
    path = index_of(folder, "gen0.cgm.json")
    kept = set(load_manifest(folder / "lossy.cgm.json").index.column("id_hi").to_pylist())
    index = pq.read_table(path)
    pq.write_table(index.filter([word in kept for word in index.column("id_hi").to_pylist()]), path)
    assert run(folder, "lossy.cgm.json").exit_code in {1, 2}


def test_an_index_that_was_swapped_for_another_is_found(folder: Path) -> None:
    index_of(folder, "good.cgm.json").write_bytes(index_of(folder, "lossy.cgm.json").read_bytes())
    result = run(folder)
    assert "CG004" in failed(result)
    assert result.exit_code in {1, 2}


def test_a_header_that_claims_no_rows_is_found(folder: Path) -> None:
    policy(folder, "mix: {per_generator_max_share: 0.1}\n")
    edit(folder, "good.cgm.json", "index", "rows", value=0)
    result = run(folder)
    assert "CG004" in failed(result)
    assert result.exit_code in {1, 2}


def test_a_reference_that_is_enough_needs_no_parent_when_accumulation_is_off(folder: Path) -> None:
    write(folder / "anchor.cgm.json", real(6))
    policy(folder, "accumulation: {mode: 'off'}\ncoverage: {reference: anchor.cgm.json}\n")
    assert run(folder, against=None).exit_code == 0


def test_a_result_is_plain_values_under_its_schema(folder: Path) -> None:
    result = run(folder, "lossy.cgm.json")
    view = result.as_dict()
    assert json.loads(json.dumps(view, allow_nan=False)) == view
    Draft202012Validator(json.loads((CONFIGS / "result.schema.json").read_text())).validate(view)
    assert set(view) == set(json.loads((CONFIGS / "result.schema.json").read_text())["properties"])
    assert view["schema"] == gate.RESULT_SCHEMA == "collapse-guard/result/1"
    assert [rule["code"] for rule in view["rules"]] == list(result.codes)
    assert all(rule["title"] for rule in view["rules"])


def test_a_finding_stands_at_its_line_from_the_working_directory(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    policy(folder, "accumulation:\n  allow_loss: 0\n")
    (folder / ".git").mkdir()
    (folder / "text").mkdir()
    places = []
    for here in (folder, folder / "text", folder.parent):
        monkeypatch.chdir(here)
        found = run(folder, "lossy.cgm.json").as_dict()["findings"][0]
        places.append((found["file"], found["line"]))
    assert places == [("policy.yaml", 3), ("../policy.yaml", 3), ("project/policy.yaml", 3)]
    monkeypatch.chdir(folder / "text")
    assert run(folder, "lossy.cgm.json").as_dict()["folder"] == "text"


def test_the_same_inputs_give_the_same_result(folder: Path) -> None:
    assert run(folder, "lossy.cgm.json") == run(folder, "lossy.cgm.json")


# What decided, takedowns, limits


def hex_id(number: int) -> str:
    return hashlib.sha256(str(number).encode()).hexdigest()[:32]


def test_the_result_says_at_which_level_accumulation_was_proven(folder: Path) -> None:
    parent = load_manifest(folder / "gen0.cgm.json")
    write(folder / "grown.cgm.json", real(6) + real(4, first=50, source="books"), parent=parent)
    levels = {}
    for name in ("good", "grown", "lossy"):
        result = run(folder, f"{name}.cgm.json")
        assert result.proof is not None
        levels[name] = (result.proof.level.value, result.proof.holds)
        assert result.as_dict()["accumulation"]["level"] == result.proof.level.value
    assert levels == {"good": ("root", True), "grown": ("shards", True), "lossy": ("rows", False)}
    assert run(folder, "gen0.cgm.json", against=None).as_dict()["accumulation"] is None


def test_takedowns_are_read_relative_to_the_policy_and_excuse_a_loss(folder: Path) -> None:
    (folder / "governance").mkdir()
    add_takedowns(folder / "governance" / "t.jsonl", [hex_id(4), hex_id(5)], reason="erasure 118", date="2026-03-31")
    policy(folder, "accumulation: {takedowns: governance/t.jsonl}\n")
    result = run(folder, "lossy.cgm.json")
    assert (result.exit_code, result.unenforced) == (0, ())
    (finding,) = result.findings
    assert (finding.code, finding.severity.value) == ("CG207", "info")
    assert finding.message == "2 real rows left under takedowns: erasure 118 (2026-03-31) 2"
    assert result.as_dict()["accumulation"]["taken_down_by"] == [["erasure 118", "2026-03-31", 2]]


def test_a_row_that_was_taken_down_and_is_here_is_a_violation(folder: Path) -> None:
    add_takedowns(folder / "t.jsonl", [hex_id(2), hex_id(77)], reason="erasure 118", date="2026-03-31")
    policy(folder, "accumulation: {takedowns: t.jsonl}\n")
    result = run(folder)
    assert (result.exit_code, failed(result)) == (1, {"CG208"})


@pytest.mark.parametrize(("damage", "line"), [("missing", None), ("broken", 2), ("folder", None)])
def test_a_list_of_takedowns_that_cannot_be_read_is_unusable_and_excuses_nothing(
    folder: Path, damage: str, line: int | None
) -> None:
    path = folder / "t.jsonl"
    policy(folder, "accumulation: {takedowns: t.jsonl}\n")
    if damage == "broken":
        add_takedowns(path, [hex_id(4)], reason="r", date="2026-03-31")
        path.write_text(path.read_text()[:-20])
    elif damage == "folder":
        path.mkdir()
    result = run(folder, "lossy.cgm.json")
    assert (result.exit_code, result.verdict) == (2, "unusable")
    (finding,) = [finding for finding in result.findings if finding.code == "CG208"]
    assert (finding.file, finding.line) == (str(path), line)
    assert not finding.message.startswith(str(path))
    assert "CG201" in failed(result)


def test_a_page_that_is_damaged_behind_a_whole_footer_is_unusable(folder: Path) -> None:
    path = index_of(folder, "gen0.cgm.json")
    data = bytearray(path.read_bytes())
    data[4:30] = b"\xff" * 26
    path.write_bytes(data)
    load_manifest(folder / "gen0.cgm.json").check_readable()
    result = run(folder)
    assert result.exit_code == 2
    assert failed(result) <= {"CG004", "CG204"}
    assert str(path) in {finding.file for finding in result.findings}
    assert {"CG201", "CG101"} <= open_codes(result)


def test_a_renamed_part_is_found_by_its_digest(folder: Path) -> None:
    write(folder / "other.cgm.json", real(6, first=100))
    index_of(folder, "good.cgm.json").write_bytes(index_of(folder, "other.cgm.json").read_bytes())
    assert "CG004" in failed(run(folder))


def test_limits_do_not_change_the_result_and_bad_ones_are_an_error(folder: Path) -> None:
    held = run(folder, "lossy.cgm.json", limits=Limits("100MB", 1))
    assert held == run(folder, "lossy.cgm.json")
    with pytest.raises(InputError, match="DuckDB refuses the limits"):
        run(folder, "lossy.cgm.json", limits=Limits("plenty"))


def test_another_id_rule_is_a_violation_and_never_a_pass(folder: Path) -> None:
    edit(folder, "gen0.cgm.json", "id_rule", value="sha256-128/text-nfc/1[body]")
    result = run(folder)
    assert result.exit_code == 1
    assert failed(result) == {"CG204"}
    assert {"CG201", "CG202", "CG203"} <= open_codes(result)
    assert result.proof is None


def test_a_check_loads_neither_a_database_nor_data_frames(folder: Path) -> None:
    text = (
        "import sys; from collapse_guard.gate import check; "
        "assert check(*sys.argv[1:3], against=sys.argv[3]).exit_code == 0; "
        "print(sorted({'duckdb', 'pandas', 'datasets', 'filelock', 'pyarrow.dataset'} & set(sys.modules)))"
    )
    paths = [str(folder / name) for name in ("policy.yaml", "good.cgm.json", "gen0.cgm.json")]
    done = subprocess.run([sys.executable, "-c", text, *paths], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "[]\n", "")


def test_each_part_is_read_once_and_no_more(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    manifest = importlib.import_module("collapse_guard.manifest.manifest")

    def reading(path: Path) -> Any:
        read.append(str(path))
        return read_again(path)

    monkeypatch.setattr(manifest, "read_again", reading)
    monkeypatch.setattr("collapse_guard.manifest.engine.connected", None)
    assert run(folder).exit_code == 0
    parts = [str(path) for name in ("good", "gen0") for path in (folder / f"{name}.index").iterdir()]
    assert sorted(read) == sorted(parts)
