"""A gate result as plain lines, for logs and pipes."""

from __future__ import annotations

from typing import Any

from collapse_guard.kernels import one_line
from collapse_guard.report.terminal import gate_lines


def plain_text(view: dict[str, Any]) -> str:
    """Return the lines that the terminal shows, without colour."""
    return "\n".join(map(one_line, gate_lines(view))) + "\n"
