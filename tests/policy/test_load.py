"""Reading a policy file: every fault is one problem that says what, where and what to type."""

from __future__ import annotations

import pickle
import re
import string
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from collapse_guard.errors import PolicyError, Problem
from collapse_guard.policy import Policy, load_policy, policy_from_mapping
from collapse_guard.policy.yaml_tree import MAX_POLICY_BYTES


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def faults(path: Path) -> tuple[Problem, ...]:
    with pytest.raises(PolicyError) as caught:
        load_policy(path)
    return caught.value.problems


def faults_of(folder: Path, text: str | bytes, *, name: str = "policy.yaml") -> tuple[Problem, ...]:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return faults(path)


def loaded(folder: Path, text: str | bytes) -> Policy:
    path = folder / "policy.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return load_policy(path)


def check_problems(problems: tuple[Problem, ...]) -> None:
    assert problems
    assert all(problem.code in {"CG001", "CG002", "CG903"} and problem.message for problem in problems)


# text -> line, dotted key, what the message says, what the remedy says
FAULTS: dict[str, tuple[str, int | None, str, str, str]] = {
    "an unknown key": ("version: 1\nmixx: {}\n", 2, "mixx", "unknown key", "did you mean 'mix'?"),
    "an unknown key in a section": (
        "version: 1\nmix:\n  real_min_shar: 0.5\n",
        3,
        "mix.real_min_shar",
        "unknown key",
        "did you mean 'real_min_share'?",
    ),
    "an unknown key in a map of sections": (
        "version: 1\nsources:\n  web: {orign: real}\n",
        3,
        "sources.web.orign",
        "unknown key",
        "did you mean 'origin'?",
    ),
    "an unknown key in a list of sections": (
        (
            "version: 1\nwaivers:\n- {id: W, rule: CG102, reason: r, owner: o, limit: {max: 1},\n"
            "  expires: 2027-03-31, ownr: x}"
        ),
        4,
        "waivers[0].ownr",
        "unknown key",
        "did you mean 'owner'?",
    ),
    "an alias in a list": (
        "version: 1\nname: &n a\ncoverage:\n  by: [\n    *n]\n",
        5,
        "coverage.by[0]",
        "aliases (*name) are not allowed",
        "write the value out",
    ),
    "an unknown key like nothing": ("version: 1\nzzzz: 1\n", 2, "zzzz", "unknown key", "allowed: accumulation, "),
    "a missing key": ("name: x\n", None, "version", "missing key", "add it"),
    "a duplicate key": (
        "version: 1\nmix:\n  seed: 1\n  seed: 2\n",
        4,
        "mix.seed",
        "duplicate key, first set in line 3",
        "keep one",
    ),
    "a text for a number": (
        "version: 1\nmix: {real_min_share: half}\n",
        2,
        "mix.real_min_share",
        "must be a valid number, got 'half'",
        "",
    ),
    "a fraction for an integer": ("version: 1\nmix: {seed: 1.5}\n", 2, "mix.seed", "integer", ""),
    "a number out of range": ("version: 1\nmix: {real_min_share: 1.5}\n", 2, "mix.real_min_share", "got 1.5", ""),
    "not a number": ("version: 1\nmix: {synthetic_to_real_max: .nan}\n", 2, "mix.synthetic_to_real_max", "finite", ""),
    "infinity": ("version: 1\nmix: {synthetic_to_real_max: .inf}\n", 2, "mix.synthetic_to_real_max", "finite", ""),
    "a word outside the list": ("version: 1\nunit: row\n", 2, "unit", "'rows', 'tokens', 'bytes' or 'weight'", ""),
    "an empty section": ("version: 1\nmix:\n", 2, "mix", "must be an object, got None", ""),
    "a list for a mapping": ("version: 1\nmix: [1]\n", 2, "mix", "must be an object, got [1]", ""),
    "a bool for the version": ("version: true\n", 1, "version", "got True", ""),
    "another version": ("version: 2\n", 1, "version", "must be 1, got 2", ""),
    "a malformed rule code": ("version: 1\nseverity:\n  CG1: info\n", 3, "severity.CG1", "got 'CG1'", ""),
    "extends that is no text": ("version: 1\nextends: [a]\n", 2, "extends", "must be text, got ['a']", "preset:NAME@1"),
    "YAML 1.1 no as a value": ("version: 1\nname: no\n", 2, "name", "must be a valid string, got False", ""),
    "YAML 1.1 sexagesimal": ("version: 1\nname: 12:30:45\n", 2, "name", "is read as 45045", ""),
    "YAML 1.1 octal": ("version: 1\nmix: {seed: 010}\n", 2, "mix.seed", "'010' is read as 8", ""),
    "an exponent without a point": (
        "version: 1\ncoverage: {tail_mass: 1e-1}\n",
        2,
        "coverage.tail_mass",
        "got '1e-1'",
        "write 0.1",
    ),
    "a severity that would hide tampering": (
        "version: 1\nseverity: {CG004: info}\n",
        2,
        "severity.CG004",
        "cannot be lowered",
        "",
    ),
    "an alias": ("version: 1\nname: &a rows\nunit: *a\n", 3, "unit", "aliases (*name) are not allowed", "write"),
    "a merge key": ("version: 1\nmix:\n  <<: {seed: 1}\n", 3, "mix", "merge keys (<<) are not allowed", "use extends"),
    "a tag of its own": ("version: 1\nname: !secret a\n", 2, "name", "tags (!secret) are not allowed", "plain value"),
    "a Python tag": ("version: 1\nname: !!python/name:os.system a\n", 2, "name", "python/name", ""),
    "a tag on a mapping": ("version: 1\nmix: !secret {seed: 1}\n", 2, "mix", "tags (!secret) are not allowed", ""),
    "a Python tag on a mapping": (
        "version: 1\nmix: !!python/object/apply:os.system {seed: 1}\n",
        2,
        "mix",
        "python/object/apply",
        "",
    ),
    "a tag on a list": ("version: 1\naccumulation:\n  scope: !x [a]\n", 3, "accumulation.scope", "tags (!x)", ""),
    "an alias as a key": ("version: 1\nmix: {&a seed : 1}\n*a : 2\n", 3, "", "aliases (*name) are not allowed", ""),
    "a list as a key": ("version: 1\n? [a, b]\n: 1\n", 2, "", "a key must be plain text", ""),
    "a tab as indentation": ("version: 1\nmix:\n\tseed: 1\n", 3, "", "not YAML: found character '\\t'", ""),
    "an open bracket": ("version: 1\nmix: {seed: 1\n", 3, "", "not YAML: expected ',' or '}'", ""),
    "two documents": ("version: 1\n---\nversion: 1\n", 2, "", "not YAML: but found another document", ""),
    "a word that no shortage knows": (
        "version: 1\nmix:\n  when_short: grow\n",
        3,
        "mix.when_short",
        "must be 'shrink', 'stop' or 'fail', got 'grow'",
        "or {repeat: k} with k from 2 to 16",
    ),
    "a row that is repeated once": (
        "version: 1\nmix:\n  when_short:\n    repeat: 1\n",
        4,
        "mix.when_short.repeat",
        "must be greater than or equal to 2, got 1",
        "",
    ),
    "a key beside repeat": (
        "version: 1\nmix:\n  when_short:\n    repeat: 2\n    repaet: 3\n",
        5,
        "mix.when_short.repaet",
        "unknown key",
        "did you mean 'repeat'?",
    ),
    "a list where a word belongs": (
        "version: 1\nmix: {when_short: [stop]}\n",
        2,
        "mix.when_short",
        "got ['stop']",
        "or {repeat: k}",
    ),
    "a share of a generation above one": (
        "version: 1\nmix: {per_generation_max_share: 1.5}\n",
        2,
        "mix.per_generation_max_share",
        "must be less than or equal to 1, got 1.5",
        "or a list of shares, of generation 1, 2, ...",
    ),
    "a share in a list above one": (
        "version: 1\nmix:\n  per_generation_max_share:\n  - 0.5\n  - 1.5\n",
        5,
        "mix.per_generation_max_share[1]",
        "must be less than or equal to 1, got 1.5",
        "",
    ),
    "a budget that is a number": ("version: 1\nmix: {budget: 5}\n", 2, "mix.budget", "must be an object, got 5", ""),
    "a budget of nothing": (
        "version: 1\nmix: {budget: {amount: 0}}\n",
        2,
        "mix.budget.amount",
        "must be greater than 0, got 0",
        "",
    ),
    "a budget without an amount": ("version: 1\nmix: {budget: {}}\n", 2, "mix.budget.amount", "missing key", "add it"),
    "two columns of a text": (
        "version: 1\nidentity: {rule: text, columns: [a, b]}\n",
        2,
        "identity.columns",
        "ids over text need exactly one column, got ['a', 'b']",
        "",
    ),
    "a control character": ('version: 1\nname: "a\x00b"\n', None, "", "not YAML: unacceptable character #x0000", ""),
    "nested too deeply": ("[" * 5000, None, "", "nested too deeply", ""),
    "an empty file": ("", 1, "", "a policy is a mapping of keys", "start with 'version: 1'"),
    "only a comment": ("# nothing\n", 1, "", "a policy is a mapping of keys", "start with 'version: 1'"),
    "a list": ("- version: 1\n", 1, "", "a policy is a mapping of keys", "start with 'version: 1'"),
    "a scalar": ("version\n", 1, "", "a policy is a mapping of keys", "start with 'version: 1'"),
    "a floor above the cap": (
        "version: 1\nsources:\n  web: {min_share: 0.6, max_share: 0.5}\n  more: {}\n",
        3,
        "sources.web.min_share",
        "floor 0.6 is above this source's max_share 0.5",
        "",
    ),
    "a key called [key]": ('version: 1\n"[key]": 2\n', 2, "[key]", "unknown key", "allowed: "),
    "half a surrogate pair": ('version: 1\nname: "\\ud800"\n', 2, "name", "", ""),
    "an endless number": (f"version: 1\nmix:\n  seed: {'9' * 5000}\n", 3, "mix.seed", "", ""),
    "an endless hexadecimal number": (f"version: 1\nmix:\n  seed: 0x{'f' * 5000}\n", 3, "mix.seed", "", ""),
    "a bool tag on another word": ("version: 1\nname: !!bool maybe\n", 2, "name", "", ""),
    "a time tag on another word": ("version: 1\nname: !!timestamp soon\n", 2, "name", "", ""),
    "an integer tag on nothing": ('version: !!int ""\n', 1, "version", "", ""),
    "a date that does not exist": ("version: 1\nname: 2026-02-30\n", 2, "name", "", ""),
}


