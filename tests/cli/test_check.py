"""``collapse-guard check``: exit codes and output, in this process and through the installed command."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

import pyarrow as pa
import pytest
from typer.testing import CliRunner, Result

from collapse_guard.cli import app
from collapse_guard.errors import InputError
from collapse_guard.manifest import Manifest, ParentLink, build_manifest, load_manifest, write_manifest
from collapse_guard.records import DATE, EVIDENCE, GENERATION, GENERATOR, ID, ORIGIN, SOURCE
from collapse_guard.rules import RULES

N_RULES = len(list(RULES.items()))
N_COUNTING = sum("unit" in rule.needs for _, rule in RULES.items())
COMMAND = Path(sys.executable).with_name("collapse-guard")
Entries = Sequence[dict[str, Any]]


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


def write(path: Path, entries: Entries, *, parent: Manifest | None = None) -> Manifest:
    links = [] if parent is None else [ParentLink(name=parent.header.name, digest=parent.digest)]
    built = build_manifest(tagged(entries), name="gen", generation=len(links), class_column="label", parents=links)
    return write_manifest(built, path)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory: a policy, a parent, a healthy child and one that lost two rows."""
    monkeypatch.chdir(tmp_path)
    policy("extends: preset:starter@1\n")
    parent = write(tmp_path / "gen0.cgm.json", real(6))
    write(tmp_path / "good.cgm.json", real(7), parent=parent)
    write(tmp_path / "lossy.cgm.json", real(4), parent=parent)
    return tmp_path


def policy(text: str) -> None:
    Path("policy.yaml").write_text(f"version: 1\n{text}", encoding="utf-8")


GOOD = ["-p", "policy.yaml", "-m", "good.cgm.json", "--against", "gen0.cgm.json"]
LOSSY = ["-p", "policy.yaml", "-m", "lossy.cgm.json", "--against", "gen0.cgm.json"]


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["check", *arguments])


