"""``collapse-guard schema``: JSON Schemas for editors."""

from __future__ import annotations

import json
from enum import StrEnum
from typing import Annotated

import typer

from collapse_guard.manifest.json_schema import manifest_json_schema
from collapse_guard.manifest.measurement import measurement_json_schema
from collapse_guard.policy import policy_json_schema
from collapse_guard.report.result import result_json_schema


class Subject(StrEnum):
    """What a schema describes."""

    POLICY = "policy"
    MANIFEST = "manifest"
    MEASUREMENT = "measurement"
    RESULT = "result"


def schema(subject: Annotated[Subject, typer.Argument(help="What the schema describes.")]) -> None:
    """Print a JSON Schema (2020-12).

    Example: collapse-guard schema policy > policy.schema.json
    """
    makers = {
        Subject.POLICY: policy_json_schema,
        Subject.MANIFEST: manifest_json_schema,
        Subject.MEASUREMENT: measurement_json_schema,
        Subject.RESULT: result_json_schema,
    }
    typer.echo(json.dumps(makers[subject](), indent=2, ensure_ascii=False))
