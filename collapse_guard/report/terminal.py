"""Results for the terminal: verdict, at most ten findings, what is accepted, what was not checked."""

from __future__ import annotations

import re
import sys
from typing import Any, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from collapse_guard.kernels import one_line

QUIET, NORMAL, VERBOSE = -1, 0, 1
MAX_FINDINGS: Final = 10
_COLOURS: Final = {"kept": "green", "violated": "red", "unusable": "red", "inconclusive": "yellow"}
_COMMAND: Final = re.compile(r"##(?=\[|vso\[)")
_ORDER: Final = {"error": 0, "warning": 1, "info": 2}


def gate_lines(view: dict[str, Any], verbosity: int = NORMAL) -> list[str]:
    """Return the plain text of a gate result, a line each.

    Args:
        view: the result as plain values.
        verbosity: -1 the verdict and what failed, 0 with what was accepted or not checked, 1 everything.
    """
    lines = [verdict_line(view)]
    for finding in shown(view, verbosity):
        lines.append(f"{finding['code']} {finding['severity']}: {place(finding)}{one_line(finding['message'])}")
        lines += [f"      -> {line}" for line in _under(finding, verbosity)]
    return [defused(line) for line in (*lines, *footer(view, verbosity))]


def print_gate(view: dict[str, Any], console: Console | None = None, verbosity: int = NORMAL) -> None:
    """Print a gate result in colour (NO_COLOR is honoured)."""
    screen = console or Console(highlight=False)
    screen.print(Text(verdict_line(view), style=f"bold {_COLOURS[view['verdict']]}"))
    table = Table(show_header=True, header_style="bold", box=None, pad_edge=False)
    for title in ("rule", "severity", "finding"):
        table.add_column(title, overflow="fold")
    for finding in shown(view, verbosity):
        under = "".join(f"\n-> {line}" for line in _under(finding, verbosity))
        said = Text(defused(f"{place(finding)}{one_line(finding['message'])}{under}"))
        table.add_row(finding["code"], finding["severity"], said)
    if table.row_count:
        screen.print(table)
    for line in footer(view, verbosity):
        screen.print(Text(defused(line), style="dim"))


def defused(line: str) -> str:
    """Return a line that no agent of a build service takes for a command, whatever the data are called.

    >>> defused("class ##vso[task.complete]")
    'class # #vso[task.complete]'
    """
    return _COMMAND.sub("# #", line)


def verdict_line(view: dict[str, Any]) -> str:
    """Return the one line that answers the question."""
    counts = {name: sum(finding["status"] == name for finding in view["findings"]) for name in _COUNTED}
    n_failed = counts["fail"]
    parts = [f"{n_failed} finding{'' if n_failed == 1 else 's'}"] if n_failed else []
    parts += [f"{counts[name]} {_COUNTED[name]}" for name in ("inconclusive", "waived", "baselined") if counts[name]]
    n_rules = sum(rule.get("status") != "ignored" for rule in view["rules"])
    is_part = n_rules < len(view["rules"])
    said = f"{n_rules} of {len(view['rules'])} rules" if is_part else f"{n_rules} rules"
    parts += [said] if is_part or not parts else []
    detail = f" ({', '.join(parts)})"
    return f"policy {view['verdict']}{detail}"


_COUNTED: Final = {
    "fail": "findings",
    "inconclusive": "not evaluated",
    "waived": "waived",
    "baselined": "in the baseline",
}


def failures(view: dict[str, Any]) -> list[dict[str, Any]]:
    """Return what failed, loudest first."""
    failed = [finding for finding in view["findings"] if finding["status"] == "fail"]
    return sorted(failed, key=lambda finding: (_ORDER[finding["severity"]], finding["code"]))


def shown(view: dict[str, Any], verbosity: int = NORMAL) -> list[dict[str, Any]]:
    """Return the failures that are printed; what is for information alone is not, where little is asked for."""
    found = [finding for finding in failures(view) if verbosity > QUIET or finding["severity"] != "info"]
    return found[: _most(verbosity)]


def accepted(view: dict[str, Any]) -> list[dict[str, Any]]:
    """Return what a waiver or the baseline accepts."""
    return [finding for finding in view["findings"] if finding["status"] in {"waived", "baselined"}]


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
    file = one_line(finding["file"])
    return f"{file}:{finding['line']}: " if finding["line"] else f"{file}: "


def footer(view: dict[str, Any], verbosity: int = NORMAL) -> list[str]:
    """Return what is accepted, what was left out of the list or not checked, what to type next, and the digests."""
    n_more = max(0, len(failures(view)) - _most(verbosity))
    more = [f"... and {n_more} more; --verbose lists them, --output-format json has them all"] if n_more else []
    if verbosity <= QUIET:
        return [*(not_evaluated(view) if view["verdict"] != "unusable" else []), *more]
    lines = [*more, *not_evaluated(view), *_accepted(view, verbosity)]
    proof = view.get("accumulation")
    if proof and not any(finding["code"] == "CG201" for finding in failures(view)):
        lines.append(f"accumulation: {one_line(proof['summary'])}")
    lines += [f"note: {one_line(note)}" for note in view["notes"]]
    if verbosity >= VERBOSE:
        lines += [f"{rule['code']} {rule.get('status', '')} ({rule['title']})" for rule in view["rules"]]
    failed = failures(view)
    if failed:
        lines.append(f"next: collapse-guard explain {failed[0]['code']}")
    return [line for line in [*lines, _digests(view)] if line]


def _accepted(view: dict[str, Any], verbosity: int) -> list[str]:
    found = [
        f"accepted by {one_line(each['accepted_by'])}: {each['code']} {one_line(each['message'])}"
        for each in accepted(view)
    ]
    most = _most(verbosity)
    return [*found[:most], *([f"... and {len(found) - most} more accepted"] if len(found) > most else [])]


def _digests(view: dict[str, Any]) -> str:
    digests = [
        ("manifest", view["manifest_digest"]),
        ("parent", view["parent_digest"]),
        ("policy", view["policy_digest"]),
    ]
    file = (view.get("policy") or {}).get("file")
    line = "  ".join(f"{name} {digest[:19]}" for name, digest in digests if digest)
    return f"{line} ({one_line(file)})" if file and view["policy_digest"] else line


def _under(finding: dict[str, Any], verbosity: int) -> list[str]:
    """Return what stands under a finding: what to do, and the figures if they are asked for."""
    lines = [one_line(finding["remedy"])] if finding["remedy"] else []
    if verbosity >= VERBOSE:
        lines += [f"asked by {one_line(finding['key'])}"] if finding["key"] else []
        lines += [f"{name}: {one_line(str(value))}" for name, value in finding["evidence"].items()]
        lines.append(f"fingerprint {finding['fingerprint']}, {finding['docs']}")
    return lines


def _most(verbosity: int) -> int:
    return MAX_FINDINGS if verbosity < VERBOSE else sys.maxsize