@pytest.mark.parametrize("what", FAULTS)
def test_a_fault_is_one_problem_with_its_place(folder: Path, what: str) -> None:
    text, line, key, message, remedy = FAULTS[what]
    found = faults_of(folder, text)
    assert [(p.line, p.key) for p in found] == [(line, key)], found
    problem = found[0]
    assert problem.code == ("CG002" if "floor" in what or "severity that" in what else "CG001")
    assert problem.file == str(folder / "policy.yaml")
    assert message in problem.message
    assert remedy in problem.remedy


# text -> line, key, text of the contradiction
CONTRADICTIONS: dict[str, tuple[str, int, str, str]] = {
    "floors above one": (
        "version: 1\nsources:\n  a: {min_share: 0.6}\n  b: {min_share: 0.6}\n",
        2,
        "sources",
        "the min_share floors add up to 1.2, more than 1",
    ),
    "caps below one": (
        "version: 1\nsources:\n  a: {origin: real, max_share: 0.3}\n  b: {max_share: 0.3}\n",
        2,
        "sources",
        "the max_share caps add up to 0.6, less than 1",
    ),
    "no room for the real floor": (
        "version: 1\nmix:\n  real_min_share: 0.8\nsources:\n  made: {origin: synthetic, min_share: 0.3}\n",
        3,
        "mix.real_min_share",
        "floors of non-real sources add up to 0.3",
    ),
    "a generator of a real source": (
        "version: 1\nsources:\n  web:\n    origin: real\n    generator: m@1\n",
        5,
        "sources.web.generator",
        "a real source has no generator",
    ),
    "a synthetic source that accumulates": (
        "version: 1\naccumulation:\n  scope: [made]\nsources:\n  made: {origin: synthetic}\n",
        3,
        "accumulation.scope",
        "source 'made' is synthetic",
    ),
    "a source in the scope that is off": (
        "version: 1\naccumulation:\n  scope: [web]\nsources:\n  web: {accumulate: 'off'}\n",
        3,
        "accumulation.scope",
        "its accumulate is off",
    ),
    "a share that is wanted of real rows": (
        "version: 1\nsources:\n  web: {origin: real, share: 0.3}\n",
        3,
        "sources.web.share",
        "shares are wanted of synthetic sources, this one is real",
    ),
    "a wanted share above its cap": (
        "version: 1\nsources:\n  bot: {share: 0.3, max_share: 0.2}\n",
        3,
        "sources.bot.share",
        "it is above this source's max_share 0.2",
    ),
    "a wanted share below its floor": (
        "version: 1\nsources:\n  bot: {share: 0.2, min_share: 0.3}\n",
        3,
        "sources.bot.share",
        "it is below this source's min_share 0.3",
    ),
    "wanted shares that the real floor leaves no room for": (
        "version: 1\nmix: {real_min_share: 0.8}\nsources:\n  a: {share: 0.2}\n  b: {share: 0.1}\n",
        3,
        "sources",
        "the wanted shares add up to 0.3, real_min_share 0.8 leaves 0.2",
    ),
    "wanted shares of everything": (
        "version: 1\nmix: {real_min_share: 0}\nsources:\n  a: {share: 1.0}\n",
        3,
        "sources",
        "the wanted shares add up to 1, 1 or more",
    ),
    "wanted shares above the ratio": (
        "version: 1\nmix:\n  synthetic_to_real_max: 0.25\nsources:\n  a: {share: 0.3}\n",
        3,
        "mix.synthetic_to_real_max",
        "the wanted shares add up to 0.3, 0.25 synthetic to 1 real leaves 0.2",
    ),
    "wanted shares of one generator above its cap": (
        "version: 1\nmix:\n  per_generator_max_share: 0.2\nsources: {a: {share: 0.25, generator: m@1}}\n",
        3,
        "mix.per_generator_max_share",
        "sources of the generator 'm@1' want shares of 0.25, which is above it",
    ),
    "shares and balance": (
        "version: 1\ncoverage: {}\nmix:\n  balance: anchor\nsources:\n  a: {share: 0.0}\n",
        4,
        "mix.balance",
        "deals the synthetic rows already; use one of the two",
    ),
    "balance without classes": (
        "version: 1\nmix:\n  balance: anchor\n",
        3,
        "mix.balance",
        "the policy has no coverage.cells that say what a class is",
    ),
    "a budget without classes": (
        "version: 1\ncoverage: {cells: []}\nmix:\n  budget: {amount: 5}\n",
        4,
        "mix.budget",
        "the policy has no coverage.cells",
    ),
    "a class cap without classes": (
        "version: 1\nmix:\n  per_class_max_synthetic_share: 0.5\n",
        3,
        "mix.per_class_max_synthetic_share",
        "the policy has no coverage.cells",
    ),
    "weights that are read and made": (
        "version: 1\nunit: weight\nmix:\n  weights: golden\n",
        4,
        "mix.weights",
        "reads weights from a column, golden makes them",
    ),
    "a column of amounts for rows": (
        "version: 1\nunit_column: n_tokens\n",
        2,
        "unit_column",
        "rows count 1 each; set unit to tokens, bytes or weight",
    ),
    "an empty list of generations": (
        "version: 1\nmix:\n  per_generation_max_share: []\n",
        3,
        "mix.per_generation_max_share",
        "an empty list caps nothing",
    ),
}


