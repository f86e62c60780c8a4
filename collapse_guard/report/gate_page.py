"""The result of a gate as one HTML page: no network, no script, light and dark; jinja2 is loaded when it is written."""

from __future__ import annotations

import datetime as dt
import json
import os
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final

from collapse_guard._atomic import write_bytes
from collapse_guard._optional import need
from collapse_guard.kernels import one_line
from collapse_guard.report.forecast_page import policy_of
from collapse_guard.report.formats.entries import clipped
from collapse_guard.report.gate_findings import counts, groups_of, not_checked
from collapse_guard.report.gate_grid import Grid, Part, Section, number
from collapse_guard.report.gate_sections import accumulation_section, counted_how, mix_section, provenance_section
from collapse_guard.report.gate_tail_sections import audit_section, diversity_section, filters_section, tails_section
from collapse_guard.report.view import plain

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

#: Characters of a text from the data that are shown.
MOST_TEXT: Final = 1_000
#: The same in a cell of a table.
MOST_CELL: Final = 200
#: Bytes of the result that a page carries; the page stays below 2 MB.
MOST_RESULT: Final = 900_000
_SIGNS: Final = {"kept": "\u2714", "violated": "\u2716", "unusable": "\u2716", "inconclusive": "?"}
_SAID: Final = {
    "kept": "The policy is kept",
    "violated": "The policy is violated",
    "unusable": "The input cannot be used",
    "inconclusive": "It could not be decided whether the policy is kept",
}
#: What figures raise that another version wrote, or that were changed: a result that is read again is not checked.
_MALFORMED: Final = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError)
_SECTIONS: Final = (
    mix_section,
    accumulation_section,
    provenance_section,
    tails_section,
    filters_section,
    diversity_section,
    audit_section,
)


def gate_page(view: dict[str, Any], path: Path) -> Path:
    """Write the page of a gate result. Raises MissingExtraError without jinja2 or matplotlib."""
    return write_bytes(path, gate_html(view).encode("utf-8", "backslashreplace"))


def gate_html(view: dict[str, Any]) -> str:
    """Return the page of a gate result's plain form; all text from the data is escaped, and stands on one line.

    Equal views give equal pages where SOURCE_DATE_EPOCH is set; else the page says when it was made.
    """
    jinja2 = need("jinja2", extra="report")
    need("matplotlib", extra="report")
    pages = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, keep_trailing_newline=True, trim_blocks=True,
        lstrip_blocks=True, finalize=_told,
    )  # fmt: skip
    pages.filters["cell"] = lambda value: _told(value, MOST_CELL)
    css = _part("gate.css")
    text: str = pages.from_string(_part("gate.html")).render(
        view=view,
        csp=policy_of(css),
        css=css,
        sign=_SIGNS[view["verdict"]],
        said=_SAID[view["verdict"]],
        counts=counts(view),
        head=_head(view),
        not_checked=not_checked(view),
        groups=groups_of(view),
        sections=[*_figure_sections(view), _waivers(view), _method(view)],
        result=_embedded(view),
    )
    return text


def _told(value: Any, most: int = MOST_TEXT) -> Any:
    """Return what stands in the page for a value: texts on one line, and not without end."""
    is_text = isinstance(value, str) and not hasattr(value, "__html__")
    return clipped(one_line(value), most) if is_text else value


def _part(name: str) -> str:
    return files("collapse_guard.report").joinpath("templates", name).read_text(encoding="utf-8")


def _head(view: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Return what was asked, and of what."""
    policy = view["policy"] or {}
    fails = {"error": "errors", "warning": "errors and warnings", "never": "nothing"}[view["fail_on"]]
    found = [
        ("policy", policy.get("name")),
        ("policy file", policy.get("file")),
        ("policy digest", view["policy_digest"]),
        ("manifest", view["manifest_file"]),
        ("manifest digest", view["manifest_digest"]),
        ("parent digest", view["parent_digest"] or "none: no parent was compared"),
        ("fails on", f"{fails}; exit code {view['exit_code']}"),
        ("rules", f"{len(view['rules']) - len(view['ignored_rules'])} looked at"),
        *_made(),
    ]
    return [(name, value) for name, value in found if value]


def _made() -> list[tuple[str, str]]:
    """Return when the page was made, nothing where pages are to be the same every time."""
    if "SOURCE_DATE_EPOCH" in os.environ:
        return []
    return [("page made", dt.datetime.now(dt.UTC).strftime("%Y-%m-%d %H:%M UTC"))]


def _figure_sections(view: Mapping[str, Any]) -> list[Section]:
    """Return the sections that show the data; one that says why, if there are no figures."""
    figures = view["figures"]
    if figures is None:
        text = "This result holds no figures, so that only findings are shown: 'check --output html=PATH' adds them."
        return [Section("figures", "Figures", (text,))]
    if figures.get("missing"):
        return [Section("figures", "Figures", (f"There are no figures: {figures['missing']}.",))]
    try:
        return [make(view) for make in _SECTIONS]
    except _MALFORMED:
        text = "The figures of this result are not as this version writes them, and cannot be drawn: check again."
        return [Section("figures", "Figures", (text,))]


def _waivers(view: Mapping[str, Any]) -> Section:
    rows = [
        (
            each["id"],
            each["rule"],
            ", ".join(f"{key}: {value}" for key, value in sorted(each["where"].items())) or "everywhere",
            each["reason"],
            each["owner"],
            each["expires"],
            _days(each["days_left"]),
            ", ".join(f"{key.replace('_', ' ')} {number(value)}" for key, value in sorted(each["limit"].items())),
            number(each["n_findings"]),
        )
        for each in sorted(view["waivers"], key=lambda each: (each["days_left"], each["id"]))
    ]
    columns = ("waiver", "rule", "where", "reason", "owner", "last day", "days left", "bound", "findings")
    said = () if rows else ("The policy has no waivers.",)
    return Section(
        "waivers", "Waivers", said, (Part(Grid("Waivers of the policy", columns, rows, frozenset(range(1, 6)))),)
    )


def _days(left: int) -> str:
    return f"expired {-left} days ago \u2716" if left < 0 else number(left)


def _method(view: Mapping[str, Any]) -> Section:
    """Return how figures were made, what was read, and the state of every rule."""
    first = f"{view['tool']['name']} {view['tool']['version']}. Rules draw no samples and take no seed."
    try:
        said, parts = counted_how(view)
    except _MALFORMED:
        said, parts = (), ()  # the section on figures says so
    rules = [(each["code"], each["title"], each["severity"], each["status"]) for each in view["rules"]]
    grid = Grid("Rules", ("rule", "title", "severity", "status"), rules, frozenset({1, 2, 3}))
    return Section("method", "Method and versions", (first, *said), (*parts, Part(grid)))


def _embedded(view: dict[str, Any]) -> Any:
    """Return the result as JSON that cannot end its element, cut to what a page may carry."""
    markup = need("markupsafe", extra="report").Markup
    for carried in _smaller(view):
        text = json.dumps(plain(carried), sort_keys=True, allow_nan=False, separators=(",", ":"))
        if len(text) <= MOST_RESULT:
            return markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))
    return markup("null")


def _smaller(view: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Give the result, then with half of the findings and so on, and then the same without figures."""
    yield view
    n_all = len(view["findings"])
    for left_out, change in (("", {}), (" and no figures", {"figures": None})):
        n = n_all
        while n:
            n //= 2
            note = f"this page carries {n:,} of {n_all:,} findings{left_out}; the JSON form has all of them"
            yield view | change | {"findings": view["findings"][:n], "notes": [*view["notes"], note]}
