"""``collapse-guard schema``: what it prints is the schema of a policy."""

from __future__ import annotations

import json

from typer.testing import CliRunner

from collapse_guard.cli import app
from collapse_guard.policy import Policy, policy_json_schema


def test_the_schema_of_a_policy_is_json_on_stdout() -> None:
    result = CliRunner().invoke(app, ["schema", "policy"])
    assert result.exit_code == 0
    schema = json.loads(result.stdout)
    assert schema == policy_json_schema()
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["title"] == "collapse_guard policy"
    assert schema["properties"].keys() == Policy.model_fields.keys()
    assert schema["required"] == ["version"]
    assert schema["additionalProperties"] is False


def test_every_threshold_of_the_schema_says_what_it_is() -> None:
    definitions = policy_json_schema()["$defs"]
    for section in ("Mix", "Accumulation", "Coverage"):
        for name, node in definitions[section]["properties"].items():
            assert (
                "description" in node
                or "$ref" in node
                or "x-enforced" in node
                or "const" in node
                or (name in {"mode", "on_violation"})
            ), f"{section}.{name} has no description"


def test_another_subject_is_a_usage_error() -> None:
    result = CliRunner().invoke(app, ["schema", "banana"])
    assert result.exit_code == 2
    assert "banana" in result.output