@pytest.mark.parametrize("what", CONTRADICTIONS)
def test_a_policy_that_contradicts_itself_is_cg002_at_the_line(folder: Path, what: str) -> None:
    text, line, key, message = CONTRADICTIONS[what]
    (problem,) = faults_of(folder, text)
    assert (problem.code, problem.line, problem.key) == ("CG002", line, key)
    assert message in problem.message


@pytest.mark.parametrize(
    "text",
    [
        "version: 1\nsources:\n  a: {min_share: 0.5, max_share: 0.5}\n  b: {min_share: 0.5, max_share: 0.5}\n",
        "version: 1\nmix: {real_min_share: 0.5}\nsources: {made: {origin: synthetic, min_share: 0.5}}\n",
        "version: 1\nsources: {a: {max_share: 0.3}, b: {}}\n",
        "version: 1\nmix: {real_min_share: 0.7}\nsources: {a: {share: 0.1, max_share: 0.1}, b: {share: 0.2}}\n",
        "version: 1\nmix: {synthetic_to_real_max: 0.25}\nsources: {a: {share: 0.2, min_share: 0.2}}\n",
        "version: 1\nmix: {per_generator_max_share: 0.1}\nsources: {a: {share: 0.1, generator: m}}\n",
    ],
)
def test_shares_that_just_fit_are_no_contradiction(folder: Path, text: str) -> None:
    assert loaded(folder, text).sources


