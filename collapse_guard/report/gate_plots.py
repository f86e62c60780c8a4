"""Plots of a gate result as inline SVG in the page's own colours; matplotlib is loaded when one is drawn.

No text from the data is drawn: names stand in the tables under the plots.
"""

from __future__ import annotations

import datetime as dt
import io
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from collapse_guard._optional import need
from collapse_guard.report.svg_markup import inlined

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

#: Colours that a plot is drawn in, and what stands for them in the page: each theme has its own.
INK, SOFT, LINE, PAGE, BAD = "#000001", "#000002", "#000003", "#000004", "#000005"
_ORIGINS: Final = {
    "real": ("#000010", ""),
    "synthetic": ("#000011", "////"),
    "derived": ("#000012", "\\\\\\\\"),
    "simulated": ("#000013", "xxxx"),
    "mixed": ("#000014", "---"),
    "unknown": ("#000015", "...."),
}
REAL, MADE = _ORIGINS["real"][0], _ORIGINS["synthetic"][0]
COLOURS: Final = {
    INK: "currentColor",
    SOFT: "var(--soft)",
    LINE: "var(--line)",
    PAGE: "var(--page)",
    BAD: "var(--bad)",
    **{colour: f"var(--{name})" for name, (colour, _) in _ORIGINS.items()},
}
_MARKERS: Final = "os^Dv*"
#: Receipts in one plot; there are as many markers.
MOST_SERIES: Final = len(_MARKERS)
#: Points of a curve that are drawn, spread evenly over its logarithmic axis.
MOST_POINTS: Final = 400
_WIDTH: Final = 7.6
_FEW: Final = 6

_RC: Final = {
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": SOFT,
    "axes.facecolor": "none",
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "hatch.color": PAGE,
    "hatch.linewidth": 1.3,
    "font.size": 10,
    "text.parse_math": False,
    "axes.unicode_minus": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "collapse-guard",
}


def mix_plot(mix: dict[str, Any]) -> str:
    """Return the share of each origin by generation, in rows and in the unit of the policy, with the real floor."""
    panels = [("row_share", "rows"), ("amount_share", mix["unit"])]
    panels = panels if _differ(mix["generations"]) else panels[:1]
    bars = mix["generations"]
    with _drawing("mix", (_WIDTH, 1.0 + 0.42 * len(bars)), n=len(panels)) as (axes, out):
        for ax, (key, unit) in zip(axes, panels, strict=True):
            _stacked(ax, bars, key)
            if mix["real_min_share"] is not None:
                ax.axvline(mix["real_min_share"], color=INK, linewidth=1.6, linestyle=(0, (4, 2)), label="real floor")
            ax.set(xlim=(0, 1), title=f"share of {unit}", xticks=[0, 0.25, 0.5, 0.75, 1])
            _percent(ax.xaxis)
        handles, labels = axes[0].get_legend_handles_labels()
        axes[0].figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)
    return out("Share of each origin, a bar per generation; the dashed line is the floor of the real share.")


def _differ(bars: Sequence[dict[str, Any]]) -> bool:
    pairs = [(each["row_share"], each["amount_share"]) for bar in bars for each in bar["origins"]]
    return any(abs(rows - amount) > 1e-9 for rows, amount in pairs)  # noqa: PLR2004 - rounding


def _stacked(ax: Any, bars: Sequence[dict[str, Any]], key: str) -> None:
    ends = [0.0] * len(bars)
    for origin, (colour, hatch) in _ORIGINS.items():
        found = [sum(each[key] for each in bar["origins"] if each["origin"] == origin) for bar in bars]
        if any(found):
            ax.barh(
                range(len(bars)), found, left=ends, height=0.62, color=colour, edgecolor=PAGE, hatch=hatch, label=origin
            )
            ends = [end + more for end, more in zip(ends, found, strict=True)]
    ax.set_yticks(range(len(bars)), [f"{bar['which']}, generation {bar['generation']}" for bar in bars])
    ax.set_ylim(len(bars) - 0.5, -0.5)


