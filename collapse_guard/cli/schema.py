"""``collapse-guard schema``: JSON Schemas for editors."""

from __future__ import annotations

import json
from enum import StrEnum
from typing import Annotated

import typer

from collapse_guard.policy import policy_json_schema


class Subject(StrEnum):
    """What a schema describes."""

    POLICY = "policy"


def schema(subject: Annotated[Subject, typer.Argument(help="What the schema describes.")]) -> None:
    """Print a JSON Schema (2020-12).

    Example: collapse-guard schema policy > policy.schema.json
    """
    del subject  # one subject so far; typer has checked it
    typer.echo(json.dumps(policy_json_schema(), indent=2, ensure_ascii=False))