def test_every_fault_of_a_file_is_reported_in_one_pass_by_line(folder: Path) -> None:
    found = faults_of(folder, "version: 1\nversion: 1\nmixx: 1\nname: no\nmix: {seed: -1}\n")
    assert [(problem.line, problem.key) for problem in found] == [
        (2, "version"),
        (3, "mixx"),
        (4, "name"),
        (5, "mix.seed"),
    ]


def test_yaml_1_1_words_as_keys_stay_text(folder: Path) -> None:
    found = faults_of(folder, "version: 1\nno: 1\non: 2\n")
    assert [(problem.line, problem.key, problem.message) for problem in found] == [
        (2, "no", "unknown key"),
        (3, "on", "unknown key"),
    ]
    policy = loaded(folder, "version: 1\nsources:\n  no: {}\n  on: {}\n  1: {}\n  null: {}\n")
    assert list(policy.sources) == ["no", "on", "1", "null"]


def test_a_byte_order_mark_and_crlf_are_read_like_any_file(folder: Path) -> None:
    policy = loaded(folder, b"\xef\xbb\xbfversion: 1\r\nname: from-windows\r\nmix:\r\n  seed: 7\r\n")
    assert (policy.name, policy.mix.seed) == ("from-windows", 7)
    (problem,) = faults_of(folder, b"\xef\xbb\xbfversion: 1\r\n\r\nmixx: {}\r\n")
    assert problem.line == 3


