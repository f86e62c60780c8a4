"""What a policy may say: digest, defaults, and the keys that no check reads."""

from __future__ import annotations

import copy
import datetime as dt
import json
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from collapse_guard.errors import PolicyError
from collapse_guard.policy import Coverage, load_policy, policy_from_mapping, policy_json_schema

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Keys = tuple[str | int, ...]

#: Every optional section is switched on, so that each threshold below has a place.
WHOLE: dict[str, Any] = {
    "version": 1,
    "unit": "tokens",
    "identity": {"columns": ["text"]},
    "sources": {"web": {}, "more": {}},
    "mix": {"drift": {"error": 1.0}, "budget": {"amount": 100}},
    "provenance": {"near_duplicate": {}},
    "filters": {"quality": {"score": "q", "keep_share": 0.8}, "tail": {}},
    "coverage": {},
    "severity": {"CG101": "error"},
    "waivers": [
        {
            "id": "W-1",
            "rule": "CG102",
            "reason": "r",
            "owner": "o",
            "expires": "2026-03-31",
            "limit": {"max_share": 0.24},
        }
    ],
}

#: The policy of the design page (gate.md 2.7), less its `extends`.
DESIGN = """
# yaml-language-server: $schema=https://json.schemastore.org/collapse-guard.json
version: 1
name: web-model-v4
unit: tokens                            # rows | tokens | bytes | weight
manifests:
  current: manifests/gen4.cgm.json
  previous: manifests/gen3.cgm.json
  parent_digest: sha256:{digest}

sources:
  real_web:     {{origin: real, min_share: 0.30}}
  real_curated: {{origin: real, min_share: 0.05, accumulate: strict}}
  synth_math:   {{origin: synthetic, max_share: 0.20, generator: "tutor-7b@2025-11"}}
  synth_chat:   {{origin: synthetic, max_share: 0.15, max_depth: 1}}
  scraped_2026: {{origin: unknown, max_share: 0.10}}

mix:
  real_min_share: 0.50
  synthetic_to_real_max: 1.0
  per_generator_max_share: 0.15
  drift: {{metric: total_variation, warn: 0.05, error: 0.10}}

accumulation:
  mode: superset                        # superset | sample | off
  scope: [real_web, real_curated]
  allow_loss: 0                         # rows; takedowns are listed separately
  takedowns: governance/takedowns.jsonl
  require_weight_above: 0.0

provenance:
  max_generation_depth: 2
  forbid_reentry_of: ["web-model-v1", "web-model-v2", "web-model-v3"]
  near_duplicate: {{method: minhash, threshold: 0.85}}

filters:
  require_reason: true
  tail: {{by: class, quantile: 0.05, max_removal_ratio: 1.5}}

coverage:
  reference: manifests/real_reference.cgm.json
  by: [class, language]
  min_class_rows: 20
  max_classes_lost: 0

severity:
  CG104: error
  CG502: info

on_missing_evidence: fail               # fail | warn

waivers:
  - id: W-012
    rule: CG102
    where: {{source: synth_math}}
    reason: "one-off curriculum boost, agreed in review 418"
    owner: data-team
    expires: 2026-03-31
    limit: {{max_share: 0.24}}            # waived up to here, not without bound
""".format(digest="6d1f" * 16)

COVERAGE = """
version: 1
coverage:
  cells: {kind: labels, column: label}
  tail_mass: 0.10
  max_mass_drop: 0.10
  max_coverage_drop: 0.50
  max_class_drop: 0.50
  false_halt_rate: 0.01
  planned_looks: 50
  warmup: {epochs: 1}
  every: {epochs: 1}
  samples_per_look: 2000
  on_violation: halt
"""


def digest(values: dict[str, Any]) -> str:
    return policy_from_mapping(values).digest


def put(values: dict[str, Any], path: Keys, value: Any) -> dict[str, Any]:
    """Return a copy of ``values`` with ``value`` at ``path``."""
    changed = copy.deepcopy(values)
    place: Any = changed
    for key in path[:-1]:
        place = place[key] if isinstance(key, int) else place.setdefault(key, {})
    place[path[-1]] = value
    return changed


def at(values: Any, path: Keys) -> Any:
    for key in path:
        values = values[key]
    return values


