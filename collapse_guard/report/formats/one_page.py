"""The result of a gate as one HTML page."""

from __future__ import annotations

from typing import Any

from collapse_guard.report.gate_page import gate_html


def html(view: dict[str, Any]) -> str:
    """Return the page of a result; raises MissingExtraError without jinja2 or matplotlib."""
    return gate_html(view)
