"""What a watch can see at all, said before the run starts; a watch that is blind to extinction is refused."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from collapse_guard.decision import log_e_limit, panel_weights
from collapse_guard.errors import StatisticError
from collapse_guard.kernels import one_line
from collapse_guard.records import RunReason
from collapse_guard.stats import Level, minimum_detectable_drop, rows_to_see_extinction

if TYPE_CHECKING:
    from collections.abc import Sequence

    from collapse_guard.monitor.panel import Panel
    from collapse_guard.policy import Coverage


def check_sight(coverage: Coverage, panels: Sequence[Panel]) -> None:
    """Raise StatisticError if not even the extinction of a tail could be seen in the planned looks."""
    n_rows, n_looks = coverage.samples_per_look, coverage.planned_looks
    for panel in panels:
        needed = rows_to_see_extinction(panel.tail, panel.classes, _level(coverage, panel), n_looks=n_looks)
        if needed is not None and needed <= n_rows:
            continue
        remedy = f"ask for {needed} rows or more" if needed else "no number of rows could; tolerate smaller drops"
        raise StatisticError(
            f"coverage.samples_per_look is {n_rows}: not even the extinction of the tail of {panel.cells!r}"
            f" ({panel.tail.plan().mass:.2%} of the reference) would be seen in {n_looks} looks; {remedy}"
        )


def sight_lines(coverage: Coverage, panels: Sequence[Panel], *, n_left: int) -> list[str]:
    """Return, in words, the smallest drops that one look and all remaining looks can show, a line per panel.

    Args:
        n_left: planned looks that are not taken yet.
    """
    return [_line(coverage, panel, max(n_left, 1)) for panel in panels]


def _line(coverage: Coverage, panel: Panel, n_left: int) -> str:
    n_rows, level = coverage.samples_per_look, _level(coverage, panel)
    one, every = (
        minimum_detectable_drop(panel.tail, panel.classes, level, n_rows=n_rows, n_looks=n_looks)
        for n_looks in (1, n_left)
    )
    groups = panel.classes.groups()
    alone = groups.alone
    blind = [panel.names[cell] for cell, drop in zip(alone, every.classes, strict=False) if math.isnan(drop)]
    classes = [drop for drop in every.classes[: alone.size] if not math.isnan(drop)]
    text = (
        f"{one_line(panel.cells)} against {panel.against.replace('_', ' ')}: with {n_rows} rows per look the smallest"
        f" drop that can be shown is, of the tail, {_percent(one.tail)} in one look and {_percent(every.tail)} in"
        f" {n_left}; of a single class, {_percent(max(classes, default=math.nan))} at worst in {n_left}"
    )
    unseen = f"; not even their end would be seen of {_listed(blind)}" if blind else ""
    together = [panel.names[cell] for cell in groups.pooled]
    rare = f"; too rare to be guarded alone, and guarded together: {_listed(together)}" if together else ""
    return f"{text}{unseen}{rare}"


def _listed(names: Sequence[str], most: int = 5) -> str:
    shown = ", ".join(map(one_line, names[:most]))
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"


def _percent(drop: float) -> str:
    return "none" if math.isnan(drop) else f"{drop:.0%}"


def _level(coverage: Coverage, panel: Panel) -> Level:
    n_planned = len(coverage.cells) * len(coverage.references) + len(coverage.scores)
    weights = panel_weights(claimed=panel.claimed is not None, n_planned=n_planned)
    mass, classes = weights[RunReason.TAIL_MASS], weights[RunReason.CLASS_LOSS]
    return Level(log_e_limit(coverage), math.log(mass), math.log(classes))