def call(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the installed command."""
    return subprocess.run(
        [str(COMMAND), *arguments],
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
        timeout=120,
        env=os.environ | environment,
    )


def refuse_constant(name: str) -> NoReturn:
    raise AssertionError(f"{name} is not strict JSON")


def strict_json(text: str) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(text, parse_constant=refuse_constant)
    return value


def verdicts(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("policy ") and "sha256" not in line]


@pytest.mark.parametrize(
    ("text", "arguments", "code", "verdict"),
    [
        ("extends: preset:starter@1\n", GOOD, 0, f"policy kept ({N_RULES} rules)"),
        ("extends: preset:starter@1\n", LOSSY, 1, "policy violated (1 finding)"),
        ("mixx: 1\n", GOOD, 2, "policy unusable (1 finding"),
        ("unit: tokens\n", GOOD, 3, f"policy inconclusive ({N_COUNTING} not evaluated)"),
        ("unit: tokens\non_missing_evidence: warn\n", GOOD, 0, f"policy kept ({N_COUNTING} not evaluated)"),
        ("unit: tokens\n", LOSSY, 1, f"policy violated (1 finding, {N_COUNTING} not evaluated)"),
        ("provenance: {near_duplicate: {threshold: 0.9}}\n", GOOD, 3, "policy inconclusive (1 not evaluated)"),
        ("waivers: [{id: W, rule: CG201, reason: r, owner: o, expires: 2026-03-31}]\n", GOOD, 2, "policy unusable"),
    ],
)
def test_the_exit_code_and_the_first_line_say_the_verdict(
    folder: Path, text: str, arguments: list[str], code: int, verdict: str
) -> None:
    policy(text)
    result = invoke(*arguments)
    assert result.exit_code == code
    assert result.stdout.splitlines()[0].startswith(verdict)
    assert len(verdicts(result.stdout)) == 1


@pytest.mark.parametrize(("fail_on", "code"), [("error", 0), ("warning", 1), ("never", 0)])
def test_fail_on_sets_what_fails(folder: Path, fail_on: str, code: int) -> None:
    policy("sources: {web: {max_share: 0.1}}\nseverity: {CG102: warning}\n")
    assert invoke(*GOOD, "--fail-on", fail_on).exit_code == code


def test_another_word_for_fail_on_is_a_usage_error(folder: Path) -> None:
    assert invoke(*GOOD, "--fail-on", "banana").exit_code == 2


def test_where_no_policy_can_be_found_it_says_where_it_was_looked_for(folder: Path) -> None:
    done = call("check", "-m", "good.cgm.json")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(
        "error: no policy: neither --policy, nor COLLAPSE_GUARD_POLICY, nor collapse_guard.yaml"
    )
    assert len(done.stderr.splitlines()) == 1


def test_a_policy_is_found_and_the_project_sets_defaults(folder: Path) -> None:
    policy("sources: {web: {max_share: 0.1}}\nmix: {synthetic_to_real_max: 1}\nseverity: {CG102: warning}\n")
    Path("policy.yaml").rename("collapse_guard.yaml")
    asked = ("-m", "good.cgm.json", "--against", "gen0.cgm.json")
    assert invoke(*asked).exit_code == 0
    Path("pyproject.toml").write_text('[tool.collapse_guard]\nfail_on = "warning"\n')
    assert "note: pyproject.toml sets fail_on to warning" in invoke(*asked).stdout
    assert invoke(*asked).exit_code == 1
    Path("pyproject.toml").write_text('[tool.collapse_guard]\nfail_on = "warning"\nignore = ["CG102"]\n')
    kept = invoke(*asked)
    assert kept.stdout.startswith(f"policy kept ({N_RULES - 1} of {N_RULES} rules)\n")
    assert "note: left out by --select, --ignore or pyproject.toml: CG102" in kept.stdout
    assert "left out by" in invoke(*asked, "--output-format", "github").stdout
    assert invoke(*asked, "--ignore", "CG101").exit_code == 1
    assert invoke(*asked, "--no-config", "-p", "collapse_guard.yaml").exit_code == 0


def test_rows_are_not_believed_unread_whatever_is_selected(folder: Path) -> None:
    header = json.loads(Path("lossy.cgm.json").read_text())
    header["real_root_digest"] = json.loads(Path("gen0.cgm.json").read_text())["real_root_digest"]
    Path("lossy.cgm.json").write_text(json.dumps(header))
    for choice in (("--select", "CG1,CG2"), ("--ignore", "CG0")):
        result = invoke(*LOSSY, *choice)
        assert (result.exit_code, "CG004 error" in result.stdout) == (1, True)


def test_what_is_checked_is_not_written_over(folder: Path) -> None:
    Path("base.yaml").write_text("version: 1\nextends: preset:starter@1\n")
    policy("extends: base.yaml\nbaseline: known.jsonl\n")
    assert CliRunner().invoke(app, ["baseline", "write", *GOOD]).exit_code == 0
    part = part_of(Path("gen0.cgm.json"))
    for name in ("policy.yaml", "base.yaml", "known.jsonl", "good.cgm.json", "gen0.cgm.json", str(part)):
        before = Path(name).read_bytes()
        done = invoke(*GOOD, "--output", f"json={name}")
        assert Path(name).read_bytes() == before
        assert isinstance(done.exception, InputError)
        assert "is what was checked" in str(done.exception)


@pytest.mark.parametrize(("arguments", "code"), [(GOOD, 0), (LOSSY, 1), (["-p", "nowhere.yaml"], 2)])
def test_who_stops_reading_does_not_change_the_verdict(folder: Path, arguments: list[str], code: int) -> None:
    line = f"{COMMAND} check {' '.join(arguments)}; echo $? >&2"
    done = subprocess.run(["bash", "-c", f"({line}) | true"], capture_output=True, text=True, check=False)
    assert done.stderr == f"{code}\n"
    closed = subprocess.run(
        ["bash", "-c", f"{line.replace('; echo', ' >&-; echo')}"], capture_output=True, text=True, check=False
    )
    assert closed.stderr == f"{code}\n"


def test_only_what_is_selected_runs(folder: Path) -> None:
    policy("sources: {web: {max_share: 0.1}}\n")
    assert failed_codes(*LOSSY) == {"CG102", "CG201"}
    assert failed_codes(*LOSSY, "--select", "CG1") == {"CG102"}
    assert failed_codes(*LOSSY, "--select", "cg1,CG201", "--ignore", "CG102") == {"CG201"}
    assert "no rule is called 'CG21'; did you mean 'CG201'?" in str(invoke(*GOOD, "--select", "CG21").exception)


def failed_codes(*arguments: str) -> set[str]:
    view = strict_json(invoke(*arguments, "--output-format", "json").stdout)
    return {found["code"] for found in view["findings"] if found["status"] == "fail"}


@pytest.mark.parametrize(("text", "code"), [("", 0), ("unit: tokens\n", 0), ("mixx: 1\n", 2)])
def test_exit_zero_forgives_what_was_found_and_no_unusable_input(folder: Path, text: str, code: int) -> None:
    policy(text)
    assert invoke(*LOSSY, "--exit-zero").exit_code == code


def test_headers_alone_read_no_row(folder: Path) -> None:
    for manifest in ("gen0.cgm.json", "lossy.cgm.json"):
        part_of(folder / manifest).unlink()
    result = invoke(*LOSSY, "--headers-only")
    assert result.exit_code == 0
    assert "note: headers only: rows were not looked at" in result.stdout
    policy("manifests: {parent_digest: 'sha256:" + "0" * 64 + "'}\n")
    assert "CG204 error: policy.yaml:2: the policy pins parent" in invoke(*LOSSY, "--headers-only").stdout
    assert invoke(*LOSSY).exit_code == 2


def test_every_value_of_the_policy_says_where_it_is_from(folder: Path) -> None:
    policy("extends: preset:starter@1\nmix: {real_min_share: 0.75}\n")
    lines = invoke("-p", "policy.yaml", "--show-policy").stdout.splitlines()
    assert lines[0] == "# policy.yaml (--policy)"
    said = {line.split()[0]: line.split(maxsplit=1)[1] for line in lines[1:]}
    assert said["mix.real_min_share"] == "0.75  # policy.yaml:3"
    assert said["accumulation.mode"] == '"superset"  # preset:starter@1'
    assert said["mix.seed"] == "0  # default"
    view = strict_json(invoke("-p", "policy.yaml", "--show-policy", "--output-format", "json").stdout)
    assert {"key": "mix.real_min_share", "value": 0.75, "origin": "policy.yaml:3"} in view["values"]


def test_quiet_and_verbose_say_less_and_more(folder: Path) -> None:
    quiet, usual, loud = (invoke(*LOSSY, *flags).stdout for flags in ((), ("-q",), ("-v",)))
    quiet, usual = usual, quiet
    assert len(quiet.splitlines()) == 3
    assert set(quiet.splitlines()) < set(usual.splitlines())
    assert "n_lost_rows: 2" in loud
    assert "CG101 passed (real share below floor)" in loud


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("chek",), "no command is called 'chek'; did you mean 'check'?"),
        (("manifest", "shwo"), "no command is called 'shwo'; did you mean 'show'?"),
        (("check", "--output-format", "serif"), "did you mean 'sarif'?"),
        (("check", "-o", "serif=a.txt"), "did you mean 'sarif'?"),
        (("check", "--polcy", "x"), "--policy"),
    ],
)
def test_what_is_mistyped_is_told_with_the_nearest_word(folder: Path, arguments: tuple[str, ...], said: str) -> None:
    done = call(*arguments, COLUMNS="200")
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_no_color_is_honoured(folder: Path) -> None:
    arguments = ("check", *LOSSY, "--output-format", "rich")
    assert "\x1b[" in call(*arguments, FORCE_COLOR="1").stdout
    assert "\x1b[" not in call(*arguments, NO_COLOR="1").stdout


def test_the_manifests_of_the_policy_are_relative_to_its_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    policy("manifests: {current: lossy.cgm.json, previous: gen0.cgm.json}\n")
    (folder / "elsewhere").mkdir()
    monkeypatch.chdir(folder / "elsewhere")
    result = invoke("-p", "../policy.yaml")
    assert result.exit_code == 1
    assert "CG201 error: ../policy.yaml:1: 2 real rows lost" in result.stdout


def test_plain_output_is_one_line_per_statement(folder: Path) -> None:
    result = invoke(*LOSSY, "--output-format", "plain")
    first, finding, remedy, following, digests = result.stdout.splitlines()
    assert first == "policy violated (1 finding)"
    assert finding.startswith("CG201 error: policy.yaml:2: 2 real rows lost: web/cat 2; ids ")
    assert remedy.startswith("      -> put them back: 'collapse-guard prove PREVIOUS CURRENT --lost-to FILE'")
    assert following == "next: collapse-guard explain CG201"
    assert digests.startswith("manifest sha256:")


def test_rich_output_says_the_same_without_reading_markup_from_names(folder: Path) -> None:
    parent = write(folder / "gen0.cgm.json", real(6) + real(1, first=50, label="[red]owl[/nope]"))
    write(folder / "lossy.cgm.json", real(6), parent=parent)
    result = invoke(*LOSSY, "--output-format", "rich")
    assert result.exit_code == 1
    assert result.stdout.startswith("policy violated (2 findings)")
    assert "[red]owl[/nope]" in "".join(line.strip() for line in result.stdout.splitlines())


def test_json_on_stdout_and_in_a_file_is_strict_and_the_same(folder: Path) -> None:
    result = invoke(*LOSSY, "--output-format", "json", "--output", "out/result.json")
    assert result.exit_code == 1
    view = strict_json(result.stdout)
    assert view == strict_json(Path("out/result.json").read_text(encoding="utf-8"))
    assert (view["schema"], view["exit_code"], view["verdict"]) == ("collapse-guard/result/1", 1, "violated")
    (finding,) = view["findings"]
    assert (finding["code"], finding["severity"], finding["status"]) == ("CG201", "error", "fail")
    assert finding["evidence"]["n_lost_rows"] == 2


def test_limits_do_not_change_the_output(folder: Path) -> None:
    held = invoke(*LOSSY, "--output-format", "json", "--max-memory", "100MB", "--threads", "1")
    assert (held.exit_code, held.stdout) == (1, invoke(*LOSSY, "--output-format", "json").stdout)


def test_threads_that_no_machine_has_are_not_started(folder: Path) -> None:
    done = call("check", *LOSSY, "--threads", "100000")
    assert (done.returncode, done.stderr) == (2, "error: threads must be 1 to 1024, got 100000\n")


def test_a_memory_limit_that_is_none_is_unusable(folder: Path) -> None:
    done = call("check", *LOSSY, "--max-memory", "plenty")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: DuckDB refuses the limits: ")


def test_a_proof_that_holds_says_what_decided(folder: Path) -> None:
    lines = invoke(*GOOD, "--output-format", "plain").stdout.splitlines()
    assert "accumulation: every real row is kept (of 6, by 6 rows of 1 changed shards)" in lines


def test_a_result_is_written_whatever_the_verdict(folder: Path) -> None:
    Path("policy.yaml").unlink()
    result = invoke(*GOOD, "-o", "result.json")
    assert result.exit_code == 2
    assert strict_json(Path("result.json").read_text(encoding="utf-8"))["exit_code"] == 2


@pytest.mark.parametrize("output_format", ["plain", "json", "rich"])
def test_names_from_the_data_cannot_speak_for_the_guard(folder: Path, output_format: str) -> None:
    forged = "owl\npolicy kept (17 rules)\n\x1b[2J\U0001f408 '; DROP TABLE x; --"
    parent = write(folder / "gen0.cgm.json", real(6) + real(1, first=50, label=forged, source=forged))
    write(folder / "lossy.cgm.json", real(6), parent=parent)
    result = invoke(*LOSSY, "--output-format", output_format)
    assert result.exit_code == 1
    if output_format == "json":
        assert strict_json(result.stdout)["findings"][0]["evidence"]["by"] == [[forged, forged, 1]]
    else:
        assert verdicts(result.stdout) == ["policy violated (2 findings)"]
    assert "\x1b" not in result.stdout


def part_of(manifest: Path) -> Path:
    path = load_manifest(manifest).shards[0].path
    assert path is not None
    return path


def cut_index(folder: Path) -> None:
    path = part_of(folder / "good.cgm.json")
    path.write_bytes(path.read_bytes()[:-50])


def corrupt_index(folder: Path) -> None:
    path = part_of(folder / "good.cgm.json")
    data = bytearray(path.read_bytes())
    data[20:60] = b"\xff" * 40
    path.write_bytes(data)


def remove_manifest(folder: Path) -> None:
    (folder / "good.cgm.json").unlink()


def remove_parent(folder: Path) -> None:
    (folder / "gen0.cgm.json").unlink()


def remove_policy(folder: Path) -> None:
    (folder / "policy.yaml").unlink()


def folder_for_policy(folder: Path) -> None:
    (folder / "policy.yaml").unlink()
    (folder / "policy.yaml").mkdir()


def folder_for_manifest(folder: Path) -> None:
    (folder / "good.cgm.json").unlink()
    (folder / "good.cgm.json").mkdir()


def bad_policy(folder: Path) -> None:
    policy("mix: [1\n")


def odd_policy(folder: Path) -> None:
    policy('"[key]": 1\n')


DAMAGE: list[Callable[[Path], None]] = [
    cut_index,
    corrupt_index,
    remove_manifest,
    remove_parent,
    remove_policy,
    folder_for_policy,
    folder_for_manifest,
    bad_policy,
    odd_policy,
]


@pytest.mark.parametrize("damage", DAMAGE, ids=lambda damage: damage.__name__)
def test_unusable_input_is_exit_code_2_with_one_verdict_and_no_traceback(
    folder: Path, damage: Callable[[Path], None]
) -> None:
    damage(folder)
    result = invoke(*GOOD)
    assert isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code == 2
    assert len(verdicts(result.stdout)) == 1
    assert result.stdout.startswith("policy unusable")
    assert "Traceback" not in result.output


def test_the_command_says_kept_and_exits_0(folder: Path) -> None:
    done = call("check", *GOOD)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"policy kept ({N_RULES} rules)\n")


def test_the_command_says_violated_and_exits_1(folder: Path) -> None:
    done = call("check", *LOSSY, "--output-format", "json")
    assert (done.returncode, done.stderr) == (1, "")
    assert strict_json(done.stdout)["verdict"] == "violated"


def test_the_command_exits_2_without_a_traceback(folder: Path) -> None:
    cut_index(folder)
    done = call("check", *GOOD, "--against", "nowhere.cgm.json")
    assert done.returncode == 2
    assert done.stderr == ""
    assert len(verdicts(done.stdout)) == 1


def test_the_command_exits_3_when_evidence_is_missing(folder: Path) -> None:
    policy("unit: tokens\n")
    assert call("check", *GOOD).returncode == 3


def test_the_command_names_an_output_that_cannot_be_written(folder: Path) -> None:
    (folder / "out").mkdir()
    done = call("check", *GOOD, "-o", "json=out")
    assert done.returncode == 2
    assert done.stderr.startswith("error: --output json=out: is a folder")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_the_command_prints_what_a_narrow_terminal_can_show(folder: Path, encoding: str) -> None:
    parent = write(folder / "gen0.cgm.json", real(6) + real(1, first=50, label="\U0001f408"))
    write(folder / "lossy.cgm.json", real(6), parent=parent)
    done = call("check", *LOSSY, PYTHONIOENCODING=encoding, PYTHONUTF8="0")
    assert "Traceback" not in done.stderr
    assert done.returncode == 1
    assert verdicts(done.stdout) == ["policy violated (2 findings)"]


def test_the_command_without_a_subcommand_shows_its_commands() -> None:
    done = call()
    assert "check" in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_a_check_brings_no_trainer(folder: Path) -> None:
    script = (
        "import sys\n"
        "from collapse_guard.cli import app\n"
        "from collapse_guard import gate\n"
        "code = gate.check('policy.yaml', 'good.cgm.json', against='gen0.cgm.json').exit_code\n"
        "heavy = {'torch', 'lightning', 'pytorch_lightning', 'datasets', 'transformers', 'ray', 'matplotlib'}\n"
        "print(code, sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout == "0 []\n"
