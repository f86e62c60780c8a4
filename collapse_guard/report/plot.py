"""Pictures of a chain of generations; matplotlib is loaded when a picture is drawn."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from collapse_guard._atomic import write_bytes
from collapse_guard._optional import need

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

_COLOURS: Final = {"replace": "#c0392b", "accumulate": "#b8860b", "guarded": "#1f7a4d"}


def draw_chains(
    chains: Mapping[str, Sequence[Mapping[str, Any]]],
    samples: Mapping[str, NDArray[np.float32]],
    *,
    limit: float,
    path: Path,
) -> Path:
    """Draw evidence, the weakest class and samples of each arm; PNG or SVG by the suffix of ``path``.

    Args:
        chains: per arm, one mapping per generation with ``generation``, ``log_e``, ``weakest_ratio``, ``action``.
        samples: per row title, images of shape (n, side * side).
        limit: log e at which a run halts.
    """
    matplotlib = need("matplotlib", extra="report")
    matplotlib.use("Agg")
    plt = need("matplotlib.pyplot", extra="report")
    n_rows = max(len(samples), 1)
    figure = plt.figure(figsize=(11, 4.2 + 0.5 * n_rows), layout="constrained")
    grid = figure.add_gridspec(2, 2, height_ratios=[4.2, 0.5 * n_rows])
    _evidence(figure.add_subplot(grid[0, 0]), chains, limit)
    _weakest(figure.add_subplot(grid[0, 1]), chains)
    _images(figure, grid[1, :], samples)
    sink = io.BytesIO()
    figure.savefig(sink, format=path.suffix.removeprefix(".") or "png", dpi=130)
    plt.close(figure)
    return write_bytes(path, sink.getvalue())


def _evidence(axes: Any, chains: Mapping[str, Sequence[Mapping[str, Any]]], limit: float) -> None:
    _lines(axes, chains, "log_e")
    axes.axhline(limit, color="black", linewidth=1, linestyle="--")
    axes.annotate("halt", (1, limit), xytext=(0, 4), textcoords="offset points")
    axes.set(title="Evidence that the tail is dying", xlabel="generation", ylabel="log e (nats)")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=3, frameon=False)


def _weakest(axes: Any, chains: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    _lines(axes, chains, "weakest_ratio")
    axes.axhline(1, color="black", linewidth=0.6)
    axes.set(title="Weakest class: its share over its real share", xlabel="generation", ylabel="ratio", ylim=(0, None))


def _lines(axes: Any, chains: Mapping[str, Sequence[Mapping[str, Any]]], key: str) -> None:
    for arm, rows in chains.items():
        generations, values = [row["generation"] for row in rows], [row[key] for row in rows]
        colour = _COLOURS.get(arm)
        axes.plot(generations, values, marker="o", color=colour, label=arm)
        halts = [(x, y) for x, y, row in zip(generations, values, rows, strict=True) if row["action"] == "halt"]
        for x, y in halts:
            axes.plot(x, y, marker="X", markersize=12, color=colour)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.spines[["top", "right"]].set_visible(False)


def _images(figure: Any, cell: Any, samples: Mapping[str, NDArray[np.float32]]) -> None:
    rows = cell.subgridspec(max(len(samples), 1), 1, hspace=0.1)
    for number, (title, images) in enumerate(samples.items()):
        axes = figure.add_subplot(rows[number])
        side = round(images.shape[1] ** 0.5)
        tiles = np.pad(images.reshape(-1, side, side), ((0, 0), (1, 1), (1, 1)), constant_values=0.4)
        axes.imshow(np.concatenate(list(tiles), axis=1), cmap="gray", vmin=0, vmax=1, aspect="equal")
        axes.set_ylabel(title, rotation=0, ha="right", va="center", fontsize=8)
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
