"""Shipped policies: each loads, names its schema, and keeps it once resolved."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest
import yaml

from collapse_guard.policy import Resolved, load_policy, policy_from_mapping, policy_json_schema, resolve_policy

if TYPE_CHECKING:
    from collapse_guard.policy.resolved import Value

FOLDER = Path(__file__).parents[2] / "configs"
CONFIGS = sorted(FOLDER.glob("*.yaml"))
TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
}


def schema_faults(value: Any, schema: dict[str, Any], definitions: dict[str, Any], place: str = "") -> list[str]:
    """Return where ``value`` breaks ``schema``: the part of JSON Schema that the policy's schema uses."""
    if "$ref" in schema:
        return schema_faults(value, definitions[schema["$ref"].rsplit("/", 1)[1]], definitions, place)
    if "anyOf" in schema or "oneOf" in schema:
        kinds = schema.get("anyOf") or schema["oneOf"]
        tried = [schema_faults(value, kind, definitions, place) for kind in kinds]
        return min(tried, key=len)
    found = [f"{place}: {text}" for text in value_faults(value, schema)]
    if isinstance(value, dict) and "properties" in schema:
        unknown = value.keys() - schema["properties"].keys() if schema["additionalProperties"] is False else set()
        found += [f"{place}: unknown {name}" for name in sorted(unknown)]
        found += [f"{place}: missing {name}" for name in schema.get("required", []) if name not in value]
        for name in value.keys() & schema["properties"].keys():
            found += schema_faults(value[name], schema["properties"][name], definitions, f"{place}/{name}")
    elif isinstance(value, dict) and isinstance(schema.get("additionalProperties"), dict):
        for name, item in value.items():
            found += schema_faults(item, schema["additionalProperties"], definitions, f"{place}/{name}")
    elif isinstance(value, list) and "items" in schema:
        for number, item in enumerate(value):
            found += schema_faults(item, schema["items"], definitions, f"{place}/{number}")
    return found


def value_faults(value: Any, schema: dict[str, Any]) -> list[str]:
    if "const" in schema:
        return [] if value == schema["const"] else [f"is {value!r}, not {schema['const']!r}"]
    if "enum" in schema:
        return [] if value in schema["enum"] else [f"{value!r} is not in {schema['enum']}"]
    if "type" in schema and (
        not isinstance(value, TYPES[schema["type"]]) or (isinstance(value, bool) and schema["type"] != "boolean")
    ):
        return [f"{value!r} is no {schema['type']}"]
    if isinstance(value, str) and "pattern" in schema and not re.search(schema["pattern"], value):
        return [f"{value!r} does not match {schema['pattern']}"]
    if not isinstance(value, (int, float)):
        return []
    limits = {
        "minimum": value >= schema.get("minimum", value),
        "maximum": value <= schema.get("maximum", value),
        "exclusiveMinimum": "exclusiveMinimum" not in schema or value > schema["exclusiveMinimum"],
        "exclusiveMaximum": "exclusiveMaximum" not in schema or value < schema["exclusiveMaximum"],
    }
    return [f"{value!r} breaks {name} {schema[name]!r}" for name, kept in limits.items() if not kept]


def number(value: Value) -> bool:
    return isinstance(value.value, float | int) and not isinstance(value.value, bool)


def origin(resolved: Resolved, key: str) -> str:
    return next(value.origin for value in resolved.values() if value.key == key)


def broken(value: Any) -> list[str]:
    schema = policy_json_schema()
    return schema_faults(value, schema, schema["$defs"])