def chain_plot(chain: Sequence[dict[str, Any]]) -> str:
    """Return all rows and real rows by generation of the chain."""
    places = [*range(len(chain))]
    with _drawing("chain", (_WIDTH, 2.5)) as ((ax,), out):
        for key, colour, hatch, label in (("rows", MADE, "////", "not real"), ("real_rows", REAL, "", "real")):
            ax.bar(places, [each[key] for each in chain], 0.6, color=colour, hatch=hatch, edgecolor=PAGE, label=label)
        step = max(1, len(chain) // 12)
        ax.set_xticks(places[::step], [str(each["generation"]) for each in chain[::step]])
        ax.set(xlabel="generation", ylabel="rows", xlim=_room(len(chain)))
        ax.yaxis.set_major_formatter("{x:,.0f}")
        _legend(ax)
    return out("Rows of every generation of the chain, the real ones below.")


def depth_plot(depths: Sequence[dict[str, Any]], limit: int | None) -> str:
    """Return rows by generation of the row, with the largest generation that the policy allows."""
    labels = ["unknown" if each["generation"] is None else str(each["generation"]) for each in depths]
    with _drawing("depth", (_WIDTH, 2.4)) as ((ax,), out):
        for place, each in enumerate(depths):
            deep = limit is not None and (each["generation"] is None or each["generation"] > limit)
            colour, hatch = (BAD, "xxxx") if deep else (REAL, "") if each["generation"] == 0 else (MADE, "////")
            ax.bar_label(ax.bar(place, each["rows"], 0.6, color=colour, hatch=hatch, edgecolor=PAGE), fmt="{:,.0f}")
        allowed = sum(each["generation"] is not None and each["generation"] <= (limit or 0) for each in depths)
        if limit is not None and allowed < len(depths):
            ax.axvline(allowed - 0.5, color=INK, linewidth=1.6, linestyle=(0, (4, 2)), label=f"limit: {limit}")
            _legend(ax)
        ax.set_xticks(range(len(depths)), labels)
        ax.set(xlabel="generation of the row (0: real)", ylabel="rows", xlim=_room(len(depths)))
        ax.margins(y=0.15)
        ax.yaxis.set_major_formatter("{x:,.0f}")
    return out("Rows by their generation; those beyond the limit are hatched crosswise.")


def _room(n_bars: int) -> tuple[float, float]:
    """Return the ends of an axis of bars: a few bars do not fill it."""
    return -0.6, max(n_bars, _FEW) - 0.4


def rank_plot(tails: dict[str, Any]) -> str:
    """Return rows per class by its rank in the reference, on logarithmic axes; classes that are gone at the foot."""
    drawn = thinned(tails["classes"])
    lost = thinned([each for each in tails["classes"] if not each["rows"]])
    with _drawing("rank", (_WIDTH, 3.4)) as ((ax,), out):
        ax.plot(*_points(drawn, "reference_rows"), color=INK, linewidth=1.8, label="reference, real rows")
        alive = [each for each in drawn if each["rows"]]
        ax.plot(*_points(alive, "rows"), "o", color=MADE, markersize=3.2, label="here, rows that train")
        ax.plot([each["rank"] for each in lost], [0.5] * len(lost), "x", color=BAD, markersize=6, label="gone")
        ax.set(
            xscale="log", yscale="log", xlabel="rank in the reference (1: commonest)", ylabel="rows", ylim=(0.4, None)
        )
        for axis in (ax.xaxis, ax.yaxis):
            axis.set_major_formatter("{x:,.10g}")
            axis.set_minor_formatter("")
        _legend(ax)
    return out(f"Rows per class by rank, on logarithmic axes; {tails['n_lost']} classes are gone.")


def thinned(ranked: Sequence[dict[str, Any]], most: int = MOST_POINTS) -> list[dict[str, Any]]:
    """Return at most ``most`` entries, evenly spread over the logarithm of their rank.

    >>> [entry["rank"] for entry in thinned([{"rank": n} for n in range(1, 101)], most=3)]
    [1, 10, 100]
    """
    if len(ranked) <= most:
        return list(ranked)
    places = {round(len(ranked) ** (number / (most - 1))) - 1 for number in range(most)}
    return [ranked[place] for place in sorted(places)]


def _points(entries: Sequence[dict[str, Any]], key: str) -> tuple[list[int], list[int]]:
    return [each["rank"] for each in entries], [each[key] for each in entries]


def coverage_plot(bins: Sequence[dict[str, Any]]) -> str:
    """Return the share of classes that still train, by their real rows in the reference."""
    shares = [each["n_alive"] / each["n_classes"] for each in bins]
    with _drawing("coverage", (_WIDTH, 2.4)) as ((ax,), out):
        ax.bar(range(len(bins)), [1 - share for share in shares], 0.6, shares, color=BAD, hatch="xxxx", edgecolor=PAGE,
               label="gone")  # fmt: skip
        ax.bar(range(len(bins)), shares, 0.6, color=REAL, edgecolor=PAGE, label="still there")
        ax.set_xticks(range(len(bins)), [bin_label(each) for each in bins])
        ax.set(xlabel="real rows of a class in the reference", ylabel="classes", ylim=(0, 1), xlim=_room(len(bins)))
        _percent(ax.yaxis)
        _legend(ax)
    return out("Share of classes that are still there, by how many real rows they had.")


def bin_label(entry: dict[str, Any]) -> str:
    """Return the sizes of a bin as text.

    >>> bin_label({"from": 5, "to": 9}), bin_label({"from": 1, "to": 1}), bin_label({"from": 1000000, "to": None})
    ('5-9', '1', '1,000,000+')
    """
    first, last = entry["from"], entry["to"]
    return f"{first:,}+" if last is None else f"{first:,}" if first == last else f"{first:,}-{last:,}"


def removal_plot(receipts: Sequence[dict[str, Any]]) -> str:
    """Return the share that filters removed by size of the class, with intervals; a letter per receipt."""
    starts = sorted({each["from"] for receipt in receipts for each in receipt["bins"]})
    labels = {each["from"]: bin_label(each) for receipt in receipts for each in receipt["bins"]}
    with _drawing("removal", (_WIDTH, 2.9)) as ((ax,), out):
        for number, receipt in enumerate(receipts[:MOST_SERIES]):
            found = [each for each in receipt["bins"] if each["removed_share"] is not None]
            if not found:
                continue
            places = [starts.index(each["from"]) + 0.1 * (number - (len(receipts) - 1) / 2) for each in found]
            shares = [each["removed_share"] for each in found]
            sides = ("low", -1), ("high", 1)
            reach = [[max(sign * (each[side] - each["removed_share"]), 0) for each in found] for side, sign in sides]
            colour = _ORIGINS.get(receipt["origin"], (INK,))[0]
            ax.errorbar(places, shares, reach, color=colour, marker=_MARKERS[number], markersize=5, capsize=3,
                        linewidth=1.4, label=f"{letter(number)} ({receipt['origin'] or 'origin unknown'})")  # fmt: skip
        ax.set_xticks(range(len(starts)), [labels[start] for start in starts])
        ax.set(xlabel="real rows of the class", ylabel="removed", ylim=(0, 1))
        _percent(ax.yaxis)
        _legend(ax)
    return out("Share of rows that each filter removed, by size of the class, with 95 % intervals.")


def letter(number: int) -> str:
    """Return the letter of a series: A for 0."""
    return chr(ord("A") + number)


def diversity_plot(generations: Sequence[dict[str, Any]]) -> str:
    """Return how many classes there are, and how many they are worth, by generation."""
    places = range(len(generations))
    with _drawing("diversity", (_WIDTH, 2.3)) as ((ax,), out):
        ax.plot(places, [each["n_classes"] for each in generations], "s--", color=INK, label="classes")
        effective = [each["effective_classes"] for each in generations]
        ax.plot(places, effective, "o-", color=REAL, linewidth=2, label="worth as many equal ones")
        ax.set_xticks(places, [f"{each['which']}, generation {each['generation']}" for each in generations])
        ax.set(ylim=(0, None), xlim=(-0.4, len(generations) - 0.6), ylabel="classes")
        ax.yaxis.set_major_formatter("{x:,.0f}")
        _legend(ax)
    return out("Classes that train by generation, and their effective number.")


def series_plot(points: Sequence[dict[str, Any]], *, name: str) -> str:
    """Return a measured series with its band, a point per date, oldest first; ``name`` is once on a page."""
    days = [dt.date.fromisoformat(each["at"]).toordinal() for each in points]
    with _drawing(name, (_WIDTH, 2.6)) as ((ax,), out):
        low, high = ([each[side] for each in points] for side in ("low", "high"))
        ax.fill_between(days, low, high, color=MADE, alpha=0.22, linewidth=0, label="interval")
        ax.plot(days, [each["value"] for each in points], "o-", color=MADE, linewidth=2, label="estimate")
        step = max(1, len(days) // 6)
        ax.set_xticks(days[::step], [each["at"] for each in points[::step]])
        ax.set(ylabel="value", ylim=(min(0, *low), None))
        _legend(ax)
    return out(f"A measured figure on {len(points)} dates, with the band of its intervals.")


def _percent(axis: Any) -> None:
    axis.set_major_formatter(lambda value, _: f"{100 * value:.3g} %")


def _legend(ax: Any) -> None:
    ax.figure.legend(loc="outside upper left", ncols=4, frameon=False)


@contextmanager
def _drawing(name: str, size: tuple[float, float], *, n: int = 1) -> Iterator[tuple[list[Any], Callable[[str], str]]]:
    """Give ``n`` axes beside each other, and a function that makes the SVG once the block has ended."""
    matplotlib = need("matplotlib", extra="report")
    figure_of = need("matplotlib.figure", extra="report").Figure
    sink = io.BytesIO()

    def out(label: str) -> str:
        return inlined(sink.getvalue(), name=name, label=label, colours=COLOURS)

    with matplotlib.rc_context(_RC):
        figure = figure_of(figsize=size, layout="constrained", facecolor="none")
        axes = list(figure.subplots(1, n, squeeze=False, sharey=True)[0])
        for ax in axes:
            ax.spines[["top", "right"]].set_visible(False)
            ax.title.set_fontsize(10)
        yield axes, out
        figure.savefig(sink, format="svg", metadata={"Date": None})
