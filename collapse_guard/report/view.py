"""What a report says, as plain values, and its JSON form."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from collapse_guard._atomic import write_bytes

if TYPE_CHECKING:
    from pathlib import Path


def plain(value: Any) -> Any:
    """Return ``value`` for strict JSON: infinities and nan become null.

    >>> plain({"log_e": float("-inf"), "looks": (1, 2.5)})
    {'log_e': None, 'looks': [1, 2.5]}
    """
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def as_json(view: dict[str, Any], path: Path) -> Path:
    """Write a view as indented, sorted, strict JSON."""
    text = json.dumps(plain(view), indent=2, sort_keys=True, allow_nan=False, ensure_ascii=False)
    return write_bytes(path, (text + "\n").encode("utf-8", "surrogatepass"))