def test_there_are_shipped_policies() -> None:
    modalities = {"text-pretrain", "text-sft", "vision-longtail", "audio", "tabular", "scraped-web"}
    assert {path.stem for path in CONFIGS} == {"starter", "minority-images"} | modalities


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
class TestShipped:
    def test_a_shipped_policy_loads_and_leaves_nothing_unenforced(self, path: Path) -> None:
        policy = load_policy(path)
        assert policy.name == path.stem
        assert policy.unenforced() == ()

    def test_a_shipped_policy_names_its_schema_in_its_first_line(self, path: Path) -> None:
        first = path.read_text(encoding="utf-8").splitlines()[0]
        assert re.fullmatch(r"# yaml-language-server: \$schema=\S+", first)

    def test_a_shipped_policy_is_a_preset_of_its_name(self, path: Path) -> None:
        preset = policy_from_mapping({"version": 1, "extends": f"preset:{path.stem}@1"})
        assert preset.digest == load_policy(path).digest

    def test_a_shipped_policy_keeps_the_schema_as_written_and_as_resolved(self, path: Path) -> None:
        assert broken(yaml.safe_load(path.read_text(encoding="utf-8"))) == []
        assert broken(json.loads(load_policy(path).model_dump_json())) == []

    def test_a_shipped_policy_says_in_one_line_what_it_is_for(self, path: Path) -> None:
        second = path.read_text(encoding="utf-8").splitlines()[1]
        assert re.fullmatch(r"# [A-Z`].{20,110}[.]", second)

    def test_a_threshold_that_is_not_the_starters_says_where_it_comes_from(self, path: Path) -> None:
        lines = path.read_text(encoding="utf-8").splitlines()
        known = {
            (value.key, value.value) for value in resolve_policy(FOLDER / "starter.yaml").values() if number(value)
        }
        resolved = resolve_policy(path)
        own = {value.key for value in resolved.values() if number(value) and (value.key, value.value) not in known}
        places = {key: resolved.place(tuple(key.split("."))) for key in own if ":" in origin(resolved, key)}
        bare = {key for key, (_, line) in places.items() if "#" not in lines[line - 1]}
        assert bare == set()

    def test_an_outside_validator_agrees(self, path: Path) -> None:
        schema = policy_json_schema()
        jsonschema.Draft202012Validator.check_schema(schema)
        resolved = json.loads(load_policy(path).model_dump_json())
        found = jsonschema.Draft202012Validator(schema).iter_errors(resolved)
        assert [error.message for error in found] == []


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"version": 2},
        {"version": 1, "mixx": {}},
        {"version": 1, "mix": {"seed": True}},
        {"version": 1, "mix": {"real_min_share": 1.5}},
        {"version": 1, "coverage": {"tail_mass": 0}},
        {"version": 1, "unit": "row"},
        {"version": 1, "sources": {"web": {"orign": "real"}}},
        {"version": 1, "waivers": [{"id": "W-1"}]},
        {"version": 1, "manifests": {"parent_digest": "sha256:00"}},
    ],
)
def test_the_schema_and_the_loader_refuse_the_same_policies(values: dict[str, Any]) -> None:
    assert broken(values)
    with pytest.raises(ValueError, match="CG001"):
        policy_from_mapping(values)


def test_the_starter_keeps_every_real_row_and_half_the_mix_real() -> None:
    policy = load_policy(FOLDER / "starter.yaml")
    assert (policy.accumulation.mode, policy.accumulation.allow_loss) == ("superset", 0)
    assert (policy.mix.real_min_share, policy.mix.synthetic_to_real_max) == (0.5, 1.0)
    assert policy.coverage is not None
    assert policy.coverage.on_violation == "halt"


def test_the_demo_policy_is_the_starter_with_what_it_says_itself() -> None:
    starter, demo = load_policy(FOLDER / "starter.yaml"), load_policy(FOLDER / "minority-images.yaml")
    assert demo.mix == starter.mix
    assert demo.accumulation == starter.accumulation
    assert demo.provenance.max_generation_depth == 254
    assert demo.coverage is not None
    assert starter.coverage is not None
    assert demo.coverage.model_dump(exclude={"warmup"}) == starter.coverage.model_dump(exclude={"warmup"})
    assert (demo.coverage.warmup.epochs, starter.coverage.warmup.epochs) == (5, 1)
    assert demo.filters.quality is not None
    assert demo.filters.quality.keep_share == 0.80