def test_bytes_that_are_not_utf_8_are_one_problem(folder: Path) -> None:
    (problem,) = faults_of(folder, b"version: 1\nname: \xff\n")
    assert (problem.code, problem.message, problem.remedy) == ("CG001", "is not UTF-8 (byte 17)", "save it as UTF-8")


def test_a_directory_is_one_problem(folder: Path) -> None:
    (problem,) = faults(folder)
    assert (problem.code, problem.file, problem.message) == ("CG001", str(folder), "is a directory")


def test_a_missing_file_is_one_problem(folder: Path) -> None:
    (problem,) = faults(folder / "nowhere.yaml")
    assert (problem.code, problem.file) == ("CG001", str(folder / "nowhere.yaml"))
    assert problem.message == "no such file"


@pytest.mark.parametrize("name", ["a\0b.yaml", "a" * 300])
def test_a_name_that_no_file_can_have_is_one_problem(folder: Path, name: str) -> None:
    (problem,) = faults(folder / name)
    assert problem.code == "CG001"


def test_a_link_to_itself_is_one_problem(folder: Path) -> None:
    (folder / "loop.yaml").symlink_to(folder / "loop.yaml")
    (problem,) = faults(folder / "loop.yaml")
    assert problem.code == "CG001"


def test_a_file_above_the_limit_is_one_problem_and_one_at_the_limit_loads(folder: Path) -> None:
    head = b"version: 1\n"
    assert loaded(folder, head + b"#" * (MAX_POLICY_BYTES - len(head))).version == 1
    (problem,) = faults_of(folder, head + b"#" * (MAX_POLICY_BYTES - len(head) + 1))
    assert problem.message == "is larger than 1 MiB"


