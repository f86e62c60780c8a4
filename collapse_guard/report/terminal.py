"""Results for the terminal: verdict, at most ten findings, what was not checked."""

from __future__ import annotations

from typing import Any, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from collapse_guard.kernels import one_line

MAX_FINDINGS: Final = 10
_COLOURS: Final = {"kept": "green", "violated": "red", "unusable": "red", "inconclusive": "yellow"}
_ORDER: Final = {"error": 0, "warning": 1, "info": 2}


def gate_lines(view: dict[str, Any]) -> list[str]:
    """Return the plain text of a gate result, a line each."""
    lines = [verdict_line(view)]
    for finding in failures(view)[:MAX_FINDINGS]:
        lines.append(f"{finding['code']} {finding['severity']}: {place(finding)}{one_line(finding['message'])}")
        if finding["remedy"]:
            lines.append(f"      -> {finding['remedy']}")
    return lines + footer(view)


def print_gate(view: dict[str, Any], console: Console | None = None) -> None:
    """Print a gate result in colour (NO_COLOR is honoured)."""
    screen = console or Console(highlight=False)
    screen.print(Text(verdict_line(view), style=f"bold {_COLOURS[view['verdict']]}"))
    table = Table(show_header=True, header_style="bold", box=None, pad_edge=False)
    for title in ("rule", "severity", "finding"):
        table.add_column(title, overflow="fold")
    for finding in failures(view)[:MAX_FINDINGS]:
        remedy = f"\n-> {finding['remedy']}" if finding["remedy"] else ""
        table.add_row(
            finding["code"], finding["severity"], Text(f"{place(finding)}{one_line(finding['message'])}{remedy}")
        )
    if table.row_count:
        screen.print(table)
    for line in footer(view):
        screen.print(Text(line, style="dim"))


def verdict_line(view: dict[str, Any]) -> str:
    """Return the one line that answers the question."""
    n_failed = sum(finding["status"] == "fail" for finding in view["findings"])
    n_open = len(view["findings"]) - n_failed + len(view["unenforced_policy_keys"])
    parts = [f"{n_failed} finding{'' if n_failed == 1 else 's'}"] if n_failed else []
    parts += [f"{n_open} not evaluated"] if n_open else []
    detail = f" ({', '.join(parts)})" if parts else f" ({len(view['rules'])} rules)"
    return f"policy {view['verdict']}{detail}"


def failures(view: dict[str, Any]) -> list[dict[str, Any]]:
    """Return what failed, loudest first."""
    failed = [finding for finding in view["findings"] if finding["status"] == "fail"]
    return sorted(failed, key=lambda finding: (_ORDER[finding["severity"]], finding["code"]))


def not_evaluated(view: dict[str, Any]) -> list[str]:
    """Return one line per reason for which rules could not be evaluated."""
    codes: dict[str, list[str]] = {}
    for finding in view["findings"]:
        if finding["status"] == "inconclusive":
            codes.setdefault(finding["message"], []).append(finding["code"])
    return [f"{one_line(message)}: {', '.join(sorted(set(found)))}" for message, found in codes.items()]


def place(finding: dict[str, Any]) -> str:
    """Return ``file:line: `` where there is one."""
    if not finding["file"]:
        return ""
    return f"{finding['file']}:{finding['line']}: " if finding["line"] else f"{finding['file']}: "


def footer(view: dict[str, Any]) -> list[str]:
    """Return what was left out of the list, what was not checked, and the digests."""
    lines = not_evaluated(view)
    proof = view.get("accumulation")
    if proof and proof["holds"]:
        lines.append(f"accumulation: {one_line(proof['summary'])}")
    lines += [f"note: {note}" for note in view["notes"]]
    n_more = len(failures(view)) - MAX_FINDINGS
    if n_more > 0:
        lines.append(f"... and {n_more} more; --output-format json has them all")
    if view["unenforced_policy_keys"]:
        lines.append(f"not checked by this version: {', '.join(view['unenforced_policy_keys'])}")
    digests = [
        ("manifest", view["manifest_digest"]),
        ("parent", view["parent_digest"]),
        ("policy", view["policy_digest"]),
    ]
    lines.append("  ".join(f"{name} {digest[:19]}" for name, digest in digests if digest))
    return [line for line in lines if line]
