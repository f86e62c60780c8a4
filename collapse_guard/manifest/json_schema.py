"""The JSON Schema of a manifest's header."""

from __future__ import annotations

from typing import Any

from collapse_guard.manifest.header import Header


def manifest_json_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of a header file, ``*.cgm.json``.

    >>> manifest_json_schema()["properties"]["schema"]["const"]
    'collapse-guard/manifest/2'
    """
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "collapse_guard manifest"}
    return Header.model_json_schema(by_alias=True) | head
