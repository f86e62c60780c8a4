"""Pictures of an experiment: one column per mechanism, its figures and the evidence below each other."""

from __future__ import annotations

import io
import math
from typing import TYPE_CHECKING, Any, Final

from collapse_guard._atomic import write_bytes
from collapse_guard._optional import need

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

#: Colours that stay apart for colour-blind readers (Okabe and Ito 2008); the null is grey.
_COLOURS: Final = {
    "fresh": "#7f7f7f",
    "replace": "#d55e00",
    "accumulate": "#e69f00",
    "accumulate-subsample": "#cc79a7",
    "anchor": "#0072b2",
    "guarded": "#009e73",
    "fresh-share": "#56b4e9",
    "golden": "#000000",
}
_N_FIGURES: Final = 2
#: Inches that a title and four entries of the legend take.
_LEAST_WIDTH: Final = 8.0


def draw_experiment(view: Mapping[str, Any], path: Path) -> Path:
    """Draw medians and 10-90 % bands over runs of the first two figures and of the evidence; PNG or SVG by suffix.

    Args:
        view: ``title``, ``experiment``, ``runs``, ``figures``, ``log_e_limit``, ``log_scale``, and ``chains``, each
            with ``policy``, ``variant``, ``figures``, ``log_e`` and ``halts``.
        path: file to write.
    """
    matplotlib = need("matplotlib", extra="report")
    matplotlib.use("Agg")
    plt = need("matplotlib.pyplot", extra="report")
    variants = list(dict.fromkeys(chain["variant"] for chain in view["chains"]))
    names = [*view["figures"][:_N_FIGURES], *(["log_e"] if _is_watched(view) else [])]
    wide = len(variants) > 1
    n_rows, n_columns = (len(names), len(variants)) if wide else (1, len(names))
    size = (3.2 * n_columns + 1, 2.6 * n_rows + 0.9) if wide else (max(4.4 * n_columns, _LEAST_WIDTH), 4.2)
    figure, grid = plt.subplots(n_rows, n_columns, figsize=size, layout="constrained", squeeze=False)
    for number, variant in enumerate(variants):
        chains = [chain for chain in view["chains"] if chain["variant"] == variant]
        for row, name in enumerate(names):
            axes = grid[row][number] if wide else grid[0][row]
            _panel(axes, chains, name, view)
            if wide and row == 0:
                axes.set_title(variant, fontsize=10)
    handles, labels = grid[0][0].get_legend_handles_labels()
    n_abreast = 4 if size[0] < 2 * _LEAST_WIDTH - 4 else 8
    figure.legend(handles, labels, loc="outside lower center", ncols=n_abreast, frameon=False, fontsize=8)
    n_runs = view["runs"]
    said = f"{n_runs} runs: median, 10-90 %" if n_runs > 1 else "one run"
    figure.suptitle(f"{view['title']}\n({said}; X marks the halt of the median run)", fontsize=10)
    sink = io.BytesIO()
    figure.savefig(sink, format=path.suffix.removeprefix(".").lower() or "png", dpi=130)
    plt.close(figure)
    return write_bytes(path, sink.getvalue())


def _panel(axes: Any, chains: list[dict[str, Any]], name: str, view: Mapping[str, Any]) -> None:
    for chain in chains:
        bands = chain["log_e"] if name == "log_e" else chain["figures"][name]
        _band(axes, bands, chain)
    if name == "log_e":
        axes.axhline(view["log_e_limit"], color="black", linewidth=0.8, linestyle="--")
        axes.set_yscale("symlog", linthresh=10)
        axes.set_ylabel("log e (nats); dashed: halt", fontsize=8)
    else:
        axes.set_ylabel(name, fontsize=8)
        if view["log_scale"] and name == view["figures"][0]:
            axes.set_yscale("log")
    axes.set_xlabel("generation", fontsize=8)
    axes.tick_params(labelsize=8)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.spines[["top", "right"]].set_visible(False)


def _band(axes: Any, bands: Mapping[str, list[float]], chain: Mapping[str, Any]) -> None:
    """Draw one policy: a line, its band, and an X where the median run was halted."""
    colour = _COLOURS.get(chain["policy"])
    generations = list(range(1, len(bands["median"]) + 1))
    marker = "." if len(generations) <= 1 else None
    axes.plot(generations, bands["median"], color=colour, linewidth=1.4, marker=marker, label=chain["policy"])
    axes.fill_between(generations, bands["low"], bands["high"], color=colour, alpha=0.15, linewidth=0)
    halts = sorted(halt or math.inf for halt in chain["halts"])
    middle = halts[(len(halts) - 1) // 2]
    if math.isfinite(middle):
        axes.plot(middle, bands["median"][int(middle) - 1], marker="X", markersize=8, color=colour)


def _is_watched(view: Mapping[str, Any]) -> bool:
    return any(not math.isnan(value) for chain in view["chains"] for value in chain["log_e"]["median"])