def test_two_files_that_extend_each_other_are_one_problem_at_the_line(folder: Path) -> None:
    (folder / "base.yaml").write_text("version: 1\nextends: policy.yaml\n")
    (problem,) = faults_of(folder, "version: 1\nextends: base.yaml\n")
    assert (problem.code, problem.key) == ("CG001", "extends")
    assert problem.message == "policies extend each other: policy.yaml -> base.yaml -> policy.yaml"
    assert (Path(problem.file).name, problem.line) == ("base.yaml", 2)


def test_a_file_that_extends_itself_is_one_problem(folder: Path) -> None:
    (problem,) = faults_of(folder, "version: 1\nextends: ./policy.yaml\n")
    assert problem.message == "policies extend each other: policy.yaml -> policy.yaml"


def test_an_unknown_preset_is_one_problem_at_the_line_with_the_nearest_name(folder: Path) -> None:
    (problem,) = faults_of(folder, "version: 1\nextends: preset:strater@1\n")
    assert (problem.code, problem.key, problem.message) == ("CG001", "extends", "no such preset")
    assert problem.remedy == "did you mean 'starter@1'?"
    assert (problem.file, problem.line) == (str(folder / "policy.yaml"), 2)


def test_a_file_to_extend_that_is_missing_is_one_problem_at_the_line(folder: Path) -> None:
    (problem,) = faults_of(folder, "version: 1\nextends: nowhere.yaml\n")
    assert "no such file" in problem.message
    assert "nowhere.yaml" in str(problem)
    assert (problem.file, problem.line, problem.key) == (str(folder / "policy.yaml"), 2, "extends")


@pytest.mark.parametrize("name", ['"a\\0b"', '"\\ud800"', "a" * 300])
def test_extends_of_a_name_that_no_file_can_have_is_one_problem(folder: Path, name: str) -> None:
    (problem,) = faults_of(folder, f"version: 1\nextends: {name}\n")
    assert problem.code == "CG001"


def test_extends_merges_maps_and_replaces_lists(folder: Path) -> None:
    (folder / "deep").mkdir()
    (folder / "deep" / "base.yaml").write_text(
        "version: 1\nname: base\naccumulation: {scope: [a, b, c], allow_loss: 3}\n"
        "sources: {a: {origin: real, min_share: 0.2}, b: {origin: real}}\n"
    )
    policy = loaded(
        folder,
        "version: 1\nextends: deep/base.yaml\naccumulation: {scope: [a]}\n"
        "sources: {a: {min_share: 0.3}, c: {max_share: 0.5}}\n",
    )
    assert policy.name == "base"
    assert policy.accumulation.scope == ("a",)
    assert policy.accumulation.allow_loss == 3
    assert list(policy.sources) == ["a", "b", "c"]
    assert policy.sources["a"].model_dump(exclude_none=True) == {"origin": "real", "min_share": 0.3}
    assert policy.extends is None


def test_extends_is_relative_to_the_file_that_says_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "one" / "two").mkdir(parents=True)
    (folder / "one" / "two" / "c.yaml").write_text("version: 1\nname: c\n")
    (folder / "one" / "b.yaml").write_text("version: 1\nextends: two/c.yaml\n")
    (folder / "a.yaml").write_text("version: 1\nextends: one/b.yaml\n")
    monkeypatch.chdir(folder / "one" / "two")
    assert load_policy(folder / "a.yaml").name == "c"


def test_a_fault_of_the_extended_file_is_placed_in_that_file(folder: Path) -> None:
    (folder / "base.yaml").write_text("version: 1\n\nmix: {seed: -1}\n")
    (problem,) = faults_of(folder, "version: 1\nextends: base.yaml\nmix: {real_min_share: 0.6}\n")
    assert (Path(problem.file).name, problem.line, problem.key) == ("base.yaml", 3, "mix.seed")


