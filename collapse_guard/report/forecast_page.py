"""A forecast as one HTML file: no network, no script, light and dark; jinja2 is loaded when it is written."""

from __future__ import annotations

import base64
import hashlib
from importlib.resources import files
from itertools import groupby
from operator import itemgetter
from statistics import fmean
from typing import TYPE_CHECKING, Any, Final

from collapse_guard._atomic import write_bytes
from collapse_guard._optional import need
from collapse_guard.kernels import one_line
from collapse_guard.report.forecast_plot import DARK, LIGHT, forecast_picture, shows_dots
from collapse_guard.report.forecast_text import (
    answer,
    band_text,
    biases_of,
    forecast_table,
    method,
    mix_of,
    percent,
)

if TYPE_CHECKING:
    from pathlib import Path

MOST_GENERATIONS: Final = 30
MOST_GROUPS: Final = 15
MOST_NAMES: Final = 4


def forecast_page(view: dict[str, Any], path: Path) -> Path:
    """Write the page of a forecast. Raises MissingExtraError without jinja2 or matplotlib."""
    return write_bytes(path, forecast_html(view).encode("utf-8", "backslashreplace"))


def forecast_html(view: dict[str, Any]) -> str:
    """Return the page of a forecast's plain form; all text from the data is escaped."""
    jinja2 = need("jinja2", extra="report")
    pages = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, keep_trailing_newline=True)
    pages.filters["chance"] = chance
    pages.filters["mix"] = mix_of
    css, groups = _part("forecast.css"), by_real_rows(view["classes"])[:MOST_GROUPS]
    text: str = pages.from_string(_part("forecast.html")).render(
        view=view,
        csp=policy_of(css),
        css=css,
        answer=answer(view),
        light=_picture(view, dark=False),
        dark=_picture(view, dark=True),
        alt=f"Rare classes alive by generation. {view['summary']}",
        caption=_caption(view),
        table=forecast_table(view, most=MOST_GENERATIONS),
        yardstick=f"Fresh real data show {band_text(view['fresh_real'], view)} in every generation;",
        method=method(view),
        groups=groups,
        n_more_classes=len(view["classes"]) - sum(group["n_classes"] for group in groups),
        asked=_asked(view),
    )
    return text


def policy_of(css: str) -> str:
    """Return the content security policy of a page with this style: nothing is loaded, nothing else is run.

    >>> policy_of("").split(";")[0]
    "default-src 'none'"
    """
    digest = base64.b64encode(hashlib.sha256(css.encode()).digest()).decode()
    return f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; form-action 'none'"


def by_real_rows(classes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return classes with equally many real rows as one entry: mean chance per arm, and a few names.

    >>> by_real_rows([{"name": "a", "n_real_rows": 1, "alive": {"policy": 0.5}}])
    [{'n_real_rows': 1, 'n_classes': 1, 'alive': {'policy': 0.5}, 'which': 'a'}]
    """
    groups = []
    for n_real_rows, found in groupby(classes, key=itemgetter("n_real_rows")):
        members = list(found)
        names = ", ".join(one_line(entry["name"]) for entry in members[:MOST_NAMES])
        more = f" and {len(members) - MOST_NAMES:,} more" if len(members) > MOST_NAMES else ""
        alive = {arm: fmean(entry["alive"][arm] for entry in members) for arm in members[0]["alive"]}
        groups.append(
            {"n_real_rows": n_real_rows, "n_classes": len(members), "alive": alive, "which": f"{names}{more}"}
        )
    return groups


def chance(value: float) -> str:
    """Return a probability for people; neither end of the scale is ever certain.

    >>> chance(1.0), chance(0.123), chance(0.0)
    ('> 99.9 %', '12.3 %', '< 0.1 %')
    """
    low, high = 0.0005, 0.9995
    if value < low:
        return "< 0.1 %"
    return f"{100 * value:.1f} %" if value < high else "> 99.9 %"


def _part(name: str) -> str:
    return files("collapse_guard.report").joinpath("templates", name).read_text(encoding="utf-8")


def _picture(view: dict[str, Any], *, dark: bool) -> str:
    return base64.b64encode(forecast_picture(view, DARK if dark else LIGHT, kind="svg")).decode()


def _caption(view: dict[str, Any]) -> str:
    if view["biases"]["any"]:
        return "Lines and bands: simulated chains. There is no closed form under declared biases."
    right = f"Right: {view['n_rows']:,} rows of a generation show as many rare classes as this many fresh real rows."
    dots = " Dots: simulated chains." if shows_dots(view) else ""
    return f"Left: lines and bands are the closed form.{dots} {right}"


def _asked(view: dict[str, Any]) -> list[tuple[str, str]]:
    goal = view["smallest_real_share"]
    return [
        ("real rows", f"{view['n_real_rows']:,} in {view['n_classes']:,} classes"),
        (
            "rare classes",
            f"{view['tail']['n_classes']:,}, which hold at most {percent(view['tail']['tail_mass'])} of them",
        ),
        ("generated rows", f"{view['n_rows']:,} per generation"),
        ("biases", biases_of(view) or "none"),
        (
            "goal",
            f"{percent(goal['keep'])} of what fresh real data show, with probability {percent(goal['probability'])}",
        ),
        ("chains", f"{view['n_chains']:,}, seed {view['seed']}"),
        ("policy", view["policy_digest"]),
        ("manifest", view["manifest_digest"] or "none, bare counts"),
    ]
