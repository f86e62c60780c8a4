"""``collapse-guard check --show-policy``: every value of the policy and where it comes from."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

from collapse_guard.kernels import one_line
from collapse_guard.policy import resolve_policy

if TYPE_CHECKING:
    from collapse_guard.policy.discovery import Found


def show(found: Found, *, is_json: bool) -> None:
    """Print the resolved policy; raises PolicyError if it cannot be used."""
    values = list(resolve_policy(found.path, allow_code=True).values())
    if is_json:
        view = {"policy": str(found.path), "found_by": found.by, "values": [asdict(value) for value in values]}
        typer.echo(json.dumps(view, indent=2, ensure_ascii=False, default=str))
        return
    typer.echo(f"# {one_line(str(found.path))} ({found.by})")
    width = min(48, max(len(value.key) for value in values))
    for value in values:
        said = json.dumps(value.value, ensure_ascii=False, default=str)
        typer.echo(f"{one_line(value.key):<{width}}  {said}  # {one_line(value.origin)}")
