"""Picture of a forecast: classes alive, and what a generation is worth; matplotlib is loaded when it is drawn."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from collapse_guard._atomic import write_bytes
from collapse_guard._optional import need
from collapse_guard.report.forecast_text import mix_of

if TYPE_CHECKING:
    from pathlib import Path

#: More generations than this are drawn on a logarithmic axis, and without markers.
_MANY: Final = 60


class _Theme(NamedTuple):
    ink: str
    faint: str
    page: str
    arms: dict[str, str]


LIGHT: Final = _Theme(
    "#1c2024", "#d5d9de", "#ffffff", {"policy": "#1f7a4d", "replace": "#c0392b", "accumulate": "#a87400"}
)
DARK: Final = _Theme(
    "#e6e9ec", "#3a4149", "#14171a", {"policy": "#4cc38a", "replace": "#ff7b6b", "accumulate": "#e0b03a"}
)


def shows_dots(view: dict[str, Any]) -> bool:
    """Say whether a picture of ``view`` has simulated means as dots on its lines."""
    both = view["n_chains"] > 0 and not view["biases"]["any"]
    return both and view["generations"] <= _MANY


def draw_forecast(view: dict[str, Any], path: Path) -> Path:
    """Write the picture of a forecast as PNG. Raises MissingExtraError without matplotlib."""
    return write_bytes(path, forecast_picture(view, LIGHT, kind="png"))


def forecast_picture(view: dict[str, Any], theme: _Theme, *, kind: str) -> bytes:
    """Return the picture as ``png`` or ``svg`` bytes: equal views give equal bytes.

    Lines and bands are the closed form, dots the simulation; without a closed form lines and bands are simulated.
    """
    matplotlib = need("matplotlib", extra="report")
    figures = need("matplotlib.figure", extra="report")
    colours = {"text.color": theme.ink, "axes.labelcolor": theme.ink, "axes.edgecolor": theme.ink}
    colours |= {"xtick.color": theme.ink, "ytick.color": theme.ink, "axes.facecolor": theme.page}
    with matplotlib.rc_context(colours | {"svg.hashsalt": "collapse-guard", "font.size": 10.5}):
        two = view["arms"][0]["effective_real_rows"] is not None
        figure = figures.Figure(figsize=(11, 4.6), layout="constrained", facecolor=theme.page)
        figure.get_layout_engine().set(w_pad=0.12, h_pad=0.12)
        panels = figure.subplots(1, 2 if two else 1, squeeze=False, width_ratios=[3, 2] if two else None)[0]
        _alive(panels[0], view, theme)
        if two:
            _worth(panels[1], view, theme)
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles[::-1], labels[::-1], loc="outside lower center", ncols=4, frameon=False)
        sink = io.BytesIO()
        metadata = {"Date": None} if kind == "svg" else {"Software": None}
        figure.savefig(sink, format=kind, dpi=150, metadata=metadata)
    return sink.getvalue()


def _alive(axes: Any, view: dict[str, Any], theme: _Theme) -> None:
    fresh = view["fresh_real"]["mean"]
    axes.axhline(fresh, color=theme.ink, linewidth=1.2, linestyle="--", label="fresh real data")
    for arm in reversed(view["arms"]):
        rows, colour = arm["closed_form"] or arm["simulation"], theme.arms[arm["name"]]
        generations = [row["generation"] for row in rows]
        marker = "o" if len(generations) == 1 else None
        label = f"{arm['name']} ({mix_of(arm)})"
        axes.plot(generations, [row["mean"] for row in rows], color=colour, linewidth=2, marker=marker, label=label)
        axes.fill_between(
            generations, [row["low"] for row in rows], [row["high"] for row in rows], color=colour, alpha=0.22, lw=0
        )
        if shows_dots(view):
            axes.plot(generations, [row["mean"] for row in arm["simulation"]], ".", color=colour, markersize=5)
    title = f"Rare classes alive, of {view['tail']['n_classes']}"
    _dress(axes, view, theme, title=title, ylabel="classes (line: mean, band: 10-90 % of runs)")


def _worth(axes: Any, view: dict[str, Any], theme: _Theme) -> None:
    axes.axhline(view["n_rows"], color=theme.ink, linewidth=1.2, linestyle="--")
    for arm in reversed(view["arms"]):
        rows = arm["effective_real_rows"]
        generations, worth = [row["generation"] for row in rows], [row["rows"] for row in rows]
        marker = "o" if len(generations) == 1 else None
        axes.plot(generations, worth, color=theme.arms[arm["name"]], linewidth=2, marker=marker)
    title = f"What {view['n_rows']:,} generated rows are worth"
    _dress(axes, view, theme, title=title, ylabel="fresh real rows")
    axes.yaxis.set_major_formatter("{x:,.0f}")


def _dress(axes: Any, view: dict[str, Any], theme: _Theme, *, title: str, ylabel: str) -> None:
    axes.set_title(title, loc="left", fontweight="bold", fontsize=11)
    axes.set(xlabel="generation", ylabel=ylabel, ylim=(0, None))
    axes.grid(axis="y", color=theme.faint, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    if view["generations"] > _MANY:
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter("{x:,.0f}")
    else:
        axes.set_xlim(0.5, view["generations"] + 0.5)
        axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