def test_a_contradiction_between_file_and_preset_is_placed_where_the_floor_stands(folder: Path) -> None:
    (problem,) = faults_of(
        folder,
        "version: 1\nextends: preset:starter@1\nsources: {made: {origin: synthetic, min_share: 0.7}}\n",
    )
    assert (problem.code, problem.key) == ("CG002", "mix.real_min_share")
    assert Path(problem.file).name == "starter.yaml"
    assert Path(problem.file).read_text().splitlines()[(problem.line or 0) - 1].strip().startswith("real_min_share:")


def test_a_mapping_may_extend_a_preset_and_a_file_of_the_working_directory(folder: Path) -> None:
    (folder / "base.yaml").write_text("version: 1\nmix: {seed: 7}\n")
    assert policy_from_mapping({"version": 1, "extends": "base.yaml"}).mix.seed == 7
    preset = policy_from_mapping({"version": 1, "extends": "preset:starter@1", "coverage": {"planned_looks": 3}})
    assert preset.coverage is not None
    assert (preset.coverage.planned_looks, preset.coverage.tail_mass) == (3, 0.10)


@pytest.mark.parametrize(
    "values",
    [
        {"version": 1, (1, 2): 3},
        {"version": 1, "accumulation": {"scope": {1, "a"}}},
        {"version": 1, "mix": {"seed": 10**5000}},
        {"version": 1, "name": "\ud800"},
        {"version": 1, "[key]": 1},
        {"version": 1, "extends": "a\0b"},
        {"version": True},
    ],
    ids=["tuple key", "set of kinds", "endless integer", "half a surrogate", "[key]", "NUL in extends", "bool version"],
)
def test_a_mapping_that_is_no_policy_is_a_policy_error(values: dict[Any, Any]) -> None:
    with pytest.raises(PolicyError, match="CG001"):
        policy_from_mapping(values)


def test_a_mapping_that_holds_itself_or_has_no_end_is_a_policy_error() -> None:
    loop: dict[str, Any] = {"version": 1}
    loop["mix"] = loop
    deep: dict[str, Any] = {}
    inner = deep
    for _ in range(5000):
        inner["a"] = {}
        inner = inner["a"]
    for values in (loop, {"version": 1, "mix": deep}):
        with pytest.raises(PolicyError, match="CG001"):
            policy_from_mapping(values)


def test_a_mapping_is_left_as_it_was() -> None:
    values = {"version": 1, "extends": "preset:starter@1", "mix": {"seed": 7}}
    policy_from_mapping(values)
    assert values == {"version": 1, "extends": "preset:starter@1", "mix": {"seed": 7}}


def test_coerce_takes_a_policy_a_mapping_and_a_path(folder: Path) -> None:
    policy = loaded(folder, "version: 1\nmix: {seed: 7}\n")
    assert Policy.coerce(policy) is policy
    assert Policy.coerce({"version": 1, "mix": {"seed": 7}}) == policy
    assert Policy.coerce(folder / "policy.yaml") == policy
    assert Policy.coerce("policy.yaml") == policy
    with pytest.raises(PolicyError, match="no such file"):
        Policy.coerce("nowhere.yaml")


def test_a_policy_error_survives_pickling_with_its_problems(folder: Path) -> None:
    with pytest.raises(PolicyError) as caught:
        loaded(folder, "version: 1\nmixx: 1\nname: no\n")
    copy = pickle.loads(pickle.dumps(caught.value))
    assert isinstance(copy, PolicyError)
    assert (copy.problems, str(copy)) == (caught.value.problems, str(caught.value))
    assert len(copy.problems) == 2
    assert isinstance(copy, ValueError)


def test_the_message_of_an_error_is_one_line_per_problem(folder: Path) -> None:
    with pytest.raises(PolicyError) as caught:
        loaded(folder, "version: 1\nmixx: 1\nname: no\n")
    first, second = str(caught.value).splitlines()
    assert first == f"{folder / 'policy.yaml'}:2: CG001 mixx: unknown key; did you mean 'mix'?"
    assert re.search(r":3: CG001 name: must be a valid string, got False$", second)