def leaves(node: dict[str, Any], path: Keys, definitions: dict[str, Any]) -> Iterator[tuple[Keys, dict[str, Any]]]:
    """Yield (path, schema) of everything in the JSON Schema that is no section."""
    if "$ref" in node:
        node = definitions[node["$ref"].rsplit("/", 1)[1]]
    node = next((kind for kind in node.get("anyOf", []) if kind.get("type") != "null"), node) | {
        key: value for key, value in node.items() if key != "anyOf"
    }
    if "$ref" in node:
        node = definitions[node["$ref"].rsplit("/", 1)[1]]
    if "properties" in node:
        for name, inner in node["properties"].items():
            yield from leaves(inner, (*path, name), definitions)
    elif path == ("sources",):
        yield from leaves(node["additionalProperties"], (*path, "web"), definitions)
    elif path == ("waivers",):
        yield from leaves(node["items"], (*path, 0), definitions)
    else:
        yield path, node


def other(node: dict[str, Any], now: Any) -> Any:
    """Return an allowed value that is not ``now``."""
    if "enum" in node or "const" in node:
        return next((word for word in node.get("enum", [node.get("const")]) if word != now), now)
    low = node.get("minimum", node.get("exclusiveMinimum", 0))
    kinds = {
        "number": [low + 0.25, low + 0.125],
        "integer": [int(low) + 3, int(low) + 4],
        "boolean": [not now],
        "array": [["a"]],
        "string": ["2026-04-01" if node.get("format") == "date" else "CG103" if "pattern" in node else "something"],
        "object": [_mapping(node)],
    }
    return next(value for value in kinds[node["type"]] if value != now)


_SCHEMA = policy_json_schema()


def _mapping(node: dict[str, Any]) -> dict[str, Any]:
    """Return a mapping that a node of the schema takes: bounds, severities, or any names."""
    if "maxProperties" in node:
        return {"max_rows": 2}
    return {"CG103": "info"} if "patternProperties" in node or "propertyNames" in node else {"a": 1}


_NOT_DEMANDED = {"version", "name", "extends", "manifests", "baseline"}
_OF_CHOICES = [  # tested one by one below
    ("coverage", "cells"),
    ("coverage", "scores"),
    ("coverage", "references"),
    ("mix", "when_short"),
    ("mix", "per_generation_max_share"),
]
_LEAVES = [
    (path, node)
    for path, node in leaves(_SCHEMA, (), _SCHEMA["$defs"])
    if path[0] not in _NOT_DEMANDED
    and "const" not in node
    and path[-2:] != (0, "where")
    and path not in _OF_CHOICES
    and path != ("measurements", "files")  # where files lie is no demand
]
_NUMBERS = [path for path, node in _LEAVES if node.get("type") in {"number", "integer"}]


def test_the_walk_over_the_schema_finds_the_thresholds() -> None:
    assert {
        ("mix", "real_min_share"),
        ("mix", "drift", "warn"),
        ("sources", "web", "max_share"),
        ("accumulation", "allow_loss"),
        ("filters", "quality", "keep_share"),
        ("coverage", "warmup", "epochs"),
        ("coverage", "false_halt_rate"),
        ("coverage", "max_classes_lost"),
    } <= set(_NUMBERS)
    assert len(_NUMBERS) >= 25


@pytest.mark.parametrize(("path", "node"), _LEAVES, ids=[".".join(map(str, path)) for path, _ in _LEAVES])
def test_the_digest_depends_on_every_demand(path: Keys, node: dict[str, Any]) -> None:
    whole = policy_from_mapping(WHOLE).model_dump(mode="json")
    changed = put(WHOLE, path, other(node, at(whole, path)))
    assert policy_from_mapping(changed).digest != policy_from_mapping(WHOLE).digest


CHOICES: list[Any] = [
    {"cells": {"column": "other"}},
    {"cells": [{"column": "label"}, {"column": "other"}]},
    {"cells": []},
    {"cells": {"kind": "ngrams"}},
    {"cells": {"kind": "ngrams", "size": 1}},
    {"cells": {"kind": "tokens"}},
    {"cells": {"kind": "clusters"}},
    {"cells": {"kind": "clusters", "embed": "mine:embed"}},
    {"cells": {"kind": "clusters", "n_cells": 32}},
    {"cells": {"kind": "images"}},
    {"cells": {"kind": "audio"}},
    {"cells": {"kind": "bins", "columns": ["age"]}},
    {"cells": {"kind": "bins", "columns": ["age", "sex"]}},
    {"cells": {"kind": "callable", "function": "mine:cells", "names": ["a", "b"]}},
    {"scores": [{"kind": "hapax"}]},
    {"scores": [{"kind": "novelty"}]},
    {"scores": [{"kind": "novelty", "size": 3}]},
    {"scores": [{"kind": "hapax", "max_drop": 0.2}]},
    {"scores": [{"kind": "hapax", "against": "real"}]},
    {"references": ["real"]},
    {"references": ["first_model"]},
    {},
]


