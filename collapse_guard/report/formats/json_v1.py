"""A gate result as JSON under ``collapse-guard/result/1``, which ``load_result`` reads."""

from __future__ import annotations

import json
import re
from typing import Any, Final

from collapse_guard.report.view import plain

_LONE: Final = re.compile(r"[\ud800-\udfff]")


def json_v1(view: dict[str, Any]) -> str:
    r"""Return indented, sorted, strict JSON; a lone surrogate is escaped, so that the text is always UTF-8.

    >>> print(json_v1({"file": "\udcff.yaml"}), end="")
    {
      "file": "\udcff.yaml"
    }
    """
    return json_text(view) + "\n"


def json_text(value: Any) -> str:
    """Return plain values as indented, sorted, strict JSON that UTF-8 can hold."""
    text = json.dumps(plain(value), indent=2, sort_keys=True, allow_nan=False, ensure_ascii=False)
    return _LONE.sub(lambda found: f"\\u{ord(found.group()):04x}", text)