_YAML_PIECES = st.sampled_from(
    [
        *("version: 1\n", "mix:", "sources:", "coverage:", "severity:", "waivers:", "extends:", "name:", "seed:"),
        *("  ", "\t", "\n", "- ", ": ", "{", "}", "[", "]", ",", "&a ", "*a", "<<", "!", "!!", "|", ">", "?", "#", "%"),
        *("int ", "float ", "bool ", "null ", "binary ", "timestamp ", "str ", "set ", "omap ", "python/none "),
        *(
            '"',
            "'",
            "\\0",
            "\\ud800",
            "0x",
            "0b",
            ".nan",
            ".inf",
            "1e5",
            "12:30",
            "2026-02-30",
            "=",
            "~",
            "no",
            "[key]",
        ),
        *(
            "1",
            "-",
            "0.5",
            "CG101",
            "real",
            "\r",
            "\x85",
            "\u2028",
            "\ufeff",
            "😀",
            "preset:starter@1",
            "---\n",
            "...\n",
        ),
    ]
)
_FUZZ = settings(
    max_examples=300, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@_FUZZ
@given(text=st.one_of(st.lists(_YAML_PIECES, max_size=25).map("".join), st.text(max_size=80)))
@example(text="version: 1\nname: !!timestamp x\n")
@example(text='version: 1\nextends: "\\0"\n')
def test_any_text_is_a_policy_or_a_policy_error(folder: Path, text: str) -> None:
    path = folder / "fuzz.yaml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    try:
        policy = load_policy(path)
    except PolicyError as error:
        check_problems(error.problems)
    else:
        assert policy.version == 1


_SECTIONS = st.sampled_from([*Policy.model_fields, "[key]", "CG101", "a", "origin", "min_share", "epochs", ""])
_SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(st.characters(), max_size=8),
    st.text(string.printable, max_size=8),
    st.binary(max_size=4),
    st.dates(),
    st.sampled_from([1, 0.5, "real", "halt", "preset:starter@1"]),
)
_KEYS = st.one_of(_SECTIONS, st.text(max_size=4), st.integers(), st.none(), st.booleans())
_NESTED = st.recursive(
    _SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.tuples(inner),
        st.frozensets(_SCALARS, max_size=2),
        st.dictionaries(_KEYS, inner),
    ),
    max_leaves=12,
)


@_FUZZ
@given(values=st.dictionaries(_KEYS, _NESTED, max_size=5), versioned=st.booleans())
@example(values={"[key]": 1}, versioned=True)
def test_any_mapping_is_a_policy_or_a_policy_error(folder: Path, values: dict[Any, Any], versioned: bool) -> None:
    try:
        policy = policy_from_mapping({**values, "version": 1} if versioned else values)
    except PolicyError as error:
        check_problems(error.problems)
    else:
        assert policy.version == 1


CODE = """version: 1
coverage:
  cells:
    - {kind: labels, column: y}
    - kind: clusters
      embed: "mine:embed"
"""


def test_a_file_that_names_code_is_refused_at_its_line_unless_told(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(CODE)
    with pytest.raises(
        PolicyError, match=r"policy\.yaml:6: CG001 coverage\.cells\[1\]\.embed: names code.*allow_code=True"
    ):
        load_policy(path)
    loaded = load_policy(path, allow_code=True)
    assert loaded.coverage is not None
    assert (loaded.coverage.columns, loaded.coverage.class_column) == (None, "y")


def test_a_mapping_from_python_may_name_code() -> None:
    policy = policy_from_mapping(yaml.safe_load(CODE))
    assert policy.coverage is not None
    assert policy.coverage.cells[1].kind == "clusters"


def test_a_fault_inside_one_of_several_cell_maps_stands_at_its_line(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(CODE.replace("embed:", "n_cellss: 3 #"))
    with pytest.raises(
        PolicyError, match=r"policy\.yaml:6: .*coverage\.cells\[1\]\.n_cellss: unknown key; did you mean 'n_cells'"
    ):
        load_policy(path)