def test_every_choice_of_cells_scores_and_references_has_a_digest_of_its_own_and_keeps_the_schema() -> None:
    validator = jsonschema.Draft202012Validator(_SCHEMA)
    policies = [{"version": 1, "coverage": coverage} for coverage in CHOICES]
    assert len({digest(values) for values in policies}) == len(CHOICES)
    assert [error.message for values in policies for error in validator.iter_errors(values)] == []


MIXES: list[dict[str, Any]] = [
    {},
    {"when_short": "stop"},
    {"when_short": "fail"},
    {"when_short": {"repeat": 2}},
    {"when_short": {"repeat": 16}},
    {"per_generation_max_share": 0.5},
    {"per_generation_max_share": [0.5]},
    {"per_generation_max_share": [0.5, 0.25]},
    {"per_generation_max_share": 0},
]


def test_every_choice_of_a_mix_has_a_digest_of_its_own_and_keeps_the_schema() -> None:
    validator = jsonschema.Draft202012Validator(_SCHEMA)
    policies = [{"version": 1, "mix": mix} for mix in MIXES]
    assert len({digest(values) for values in policies}) == len(MIXES)
    assert [error.message for values in policies for error in validator.iter_errors(values)] == []
    assert digest(policies[0]) == digest({"version": 1, "mix": {"when_short": "shrink"}})


def test_a_list_of_generations_ends_with_the_share_of_all_deeper_ones() -> None:
    mix = policy_from_mapping({"version": 1, "mix": {"per_generation_max_share": [0.5, 0.25]}}).mix
    assert [mix.generation_cap(generation) for generation in (1, 2, 3, 255)] == [0.5, 0.25, 0.25, 0.25]


def test_one_cell_map_may_stand_alone_or_in_a_list_and_labels_is_the_kind_that_is_left_out() -> None:
    alone = digest({"version": 1, "coverage": {"cells": {"column": "y"}}})
    assert alone == digest({"version": 1, "coverage": {"cells": [{"kind": "labels", "column": "y"}]}})


BAD_CHOICES = [
    ({"cells": {"kind": "ngrams", "sizee": 2}}, r"coverage\.cells\.sizee: unknown key; did you mean 'size'"),
    ({"cells": {"colum": "x"}}, r"coverage\.cells\.colum: unknown key; did you mean 'column'"),
    ({"cells": [{"column": "y"}, {"kind": "bins"}]}, r"coverage\.cells\[1\]\.columns: missing key; add it"),
    ({"cells": {"kind": "ngram"}}, r"coverage\.cells: no kind is called 'ngram'; did you mean 'ngrams'"),
    ({"cells": 3}, r"coverage\.cells: must be a valid array, got 3"),
    ({"cells": [3]}, r"coverage\.cells\[0\]: must be"),
    ({"cells": {"kind": "clusters", "n_cells": 1000}}, r"coverage\.cells\.n_cells: must be less than or equal to 256"),
    ({"cells": {"kind": "callable", "function": "os", "names": ["a", "b"]}}, r"coverage\.cells\.function: must be"),
    (
        {"cells": {"kind": "callable", "function": "a:b", "names": ["a"]}},
        r"coverage\.cells\.names: must have at least 2 items",
    ),
    ({"scores": [{"kind": "hapaxx"}]}, r"coverage\.scores\[0\]\.kind: must be 'hapax', 'novelty' or 'column'"),
    ({"references": []}, r"coverage\.references: must have at least 1 item, got \[\]"),
    ({"references": ["truth"]}, r"coverage\.references\[0\]: must be 'real' or 'first_model'"),
]


@pytest.mark.parametrize(("coverage", "message"), BAD_CHOICES)
def test_a_declaration_that_cannot_be_used_is_named_as_it_stands_in_the_file(
    coverage: dict[str, Any], message: str
) -> None:
    with pytest.raises(PolicyError, match=message):
        policy_from_mapping({"version": 1, "coverage": coverage})


@pytest.mark.parametrize("path", _NUMBERS, ids=[".".join(map(str, path)) for path in _NUMBERS])
def test_a_threshold_is_a_number_and_not_a_text(path: Keys) -> None:
    with pytest.raises(ValueError, match=f"CG001 .*{path[-1]}: must be a valid (number|integer), got 'many'"):
        policy_from_mapping(put(WHOLE, path, "many"))


