"""Plain dictionaries -> files for people and machines; drawing libraries are loaded when used."""

from collapse_guard.report.view import as_json, plain

__all__ = ["as_json", "plain"]