@settings(max_examples=50, deadline=None, derandomize=True)
@given(
    first=st.floats(0, 1, allow_subnormal=False),
    second=st.floats(0, 1, allow_subnormal=False),
)
def test_two_floors_have_one_digest_only_if_they_are_equal(first: float, second: float) -> None:
    one, two = (digest({"version": 1, "mix": {"real_min_share": value}}) for value in (first, second))
    assert (one == two) == (first == second)


def test_the_digest_does_not_depend_on_the_order_of_keys_or_on_comments(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("version: 1\nmix: {seed: 1, real_min_share: 0.6}\nsources: {a: {}, b: {}}\n")
    (tmp_path / "b.yaml").write_text(
        "# said otherwise\nsources:\n  b: {}   # two\n  a: {}\nmix:\n  real_min_share: 0.60\n  seed: 1\nversion: 1\n"
    )
    assert load_policy(tmp_path / "a.yaml").digest == load_policy(tmp_path / "b.yaml").digest


@settings(max_examples=30, deadline=None, derandomize=True)
@given(order=st.permutations(sorted(WHOLE)))
def test_the_digest_does_not_depend_on_the_order_of_sections(order: list[str]) -> None:
    assert digest({key: WHOLE[key] for key in order}) == digest(WHOLE)


def test_the_digest_does_not_depend_on_name_or_manifests() -> None:
    named = WHOLE | {"name": "other", "manifests": {"current": "a.json", "parent_digest": f"sha256:{'0' * 64}"}}
    assert digest(named) == digest(WHOLE)


def test_the_digest_does_not_depend_on_whether_defaults_are_written_out() -> None:
    for values in ({"version": 1}, WHOLE):
        policy = policy_from_mapping(values)
        written = policy_from_mapping(json.loads(policy.model_dump_json()))
        assert written.digest == policy.digest
        assert written == policy


def test_the_digest_does_not_depend_on_where_a_demand_is_written(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text("version: 1\nname: base\nmix: {seed: 1}\n")
    (tmp_path / "top.yaml").write_text("version: 1\nextends: base.yaml\nmix: {real_min_share: 0.6}\n")
    merged = {"version": 1, "mix": {"seed": 1, "real_min_share": 0.6}}
    assert load_policy(tmp_path / "top.yaml").digest == digest(merged)


def test_a_whole_number_and_its_fraction_are_one_demand() -> None:
    assert digest({"version": 1, "mix": {"real_min_share": 1}}) == digest(
        {"version": 1, "mix": {"real_min_share": 1.0}}
    )


def test_a_policy_is_frozen() -> None:
    policy = policy_from_mapping(WHOLE)
    for section, name in ((policy, "unit"), (policy.mix, "seed"), (policy.coverage, "tail_mass")):
        with pytest.raises(ValidationError, match="frozen"):
            setattr(section, name, 1)


def test_equal_policies_hash_alike() -> None:
    first, second = policy_from_mapping(WHOLE), policy_from_mapping(WHOLE)
    assert first == second
    assert hash(first) == hash(second)
    assert len({first, second, policy_from_mapping({"version": 1})}) == 2


def test_the_policy_of_the_design_page_loads_as_it_stands(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(DESIGN)
    policy = load_policy(path)
    assert (policy.name, policy.unit, policy.on_missing_evidence) == ("web-model-v4", "tokens", "fail")
    assert policy.manifests.model_dump() == {
        "current": "manifests/gen4.cgm.json",
        "previous": "manifests/gen3.cgm.json",
        "parent_digest": f"sha256:{'6d1f' * 16}",
    }
    assert {name: source.model_dump(exclude_none=True) for name, source in policy.sources.items()} == {
        "real_web": {"origin": "real", "min_share": 0.30},
        "real_curated": {"origin": "real", "min_share": 0.05, "accumulate": "strict"},
        "synth_math": {"origin": "synthetic", "max_share": 0.20, "generator": "tutor-7b@2025-11"},
        "synth_chat": {"origin": "synthetic", "max_share": 0.15, "max_depth": 1},
        "scraped_2026": {"origin": "unknown", "max_share": 0.10},
    }
    assert (policy.mix.real_min_share, policy.mix.synthetic_to_real_max) == (0.5, 1.0)
    assert policy.mix.per_generator_max_share == 0.15
    assert policy.mix.drift is not None
    assert policy.mix.drift.model_dump() == {"metric": "total_variation", "warn": 0.05, "error": 0.10}
    assert policy.accumulation.scope == ("real_web", "real_curated")
    assert policy.accumulation.takedowns == "governance/takedowns.jsonl"
    assert policy.accumulation.require_weight_above == 0.0
    assert policy.provenance.forbid_reentry_of == ("web-model-v1", "web-model-v2", "web-model-v3")
    assert policy.provenance.near_duplicate is not None
    assert policy.provenance.near_duplicate.threshold == 0.85
    assert policy.filters.tail is not None
    assert policy.filters.tail.max_removal_ratio == 1.5
    assert policy.coverage is not None
    assert (policy.coverage.by, policy.coverage.min_class_rows) == (("class", "language"), 20)
    assert policy.severity == {"CG104": "error", "CG502": "info"}
    (waiver,) = policy.waivers
    assert (waiver.id, waiver.rule, waiver.owner) == ("W-012", "CG102", "data-team")
    assert (waiver.expires, waiver.limit) == (dt.date(2026, 3, 31), {"max_share": 0.24})
    assert waiver.where == {"source": "synth_math"}


def test_the_policy_of_the_design_page_names_the_keys_that_no_check_reads(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(DESIGN)
    assert load_policy(path).unenforced() == (
        "coverage.by",
        "provenance.near_duplicate",
    )


def test_a_policy_that_sets_only_what_is_checked_leaves_nothing_unenforced() -> None:
    assert policy_from_mapping({"version": 1, "extends": "preset:starter@1"}).unenforced() == ()


def test_every_key_that_is_marked_as_unenforced_is_reported_when_it_is_set() -> None:
    marked = [path for path, node in _LEAVES if node.get("x-enforced") is False]
    assert marked
    for path in marked:
        node = dict(_LEAVES)[path]
        changed = policy_from_mapping(put({"version": 1}, path, other(node, node.get("default"))))
        assert changed.unenforced() == (".".join(map(str, path)),)


def test_the_coverage_block_of_the_issue_is_the_default(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(COVERAGE)
    policy = load_policy(path)
    assert policy.coverage == Coverage()
    assert policy.coverage is not None
    said = policy.coverage.model_dump()
    assert {name: said[name] for name in yaml.safe_load(COVERAGE)["coverage"]} == {
        "cells": ({"name": None, "kind": "labels", "column": "label"},),
        "tail_mass": 0.10,
        "max_mass_drop": 0.10,
        "max_coverage_drop": 0.50,
        "max_class_drop": 0.50,
        "false_halt_rate": 0.01,
        "planned_looks": 50,
        "warmup": {"epochs": 1, "steps": 0},
        "every": {"epochs": 1, "steps": None},
        "samples_per_look": 2000,
        "on_violation": "halt",
    }
    assert policy.unenforced() == ()


@pytest.mark.parametrize("every", [{}, {"epochs": 1, "steps": 10}])
def test_looks_are_counted_in_epochs_or_in_steps_and_never_in_both(every: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="every takes one of epochs and steps"):
        policy_from_mapping({"version": 1, "coverage": {"every": every}})


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("coverage", "tail_mass"), 0),
        (("coverage", "tail_mass"), 1),
        (("coverage", "false_halt_rate"), 0),
        (("coverage", "max_class_drop"), 1),
        (("coverage", "planned_looks"), 0),
        (("coverage", "every", "epochs"), 0),
        (("coverage", "warmup", "epochs"), -1),
        (("coverage", "on_violation"), "explode"),
        (("provenance", "max_generation_depth"), 255),
        (("filters", "quality", "keep_share"), 0),
        (("accumulation", "allow_loss"), -1),
        (("manifests", "parent_digest"), "sha256:6d1f"),
        (("waivers", 0, "reason"), ""),
        (("waivers", 0, "expires"), "soon"),
    ],
)
def test_a_value_outside_its_range_is_refused(path: Keys, value: Any) -> None:
    with pytest.raises(ValueError, match=f"{path[-1]}: must be"):
        policy_from_mapping(put(WHOLE, path, value))


def test_limits_of_the_gate_alone_do_not_begin_the_evidence_of_a_run_anew() -> None:
    def digest(**changes: Any) -> str:
        return policy_from_mapping({"version": 1, "coverage": changes}).coverage_digest

    gate = {"min_class_rows": 3, "max_classes_lost": 1, "max_entropy_drop_nats": 0.1, "max_head_share_rise": 0.1}
    assert digest(**gate, head_classes=2) == digest()
    assert digest(max_class_drop=0.25) != digest()
